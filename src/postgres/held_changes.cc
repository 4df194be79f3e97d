#include "postgres/held_changes.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/api.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/logging.h"

namespace freshet::postgres {

using change::ChangeBatch;
using change::TableChanges;
using BatchPtr = std::shared_ptr<const ChangeBatch>;

namespace {

constexpr std::string_view kSuffix = ".held";

/// Appends plain values and runs of them, in the machine's order.
class Writer {
 public:
  template <typename T>
  void Value(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    Bytes(&value, sizeof(T));
  }
  template <typename T>
  void Run(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    Value(values.size());
    Bytes(values.data(), values.size() * sizeof(T));
  }
  void Text(std::string_view text) {
    Value(text.size());
    Bytes(text.data(), text.size());
  }
  std::vector<std::byte> Take() { return std::move(out_); }
  int64_t size() const { return static_cast<int64_t>(out_.size()); }

 private:
  void Bytes(const void* data, size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), bytes, bytes + size);
  }
  std::vector<std::byte> out_;
};

/// Reads them back. What goes beyond the end yields nothing, and makes ok() false.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}

  template <typename T>
  T Value() {
    T value{};
    const auto bytes = Bytes(sizeof(T));
    if (ok_) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  template <typename T>
  std::vector<T> Run() {
    const auto size = Value<size_t>();
    if (!ok_ || size > left_.size() / sizeof(T)) {
      ok_ = false;
      return {};
    }
    std::vector<T> out(size);
    const auto bytes = Bytes(size * sizeof(T));
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  }
  std::string_view Text() {
    const auto bytes = Bytes(Value<size_t>());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  bool ok() const { return ok_; }
  bool done() const { return left_.empty(); }

 private:
  std::span<const std::byte> Bytes(size_t size) {
    ok_ = ok_ && size <= left_.size();
    if (!ok_) return {};
    const auto out = left_.first(size);
    left_ = left_.subspan(size);
    return out;
  }
  std::span<const std::byte> left_;
  bool ok_ = true;
};

tl::unexpected<Error> Corrupt() {
  return Fail(ErrorKind::kCorrupt,
              "a file with changes that wait for the rows of a table was changed by somebody else");
}

/// The changes of `table` alone, with the transactions they are of.
BatchPtr Only(const ChangeBatch& batch, change::TableId table) {
  auto out = std::make_shared<ChangeBatch>();
  std::vector<int32_t> number(batch.transactions.size(), -1);
  for (const TableChanges& changes : batch.tables) {
    if (changes.schema->id() != table) continue;
    for (const int32_t t : changes.transactions) number[static_cast<size_t>(t)] = 0;
  }
  int32_t next = 0;
  for (size_t i = 0; i < number.size(); ++i) {
    if (number[i] < 0) continue;
    number[i] = next++;
    out->transactions.push_back(batch.transactions[i]);
  }
  for (const TableChanges& changes : batch.tables) {
    if (changes.schema->id() != table || changes.num_rows() == 0) continue;
    out->tables.push_back(changes);
    for (int32_t& t : out->tables.back().transactions) t = number[static_cast<size_t>(t)];
  }
  return out;
}

/// The rest.
BatchPtr Without(const ChangeBatch& batch, change::TableId table) {
  auto out = std::make_shared<ChangeBatch>();
  out->transactions = batch.transactions;
  out->messages = batch.messages;
  for (const TableChanges& changes : batch.tables) {
    if (changes.schema->id() != table) out->tables.push_back(changes);
  }
  return out;
}

void Write(const ChangeBatch& batch, const std::vector<size_t>& schemas, Writer& out) {
  out.Value(batch.transactions.size());
  for (const change::Transaction& t : batch.transactions) {
    out.Value(t.commit_lsn);
    out.Value(t.end_lsn);
    out.Value(t.commit_time);
    out.Text(t.origin);
    out.Value(t.begins);
    out.Value(t.ends);
  }
  out.Value(batch.tables.size());
  for (size_t i = 0; i < batch.tables.size(); ++i) {
    const TableChanges& changes = batch.tables[i];
    out.Value(schemas[i]);
    out.Run(changes.kinds);
    out.Run(changes.transactions);
    out.Run(changes.ordinals);
    out.Value(changes.unchanged.size());
    for (const change::UnchangedRows& marks : changes.unchanged) {
      out.Value(marks.column);
      out.Run(marks.rows);
    }
    out.Value(changes.exceptions.size());
    for (const change::ValueException& e : changes.exceptions) {
      out.Value(e.row);
      out.Value(e.column);
      out.Text(e.text);
    }
  }
}

Status WriteRows(const ChangeBatch& batch, Writer& out) {
  for (const TableChanges& changes : batch.tables) {
    const auto rows =
        arrow::ipc::SerializeRecordBatch(*changes.rows, arrow::ipc::IpcWriteOptions::Defaults());
    if (!rows.ok()) return Fail(ErrorKind::kFatal, "held changes: {}", rows.status().message());
    out.Text(std::string_view(**rows));
  }
  return {};
}

Result<std::shared_ptr<arrow::RecordBatch>> ReadRows(std::string_view bytes,
                                                     const std::shared_ptr<arrow::Schema>& schema) {
  // A copy: the values' memory must not go with the file's.
  const auto buffer = arrow::Buffer::FromString(std::string(bytes));
  arrow::io::BufferReader in(buffer);
  auto rows =
      arrow::ipc::ReadRecordBatch(schema, nullptr, arrow::ipc::IpcReadOptions::Defaults(), &in);
  if (!rows.ok()) return Corrupt();
  return *std::move(rows);
}

Result<BatchPtr> Read(Reader& in,
                      const std::vector<std::shared_ptr<const change::TableSchema>>& schemas) {
  auto out = std::make_shared<ChangeBatch>();
  for (auto left = in.Value<size_t>(); left > 0 && in.ok(); --left) {
    change::Transaction t;
    t.commit_lsn = in.Value<change::Lsn>();
    t.end_lsn = in.Value<change::Lsn>();
    t.commit_time = in.Value<UnixMicros>();
    t.origin = std::string(in.Text());
    t.begins = in.Value<bool>();
    t.ends = in.Value<bool>();
    out->transactions.push_back(std::move(t));
  }
  for (auto left = in.Value<size_t>(); left > 0 && in.ok(); --left) {
    TableChanges changes;
    const auto schema = in.Value<size_t>();
    if (schema >= schemas.size()) return Corrupt();
    changes.schema = schemas[schema];
    changes.kinds = in.Run<change::ChangeKind>();
    changes.transactions = in.Run<int32_t>();
    changes.ordinals = in.Run<int64_t>();
    for (auto marks = in.Value<size_t>(); marks > 0 && in.ok(); --marks) {
      const auto column = in.Value<int32_t>();
      changes.unchanged.push_back({.column = column, .rows = in.Run<int64_t>()});
    }
    for (auto e = in.Value<size_t>(); e > 0 && in.ok(); --e) {
      const auto row = in.Value<int64_t>();
      const auto column = in.Value<int32_t>();
      changes.exceptions.push_back({row, column, std::string(in.Text())});
    }
    out->tables.push_back(std::move(changes));
  }
  for (TableChanges& changes : out->tables) {
    FRESHET_TRY(changes.rows, ReadRows(in.Text(), changes.schema->arrow_schema()));
  }
  if (!in.ok()) return Corrupt();
  return BatchPtr(std::move(out));
}

}  // namespace

