#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <optional>
#include <stop_token>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"

namespace freshet {

/// A bounded first-in first-out queue between threads. Holds at most `capacity` items.
///
/// Threads: any number may push and pop. Every wait ends when its stop token is triggered.
template <typename T>
class Queue {
 public:
  explicit Queue(size_t capacity) : capacity_(capacity) { CHECK(capacity > 0); }

  /// Waits for room, then adds `item`. False, and the item is dropped, when stopped or closed.
  bool Push(T item, std::stop_token stop) {
    MutexLock lock(mutex_);
    not_full_.wait(lock, stop,
                   [&]() REQUIRES(mutex_) { return closed_ || items_.size() < capacity_; });
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(item));
    lock.unlock();
    not_empty_.notify_one();
    return true;
  }

  /// Waits for room at most `timeout`, then adds a copy of `item`. False when there was none.
  bool PushFor(const T& item, std::chrono::nanoseconds timeout, std::stop_token stop) {
    MutexLock lock(mutex_);
    not_full_.wait_for(lock, stop, timeout,
                       [&]() REQUIRES(mutex_) { return closed_ || items_.size() < capacity_; });
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(item);
    lock.unlock();
    not_empty_.notify_one();
    return true;
  }

  /// Waits for an item at most `timeout` and takes it. Empty when none came.
  std::optional<T> PopFor(std::chrono::nanoseconds timeout, std::stop_token stop) {
    MutexLock lock(mutex_);
    not_empty_.wait_for(lock, stop, timeout,
                        [&]() REQUIRES(mutex_) { return closed_ || !items_.empty(); });
    return TakeFront();
  }

  /// Waits for an item and takes it. Empty when stopped, or when closed and drained.
  std::optional<T> Pop(std::stop_token stop) {
    MutexLock lock(mutex_);
    not_empty_.wait(lock, stop, [&]() REQUIRES(mutex_) { return closed_ || !items_.empty(); });
    return TakeFront();
  }

  /// Takes an item if one is there; never waits.
  std::optional<T> TryPop() {
    const MutexLock lock(mutex_);
    return TakeFront();
  }

  /// No more pushes; poppers get what is left, then nothing.
  void Close() {
    {
      const MutexLock lock(mutex_);
      closed_ = true;
    }
    not_full_.notify_all();
    not_empty_.notify_all();
  }

  bool closed() const {
    const MutexLock lock(mutex_);
    return closed_;
  }

  size_t size() const {
    const MutexLock lock(mutex_);
    return items_.size();
  }

  size_t capacity() const { return capacity_; }

 private:
  std::optional<T> TakeFront() REQUIRES(mutex_) {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    not_full_.notify_one();
    return item;
  }

  const size_t capacity_;
  mutable Mutex mutex_;
  std::condition_variable_any not_full_;
  std::condition_variable_any not_empty_;
  std::deque<T> items_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace freshet
