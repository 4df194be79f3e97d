#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "change/change_batch.h"
#include "postgres/pgoutput.h"
#include "postgres/table_builder.h"
#include "postgres/text_arena.h"

namespace freshet::postgres {

/// A table as the BatchBuilder knows it between rows. Owned by whoever knows the tables; must stay
/// at its address while it has rows in the batch.
struct TableSlot {
  std::shared_ptr<const change::TableSchema> schema;

  /// Where its rows go; null before its first row in a batch. BatchBuilder's own.
  TableBuilder* open = nullptr;
  std::unique_ptr<TableBuilder> spare;
};

/// Collects the changes of consecutive transactions and makes ChangeBatches of them.
///
/// Values are copied once, into an arena, and read from there into columns when a transaction ends
/// and the arena holds kDecodeBytes, so that they are still in the processor's cache. Until then
/// the rows of the open transaction can be parted from those before it at no cost. An open
/// transaction that fills kAloneBytes gets a batch of its own and is then read as it arrives.
///
/// Threads: one. Errors: those of TableBuilder; kUnsupported (binary values); kMalformed (a row of
/// another width than its table). After an error it is of no more use.
class BatchBuilder {
 public:
  static constexpr size_t kDecodeBytes = size_t{128} << 10;
  static constexpr size_t kAloneBytes = size_t{1} << 20;

  explicit BatchBuilder(TextRules text = {});
  ~BatchBuilder();

  /// Adds a row image of the open transaction.
  Status AddRow(TableSlot& table, change::ChangeKind kind, int64_t ordinal,
                const pgoutput::Tuple& tuple);

  /// Adds an image without values: a truncate.
  void AddEmptyRow(TableSlot& table, change::ChangeKind kind, int64_t ordinal);

  /// Adds a message of the open transaction; its transaction index is set here.
  void AddMessage(change::LogicalMessage message);

  /// `table` has a new schema: its next row opens another TableChanges.
  static void SchemaChanged(TableSlot& table);

  /// The open transaction has become large: the whole ones are to be taken (TakeWhole) and
  /// DecodeOpen() called before more rows come.
  bool open_is_large() const { return arena_.used() >= kAloneBytes; }

  /// Reads the open transaction's values into columns. Whole transactions must have been taken.
  Status DecodeOpen();

  /// Ends the open transaction.
  Status EndTransaction(change::Transaction transaction);

  /// The whole transactions; the open one stays. Null when there is none.
  Result<std::shared_ptr<const change::ChangeBatch>> TakeWhole();

  /// What there is of the open transaction, as the part `part` of it. Whole transactions must have
  /// been taken.
  Result<std::shared_ptr<const change::ChangeBatch>> TakePart(change::Transaction part);

  bool has_whole() const { return !transactions_.empty(); }

  /// The open transaction's rows and messages since the last TakePart(), and their bytes.
  int64_t open_changes() const { return open_changes_; }
  int64_t open_bytes() const { return open_bytes_; }

  /// The same of the whole transactions.
  int64_t whole_changes() const { return whole_changes_; }
  int64_t whole_bytes() const { return whole_bytes_; }

 private:
  struct OpenTable {
    TableSlot* slot;
    std::unique_ptr<TableBuilder> builder;
  };

  TableBuilder& BuilderOf(TableSlot& table);
  Status DecodeAll();
  Result<std::shared_ptr<const change::ChangeBatch>> Take();

  const TextRules text_;
  TextArena arena_;
  std::vector<OpenTable> tables_;                  ///< by first row
  std::vector<change::Transaction> transactions_;  ///< whole ones
  std::vector<change::LogicalMessage> messages_;
  int64_t open_changes_ = 0;
  int64_t open_bytes_ = 0;
  int64_t whole_changes_ = 0;
  int64_t whole_bytes_ = 0;
};

}  // namespace freshet::postgres
