#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/byte_reader.h"
#include "base/clock.h"
#include "base/result.h"
#include "change/ids.h"
#include "change/table_schema.h"

/// The messages of PostgreSQL's output plugin `pgoutput`, protocol versions 1 to 4.
///
/// Views (string_view, span, Tuple) point into the bytes parsed and live as long as those. An `xid`
/// beside other fields is there only between StreamStart and StreamStop, and is then the
/// subtransaction's. Source: PostgreSQL manual, "Logical Replication Message Formats".
namespace freshet::postgres::pgoutput {

/// 'B': a transaction begins; all its changes follow, then its Commit.
struct Begin {
  change::Lsn final_lsn;  ///< the Commit's commit_lsn
  UnixMicros commit_time = 0;
  change::Xid xid;
};

/// 'C'
struct Commit {
  change::Lsn commit_lsn;  ///< start of the commit record
  change::Lsn end_lsn;     ///< one past it
  UnixMicros commit_time = 0;
};

/// 'O': where the transaction was made first, when it was replicated into the source.
struct Origin {
  change::Lsn commit_lsn;  ///< on the origin
  std::string_view name;
};

struct RelationColumn {
  std::string name;
  uint32_t type_oid = 0;
  int32_t typmod = -1;
  bool key = false;  ///< part of the replica identity

  bool operator==(const RelationColumn&) const = default;
};

/// 'R': describes a table before its first row, and again after anything that may have changed it.
struct Relation {
  std::optional<change::Xid> xid;
  change::TableId id;
  std::string schema;  ///< "pg_catalog" where the message has none
  std::string table;
  change::ReplicaIdentity identity = change::ReplicaIdentity::kDefault;
  std::vector<RelationColumn> columns;

  bool operator==(const Relation&) const = default;
};

/// 'Y': names a user-defined type. For a domain, `oid` is the domain's and the names are those of
/// its base type.
struct Type {
  std::optional<change::Xid> xid;
  uint32_t oid = 0;
  std::string schema;  ///< "pg_catalog" where the message has none
  std::string name;
};

/// How a tuple carries one column.
enum class FieldKind : char {
  kNull = 'n',
  kUnchanged = 'u',  ///< TOASTed and unchanged: the value is not in the message
  kText = 't',
  kBinary = 'b',
};

/// One column of a tuple.
struct Field {
  FieldKind kind = FieldKind::kNull;
  std::span<const std::byte> value;  ///< empty unless text or binary
};

/// The columns of one row image, in place: bytes that were checked to hold exactly `columns`
/// fields.
class Tuple {
 public:
  Tuple() = default;
  Tuple(uint16_t columns, std::span<const std::byte> bytes) : bytes_(bytes), columns_(columns) {}

  uint16_t columns() const { return columns_; }

  /// The fields as the message holds them, after the column count.
  std::span<const std::byte> bytes() const { return bytes_; }

  /// Calls `on_field(Field)` for each column in order.
  template <typename OnField>
  void ForEach(OnField&& on_field) const {
    ByteReader in(bytes_);
    for (uint16_t i = 0; i < columns_; ++i) {
      Field field{.kind = static_cast<FieldKind>(in.ReadU8()), .value = {}};
      if (field.kind == FieldKind::kText || field.kind == FieldKind::kBinary) {
        field.value = in.ReadBytes(in.ReadU32());
      }
      on_field(field);
    }
  }

 private:
  std::span<const std::byte> bytes_;
  uint16_t columns_ = 0;
};

enum class RowOperation : char { kInsert = 'I', kUpdate = 'U', kDelete = 'D' };

/// What an update or a delete says of the old row.
enum class OldTuple : char {
  kNone = 0,    ///< nothing: the key did not change
  kKey = 'K',   ///< the replica identity's columns; all others are sent as null
  kFull = 'O',  ///< the whole row (replica identity FULL)
};

/// 'I', 'U', 'D'
struct Row {
  RowOperation operation = RowOperation::kInsert;
  OldTuple old_kind = OldTuple::kNone;
  std::optional<change::Xid> xid;
  change::TableId relation;
  Tuple old_tuple;  ///< update and delete; without columns when old_kind is kNone
  Tuple new_tuple;  ///< insert and update
};

/// 'T': all tables emptied by one statement, those reached by CASCADE included.
struct Truncate {
  std::optional<change::Xid> xid;
  bool cascade = false;
  bool restart_identity = false;
  std::vector<change::TableId> relations;
};

/// 'M': pg_logical_emit_message().
struct LogicalMessage {
  std::optional<change::Xid> xid;
  bool transactional = false;  ///< false: sent at once, outside of any transaction
  change::Lsn lsn;
  std::string_view prefix;
  std::span<const std::byte> content;
};

/// 'S': a chunk of a transaction still running (protocol 2).
struct StreamStart {
  change::Xid xid;
  bool first_segment = false;
};

/// 'E'
struct StreamStop {};

/// 'c'
struct StreamCommit {
  change::Xid xid;
  Commit commit;
};

/// 'A'
struct StreamAbort {
  change::Xid xid;
  change::Xid subxid;                    ///< = xid: the whole transaction
  std::optional<change::Lsn> abort_lsn;  ///< protocol 4 with streaming=parallel
  std::optional<UnixMicros> abort_time;  ///< likewise
};

/// 'b', 'P', 'K', 'p': begin prepare, prepare, commit prepared, stream prepare (protocol 3).
enum class TwoPhaseStep : char {
  kBeginPrepare = 'b',
  kPrepare = 'P',
  kCommitPrepared = 'K',
  kStreamPrepare = 'p',
};

struct TwoPhase {
  TwoPhaseStep step = TwoPhaseStep::kBeginPrepare;
  change::Lsn lsn;      ///< of the prepare, or of the commit for kCommitPrepared
  change::Lsn end_lsn;  ///< one past that record
  UnixMicros time = 0;
  change::Xid xid;
  std::string_view gid;
};

/// 'r'
struct RollbackPrepared {
  change::Lsn prepare_end_lsn;
  change::Lsn rollback_end_lsn;
  UnixMicros prepare_time = 0;
  UnixMicros rollback_time = 0;
  change::Xid xid;
  std::string_view gid;
};

using Message =
    std::variant<Begin, Commit, Origin, Relation, Type, Row, Truncate, LogicalMessage, StreamStart,
                 StreamStop, StreamCommit, StreamAbort, TwoPhase, RollbackPrepared>;

/// Parses pgoutput messages one at a time. Its only state: whether we stand inside a streamed
/// chunk, since messages carry an xid there. Rows are parsed without allocation.
///
/// Errors: kMalformed, with the byte where the message goes wrong, for anything that is not exactly
/// one message.
class Parser {
 public:
  Result<Message> Parse(std::span<const std::byte> message);

  /// The same for 'I', 'U' and 'D' alone, without the variant around it.
  Status ParseRow(std::span<const std::byte> message, Row& row) const;

  /// Whether the next message stands between StreamStart and StreamStop.
  bool in_stream() const { return in_stream_; }

 private:
  bool in_stream_ = false;
};

/// Tag of a message that no server sends: it stands where changes were turned away that count
/// nevertheless, so that a change's place in its transaction does not hang on what is chosen.
/// Behind it, in a streamed chunk, the xid; then how many changes, one byte.
inline constexpr char kTurnedAway = '#';

/// Whether `message` is an insert, update or delete.
inline bool IsRow(std::span<const std::byte> message) {
  if (message.empty()) return false;
  const char tag = static_cast<char>(message[0]);
  return tag == 'I' || tag == 'U' || tag == 'D';
}

}  // namespace freshet::postgres::pgoutput
