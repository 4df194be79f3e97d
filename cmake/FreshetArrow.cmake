# Arrow, Parquet and Arrow's S3 file system, as scripts/bootstrap.sh unpacked them. The wheel they
# come from has no CMake package, so the targets are declared here:
#   freshet::arrow  freshet::parquet  freshet::arrow_s3
include_guard(GLOBAL)

set(FRESHET_ARROW_DIR "${FRESHET_DEPS}/arrow")
set(arrow_config "${FRESHET_ARROW_DIR}/include/arrow/util/config.h")
if(NOT EXISTS "${arrow_config}")
  message(FATAL_ERROR "Arrow is not in ${FRESHET_ARROW_DIR}: run scripts/bootstrap.sh first")
endif()
file(STRINGS "${arrow_config}" arrow_so_line REGEX "define ARROW_SO_VERSION")
string(REGEX MATCH "[0-9]+" FRESHET_ARROW_SO "${arrow_so_line}")

function(freshet_import_arrow target library)
  add_library(freshet::${target} SHARED IMPORTED GLOBAL)
  set_target_properties(
    freshet::${target}
    PROPERTIES IMPORTED_LOCATION "${FRESHET_ARROW_DIR}/lib/${library}.so.${FRESHET_ARROW_SO}"
               IMPORTED_SONAME "${library}.so.${FRESHET_ARROW_SO}"
               INTERFACE_INCLUDE_DIRECTORIES "${FRESHET_ARROW_DIR}/include"
               INTERFACE_LINK_LIBRARIES "${ARGN}")
endfunction()

freshet_import_arrow(arrow libarrow)
freshet_import_arrow(parquet libparquet freshet::arrow)
freshet_import_arrow(arrow_s3 libarrow_s3 freshet::arrow)
