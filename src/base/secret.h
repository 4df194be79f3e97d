#pragma once

#include <string>
#include <utility>

namespace freshet {

/// A string that must not reach a log, an error or a page: it cannot be printed or formatted.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}

  /// The text itself, for the one call that sends it.
  const std::string& Reveal() const { return value_; }
  bool empty() const { return value_.empty(); }

 private:
  std::string value_;
};

}  // namespace freshet
