#include "postgres/pgoutput.h"

#include <limits>

namespace freshet::postgres::pgoutput {
namespace {

using change::Lsn;
using change::TableId;
using change::Xid;
using std::string_view;

/// PostgreSQL allows 1600 columns in a table.
constexpr size_t kMaxColumns = 1600;

/// The server's times count from 2000-01-01, ours from 1970-01-01.
constexpr int64_t kPostgresEpochMicros = 946'684'800'000'000;

/// Reads one message and remembers the first thing wrong with it, so that the parsers below are
/// plain lists of fields.
class MessageReader {
 public:
  /// `message` is not empty; its first byte, the tag, is skipped.
  explicit MessageReader(std::span<const std::byte> message) : message_(message), in_(message) {
    in_.ReadU8();
  }

  ByteReader& in() { return in_; }
  bool ok() const { return in_.ok() && problem_ == nullptr; }

  Lsn ReadLsn() { return Lsn{in_.ReadU64()}; }
  Xid ReadXid() { return Xid{in_.ReadU32()}; }

  std::optional<Xid> ReadXidIf(bool in_stream) {
    if (!in_stream) return std::nullopt;
    return ReadXid();
  }

  UnixMicros ReadTime() {
    const int64_t since_2000 = in_.ReadI64();
    if (since_2000 > std::numeric_limits<int64_t>::max() - kPostgresEpochMicros) {
      Problem("a time beyond what 64 bits hold");
      return 0;
    }
    return since_2000 + kPostgresEpochMicros;
  }

  /// The empty name stands for the schema every search path begins with.
  std::string ReadSchema() {
    const string_view name = in_.ReadCString();
    return std::string(name.empty() ? "pg_catalog" : name);
  }

  /// Checks a whole tuple, field by field; the result views it.
  Tuple ReadTuple() {
    const uint16_t columns = in_.ReadU16();
    if (columns > kMaxColumns) {
      Problem("more columns than a table can have");
      return {};
    }
    const std::byte* first = in_.position();
    for (uint16_t i = 0; i < columns; ++i) {
      const char kind = static_cast<char>(in_.ReadU8());
      if (kind == 't' || kind == 'b') {
        in_.ReadBytes(in_.ReadU32());
      } else if (kind != 'n' && kind != 'u') {
        Problem("a field that is neither null, unchanged, text nor binary");
        return {};
      }
    }
    if (!in_.ok()) return {};
    return {columns, {first, static_cast<size_t>(in_.position() - first)}};
  }

  /// Reads a byte that must be 0 today.
  void ReadUnusedFlags() {
    if (in_.ReadU8() != 0) Problem("flags that this protocol version does not have");
  }

  /// Notes what is wrong; `what` is a constant text. The first note counts.
  void Problem(const char* what) {
    if (problem_ != nullptr) return;
    problem_ = what;
    problem_at_ = at();
  }

  Status Done() const {
    if (problem_ == nullptr && in_.Finished()) return {};
    if (problem_ != nullptr && in_.ok()) return Error(problem_, problem_at_);
    return in_.ok() ? Error("bytes left over", at()) : Error("it ends too early", message_.size());
  }

 private:
  size_t at() const { return static_cast<size_t>(in_.position() - message_.data()); }

  Status Error(const char* what, size_t at) const {
    const char tag = static_cast<char>(message_[0]);
    return Fail(ErrorKind::kMalformed,
                "the server sent a malformed pgoutput message '{}' of {} bytes: {} (byte {})",
                tag >= ' ' && tag <= '~' ? tag : '?', message_.size(), what, at);
  }

