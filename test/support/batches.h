#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "change/change_batch.h"

namespace arrow {
class Array;
class RecordBatch;
}  // namespace arrow

namespace freshet::test {

/// One value of a row as a test writes it: text in the form `arrow::Scalar::Parse` takes ("7",
/// "1.50", "2024-02-29", "2024-02-29 12:00:00.5Z" for timestamptz), uuids with dashes, bytes raw;
/// or null, a list, an unchanged TOAST value, an exception.
struct Cell {
  enum class Kind : uint8_t { kText, kNull, kUnchanged, kException, kList };

  // NOLINTNEXTLINE(google-explicit-constructor): so that a row is written {"1", "text"}.
  Cell(const char* value) : text(value) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Cell(std::string value) : text(std::move(value)) {}
  Cell(Kind cell_kind, std::string value, std::vector<Cell> elements = {})
      : kind(cell_kind), text(std::move(value)), items(std::move(elements)) {}

  Kind kind = Kind::kText;
  std::string text;
  std::vector<Cell> items;

  bool operator==(const Cell&) const = default;
};

Cell Null();
Cell Unchanged();                    ///< TOASTed and not sent
Cell Exception(std::string text);    ///< the Arrow type cannot hold it; `text` is the exact value
Cell List(std::vector<Cell> items);  ///< items are text or null

using Row = std::vector<Cell>;

/// A column named `name`; `key` makes it part of the primary key and of the replica identity.
change::Column MakeColumn(std::string name, change::LogicalType type, bool key = false);
change::Column MakeColumn(std::string name, change::LogicalKind kind, bool key = false);

/// A table version. Columns without an attnum are numbered by their place. Under kFull every column
/// is flagged as identity, as the server does.
std::shared_ptr<const change::TableSchema> MakeSchema(
    change::TableName name, std::vector<change::Column> columns,
    change::ReplicaIdentity identity = change::ReplicaIdentity::kDefault, uint32_t table_id = 0);

/// `id int64 key, name text, amount decimal(12,2)` under the name public.`table`.
std::shared_ptr<const change::TableSchema> MakeItemsSchema(std::string table = "items");

/// `rows` as an Arrow batch of the schema's types. Unchanged and exceptions become null.
std::shared_ptr<arrow::RecordBatch> MakeRows(const change::TableSchema& schema,
                                             const std::vector<Row>& rows);

/// The value at `row` as text, for comparing and printing; "NULL" for null.
std::string ValueText(const arrow::Array& values, int64_t row);

/// One line a row, values separated by " | ".
std::vector<std::string> RowTexts(const arrow::RecordBatch& rows);

/// Builds a ChangeBatch change by change, as the stream would bring them.
///
///   auto batch = BatchBuilder().Begin(100).Insert(items, {"1", "nut", "0.10"}).Build();
///
/// Transactions begin by Begin() or Part(). Changes of one table version go into one TableChanges;
/// another version of the same table opens a new one.
class BatchBuilder {
 public:
  using Schema = std::shared_ptr<const change::TableSchema>;

  BatchBuilder();
  ~BatchBuilder();
  BatchBuilder(BatchBuilder&&) noexcept;

  /// A whole transaction that ends at `end_lsn`; its commit record stands 8 bytes before.
  BatchBuilder& Begin(uint64_t end_lsn,
                      change::TransactionKind kind = change::TransactionKind::kStream);

  /// One part of a transaction, whose changes count on from `first_ordinal`.
  BatchBuilder& Part(uint64_t end_lsn, bool begins, bool ends, int64_t first_ordinal = 0,
                     change::TransactionKind kind = change::TransactionKind::kStream);

  /// The n-th piece of a snapshot behind the commit that ends at `end_lsn`.
  BatchBuilder& Piece(uint64_t end_lsn, int64_t n);

  /// A step recorded beside the piece. A kBegun brings `schema` along, if only without rows.
  BatchBuilder& Step(change::SnapshotProgress step);
  BatchBuilder& Begun(const Schema& schema, bool replaces);

  BatchBuilder& Insert(const Schema& schema, Row row);
  BatchBuilder& Snapshot(const Schema& schema, Row row);
  BatchBuilder& Update(const Schema& schema, Row new_row);               ///< without an old tuple
  BatchBuilder& Update(const Schema& schema, Row old_row, Row new_row);  ///< key or whole old row
  BatchBuilder& Delete(const Schema& schema, Row old_row);
  BatchBuilder& Truncate(const std::vector<Schema>& schemas);
  BatchBuilder& Message(std::string prefix, std::string content);

  /// The batch, checked. The builder is used up.
  std::shared_ptr<const change::ChangeBatch> Build();

 private:
  struct Table;

  Table& TableOf(const Schema& schema);
  void Add(const Schema& schema, change::ChangeKind kind, Row row, int64_t ordinal);

  change::ChangeBatch batch_;
  std::vector<Table> tables_;
  int64_t next_ordinal_ = 0;
};

/// A key-only old tuple: the key's cells of `row`, null elsewhere.
Row KeyOnly(const change::TableSchema& schema, const Row& row);

}  // namespace freshet::test
