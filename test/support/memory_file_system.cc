#include "support/memory_file_system.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace freshet::test {
namespace {

constexpr int64_t kSectorBytes = 512;

using Bytes = std::vector<std::byte>;

void Put(Bytes& content, int64_t at, std::span<const std::byte> bytes) {
  const size_t end = static_cast<size_t>(at) + bytes.size();
  if (content.size() < end) content.resize(end);
  std::copy(bytes.begin(), bytes.end(), content.begin() + at);
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

}  // namespace

/// A change of a file that is not on the disk yet. Truncation: no bytes, `at` is the new size.
struct MemoryFileSystem::Write {
  int64_t at = 0;
  Bytes bytes;
  bool truncates = false;
  bool lost = false;  ///< a sync failed behind it: no later sync saves it
};

struct MemoryFileSystem::Node {
  Bytes seen;     ///< what programs read
  Bytes durable;  ///< what is on the disk for certain
  std::vector<Write> unsynced;
};

class MemoryFile final : public WritableFile, public ReadableFile {
 public:
  using Operation = MemoryFileSystem::Operation;

  MemoryFile(MemoryFileSystem& fs, std::shared_ptr<MemoryFileSystem::Node> node, std::string path)
      : fs_(fs), node_(std::move(node)), path_(std::move(path)) {}

  Status WriteAt(int64_t at, ByteSpans pieces) override {
    const std::lock_guard lock(fs_.mutex_);
    FRESHET_RETURN_IF_ERROR(fs_.Enter(Operation::kWrite, path_));
    Bytes all;
    for (const auto& piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
    const size_t wanted = all.size();
    bool dies = false;
    if (fs_.dies_after_.has_value() && std::ssize(all) > *fs_.dies_after_) {
      all.resize(static_cast<size_t>(*fs_.dies_after_));
      dies = true;
    }
    bool full = false;
    if (fs_.capacity_.has_value()) {
      const int64_t grows = at + std::ssize(all) - std::ssize(node_->seen);
      const int64_t excess = std::max<int64_t>(grows, 0) + fs_.UsedBytes() - *fs_.capacity_;
      if (excess > 0 && grows > 0) {
        const auto cut = std::min<size_t>(static_cast<size_t>(excess), all.size());
        all.resize(all.size() - cut);
        full = true;
      }
    }
    if (fs_.dies_after_.has_value()) *fs_.dies_after_ -= std::ssize(all);
    fs_.changes_ += std::ssize(all);
    Put(node_->seen, at, all);
    node_->unsynced.push_back({.at = at, .bytes = all});
    if (dies) {
      fs_.dead_ = true;
      return Fail(ErrorKind::kIo, "'{}': the process died", path_);
    }
    if (full) {
      return Fail(ErrorKind::kNoSpace, "write '{}': {} of {} bytes fit", path_, all.size(), wanted);
    }
    return {};
  }

  void Reserve(int64_t) override {}

  Status Truncate(int64_t size_bytes) override {
    const std::lock_guard lock(fs_.mutex_);
    FRESHET_RETURN_IF_ERROR(fs_.Enter(Operation::kTruncate, path_));
    node_->seen.resize(static_cast<size_t>(size_bytes));
    node_->unsynced.push_back({.at = size_bytes, .bytes = {}, .truncates = true});
    return {};
  }

  Status Sync() override {
    const std::lock_guard lock(fs_.mutex_);
    const Status entered = fs_.Enter(Operation::kSync, path_);
    if (!entered.has_value()) {
      for (auto& write : node_->unsynced) write.lost = true;
      return entered;
    }
    std::vector<MemoryFileSystem::Write> lost;
    for (auto& write : node_->unsynced) {
      if (write.lost) {
        lost.push_back(std::move(write));
      } else if (write.truncates) {
        node_->durable.resize(static_cast<size_t>(write.at));
      } else {
        Put(node_->durable, write.at, write.bytes);
      }
    }
    node_->unsynced = std::move(lost);
    return {};
  }

  Result<size_t> ReadAt(int64_t at, std::span<std::byte> out) const override {
    const std::lock_guard lock(fs_.mutex_);
    FRESHET_RETURN_IF_ERROR(fs_.Enter(Operation::kRead, path_));
    if (at >= std::ssize(node_->seen)) return size_t{0};
    const size_t count = std::min(out.size(), node_->seen.size() - static_cast<size_t>(at));
    std::copy_n(node_->seen.begin() + at, count, out.begin());
    return count;
  }

  Result<int64_t> SizeBytes() const override {
    const std::lock_guard lock(fs_.mutex_);
    return int64_t{std::ssize(node_->seen)};
  }

 private:
  MemoryFileSystem& fs_;
  const std::shared_ptr<MemoryFileSystem::Node> node_;
  const std::string path_;
};

class MemoryLock final : public FileLock {
 public:
  MemoryLock(MemoryFileSystem& fs, std::string path) : fs_(fs), path_(std::move(path)) {}
  ~MemoryLock() override {
    const std::lock_guard lock(fs_.mutex_);
    fs_.locks_.erase(path_);
  }

