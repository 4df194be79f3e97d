#include "postgres/spool.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "base/check.h"

namespace freshet::postgres {
namespace {

struct RecordHeader {
  uint32_t size = 0;
  uint32_t part = 0;
};

/// What a reader takes from the file at once.
constexpr size_t kReadBytes = size_t{256} << 10;

/// What an emptied tail keeps of its memory.
constexpr size_t kKeptTailBytes = size_t{1} << 20;

constexpr std::string_view kSuffix = ".spool";

void Append(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

struct Spool::Reader::Impl {
  Impl(Spool& owner, Transaction taken) : spool(owner), transaction(std::move(taken)) {
    std::sort(transaction.aborted.begin(), transaction.aborted.end());
    size = transaction.file_bytes + static_cast<int64_t>(transaction.tail.size());
  }
  ~Impl() {
    spool.bytes_ -= size;
    spool.aborted_ -= static_cast<int64_t>(transaction.aborted.size());
  }

  bool IsAborted(uint32_t part) {
    if (part != last_part) {  // rows of one subtransaction follow each other
      last_part = part;
      last_aborted =
          std::binary_search(transaction.aborted.begin(), transaction.aborted.end(), part);
    }
    return last_aborted;
  }

  /// Has at least `bytes` unread in the buffer, where there are as many left.
  Status Fill(size_t bytes) {
    if (buffer.size() - at >= bytes) return {};
    buffer.erase(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(at));
    at = 0;
    const int64_t in_file = transaction.file_bytes - file_at;
    if (in_file > 0) {
      const size_t before = buffer.size();
      const auto wanted = static_cast<size_t>(
          std::min<int64_t>(in_file, static_cast<int64_t>(std::max(bytes - before, kReadBytes))));
      buffer.resize(before + wanted);
      FRESHET_TRY(const size_t read, file->ReadAt(file_at, std::span(buffer).subspan(before)));
      if (read != wanted) {
        return Fail(ErrorKind::kCorrupt,
                    "a file of the spool is shorter than what was written to it; nobody else may "
                    "touch that folder");
      }
      file_at += static_cast<int64_t>(read);
    }
    if (file_at == transaction.file_bytes) {
      Append(buffer, transaction.tail);
      transaction.tail = {};
    }
    return {};
  }

  Spool& spool;
  Transaction transaction;
  int64_t size = 0;
  std::unique_ptr<ReadableFile> file;  ///< null when all of it is in memory
  int64_t file_at = 0;
  std::vector<std::byte> buffer;
  size_t at = 0;  ///< in the buffer
  uint32_t last_part = 0;
  bool last_aborted = false;
};

Spool::Reader::Reader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Spool::Reader::Reader(Reader&&) noexcept = default;
Spool::Reader::~Reader() = default;

Result<bool> Spool::Reader::Next(std::span<const std::byte>& message) {
  for (;;) {
    FRESHET_RETURN_IF_ERROR(impl_->Fill(sizeof(RecordHeader)));
    if (impl_->buffer.size() == impl_->at) return false;
    RecordHeader header;
    CHECK(impl_->buffer.size() - impl_->at >= sizeof(header));
    std::memcpy(&header, impl_->buffer.data() + impl_->at, sizeof(header));
    const size_t record = sizeof(header) + header.size;
    FRESHET_RETURN_IF_ERROR(impl_->Fill(record));
    if (impl_->buffer.size() - impl_->at < record) {
      return Fail(ErrorKind::kCorrupt, "a file of the spool was changed by somebody else");
    }
    message = std::span(impl_->buffer).subspan(impl_->at + sizeof(header), header.size);
    impl_->at += record;
    if (!impl_->IsAborted(header.part)) return true;
  }
}

Result<std::unique_ptr<Spool>> Spool::Create(FileSystem& fs, const Clock& clock,
                                             SpoolOptions options) {
  FRESHET_RETURN_IF_ERROR(fs.MakeFolder(options.folder));
  FRESHET_TRY(const std::vector<std::string> names, fs.List(options.folder));
  for (const std::string& name : names) {
    if (name.ends_with(kSuffix)) FRESHET_RETURN_IF_ERROR(fs.Remove(options.folder + "/" + name));
  }
  return std::unique_ptr<Spool>(new Spool(fs, clock, std::move(options)));
}

Spool::Spool(FileSystem& fs, const Clock& clock, SpoolOptions options)
    : fs_(fs), clock_(clock), options_(std::move(options)) {}

Spool::~Spool() {
  for (const auto& [xid, transaction] : held_) {
    // What cannot be removed now is removed by the next spool.
    if (transaction.file_bytes > 0) static_cast<void>(fs_.Remove(PathOf(xid)));
  }
}

std::string Spool::PathOf(uint32_t xid) const {
  return fmt::format("{}/{}{}", options_.folder, xid, kSuffix);
}

void Spool::Begin(change::Xid transaction) {
  const auto [at, is_new] = held_.try_emplace(transaction.value);
  CHECK(is_new);
  at->second.since = clock_.Now();
}

Status Spool::Add(change::Xid transaction, change::Xid part, ByteSpans message) {
  size_t size = 0;
  for (const auto& piece : message) size += piece.size();
  const auto record = static_cast<int64_t>(sizeof(RecordHeader) + size);
  FRESHET_RETURN_IF_ERROR(MakeRoom(transaction.value, record));

  std::vector<std::byte>& tail = held_.at(transaction.value).tail;
  const RecordHeader header{.size = static_cast<uint32_t>(size), .part = part.value};
  Append(tail, std::as_bytes(std::span(&header, 1)));
  for (const auto& piece : message) Append(tail, piece);
  bytes_ += record;
  memory_bytes_ += record;
  // A message beyond the limit by itself does not stay in memory.
  if (memory_bytes_ > options_.memory_bytes) return MakeRoom(transaction.value, 0);
  return {};
}

/// Writes the largest tails out until `bytes` more fit, or all are empty.
Status Spool::MakeRoom(uint32_t transaction, int64_t bytes) {
  if (bytes_ + bytes > options_.budget_bytes) {
    const Transaction& mine = held_.at(transaction);
    return Full({ErrorKind::kNoSpace,
                 fmt::format("the spool of running transactions is full: `spool_budget` is {} "
                             "bytes, {} transactions use {}, transaction {} alone {}; raise it, or "
                             "have the server keep them (`streaming: off`)",
                             options_.budget_bytes, held_.size(), bytes_, transaction,
                             mine.file_bytes + static_cast<int64_t>(mine.tail.size()))});
  }
  while (memory_bytes_ > 0 && memory_bytes_ + bytes > options_.memory_bytes) {
    const auto largest = std::max_element(
        held_.begin(), held_.end(),
        [](const auto& a, const auto& b) { return a.second.tail.size() < b.second.tail.size(); });
    FRESHET_RETURN_IF_ERROR(WriteOut(largest->first, largest->second));
  }
  return {};
}

Status Spool::WriteOut(uint32_t xid, Transaction& transaction) {
  // Opened for each write: there may be more transactions than files may be open.
  auto file = fs_.OpenForWriting(PathOf(xid));
  if (!file.has_value()) return Full(std::move(file).error());
  const std::array<std::span<const std::byte>, 1> pieces = {transaction.tail};
  Status written = (*file)->WriteAt(transaction.file_bytes, pieces);
  if (!written.has_value()) return Full(std::move(written).error());
  transaction.file_bytes += static_cast<int64_t>(transaction.tail.size());
  memory_bytes_ -= static_cast<int64_t>(transaction.tail.size());
  transaction.tail.clear();
  if (transaction.tail.capacity() > kKeptTailBytes) transaction.tail.shrink_to_fit();
  return {};
}

tl::unexpected<Error> Spool::Full(Error error) {
  full_ = full_ || error.kind == ErrorKind::kNoSpace;
  return Fail(std::move(error));
}

tl::unexpected<Error> Spool::GiveUp(change::Xid transaction, std::string_view why) {
  return Full(
      {ErrorKind::kNoSpace,
       fmt::format("transaction {} cannot be taken while it runs: {}; freshet connects anew "
                   "and has the server keep large transactions until their commit",
                   transaction.value, why)});
}

Status Spool::AbortPart(change::Xid transaction, change::Xid part) {
  if (aborted_ >= kMaxAborted) {
    return Fail(ErrorKind::kUnsupported,
                "running transactions have rolled back more than {} savepoints; have the server "
                "keep them (`streaming: off`)",
                kMaxAborted);
  }
  held_.at(transaction.value).aborted.push_back(part.value);
  ++aborted_;
  return {};
}

Status Spool::Drop(change::Xid transaction) {
  const auto held = held_.find(transaction.value);
  const auto in_memory = static_cast<int64_t>(held->second.tail.size());
  const int64_t in_file = held->second.file_bytes;
  bytes_ -= in_file + in_memory;
  memory_bytes_ -= in_memory;
  aborted_ -= static_cast<int64_t>(held->second.aborted.size());
  held_.erase(held);
  if (in_file > 0) return fs_.Remove(PathOf(transaction.value));
  return {};
}

Result<Spool::Reader> Spool::Take(change::Xid transaction) {
  auto node = held_.extract(transaction.value);
  CHECK(!node.empty());
  memory_bytes_ -= static_cast<int64_t>(node.mapped().tail.size());
  Reader reader(std::make_unique<Reader::Impl>(*this, std::move(node.mapped())));
  if (reader.impl_->transaction.file_bytes > 0) {
    const std::string path = PathOf(transaction.value);
    FRESHET_TRY(reader.impl_->file, fs_.OpenForReading(path));
    FRESHET_RETURN_IF_ERROR(fs_.Remove(path));  // it stays readable
  }
  return reader;
}

SpoolFigures Spool::figures() const {
  SpoolFigures out{.transactions = static_cast<int64_t>(held_.size()), .bytes = bytes_};
  for (const auto& [xid, transaction] : held_) {
    const int64_t bytes = transaction.file_bytes + static_cast<int64_t>(transaction.tail.size());
    out.largest_bytes = std::max(out.largest_bytes, bytes);
    const bool older = out.oldest_since == 0 || transaction.since < out.oldest_since;
    if (older) out.oldest_since = transaction.since;
  }
  return out;
}

}  // namespace freshet::postgres
