#include "base/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace freshet {
namespace {

/// The one place where errno becomes an Error. Repairs stand with the kinds a user can act on.
tl::unexpected<Error> FailErrno(std::string_view doing, const std::string& path, int error) {
  const auto kind_and_repair = [error]() -> std::pair<ErrorKind, std::string_view> {
    switch (error) {
      case ENOSPC:
      case EDQUOT:
        return {ErrorKind::kNoSpace, "; free space on this disk or raise the quota"};
      case EACCES:
      case EPERM:
        return {ErrorKind::kDenied, "; give the user that runs freshet the right to do so"};
      case EROFS:
        return {ErrorKind::kDenied, "; mount the disk for writing or choose another folder"};
      case ENOENT:
      case ENOTDIR:
        return {ErrorKind::kNotFound, ""};
      default:
        return {ErrorKind::kIo, ""};
    }
  }();
  return Fail(kind_and_repair.first, "{} '{}': {}{}", doing, path, std::strerror(error),
              kind_and_repair.second);
}

/// An open file descriptor, closed when it goes.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }

  int get() const { return fd_; }

 private:
  int fd_;
};

Result<Descriptor> OpenDescriptor(std::string_view doing, const std::string& path, int flags) {
  constexpr mode_t kMode = 0644;
  const int fd = open(path.c_str(), flags | O_CLOEXEC, kMode);
  if (fd < 0) return FailErrno(doing, path, errno);
  return Descriptor(fd);
}

class LocalWritableFile final : public WritableFile {
 public:
  LocalWritableFile(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Status WriteAt(int64_t at, ByteSpans pieces) override {
    std::vector<iovec> vectors;
    vectors.reserve(pieces.size());
    for (const auto& piece : pieces) {
      if (piece.empty()) continue;
      vectors.push_back({const_cast<std::byte*>(piece.data()), piece.size()});
    }
    iovec* next = vectors.data();
    size_t left = vectors.size();
    while (left > 0) {
      const auto count = static_cast<int>(std::min<size_t>(left, IOV_MAX));
      ssize_t written = pwritev(fd_.get(), next, count, at);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return FailErrno("write", path_, errno);
      at += written;
      while (left > 0 && static_cast<size_t>(written) >= next->iov_len) {
        written -= static_cast<ssize_t>(next->iov_len);
        ++next;
        --left;
      }
      if (written > 0) {
        next->iov_base = static_cast<std::byte*>(next->iov_base) + written;
        next->iov_len -= static_cast<size_t>(written);
      }
    }
    return {};
  }

  void Reserve(int64_t size_bytes) override {
    struct stat info {};
    if (fstat(fd_.get(), &info) != 0 || info.st_size >= size_bytes) return;
    // An optimisation only: not every file system has it, and a full disk shows at the write.
    [[maybe_unused]] const int ignored =
        fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, info.st_size, size_bytes - info.st_size);
  }

  Status Truncate(int64_t size_bytes) override {
    if (ftruncate(fd_.get(), size_bytes) != 0) return FailErrno("truncate", path_, errno);
    return {};
  }

  Status Sync() override {
    if (fdatasync(fd_.get()) != 0) return FailErrno("fsync", path_, errno);
    return {};
  }

 private:
  Descriptor fd_;
  std::string path_;
};

