#include "support/batches.h"

#include <arrow/api.h>
#include <arrow/util/decimal.h>

#include <algorithm>
#include <cstdio>

#include "base/check.h"

namespace freshet::test {
namespace {

using change::LogicalKind;
using change::LogicalType;

std::string UuidBytes(const std::string& text) {
  std::string hex = text;
  std::erase(hex, '-');
  CHECK(hex.size() == 32);
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

void Must(const arrow::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "test support: %s\n", status.ToString().c_str());
  CHECK(status.ok());
}

void AppendCell(arrow::ArrayBuilder& builder, const LogicalType& type, const Cell& cell) {
  switch (cell.kind) {
    case Cell::Kind::kNull:
    case Cell::Kind::kUnchanged:
    case Cell::Kind::kException:
      return Must(builder.AppendNull());
    case Cell::Kind::kList: {
      auto& list = static_cast<arrow::ListBuilder&>(builder);
      Must(list.Append());
      for (const Cell& item : cell.items) {
        AppendCell(*list.value_builder(), change::ElementType(type), item);
      }
      return;
    }
    case Cell::Kind::kText:
      break;
  }
  switch (type.kind) {
    case LogicalKind::kUuid:
      return Must(
          static_cast<arrow::FixedSizeBinaryBuilder&>(builder).Append(UuidBytes(cell.text)));
    case LogicalKind::kBytes:
      return Must(static_cast<arrow::BinaryBuilder&>(builder).Append(cell.text));
    case LogicalKind::kDecimal: {
      arrow::Decimal128 value;
      int32_t precision = 0;
      int32_t scale = 0;
      Must(arrow::Decimal128::FromString(cell.text, &value, &precision, &scale));
      const auto rescaled = value.Rescale(scale, type.scale);
      Must(rescaled.status());
      return Must(static_cast<arrow::Decimal128Builder&>(builder).Append(*rescaled));
    }
    default: {
      const auto scalar = arrow::Scalar::Parse(builder.type(), cell.text);
      Must(scalar.status());
      return Must(builder.AppendScalar(**scalar));
    }
  }
}

}  // namespace

Cell Null() { return {Cell::Kind::kNull, ""}; }
Cell Unchanged() { return {Cell::Kind::kUnchanged, ""}; }
Cell Exception(std::string text) { return {Cell::Kind::kException, std::move(text)}; }
Cell List(std::vector<Cell> items) { return {Cell::Kind::kList, "", std::move(items)}; }

change::Column MakeColumn(std::string name, LogicalType type, bool key) {
  return {.name = std::move(name),
          .type_name = change::ToString(type),
          .type = type,
          .identity = key,
          .primary_key = key,
          .not_null = key};
}

change::Column MakeColumn(std::string name, LogicalKind kind, bool key) {
  return MakeColumn(std::move(name), LogicalType{.kind = kind}, key);
}

std::shared_ptr<const change::TableSchema> MakeSchema(change::TableName name,
                                                      std::vector<change::Column> columns,
                                                      change::ReplicaIdentity identity,
                                                      uint32_t table_id) {
  if (table_id == 0) {
    table_id = 16384;  // the first oid of a user's table; the name decides the rest
    for (const char c : name.schema + "." + name.table) {
      table_id = table_id * 31 + static_cast<unsigned char>(c);
    }
  }
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].attnum == 0) columns[i].attnum = static_cast<int16_t>(i + 1);
    if (identity == change::ReplicaIdentity::kFull) columns[i].identity = true;
  }
  return std::make_shared<const change::TableSchema>(change::TableId{table_id}, std::move(name),
                                                     identity, std::move(columns));
}

std::shared_ptr<const change::TableSchema> MakeItemsSchema(std::string table) {
  return MakeSchema(
      {"public", std::move(table)},
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("name", LogicalKind::kText),
       MakeColumn("amount",
                  LogicalType{.kind = LogicalKind::kDecimal, .precision = 12, .scale = 2})});
}

