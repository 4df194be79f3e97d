#include "postgres/text_encoding.h"

#include <arrow/util/utf8.h>
#include <fmt/format.h>
#include <iconv.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace freshet::postgres {
namespace {

struct Charset {
  std::string_view encoding;  ///< PostgreSQL's name
  std::string_view charset;   ///< iconv's
  bool singles = true;        ///< each byte is a character
};

/// EUC_JP is the one that iconv calls by Microsoft's name: the other differs from the server in
/// seven characters and lacks some two hundred.
constexpr Charset kCharsets[] = {
    {"LATIN1", "ISO-8859-1"},
    {"LATIN2", "ISO-8859-2"},
    {"LATIN3", "ISO-8859-3"},
    {"LATIN4", "ISO-8859-4"},
    {"LATIN5", "ISO-8859-9"},
    {"LATIN6", "ISO-8859-10"},
    {"LATIN7", "ISO-8859-13"},
    {"LATIN8", "ISO-8859-14"},
    {"LATIN9", "ISO-8859-15"},
    {"LATIN10", "ISO-8859-16"},
    {"ISO_8859_5", "ISO-8859-5"},
    {"ISO_8859_6", "ISO-8859-6"},
    {"ISO_8859_7", "ISO-8859-7"},
    {"ISO_8859_8", "ISO-8859-8"},
    {"KOI8R", "KOI8-R"},
    {"KOI8U", "KOI8-U"},
    {"WIN866", "CP866"},
    {"WIN874", "CP874"},
    {"WIN1250", "CP1250"},
    {"WIN1251", "CP1251"},
    {"WIN1252", "CP1252"},
    {"WIN1253", "CP1253"},
    {"WIN1254", "CP1254"},
    {"WIN1255", "CP1255"},
    {"WIN1256", "CP1256"},
    {"WIN1257", "CP1257"},
    {"WIN1258", "CP1258"},
    {"EUC_CN", "EUC-CN", false},
    {"EUC_JP", "EUC-JP-MS", false},
    {"EUC_KR", "EUC-KR", false},
    {"EUC_TW", "EUC-TW", false},
};

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

bool IsHigh(char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; }

/// The bytes before the first that is not ASCII.
size_t AsciiPrefix(std::string_view text) {
  size_t at = 0;
  for (; at + sizeof(uint64_t) <= text.size(); at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + at, sizeof(word));
    if ((word & 0x8080808080808080) != 0) break;
  }
  while (at < text.size() && !IsHigh(text[at])) ++at;
  return at;
}

bool IsUtf8(std::string_view text) {
  static const bool ready = (arrow::util::InitializeUTF8(), true);
  CHECK(ready);
  return arrow::util::ValidateUTF8(reinterpret_cast<const uint8_t*>(text.data()),
                                   static_cast<int64_t>(text.size()));
}

void AppendInvalid(std::string_view bytes, TextConverter::Invalid invalid, std::string& out) {
  using Invalid = TextConverter::Invalid;
  if (invalid == Invalid::kReplacement) {
    out += kReplacementCharacter;
    return;
  }
  const std::string_view mark = invalid == Invalid::kJsonBytes ? "\\\\x" : "\\x";
  for (const char c : bytes) {
    fmt::format_to(std::back_inserter(out), "{}{:02x}", mark, static_cast<unsigned char>(c));
  }
}

}  // namespace

/// One direction of iconv.
struct TextConverter::Iconv {
  Iconv(const std::string& to, const std::string& from)
      : handle(iconv_open(to.c_str(), from.c_str())) {}
  ~Iconv() {
    if (ok()) iconv_close(handle);
  }
  Iconv(const Iconv&) = delete;
  Iconv& operator=(const Iconv&) = delete;

  bool ok() const { return handle != reinterpret_cast<iconv_t>(-1); }

  /// Appends all of `text`. False, with `out` as it was, when a part has no form.
  bool Append(std::string_view text, std::string& out) const {
    const size_t begin = out.size();
    iconv(handle, nullptr, nullptr, nullptr, nullptr);
    char* in = const_cast<char*>(text.data());  // iconv's signature; it writes nothing there
    size_t left = text.size();
    for (bool flushed = false; !flushed;) {
      char buffer[1024];
      char* to = buffer;
      size_t room = sizeof(buffer);
      const bool flushes = left == 0;
      const size_t done =
          iconv(handle, flushes ? nullptr : &in, flushes ? nullptr : &left, &to, &room);
      out.append(buffer, static_cast<size_t>(to - buffer));
      if (done != static_cast<size_t>(-1)) {
        flushed = flushes;
      } else if (errno != E2BIG) {
        out.resize(begin);
        return false;
      }
    }
    return true;
  }

