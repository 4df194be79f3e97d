#include <arrow/array.h>
#include <arrow/io/compressed.h>
#include <arrow/util/compression.h>

#include "sink/changelog_columns.h"
#include "sink/files/checksum_stream.h"
#include "sink/files/file_writer.h"
#include "sink/files/json_value.h"
#include "sink/files/storage.h"

namespace freshet::sink::files {
namespace {

using change::LogicalKind;
using change::LogicalType;

/// Text gathered before it goes to the compressor or the stream.
constexpr size_t kChunkBytes = 256 << 10;

/// One `"name":value` of a line.
struct Member {
  std::string prefix;  ///< `,"name":`, the first without the comma
  LogicalType type;
};

/// The columns behind the source's, whose Arrow types no logical type has.
void AppendChangelogValue(std::string_view name, const arrow::Array& array, int64_t row,
                          std::string& out) {
  if (array.IsNull(row)) {
    out += "null";
  } else if (name == kOperationColumn) {
    const auto& operations = static_cast<const arrow::DictionaryArray&>(array);
    const auto& names = static_cast<const arrow::StringArray&>(*operations.dictionary());
    AppendJsonString(names.GetView(operations.GetValueIndex(row)), out);
  } else if (name == kLsnColumn) {
    out += std::to_string(static_cast<const arrow::UInt64Array&>(array).Value(row));
  } else if (name == kExceptionsColumn || name == kUnchangedColumn) {
    out += static_cast<const arrow::StringArray&>(array).GetView(row);  // JSON already
  } else if (name == kTimestampColumn || name == kIngestionColumn) {
    AppendJsonValue({.kind = LogicalKind::kTimestampTz}, array, row, out);
  } else {
    AppendJsonValue({.kind = LogicalKind::kInt64}, array, row, out);
  }
}

class JsonLinesWriter final : public FileWriter {
 public:
  JsonLinesWriter(const change::TableSchema& schema, std::shared_ptr<arrow::io::OutputStream> out)
      : out_(std::move(out)) {
    for (const change::Column& column : schema.columns()) Add(column.name, column.type);
    for (const auto& field : ChangelogFields()) Add(field->name(), {});
    source_columns_ = schema.columns().size();
  }

  Status Append(const std::vector<std::shared_ptr<arrow::Array>>& columns) override {
    const int64_t rows = columns.front()->length();
    for (int64_t row = 0; row < rows; ++row) {
      for (size_t i = 0; i < members_.size(); ++i) {
        chunk_ += members_[i].prefix;
        if (i < source_columns_) {
          AppendJsonValue(members_[i].type, *columns[i], row, chunk_);
        } else {
          AppendChangelogValue(ChangelogFields()[i - source_columns_]->name(), *columns[i], row,
                               chunk_);
        }
      }
      chunk_ += "}\n";
      if (chunk_.size() >= kChunkBytes) FRESHET_RETURN_IF_ERROR(WriteChunk());
    }
    return {};
  }

  Status Finish() override {
    FRESHET_RETURN_IF_ERROR(WriteChunk());
    return ToStatus(out_->Close());
  }

  int64_t buffered_bytes() const override { return static_cast<int64_t>(chunk_.capacity()); }

 private:
  void Add(const std::string& name, const LogicalType& type) {
    Member member{.prefix = members_.empty() ? "{" : ",", .type = type};
    AppendJsonString(name, member.prefix);
    member.prefix += ':';
    members_.push_back(std::move(member));
  }

  Status WriteChunk() {
    if (chunk_.empty()) return {};
    const arrow::Status status = out_->Write(chunk_.data(), static_cast<int64_t>(chunk_.size()));
    chunk_.clear();
    return ToStatus(status);
  }

  static Status ToStatus(const arrow::Status& status) {
    if (status.ok()) return {};
    return Fail(FromArrow(status, "write a file of JSON lines"));
  }

  std::vector<Member> members_;
  size_t source_columns_ = 0;
  std::shared_ptr<arrow::io::OutputStream> out_;
  std::string chunk_;
};

}  // namespace

Result<std::unique_ptr<FileWriter>> MakeJsonLinesWriter(const change::TableSchema& schema,
                                                        Compression compression,
                                                        std::shared_ptr<ChecksumStream> out) {
  if (compression == Compression::kNone) {
    return std::make_unique<JsonLinesWriter>(schema, std::move(out));
  }
  constexpr int kZstdLevel = 1;
  constexpr int kGzipLevel = 4;
  const bool zstd = compression == Compression::kZstd;
  auto codec = arrow::util::Codec::Create(
      zstd ? arrow::Compression::ZSTD : arrow::Compression::GZIP, zstd ? kZstdLevel : kGzipLevel);
  if (!codec.ok()) return Fail(FromArrow(codec.status(), "begin a compressed file"));
  auto stream = arrow::io::CompressedOutputStream::Make(codec->get(), std::move(out));
  if (!stream.ok()) return Fail(FromArrow(stream.status(), "begin a compressed file"));
  // The stream takes its compressor from the codec when it is made and does not ask it again.
  return std::make_unique<JsonLinesWriter>(schema, *std::move(stream));
}

}  // namespace freshet::sink::files
