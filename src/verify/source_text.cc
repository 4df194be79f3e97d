#include "verify/source_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "postgres/connection.h"

namespace freshet::verify {
namespace {

using change::LogicalKind;
using postgres::InvalidText;

bool IsHigh(char c) { return static_cast<signed char>(c) < 0; }

std::string Hex(std::string_view bytes, std::string_view before_each = "") {
  std::string out;
  for (const char c : bytes) {
    out += before_each;
    out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string Unhex(std::string_view digits) {
  const auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string out;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    out.push_back(static_cast<char>(value(digits[i]) * 16 + value(digits[i + 1])));
  }
  return out;
}

/// The bytes of the UTF-8 character that `bytes` begin with; 0 where they begin with none.
/// Source: Unicode, table 3-7 "Well-Formed UTF-8 Byte Sequences".
size_t Utf8Size(std::string_view bytes) {
  const auto at = [&](size_t i) -> unsigned {
    return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0;
  };
  const auto within = [&](size_t i, unsigned low, unsigned high) {
    return at(i) >= low && at(i) <= high;
  };
  const unsigned first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return within(1, 0x80, 0xBF) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : 0xBF;
    return within(1, low, high) && within(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (first < 0xF0 || first > 0xF4) return 0;
  const unsigned low = first == 0xF0 ? 0x90 : 0x80;
  const unsigned high = first == 0xF4 ? 0x8F : 0xBF;
  return within(1, low, high) && within(2, 0x80, 0xBF) && within(3, 0x80, 0xBF) ? 4 : 0;
}

bool IsUtf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t size = Utf8Size(bytes);
    if (size == 0) return false;
    bytes.remove_prefix(size);
  }
  return true;
}

/// Puts elements of an array between quotes that were not, because of what they became.
class ArrayQuotes {
 public:
  ArrayQuotes(char delimiter, std::string& out) : delimiter_(delimiter), out_(out) {}

  /// Before the character `c`, which has a form, is appended.
  void Before(char c) {
    if (quoted_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        quoted_ = false;
      }
      return;
    }
    if (c == '"') quoted_ = true;
    if (c != delimiter_ && c != '}') return;
    if (changed_) {
      out_.insert(begin_, "\"");
      out_.push_back('"');
    }
    changed_ = false;
  }

  void After(char c) {
    if (!quoted_ && (c == delimiter_ || c == '{')) begin_ = out_.size();
  }

  /// Something is appended that must stand in quotes.
  void Changed() { changed_ = !quoted_; }

 private:
  const char delimiter_;
  std::string& out_;
  size_t begin_ = 0;  ///< of the element
  bool quoted_ = false;
  bool escaped_ = false;
  bool changed_ = false;
};

}  // namespace

SourceText::SourceText(postgres::Connection& server, InvalidText policy)
    : server_(server),
      policy_(policy),
      encoding_(server.parameter("server_encoding")),
      is_utf8_(encoding_ == "UTF8" || encoding_ == "SQL_ASCII"),
      is_checked_(encoding_ == "UTF8") {}

Result<std::string_view> SourceText::Read(const change::LogicalType& type, bool key,
                                          std::string_view bytes) {
  if (type.kind == LogicalKind::kBytes) return bytes;
  if (is_checked_ && IsUtf8(bytes)) return bytes;
  out_.clear();
  bool valid = true;
  bool comes_back = true;
  for (std::string_view rest = bytes; !rest.empty() && valid;) {
    const std::string_view unit = rest.substr(0, UnitSize(rest));
    rest.remove_prefix(unit.size());
    FRESHET_TRY(const Character* character, CharacterOf(unit));
    valid = !character->utf8.empty();
    comes_back = comes_back && character->comes_back;
    out_ += character->utf8;
  }
  if (valid && !key) return out_;
  const std::string exact = "\\x" + Hex(bytes);
  if (key) {
    const bool looks_exact = bytes.size() % 2 == 0 && bytes.starts_with("\\x") &&
                             bytes.find_first_not_of("0123456789abcdef", 2) == bytes.npos;
    if (!valid || !comes_back || (looks_exact && !is_checked_)) out_ = exact;
    return out_;
  }
  if (policy_ == InvalidText::kReplace || policy_ == InvalidText::kBytes) {
    return Readable(type, bytes);
  }
  out_ = exact;
  return out_;
}

/// With something in the place of what is not valid.
Result<std::string_view> SourceText::Readable(const change::LogicalType& type,
                                              std::string_view bytes) {
  // An array of several dimensions, or with bounds, is kept as a text of its own.
  const bool list =
      type.kind == LogicalKind::kList && !bytes.starts_with("{{") && !bytes.starts_with("[");
  const bool json = (list ? type.element : type.kind) == LogicalKind::kJson;
  // A backslash is doubled inside of JSON, and once more inside of an array.
  const std::string mark = std::string((json ? 2 : 1) * (list ? 2 : 1), '\\') + "x";
  out_.clear();
  ArrayQuotes quotes(type.element_delimiter, out_);
  while (!bytes.empty()) {
    const std::string_view unit = bytes.substr(0, UnitSize(bytes));
    bytes.remove_prefix(unit.size());
    FRESHET_TRY(const Character* character, CharacterOf(unit));
    if (!character->utf8.empty()) {
      if (list) quotes.Before(unit[0]);
      out_ += character->utf8;
      if (list) quotes.After(unit[0]);
    } else if (policy_ == InvalidText::kReplace) {
      out_ += "\xEF\xBF\xBD";
    } else {
      if (list) quotes.Changed();
      out_ += Hex(unit, mark);
    }
  }
  return out_;
}

/// Source: PostgreSQL, "Character Set Support", and the verifiers in its wchar.c.
size_t SourceText::UnitSize(std::string_view bytes) const {
  const auto first = static_cast<unsigned char>(bytes[0]);
  if (first < 0x80) return 1;
  if (is_utf8_) return std::max<size_t>(Utf8Size(bytes), 1);
  if (!encoding_.starts_with("EUC_")) return 1;
  const size_t size = encoding_ == "EUC_JP" && first == 0x8F   ? 3
                      : encoding_ == "EUC_TW" && first == 0x8E ? 4
                                                               : 2;
  const std::string_view unit = bytes.substr(0, size);
  return unit.size() == size && std::all_of(unit.begin(), unit.end(), IsHigh) ? size : 1;
}

Result<const SourceText::Character*> SourceText::CharacterOf(std::string_view unit) {
  if (!IsHigh(unit[0]) || is_utf8_) {
    const bool valid = Utf8Size(unit) == unit.size();
    plain_ = {.utf8 = std::string(valid ? unit : ""), .comes_back = true};
    return &plain_;
  }
  const auto [found, is_new] = known_.try_emplace(std::string(unit));
  Character& character = found->second;
  if (!is_new) return &character;
  const auto rows = server_.Query(
      "SELECT encode(u, 'hex'), convert(u, 'UTF8', getdatabaseencoding()) = b FROM (SELECT b,"
      " convert(b, getdatabaseencoding(), 'UTF8') AS u FROM decode($1, 'hex') AS b) AS c",
      {Hex(unit)});
  if (rows.has_value()) {
    character = {.utf8 = Unhex(rows->at(0, 0)), .comes_back = rows->boolean(0, 1)};
  } else if (rows.error().kind != ErrorKind::kUnsupported) {  // 22021, 22P05: no such character
    known_.erase(found);
    return Fail(rows.error());
  }
  return &character;
}

}  // namespace freshet::verify
