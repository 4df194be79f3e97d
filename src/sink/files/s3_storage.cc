#include <arrow/filesystem/s3fs.h>
#include <arrow/io/interfaces.h>
#include <arrow/status.h>
#include <arrow/util/future.h>
#include <fmt/format.h>

#include <random>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "sink/files/layout.h"
#include "sink/files/storage.h"

namespace freshet::sink::files {
namespace {

namespace fs = arrow::fs;

/// Uploads that are complete but for their last call, each with up to one part (10 MB) in memory.
/// Further files of the same flush are uploaded under a hidden name and copied by the store.
constexpr int kMaxHeldUploads = 4;

/// Tries of one request, the first included; with the pauses below under two seconds in all, so
/// that an error reaches the operator while he looks. The pipeline retries the rest, with pauses
/// that grow.
constexpr int64_t kMaxAttempts = 4;
constexpr int64_t kFirstRetryDelayMs = 100;

/// The AWS client's process-wide state: made at first use, taken down when the process ends.
/// Arrow allows one life of it per process, hence the one instance.
class S3Runtime {
 public:
  static Status Ensure() {
    static const S3Runtime runtime;
    if (runtime.started_.ok()) return {};
    return Fail(FromArrow(runtime.started_, "start the S3 client"));
  }

  ~S3Runtime() { static_cast<void>(fs::EnsureS3Finalized()); }

 private:
  S3Runtime() {
    fs::S3GlobalOptions options = fs::S3GlobalOptions::Defaults();
    options.log_level = fs::S3LogLevel::Off;
    started_ = fs::InitializeS3(options);
    // Arrow's own statics are made with its first file system, and finalizing uses them. Statics
    // die in the reverse order of their making, so theirs must be made before this one is.
    fs::S3Options unused = fs::S3Options::Anonymous();
    unused.region = "us-east-1";
    if (started_.ok()) started_ = fs::S3FileSystem::Make(unused).status();
  }

  arrow::Status started_;
};

class FewRetries final : public fs::S3RetryStrategy {
 public:
  bool ShouldRetry(const AWSErrorDetail& error, int64_t attempted_retries) override {
    return error.should_retry && attempted_retries + 1 < kMaxAttempts;
  }
  int64_t CalculateDelayBeforeNextRetry(const AWSErrorDetail&, int64_t attempted_retries) override {
    return kFirstRetryDelayMs << attempted_retries;
  }
};

fs::S3Options ToArrow(const S3Access& access) {
  fs::S3Options out;
  if (access.access_key.empty()) {
    out.ConfigureDefaultCredentials();
  } else {
    out.ConfigureAccessKey(access.access_key.Reveal(), access.secret_key.Reveal(),
                           access.session_token.Reveal());
  }
  if (!access.endpoint.empty()) {
    const size_t colon = access.endpoint.find("://");
    out.scheme = access.endpoint.substr(0, colon);
    out.endpoint_override = access.endpoint.substr(colon + 3);
    while (out.endpoint_override.ends_with('/')) out.endpoint_override.pop_back();
  }
  constexpr double kMicrosPerSecond = 1e6;
  out.region = access.region;
  out.force_virtual_addressing = !access.path_style;
  out.tls_ca_file_path = access.ca_file;
  out.connect_timeout = static_cast<double>(access.connect_timeout.count()) / kMicrosPerSecond;
  out.request_timeout = static_cast<double>(access.request_timeout.count()) / kMicrosPerSecond;
  out.retry_strategy = std::make_shared<FewRetries>();
  // A file below one part goes as a single PUT; a larger one as a multipart upload, whose parts
  // nobody sees before its last call.
  out.allow_delayed_open = true;
  out.background_writes = true;
  return out;
}

/// Gives an upload up so that it never becomes visible.
///
/// Arrow's stream, destroyed while it is not closed, completes the upload after all; so one whose
/// abort failed because the store is away must live on. It is tried again with the next one, and
/// left to the bucket's rule for incomplete uploads when the process ends first.
void GiveUp(std::shared_ptr<arrow::io::OutputStream> upload) {
  static Mutex mutex;
  static auto& unaborted = *new std::vector<std::shared_ptr<arrow::io::OutputStream>>();
  const MutexLock lock(mutex);
  unaborted.push_back(std::move(upload));
  std::erase_if(unaborted, [](const auto& stream) { return stream->Abort().ok(); });
}

/// An upload. Held: complete but for Close(), which makes it visible. Staged: complete under a
/// hidden name, made visible by a copy.
class S3PendingFile final : public PendingFile {
 public:
  S3PendingFile(std::shared_ptr<fs::S3FileSystem> store,
                std::shared_ptr<arrow::io::OutputStream> stream, std::string final_path,
                std::string staged_path, std::shared_ptr<const int> held_share)
      : store_(std::move(store)),
        stream_(std::move(stream)),
        final_path_(std::move(final_path)),
        staged_path_(std::move(staged_path)),
        held_share_(std::move(held_share)) {}

