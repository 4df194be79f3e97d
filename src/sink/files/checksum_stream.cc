#include "sink/files/checksum_stream.h"

#include <arrow/status.h>
#include <fmt/format.h>
#include <xxhash.h>

#include "base/check.h"

namespace freshet::sink::files {

ChecksumStream::ChecksumStream(arrow::io::OutputStream& out)
    : out_(out), state_(XXH3_createState()) {
  CHECK(state_ != nullptr);
  XXH3_64bits_reset(state_);
}

ChecksumStream::~ChecksumStream() { XXH3_freeState(state_); }

arrow::Status ChecksumStream::Write(const void* data, int64_t size) {
  ARROW_RETURN_NOT_OK(out_.Write(data, size));
  XXH3_64bits_update(state_, data, static_cast<size_t>(size));
  bytes_ += size;
  since_wait_ += size;
  if (since_wait_ < kMaxBytesUnderWay) return arrow::Status::OK();
  since_wait_ = 0;
  return out_.Flush();
}

arrow::Status ChecksumStream::Close() {
  closed_ = true;
  return arrow::Status::OK();
}

std::string ChecksumStream::Checksum() const {
  return fmt::format("{:016x}", XXH3_64bits_digest(state_));
}

}  // namespace freshet::sink::files
