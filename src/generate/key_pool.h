#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "generate/random.h"

namespace freshet::generate {

/// Rows known to be in a table, as many as fit: what a later statement may refer to.
///
/// Holds at most kCapacity; beyond that a new row takes the place of a random one, which stays in
/// the database and is only forgotten here.
template <typename Key>
class KeyPool {
 public:
  static constexpr size_t kCapacity = 20'000;

  bool empty() const { return keys_.empty(); }
  size_t size() const { return keys_.size(); }

  void Clear() { keys_.clear(); }

  void Add(Key key, Random& random) {
    if (keys_.size() < kCapacity) {
      keys_.push_back(std::move(key));
    } else {
      keys_[random.Below(kCapacity)] = std::move(key);
    }
  }

  /// A random row. Call only when not empty.
  const Key& Pick(Random& random) const { return keys_[random.Below(keys_.size())]; }

  /// Takes a random row out. Call only when not empty.
  Key Take(Random& random) {
    std::swap(keys_[random.Below(keys_.size())], keys_.back());
    Key key = std::move(keys_.back());
    keys_.pop_back();
    return key;
  }

  /// Forgets all rows that `gone` is true of.
  template <typename Predicate>
  void Forget(const Predicate& gone) {
    std::erase_if(keys_, gone);
  }

 private:
  std::vector<Key> keys_;
};

}  // namespace freshet::generate
