#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace arrow {
class DataType;
}

namespace freshet::change {

/// What a column's values are, apart from any source or target. Every sink maps from this.
enum class LogicalKind : uint8_t {
  kBool,
  kInt16,
  kInt32,
  kInt64,
  kUInt32,   ///< oid, xid, cid
  kFloat32,  ///< NaN and infinities included
  kFloat64,
  kDecimal,      ///< numeric(precision <= 38, scale)
  kNumericText,  ///< numeric without precision, or too wide: exact decimal text
  kText,         ///< text, varchar, bpchar (blank-padded), name, enum labels, ...
  kJson,         ///< json and jsonb, as text
  kBytes,
  kDate,         ///< days since 1970
  kTime,         ///< microseconds since midnight
  kTimestamp,    ///< microseconds since 1970, no zone
  kTimestampTz,  ///< microseconds since 1970 UTC
  kUuid,
  kList,       ///< one-dimensional array of a kind above (or of kExactText)
  kExactText,  ///< the server's own text for every other type (interval, ranges, inet, xml, ...)
};

/// A logical type with its parameters. Equality by content.
struct LogicalType {
  LogicalKind kind = LogicalKind::kExactText;
  int32_t precision = 0;  ///< kDecimal only
  int32_t scale = 0;      ///< kDecimal only; may be negative (15+)
  LogicalKind element =
      LogicalKind::kExactText;   ///< kList only; with kDecimal see precision, scale
  char element_delimiter = ',';  ///< kList only; ';' for box

  bool operator==(const LogicalType&) const = default;
};

/// Lower-case name ("timestamptz", "decimal(12,2)", "list<int32>"), as status and docs spell it.
std::string ToString(const LogicalType& type);

/// The Arrow type of a column in a ChangeBatch. The one table from logical to Arrow type:
/// kUInt32 uint32; kDecimal decimal128; kNumericText, kText, kJson, kExactText utf8; kBytes binary;
/// kDate date32; kTime time64[us]; kTimestamp timestamp[us]; kTimestampTz timestamp[us, UTC];
/// kUuid fixed_size_binary[16]; kList list<element>.
std::shared_ptr<arrow::DataType> ArrowType(const LogicalType& type);

/// The type of a list's elements. Call for kList only.
LogicalType ElementType(const LogicalType& list);

/// Maps a built-in PostgreSQL type to its logical type. `type_oid` below 16384; a domain is given
/// by its base type, with the domain's typmod. Enums and other types the catalog alone knows:
/// postgres/catalog.h. Unknown oids are kExactText. `typmod` is pg_attribute.atttypmod.
/// Source: PostgreSQL manual, "Data Types"; oids from pg_type.dat.
LogicalType LogicalTypeOfBuiltin(uint32_t type_oid, int32_t typmod);

}  // namespace freshet::change
