#pragma once

#include <string_view>

namespace freshet::cli {

/// This program's version, of the CMake project.
inline constexpr std::string_view kVersion = FRESHET_VERSION;

}  // namespace freshet::cli
