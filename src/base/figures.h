#pragma once

#include <cstdint>
#include <string>

namespace freshet {

/// "1,234,567".
std::string Grouped(int64_t number);

/// "12.3 MiB".
std::string HumanBytes(int64_t bytes);

/// Of microseconds: "3.2 ms", "1 h 05 m".
std::string HumanDuration(int64_t micros);

}  // namespace freshet
