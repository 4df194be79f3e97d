#include "base/result.h"

namespace freshet {

std::string_view ErrorKindName(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kConfig:
      return "config";
    case ErrorKind::kUnavailable:
      return "unavailable";
    case ErrorKind::kBusy:
      return "busy";
    case ErrorKind::kDenied:
      return "denied";
    case ErrorKind::kNotFound:
      return "not_found";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kMalformed:
      return "malformed";
    case ErrorKind::kCorrupt:
      return "corrupt";
    case ErrorKind::kGap:
      return "gap";
    case ErrorKind::kNoSpace:
      return "no_space";
    case ErrorKind::kIo:
      return "io";
    case ErrorKind::kCancelled:
      return "cancelled";
    case ErrorKind::kFatal:
      return "fatal";
  }
  return "fatal";
}

std::ostream& operator<<(std::ostream& out, const Error& error) {
  return out << ErrorKindName(error.kind) << ": " << error.message;
}

tl::unexpected<Error> FailWhile(std::string_view doing, Error error) {
  return tl::make_unexpected(Error{error.kind, fmt::format("{}: {}", doing, error.message)});
}

}  // namespace freshet