 private:
  MemoryFileSystem& fs_;
  const std::string path_;
};

MemoryFileSystem::MemoryFileSystem() = default;
MemoryFileSystem::~MemoryFileSystem() = default;

/// Counts down the faults asked for. Called with mutex_ held.
Status MemoryFileSystem::Enter(Operation operation, const std::string& path) {
  if (dead_) return Fail(ErrorKind::kIo, "'{}': the process died", path);
  const auto found = failures_.find(operation);
  if (found != failures_.end() && found->second > 0) {
    --found->second;
    return Fail(ErrorKind::kIo, "'{}': input/output error", path);
  }
  return {};
}

/// One change of a name; false when the process dies before it.
bool MemoryFileSystem::SpendName() {
  ++changes_;
  if (!dies_after_.has_value()) return true;
  if (*dies_after_ == 0) {
    dead_ = true;
    return false;
  }
  --*dies_after_;
  return true;
}

int64_t MemoryFileSystem::UsedBytes() const {
  int64_t used = 0;
  for (const auto& [name, node] : names_) used += std::ssize(node->seen);
  return used;
}

Result<std::unique_ptr<WritableFile>> MemoryFileSystem::OpenForWriting(const std::string& path) {
  const std::lock_guard lock(mutex_);
  FRESHET_RETURN_IF_ERROR(Enter(Operation::kWrite, path));
  if (!names_.contains(path)) {
    if (!SpendName()) return Fail(ErrorKind::kIo, "'{}': the process died", path);
    names_[path] = std::make_shared<Node>();
  }
  return std::make_unique<MemoryFile>(*this, names_[path], path);
}

Result<std::unique_ptr<ReadableFile>> MemoryFileSystem::OpenForReading(const std::string& path) {
  const std::lock_guard lock(mutex_);
  FRESHET_RETURN_IF_ERROR(Enter(Operation::kRead, path));
  const auto found = names_.find(path);
  if (found == names_.end()) return Fail(ErrorKind::kNotFound, "open '{}': no such file", path);
  return std::make_unique<MemoryFile>(*this, found->second, path);
}

Result<std::unique_ptr<FileLock>> MemoryFileSystem::Lock(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (!locks_.insert(path).second) return Fail(ErrorKind::kBusy, "'{}' is locked", path);
  return std::make_unique<MemoryLock>(*this, path);
}

Status MemoryFileSystem::MakeFolder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  folders_.insert(path);
  return {};
}

Result<std::vector<std::string>> MemoryFileSystem::List(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  FRESHET_RETURN_IF_ERROR(Enter(Operation::kRead, folder));
  if (!folders_.contains(folder)) {
    return Fail(ErrorKind::kNotFound, "list '{}': no such folder", folder);
  }
  std::vector<std::string> names;
  for (const auto& [path, node] : names_) {
    if (FolderOf(path) == folder) names.push_back(path.substr(folder.size() + 1));
  }
  return names;
}

Status MemoryFileSystem::Rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  FRESHET_RETURN_IF_ERROR(Enter(Operation::kRename, from));
  if (!names_.contains(from)) return Fail(ErrorKind::kNotFound, "rename '{}': no such file", from);
  if (!SpendName()) return Fail(ErrorKind::kIo, "'{}': the process died", from);
  names_[to] = names_[from];
  names_.erase(from);
  return {};
}

Status MemoryFileSystem::Remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  FRESHET_RETURN_IF_ERROR(Enter(Operation::kRemove, path));
  if (!names_.contains(path)) return Fail(ErrorKind::kNotFound, "remove '{}': no such file", path);
  if (!SpendName()) return Fail(ErrorKind::kIo, "'{}': the process died", path);
  names_.erase(path);
  return {};
}

