# DuckDB's C API, as scripts/bootstrap.sh unpacked it. Target: freshet::duckdb
include_guard(GLOBAL)

set(duckdb_library "${FRESHET_DEPS}/duckdb/lib/libduckdb.so")
if(NOT EXISTS "${duckdb_library}")
  message(FATAL_ERROR "DuckDB is not in ${FRESHET_DEPS}: run scripts/bootstrap.sh first")
endif()
add_library(freshet::duckdb SHARED IMPORTED GLOBAL)
set_target_properties(
  freshet::duckdb
  PROPERTIES IMPORTED_LOCATION "${duckdb_library}"
             IMPORTED_SONAME libduckdb.so
             INTERFACE_INCLUDE_DIRECTORIES "${FRESHET_DEPS}/duckdb/include")
