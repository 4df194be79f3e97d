#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

namespace freshet::postgres {

/// Holds the bytes that cells point into, until their columns are built. Offsets stay valid when it
/// grows. Holds less than 4 GiB: users clear it long before, and one message adds 1 GiB at most.
class TextArena {
 public:
  /// Copies `size` bytes; where they begin.
  uint32_t Append(const void* bytes, size_t size) {
    if (used_ + size > capacity_) [[unlikely]]
      Grow(used_ + size);
    if (size > 0) std::memcpy(bytes_.get() + used_, bytes, size);
    return static_cast<uint32_t>(std::exchange(used_, used_ + size));
  }

  /// Forgets all bytes. What one huge value needed is given back.
  void Clear() {
    constexpr size_t kKeptBytes = size_t{4} << 20;
    used_ = 0;
    if (capacity_ > kKeptBytes) {
      bytes_.reset();
      capacity_ = 0;
    }
  }

  char* data() { return bytes_.get(); }
  size_t used() const { return used_; }

 private:
  void Grow(size_t needed) {
    const size_t capacity = std::max(needed, capacity_ * 2);
    auto larger = std::make_unique_for_overwrite<char[]>(capacity);
    if (used_ > 0) std::memcpy(larger.get(), bytes_.get(), used_);
    bytes_ = std::move(larger);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> bytes_;
  size_t used_ = 0;
  size_t capacity_ = 0;
};

}  // namespace freshet::postgres
