#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/file_system.h"

namespace freshet::test {

/// A file system in memory that fails as disks do: it loses what was not synced, tears writes,
/// gets full, and returns errors where a test wants them.
///
/// What a program reads is what it wrote; what is left after Crash() is what was synced, plus any
/// part of the rest, by sectors and in any order. A failed Sync() loses the writes before it: they
/// stay readable, and later syncs do not save them. One folder tree, paths as plain text.
/// Threads: any.
class MemoryFileSystem final : public FileSystem {
 public:
  MemoryFileSystem();
  ~MemoryFileSystem() override;

  Result<std::unique_ptr<WritableFile>> OpenForWriting(const std::string& path) override;
  Result<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  Status MakeFolder(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& folder) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status SyncFolder(const std::string& path) override;
  Result<int64_t> FreeBytes(const std::string& path) override;

  // ---- faults -----------------------------------------------------------------------------------

  /// From now on at most so many bytes may stand in all files together.
  void SetCapacity(int64_t bytes);

  /// The process dies once it has changed so many more bytes or names: that write is cut short,
  /// and every later call fails until Crash().
  void DieAfter(int64_t changes);
  bool dead() const;

  /// Bytes and names changed so far: a run without faults says how many crash points there are.
  int64_t changes() const;

  enum class Operation : uint8_t { kWrite, kSync, kTruncate, kRename, kRemove, kSyncFolder, kRead };

  /// The next `count` calls of `operation` fail with kIo.
  void FailNext(Operation operation, int count = 1);

  /// Power loss: what was not synced is lost or torn, by the dice of `seed`. Locks are let go, and
  /// files opened before are no longer to be used.
  void Crash(uint64_t seed);

  /// Forgets all files and faults, for the next round of a test.
  void Clear();

  // ---- damage and inspection --------------------------------------------------------------------

  /// The whole content; empty when there is no such file.
  std::vector<std::byte> Content(const std::string& path) const;

  /// Sets a file's content, durably.
  void SetContent(const std::string& path, std::vector<std::byte> content);

  /// Turns all bits of one byte over, on the disk too.
  void Flip(const std::string& path, int64_t at);

  /// Takes the last `bytes` away, on the disk too.
  void CutTail(const std::string& path, int64_t bytes);

 private:
  friend class MemoryFile;
  friend class MemoryLock;
  struct Node;
  struct Write;

  Status Enter(Operation operation, const std::string& path);
  bool SpendName();
  int64_t UsedBytes() const;
  void TearNode(Node& node, std::mt19937_64& random);

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Node>> names_;
  std::map<std::string, std::shared_ptr<Node>> durable_names_;
  std::set<std::string> folders_;
  std::set<std::string> locks_;
  std::map<Operation, int> failures_;
  std::optional<int64_t> capacity_;
  std::optional<int64_t> dies_after_;
  int64_t changes_ = 0;
  bool dead_ = false;
};

}  // namespace freshet::test