  ~S3PendingFile() override {
    if (published_) return;
    if (!stream_->closed()) GiveUp(std::move(stream_));
    // A complete staged file stays in the hidden folder, which the next Open() empties: a
    // destructor is no place for requests that may have to wait.
  }

  arrow::io::OutputStream& stream() override { return *stream_; }

  Status Finish() override {
    if (staged_path_.empty()) return {};
    return ToStatus(stream_->Close());
  }

  void BeginPublish() {
    if (staged_path_.empty()) closing_ = stream_->CloseAsync();
  }

  Status EndPublish() {
    if (staged_path_.empty()) {
      FRESHET_RETURN_IF_ERROR(ToStatus(closing_.status()));
    } else {
      FRESHET_RETURN_IF_ERROR(ToStatus(store_->CopyFile(staged_path_, final_path_)));
      FRESHET_RETURN_IF_ERROR(ToStatus(store_->DeleteFile(staged_path_)));
    }
    published_ = true;
    return {};
  }

 private:
  Status ToStatus(const arrow::Status& status) const {
    if (status.ok()) return {};
    return Fail(FromArrow(status, fmt::format("write s3://{}", final_path_)));
  }

  std::shared_ptr<fs::S3FileSystem> store_;
  std::shared_ptr<arrow::io::OutputStream> stream_;
  const std::string final_path_;
  const std::string staged_path_;                ///< empty: held
  const std::shared_ptr<const int> held_share_;  ///< counted by its owner through use_count()
  arrow::Future<> closing_;
  bool published_ = false;
};

class S3Storage final : public Storage {
 public:
  S3Storage(std::shared_ptr<fs::S3FileSystem> store, std::string root)
      : store_(std::move(store)), root_(std::move(root)) {}

  /// S3 has no locks: the manifest's writer token fences (see FilesSink).
  Status Lock() override { return {}; }

  Result<std::unique_ptr<PendingFile>> Create(const std::string& path) override {
    std::string staged;
    if (held_.use_count() > kMaxHeldUploads) {
      staged = InRoot(fmt::format("{}/tmp/{}-{}", kOwnFolder, staging_token_, next_staged_++));
    }
    const std::string final_path = InRoot(path);
    auto stream = store_->OpenOutputStream(staged.empty() ? final_path : staged);
    if (!stream.ok()) {
      return Fail(FromArrow(stream.status(), fmt::format("write {}", Full(path))));
    }
    return std::make_unique<S3PendingFile>(store_, *std::move(stream), final_path, staged,
                                           staged.empty() ? held_ : nullptr);
  }

  Status Publish(std::span<const std::unique_ptr<PendingFile>> files) override {
    for (const auto& file : files) static_cast<S3PendingFile&>(*file).BeginPublish();
    Status first;
    for (const auto& file : files) {
      Status status = static_cast<S3PendingFile&>(*file).EndPublish();
      if (first.has_value()) first = std::move(status);
    }
    return first;
  }

