#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "change/logical_type.h"

struct _duckdb_logical_type;
struct _duckdb_vector;

namespace arrow {
class Array;
class ArrayBuilder;
}  // namespace arrow

namespace freshet::sink::duckdb {

/// Some rows of an Arrow array: `count` of them, either `rows[0..count)` or, when `rows` is null,
/// those from `first` on.
struct Selection {
  const int32_t* rows = nullptr;
  int64_t first = 0;
  int64_t count = 0;
};

/// Copies the selected values of an array of ArrowType(type) into a DuckDB vector of the type
/// MakeVectorType(type), from place `at` on. Text and bytes are not copied: the vector points into
/// the array, which must outlive it.
void WriteVector(const arrow::Array& values, const change::LogicalType& type,
                 const Selection& selection, _duckdb_vector* vector, uint64_t at);

/// Makes `count` places from `at` on null.
void WriteNulls(_duckdb_vector* vector, uint64_t at, int64_t count);

/// The same for one of sink::ChangelogColumns(), whose types are not of the source.
void WriteChangelogColumn(const arrow::Array& values, const Selection& selection,
                          _duckdb_vector* vector, uint64_t at);

/// Writes one plain value. The text must live as long as the vector is used.
void WriteOneText(std::string_view text, _duckdb_vector* vector, uint64_t at);
void WriteOneInt64(int64_t value, _duckdb_vector* vector, uint64_t at);
void WriteOneBool(bool value, _duckdb_vector* vector, uint64_t at);

/// Appends the first `count` values of a DuckDB vector of that type to a builder of
/// ArrowType(type).
Status ReadVector(_duckdb_vector* vector, const change::LogicalType& type, uint64_t count,
                  arrow::ArrayBuilder& builder);

/// The DuckDB type as its C API makes it; JSON is VARCHAR here, which it is underneath. The caller
/// destroys it.
_duckdb_logical_type* MakeVectorType(const change::LogicalType& type);

}  // namespace freshet::sink::duckdb