HeldChanges::~HeldChanges() { RemoveFiles(); }

void HeldChanges::Note(change::TableId table) {
  CHECK(empty());
  table_ = table;
  cut_ = {};
  forget_noted_ = false;
  state_ = State::kNoting;
}

Status HeldChanges::Hold(change::Lsn cut) {
  CHECK(state_ == State::kNoting);
  state_ = State::kHolding;
  cut_ = cut;
  while (!files_.empty() && files_.front().last_commit < cut) {
    FRESHET_RETURN_IF_ERROR(RemoveFirstFile());
  }
  std::deque<Held> noted;
  noted.swap(memory_);
  memory_bytes_ = 0;
  for (Held& each : noted) {
    each.batch = BehindCut(std::move(each.batch));
    if (each.batch == nullptr) continue;
    memory_bytes_ += each.batch->size_bytes();
    memory_.push_back(std::move(each));
  }
  return {};
}

/// A commit record that begins before the cut, which is the end of a record, ends before it, too.
BatchPtr HeldChanges::BehindCut(BatchPtr changes) const {
  return DropApplied(std::move(changes), {cut_, 0});
}

Result<BatchPtr> HeldChanges::Pass(BatchPtr batch) {
  if (state_ == State::kPassing) return batch;
  const bool concerned =
      std::any_of(batch->tables.begin(), batch->tables.end(), [&](const TableChanges& changes) {
        return changes.schema->id() == table_ && changes.num_rows() > 0;
      });
  if (!concerned) return batch;
  memory_.push_back({.batch = Only(*batch, table_), .noted = state_ == State::kNoting});
  memory_bytes_ += memory_.back().batch->size_bytes();
  if (memory_bytes_ > limits_.memory_bytes) FRESHET_RETURN_IF_ERROR(WriteOut());
  return state_ == State::kNoting ? batch : Without(*batch, table_);
}

void HeldChanges::ForgetNoted() {
  forget_noted_ = true;
  while (!memory_.empty() && memory_.front().noted) {
    memory_bytes_ -= memory_.front().batch->size_bytes();
    memory_.pop_front();
  }
}

