#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/io/compressed.h>
#include <arrow/record_batch.h>
#include <arrow/util/compression.h>
#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "sink/changelog_columns.h"
#include "sink/files/data_file_reader.h"
#include "sink/files/json_value.h"

namespace freshet::sink::files::internal {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kReadBytes = 256 << 10;

template <typename Builder>
bool AppendInteger(const Json& value, arrow::ArrayBuilder& builder) {
  if (!value.is_number_integer()) return false;
  using CType = typename Builder::value_type;
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<CType>::max())) return false;
    return static_cast<Builder&>(builder).Append(static_cast<CType>(number)).ok();
  }
  const auto number = value.get<int64_t>();
  if (!std::in_range<CType>(number)) return false;
  return static_cast<Builder&>(builder).Append(static_cast<CType>(number)).ok();
}

template <typename Builder>
bool AppendFloat(const Json& value, arrow::ArrayBuilder& builder) {
  using CType = typename Builder::value_type;
  double number = 0;
  if (value.is_number()) {
    number = value.get<double>();
  } else if (value == "NaN") {
    number = std::numeric_limits<double>::quiet_NaN();
  } else if (value == "Infinity" || value == "-Infinity") {
    number = std::numeric_limits<double>::infinity() * (value == "Infinity" ? 1 : -1);
  } else {
    return false;
  }
  return static_cast<Builder&>(builder).Append(static_cast<CType>(number)).ok();
}

/// Text, or for other JSON values (a column that was retyped) their JSON.
bool AppendText(const Json& value, arrow::ArrayBuilder& builder) {
  auto& out = static_cast<arrow::StringBuilder&>(builder);
  return value.is_string() ? out.Append(value.get_ref<const std::string&>()).ok()
                           : out.Append(value.dump()).ok();
}

bool AppendParsed(const std::string& text, arrow::ArrayBuilder& builder) {
  std::string bytes;
  int32_t days = 0;
  int64_t micros = 0;
  switch (builder.type()->id()) {
    case arrow::Type::BINARY:
      return ParseBase64(text, bytes) &&
             static_cast<arrow::BinaryBuilder&>(builder).Append(bytes).ok();
    case arrow::Type::FIXED_SIZE_BINARY:
      return ParseUuid(text, bytes) &&
             static_cast<arrow::FixedSizeBinaryBuilder&>(builder).Append(bytes.data()).ok();
    case arrow::Type::DATE32:
      return ParseDate(text, days) && static_cast<arrow::Date32Builder&>(builder).Append(days).ok();
    case arrow::Type::TIME64:
      return ParseTime(text, micros) &&
             static_cast<arrow::Time64Builder&>(builder).Append(micros).ok();
    case arrow::Type::TIMESTAMP:
      return ParseTimestamp(text, micros) &&
             static_cast<arrow::TimestampBuilder&>(builder).Append(micros).ok();
    case arrow::Type::DECIMAL128: {
      const auto& type = static_cast<const arrow::Decimal128Type&>(*builder.type());
      arrow::Decimal128 number;
      int32_t precision = 0;
      int32_t scale = 0;
      if (!arrow::Decimal128::FromString(text, &number, &precision, &scale).ok()) return false;
      const auto fitted = number.Rescale(scale, type.scale());
      return fitted.ok() && static_cast<arrow::Decimal128Builder&>(builder).Append(*fitted).ok();
    }
    default:
      return false;
  }
}

/// Appends `value` as the builder's type. False, and nothing is appended, when it is no such value.
/// `other_version`: an element that is none becomes null.
bool AppendValue(const Json& value, bool other_version, arrow::ArrayBuilder& builder) {
  if (value.is_null()) return builder.AppendNull().ok();
  switch (builder.type()->id()) {
    case arrow::Type::BOOL:
      return value.is_boolean() &&
             static_cast<arrow::BooleanBuilder&>(builder).Append(value.get<bool>()).ok();
    case arrow::Type::INT16:
      return AppendInteger<arrow::Int16Builder>(value, builder);
    case arrow::Type::INT32:
      return AppendInteger<arrow::Int32Builder>(value, builder);
    case arrow::Type::INT64:
      return AppendInteger<arrow::Int64Builder>(value, builder);
    case arrow::Type::UINT32:
      return AppendInteger<arrow::UInt32Builder>(value, builder);
    case arrow::Type::UINT64:
      return AppendInteger<arrow::UInt64Builder>(value, builder);
    case arrow::Type::FLOAT:
      return AppendFloat<arrow::FloatBuilder>(value, builder);
    case arrow::Type::DOUBLE:
      return AppendFloat<arrow::DoubleBuilder>(value, builder);
    case arrow::Type::STRING:
      return AppendText(value, builder);
    case arrow::Type::LIST: {
      if (!value.is_array()) return false;
      auto& list = static_cast<arrow::ListBuilder&>(builder);
      if (!list.Append().ok()) return false;
      for (const Json& item : value) {
        if (AppendValue(item, other_version, *list.value_builder())) continue;
        if (!other_version || !list.value_builder()->AppendNull().ok()) return false;
      }
      return true;
    }
    default:
      return value.is_string() && AppendParsed(value.get_ref<const std::string&>(), builder);
  }
}

