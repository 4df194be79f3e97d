#include "postgres/array_text.h"

namespace freshet::postgres {
namespace {

/// Reads one element from `at` on, appends its text to `scratch`, and leaves `at` behind it.
ValueOutcome ReadElement(std::string_view text, char delimiter, size_t& at, std::string& scratch,
                         Cell& cell) {
  cell.offset = static_cast<uint32_t>(scratch.size());
  const bool quoted = at < text.size() && text[at] == '"';
  if (quoted) ++at;
  while (true) {
    if (at == text.size()) return ValueOutcome::kMalformed;
    char c = text[at];
    if (quoted && c == '"') {
      ++at;
      break;
    }
    if (!quoted && (c == delimiter || c == '}')) break;
    if (!quoted && c == '{') return ValueOutcome::kException;
    if (!quoted && c == '"') return ValueOutcome::kMalformed;
    if (c == '\\') {
      if (++at == text.size()) return ValueOutcome::kMalformed;
      c = text[at];
    }
    scratch.push_back(c);
    ++at;
  }
  const std::string_view element = std::string_view(scratch).substr(cell.offset);
  cell.size = static_cast<int32_t>(element.size());
  if (!quoted) {
    if (element.empty()) return ValueOutcome::kMalformed;
    if (element == "NULL") {
      scratch.resize(cell.offset);
      cell.size = Cell::kNull;
    }
  }
  return ValueOutcome::kValue;
}

}  // namespace

ValueOutcome SplitArray(std::string_view text, char delimiter, std::string& scratch,
                        std::vector<Cell>& elements) {
  scratch.clear();
  elements.clear();
  if (text.size() < 2 || text.back() != '}') return ValueOutcome::kMalformed;
  if (text[0] == '[') return ValueOutcome::kException;  // bounds: "[0:1]={1,2}"
  if (text[0] != '{') return ValueOutcome::kMalformed;
  if (text == "{}") return ValueOutcome::kValue;
  size_t at = 1;
  while (true) {
    Cell cell;
    const ValueOutcome outcome = ReadElement(text, delimiter, at, scratch, cell);
    if (outcome != ValueOutcome::kValue) return outcome;
    elements.push_back(cell);
    if (at == text.size()) return ValueOutcome::kMalformed;
    if (text[at] == '}') {
      return at + 1 == text.size() ? ValueOutcome::kValue : ValueOutcome::kMalformed;
    }
    if (text[at] != delimiter) return ValueOutcome::kMalformed;
    ++at;
  }
}

}  // namespace freshet::postgres
