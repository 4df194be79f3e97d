#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace freshet {

/// Bytes to write one behind the other, so that a caller need not copy them together first.
using ByteSpans = std::span<const std::span<const std::byte>>;

/// A file opened for writing. Nothing is durable before Sync(). Threads: one.
class WritableFile {
 public:
  virtual ~WritableFile() = default;

  /// Writes `pieces` at byte `at`. After an error any part of them may have been written.
  virtual Status WriteAt(int64_t at, ByteSpans pieces) = 0;

  /// Asks the disk for room up to byte `size_bytes`, without changing the file's size. Makes later
  /// writes cheaper; a file system that cannot do it, or has no room, says nothing.
  virtual void Reserve(int64_t size_bytes) = 0;

  /// Cuts or extends the file, and gives room reserved behind its end back.
  virtual Status Truncate(int64_t size_bytes) = 0;

  /// Makes content and size durable. After an error the writes since the last success may be lost
  /// though they can still be read, and a second call would not tell: write them again.
  virtual Status Sync() = 0;
};

/// A file opened for reading at any place. Stays readable after it was removed. Threads: any.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;

  /// Fills `out` from byte `at` on. Returns the bytes read: fewer only at the end of the file.
  virtual Result<size_t> ReadAt(int64_t at, std::span<std::byte> out) const = 0;

  virtual Result<int64_t> SizeBytes() const = 0;
};

/// Holds a lock until destroyed; the system lets go of it when the process dies.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

/// What the durable parts of freshet need of a file system, so that tests can break it on purpose
/// (test/support/memory_file_system.h).
///
/// Paths as the system takes them. New, renamed and removed names are durable after SyncFolder().
/// Threads: any. Errors: kNotFound, kDenied, kNoSpace, kIo; every message names the path.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  /// Opens for writing, made when absent; what is there stays.
  virtual Result<std::unique_ptr<WritableFile>> OpenForWriting(const std::string& path) = 0;

  virtual Result<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) = 0;

  /// Takes the lock that the file `path` stands for, made when absent, and writes our process id
  /// into it. Errors: kBusy, with the holder's process id.
  virtual Result<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;

  /// Makes a folder and those above it, durably; not an error when it is there.
  virtual Status MakeFolder(const std::string& path) = 0;

  /// Names of what a folder holds, sorted, without "." and "..".
  virtual Result<std::vector<std::string>> List(const std::string& folder) = 0;

  /// Renames, replacing what bears the new name, in one act.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;

  virtual Status Remove(const std::string& path) = 0;

  /// Makes the names in a folder durable.
  virtual Status SyncFolder(const std::string& path) = 0;

  /// Bytes that we may still write where `path` is.
  virtual Result<int64_t> FreeBytes(const std::string& path) = 0;
};

/// Proves that files can be made, filled and removed in `folder`; leaves nothing behind.
/// Errors: kNotFound, kDenied, kNoSpace, kIo.
Status TryWriting(FileSystem& fs, const std::string& folder);

/// The machine's own file system. One instance serves the whole process; it has no state.
FileSystem& LocalFileSystem();

}  // namespace freshet