  std::span<const std::byte> message_;
  ByteReader in_;
  const char* problem_ = nullptr;
  size_t problem_at_ = 0;
};

Begin ReadBegin(MessageReader& r) {
  return {.final_lsn = r.ReadLsn(), .commit_time = r.ReadTime(), .xid = r.ReadXid()};
}

Commit ReadCommit(MessageReader& r) {
  r.ReadUnusedFlags();
  return {.commit_lsn = r.ReadLsn(), .end_lsn = r.ReadLsn(), .commit_time = r.ReadTime()};
}

Relation ReadRelation(MessageReader& r, bool in_stream) {
  Relation out{.xid = r.ReadXidIf(in_stream),
               .id = TableId{r.in().ReadU32()},
               .schema = r.ReadSchema(),
               .table = std::string(r.in().ReadCString()),
               .columns = {}};
  switch (r.in().ReadU8()) {
    case 'd':
      out.identity = change::ReplicaIdentity::kDefault;
      break;
    case 'n':
      out.identity = change::ReplicaIdentity::kNothing;
      break;
    case 'f':
      out.identity = change::ReplicaIdentity::kFull;
      break;
    case 'i':
      out.identity = change::ReplicaIdentity::kIndex;
      break;
    default:
      r.Problem("an unknown replica identity");
  }
  const uint16_t columns = r.in().ReadU16();
  if (columns > kMaxColumns) r.Problem("more columns than a table can have");
  for (uint16_t i = 0; i < columns && r.ok(); ++i) {
    const uint8_t flags = r.in().ReadU8();
    if (flags > 1) r.Problem("unknown flags of a column");
    out.columns.push_back({.name = std::string(r.in().ReadCString()),
                           .type_oid = r.in().ReadU32(),
                           .typmod = r.in().ReadI32(),
                           .key = flags == 1});
  }
  return out;
}

Type ReadType(MessageReader& r, bool in_stream) {
  return {.xid = r.ReadXidIf(in_stream),
          .oid = r.in().ReadU32(),
          .schema = r.ReadSchema(),
          .name = std::string(r.in().ReadCString())};
}

void ReadRow(MessageReader& r, char tag, bool in_stream, Row& out) {
  out.operation = static_cast<RowOperation>(tag);
  out.old_kind = OldTuple::kNone;
  out.xid = r.ReadXidIf(in_stream);
  out.relation = TableId{r.in().ReadU32()};
  char part = static_cast<char>(r.in().ReadU8());
  if (part == 'K' || part == 'O') {
    if (tag == 'I') r.Problem("an insert with an old row");
    out.old_kind = static_cast<OldTuple>(part);
    out.old_tuple = r.ReadTuple();
    if (tag == 'D') return;
    part = static_cast<char>(r.in().ReadU8());
  } else {
    out.old_tuple = {};
  }
  if (part != 'N' || tag == 'D') {
    r.Problem("an unexpected kind of row image");
    return;
  }
  out.new_tuple = r.ReadTuple();
}

Truncate ReadTruncate(MessageReader& r, bool in_stream) {
  Truncate out{.xid = r.ReadXidIf(in_stream), .relations = {}};
  const uint32_t count = r.in().ReadU32();
  const uint8_t options = r.in().ReadU8();
  if (options > 3) r.Problem("unknown options of a truncate");
  out.cascade = (options & 1) != 0;
  out.restart_identity = (options & 2) != 0;
  if (count > r.in().remaining() / sizeof(uint32_t)) {
    r.Problem("more tables than the message has room for");
    return out;
  }
  out.relations.reserve(count);
  for (uint32_t i = 0; i < count; ++i) out.relations.push_back(TableId{r.in().ReadU32()});
  return out;
}

LogicalMessage ReadLogicalMessage(MessageReader& r, bool in_stream) {
  LogicalMessage out;
  out.xid = r.ReadXidIf(in_stream);
  const uint8_t flags = r.in().ReadU8();
  if (flags > 1) r.Problem("unknown flags of a logical message");
  out.transactional = flags == 1;
  out.lsn = r.ReadLsn();
  out.prefix = r.in().ReadCString();
  out.content = r.in().ReadBytes(r.in().ReadU32());
  return out;
}

StreamStart ReadStreamStart(MessageReader& r) {
  const Xid xid = r.ReadXid();
  const uint8_t first = r.in().ReadU8();
  if (first > 1) r.Problem("a first-segment flag that is neither 0 nor 1");
  return {.xid = xid, .first_segment = first == 1};
}

StreamCommit ReadStreamCommit(MessageReader& r) {
  return {.xid = r.ReadXid(), .commit = ReadCommit(r)};
}

StreamAbort ReadStreamAbort(MessageReader& r) {
  StreamAbort out{.xid = r.ReadXid(), .subxid = r.ReadXid(), .abort_lsn = {}, .abort_time = {}};
  if (r.in().remaining() > 0) {
    out.abort_lsn = r.ReadLsn();
    out.abort_time = r.ReadTime();
  }
  return out;
}

TwoPhase ReadTwoPhase(MessageReader& r, TwoPhaseStep step) {
  if (step != TwoPhaseStep::kBeginPrepare) r.ReadUnusedFlags();
  return {.step = step,
          .lsn = r.ReadLsn(),
          .end_lsn = r.ReadLsn(),
          .time = r.ReadTime(),
          .xid = r.ReadXid(),
          .gid = r.in().ReadCString()};
}

RollbackPrepared ReadRollbackPrepared(MessageReader& r) {
  r.ReadUnusedFlags();
  return {.prepare_end_lsn = r.ReadLsn(),
          .rollback_end_lsn = r.ReadLsn(),
          .prepare_time = r.ReadTime(),
          .rollback_time = r.ReadTime(),
          .xid = r.ReadXid(),
          .gid = r.in().ReadCString()};
}

Message ReadMessage(MessageReader& r, char tag, bool in_stream) {
  switch (tag) {
    case 'B':
      return ReadBegin(r);
    case 'C':
      return ReadCommit(r);
    case 'O':
      return Origin{.commit_lsn = r.ReadLsn(), .name = r.in().ReadCString()};
    case 'R':
      return ReadRelation(r, in_stream);
    case 'Y':
      return ReadType(r, in_stream);
    case 'I':
    case 'U':
    case 'D': {
      Row row;
      ReadRow(r, tag, in_stream, row);
      return row;
    }
    case 'T':
      return ReadTruncate(r, in_stream);
    case 'M':
      return ReadLogicalMessage(r, in_stream);
    case 'S':
      return ReadStreamStart(r);
    case 'E':
      return StreamStop{};
    case 'c':
      return ReadStreamCommit(r);
    case 'A':
      return ReadStreamAbort(r);
    case 'b':
    case 'P':
    case 'K':
    case 'p':
      return ReadTwoPhase(r, static_cast<TwoPhaseStep>(tag));
    case 'r':
      return ReadRollbackPrepared(r);
    default:
      r.Problem("an unknown kind of message");
      return StreamStop{};
  }
}

}  // namespace

Result<Message> Parser::Parse(std::span<const std::byte> message) {
  if (message.empty()) {
    return Fail(ErrorKind::kMalformed, "the server sent an empty pgoutput message");
  }
  const char tag = static_cast<char>(message[0]);
  MessageReader reader(message);
  Message out = ReadMessage(reader, tag, in_stream_);
  if ((tag == 'S' && in_stream_) || (tag == 'E' && !in_stream_)) {
    reader.Problem("a streamed chunk begins inside another one, or ends outside of any");
  }
  FRESHET_RETURN_IF_ERROR(reader.Done());
  if (tag == 'S') in_stream_ = true;
  if (tag == 'E') in_stream_ = false;
  return out;
}

Status Parser::ParseRow(std::span<const std::byte> message, Row& row) const {
  if (!IsRow(message)) return Fail(ErrorKind::kMalformed, "not a row message");
  MessageReader reader(message);
  ReadRow(reader, static_cast<char>(message[0]), in_stream_, row);
  return reader.Done();
}

}  // namespace freshet::postgres::pgoutput
