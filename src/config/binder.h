#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"

namespace freshet::config {

/// A span of time as written in a config file: `250ms`, `1s`, `5m`, `7d`.
using Duration = std::chrono::microseconds;

/// A number of bytes as written in a config file: `64MiB`, `10GiB`, `4096`.
struct ByteSize {
  int64_t bytes = 0;
};

/// One key of a section: its name, what it is for (one sentence; it becomes the documentation), and
/// whether a file that leaves it out is wrong.
struct Key {
  std::string_view name;
  std::string_view doc;
  bool required = false;
};

/// Visits the keys of an options struct, one call a key.
///
/// Every options struct has one function `void Bind(config::Binder&, Options&)`. Run with a
/// YAML reader it fills the struct, whose initial values are the defaults; run with the
/// documenter it describes the keys and those defaults. So the parser, the list of known keys and
/// docs/configuration.md cannot disagree. Errors are collected by the reader with file and line,
/// and never stop the visit, so that a user sees all of them at once.
class Binder {
 public:
  virtual ~Binder() = default;

  virtual void Value(const Key& key, bool& value) = 0;
  virtual void Value(const Key& key, int64_t& value) = 0;
  virtual void Value(const Key& key, std::string& value) = 0;
  virtual void Value(const Key& key, Secret& value) = 0;
  virtual void Value(const Key& key, Duration& value) = 0;
  virtual void Value(const Key& key, ByteSize& value) = 0;
  virtual void Value(const Key& key, std::vector<std::string>& value) = 0;

  /// One of `names`; `index` is the place of the chosen one.
  virtual void Choice(const Key& key, std::span<const std::string_view> names, size_t& index) = 0;

  /// A mapping inside this one. `bind` is called when it is there, and always by the documenter.
  /// Returns whether it was there.
  virtual bool Section(const Key& key, const std::function<void(Binder&)>& bind) = 0;

  /// A mapping whose keys are names that users choose. `bind` is called once a name; by the
  /// documenter once, with the name "NAME".
  virtual void Map(const Key& key,
                   const std::function<void(const std::string& name, Binder&)>& bind) = 0;

  /// Reports a value that has the right form and makes no sense. Shown with the line of `key`.
  virtual void Reject(std::string_view key, std::string message) = 0;
};

/// An enum as a key: `BindEnum(binder, key, kModeNames, options.mode)`, where `names` stand in the
/// order of the enum's values from 0.
template <typename Enum>
void BindEnum(Binder& binder, const Key& key, std::span<const std::string_view> names,
              Enum& value) {
  auto index = static_cast<size_t>(value);
  binder.Choice(key, names, index);
  value = static_cast<Enum>(index);
}

}  // namespace freshet::config
