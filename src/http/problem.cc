#include "http/problem.h"

#include <nlohmann/json.hpp>

namespace freshet::http {
namespace {

std::string_view TitleOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kConfig:
      return "Wrong request or configuration";
    case ErrorKind::kUnavailable:
      return "A peer cannot be reached";
    case ErrorKind::kBusy:
      return "Somebody else holds it";
    case ErrorKind::kDenied:
      return "Refused";
    case ErrorKind::kNotFound:
      return "Not there";
    case ErrorKind::kUnsupported:
      return "Not supported";
    case ErrorKind::kMalformed:
      return "Malformed data";
    case ErrorKind::kCorrupt:
      return "Durable state is damaged";
    case ErrorKind::kGap:
      return "Changes may be missing";
    case ErrorKind::kNoSpace:
      return "No space left";
    case ErrorKind::kIo:
      return "Reading or writing failed";
    case ErrorKind::kCancelled:
      return "Cancelled";
    case ErrorKind::kFatal:
      return "Unexpected error";
  }
  return "Unexpected error";
}

}  // namespace

int HttpStatusOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kConfig:
      return 400;
    case ErrorKind::kDenied:
      return 403;
    case ErrorKind::kNotFound:
      return 404;
    case ErrorKind::kUnsupported:
      return 501;
    case ErrorKind::kUnavailable:
    case ErrorKind::kBusy:
    case ErrorKind::kCancelled:
      return 503;
    case ErrorKind::kNoSpace:
      return 507;
    case ErrorKind::kMalformed:
    case ErrorKind::kCorrupt:
    case ErrorKind::kGap:
    case ErrorKind::kIo:
    case ErrorKind::kFatal:
      return 500;
  }
  return 500;
}

std::string ProblemJson(const Error& error) {
  const nlohmann::ordered_json problem = {
      {"type", "about:blank"},
      {"title", TitleOf(error.kind)},
      {"status", HttpStatusOf(error.kind)},
      {"detail", error.message},
      {"kind", ErrorKindName(error.kind)},
  };
  return problem.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace freshet::http
