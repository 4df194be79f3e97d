#include <arrow/array.h>
#include <arrow/extension/json.h>
#include <arrow/extension/uuid.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <arrow/util/byte_size.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/writer.h>
#include <parquet/exception.h>
#include <parquet/properties.h>

#include <utility>

#include "base/check.h"
#include "sink/changelog_columns.h"
#include "sink/files/checksum_stream.h"
#include "sink/files/file_writer.h"
#include "sink/files/storage.h"

namespace freshet::sink::files {
namespace {

using change::LogicalKind;
using change::LogicalType;

/// Field ids of the `_cdc_*` columns: this and the following. Above any attnum and named id.
constexpr int32_t kFirstChangelogId = 2'000'000;
/// The id of a list's elements is that of the list plus this.
constexpr int32_t kElementIdOffset = 1'000'000;

/// Fewer rows than this wait for more, since a call costs some microseconds a column; unless they
/// are big.
constexpr int64_t kMinRowsPerCall = 2'048;
constexpr int64_t kMinBytesPerCall = int64_t{4} << 20;

/// A column whose values do not repeat gives its dictionary up at this size.
constexpr int64_t kMaxDictionaryBytes = 64 << 10;

constexpr int kZstdLevel = 1;

std::shared_ptr<const arrow::KeyValueMetadata> FieldIdMetadata(int32_t id) {
  return arrow::key_value_metadata({"PARQUET:field_id"}, {std::to_string(id)});
}

/// The Arrow type that Parquet's writer turns into the logical type we mean.
std::shared_ptr<arrow::DataType> WriterType(const LogicalType& type, int32_t field_id) {
  switch (type.kind) {
    case LogicalKind::kUuid:
      return arrow::extension::uuid();
    case LogicalKind::kJson:
      return arrow::extension::json(arrow::utf8());
    case LogicalKind::kList: {
      const int32_t element_id = field_id + kElementIdOffset;
      return arrow::list(arrow::field("element", WriterType(ElementType(type), element_id),
                                      /*nullable=*/true, FieldIdMetadata(element_id)));
    }
    default:
      return ArrowType(type);
  }
}

/// `data` seen as `type`, which has the same layout.
std::shared_ptr<arrow::ArrayData> As(const std::shared_ptr<arrow::DataType>& type,
                                     const arrow::ArrayData& data) {
  auto out = data.Copy();
  out->type = type;
  if (type->id() == arrow::Type::LIST) {
    out->child_data[0] = As(type->field(0)->type(), *data.child_data[0]);
  }
  return out;
}

std::shared_ptr<arrow::Schema> WriterSchema(const change::TableSchema& schema,
                                            const std::vector<int32_t>& field_ids) {
  CHECK(field_ids.size() == schema.columns().size());
  arrow::FieldVector fields;
  for (size_t i = 0; i < field_ids.size(); ++i) {
    const change::Column& column = schema.columns()[i];
    fields.push_back(arrow::field(column.name, WriterType(column.type, field_ids[i]),
                                  /*nullable=*/true, FieldIdMetadata(field_ids[i])));
  }
  int32_t id = kFirstChangelogId;
  for (const auto& field : ChangelogFields()) {
    const bool nullable = field->name() == kExceptionsColumn || field->name() == kUnchangedColumn;
    fields.push_back(field->WithMetadata(FieldIdMetadata(id++))->WithNullable(nullable));
  }
  return arrow::schema(std::move(fields));
}

parquet::Compression::type CodecOf(Compression compression) {
  switch (compression) {
    case Compression::kZstd:
      return parquet::Compression::ZSTD;
    case Compression::kGzip:
      return parquet::Compression::GZIP;
    case Compression::kSnappy:
      return parquet::Compression::SNAPPY;
    case Compression::kNone:
      return parquet::Compression::UNCOMPRESSED;
  }
  return parquet::Compression::UNCOMPRESSED;
}

std::shared_ptr<parquet::WriterProperties> Properties(const change::TableSchema& schema,
                                                      Compression compression) {
  parquet::WriterProperties::Builder builder;
  builder.compression(CodecOf(compression));
  if (compression == Compression::kZstd) builder.compression_level(kZstdLevel);
  builder.dictionary_pagesize_limit(kMaxDictionaryBytes);
  builder.max_row_group_length(kMaxRowGroupRows);
  builder.created_by("freshet");
  // Numbers that grow along the file: their differences are nearly nothing.
  for (const std::string_view name :
       {kTimestampColumn, kIngestionColumn, kLsnColumn, kSeqColumn, kXidColumn}) {
    builder.disable_dictionary(std::string(name));
    builder.encoding(std::string(name), parquet::Encoding::DELTA_BINARY_PACKED);
  }
  for (const change::Column& column : schema.columns()) {
    const bool is_float =
        column.type.kind == LogicalKind::kFloat32 || column.type.kind == LogicalKind::kFloat64;
    const bool is_key = column.primary_key && column.type.kind != LogicalKind::kText;
    if (is_float || is_key || column.type.kind == LogicalKind::kUuid) {
      builder.disable_dictionary(column.name);
    }
  }
  return builder.build();
}

class ParquetWriter final : public FileWriter {
 public:
  ParquetWriter(std::shared_ptr<arrow::Schema> schema,
                std::unique_ptr<parquet::arrow::FileWriter> writer)
      : schema_(std::move(schema)), writer_(std::move(writer)) {}

