#include "postgres/table_filter.h"

#include <algorithm>

namespace freshet::postgres {

bool GlobMatches(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;  // the last `*`, and the text it covers so far
  size_t covered = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      covered = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++covered;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

namespace {

Result<std::vector<change::TableName>> Split(const std::vector<std::string>& globs) {
  std::vector<change::TableName> out;
  for (const std::string& glob : globs) {
    const size_t dot = glob.find('.');
    if (dot == std::string::npos || dot == 0 || dot + 1 == glob.size()) {
      return Fail(ErrorKind::kConfig, "'{}' names no table; write schema.table, as in public.*",
                  glob);
    }
    out.push_back({glob.substr(0, dot), glob.substr(dot + 1)});
  }
  return out;
}

bool AnyMatches(const std::vector<change::TableName>& globs, const change::TableName& name) {
  return std::any_of(globs.begin(), globs.end(), [&](const change::TableName& glob) {
    return GlobMatches(glob.schema, name.schema) && GlobMatches(glob.table, name.table);
  });
}

}  // namespace

Result<TableFilter> TableFilter::Create(const std::vector<std::string>& tables,
                                        const std::vector<std::string>& exclude) {
  if (tables.empty()) {
    return Fail(ErrorKind::kConfig, "`tables` is empty; name some, as in tables: [public.*]");
  }
  TableFilter out;
  FRESHET_TRY(out.include_, Split(tables));
  FRESHET_TRY(out.exclude_, Split(exclude));
  return out;
}

bool TableFilter::Matches(const change::TableName& name) const {
  return AnyMatches(include_, name) && !AnyMatches(exclude_, name);
}

std::string TableFilter::globs() const {
  std::string out;
  for (const change::TableName& glob : include_) {
    out += (out.empty() ? "" : ", ") + change::ToString(glob);
  }
  return out;
}

std::vector<change::TableName> TableFilter::ExactNames() const {
  std::vector<change::TableName> out;
  for (const change::TableName& glob : include_) {
    const bool exact = (glob.schema + glob.table).find_first_of("*?") == std::string::npos;
    if (exact && !AnyMatches(exclude_, glob)) out.push_back(glob);
  }
  return out;
}

}  // namespace freshet::postgres
