#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sink/files/options.h"

namespace arrow {
class Status;
}
namespace arrow::io {
class OutputStream;
class RandomAccessFile;
}  // namespace arrow::io

namespace freshet::sink::files {

/// A data file under way, which no reader can see yet. Gone without a trace when destroyed
/// unpublished.
class PendingFile {
 public:
  virtual ~PendingFile() = default;

  /// Where its bytes go, in order. Valid until Finish().
  virtual arrow::io::OutputStream& stream() = 0;

  /// Ends the bytes. Still invisible, and now cheap in memory.
  virtual Status Finish() = 0;
};

/// The folder or bucket prefix of a sink. Paths are relative to it, with '/'.
///
/// Two implementations: MakeLocalStorage(), MakeS3Storage(). Threads: one at a time.
/// Errors of every call: kDenied, kNotFound (the bucket or the parent of the folder), kUnavailable,
/// kNoSpace, kIo.
class Storage {
 public:
  virtual ~Storage() = default;

  /// Takes the folder for this process, where the store can. Errors: also kBusy.
  virtual Status Lock() = 0;

  /// Begins a data file that will be visible as `path`.
  virtual Result<std::unique_ptr<PendingFile>> Create(const std::string& path) = 0;

  /// Makes finished files of Create() visible and durable: all of them or, after an error, any.
  virtual Status Publish(std::span<const std::unique_ptr<PendingFile>> files) = 0;

  /// Replaces a small file by `content`, durably and in one act: a reader sees the old or the new.
  virtual Status Replace(const std::string& path, std::string_view content) = 0;

  /// Opens a file for reading. Errors: kNotFound also when the file is not there.
  virtual Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& path) = 0;

  /// Deletes a file; one that is not there is fine.
  virtual Status Delete(const std::string& path) = 0;

  /// Names of the files directly in `folder`; none when it is not there.
  virtual Result<std::vector<std::string>> List(const std::string& folder) = 0;

  /// Deletes everything below, whoever wrote it, and the folder itself. A bucket stays.
  virtual Status DeleteAll() = 0;

  /// Where files go, for people: "s3://bucket/prefix" or an absolute folder.
  virtual std::string Target() const = 0;

  /// The content of a small file, as Open() gives it.
  Result<std::string> Read(const std::string& path);

  /// "<target>/<path>", for messages.
  std::string Full(std::string_view path) const;
};

/// Whether storage is only read (verify) or also written to.
enum class StorageUse : uint8_t { kRead, kWrite };

/// The storage that `options.url` names. A local folder is made when absent.
Result<std::unique_ptr<Storage>> OpenStorage(const Options& options, StorageUse use);

/// What `url` names, without secrets, for people.
std::string TargetOf(const std::string& url);

Result<std::unique_ptr<Storage>> MakeLocalStorage(const std::string& folder, StorageUse use);
Result<std::unique_ptr<Storage>> MakeS3Storage(const std::string& bucket, const std::string& prefix,
                                               const S3Access& access);

/// Starts Arrow's S3 client, once a process; it stops with the process. Quiet: errors are returned,
/// not printed.
Status EnsureS3Client();

/// Why `url` cannot name a storage; empty when it can.
std::string RejectUrl(const std::string& url);

/// Turns an error of Arrow, its file systems and its S3 client into ours: the one place that does.
Error FromArrow(const arrow::Status& status, std::string_view doing);

/// Turns an errno into an error of ours.
Error FromErrno(int code, std::string_view doing);

}  // namespace freshet::sink::files
