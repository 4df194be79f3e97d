# PostgreSQL's parser as a library (libpg-query-dev). Target: freshet::pg_query
include_guard(GLOBAL)

find_path(pg_query_include pg_query.h REQUIRED)
find_library(pg_query_library libpg_query.a REQUIRED)
find_library(protobuf_c_library protobuf-c REQUIRED)
find_library(xxhash_library xxhash REQUIRED)
add_library(freshet::pg_query STATIC IMPORTED GLOBAL)
# It has functions of the server in it, some with the names of libpq's: they must not stand in for
# those, so the program does not export them.
set_target_properties(
  freshet::pg_query
  PROPERTIES IMPORTED_LOCATION "${pg_query_library}"
             INTERFACE_INCLUDE_DIRECTORIES "${pg_query_include}"
             INTERFACE_LINK_OPTIONS "LINKER:--exclude-libs,libpg_query.a"
             INTERFACE_LINK_LIBRARIES "${protobuf_c_library};${xxhash_library}")
