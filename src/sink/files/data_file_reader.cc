#include "sink/files/data_file_reader.h"

#include <arrow/array.h>
#include <arrow/array/concatenate.h>
#include <arrow/compute/cast.h>
#include <arrow/io/interfaces.h>
#include <arrow/record_batch.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

#include "sink/changelog_columns.h"

namespace freshet::sink::files {
namespace {

/// `values` as `type`, null where a value does not fit.
std::shared_ptr<arrow::Array> CastOrNull(const arrow::Array& values,
                                         const std::shared_ptr<arrow::DataType>& type) {
  if (auto all = arrow::compute::Cast(values, type); all.ok()) return *std::move(all);
  arrow::ArrayVector parts;
  for (int64_t row = 0; row < values.length(); ++row) {
    auto one = arrow::compute::Cast(*values.Slice(row, 1), type);
    parts.push_back(one.ok() ? *std::move(one) : arrow::MakeArrayOfNull(type, 1).ValueOrDie());
  }
  return arrow::Concatenate(parts).ValueOrDie();
}

/// `batch` with the columns and types of `wanted`.
Result<std::shared_ptr<arrow::RecordBatch>> Fit(const arrow::RecordBatch& batch,
                                                const std::shared_ptr<arrow::Schema>& wanted,
                                                const internal::ReadRequest& request) {
  arrow::ArrayVector columns;
  for (int c = 0; c < wanted->num_fields(); ++c) {
    const auto& field = wanted->field(c);
    const std::shared_ptr<arrow::Array> have =
        batch.GetColumnByName(request.NameOf(c, field->name()));
    if (have == nullptr) {
      columns.push_back(arrow::MakeArrayOfNull(field->type(), batch.num_rows()).ValueOrDie());
    } else if (have->type()->Equals(field->type())) {
      columns.push_back(have);
    } else if (request.other_version || have->type_id() == arrow::Type::LIST) {
      columns.push_back(CastOrNull(*have, field->type()));
    } else {
      return Fail(ErrorKind::kMalformed, "{}: column '{}' is {} and should be {}", request.name,
                  field->name(), have->type()->ToString(), field->type()->ToString());
    }
  }
  return arrow::RecordBatch::Make(wanted, batch.num_rows(), std::move(columns));
}

}  // namespace

std::shared_ptr<arrow::Schema> ChangelogSchema(const change::TableSchema& schema) {
  arrow::FieldVector fields = schema.arrow_schema()->fields();
  for (const auto& field : ChangelogFields()) {
    const bool packed = field->type()->id() == arrow::Type::DICTIONARY;
    fields.push_back(packed ? field->WithType(arrow::utf8()) : field);
  }
  return arrow::schema(std::move(fields));
}

namespace internal {

Status ReadParquet(const ReadRequest& request) {
  const auto wanted = ChangelogSchema(request.schema);
  const std::string doing = fmt::format("read {}", request.name);
  const auto malformed = [&](const arrow::Status& status) {
    Error error = FromArrow(status, doing);
    if (error.kind == ErrorKind::kFatal) error.kind = ErrorKind::kMalformed;
    return Fail(std::move(error));
  };
  try {  // the one place where Parquet's exceptions could reach us
    auto properties = parquet::default_arrow_reader_properties();
    properties.set_batch_size(kReadRows);
    properties.set_pre_buffer(false);
    parquet::arrow::FileReaderBuilder builder;
    if (const arrow::Status s = builder.Open(request.in); !s.ok()) return malformed(s);
    builder.properties(properties);
    auto reader = builder.Build();
    if (!reader.ok()) return malformed(reader.status());
    auto batches = (*reader)->GetRecordBatchReader();
    if (!batches.ok()) return malformed(batches.status());
    while (true) {
      auto next = (*batches)->Next();
      if (!next.ok()) return malformed(next.status());
      if (*next == nullptr) return {};
      FRESHET_TRY(const auto rows, Fit(**next, wanted, request));
      FRESHET_RETURN_IF_ERROR(request.visit(*rows));
    }
  } catch (const std::exception& e) {
    return Fail(ErrorKind::kMalformed, "{}: {}", doing, e.what());
  }
}

}  // namespace internal

Status ReadDataFile(Storage& storage, const DataFile& file, const change::TableSchema& schema,
                    const std::function<Status(const arrow::RecordBatch&)>& visit,
                    const std::vector<std::string>* names) {
  FRESHET_TRY(auto in, storage.Open(file.path));
  const internal::ReadRequest request{.in = std::move(in),
                                      .name = storage.Full(file.path),
                                      .schema = schema,
                                      .other_version = file.fingerprint != schema.fingerprint(),
                                      .visit = visit,
                                      .names = names};
  if (file.format == "parquet") return internal::ReadParquet(request);
  if (file.format == "jsonl") return internal::ReadJsonLines(request);
  return Fail(ErrorKind::kUnsupported, "{} has the unknown format '{}'", request.name, file.format);
}

}  // namespace freshet::sink::files