std::shared_ptr<arrow::RecordBatch> MakeRows(const change::TableSchema& schema,
                                             const std::vector<Row>& rows) {
  arrow::ArrayVector arrays;
  for (size_t c = 0; c < schema.columns().size(); ++c) {
    const LogicalType& type = schema.columns()[c].type;
    std::unique_ptr<arrow::ArrayBuilder> builder;
    Must(arrow::MakeBuilder(arrow::default_memory_pool(), change::ArrowType(type), &builder));
    for (const Row& row : rows) {
      CHECK(row.size() == schema.columns().size());
      AppendCell(*builder, type, row[c]);
    }
    arrays.push_back(builder->Finish().ValueOrDie());
  }
  return arrow::RecordBatch::Make(schema.arrow_schema(), static_cast<int64_t>(rows.size()),
                                  std::move(arrays));
}

std::string ValueText(const arrow::Array& values, int64_t row) {
  if (values.IsNull(row)) return "NULL";
  return values.GetScalar(row).ValueOrDie()->ToString();
}

std::vector<std::string> RowTexts(const arrow::RecordBatch& rows) {
  std::vector<std::string> out(static_cast<size_t>(rows.num_rows()));
  for (int c = 0; c < rows.num_columns(); ++c) {
    for (int64_t r = 0; r < rows.num_rows(); ++r) {
      std::string& line = out[static_cast<size_t>(r)];
      if (c > 0) line += " | ";
      line += ValueText(*rows.column(c), r);
    }
  }
  return out;
}

struct BatchBuilder::Table {
  Schema schema;
  std::vector<Row> rows;
  change::TableChanges changes;
};

BatchBuilder::BatchBuilder() = default;
BatchBuilder::~BatchBuilder() = default;
BatchBuilder::BatchBuilder(BatchBuilder&&) noexcept = default;

BatchBuilder& BatchBuilder::Begin(uint64_t end_lsn, change::TransactionKind kind) {
  return Part(end_lsn, true, true, 0, kind);
}

BatchBuilder& BatchBuilder::Part(uint64_t end_lsn, bool begins, bool ends, int64_t first_ordinal,
                                 change::TransactionKind kind) {
  CHECK(end_lsn >= 8);
  constexpr UnixMicros kFirstCommit = 1'700'000'000'000'000;
  batch_.transactions.push_back({.kind = kind,
                                 .xid = {static_cast<uint32_t>(end_lsn)},
                                 .commit_lsn = {end_lsn - 8},
                                 .end_lsn = {ends ? end_lsn : 0},
                                 .commit_time = kFirstCommit + static_cast<int64_t>(end_lsn),
                                 .origin = "",
                                 .begins = begins,
                                 .ends = ends});
  next_ordinal_ = first_ordinal;
  return *this;
}

BatchBuilder& BatchBuilder::Piece(uint64_t end_lsn, int64_t n) {
  Part(end_lsn, true, true, 0, change::TransactionKind::kSnapshot);
  change::Transaction& piece = batch_.transactions.back();
  piece.xid = {};
  piece.commit_lsn = piece.end_lsn;
  piece.ordinal = n;
  return *this;
}

BatchBuilder& BatchBuilder::Step(change::SnapshotProgress step) {
  batch_.snapshots.push_back(std::move(step));
  return *this;
}

BatchBuilder& BatchBuilder::Begun(const Schema& schema, bool replaces) {
  TableOf(schema);
  return Step({.step = change::SnapshotStep::kBegun,
               .table = schema->id(),
               .replaces = replaces,
               .begun_xid = 700});
}

BatchBuilder::Table& BatchBuilder::TableOf(const Schema& schema) {
  auto table = std::find_if(tables_.rbegin(), tables_.rend(),
                            [&](const Table& t) { return t.schema->id() == schema->id(); });
  if (table == tables_.rend() || !(*table->schema == *schema)) {
    tables_.push_back({.schema = schema, .rows = {}, .changes = {}});
    table = tables_.rbegin();
  }
  return *table;
}