  Status Append(const std::vector<std::shared_ptr<arrow::Array>>& columns) override {
    arrow::ArrayVector typed;
    for (size_t i = 0; i < columns.size(); ++i) {
      const auto& type = schema_->field(static_cast<int>(i))->type();
      typed.push_back(arrow::MakeArray(As(type, *columns[i]->data())));
    }
    const int64_t rows = columns.front()->length();
    pending_.push_back(arrow::RecordBatch::Make(schema_, rows, std::move(typed)));
    const auto bytes = arrow::util::ReferencedBufferSize(*pending_.back());
    if (!bytes.ok()) return Fail(FromArrow(bytes.status(), "measure rows"));
    pending_rows_ += rows;
    pending_bytes_ += *bytes;
    const bool waits = pending_rows_ < kMinRowsPerCall && pending_bytes_ < kMinBytesPerCall;
    return waits ? Status() : WritePending();
  }

  Status Finish() override {
    FRESHET_RETURN_IF_ERROR(WritePending());
    return Call([&] { return writer_->Close(); });
  }

  int64_t buffered_bytes() const override { return group_bytes_ + pending_bytes_; }

 private:
  Status WritePending() {
    if (pending_.empty()) return {};
    std::shared_ptr<arrow::RecordBatch> rows = pending_.front();
    if (pending_.size() > 1) {
      auto joined = arrow::ConcatenateRecordBatches(pending_);
      if (!joined.ok()) return Fail(FromArrow(joined.status(), "join rows for a Parquet file"));
      rows = *std::move(joined);
    }
    pending_.clear();
    pending_rows_ = 0;
    const int64_t bytes = std::exchange(pending_bytes_, 0);
    if (group_bytes_ > 0 && (group_bytes_ + bytes > kMaxRowGroupBytes ||
                             group_rows_ + rows->num_rows() > kMaxRowGroupRows)) {
      FRESHET_RETURN_IF_ERROR(Call([&] { return writer_->NewBufferedRowGroup(); }));
      group_bytes_ = 0;
      group_rows_ = 0;
    }
    group_bytes_ += bytes;
    group_rows_ += rows->num_rows();
    return Call([&] { return writer_->WriteRecordBatch(*rows); });
  }

  /// The one place where Parquet's exceptions could reach us.
  template <typename Function>
  Status Call(const Function& function) {
    arrow::Status status;
    try {
      status = function();
    } catch (const parquet::ParquetStatusException& e) {
      status = e.status();
    } catch (const std::exception& e) {
      status = arrow::Status::UnknownError(e.what());
    }
    if (status.ok()) return {};
    return Fail(FromArrow(status, "write a Parquet file"));
  }

  const std::shared_ptr<arrow::Schema> schema_;
  const std::unique_ptr<parquet::arrow::FileWriter> writer_;
  arrow::RecordBatchVector pending_;
  int64_t pending_rows_ = 0;
  int64_t pending_bytes_ = 0;
  int64_t group_bytes_ = 0;
  int64_t group_rows_ = 0;
};

}  // namespace

Result<std::unique_ptr<FileWriter>> MakeParquetWriter(const change::TableSchema& schema,
                                                      const std::vector<int32_t>& field_ids,
                                                      Compression compression,
                                                      std::shared_ptr<ChecksumStream> out) {
  auto arrow_schema = WriterSchema(schema, field_ids);
  auto writer = parquet::arrow::FileWriter::Open(*arrow_schema, arrow::default_memory_pool(),
                                                 std::move(out), Properties(schema, compression));
  if (!writer.ok()) return Fail(FromArrow(writer.status(), "begin a Parquet file"));
  return std::make_unique<ParquetWriter>(std::move(arrow_schema), *std::move(writer));
}

std::string_view FileExtension(Format format, Compression compression) {
  if (format == Format::kParquet) return "parquet";
  if (compression == Compression::kGzip) return "jsonl.gz";
  if (compression == Compression::kZstd) return "jsonl.zst";
  return "jsonl";
}

}  // namespace freshet::sink::files
