#include "base/logging.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/logging_guard.h"
#include "base/mutex.h"

namespace freshet::logging {
namespace {

struct Target {
  Target() : logger("freshet", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    SetFormat(Format::kText);
    logger.flush_on(spdlog::level::info);
  }

  void SetFormat(Format wanted) {
    format = wanted;
    // JSON: the logger knows the time of a line, so the object begins in the pattern.
    logger.set_pattern(format == Format::kJson ? R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ",%v)"
                                               : "%Y-%m-%dT%H:%M:%S.%fZ %-7l %v",
                       spdlog::pattern_time_type::utc);
  }

  void Write(spdlog::level::level_enum level, const std::string& text) {
    const MutexLock lock(mutex);
    const auto write = [&] { logger.log(level, spdlog::string_view_t(text)); };
    if (guard) {
      guard(write);
    } else {
      write();
    }
  }

  spdlog::logger logger;
  Format format = Format::kText;
  Mutex mutex;
  Guard guard GUARDED_BY(mutex);
};

Target& TheTarget() {
  static Target target;
  return target;
}

spdlog::level::level_enum ToSpdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string_view Name(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "error";
}

bool NeedsQuotes(std::string_view value) {
  return value.empty() || value.find_first_of(" \t\r\n\"=") != std::string_view::npos;
}

}  // namespace

void Configure(Level level, Format format) {
  Target& target = TheTarget();
  target.SetFormat(format);
  target.logger.set_level(ToSpdlog(level));
}

void Log(Level level, std::string_view message, std::initializer_list<Field> fields) {
  Target& target = TheTarget();
  const auto spdlog_level = ToSpdlog(level);
  if (!target.logger.should_log(spdlog_level)) return;
  if (target.format == Format::kJson) {
    nlohmann::ordered_json line{{"level", Name(level)}, {"message", message}};
    for (const Field& field : fields) line[std::string(field.key)] = field.value;
    const auto text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    target.Write(spdlog_level, text.substr(1));
    return;
  }
  std::string text(message);
  for (const Field& field : fields) {
    text.append(" ").append(field.key).append("=");
    if (NeedsQuotes(field.value)) {
      text += nlohmann::json(field.value)
                  .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    } else {
      text += field.value;
    }
  }
  target.Write(spdlog_level, text);
}

void SetGuard(Guard guard) {
  Target& target = TheTarget();
  const MutexLock lock(target.mutex);
  target.guard = std::move(guard);
}

}  // namespace freshet::logging
