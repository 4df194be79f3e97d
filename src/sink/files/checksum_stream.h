#pragma once

#include <arrow/io/interfaces.h>
#include <arrow/result.h>

#include <cstdint>
#include <string>

struct XXH3_state_s;

namespace freshet::sink::files {

/// Passes bytes on to another stream, counting and hashing them, and lets the store catch up so
/// that bytes on their way to it stay below kMaxBytesUnderWay.
class ChecksumStream final : public arrow::io::OutputStream {
 public:
  static constexpr int64_t kMaxBytesUnderWay = int64_t{32} << 20;

  /// `out` outlives this stream and stays open when it is closed.
  explicit ChecksumStream(arrow::io::OutputStream& out);
  ~ChecksumStream() override;

  arrow::Status Write(const void* data, int64_t size) override;
  arrow::Status Close() override;
  bool closed() const override { return closed_; }
  arrow::Result<int64_t> Tell() const override { return bytes_; }

  int64_t bytes() const { return bytes_; }

  /// XXH3-64 of all bytes so far, 16 hex digits.
  std::string Checksum() const;

 private:
  arrow::io::OutputStream& out_;
  XXH3_state_s* const state_;
  int64_t bytes_ = 0;
  int64_t since_wait_ = 0;
  bool closed_ = false;
};

}  // namespace freshet::sink::files