Status MemoryFileSystem::SyncFolder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  FRESHET_RETURN_IF_ERROR(Enter(Operation::kSyncFolder, path));
  std::erase_if(durable_names_, [&](const auto& e) { return FolderOf(e.first) == path; });
  for (const auto& [name, node] : names_) {
    if (FolderOf(name) == path) durable_names_[name] = node;
  }
  return {};
}

Result<int64_t> MemoryFileSystem::FreeBytes(const std::string&) {
  const std::lock_guard lock(mutex_);
  return capacity_.value_or(int64_t{1} << 40) - UsedBytes();
}

void MemoryFileSystem::SetCapacity(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  capacity_ = bytes;
}

void MemoryFileSystem::DieAfter(int64_t changes) {
  const std::lock_guard lock(mutex_);
  dies_after_ = changes;
}

bool MemoryFileSystem::dead() const {
  const std::lock_guard lock(mutex_);
  return dead_;
}

int64_t MemoryFileSystem::changes() const {
  const std::lock_guard lock(mutex_);
  return changes_;
}

void MemoryFileSystem::FailNext(Operation operation, int count) {
  const std::lock_guard lock(mutex_);
  failures_[operation] = count;
}

/// What the disk holds of a file after a power loss: the durable content and, of each unsynced
/// change, any sectors. A lost write (its sync failed) reached the disk no more than others.
void MemoryFileSystem::TearNode(Node& node, std::mt19937_64& random) {
  Bytes content = node.durable;
  const uint64_t fate = random() % 4;  // none, all in order, or torn in two ways out of four
  for (const Write& write : node.unsynced) {
    if (write.lost || fate == 0) continue;
    if (write.truncates) {
      if (fate == 1 || random() % 2 == 0) content.resize(static_cast<size_t>(write.at));
      continue;
    }
    for (int64_t done = 0; done < std::ssize(write.bytes);) {
      const int64_t at = write.at + done;
      const int64_t sector_end = (at / kSectorBytes + 1) * kSectorBytes;
      const int64_t count = std::min(sector_end - at, std::ssize(write.bytes) - done);
      if (fate == 1 || random() % 2 == 0) {
        Put(content, at,
            std::span(write.bytes).subspan(static_cast<size_t>(done), static_cast<size_t>(count)));
      }
      done += count;
    }
  }
  node.seen = node.durable = std::move(content);
  node.unsynced.clear();
}

void MemoryFileSystem::Crash(uint64_t seed) {
  const std::lock_guard lock(mutex_);
  std::mt19937_64 random(seed);
  // Each change of a name since the last sync of its folder happened or did not.
  auto names = durable_names_;
  for (const auto& [name, node] : names_) {
    if ((!names.contains(name) || names[name] != node) && random() % 2 == 0) names[name] = node;
  }
  for (const auto& [name, node] : durable_names_) {
    if (!names_.contains(name) && random() % 2 == 0) names.erase(name);
  }
  for (auto& [name, node] : names) TearNode(*node, random);
  names_ = durable_names_ = std::move(names);
  locks_.clear();
  failures_.clear();
  dies_after_.reset();
  dead_ = false;
}

void MemoryFileSystem::Clear() {
  const std::lock_guard lock(mutex_);
  names_.clear();
  durable_names_.clear();
  failures_.clear();
  dies_after_.reset();
  dead_ = false;
}

std::vector<std::byte> MemoryFileSystem::Content(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(path);
  return found == names_.end() ? Bytes() : found->second->seen;
}

void MemoryFileSystem::SetContent(const std::string& path, std::vector<std::byte> content) {
  const std::lock_guard lock(mutex_);
  auto node = std::make_shared<Node>();
  node->seen = node->durable = std::move(content);
  names_[path] = durable_names_[path] = std::move(node);
  folders_.insert(FolderOf(path));
}

void MemoryFileSystem::Flip(const std::string& path, int64_t at) {
  Bytes content = Content(path);
  content.at(static_cast<size_t>(at)) ^= std::byte{0xFF};
  SetContent(path, std::move(content));
}

void MemoryFileSystem::CutTail(const std::string& path, int64_t bytes) {
  Bytes content = Content(path);
  content.resize(content.size() - static_cast<size_t>(bytes));
  SetContent(path, std::move(content));
}

}  // namespace freshet::test
