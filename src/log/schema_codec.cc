#include "log/schema_codec.h"

#include <utility>

#include "log/little_endian.h"

namespace freshet::log {
namespace {

using change::LogicalKind;
using change::ReplicaIdentity;

// The format stores these enums by number. A change of the enums must not change the format.
static_assert(static_cast<int>(LogicalKind::kBool) == 0);
static_assert(static_cast<int>(LogicalKind::kUInt32) == 4);
static_assert(static_cast<int>(LogicalKind::kDecimal) == 7);
static_assert(static_cast<int>(LogicalKind::kText) == 9);
static_assert(static_cast<int>(LogicalKind::kBytes) == 11);
static_assert(static_cast<int>(LogicalKind::kTimestampTz) == 15);
static_assert(static_cast<int>(LogicalKind::kUuid) == 16);
static_assert(static_cast<int>(LogicalKind::kList) == 17);
static_assert(static_cast<int>(LogicalKind::kExactText) == 18);
static_assert(static_cast<int>(ReplicaIdentity::kDefault) == 0);
static_assert(static_cast<int>(ReplicaIdentity::kIndex) == 3);

constexpr uint8_t kLastLogicalKind = static_cast<uint8_t>(LogicalKind::kExactText);
constexpr uint8_t kLastReplicaIdentity = static_cast<uint8_t>(ReplicaIdentity::kIndex);
constexpr int32_t kMaxDecimalDigits = 38;

enum ColumnFlag : uint8_t {
  kIdentity = 1,
  kPrimaryKey = 2,
  kNotNull = 4,
  kGenerated = 8,
  kMissing = 16
};

void WriteColumn(LittleEndianWriter& out, const change::Column& column) {
  out.String(column.name);
  out.I16(column.attnum);
  out.U32(column.type_oid);
  out.I32(column.typmod);
  out.String(column.type_name);
  out.U8(static_cast<uint8_t>(column.type.kind));
  out.I32(column.type.precision);
  out.I32(column.type.scale);
  out.U8(static_cast<uint8_t>(column.type.element));
  out.U8(static_cast<uint8_t>(column.type.element_delimiter));
  out.U8(static_cast<uint8_t>(
      (column.identity ? kIdentity : 0) | (column.primary_key ? kPrimaryKey : 0) |
      (column.not_null ? kNotNull : 0) | (column.generated ? kGenerated : 0) |
      (column.missing_value.has_value() ? kMissing : 0)));
  if (column.missing_value.has_value()) out.String(*column.missing_value);
}

/// A decimal that Arrow would refuse, in a column or as the elements of a list.
bool BadDecimal(LogicalKind kind, const change::LogicalType& type) {
  return kind == LogicalKind::kDecimal &&
         (type.precision < 1 || type.precision > kMaxDecimalDigits ||
          type.scale < -kMaxDecimalDigits || type.scale > kMaxDecimalDigits);
}

change::Column ReadColumn(LittleEndianReader& in) {
  change::Column column;
  column.name = in.String();
  column.attnum = in.I16();
  column.type_oid = in.U32();
  column.typmod = in.I32();
  column.type_name = in.String();
  const uint8_t kind = in.U8();
  column.type.precision = in.I32();
  column.type.scale = in.I32();
  const uint8_t element = in.U8();
  column.type.element_delimiter = static_cast<char>(in.U8());
  const uint8_t flags = in.U8();
  if (kind > kLastLogicalKind || element > kLastLogicalKind ||
      static_cast<LogicalKind>(element) == LogicalKind::kList) {
    in.MarkFailed();
    return column;
  }
  column.type.kind = static_cast<LogicalKind>(kind);
  column.type.element = static_cast<LogicalKind>(element);
  if (BadDecimal(column.type.kind, column.type) ||
      (column.type.kind == LogicalKind::kList && BadDecimal(column.type.element, column.type))) {
    in.MarkFailed();
  }
  column.identity = (flags & kIdentity) != 0;
  column.primary_key = (flags & kPrimaryKey) != 0;
  column.not_null = (flags & kNotNull) != 0;
  column.generated = (flags & kGenerated) != 0;
  if ((flags & kMissing) != 0) column.missing_value = in.String();
  return column;
}

}  // namespace

std::vector<std::byte> EncodeSchema(const change::TableSchema& schema) {
  std::vector<std::byte> bytes;
  LittleEndianWriter out(bytes);
  out.U32(schema.id().value);
  out.U8(static_cast<uint8_t>(schema.replica_identity()));
  out.String(schema.name().schema);
  out.String(schema.name().table);
  out.U32(static_cast<uint32_t>(schema.columns().size()));
  for (const change::Column& column : schema.columns()) WriteColumn(out, column);
  return bytes;
}

Result<std::shared_ptr<const change::TableSchema>> DecodeSchema(
    std::span<const std::byte> payload) {
  LittleEndianReader in(payload);
  const change::TableId id{in.U32()};
  const uint8_t identity = in.U8();
  change::TableName name;
  name.schema = in.String();
  name.table = in.String();
  const uint32_t count = in.U32();
  std::vector<change::Column> columns;
  for (uint32_t i = 0; i < count && in.ok(); ++i) columns.push_back(ReadColumn(in));
  if (!in.Finished() || identity > kLastReplicaIdentity) {
    return Fail(ErrorKind::kMalformed, "schema record of {} bytes has wrong fields",
                payload.size());
  }
  return std::make_shared<const change::TableSchema>(
      id, std::move(name), static_cast<ReplicaIdentity>(identity), std::move(columns));
}

}  // namespace freshet::log
