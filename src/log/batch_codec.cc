#include "log/batch_codec.h"

#include <arrow/buffer.h>
#include <arrow/ipc/message.h>
#include <arrow/ipc/options.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>
#include <arrow/util/compression.h>

#include <algorithm>
#include <utility>

#include "log/little_endian.h"
#include "log/record.h"
#include "log/snapshot_codec.h"

namespace freshet::log {
namespace {

using change::ChangeBatch;
using change::TableChanges;

/// Rows of one table in one batch; capture's batches stay far below. Keeps hostile bytes from
/// asking for more memory than their own size explains.
constexpr int64_t kMaxTableRows = int64_t{1} << 24;

enum HeadFlag : uint32_t { kHeadBegins = 1, kHeadEnds = 2 };
enum TransactionFlag : uint8_t { kTransactionBegins = 1, kTransactionEnds = 2 };

/// How a column beside the rows is stored.
enum class SideForm : uint8_t {
  kPlain = 0,  ///< one value a row
  kRuns = 1,   ///< (first value, length) of stretches that go on by a fixed step
};

// ---- writing -----------------------------------------------------------------------------------

void WriteHead(LittleEndianWriter& out, const BatchHead& head) {
  out.I64(head.offset.value);
  out.U64(head.end.commit_end.value);
  out.I64(head.end.ordinal);
  out.I64(head.newest_commit);
  out.I64(head.rows);
  out.U32((head.begins ? kHeadBegins : 0U) | (head.ends ? kHeadEnds : 0U));
  out.U32(head.transactions);
  out.U32(head.tables);
  out.U32(head.messages);
  out.U32(head.snapshots);
  out.U32(0);
}

void WriteTransaction(LittleEndianWriter& out, const change::Transaction& t) {
  out.U8(static_cast<uint8_t>(t.kind));
  out.U8(
      static_cast<uint8_t>((t.begins ? kTransactionBegins : 0) | (t.ends ? kTransactionEnds : 0)));
  out.U32(t.xid.value);
  out.U64(t.commit_lsn.value);
  out.U64(t.end_lsn.value);
  if (t.kind == change::TransactionKind::kSnapshot) out.I64(t.ordinal);
  out.I64(t.commit_time);
  out.String(t.origin);
}

void WriteMessage(LittleEndianWriter& out, const change::LogicalMessage& m) {
  out.I32(m.transaction);
  out.I64(m.ordinal);
  out.U8(m.transactional ? 1 : 0);
  out.U64(m.lsn.value);
  out.String(m.prefix);
  out.String(m.content);
}

template <typename T>
bool GoesOn(T before, T value, T step) {
  return value == static_cast<T>(before + step);
}

/// Writes `values` in the smaller of the two forms. In a run each value is the one before + step.
template <typename T>
void WriteSideColumn(LittleEndianWriter& out, std::span<const T> values, T step) {
  size_t runs = values.empty() ? 0 : 1;
  for (size_t i = 1; i < values.size(); ++i) runs += GoesOn(values[i - 1], values[i], step) ? 0 : 1;
  if (runs * (sizeof(T) + sizeof(uint32_t)) >= values.size() * sizeof(T)) {
    out.U8(static_cast<uint8_t>(SideForm::kPlain));
    out.Array(values);
    return;
  }
  out.U8(static_cast<uint8_t>(SideForm::kRuns));
  out.U32(static_cast<uint32_t>(runs));
  for (size_t begin = 0; begin < values.size();) {
    size_t end = begin + 1;
    while (end < values.size() && GoesOn(values[end - 1], values[end], step)) ++end;
    out.Array(values.subspan(begin, 1));
    out.U32(static_cast<uint32_t>(end - begin));
    begin = end;
  }
}

void WriteTable(LittleEndianWriter& out, const TableChanges& table, int64_t schema_place,
                int64_t ipc_bytes) {
  out.I64(schema_place);
  out.I64(ipc_bytes);
  out.U32(static_cast<uint32_t>(table.num_rows()));
  static_assert(sizeof(change::ChangeKind) == sizeof(uint8_t));
  const auto* kinds = reinterpret_cast<const uint8_t*>(table.kinds.data());
  WriteSideColumn<uint8_t>(out, {kinds, table.kinds.size()}, 0);
  WriteSideColumn<int32_t>(out, table.transactions, 0);
  WriteSideColumn<int64_t>(out, table.ordinals, 1);

  out.U32(static_cast<uint32_t>(table.unchanged.size()));
  for (const change::UnchangedRows& column : table.unchanged) {
    out.I32(column.column);
    out.U32(static_cast<uint32_t>(column.rows.size()));
    out.Array(std::span<const int64_t>(column.rows));
  }
  out.U32(static_cast<uint32_t>(table.exceptions.size()));
  for (const change::ValueException& e : table.exceptions) {
    out.I64(e.row);
    out.I32(e.column);
    out.String(e.text);
  }
}

// An encapsulated IPC message: this mark, the length of the metadata, metadata padded to 8, body.
// Source: Arrow Columnar Format, "Encapsulated message format".
constexpr uint32_t kIpcContinuation = 0xFFFF'FFFF;
constexpr int64_t kIpcPrefixBytes = 8;

int64_t IpcMetadataBytes(const arrow::ipc::IpcPayload& payload) {
  return PadTo8(payload.metadata->size());
}

int64_t IpcMessageBytes(const arrow::ipc::IpcPayload& payload) {
  return kIpcPrefixBytes + IpcMetadataBytes(payload) + payload.body_length;
}

std::span<const std::byte> AsSpan(const arrow::Buffer& buffer) {
  return {reinterpret_cast<const std::byte*>(buffer.data()), static_cast<size_t>(buffer.size())};
}

void WriteIpcMessage(Gather& out, const arrow::ipc::IpcPayload& payload) {
  const uint32_t prefix[2] = {kIpcContinuation, static_cast<uint32_t>(IpcMetadataBytes(payload))};
  out.Copy(std::as_bytes(std::span(prefix)));
  out.Copy(AsSpan(*payload.metadata));
  out.PadTo8();
  for (const std::shared_ptr<arrow::Buffer>& buffer : payload.body_buffers) {
    if (buffer == nullptr || buffer->size() == 0) continue;
    out.Refer(AsSpan(*buffer));
    out.PadTo8();
  }
}

arrow::ipc::IpcWriteOptions WriteOptions(Compression compression) {
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.use_threads = false;
  if (compression != Compression::kNone) {
    auto codec =
        arrow::util::Codec::Create(compression == Compression::kLz4 ? arrow::Compression::LZ4_FRAME
                                                                    : arrow::Compression::ZSTD);
    // Both codecs are part of the Arrow we bundle; without one the log stays uncompressed.
    if (codec.ok()) options.codec = *std::move(codec);
  }
  return options;
}

// ---- reading -----------------------------------------------------------------------------------

tl::unexpected<Error> FailBatch(std::string_view what) {
  return Fail(ErrorKind::kMalformed, "batch record: {}", what);
}

BatchHead ReadHead(LittleEndianReader& in) {
  BatchHead head;
  head.offset = LogOffset{in.I64()};
  head.end.commit_end = change::Lsn{in.U64()};
  head.end.ordinal = in.I64();
  head.newest_commit = in.I64();
  head.rows = in.I64();
  const uint32_t flags = in.U32();
  head.begins = (flags & kHeadBegins) != 0;
  head.ends = (flags & kHeadEnds) != 0;
  head.transactions = in.U32();
  head.tables = in.U32();
  head.messages = in.U32();
  head.snapshots = in.U32();
  in.U32();
  return head;
}

change::Transaction ReadTransaction(LittleEndianReader& in) {
  change::Transaction t;
  const uint8_t kind = in.U8();
  const uint8_t flags = in.U8();
  if (kind < static_cast<uint8_t>(change::TransactionKind::kStream) ||
      kind > static_cast<uint8_t>(change::TransactionKind::kMessage)) {
    in.MarkFailed();
  }
  t.kind = static_cast<change::TransactionKind>(kind);
  t.begins = (flags & kTransactionBegins) != 0;
  t.ends = (flags & kTransactionEnds) != 0;
  t.xid = change::Xid{in.U32()};
  t.commit_lsn = change::Lsn{in.U64()};
  t.end_lsn = change::Lsn{in.U64()};
  if (t.kind == change::TransactionKind::kSnapshot) t.ordinal = in.I64();
  t.commit_time = in.I64();
  t.origin = in.String();
  return t;
}

change::LogicalMessage ReadMessage(LittleEndianReader& in, uint32_t transactions) {
  change::LogicalMessage m;
  m.transaction = in.I32();
  m.ordinal = in.I64();
  m.transactional = in.U8() != 0;
  m.lsn = change::Lsn{in.U64()};
  m.prefix = in.String();
  m.content = in.String();
  if (m.transaction < 0 || static_cast<uint32_t>(m.transaction) >= transactions) in.MarkFailed();
  return m;
}

template <typename T>
std::vector<T> ReadSideColumn(LittleEndianReader& in, size_t rows, T step) {
  const uint8_t form = in.U8();
  if (form == static_cast<uint8_t>(SideForm::kPlain)) return in.Array<T>(rows);
  std::vector<T> values;
  if (form != static_cast<uint8_t>(SideForm::kRuns)) {
    in.MarkFailed();
    return values;
  }
  values.reserve(rows);
  const uint32_t runs = in.U32();
  for (uint32_t run = 0; run < runs && in.ok(); ++run) {
    const std::vector<T> first = in.Array<T>(1);
    const uint32_t length = in.U32();
    if (!in.ok() || length > rows - values.size()) {
      in.MarkFailed();
      return values;
    }
    // Unsigned, because hostile bytes may run past the type's end.
    using Unsigned = std::make_unsigned_t<T>;
    auto value = static_cast<Unsigned>(first[0]);
    for (uint32_t i = 0; i < length; ++i) {
      values.push_back(static_cast<T>(value));
      value = static_cast<Unsigned>(value + static_cast<Unsigned>(step));
    }
  }
  if (values.size() != rows) in.MarkFailed();
  return values;
}

bool ValidKinds(const std::vector<uint8_t>& kinds) {
  return std::all_of(kinds.begin(), kinds.end(), [](uint8_t kind) {
    return kind >= static_cast<uint8_t>(change::ChangeKind::kInsert) &&
           kind <= static_cast<uint8_t>(change::ChangeKind::kTruncate);
  });
}

bool ValidTransactions(const std::vector<int32_t>& of_rows, uint32_t count) {
  return of_rows.empty() ||
         (of_rows.front() >= 0 && static_cast<uint32_t>(of_rows.back()) < count &&
          std::is_sorted(of_rows.begin(), of_rows.end()));
}

/// A table as its part of the front says it; its rows come from the IPC message behind.
struct TableFront {
  TableChanges table;
  int64_t schema_place = 0;
  int64_t ipc_bytes = 0;
  int64_t rows = 0;
};

TableFront ReadTable(LittleEndianReader& in, uint32_t transactions) {
  TableFront front;
  front.schema_place = in.I64();
  front.ipc_bytes = in.I64();
  const uint32_t rows = in.U32();
  front.rows = rows;
  if (rows > kMaxTableRows) in.MarkFailed();
  if (!in.ok()) return front;

  TableChanges& table = front.table;
  const auto kinds = ReadSideColumn<uint8_t>(in, rows, 0);
  table.transactions = ReadSideColumn<int32_t>(in, rows, 0);
  table.ordinals = ReadSideColumn<int64_t>(in, rows, 1);
  if (!ValidKinds(kinds) || !ValidTransactions(table.transactions, transactions)) in.MarkFailed();
  table.kinds.reserve(kinds.size());
  for (const uint8_t kind : kinds) table.kinds.push_back(static_cast<change::ChangeKind>(kind));

  const uint32_t unchanged = in.U32();
  for (uint32_t i = 0; i < unchanged && in.ok(); ++i) {
    change::UnchangedRows column;
    column.column = in.I32();
    column.rows = in.Array<int64_t>(in.U32());
    for (const int64_t row : column.rows) {
      if (row < 0 || row >= front.rows) in.MarkFailed();
    }
    table.unchanged.push_back(std::move(column));
  }
  const uint32_t exceptions = in.U32();
  for (uint32_t i = 0; i < exceptions && in.ok(); ++i) {
    change::ValueException e;
    e.row = in.I64();
    e.column = in.I32();
    e.text = in.String();
    if (e.row < 0 || e.row >= front.rows) in.MarkFailed();
    table.exceptions.push_back(std::move(e));
  }
  return front;
}

bool ColumnsInRange(const TableChanges& table) {
  const auto count = static_cast<int32_t>(table.schema->columns().size());
  const auto in_range = [count](int32_t column) { return column >= 0 && column < count; };
  return std::all_of(table.unchanged.begin(), table.unchanged.end(),
                     [&](const auto& c) { return in_range(c.column); }) &&
         std::all_of(table.exceptions.begin(), table.exceptions.end(),
                     [&](const auto& e) { return in_range(e.column); });
}

Result<std::shared_ptr<arrow::RecordBatch>> ReadIpcMessage(
    const std::shared_ptr<arrow::Buffer>& bytes, const std::shared_ptr<arrow::Schema>& schema) {
  LittleEndianReader in(AsSpan(*bytes));
  const uint32_t continuation = in.U32();
  const uint32_t metadata_bytes = in.U32();
  if (!in.ok() || continuation != kIpcContinuation || metadata_bytes > in.remaining()) {
    return FailBatch("an Arrow message has a wrong prefix");
  }
  const auto metadata = arrow::SliceBuffer(bytes, kIpcPrefixBytes, metadata_bytes);
  const auto body = arrow::SliceBuffer(bytes, kIpcPrefixBytes + metadata_bytes);
  const auto message = arrow::ipc::Message::Open(metadata, body);
  if (!message.ok()) return FailBatch(message.status().message());
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.use_threads = false;
  const auto rows = arrow::ipc::ReadRecordBatch(**message, schema, nullptr, options);
  if (!rows.ok()) return FailBatch(rows.status().message());
  const arrow::Status valid = (*rows)->Validate();
  if (!valid.ok()) return FailBatch(valid.message());
  return *rows;
}

/// What change::CheckInvariants() asks of transactions, as a question.
bool ValidTransactionRun(const std::vector<change::Transaction>& all) {
  if (all.empty()) return false;
  for (size_t i = 0; i < all.size(); ++i) {
    const change::Transaction& t = all[i];
    if (t.ends != (t.end_lsn != change::Lsn{})) return false;
    if (!(t.begins && t.ends) && all.size() != 1) return false;
    if (t.ordinal < 0 || (t.ordinal > 0 && !t.ends)) return false;
    if (i > 0 && PositionBehind(all[i - 1]) >= PositionBehind(t)) return false;
  }
  return true;
}

/// The same of snapshots, whose steps were read as valid ones.
bool StepsFit(const ChangeBatch& batch) {
  if (batch.snapshots.empty()) return true;
  const change::Transaction& t = batch.transactions.front();
  if (batch.transactions.size() != 1 || !t.ends) return false;
  return std::ranges::all_of(batch.snapshots, [&](const change::SnapshotProgress& step) {
    if (t.kind != change::TransactionKind::kSnapshot) return MayFollowCommit(step.step);
    return step.step != change::SnapshotStep::kBegun ||
           std::ranges::any_of(batch.tables, [&](const TableChanges& table) {
             return table.schema->id() == step.table;
           });
  });
}

}  // namespace

BatchHead MakeBatchHead(const ChangeBatch& batch, LogOffset offset,
                        const change::Position& before) {
  BatchHead head{.offset = offset,
                 .end = before,
                 .newest_commit = 0,
                 .rows = batch.num_rows(),
                 .begins = batch.transactions.front().begins,
                 .ends = batch.transactions.back().ends,
                 .transactions = static_cast<uint32_t>(batch.transactions.size()),
                 .tables = static_cast<uint32_t>(batch.tables.size()),
                 .messages = static_cast<uint32_t>(batch.messages.size()),
                 .snapshots = static_cast<uint32_t>(batch.snapshots.size())};
  if (head.ends) head.end = PositionBehind(batch.transactions.back());
  for (const change::Transaction& t : batch.transactions) {
    head.newest_commit = std::max(head.newest_commit, t.commit_time);
  }
  return head;
}

Result<BatchHead> DecodeBatchHead(std::span<const std::byte> payload) {
  LittleEndianReader in(payload);
  const BatchHead head = ReadHead(in);
  if (!in.ok()) return FailBatch("shorter than its head");
  return head;
}

Result<std::vector<change::SnapshotProgress>> DecodeSnapshotSteps(
    std::span<const std::byte> payload) {
  LittleEndianReader in(payload);
  const BatchHead head = ReadHead(in);
  auto steps = ReadSnapshotSteps(in, head.snapshots);
  if (!in.ok()) return FailBatch("a step of a snapshot is wrong or cut off");
  return steps;
}

struct BatchEncoder::Impl {
  arrow::ipc::IpcWriteOptions options;
  std::vector<arrow::ipc::IpcPayload> payloads;  // own what `out` refers to
  std::vector<std::byte> front;
  Gather out;
};

BatchEncoder::BatchEncoder(Compression compression)
    : impl_(std::make_unique<Impl>(Impl{WriteOptions(compression), {}, {}, {}})) {}

BatchEncoder::~BatchEncoder() = default;

Result<Gather*> BatchEncoder::Encode(const BatchHead& head, const ChangeBatch& batch,
                                     std::span<const int64_t> schema_places) {
  impl_->payloads.clear();
  impl_->front.clear();
  impl_->out.Clear();
  for (const TableChanges& table : batch.tables) {
    if (table.num_rows() > kMaxTableRows) {
      return Fail(ErrorKind::kUnsupported, "a batch has {} rows of table {}, the log takes {}",
                  table.num_rows(), ToString(table.schema->name()), kMaxTableRows);
    }
    const arrow::Status status = arrow::ipc::GetRecordBatchPayload(*table.rows, impl_->options,
                                                                   &impl_->payloads.emplace_back());
    if (!status.ok()) {
      return Fail(ErrorKind::kFatal, "encode rows of table {}: {}", ToString(table.schema->name()),
                  status.message());
    }
  }

  LittleEndianWriter front(impl_->front);
  WriteHead(front, head);
  WriteSnapshotSteps(front, batch.snapshots);
  for (const change::Transaction& t : batch.transactions) WriteTransaction(front, t);
  for (const change::LogicalMessage& m : batch.messages) WriteMessage(front, m);
  for (size_t i = 0; i < batch.tables.size(); ++i) {
    WriteTable(front, batch.tables[i], schema_places[i], IpcMessageBytes(impl_->payloads[i]));
  }
  front.PadTo8();

  impl_->out.Refer(impl_->front);
  for (const arrow::ipc::IpcPayload& payload : impl_->payloads) {
    WriteIpcMessage(impl_->out, payload);
  }
  if (impl_->out.size_bytes() > kMaxPayloadBytes) {
    return Fail(ErrorKind::kUnsupported, "a batch takes {} bytes in the log, a record holds {}",
                impl_->out.size_bytes(), kMaxPayloadBytes);
  }
  return &impl_->out;
}

Result<std::shared_ptr<const ChangeBatch>> DecodeBatch(
    const std::shared_ptr<arrow::Buffer>& payload, const SchemaAt& schema_at) {
  LittleEndianReader in(AsSpan(*payload));
  const BatchHead head = ReadHead(in);
  auto batch = std::make_shared<ChangeBatch>();
  batch->snapshots = ReadSnapshotSteps(in, head.snapshots);
  for (uint32_t i = 0; i < head.transactions && in.ok(); ++i) {
    batch->transactions.push_back(ReadTransaction(in));
  }
  for (uint32_t i = 0; i < head.messages && in.ok(); ++i) {
    batch->messages.push_back(ReadMessage(in, head.transactions));
  }
  std::vector<TableFront> fronts;
  for (uint32_t i = 0; i < head.tables && in.ok(); ++i) {
    fronts.push_back(ReadTable(in, head.transactions));
  }
  if (!in.ok()) return FailBatch("a field is wrong or cut off");
  if (!ValidTransactionRun(batch->transactions)) return FailBatch("its transactions do not fit");

  int64_t at = PadTo8(payload->size() - static_cast<int64_t>(in.remaining()));
  for (TableFront& front : fronts) {
    if (front.ipc_bytes < kIpcPrefixBytes || front.ipc_bytes > payload->size() - at) {
      return FailBatch("an Arrow message is cut off");
    }
    FRESHET_TRY(front.table.schema, schema_at(front.schema_place));
    FRESHET_TRY(front.table.rows, ReadIpcMessage(arrow::SliceBuffer(payload, at, front.ipc_bytes),
                                                 front.table.schema->arrow_schema()));
    if (front.table.rows->num_rows() != front.rows || !ColumnsInRange(front.table)) {
      return FailBatch("rows and what stands beside them differ");
    }
    at += front.ipc_bytes;
    batch->tables.push_back(std::move(front.table));
  }
  if (at != payload->size()) return FailBatch("bytes are left over");
  if (!StepsFit(*batch)) return FailBatch("its snapshot steps do not fit");
  return batch;
}

}  // namespace freshet::log
