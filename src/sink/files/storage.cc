#include "sink/files/storage.h"

#include <arrow/io/interfaces.h>
#include <arrow/result.h>
#include <arrow/status.h>
#include <arrow/util/io_util.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace freshet::sink::files {
namespace {

constexpr std::string_view kS3Scheme = "s3://";
constexpr std::string_view kFileScheme = "file://";

struct S3Place {
  std::string bucket;
  std::string prefix;
};

S3Place ParseS3Url(std::string_view url) {
  url.remove_prefix(kS3Scheme.size());
  const size_t slash = std::min(url.find('/'), url.size());
  std::string_view prefix = url.substr(std::min(slash + 1, url.size()));
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  return {std::string(url.substr(0, slash)), std::string(prefix)};
}

struct S3Code {
  std::string_view code;  ///< as Arrow's messages spell it: "AWS Error <code> during"
  ErrorKind kind;
  std::string_view repair;
};

constexpr std::string_view kRepairKeys = "check access key, secret key and session token";
constexpr std::string_view kRepairRights =
    "check the credentials, and that they may list, read, write and delete under the prefix";
constexpr std::string_view kRepairBucket = "make the bucket or correct the url";
constexpr std::string_view kRepairNetwork =
    "check the endpoint, that the store runs and that it can be reached from here";

constexpr S3Code kS3Codes[] = {
    {"ACCESS_DENIED", ErrorKind::kDenied, kRepairRights},
    {"INVALID_ACCESS_KEY_ID", ErrorKind::kDenied, kRepairKeys},
    {"SIGNATURE_DOES_NOT_MATCH", ErrorKind::kDenied, kRepairKeys},
    {"INVALID_SIGNATURE", ErrorKind::kDenied, kRepairKeys},
    {"INCOMPLETE_SIGNATURE", ErrorKind::kDenied, kRepairKeys},
    {"INVALID_CLIENT_TOKEN_ID", ErrorKind::kDenied, kRepairKeys},
    {"MISSING_AUTHENTICATION_TOKEN", ErrorKind::kDenied, kRepairKeys},
    {"UNRECOGNIZED_CLIENT", ErrorKind::kDenied, kRepairKeys},
    {"OPT_IN_REQUIRED", ErrorKind::kDenied, kRepairRights},
    {"REQUEST_EXPIRED", ErrorKind::kDenied, "set this machine's clock"},
    {"REQUEST_TIME_TOO_SKEWED", ErrorKind::kDenied, "set this machine's clock"},
    {"NO_SUCH_BUCKET", ErrorKind::kNotFound, kRepairBucket},
    {"RESOURCE_NOT_FOUND", ErrorKind::kNotFound, kRepairBucket},
    {"NETWORK_CONNECTION", ErrorKind::kUnavailable, kRepairNetwork},
    {"REQUEST_TIMEOUT", ErrorKind::kUnavailable, kRepairNetwork},
    {"SERVICE_UNAVAILABLE", ErrorKind::kUnavailable, kRepairNetwork},
    {"INTERNAL_FAILURE", ErrorKind::kUnavailable, "see the store's own log"},
    {"SLOW_DOWN", ErrorKind::kUnavailable, "the store asks for fewer requests; rotate less often"},
    {"THROTTLING", ErrorKind::kUnavailable, "the store asks for fewer requests; rotate less often"},
};

/// Errors without a known code carry the HTTP status in their text.
struct HttpCode {
  std::string_view text;
  ErrorKind kind;
  std::string_view repair;
};

constexpr HttpCode kHttpCodes[] = {
    {"HTTP status 401", ErrorKind::kDenied, kRepairKeys},
    {"HTTP status 403", ErrorKind::kDenied, kRepairRights},
    {"HTTP status 404", ErrorKind::kNotFound, kRepairBucket},
    {"HTTP status 507", ErrorKind::kNoSpace, "make room in the store"},
    {"HTTP status 5", ErrorKind::kUnavailable, "see the store's own log"},
};

/// `text` on one line and of a length that fits a message.
std::string OneLine(std::string_view text) {
  constexpr size_t kMaxForeignText = 400;
  std::string out(text.substr(0, kMaxForeignText));
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

/// The code and the server's own words of "...: AWS Error CODE during X operation: words".
Error FromS3Message(std::string_view message, std::string_view doing) {
  const std::string text = OneLine(message.substr(message.find("AWS Error ")));
  const std::string_view code = std::string_view(text).substr(sizeof("AWS Error ") - 1);
  // A full store answers with an ordinary 500 and says so in words only.
  if (text.find("no space left") != std::string::npos ||
      text.find("XMinioStorageFull") != std::string::npos) {
    return {ErrorKind::kNoSpace, fmt::format("{}: {}; make room in the store", doing, text)};
  }
  for (const S3Code& known : kS3Codes) {
    if (code.starts_with(known.code)) {
      return {known.kind, fmt::format("{}: {}; {}", doing, text, known.repair)};
    }
  }
  for (const HttpCode& known : kHttpCodes) {
    if (text.find(known.text) != std::string::npos) {
      return {known.kind, fmt::format("{}: {}; {}", doing, text, known.repair)};
    }
  }
  return {ErrorKind::kIo, fmt::format("{}: {}", doing, text)};
}

}  // namespace

std::string Storage::Full(std::string_view path) const {
  return fmt::format("{}/{}", Target(), path);
}

Result<std::string> Storage::Read(const std::string& path) {
  FRESHET_TRY(const auto file, Open(path));
  const std::string doing = fmt::format("read {}", Full(path));
  const auto size = file->GetSize();
  if (!size.ok()) return Fail(FromArrow(size.status(), doing));
  std::string content(static_cast<size_t>(*size), '\0');
  const auto got = file->ReadAt(0, *size, content.data());
  if (!got.ok()) return Fail(FromArrow(got.status(), doing));
  content.resize(static_cast<size_t>(*got));
  return content;
}

Error FromErrno(int code, std::string_view doing) {
  const char* const text = std::strerror(code);
  switch (code) {
    case ENOSPC:
    case EDQUOT:
      return {ErrorKind::kNoSpace,
              fmt::format("{}: {}; make room on that disk, nothing is lost", doing, text)};
    case EACCES:
    case EPERM:
    case EROFS:
      return {ErrorKind::kDenied,
              fmt::format("{}: {}; let freshet's user write there, or choose another folder", doing,
                          text)};
    case ENOENT:
      return {ErrorKind::kNotFound, fmt::format("{}: {}", doing, text)};
    case ENOTDIR:
      return {
          ErrorKind::kConfig,
          fmt::format("{}: {}; a part of the path is a file: choose another folder", doing, text)};
    default:
      return {ErrorKind::kIo, fmt::format("{}: {}", doing, text)};
  }
}

Error FromArrow(const arrow::Status& status, std::string_view doing) {
  if (const int code = arrow::internal::ErrnoFromStatus(status); code != 0) {
    return FromErrno(code, doing);
  }
  const std::string message = status.message();
  if (message.find("AWS Error ") != std::string::npos) return FromS3Message(message, doing);
  if (status.IsOutOfMemory()) return {ErrorKind::kFatal, fmt::format("{}: {}", doing, message)};
  return {status.IsIOError() ? ErrorKind::kIo : ErrorKind::kFatal,
          fmt::format("{}: {}", doing, OneLine(message))};
}

std::string RejectUrl(const std::string& url) {
  if (url.starts_with(kS3Scheme)) {
    const S3Place place = ParseS3Url(url);
    if (place.bucket.empty()) return "url 's3://' names no bucket; write s3://bucket/prefix";
    return {};
  }
  if (url.find("://") != std::string::npos && !url.starts_with(kFileScheme)) {
    return fmt::format("url '{}' is neither a folder nor s3://bucket/prefix",
                       url.substr(0, url.find("://") + 3));
  }
  if (url.empty() || url == kFileScheme) return "url is empty; give a folder or s3://bucket/prefix";
  return {};
}

std::string TargetOf(const std::string& url) {
  if (!url.starts_with(kS3Scheme)) {
    return url.starts_with(kFileScheme) ? url.substr(kFileScheme.size()) : url;
  }
  const S3Place place = ParseS3Url(url);
  return fmt::format("s3://{}{}{}", place.bucket, place.prefix.empty() ? "" : "/", place.prefix);
}

Result<std::unique_ptr<Storage>> OpenStorage(const Options& options, StorageUse use) {
  if (const std::string why = RejectUrl(options.url); !why.empty()) {
    return Fail(ErrorKind::kConfig, "{}", why);
  }
  if (!options.url.starts_with(kS3Scheme)) return MakeLocalStorage(TargetOf(options.url), use);
  const S3Place place = ParseS3Url(options.url);
  return MakeS3Storage(place.bucket, place.prefix, options.s3);
}

}  // namespace freshet::sink::files
