#pragma once

#include <string>

#include "change/logical_type.h"

namespace freshet::sink::duckdb {

/// The DuckDB type of a column, spelled as duckdb_columns() spells it ("DECIMAL(12,2)", "UUID[]").
/// The one table from logical to DuckDB type; every value of the Arrow type fits, exactly.
std::string DuckDbType(const change::LogicalType& type);

/// What a column of DuckDB type `existing` must become to hold values of `wanted` beside its own.
enum class TypeFit : uint8_t {
  kFits,    ///< nothing: every value of `wanted` fits already
  kWiden,   ///< DuckDbType(wanted), into which every old value fits
  kNeither  ///< there is no such type; the values need a column of their own
};
TypeFit FitType(const std::string& existing, const change::LogicalType& wanted);

}  // namespace freshet::sink::duckdb
