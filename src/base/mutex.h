#pragma once

#include <mutex>

// What clang checks at compile time (-Wthread-safety, `scripts/test.sh clang`); nothing to g++.
// Source: clang manual, "Thread Safety Analysis".
#if defined(__clang__)
#define FRESHET_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define FRESHET_THREAD_ATTRIBUTE(x)
#endif

/// On a member: touched only while `mutex` is held.
#define GUARDED_BY(mutex) FRESHET_THREAD_ATTRIBUTE(guarded_by(mutex))

/// On a function or lambda: called only while the mutex is held.
#define REQUIRES(...) FRESHET_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))

namespace freshet {

/// std::mutex, with the attributes that libstdc++'s has not got.
class FRESHET_THREAD_ATTRIBUTE(capability("mutex")) Mutex {
 public:
  void lock() FRESHET_THREAD_ATTRIBUTE(acquire_capability()) { mutex_.lock(); }
  void unlock() FRESHET_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

/// Holds a Mutex until the end of the scope, or until unlock(). Condition variables
/// (std::condition_variable_any) wait on it; their predicates say REQUIRES.
class FRESHET_THREAD_ATTRIBUTE(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) FRESHET_THREAD_ATTRIBUTE(acquire_capability(mutex))
      : lock_(mutex) {}
  ~MutexLock() FRESHET_THREAD_ATTRIBUTE(release_capability()) = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void lock() FRESHET_THREAD_ATTRIBUTE(acquire_capability()) { lock_.lock(); }
  void unlock() FRESHET_THREAD_ATTRIBUTE(release_capability()) { lock_.unlock(); }

 private:
  std::unique_lock<Mutex> lock_;
};

}  // namespace freshet
