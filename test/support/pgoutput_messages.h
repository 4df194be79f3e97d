#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"
#include "postgres/pgoutput.h"
#include "postgres/schema_source.h"

namespace freshet::test {

/// The bytes of one pgoutput message.
using MessageBytes = std::vector<std::byte>;

/// Writes big-endian fields one after the other.
class MessageWriter {
 public:
  explicit MessageWriter(char tag) { Char(tag); }

  MessageWriter& Char(char c);
  MessageWriter& U8(uint8_t value);
  MessageWriter& U16(uint16_t value);
  MessageWriter& U32(uint32_t value);
  MessageWriter& U64(uint64_t value);
  MessageWriter& CString(std::string_view text);
  MessageWriter& Raw(std::string_view bytes);

  const MessageBytes& bytes() const { return bytes_; }

 private:
  MessageBytes bytes_;
};

/// One field of a tuple: text, null or unchanged.
struct TupleField {
  // NOLINTNEXTLINE(google-explicit-constructor): so that a tuple is written {"1", "text"}.
  TupleField(const char* value) : kind('t'), text(value) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  TupleField(std::string value) : kind('t'), text(std::move(value)) {}
  TupleField(char field_kind, std::string value) : kind(field_kind), text(std::move(value)) {}

  char kind;
  std::string text;
};

TupleField NullField();
TupleField UnchangedField();

using TupleFields = std::vector<TupleField>;

/// A Relation message's bytes.
MessageBytes RelationBytes(const postgres::pgoutput::Relation& relation);
MessageBytes BeginBytes(uint64_t commit_lsn, uint32_t xid, int64_t postgres_micros = 0);
MessageBytes CommitBytes(uint64_t commit_lsn, uint64_t end_lsn, int64_t postgres_micros = 0);
MessageBytes InsertBytes(uint32_t relation, const TupleFields& row);
/// `old_kind`: 'K', 'O', or 0 for none.
MessageBytes UpdateBytes(uint32_t relation, char old_kind, const TupleFields& old_row,
                         const TupleFields& new_row);
MessageBytes DeleteBytes(uint32_t relation, char old_kind, const TupleFields& old_row);
MessageBytes TruncateBytes(const std::vector<uint32_t>& relations);
MessageBytes LogicalMessageBytes(bool transactional, uint64_t lsn, std::string_view prefix,
                                 std::string_view content);

/// @name Transactions sent while they still run
/// @{
MessageBytes StreamStartBytes(uint32_t xid, bool first);
MessageBytes StreamStopBytes();
MessageBytes StreamCommitBytes(uint32_t xid, uint64_t commit_lsn, uint64_t end_lsn,
                               int64_t postgres_micros = 0);
MessageBytes StreamAbortBytes(uint32_t xid, uint32_t subxid);

/// `message` as it stands inside a streamed chunk: with the xid of the part it belongs to.
MessageBytes InStream(uint32_t part, MessageBytes message);
/// @}

/// Knows tables from the Relation message alone: built-in types, the key flags as primary key.
class MessageSchemaSource final : public postgres::SchemaSource {
 public:
  Result<std::shared_ptr<const change::TableSchema>> Resolve(
      const postgres::pgoutput::Relation& relation) override;

  int calls() const { return calls_; }

 private:
  int calls_ = 0;
};

/// Splits a file of the fuzz corpus into messages: each is a length of four bytes, big-endian, and
/// that many bytes. What is cut off at the end is left out.
std::vector<MessageBytes> SplitMessages(std::span<const std::byte> file);

}  // namespace freshet::test