  Status Replace(const std::string& path, std::string_view content) override {
    const std::string doing = fmt::format("write {}", Full(path));
    auto stream = store_->OpenOutputStream(InRoot(path));
    if (!stream.ok()) return Fail(FromArrow(stream.status(), doing));
    arrow::Status status = (*stream)->Write(content.data(), static_cast<int64_t>(content.size()));
    if (status.ok()) status = (*stream)->Close();
    if (status.ok()) return {};
    GiveUp(*std::move(stream));
    return Fail(FromArrow(status, doing));
  }

  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& path) override {
    auto file = store_->OpenInputFile(InRoot(path));
    if (!file.ok()) return Fail(FromArrow(file.status(), fmt::format("open {}", Full(path))));
    return *std::move(file);
  }

  Status Delete(const std::string& path) override {
    const arrow::Status status = store_->DeleteFile(InRoot(path));
    if (status.ok()) return {};
    Error error = FromArrow(status, fmt::format("delete {}", Full(path)));
    if (error.kind == ErrorKind::kNotFound) return {};
    return Fail(std::move(error));
  }

  Result<std::vector<std::string>> List(const std::string& folder) override {
    fs::FileSelector selector;
    selector.base_dir = InRoot(folder);
    selector.allow_not_found = true;
    const auto infos = store_->GetFileInfo(selector);
    if (!infos.ok()) {
      return Fail(FromArrow(infos.status(), fmt::format("list {}", Full(folder))));
    }
    std::vector<std::string> names;
    for (const fs::FileInfo& info : *infos) {
      if (info.IsFile()) names.push_back(info.base_name());
    }
    return names;
  }

  Status DeleteAll() override {
    const bool is_bucket = root_.find('/') == std::string::npos;
    const arrow::Status status =
        is_bucket ? store_->DeleteDirContents(root_) : store_->DeleteDir(root_);
    if (status.ok()) return {};
    Error error = FromArrow(status, fmt::format("delete all of {}", Target()));
    if (error.kind == ErrorKind::kNotFound) return {};
    return Fail(std::move(error));
  }

  std::string Target() const override { return "s3://" + root_; }

 private:
  std::string InRoot(std::string_view path) const {
    return path.empty() ? root_ : fmt::format("{}/{}", root_, path);
  }

  const std::shared_ptr<fs::S3FileSystem> store_;
  const std::string root_;                                            ///< bucket, or bucket/prefix
  const std::shared_ptr<const int> held_ = std::make_shared<int>(0);  ///< one share a held upload
  /// Keeps what two writers stage apart, of which one is to be fenced.
  const std::string staging_token_ = fmt::format("{:08x}", std::random_device()());
  int64_t next_staged_ = 0;
};

}  // namespace

Status EnsureS3Client() { return S3Runtime::Ensure(); }

Result<std::unique_ptr<Storage>> MakeS3Storage(const std::string& bucket, const std::string& prefix,
                                               const S3Access& access) {
  FRESHET_RETURN_IF_ERROR(EnsureS3Client());
  const std::string doing = fmt::format("open the bucket s3://{}", bucket);
  fs::S3Options options = ToArrow(access);
  if (options.region.empty() && options.endpoint_override.empty()) {
    auto region = fs::ResolveS3BucketRegion(bucket);
    if (!region.ok()) return Fail(FromArrow(region.status(), doing));
    options.region = *std::move(region);
  }
  auto store = fs::S3FileSystem::Make(options);
  if (!store.ok()) return Fail(FromArrow(store.status(), doing));
  // Asked by itself, since a listing does not tell a missing bucket from an empty one.
  const auto info = (*store)->GetFileInfo(bucket);
  if (!info.ok()) return Fail(FromArrow(info.status(), doing));
  if (info->type() == fs::FileType::NotFound) {
    return Fail(ErrorKind::kNotFound,
                "{}: there is no such bucket{}; make the bucket or correct the url", doing,
                access.endpoint.empty() ? "" : " at " + access.endpoint);
  }
  return std::make_unique<S3Storage>(*std::move(store),
                                     prefix.empty() ? bucket : bucket + "/" + prefix);
}

}  // namespace freshet::sink::files
