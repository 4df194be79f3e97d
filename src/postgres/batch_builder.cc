#include "postgres/batch_builder.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace freshet::postgres {
namespace {

using change::ChangeBatch;
using BatchPtr = std::shared_ptr<const ChangeBatch>;

}  // namespace

BatchBuilder::BatchBuilder(TextRules text) : text_(std::move(text)) {}
BatchBuilder::~BatchBuilder() = default;

Status BatchBuilder::AddRow(TableSlot& table, change::ChangeKind kind, int64_t ordinal,
                            const pgoutput::Tuple& tuple) {
  const size_t width = table.schema->columns().size();
  if (tuple.columns() != width) {
    return Fail(ErrorKind::kMalformed, "table {}: the server sent a row of {} columns, not {}",
                change::ToString(table.schema->name()), tuple.columns(), width);
  }
  TableBuilder& builder = BuilderOf(table);
  const uint32_t offset = arena_.Append(tuple.bytes().data(), tuple.bytes().size());
  Cell* cell = builder.AddRow(kind, static_cast<int32_t>(transactions_.size()), ordinal);
  const std::byte* const first = tuple.bytes().data();
  bool binary = false;
  tuple.ForEach([&](const pgoutput::Field& field) {
    if (field.kind == pgoutput::FieldKind::kText) [[likely]] {
      cell->offset = offset + static_cast<uint32_t>(field.value.data() - first);
      cell->size = static_cast<int32_t>(field.value.size());
    } else if (field.kind == pgoutput::FieldKind::kUnchanged) {
      cell->size = Cell::kUnchanged;
    }
    binary |= field.kind == pgoutput::FieldKind::kBinary;
    ++cell;
  });
  if (binary) {
    return Fail(ErrorKind::kUnsupported,
                "table {}: the server sent a value in binary format, which was not asked for",
                change::ToString(table.schema->name()));
  }
  ++open_changes_;
  open_bytes_ += static_cast<int64_t>(tuple.bytes().size()) + builder.empty_row_bytes();
  return {};
}

void BatchBuilder::AddEmptyRow(TableSlot& table, change::ChangeKind kind, int64_t ordinal) {
  TableBuilder& builder = BuilderOf(table);
  builder.AddRow(kind, static_cast<int32_t>(transactions_.size()), ordinal);
  ++open_changes_;
  open_bytes_ += builder.empty_row_bytes();
}

void BatchBuilder::AddMessage(change::LogicalMessage message) {
  message.transaction = static_cast<int32_t>(transactions_.size());
  ++open_changes_;
  open_bytes_ +=
      static_cast<int64_t>(sizeof(message) + message.prefix.size() + message.content.size());
  messages_.push_back(std::move(message));
}

void BatchBuilder::SchemaChanged(TableSlot& table) {
  table.open = nullptr;
  table.spare = nullptr;
}

Status BatchBuilder::DecodeOpen() {
  CHECK(!has_whole());
  return DecodeAll();
}

Status BatchBuilder::EndTransaction(change::Transaction transaction) {
  transactions_.push_back(std::move(transaction));
  whole_changes_ += std::exchange(open_changes_, 0);
  whole_bytes_ += std::exchange(open_bytes_, 0);
  if (arena_.used() >= kDecodeBytes) return DecodeAll();
  return {};
}

Result<BatchPtr> BatchBuilder::TakeWhole() {
  if (!has_whole()) return nullptr;
  whole_changes_ = 0;
  whole_bytes_ = 0;
  return Take();
}

Result<BatchPtr> BatchBuilder::TakePart(change::Transaction part) {
  CHECK(!has_whole());
  transactions_.push_back(std::move(part));
  open_changes_ = 0;
  open_bytes_ = 0;
  return Take();
}

Result<BatchPtr> BatchBuilder::Take() {
  auto batch = std::make_shared<ChangeBatch>();
  const auto open = static_cast<int32_t>(transactions_.size());
  std::vector<OpenTable> kept;
  for (OpenTable& table : tables_) {
    FRESHET_TRY(change::TableChanges changes, table.builder->TakeBefore(open, arena_.data()));
    if (changes.num_rows() > 0) batch->tables.push_back(std::move(changes));
    if (table.builder->rows() > 0) {
      kept.push_back(std::move(table));
    } else if (table.slot->open == table.builder.get()) {
      table.slot->open = nullptr;
      table.slot->spare = std::move(table.builder);
    }
  }
  tables_ = std::move(kept);
  if (tables_.empty()) arena_.Clear();

  const auto first_open =
      std::find_if(messages_.begin(), messages_.end(),
                   [&](const change::LogicalMessage& m) { return m.transaction == open; });
  batch->messages.assign(std::make_move_iterator(messages_.begin()),
                         std::make_move_iterator(first_open));
  messages_.erase(messages_.begin(), first_open);
  for (change::LogicalMessage& message : messages_) message.transaction = 0;

  batch->transactions = std::exchange(transactions_, {});
  change::CheckInvariants(*batch);
  return batch;
}

TableBuilder& BatchBuilder::BuilderOf(TableSlot& table) {
  if (table.open == nullptr) [[unlikely]] {
    auto builder = table.spare != nullptr ? std::move(table.spare)
                                          : std::make_unique<TableBuilder>(table.schema, text_);
    table.open = builder.get();
    tables_.push_back({.slot = &table, .builder = std::move(builder)});
  }
  return *table.open;
}

Status BatchBuilder::DecodeAll() {
  for (OpenTable& table : tables_) {
    FRESHET_RETURN_IF_ERROR(table.builder->Decode(arena_.data()));
  }
  arena_.Clear();
  return {};
}

}  // namespace freshet::postgres
