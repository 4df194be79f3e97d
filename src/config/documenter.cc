#include "config/documenter.h"

#include <fmt/format.h>

#include <vector>

namespace freshet::config {
namespace {

struct Unit {
  std::string_view name;
  int64_t factor;
};

/// The largest unit that divides `value`; the last of `units` divides everything.
std::string InUnits(int64_t value, std::span<const Unit> units) {
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) return fmt::format("{}{}", value / unit.factor, unit.name);
  }
  return std::to_string(value);
}

std::string Code(std::string_view text) { return fmt::format("`{}`", text); }

/// `|` ends a cell of a Markdown table.
std::string Cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

/// One mapping: its heading, its keys, and the mappings inside it.
struct Page {
  std::string path;
  std::string doc;
  std::string rows;
  std::vector<Page> inner;
};

/// Collects one mapping's keys into its page.
class Documenter final : public Binder {
 public:
  explicit Documenter(Page& page) : page_(page) {}

  void Value(const Key& key, bool& value) override {
    Add(key, "true or false", Code(value ? "true" : "false"));
  }
  void Value(const Key& key, int64_t& value) override {
    Add(key, "number", Code(std::to_string(value)));
  }
  void Value(const Key& key, std::string& value) override {
    Add(key, "text", value.empty() ? "" : Code(value));
  }
  void Value(const Key& key, Secret&) override { Add(key, "secret", ""); }
  void Value(const Key& key, Duration& value) override {
    Add(key, "duration", Code(FormatDuration(value)));
  }
  void Value(const Key& key, ByteSize& value) override {
    Add(key, "size", Code(FormatByteSize(value)));
  }
  void Value(const Key& key, std::vector<std::string>& value) override {
    Add(key, "list", value.empty() ? "" : Code(fmt::format("[{}]", fmt::join(value, ", "))));
  }

  void Choice(const Key& key, std::span<const std::string_view> names, size_t& index) override {
    std::string type;
    for (const std::string_view name : names) {
      type += (type.empty() ? "" : ", ") + Code(name);
    }
    Add(key, type, index < names.size() ? Code(names[index]) : "");
  }

  bool Section(const Key& key, const std::function<void(Binder&)>& bind) override {
    Add(key, "mapping, below", "");
    AddInner(key, std::string(key.name), bind);
    return true;
  }

  void Map(const Key& key,
           const std::function<void(const std::string& name, Binder&)>& bind) override {
    Add(key, "mapping of names, below", "");
    AddInner(key, fmt::format("{}.NAME", key.name), [&](Binder& entry) { bind("NAME", entry); });
  }

  /// Defaults are never wrong by themselves; a required key without one is not an error here.
  void Reject(std::string_view, std::string) override {}

 private:
  void Add(const Key& key, std::string_view type, std::string_view value) {
    page_.rows += fmt::format("| `{}` | {} | {} | {} |\n", key.name, type,
                              key.required ? "required" : value, Cell(key.doc));
  }

  void AddInner(const Key& key, const std::string& name, const std::function<void(Binder&)>& bind) {
    const std::string path = page_.path.empty() ? name : fmt::format("{}.{}", page_.path, name);
    Page inner{.path = path, .doc = std::string(key.doc), .rows = {}, .inner = {}};
    Documenter documenter(inner);
    bind(documenter);
    page_.inner.push_back(std::move(inner));
  }

  Page& page_;
};

void Render(const Page& page, std::string& out) {
  if (!page.path.empty()) out += fmt::format("\n## `{}`\n\n{}\n\n", page.path, page.doc);
  if (page.rows.empty()) {
    out += "No keys.\n";
  } else {
    out += "| key | type | default | meaning |\n|---|---|---|---|\n" + page.rows;
  }
  for (const Page& inner : page.inner) Render(inner, out);
}

}  // namespace

std::string DocumentKeys(const std::function<void(Binder&)>& bind) {
  Page page;
  Documenter documenter(page);
  bind(documenter);
  std::string out;
  Render(page, out);
  return out;
}

std::string FormatDuration(Duration duration) {
  static constexpr Unit kUnits[] = {{"d", int64_t{86'400'000'000}},
                                    {"h", int64_t{3'600'000'000}},
                                    {"m", 60'000'000},
                                    {"s", 1'000'000},
                                    {"ms", 1'000},
                                    {"us", 1}};
  return duration.count() == 0 ? "0s" : InUnits(duration.count(), kUnits);
}

std::string FormatByteSize(ByteSize size) {
  static constexpr Unit kUnits[] = {
      {"GiB", int64_t{1} << 30}, {"MiB", int64_t{1} << 20}, {"KiB", int64_t{1} << 10}, {"", 1}};
  return size.bytes == 0 ? "0" : InUnits(size.bytes, kUnits);
}

}  // namespace freshet::config
