#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace freshet::logging {

/// Levels say what an operator must do: error = act now, warning = look soon, info = know,
/// debug = only when asked for.
enum class Level : uint8_t { kDebug, kInfo, kWarning, kError };

/// How lines are written: `key=value` text for people, one JSON object a line for machines.
enum class Format : uint8_t { kText, kJson };

/// One key=value pair of a line. Never a cell value of a user's table.
struct Field {
  Field(std::string_view field_key, std::string_view field_value)
      : key(field_key), value(field_value) {}
  Field(std::string_view field_key, const char* field_value) : key(field_key), value(field_value) {}
  Field(std::string_view field_key, const std::string& field_value)
      : key(field_key), value(field_value) {}
  Field(std::string_view field_key, bool field_value)
      : key(field_key), value(field_value ? "true" : "false") {}
  template <typename Integer>
  Field(std::string_view field_key, Integer field_value)
      : key(field_key), value(std::to_string(field_value)) {}

  std::string_view key;
  std::string value;
};

/// Sets level and format of the whole process. Lines go to standard error.
void Configure(Level level, Format format);

/// Writes one line: constant `message`, then the fields. Any thread.
void Log(Level level, std::string_view message, std::initializer_list<Field> fields = {});

inline void Debug(std::string_view message, std::initializer_list<Field> fields = {}) {
  Log(Level::kDebug, message, fields);
}
inline void Info(std::string_view message, std::initializer_list<Field> fields = {}) {
  Log(Level::kInfo, message, fields);
}
inline void Warning(std::string_view message, std::initializer_list<Field> fields = {}) {
  Log(Level::kWarning, message, fields);
}
inline void Error(std::string_view message, std::initializer_list<Field> fields = {}) {
  Log(Level::kError, message, fields);
}

}  // namespace freshet::logging