void BatchBuilder::Add(const Schema& schema, change::ChangeKind kind, Row row, int64_t ordinal) {
  CHECK(!batch_.transactions.empty());
  Table* const table = &TableOf(schema);
  change::TableChanges& changes = table->changes;
  const auto at = static_cast<int64_t>(table->rows.size());
  for (size_t c = 0; c < row.size(); ++c) {
    const auto column = static_cast<int32_t>(c);
    if (row[c].kind == Cell::Kind::kException) {
      changes.exceptions.push_back({.row = at, .column = column, .text = row[c].text});
    } else if (row[c].kind == Cell::Kind::kUnchanged) {
      auto marks = std::find_if(changes.unchanged.begin(), changes.unchanged.end(),
                                [&](const auto& u) { return u.column == column; });
      if (marks == changes.unchanged.end()) {
        marks = changes.unchanged.insert(marks, {.column = column, .rows = {}});
      }
      marks->rows.push_back(at);
    }
  }
  changes.kinds.push_back(kind);
  changes.transactions.push_back(static_cast<int32_t>(batch_.transactions.size()) - 1);
  changes.ordinals.push_back(ordinal);
  table->rows.push_back(std::move(row));
}

BatchBuilder& BatchBuilder::Insert(const Schema& schema, Row row) {
  Add(schema, change::ChangeKind::kInsert, std::move(row), next_ordinal_++);
  return *this;
}

BatchBuilder& BatchBuilder::Snapshot(const Schema& schema, Row row) {
  Add(schema, change::ChangeKind::kSnapshot, std::move(row), next_ordinal_++);
  return *this;
}

BatchBuilder& BatchBuilder::Update(const Schema& schema, Row new_row) {
  Add(schema, change::ChangeKind::kUpdatePostimage, std::move(new_row), next_ordinal_++);
  return *this;
}

BatchBuilder& BatchBuilder::Update(const Schema& schema, Row old_row, Row new_row) {
  Add(schema, change::ChangeKind::kUpdatePreimage, std::move(old_row), next_ordinal_++);
  Add(schema, change::ChangeKind::kUpdatePostimage, std::move(new_row), next_ordinal_++);
  return *this;
}

BatchBuilder& BatchBuilder::Delete(const Schema& schema, Row old_row) {
  Add(schema, change::ChangeKind::kDelete, std::move(old_row), next_ordinal_++);
  return *this;
}

BatchBuilder& BatchBuilder::Truncate(const std::vector<Schema>& schemas) {
  for (const Schema& schema : schemas) {
    Add(schema, change::ChangeKind::kTruncate, Row(schema->columns().size(), Null()),
        next_ordinal_);
  }
  ++next_ordinal_;
  return *this;
}

BatchBuilder& BatchBuilder::Message(std::string prefix, std::string content) {
  CHECK(!batch_.transactions.empty());
  const change::Transaction& t = batch_.transactions.back();
  batch_.messages.push_back({.transaction = static_cast<int32_t>(batch_.transactions.size()) - 1,
                             .ordinal = next_ordinal_++,
                             .transactional = t.kind != change::TransactionKind::kMessage,
                             .lsn = t.commit_lsn,
                             .prefix = std::move(prefix),
                             .content = std::move(content)});
  return *this;
}

std::shared_ptr<const change::ChangeBatch> BatchBuilder::Build() {
  for (Table& table : tables_) {
    table.changes.schema = table.schema;
    table.changes.rows = MakeRows(*table.schema, table.rows);
    std::sort(table.changes.unchanged.begin(), table.changes.unchanged.end(),
              [](const auto& a, const auto& b) { return a.column < b.column; });
    batch_.tables.push_back(std::move(table.changes));
  }
  change::CheckInvariants(batch_);
  return std::make_shared<const change::ChangeBatch>(std::move(batch_));
}

Row KeyOnly(const change::TableSchema& schema, const Row& row) {
  Row out(row.size(), Null());
  for (const int c : schema.key_columns()) {
    out[static_cast<size_t>(c)] = row[static_cast<size_t>(c)];
  }
  return out;
}

}  // namespace freshet::test
