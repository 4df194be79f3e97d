#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace freshet {

/// What an error means for whoever has to act on it. `pipeline/error_policy.cc` maps each kind to
/// retry or stop, `cli/exit_code.cc` to an exit code; nothing else decides by kind.
enum class ErrorKind : uint8_t {
  kConfig,       ///< the user's configuration or command line is wrong; stop, exit and explain
  kUnavailable,  ///< a peer cannot be reached or went away; retry with back-off
  kBusy,         ///< somebody else holds what we need (slot, file lock); retry with back-off
  kDenied,       ///< a peer refused our credentials or rights; stop
  kNotFound,     ///< a named thing is not there (database, bucket, table); stop
  kUnsupported,  ///< a peer or a value is outside what freshet can do; stop
  kMalformed,    ///< bytes from outside do not follow their format; stop
  kCorrupt,      ///< our own durable state is damaged; stop
  kGap,          ///< changes were lost or may have been; stop, an operator must repair
  kNoSpace,      ///< a disk or a budget is full; retry with back-off, nothing is lost
  kIo,           ///< reading or writing a file failed; retry, then stop
  kCancelled,    ///< the operation was asked to stop
  kFatal,        ///< anything else; stop
};

/// Lower-case name of a kind, as metrics and JSON spell it ("unavailable").
std::string_view ErrorKindName(ErrorKind kind);

/// An error: its kind, and one message that names the cause and, where there is one, the repair.
struct Error {
  ErrorKind kind = ErrorKind::kFatal;
  std::string message;
};

std::ostream& operator<<(std::ostream& out, const Error& error);

/// A value or an Error. Dropping one is a compile-time warning, hence the class around the alias.
template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

/// Makes the error that a function returning any Result can return.
template <typename... Args>
[[nodiscard]] tl::unexpected<Error> Fail(ErrorKind kind, fmt::format_string<Args...> format,
                                         Args&&... args) {
  return tl::make_unexpected(Error{kind, fmt::vformat(format, fmt::make_format_args(args...))});
}

/// Passes an existing error on.
[[nodiscard]] inline tl::unexpected<Error> Fail(Error error) {
  return tl::make_unexpected(std::move(error));
}

/// Passes an error on with the doing in front of its message: "open the log: <message>".
[[nodiscard]] tl::unexpected<Error> FailWhile(std::string_view doing, Error error);

}  // namespace freshet

#define FRESHET_CONCAT_INNER(a, b) a##b
#define FRESHET_CONCAT(a, b) FRESHET_CONCAT_INNER(a, b)

/// FRESHET_TRY(auto x, Expression()): declares (or assigns) x from a Result, or returns its error.
#define FRESHET_TRY(lhs, ...) \
  FRESHET_TRY_INNER(FRESHET_CONCAT(freshet_try_, __COUNTER__), lhs, __VA_ARGS__)
#define FRESHET_TRY_INNER(result, lhs, ...)                                       \
  auto result = (__VA_ARGS__);                                                    \
  if (!result.has_value()) return tl::make_unexpected(std::move(result).error()); \
  lhs = std::move(result).value()

/// FRESHET_RETURN_IF_ERROR(Expression()): returns the error of a Status, goes on otherwise.
#define FRESHET_RETURN_IF_ERROR(...)                                 \
  do {                                                               \
    auto freshet_status = (__VA_ARGS__);                             \
    if (!freshet_status.has_value())                                 \
      return tl::make_unexpected(std::move(freshet_status).error()); \
  } while (false)
