#pragma once

#include <string>

namespace freshet::test {

/// Checks the rules of OpenMetrics' text format that a scraper refuses a page for.
void CheckOpenMetrics(const std::string& text);

}  // namespace freshet::test
