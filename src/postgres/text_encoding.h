#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace freshet::postgres {

/// What becomes of text that is not valid in its database's encoding.
enum class InvalidText : uint8_t {
  kQuarantine,  ///< null, with the exact bytes as an exception
  kReplace,     ///< U+FFFD stands for each invalid character
  kBytes,       ///< \xHH stands for each byte of one
  kFail,        ///< an error
};

/// Turns text of one database into UTF-8 and back, and knows what is no text at all.
///
/// The characters are those of the server's own conversion to UTF8, where that has any.
/// Threads: one at a time.
/// Source: PostgreSQL manual, "Character Set Support"; the C library's iconv.
class TextConverter {
 public:
  /// `encoding` as the server reports it (server_encoding). UTF8 is taken as it is. So is
  /// SQL_ASCII, where the server promises nothing: there, what is not UTF-8 is not valid.
  /// Errors: kUnsupported (EUC_JIS_2004, JOHAB, MULE_INTERNAL, which have no dependable form).
  static Result<std::shared_ptr<TextConverter>> Create(std::string_view encoding);

  /// Of a UTF8 database.
  static std::shared_ptr<TextConverter> Utf8();

  ~TextConverter();
  TextConverter(const TextConverter&) = delete;
  TextConverter& operator=(const TextConverter&) = delete;

  const std::string& encoding() const { return encoding_; }

  /// A database whose server checks that all text is UTF-8.
  bool is_utf8() const { return is_utf8_; }

  /// Valid text has the same bytes in UTF-8.
  bool keeps_bytes() const { return charset_.empty(); }

  /// What stands in the place of an invalid character.
  enum class Invalid : uint8_t {
    kNothing,      ///< nothing, and no more of the text
    kReplacement,  ///< U+FFFD
    kBytes,        ///< \xHH a byte
    kJsonBytes,    ///< the same inside of a JSON string: \\xHH
  };

  /// Appends `text` in UTF-8. Returns whether all of it was valid; with kNothing `out` is then as
  /// it was.
  bool Append(std::string_view text, Invalid invalid, std::string& out);

  /// Appends `text` so that two texts never become one: in UTF-8, or in its exact form where it is
  /// not valid, would not come back as it was, or is valid and looks like an exact form. Where
  /// is_utf8(), valid text stays as it is.
  void AppendExactly(std::string_view text, std::string& out);

  /// A name, or another answer of the server: in UTF-8, or where it is not valid in its exact form.
  std::string Name(std::string_view text);

  /// `utf8` in the database's encoding. Errors: kConfig (a character that it does not have).
  Result<std::string> Encode(std::string_view utf8);

 private:
  struct Iconv;

  TextConverter(std::string_view encoding, std::string_view charset);

  bool AppendBytes(std::string_view text, Invalid invalid, std::string& out);
  bool AppendSingles(std::string_view text, Invalid invalid, std::string& out);
  bool AppendUnits(std::string_view text, Invalid invalid, std::string& out);
  size_t UnitSize(std::string_view text) const;
  bool Encode(std::string_view utf8, std::string& out);

  const std::string encoding_;
  const std::string charset_;  ///< iconv's name; empty: no conversion
  const bool is_utf8_;
  std::string table_[128];  ///< of bytes from 0x80 on, where each is a character; empty: none
  std::unique_ptr<Iconv> to_utf8_;
  std::unique_ptr<Iconv> from_utf8_;
};

/// The exact form of `text`: \x and its bytes in hexadecimal, as PostgreSQL writes a bytea.
std::string ExactForm(std::string_view text);

/// Whether `text` may be an exact form.
bool LooksExact(std::string_view text);

/// How values of text are read.
struct TextRules {
  std::shared_ptr<TextConverter> converter = TextConverter::Utf8();
  InvalidText invalid = InvalidText::kQuarantine;

  /// Appends a value in UTF-8. `json`: of type json or jsonb, and stays that. False, with `out` as
  /// it was, when it is to be an exception. Errors: kUnsupported under kFail.
  Result<bool> AppendValue(std::string_view text, bool json, std::string& out) const;

  /// Appends a value of a key: never null, and different for different values whatever the policy
  /// but kFail (TextConverter::AppendExactly).
  Status AppendKey(std::string_view text, std::string& out) const;

  /// The text of an exception: in UTF-8, or where it is not valid by the policy, exactly at best.
  std::string ExceptionText(std::string_view text) const;
};

}  // namespace freshet::postgres
