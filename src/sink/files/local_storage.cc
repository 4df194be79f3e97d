#include <arrow/io/file.h>
#include <arrow/status.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>

#include "base/check.h"
#include "sink/files/layout.h"
#include "sink/files/storage.h"

namespace freshet::sink::files {
namespace {

namespace fs = std::filesystem;

/// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { Reset(-1); }

  void Reset(int fd) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Status MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) return {};
  Error out = FromErrno(error.value(), fmt::format("make the folder {}", folder.string()));
  return Fail(std::move(out));
}

/// Makes names created, renamed or deleted in `folder` durable.
Status SyncFolder(const fs::path& folder) {
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) {
    return Fail(FromErrno(errno, fmt::format("sync the folder {}", folder.string())));
  }
  return {};
}

/// Writes a file and makes its content durable, not its name.
Status WriteWhole(const fs::path& path, std::string_view content) {
  const std::string doing = fmt::format("write {}", path.string());
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (fd.get() < 0) return Fail(FromErrno(errno, doing));
  for (size_t done = 0; done < content.size();) {
    const ssize_t n = ::write(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail(FromErrno(errno, doing));
    done += static_cast<size_t>(n);
  }
  if (::fsync(fd.get()) != 0) return Fail(FromErrno(errno, doing));
  return {};
}

/// Writes under a temporary name in `_freshet/tmp` and renames when published.
class LocalPendingFile final : public PendingFile {
 public:
  LocalPendingFile(std::shared_ptr<arrow::io::FileOutputStream> stream, fs::path temporary,
                   fs::path final_path)
      : stream_(std::move(stream)),
        temporary_(std::move(temporary)),
        final_path_(std::move(final_path)) {}

  ~LocalPendingFile() override {
    if (published_) return;
    if (!stream_->closed()) static_cast<void>(stream_->Abort());
    std::error_code ignored;
    fs::remove(temporary_, ignored);
  }

  arrow::io::OutputStream& stream() override { return *stream_; }

  Status Finish() override {
    const std::string doing = fmt::format("write {}", temporary_.string());
    // Data is made durable here, file by file, so that Publish() has only names left to do.
    if (::fdatasync(stream_->file_descriptor()) != 0) return Fail(FromErrno(errno, doing));
    const arrow::Status closed = stream_->Close();
    if (!closed.ok()) return Fail(FromArrow(closed, doing));
    return {};
  }

  /// Gives it its name. Durable when the folders are.
  Status Rename() {
    FRESHET_RETURN_IF_ERROR(MakeFolder(final_path_.parent_path()));
    if (::rename(temporary_.c_str(), final_path_.c_str()) != 0) {
      return Fail(FromErrno(errno, fmt::format("rename to {}", final_path_.string())));
    }
    published_ = true;
    return {};
  }

  const fs::path& final_path() const { return final_path_; }

 private:
  std::shared_ptr<arrow::io::FileOutputStream> stream_;
  const fs::path temporary_;
  const fs::path final_path_;
  bool published_ = false;
};

class LocalStorage final : public Storage {
 public:
  explicit LocalStorage(fs::path root) : root_(std::move(root)) {}

  Status Lock() override {
    if (lock_.get() >= 0) return {};
    const fs::path path = root_ / kOwnFolder / "lock";
    FRESHET_RETURN_IF_ERROR(MakeFolder(path.parent_path()));
    lock_.Reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (lock_.get() < 0) return Fail(FromErrno(errno, fmt::format("open {}", path.string())));
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return {};
    const int code = errno;
    lock_.Reset(-1);
    if (code != EWOULDBLOCK) return Fail(FromErrno(code, fmt::format("lock {}", path.string())));
    return Fail(ErrorKind::kBusy,
                "{} is in use by another freshet process (it holds {}); stop that one, or give "
                "each sink a folder of its own",
                root_.string(), path.string());
  }

  Result<std::unique_ptr<PendingFile>> Create(const std::string& path) override {
    const fs::path folder = TemporaryFolder();
    FRESHET_RETURN_IF_ERROR(MakeFolder(folder));
    const fs::path temporary = folder / fmt::format("{}", next_temporary_++);
    auto stream = arrow::io::FileOutputStream::Open(temporary.string());
    if (!stream.ok()) {
      return Fail(FromArrow(stream.status(), fmt::format("create {}", temporary.string())));
    }
    return std::make_unique<LocalPendingFile>(*std::move(stream), temporary, root_ / path);
  }

  Status Publish(std::span<const std::unique_ptr<PendingFile>> files) override {
    std::set<fs::path> folders;
    for (const std::unique_ptr<PendingFile>& file : files) {
      auto& local = static_cast<LocalPendingFile&>(*file);
      FRESHET_RETURN_IF_ERROR(local.Rename());
      // Up to the root: a folder may be new, and its name stands in its parent.
      for (fs::path f = local.final_path().parent_path(); f != root_; f = f.parent_path()) {
        if (!folders.insert(f).second) break;
      }
    }
    if (!files.empty()) folders.insert(root_);
    for (const fs::path& folder : folders) FRESHET_RETURN_IF_ERROR(SyncFolder(folder));
    return {};
  }

  Status Replace(const std::string& path, std::string_view content) override {
    const fs::path final_path = root_ / path;
    const fs::path temporary = TemporaryFolder() / fmt::format("{}", next_temporary_++);
    FRESHET_RETURN_IF_ERROR(MakeFolder(temporary.parent_path()));
    FRESHET_RETURN_IF_ERROR(MakeFolder(final_path.parent_path()));
    Status written = WriteWhole(temporary, content);
    if (written.has_value() && ::rename(temporary.c_str(), final_path.c_str()) != 0) {
      written = Fail(FromErrno(errno, fmt::format("write {}", final_path.string())));
    }
    if (written.has_value()) return SyncFolder(final_path.parent_path());
    ::unlink(temporary.c_str());  // a full disk needs the room
    return written;
  }

  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& path) override {
    auto file = arrow::io::ReadableFile::Open((root_ / path).string());
    if (!file.ok()) return Fail(FromArrow(file.status(), fmt::format("open {}", Full(path))));
    return std::shared_ptr<arrow::io::RandomAccessFile>(*std::move(file));
  }

  Status Delete(const std::string& path) override {
    if (::unlink((root_ / path).c_str()) == 0 || errno == ENOENT) return {};
    return Fail(FromErrno(errno, fmt::format("delete {}", Full(path))));
  }

  Result<std::vector<std::string>> List(const std::string& folder) override {
    std::vector<std::string> names;
    std::error_code error;
    fs::directory_iterator at(root_ / folder, error);
    if (error.value() == ENOENT) return names;
    for (; !error && at != fs::directory_iterator(); at.increment(error)) {
      if (at->is_regular_file(error)) names.push_back(at->path().filename().string());
    }
    if (error) return Fail(FromErrno(error.value(), fmt::format("list {}", Full(folder))));
    return names;
  }

  Status DeleteAll() override {
    std::error_code error;
    fs::remove_all(root_, error);
    if (!error) return {};
    return Fail(FromErrno(error.value(), fmt::format("delete the folder {}", root_.string())));
  }

  std::string Target() const override { return root_.string(); }

 private:
  fs::path TemporaryFolder() const { return root_ / kOwnFolder / "tmp"; }

  const fs::path root_;
  Descriptor lock_;
  int64_t next_temporary_ = 0;
};

}  // namespace

Result<std::unique_ptr<Storage>> MakeLocalStorage(const std::string& folder, StorageUse use) {
  std::error_code error;
  const fs::path root = fs::absolute(folder, error).lexically_normal();
  if (error) return Fail(FromErrno(error.value(), fmt::format("find the folder {}", folder)));
  if (use == StorageUse::kWrite) FRESHET_RETURN_IF_ERROR(MakeFolder(root));
  // "a/b/" has an empty last component, which would make paths differ from their parents'.
  const bool trailing_slash = !root.has_filename() && root.has_relative_path();
  return std::make_unique<LocalStorage>(trailing_slash ? root.parent_path() : root);
}

}  // namespace freshet::sink::files
