#include "support/pgoutput_messages.h"

#include "base/byte_reader.h"

namespace freshet::test {
namespace {

void WriteTuple(MessageWriter& out, const TupleFields& row) {
  out.U16(static_cast<uint16_t>(row.size()));
  for (const TupleField& field : row) {
    out.Char(field.kind);
    if (field.kind != 't' && field.kind != 'b') continue;
    out.U32(static_cast<uint32_t>(field.text.size())).Raw(field.text);
  }
}

char IdentityLetter(change::ReplicaIdentity identity) {
  switch (identity) {
    case change::ReplicaIdentity::kDefault:
      return 'd';
    case change::ReplicaIdentity::kNothing:
      return 'n';
    case change::ReplicaIdentity::kFull:
      return 'f';
    case change::ReplicaIdentity::kIndex:
      return 'i';
  }
  return '?';
}

}  // namespace

MessageWriter& MessageWriter::Char(char c) { return U8(static_cast<uint8_t>(c)); }

MessageWriter& MessageWriter::U8(uint8_t value) {
  bytes_.push_back(static_cast<std::byte>(value));
  return *this;
}

MessageWriter& MessageWriter::U16(uint16_t value) {
  return U8(static_cast<uint8_t>(value >> 8)).U8(static_cast<uint8_t>(value));
}

MessageWriter& MessageWriter::U32(uint32_t value) {
  return U16(static_cast<uint16_t>(value >> 16)).U16(static_cast<uint16_t>(value));
}

MessageWriter& MessageWriter::U64(uint64_t value) {
  return U32(static_cast<uint32_t>(value >> 32)).U32(static_cast<uint32_t>(value));
}

MessageWriter& MessageWriter::CString(std::string_view text) { return Raw(text).U8(0); }

MessageWriter& MessageWriter::Raw(std::string_view bytes) {
  for (const char c : bytes) Char(c);
  return *this;
}

TupleField NullField() { return {'n', ""}; }
TupleField UnchangedField() { return {'u', ""}; }

MessageBytes RelationBytes(const postgres::pgoutput::Relation& relation) {
  MessageWriter out('R');
  if (relation.xid) out.U32(relation.xid->value);
  out.U32(relation.id.value).CString(relation.schema).CString(relation.table);
  out.Char(IdentityLetter(relation.identity));
  out.U16(static_cast<uint16_t>(relation.columns.size()));
  for (const auto& column : relation.columns) {
    out.U8(column.key ? 1 : 0).CString(column.name).U32(column.type_oid);
    out.U32(static_cast<uint32_t>(column.typmod));
  }
  return out.bytes();
}

MessageBytes BeginBytes(uint64_t commit_lsn, uint32_t xid, int64_t postgres_micros) {
  return MessageWriter('B')
      .U64(commit_lsn)
      .U64(static_cast<uint64_t>(postgres_micros))
      .U32(xid)
      .bytes();
}

MessageBytes CommitBytes(uint64_t commit_lsn, uint64_t end_lsn, int64_t postgres_micros) {
  return MessageWriter('C')
      .U8(0)
      .U64(commit_lsn)
      .U64(end_lsn)
      .U64(static_cast<uint64_t>(postgres_micros))
      .bytes();
}

MessageBytes InsertBytes(uint32_t relation, const TupleFields& row) {
  MessageWriter out('I');
  WriteTuple(out.U32(relation).Char('N'), row);
  return out.bytes();
}

MessageBytes UpdateBytes(uint32_t relation, char old_kind, const TupleFields& old_row,
                         const TupleFields& new_row) {
  MessageWriter out('U');
  out.U32(relation);
  if (old_kind != 0) WriteTuple(out.Char(old_kind), old_row);
  WriteTuple(out.Char('N'), new_row);
  return out.bytes();
}

MessageBytes DeleteBytes(uint32_t relation, char old_kind, const TupleFields& old_row) {
  MessageWriter out('D');
  WriteTuple(out.U32(relation).Char(old_kind), old_row);
  return out.bytes();
}

MessageBytes TruncateBytes(const std::vector<uint32_t>& relations) {
  MessageWriter out('T');
  out.U32(static_cast<uint32_t>(relations.size())).U8(0);
  for (const uint32_t relation : relations) out.U32(relation);
  return out.bytes();
}

MessageBytes LogicalMessageBytes(bool transactional, uint64_t lsn, std::string_view prefix,
                                 std::string_view content) {
  MessageWriter out('M');
  out.U8(transactional ? 1 : 0).U64(lsn).CString(prefix);
  return out.U32(static_cast<uint32_t>(content.size())).Raw(content).bytes();
}

MessageBytes StreamStartBytes(uint32_t xid, bool first) {
  return MessageWriter('S').U32(xid).U8(first ? 1 : 0).bytes();
}

MessageBytes StreamStopBytes() { return MessageWriter('E').bytes(); }

MessageBytes StreamCommitBytes(uint32_t xid, uint64_t commit_lsn, uint64_t end_lsn,
                               int64_t postgres_micros) {
  return MessageWriter('c')
      .U32(xid)
      .U8(0)
      .U64(commit_lsn)
      .U64(end_lsn)
      .U64(static_cast<uint64_t>(postgres_micros))
      .bytes();
}

MessageBytes StreamAbortBytes(uint32_t xid, uint32_t subxid) {
  return MessageWriter('A').U32(xid).U32(subxid).bytes();
}

MessageBytes InStream(uint32_t part, MessageBytes message) {
  const MessageBytes xid = MessageWriter('x').U32(part).bytes();
  message.insert(message.begin() + 1, xid.begin() + 1, xid.end());
  return message;
}

Result<std::shared_ptr<const change::TableSchema>> MessageSchemaSource::Resolve(
    const postgres::pgoutput::Relation& relation) {
  ++calls_;
  std::vector<change::Column> columns;
  for (const auto& column : relation.columns) {
    columns.push_back({.name = column.name,
                       .type_oid = column.type_oid,
                       .typmod = column.typmod,
                       .type_name = "",
                       .type = change::LogicalTypeOfBuiltin(column.type_oid, column.typmod),
                       .identity = column.key,
                       .primary_key = column.key});
  }
  return std::make_shared<const change::TableSchema>(
      relation.id, change::TableName{relation.schema, relation.table}, relation.identity,
      std::move(columns));
}

std::vector<MessageBytes> SplitMessages(std::span<const std::byte> file) {
  std::vector<MessageBytes> messages;
  ByteReader in(file);
  while (in.remaining() > 0) {
    const auto message = in.ReadBytes(in.ReadU32());
    if (!in.ok()) break;
    messages.emplace_back(message.begin(), message.end());
  }
  return messages;
}

}  // namespace freshet::test