  iconv_t handle;
};

TextConverter::TextConverter(std::string_view encoding, std::string_view charset)
    : encoding_(encoding), charset_(charset), is_utf8_(encoding == "UTF8") {}

TextConverter::~TextConverter() = default;

std::shared_ptr<TextConverter> TextConverter::Utf8() {
  return std::shared_ptr<TextConverter>(new TextConverter("UTF8", ""));
}

Result<std::shared_ptr<TextConverter>> TextConverter::Create(std::string_view encoding) {
  if (encoding == "UTF8") return Utf8();
  if (encoding == "SQL_ASCII") {
    return std::shared_ptr<TextConverter>(new TextConverter(encoding, ""));
  }
  const auto* const found = std::find_if(std::begin(kCharsets), std::end(kCharsets),
                                         [&](const Charset& c) { return c.encoding == encoding; });
  if (found == std::end(kCharsets)) {
    return Fail(ErrorKind::kUnsupported,
                "the database is encoded in {}, which freshet does not read (EUC_JIS_2004, JOHAB "
                "and MULE_INTERNAL; every other encoding it does); dump and restore it into a "
                "database made with ENCODING 'UTF8'",
                encoding);
  }
  std::shared_ptr<TextConverter> out(new TextConverter(encoding, found->charset));
  out->to_utf8_ = std::make_unique<Iconv>("UTF-8", out->charset_);
  out->from_utf8_ = std::make_unique<Iconv>(out->charset_, "UTF-8");
  if (!out->to_utf8_->ok() || !out->from_utf8_->ok()) {
    return Fail(ErrorKind::kUnsupported,
                "the database is encoded in {}, and the C library here has no conversion of {}; "
                "install its gconv modules (Debian: in libc6, Fedora: glibc-gconv-extra)",
                encoding, found->charset);
  }
  if (found->singles) {
    for (size_t i = 0; i < std::size(out->table_); ++i) {
      const char byte = static_cast<char>(0x80 + i);
      out->to_utf8_->Append({&byte, 1}, out->table_[i]);  // stays empty where it has no form
    }
    out->to_utf8_.reset();
  }
  return out;
}

bool TextConverter::Append(std::string_view text, Invalid invalid, std::string& out) {
  const size_t begin = out.size();
  bool valid = false;
  if (keeps_bytes()) {
    valid = AppendBytes(text, invalid, out);
  } else {
    const size_t ascii = AsciiPrefix(text);
    out.append(text.substr(0, ascii));
    text.remove_prefix(ascii);
    if (text.empty()) return true;
    valid =
        to_utf8_ == nullptr ? AppendSingles(text, invalid, out) : AppendUnits(text, invalid, out);
  }
  if (!valid && invalid == Invalid::kNothing) out.resize(begin);
  return valid;
}

bool TextConverter::AppendBytes(std::string_view text, Invalid invalid, std::string& out) {
  if (IsUtf8(text)) {
    out.append(text);
    return true;
  }
  if (invalid == Invalid::kNothing) return false;
  while (!text.empty()) {
    constexpr size_t kMostBytes = 4;
    size_t size = 1;
    while (size <= std::min(kMostBytes, text.size()) && !IsUtf8(text.substr(0, size))) ++size;
    if (size <= std::min(kMostBytes, text.size())) {
      out.append(text.substr(0, size));
    } else {
      size = 1;
      AppendInvalid(text.substr(0, size), invalid, out);
    }
    text.remove_prefix(size);
  }
  return false;
}

bool TextConverter::AppendSingles(std::string_view text, Invalid invalid, std::string& out) {
  bool valid = true;
  for (const char& c : text) {
    if (!IsHigh(c)) {
      out.push_back(c);
      continue;
    }
    const std::string& character = table_[static_cast<unsigned char>(c) - 0x80];
    if (character.empty()) {
      valid = false;
      if (invalid == Invalid::kNothing) return false;
      AppendInvalid({&c, 1}, invalid, out);
    } else {
      out += character;
    }
  }
  return valid;
}

bool TextConverter::AppendUnits(std::string_view text, Invalid invalid, std::string& out) {
  if (to_utf8_->Append(text, out)) return true;
  if (invalid == Invalid::kNothing) return false;
  while (!text.empty()) {
    const std::string_view unit = text.substr(0, UnitSize(text));
    if (!to_utf8_->Append(unit, out)) AppendInvalid(unit, invalid, out);
    text.remove_prefix(unit.size());
  }
  return false;
}

