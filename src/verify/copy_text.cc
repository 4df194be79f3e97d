#include "verify/copy_text.h"

#include <algorithm>
#include <string>

#include "verify/canonical.h"

namespace freshet::verify {
namespace {

/// The character that a backslash and `c` stand for. The server writes these escapes only; octal
/// and hexadecimal ones are for input.
char Unescaped(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      return c;
  }
}

void AppendUnescaped(std::string_view field, std::string& out) {
  for (size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 1 < field.size()) {
      out.push_back(Unescaped(field[++i]));
    } else {
      out.push_back(field[i]);
    }
  }
}

/// Bytes that are the same in every encoding, and no exact form of others.
bool IsPlain(std::string_view bytes) {
  return !bytes.starts_with("\\x") && std::none_of(bytes.begin(), bytes.end(), [](char c) {
    return static_cast<signed char>(c) < 0;
  });
}

}  // namespace

Status ReadCopyLine(std::string_view line, const std::vector<change::LogicalType>& types, Row& row,
                    const Translate& translate) {
  row.Clear();
  if (line.ends_with('\n')) line.remove_suffix(1);
  std::string unescaped;
  // A table without columns sends empty lines: one field that is no value.
  for (bool more = !types.empty(); more;) {
    const size_t tab = line.find('\t');
    std::string_view field = line.substr(0, tab);
    more = tab != std::string_view::npos;
    if (more) line.remove_prefix(tab + 1);

    if (row.size() == types.size()) {
      return Fail(ErrorKind::kMalformed, "a line of COPY has more than {} values", types.size());
    }
    if (field == "\\N") {
      row.AddNull();
      continue;
    }
    const change::LogicalType& type = types[row.size()];
    if (field.find('\\') != std::string_view::npos) {
      unescaped.clear();
      AppendUnescaped(field, unescaped);
      field = unescaped;
    }
    if (translate && !IsPlain(field)) {
      FRESHET_TRY(field, translate(row.size(), field));
    }
    AppendCanonical(type, field, row.BeginText());
    row.EndText();
  }
  if (row.size() != types.size()) {
    return Fail(ErrorKind::kMalformed, "a line of COPY has {} values where {} were asked for",
                row.size(), types.size());
  }
  return {};
}

}  // namespace freshet::verify