Status HeldChanges::WriteOut() {
  if (limits_.folder.empty()) {
    return Fail(ErrorKind::kNoSpace,
                "{} bytes of changes wait for the rows of their table, more than `snapshot_window`",
                memory_bytes_);
  }
  FRESHET_RETURN_IF_ERROR(fs_.MakeFolder(limits_.folder));
  if (next_file_ == 0) {
    FRESHET_TRY(const std::vector<std::string> names, fs_.List(limits_.folder));
    for (const std::string& name : names) {
      if (!name.ends_with(kSuffix)) continue;
      FRESHET_RETURN_IF_ERROR(fs_.Remove(limits_.folder + "/" + name));
    }
  }
  Writer out;
  for (const Held& held : memory_) {
    std::vector<size_t> numbers;
    for (const TableChanges& changes : held.batch->tables) {
      auto at = std::find(schemas_.rbegin(), schemas_.rend(), changes.schema);
      if (at == schemas_.rend()) {
        schemas_.push_back(changes.schema);
        at = schemas_.rbegin();
      }
      numbers.push_back(static_cast<size_t>(schemas_.rend() - at) - 1);
    }
    out.Value(held.noted);
    Write(*held.batch, numbers, out);
    FRESHET_RETURN_IF_ERROR(WriteRows(*held.batch, out));
  }
  if (file_bytes_ + out.size() > limits_.budget_bytes) {
    return Fail(ErrorKind::kNoSpace,
                "{} bytes of changes wait for the rows of their table, more than `spool_budget`; "
                "raise it, or read the table when less is written to it",
                file_bytes_ + out.size());
  }
  File file{.path = fmt::format("{}/{}{}", limits_.folder, next_file_++, kSuffix),
            .bytes = out.size(),
            .last_commit = memory_.back().batch->transactions.back().commit_lsn};
  FRESHET_TRY(const auto opened, fs_.OpenForWriting(file.path));
  files_.push_back(file);
  file_bytes_ += file.bytes;
  const std::vector<std::byte> bytes = out.Take();
  const std::array<std::span<const std::byte>, 1> pieces = {bytes};
  FRESHET_RETURN_IF_ERROR(opened->WriteAt(0, pieces));
  memory_.clear();
  memory_bytes_ = 0;
  return {};
}

Status HeldChanges::ReadBack() {
  const File file = files_.front();
  std::vector<std::byte> bytes(static_cast<size_t>(file.bytes));
  {
    FRESHET_TRY(const auto opened, fs_.OpenForReading(file.path));
    FRESHET_TRY(const size_t read, opened->ReadAt(0, bytes));
    if (read != bytes.size()) return Corrupt();
  }
  Reader in(bytes);
  while (!in.done()) {
    const bool noted = in.Value<bool>();
    FRESHET_TRY(BatchPtr batch, Read(in, schemas_));
    if (noted && forget_noted_) continue;
    batch = BehindCut(std::move(batch));
    if (batch != nullptr) front_.push_back({.batch = std::move(batch), .noted = noted});
  }
  return RemoveFirstFile();
}

Status HeldChanges::RemoveFirstFile() {
  const File file = files_.front();
  files_.pop_front();
  file_bytes_ -= file.bytes;
  return fs_.Remove(file.path);
}

Result<BatchPtr> HeldChanges::Take(const change::Position& behind) {
  while (front_.empty() && !files_.empty()) FRESHET_RETURN_IF_ERROR(ReadBack());
  std::deque<Held>& from = front_.empty() ? memory_ : front_;
  if (from.empty()) return nullptr;
  auto out = std::make_shared<ChangeBatch>(*from.front().batch);
  if (&from == &memory_) memory_bytes_ -= out->size_bytes();
  from.pop_front();
  int64_t ordinal = behind.ordinal;
  for (change::Transaction& t : out->transactions) {
    t = {.kind = change::TransactionKind::kSnapshot,
         .xid = {},
         .commit_lsn = behind.commit_end,
         .end_lsn = behind.commit_end,
         .ordinal = ++ordinal,
         .commit_time = t.commit_time,
         .origin = std::move(t.origin)};
  }
  return BatchPtr(std::move(out));
}

void HeldChanges::Stop() {
  state_ = State::kPassing;
  memory_.clear();
  front_.clear();
  schemas_.clear();
  memory_bytes_ = 0;
  RemoveFiles();
}

void HeldChanges::RemoveFiles() {
  // What cannot be removed now is removed by the next one.
  for (const File& file : files_) static_cast<void>(fs_.Remove(file.path));
  files_.clear();
  file_bytes_ = 0;
}

}  // namespace freshet::postgres
