# How a folder becomes a library and a test program.
include_guard(GLOBAL)

add_library(freshet_options INTERFACE)
target_compile_features(freshet_options INTERFACE cxx_std_20)
target_compile_options(freshet_options INTERFACE -Wall -Wextra -Wconversion -Wshadow -Werror)
# GCC 12 sees overlaps in std::string that are not there (GCC bug 105651).
target_compile_options(freshet_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
target_include_directories(freshet_options INTERFACE "${PROJECT_SOURCE_DIR}/src")

# freshet_library(NAME [libraries it links])
# src/NAME/**/*.cc -> library freshet_NAME. A folder lists no files: what lies in it belongs to it.
function(freshet_library name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${name}/*.cc")
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
  string(REPLACE "/" "_" target "freshet_${name}")
  if(NOT sources)
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE freshet_options ${ARGN})
    return()
  endif()
  add_library(${target} STATIC ${sources})
  target_link_libraries(${target} PUBLIC freshet_options ${ARGN})
endfunction()

# freshet_test(FOLDER LABEL [libraries it links])
# test/FOLDER/*_test.cc -> program freshet_FOLDER_test, one ctest entry of that label.
function(freshet_test folder label)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/test/${folder}/*_test.cc")
  if(NOT sources)
    return()
  endif()
  string(REPLACE "/" "_" target "freshet_${folder}_test")
  add_executable(${target} ${sources})
  target_link_libraries(${target} PRIVATE ${ARGN} freshet_test_support GTest::gmock
                                          GTest::gtest_main)
  add_test(NAME ${folder} COMMAND ${target})
  set_tests_properties(${folder} PROPERTIES LABELS ${label} WORKING_DIRECTORY
                                                            "${PROJECT_SOURCE_DIR}")
endfunction()