/// The bytes of the first character of `text`, by the rules of the EUC encodings.
size_t TextConverter::UnitSize(std::string_view text) const {
  size_t size = IsHigh(text[0]) ? 2 : 1;
  const auto first = static_cast<unsigned char>(text[0]);
  if (encoding_ == "EUC_TW" && first == 0x8E) size = 4;
  if (encoding_ == "EUC_JP" && first == 0x8F) size = 3;
  if (size > text.size()) return 1;
  const std::string_view rest = text.substr(1, size - 1);
  return std::all_of(rest.begin(), rest.end(), IsHigh) ? size : 1;
}

void TextConverter::AppendExactly(std::string_view text, std::string& out) {
  const size_t begin = out.size();
  if (Append(text, Invalid::kNothing, out)) {
    if (is_utf8_) return;
    std::string back;
    // Some characters have two forms in one encoding.
    const bool comes_back =
        to_utf8_ == nullptr || (Encode(std::string_view(out).substr(begin), back) && back == text);
    if (comes_back && !LooksExact(text)) return;
    out.resize(begin);
  }
  out += ExactForm(text);
}

std::string TextConverter::Name(std::string_view text) {
  if (is_utf8_ || AsciiPrefix(text) == text.size()) return std::string(text);
  std::string out;
  AppendExactly(text, out);
  return out;
}

bool TextConverter::Encode(std::string_view utf8, std::string& out) {
  if (keeps_bytes() || AsciiPrefix(utf8) == utf8.size()) {
    out.append(utf8);
    return true;
  }
  if (to_utf8_ != nullptr) return from_utf8_->Append(utf8, out);
  while (!utf8.empty()) {  // by the table: iconv takes some characters apart
    if (!IsHigh(utf8[0])) {
      out.push_back(utf8[0]);
      utf8.remove_prefix(1);
      continue;
    }
    const auto* const found =
        std::find_if(std::begin(table_), std::end(table_), [&](const std::string& character) {
          return !character.empty() && utf8.starts_with(character);
        });
    if (found == std::end(table_)) return false;
    out.push_back(static_cast<char>(0x80 + (found - std::begin(table_))));
    utf8.remove_prefix(found->size());
  }
  return true;
}

Result<std::string> TextConverter::Encode(std::string_view utf8) {
  std::string out;
  if (Encode(utf8, out)) return out;
  return Fail(ErrorKind::kConfig,
              "a name or value has a character that the database's encoding {} does not have; "
              "correct it in the configuration",
              encoding_);
}

std::string ExactForm(std::string_view text) {
  std::string out = "\\x";
  for (const char c : text) {
    fmt::format_to(std::back_inserter(out), "{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

bool LooksExact(std::string_view text) {
  return text.size() % 2 == 0 && text.starts_with("\\x") &&
         text.find_first_not_of("0123456789abcdef", 2) == std::string_view::npos;
}

namespace {

tl::unexpected<Error> NotValid(const std::string& encoding) {
  return Fail(ErrorKind::kUnsupported,
              "a value holds bytes that are not valid in {}; repair it in the source, or set "
              "source.postgres.invalid_text to quarantine (null, the exact bytes as an exception), "
              "replace (by U+FFFD) or bytes (as \\xHH)",
              encoding == "SQL_ASCII" ? "UTF-8, as which SQL_ASCII is read" : encoding);
}

TextConverter::Invalid StandInOf(InvalidText policy, bool json) {
  switch (policy) {
    case InvalidText::kReplace:
      return TextConverter::Invalid::kReplacement;
    case InvalidText::kBytes:
      return json ? TextConverter::Invalid::kJsonBytes : TextConverter::Invalid::kBytes;
    case InvalidText::kQuarantine:
    case InvalidText::kFail:
      break;
  }
  return TextConverter::Invalid::kNothing;
}

}  // namespace

Result<bool> TextRules::AppendValue(std::string_view text, bool json, std::string& out) const {
  if (converter->Append(text, StandInOf(invalid, json), out)) return true;
  if (invalid == InvalidText::kFail) return NotValid(converter->encoding());
  return invalid != InvalidText::kQuarantine;
}

Status TextRules::AppendKey(std::string_view text, std::string& out) const {
  if (invalid == InvalidText::kFail) {
    std::string ignored;
    if (!converter->Append(text, TextConverter::Invalid::kNothing, ignored)) {
      return NotValid(converter->encoding());
    }
  }
  converter->AppendExactly(text, out);
  return {};
}

std::string TextRules::ExceptionText(std::string_view text) const {
  std::string out;
  const TextConverter::Invalid stand_in = StandInOf(invalid, /*json=*/false);
  if (!converter->Append(text, stand_in, out) && stand_in == TextConverter::Invalid::kNothing) {
    out = ExactForm(text);
  }
  return out;
}

}  // namespace freshet::postgres
