#include "config/yaml_reader.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <vector>

namespace freshet::config {
namespace {

/// Most errors shown; a file that is wrong throughout needs no more.
constexpr size_t kMostErrors = 100;

/// A referenced secret is a line, not a document.
constexpr size_t kMostSecretBytes = size_t{64} << 10;

struct Unit {
  std::string_view name;
  int64_t factor;
};

constexpr Unit kDurationUnits[] = {{"us", 1},
                                   {"ms", 1'000},
                                   {"s", 1'000'000},
                                   {"m", 60'000'000},
                                   {"h", int64_t{3'600'000'000}},
                                   {"d", int64_t{86'400'000'000}}};

constexpr Unit kByteUnits[] = {{"", 1},
                               {"B", 1},
                               {"kB", 1'000},
                               {"KB", 1'000},
                               {"MB", 1'000'000},
                               {"GB", 1'000'000'000},
                               {"TB", int64_t{1'000'000'000'000}},
                               {"KiB", int64_t{1} << 10},
                               {"MiB", int64_t{1} << 20},
                               {"GiB", int64_t{1} << 30},
                               {"TiB", int64_t{1} << 40}};

/// Reads digits and one of `units`; nullopt when the text is anything else or too large.
std::optional<int64_t> ParseWithUnit(std::string_view text, std::span<const Unit> units) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  const std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  for (const Unit& unit : units) {
    if (unit.name != suffix) continue;
    int64_t product = 0;
    if (__builtin_mul_overflow(number, unit.factor, &product)) return std::nullopt;
    return product;
  }
  return std::nullopt;
}

/// Edits between two short names, to guess what a mistyped key was meant to be.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

std::string Join(const auto& names) {
  std::string out;
  for (const auto& name : names) {
    if (!out.empty()) out += ", ";
    out += name;
  }
  return out;
}

/// The errors of one document, in the order of its lines.
class Errors {
 public:
  explicit Errors(std::string file) : file_(std::move(file)) {}

  void Add(const YAML::Mark& mark, std::string message) {
    if (found_.size() < kMostErrors) found_.push_back({mark.line, mark.column, std::move(message)});
  }

  Status ToStatus() const {
    if (found_.empty()) return {};
    std::vector<Found> sorted = found_;
    std::stable_sort(sorted.begin(), sorted.end(), [](const Found& a, const Found& b) {
      return std::pair(a.line, a.column) < std::pair(b.line, b.column);
    });
    std::string all;
    for (const Found& f : sorted) {
      if (!all.empty()) all += '\n';
      all += fmt::format("{}:{}:{}: {}", file_, f.line + 1, f.column + 1, f.message);
    }
    return Fail(ErrorKind::kConfig, "{}", all);
  }

 private:
  struct Found {
    int line;
    int column;
    std::string message;
  };

  std::string file_;
  std::vector<Found> found_;
};

/// The value of `env:NAME` or `file:/path`, what stands between `${` and `}`.
Result<std::string> Lookup(std::string_view reference) {
  if (reference.starts_with("env:")) {
    const std::string name(reference.substr(4));
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) {
      return Fail(ErrorKind::kConfig, "the environment variable {} is not set", name);
    }
    return std::string(value);
  }
  if (reference.starts_with("file:")) {
    const std::string path(reference.substr(5));
    std::ifstream in(path, std::ios::binary);
    std::string value(kMostSecretBytes, '\0');
    in.read(value.data(), static_cast<std::streamsize>(value.size()));
    if (in.gcount() == 0) return Fail(ErrorKind::kConfig, "cannot read '{}', or it is empty", path);
    if (!in.eof()) {
      return Fail(ErrorKind::kConfig, "'{}' has more than {} bytes", path, kMostSecretBytes);
    }
    value.resize(static_cast<size_t>(in.gcount()));
    while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) value.pop_back();
    return value;
  }
  return Fail(ErrorKind::kConfig, "'${{{}}}' is no reference; use ${{env:NAME}} or ${{file:/path}}",
              reference);
}

/// `text` with every `${...}` replaced.
Result<std::string> Expand(std::string_view text) {
  std::string out;
  while (true) {
    const size_t begin = text.find("${");
    out += text.substr(0, begin);
    if (begin == std::string_view::npos) return out;
    const size_t end = text.find('}', begin);
    if (end == std::string_view::npos) {
      return Fail(ErrorKind::kConfig, "a '${{' has no closing '}}'");
    }
    FRESHET_TRY(const std::string value, Lookup(text.substr(begin + 2, end - begin - 2)));
    out += value;
    text.remove_prefix(end + 1);
  }
}

/// Reads one mapping. `path` names it in messages ("sinks.lake"), empty for the whole file.
class Reader final : public Binder {
 public:
  Reader(YAML::Node map, std::string path, Errors& errors)
      : map_(std::move(map)), path_(std::move(path)), errors_(errors) {
    std::set<std::string> seen;
    for (const auto& entry : map_) {
      if (!seen.insert(entry.first.Scalar()).second) {
        errors_.Add(entry.first.Mark(), fmt::format("'{}' stands here twice; remove one of them",
                                                    Full(entry.first.Scalar())));
      }
    }
  }

  void Value(const Key& key, bool& value) override {
    const auto text = Scalar(key, "true or false");
    if (!text.has_value()) return;
    if (*text == "true") {
      value = true;
    } else if (*text == "false") {
      value = false;
    } else {
      WrongValue(key, *text, "true or false");
    }
  }

  void Value(const Key& key, int64_t& value) override {
    const auto text = Scalar(key, "a whole number");
    if (!text.has_value()) return;
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
    if (error != std::errc() || end != text->data() + text->size()) {
      WrongValue(key, *text, "a whole number, as 100000");
    } else {
      value = number;
    }
  }

  void Value(const Key& key, std::string& value) override {
    if (auto text = Text(key)) value = std::move(*text);
  }

  void Value(const Key& key, Secret& value) override {
    if (auto text = Text(key)) value = Secret(std::move(*text));
  }

  void Value(const Key& key, Duration& value) override {
    const auto text = Scalar(key, "a duration");
    if (!text.has_value()) return;
    const auto parsed = ParseDuration(*text);
    if (parsed.has_value()) {
      value = *parsed;
    } else {
      WrongValue(key, *text, "a duration with its unit, as 250ms, 1s, 5m, 12h or 7d");
    }
  }

  void Value(const Key& key, ByteSize& value) override {
    const auto text = Scalar(key, "a size");
    if (!text.has_value()) return;
    const auto parsed = ParseByteSize(*text);
    if (parsed.has_value()) {
      value = *parsed;
    } else {
      WrongValue(key, *text, "a size in bytes, as 4096, 64MiB or 10GiB");
    }
  }

  void Value(const Key& key, std::vector<std::string>& value) override {
    const auto node = Find(key);
    if (!node.has_value()) return;
    std::vector<std::string> items;
    if (node->IsScalar()) {
      if (auto text = ExpandedScalar(*node, key)) items.push_back(std::move(*text));
    } else if (node->IsSequence()) {
      for (const YAML::Node& item : *node) {
        if (!item.IsScalar()) {
          errors_.Add(item.Mark(), fmt::format("an entry of '{}' is not text", Full(key.name)));
        } else if (auto text = ExpandedScalar(item, key)) {
          items.push_back(std::move(*text));
        }
      }
    } else {
      errors_.Add(node->Mark(), fmt::format("'{}' must be a list, as [a, b]", Full(key.name)));
      return;
    }
    if (key.required && node->IsSequence() && node->size() == 0) {
      errors_.Add(node->Mark(), fmt::format("'{}' is empty: {}", Full(key.name), key.doc));
    }
    value = std::move(items);
  }

  void Choice(const Key& key, std::span<const std::string_view> names, size_t& index) override {
    const auto text = Scalar(key, "one word");
    if (!text.has_value()) return;
    const auto found = std::find(names.begin(), names.end(), *text);
    if (found == names.end()) {
      WrongValue(key, *text, "one of: " + Join(names));
    } else {
      index = static_cast<size_t>(found - names.begin());
    }
  }

  bool Section(const Key& key, const std::function<void(Binder&)>& bind) override {
    const auto node = Find(key, /*null_is_there=*/true);
    if (!node.has_value()) return false;
    ReadMap(*node, std::string(key.name), bind);
    return true;
  }

  void Map(const Key& key,
           const std::function<void(const std::string& name, Binder&)>& bind) override {
    const auto node = Find(key);
    if (!node.has_value()) return;
    if (!node->IsMap()) {
      errors_.Add(node->Mark(), fmt::format("'{}' must be a mapping of names", Full(key.name)));
      return;
    }
    for (const auto& entry : *node) {
      const std::string name = entry.first.Scalar();
      ReadMap(entry.second, fmt::format("{}.{}", key.name, name),
              [&](Binder& inner) { bind(name, inner); });
    }
    if (key.required && node->size() == 0) {
      errors_.Add(node->Mark(), fmt::format("'{}' must have at least one entry", Full(key.name)));
    }
  }

  void Reject(std::string_view key, std::string message) override {
    for (const auto& entry : map_) {
      if (entry.first.Scalar() != key) continue;
      errors_.Add(entry.second.Mark(), fmt::format("'{}' {}", Full(key), message));
      return;
    }
    errors_.Add(map_.Mark(), std::move(message));
  }

  /// Reports every key that nobody asked for.
  void Finish() {
    for (const auto& entry : map_) {
      const std::string& name = entry.first.Scalar();
      if (known_.contains(name)) continue;
      std::string hint = "known here: " + Join(known_);
      for (const std::string& known : known_) {
        if (EditDistance(name, known) <= 2) hint = fmt::format("did you mean '{}'?", known);
      }
      errors_.Add(entry.first.Mark(), fmt::format("unknown key '{}'; {}", Full(name), hint));
    }
  }

 private:
  std::string Full(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }

  void ReadMap(const YAML::Node& node, const std::string& name,
               const std::function<void(Binder&)>& bind) {
    if (!node.IsMap() && !node.IsNull()) {
      errors_.Add(node.Mark(), fmt::format("'{}' must be a mapping of keys", Full(name)));
      return;
    }
    Reader inner(node, Full(name), errors_);
    bind(inner);
    inner.Finish();
  }

  std::optional<YAML::Node> Find(const Key& key, bool null_is_there = false) {
    known_.emplace(key.name);
    for (const auto& entry : map_) {
      if (entry.first.Scalar() != key.name) continue;
      if (!entry.second.IsNull() || null_is_there) return entry.second;
      errors_.Add(entry.first.Mark(), fmt::format("'{}' has no value", Full(key.name)));
      return std::nullopt;
    }
    if (key.required) {
      errors_.Add(map_.Mark(), fmt::format("'{}' is missing: {}", Full(key.name), key.doc));
    }
    return std::nullopt;
  }

  std::optional<std::string> Scalar(const Key& key, std::string_view wanted) {
    const auto node = Find(key);
    if (!node.has_value()) return std::nullopt;
    if (!node->IsScalar()) {
      errors_.Add(node->Mark(), fmt::format("'{}' must be {}", Full(key.name), wanted));
      return std::nullopt;
    }
    return ExpandedScalar(*node, key);
  }

  /// Text. That of a required key must not be empty: what takes it would fill in a default (libpq
  /// does for a url) that nobody chose.
  std::optional<std::string> Text(const Key& key) {
    auto text = Scalar(key, "text");
    if (!key.required || !text.has_value() || !text->empty()) return text;
    errors_.Add(Find(key)->Mark(), fmt::format("'{}' is empty: {}", Full(key.name), key.doc));
    return std::nullopt;
  }

  std::optional<std::string> ExpandedScalar(const YAML::Node& node, const Key& key) {
    auto text = Expand(node.Scalar());
    if (text.has_value()) return std::move(*text);
    errors_.Add(node.Mark(), fmt::format("'{}': {}", Full(key.name), text.error().message));
    return std::nullopt;
  }

  void WrongValue(const Key& key, std::string_view text, std::string_view wanted) {
    for (const auto& entry : map_) {
      if (entry.first.Scalar() != key.name) continue;
      // What came out of a reference may be secret: only what stands in the file is shown.
      const bool plain = entry.second.Scalar() == text;
      errors_.Add(entry.second.Mark(),
                  fmt::format("'{}' is {}; it must be {}", Full(key.name),
                              plain ? fmt::format("'{}'", text) : "not valid", wanted));
      return;
    }
  }

  const YAML::Node map_;
  const std::string path_;
  Errors& errors_;
  std::set<std::string> known_;
};

}  // namespace

Result<Duration> ParseDuration(std::string_view text) {
  const auto micros = ParseWithUnit(text, kDurationUnits);
  if (!micros.has_value()) {
    return Fail(ErrorKind::kConfig,
                "'{}' is no duration; write a number and a unit, as 250ms, 1s, 5m, 12h or 7d",
                text);
  }
  return Duration(*micros);
}

Result<ByteSize> ParseByteSize(std::string_view text) {
  const auto bytes = ParseWithUnit(text, kByteUnits);
  if (!bytes.has_value()) {
    return Fail(ErrorKind::kConfig, "'{}' is no size; write bytes, as 4096, 64MiB or 10GiB", text);
  }
  return ByteSize{*bytes};
}

namespace {

Result<std::string> ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!(text << in.rdbuf())) {
    return Fail(ErrorKind::kConfig, "cannot read the configuration '{}'; give it by -c FILE", path);
  }
  return text.str();
}

Error NotYaml(const std::string& file, const YAML::Exception& e) {
  return {ErrorKind::kConfig, fmt::format("{}:{}:{}: not valid YAML: {}", file, e.mark.line + 1,
                                          e.mark.column + 1, e.msg)};
}

void CollectKeys(const YAML::Node& node, const std::string& path,
                 std::map<std::string, std::string>& keys) {
  if (!node.IsMap()) {
    keys[path] = YAML::Dump(node);
    return;
  }
  for (const auto& entry : node) {
    const std::string name = entry.first.as<std::string>();
    CollectKeys(entry.second, path.empty() ? name : path + "." + name, keys);
  }
}

}  // namespace

Status ReadYaml(std::string_view text, const std::string& file,
                const std::function<void(Binder&)>& bind) {
  Errors errors(file);
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap()) {
      return Fail(ErrorKind::kConfig,
                  "{}:1:1: the file is not a mapping of keys; see docs/configuration.md", file);
    }
    Reader reader(root, "", errors);
    bind(reader);
    reader.Finish();
  } catch (const YAML::Exception& e) {
    return Fail(NotYaml(file, e));
  }
  return errors.ToStatus();
}

Status ReadYamlFile(const std::string& path, const std::function<void(Binder&)>& bind) {
  FRESHET_TRY(const std::string text, ReadText(path));
  return ReadYaml(text, path, bind);
}

Result<std::map<std::string, std::string>> ReadYamlKeys(const std::string& path) {
  FRESHET_TRY(const std::string text, ReadText(path));
  std::map<std::string, std::string> keys;
  try {
    CollectKeys(YAML::Load(text), "", keys);
  } catch (const YAML::Exception& e) {
    return Fail(NotYaml(path, e));
  }
  return keys;
}

}  // namespace freshet::config