/// Gathers lines into batches.
class LineBatches {
 public:
  explicit LineBatches(const ReadRequest& request)
      : request_(request), schema_(ChangelogSchema(request.schema)) {
    for (const auto& field : schema_->fields()) {
      builders_.push_back(arrow::MakeBuilder(field->type()).ValueOrDie());
    }
  }

  Status Add(std::string_view line) {
    ++line_number_;
    const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) {
      return Fail(ErrorKind::kMalformed, "{}, line {}: not a JSON object", request_.name,
                  line_number_);
    }
    for (size_t i = 0; i < builders_.size(); ++i) {
      const auto place = static_cast<int>(i);
      const std::string& key = request_.NameOf(place, schema_->field(place)->name());
      const auto at = object.find(key);
      arrow::ArrayBuilder& builder = *builders_[i];
      if (at != object.end() && AppendValue(*at, request_.other_version, builder)) continue;
      const bool null_instead = at == object.end() || request_.other_version;
      if (null_instead && builder.AppendNull().ok()) continue;
      return Fail(ErrorKind::kMalformed, "{}, line {}: '{}' is no {}", request_.name, line_number_,
                  key, builder.type()->ToString());
    }
    return ++rows_ < kReadRows ? Status() : Flush();
  }

  Status Flush() {
    if (rows_ == 0) return {};
    arrow::ArrayVector columns;
    for (const auto& builder : builders_) columns.push_back(builder->Finish().ValueOrDie());
    const auto batch = arrow::RecordBatch::Make(schema_, rows_, std::move(columns));
    rows_ = 0;
    return request_.visit(*batch);
  }

 private:
  const ReadRequest& request_;
  const std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders_;
  int64_t rows_ = 0;
  int64_t line_number_ = 0;
};

Result<std::shared_ptr<arrow::io::InputStream>> Unpacked(const ReadRequest& request) {
  const std::string& name = request.name;
  const auto size = request.in->GetSize();
  if (!size.ok()) return Fail(FromArrow(size.status(), fmt::format("read {}", name)));
  auto stream = arrow::io::RandomAccessFile::GetStream(request.in, 0, *size);
  if (!stream.ok()) return Fail(FromArrow(stream.status(), fmt::format("read {}", name)));
  const bool zstd = name.ends_with(".zst");
  if (!zstd && !name.ends_with(".gz")) return *std::move(stream);
  auto codec =
      arrow::util::Codec::Create(zstd ? arrow::Compression::ZSTD : arrow::Compression::GZIP);
  if (!codec.ok()) return Fail(FromArrow(codec.status(), fmt::format("read {}", name)));
  auto unpacked = arrow::io::CompressedInputStream::Make(codec->get(), *std::move(stream));
  if (!unpacked.ok()) return Fail(FromArrow(unpacked.status(), fmt::format("read {}", name)));
  return std::shared_ptr<arrow::io::InputStream>(*std::move(unpacked));
}

}  // namespace

Status ReadJsonLines(const ReadRequest& request) {
  FRESHET_TRY(const auto stream, Unpacked(request));
  LineBatches batches(request);
  std::string rest;
  std::string chunk(kReadBytes, '\0');
  while (true) {
    const auto got = stream->Read(kReadBytes, chunk.data());
    if (!got.ok()) return Fail(FromArrow(got.status(), fmt::format("read {}", request.name)));
    if (*got == 0) break;
    rest.append(chunk, 0, static_cast<size_t>(*got));
    size_t begin = 0;
    for (size_t end = rest.find('\n'); end != std::string::npos; end = rest.find('\n', begin)) {
      FRESHET_RETURN_IF_ERROR(batches.Add(std::string_view(rest).substr(begin, end - begin)));
      begin = end + 1;
    }
    rest.erase(0, begin);
  }
  if (!rest.empty()) {
    return Fail(ErrorKind::kMalformed, "{} does not end with a line's end", request.name);
  }
  return batches.Flush();
}

}  // namespace freshet::sink::files::internal
