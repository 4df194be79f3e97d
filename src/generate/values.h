#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "generate/random.h"

namespace freshet::generate {

/// 'text' with its quotes doubled, as an SQL literal (standard_conforming_strings on).
std::string Quote(std::string_view text);

/// '<uuid>'.
std::string Quote(const Uuid& uuid);

/// "12.34" for 1234.
std::string Cents(int64_t cents);

/// @name SQL literals of made-up data, deterministic in `random`.
/// @{
std::string FirstName(Random& random);
std::string LastName(Random& random);
std::string PhoneOrNull(Random& random);
std::string AddressJson(Random& random);  ///< a json literal with city, street, zip, country
std::string ProductName(Random& random);
std::string Sentence(Random& random);
/// @}

/// @name SQL literals of what real data holds rarely and breaks pipelines often.
/// @{
std::string OddText(Random& random);       ///< quotes, backslashes, line feeds, emoji, "\N", ...
std::string OddNumeric(Random& random);    ///< fits numeric(10,2): NaN, extremes, -0.01
std::string OddTimestamp(Random& random);  ///< infinity, before Christ, year 9999 and 294276
/// @}

/// Text above 8 kB that does not compress, so that PostgreSQL stores it out of line (TOAST).
std::string ToastText(Random& random);

}  // namespace freshet::generate