class LocalReadableFile final : public ReadableFile {
 public:
  LocalReadableFile(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<size_t> ReadAt(int64_t at, std::span<std::byte> out) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got =
          pread(fd_.get(), out.data() + done, out.size() - done, at + static_cast<int64_t>(done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return FailErrno("read", path_, errno);
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  Result<int64_t> SizeBytes() const override {
    struct stat info {};
    if (fstat(fd_.get(), &info) != 0) return FailErrno("stat", path_, errno);
    return int64_t{info.st_size};
  }

 private:
  Descriptor fd_;
  std::string path_;
};

class LocalFileLock final : public FileLock {
 public:
  explicit LocalFileLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  Descriptor fd_;
};

/// The process id in a lock file, for a message; "unknown" while its holder has not written it.
std::string ReadHolder(int fd) {
  char text[32];
  const ssize_t got = pread(fd, text, sizeof(text), 0);
  std::string holder(text, got > 0 ? static_cast<size_t>(got) : 0);
  while (!holder.empty() && holder.back() == '\n') holder.pop_back();
  return holder.empty() ? "unknown" : holder;
}

/// The folder that holds `path`: "a/b" -> "a", "a" -> ".", "/a" -> "/".
std::string FolderOf(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(path.substr(0, std::max<size_t>(slash, 1)));
}

class LocalFiles final : public FileSystem {
 public:
  Result<std::unique_ptr<WritableFile>> OpenForWriting(const std::string& path) override {
    FRESHET_TRY(Descriptor fd, OpenDescriptor("open for writing", path, O_WRONLY | O_CREAT));
    return std::make_unique<LocalWritableFile>(std::move(fd), path);
  }

  Result<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override {
    FRESHET_TRY(Descriptor fd, OpenDescriptor("open", path, O_RDONLY));
    return std::make_unique<LocalReadableFile>(std::move(fd), path);
  }

  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    FRESHET_TRY(Descriptor fd, OpenDescriptor("open for writing", path, O_RDWR | O_CREAT));
    if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return FailErrno("lock", path, errno);
      return Fail(ErrorKind::kBusy,
                  "'{}' is held by process {}: another freshet works in this folder; stop it or "
                  "choose another folder",
                  path, ReadHolder(fd.get()));
    }
    const std::string pid = std::to_string(getpid()) + "\n";
    if (ftruncate(fd.get(), 0) != 0 ||
        pwrite(fd.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
      return FailErrno("write", path, errno);
    }
    return std::make_unique<LocalFileLock>(std::move(fd));
  }

  Status MakeFolder(const std::string& path) override {
    if (mkdir(path.c_str(), 0755) == 0) return SyncFolder(FolderOf(path));
    if (errno == ENOENT && FolderOf(path) != path) {
      FRESHET_RETURN_IF_ERROR(MakeFolder(FolderOf(path)));
      if (mkdir(path.c_str(), 0755) == 0) return SyncFolder(FolderOf(path));
    }
    const int error = errno;
    struct stat info {};
    if (error == EEXIST && stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return {};
    if (error == EEXIST) {
      return Fail(ErrorKind::kIo, "make folder '{}': a file of that name is in the way", path);
    }
    return FailErrno("make folder", path, error);
  }

  Result<std::vector<std::string>> List(const std::string& folder) override {
    DIR* const dir = opendir(folder.c_str());
    if (dir == nullptr) return FailErrno("list", folder, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    closedir(dir);
    if (error != 0) return FailErrno("list", folder, error);
    std::sort(names.begin(), names.end());
    return names;
  }

  Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) return FailErrno("rename", from, errno);
    return {};
  }

  Status Remove(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return FailErrno("remove", path, errno);
    return {};
  }

  Status SyncFolder(const std::string& path) override {
    FRESHET_TRY(const Descriptor fd, OpenDescriptor("open folder", path, O_RDONLY | O_DIRECTORY));
    if (fsync(fd.get()) != 0) return FailErrno("fsync folder", path, errno);
    return {};
  }

  Result<int64_t> FreeBytes(const std::string& path) override {
    struct statvfs info {};
    if (statvfs(path.c_str(), &info) != 0) return FailErrno("stat file system of", path, errno);
    return static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
  }
};

}  // namespace

Status TryWriting(FileSystem& fs, const std::string& folder) {
  constexpr size_t kBytes = 64 << 10;  // more than what a full disk may still have in a corner
  const std::string path = folder + "/.freshet-check";
  const auto fill = [&]() -> Status {
    FRESHET_TRY(const auto file, fs.OpenForWriting(path));
    const std::vector<std::byte> bytes(kBytes);
    const std::span<const std::byte> pieces[] = {bytes};
    return file->WriteAt(0, pieces);
  };
  const Status filled = fill();
  const Status removed = fs.Remove(path);
  return filled.has_value() ? removed : filled;
}

FileSystem& LocalFileSystem() {
  static LocalFiles files;
  return files;
}

}  // namespace freshet
