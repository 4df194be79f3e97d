#include "postgres/column_builder.h"

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/type.h>
#include <arrow/util/utf8.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "postgres/array_text.h"
#include "postgres/value_text.h"

namespace freshet::postgres {
namespace {

using change::LogicalKind;
using change::LogicalType;
using change::ValueException;

/// Arrow's utf8, binary and list columns count by 32-bit offsets.
constexpr int64_t kMaxColumnBytes = std::numeric_limits<int32_t>::max();

/// An Arrow buffer that grows by doubling and is written through plain pointers.
class GrowingBuffer {
 public:
  /// Makes room for `bytes` more behind `used`.
  Status Reserve(int64_t used, int64_t bytes) {
    if (used + bytes <= capacity_) [[likely]]
      return {};
    const int64_t wanted = std::max({used + bytes, capacity_ * 2, first_capacity_});
    if (buffer_ == nullptr) {
      auto made = arrow::AllocateResizableBuffer(wanted);
      if (!made.ok()) return OutOfMemory(wanted);
      buffer_ = std::move(*made);
    } else if (!buffer_->Resize(wanted, /*shrink_to_fit=*/false).ok()) {
      return OutOfMemory(wanted);
    }
    data_ = buffer_->mutable_data();
    capacity_ = wanted;
    return {};
  }

  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }

  /// The first `used` bytes as a buffer of their own. What follows will begin as large as this one.
  Result<std::shared_ptr<arrow::Buffer>> Finish(int64_t used) {
    FRESHET_RETURN_IF_ERROR(Reserve(0, used));
    if (buffer_ == nullptr) FRESHET_RETURN_IF_ERROR(Reserve(0, 1));
    // Less than a quarter unused is not worth a copy.
    const bool shrink = used < capacity_ / 4 * 3;
    if (!buffer_->Resize(used, shrink).ok()) return OutOfMemory(used);
    buffer_->ZeroPadding();
    first_capacity_ = std::min(used, kMaxFirstCapacity);
    capacity_ = 0;
    data_ = nullptr;
    return std::shared_ptr<arrow::Buffer>(std::exchange(buffer_, nullptr));
  }

 private:
  /// One large batch does not make all later ones large.
  static constexpr int64_t kMaxFirstCapacity = int64_t{256} << 10;

  static tl::unexpected<Error> OutOfMemory(int64_t bytes) {
    return Fail(ErrorKind::kFatal,
                "no memory for a column of {} bytes: lower batch_bytes or give the process more",
                bytes);
  }

  std::unique_ptr<arrow::ResizableBuffer> buffer_;
  uint8_t* data_ = nullptr;
  int64_t capacity_ = 0;
  int64_t first_capacity_ = 0;
};

/// Which rows hold a value. Costs nothing until the first null; from then on all bits are set ahead
/// of time, so that a row with a value need not touch it.
class Validity {
 public:
  Status SetNull(int64_t row) {
    const int64_t bytes_needed = row / 8 + 1;
    if (bytes_needed > bytes_) {
      const int64_t grown = std::max(bytes_needed, bytes_ * 2);
      FRESHET_RETURN_IF_ERROR(bits_.Reserve(bytes_, grown - bytes_));
      std::memset(bits_.as<uint8_t>() + bytes_, 0xFF, static_cast<size_t>(grown - bytes_));
      bytes_ = grown;
    }
    bits_.as<uint8_t>()[row / 8] &= static_cast<uint8_t>(~(1U << (row % 8)));
    ++nulls_;
    return {};
  }

  /// Takes off the rows from `length` to `old_length`.
  void Truncate(int64_t length, int64_t old_length) {
    for (int64_t row = length; row < std::min(old_length, bytes_ * 8) && nulls_ > 0; ++row) {
      const auto bit = static_cast<uint8_t>(1U << (row % 8));
      uint8_t& byte = bits_.as<uint8_t>()[row / 8];
      if ((byte & bit) == 0) --nulls_;
      byte |= bit;
    }
  }

  int64_t nulls() const { return nulls_; }

  /// Null when every row holds a value.
  Result<std::shared_ptr<arrow::Buffer>> Finish(int64_t length) {
    if (std::exchange(nulls_, 0) == 0) {
      bytes_ = 0;
      return nullptr;
    }
    const int64_t used = (length + 7) / 8;
    if (used > bytes_) {
      FRESHET_RETURN_IF_ERROR(bits_.Reserve(bytes_, used - bytes_));
      std::memset(bits_.as<uint8_t>() + bytes_, 0xFF, static_cast<size_t>(used - bytes_));
    }
    if (length % 8 != 0) {
      bits_.as<uint8_t>()[used - 1] &= static_cast<uint8_t>((1U << (length % 8)) - 1);
    }
    bytes_ = 0;
    return bits_.Finish(used);
  }

 private:
  GrowingBuffer bits_;
  int64_t bytes_ = 0;  ///< bytes of bits_ that are set up
  int64_t nulls_ = 0;
};

tl::unexpected<Error> Malformed(const LogicalType& type) {
  return Fail(ErrorKind::kMalformed,
              "a value is not the text of a {}; is something between us and the server changing "
              "datestyle, bytea_output or the like?",
              change::ToString(type));
}

/// What every column has: its type, nulls and unchanged rows.
class ColumnBase : public ColumnBuilder {
 public:
  ColumnBase(const LogicalType& type, const TextRules& text)
      : type_(type), text_(text), arrow_type_(change::ArrowType(type)) {}

  int64_t length() const override { return length_; }

 protected:
  const LogicalType& type() const { return type_; }
  const TextRules& text() const { return text_; }

  /// Marks `row` as null. `cell` says why; a value that is there is an exception.
  Status NoteNull(int64_t row, const Cell& cell, const char* base,
                  std::vector<ValueException>& exceptions) {
    if (cell.size >= 0) {
      exceptions.push_back(
          {.row = row,
           .column = 0,
           .text = text_.ExceptionText({base + cell.offset, static_cast<size_t>(cell.size)})});
    } else if (cell.size == Cell::kUnchanged) {
      unchanged_.push_back(row);
    }
    return validity_.SetNull(row);
  }

  void TruncateBase(int64_t length) {
    CHECK(length <= length_);
    validity_.Truncate(length, length_);
    while (!unchanged_.empty() && unchanged_.back() >= length) unchanged_.pop_back();
    length_ = length;
  }

  /// `buffers` follow the validity bitmap.
  Result<BuiltColumn> FinishWith(std::vector<std::shared_ptr<arrow::Buffer>> buffers) {
    const int64_t nulls = validity_.nulls();
    FRESHET_TRY(std::shared_ptr<arrow::Buffer> valid, validity_.Finish(length_));
    buffers.insert(buffers.begin(), std::move(valid));
    BuiltColumn out{
        .values = arrow::ArrayData::Make(arrow_type_, length_, std::move(buffers), nulls),
        .unchanged = std::exchange(unchanged_, {})};
    length_ = 0;
    return out;
  }

  int64_t length_ = 0;

 private:
  const LogicalType type_;
  const TextRules text_;
  const std::shared_ptr<arrow::DataType> arrow_type_;
  Validity validity_;
  std::vector<int64_t> unchanged_;
};

/// A column of values of one size. `Reader` reads one into a `Value`.
template <typename Value, typename Reader>
class FixedColumn : public ColumnBase {
 public:
  FixedColumn(const LogicalType& type, const TextRules& text, Reader reader)
      : ColumnBase(type, text), reader_(reader) {}

  Status Append(const CellColumn& cells, std::vector<ValueException>& exceptions) override {
    constexpr int64_t kValueBytes = sizeof(Value);
    FRESHET_RETURN_IF_ERROR(values_.Reserve(length_ * kValueBytes, cells.count * kValueBytes));
    Value* const out = values_.template as<Value>() + length_;
    for (int64_t i = 0; i < cells.count; ++i) {
      const Cell& cell = cells[i];
      if (cell.size >= 0) [[likely]] {
        const ValueOutcome outcome =
            reader_(cells.base + cell.offset, static_cast<size_t>(cell.size), out[i]);
        if (outcome == ValueOutcome::kValue) [[likely]]
          continue;
        if (outcome == ValueOutcome::kMalformed) return Malformed(type());
      }
      out[i] = Value{};
      FRESHET_RETURN_IF_ERROR(NoteNull(length_ + i, cell, cells.base, exceptions));
    }
    length_ += cells.count;
    return {};
  }

  void Truncate(int64_t length) override { TruncateBase(length); }

  Result<BuiltColumn> Finish() override {
    FRESHET_TRY(auto values, values_.Finish(length_ * static_cast<int64_t>(sizeof(Value))));
    return FinishWith({std::move(values)});
  }

 protected:
  GrowingBuffer values_;

 private:
  const Reader reader_;
};

/// Booleans are read as bytes and packed to bits at the end.
template <typename Reader>
class BoolColumn final : public FixedColumn<uint8_t, Reader> {
 public:
  using FixedColumn<uint8_t, Reader>::FixedColumn;

  Result<BuiltColumn> Finish() override {
    const int64_t rows = this->length_;
    const auto* bytes = this->values_.template as<const uint8_t>();
    GrowingBuffer bits;
    const int64_t packed = (rows + 7) / 8;
    FRESHET_RETURN_IF_ERROR(bits.Reserve(0, packed));
    auto* out = bits.as<uint8_t>();
    if (packed > 0) std::memset(out, 0, static_cast<size_t>(packed));
    for (int64_t i = 0; i < rows; ++i) {
      out[i / 8] = static_cast<uint8_t>(out[i / 8] | bytes[i] << (i % 8));
    }
    FRESHET_TRY(auto values, bits.Finish(packed));
    return this->FinishWith({std::move(values)});
  }
};

/// Makes the column of `Value` read by `reader`.
template <typename Value, typename Reader>
std::unique_ptr<ColumnBuilder> MakeFixed(const LogicalType& type, const TextRules& text,
                                         Reader reader) {
  return std::make_unique<FixedColumn<Value, Reader>>(type, text, reader);
}

/// A column of values of any size, with 32-bit offsets.
class VariableColumn : public ColumnBase {
 public:
  using ColumnBase::ColumnBase;

  void Truncate(int64_t length) override {
    if (length < length_) used_ = offsets_.as<int32_t>()[length];
    TruncateBase(length);
  }

  Result<BuiltColumn> Finish() override {
    constexpr int64_t kOffsetBytes = sizeof(int32_t);
    FRESHET_RETURN_IF_ERROR(offsets_.Reserve(length_ * kOffsetBytes, kOffsetBytes));
    offsets_.as<int32_t>()[length_] = static_cast<int32_t>(used_);
    FRESHET_TRY(auto offsets, offsets_.Finish((length_ + 1) * kOffsetBytes));
    FRESHET_TRY(auto data, data_.Finish(std::exchange(used_, 0)));
    return FinishWith({std::move(offsets), std::move(data)});
  }

 protected:
  Status Reserve(const CellColumn& cells) {
    constexpr int64_t kOffsetBytes = sizeof(int32_t);
    int64_t bytes = 0;
    for (int64_t i = 0; i < cells.count; ++i) bytes += std::max(cells[i].size, 0);
    FRESHET_RETURN_IF_ERROR(offsets_.Reserve(length_ * kOffsetBytes, cells.count * kOffsetBytes));
    return ReserveBytes(bytes);
  }

  Status ReserveBytes(int64_t bytes) {
    if (used_ + bytes > kMaxColumnBytes) {
      return Fail(ErrorKind::kUnsupported,
                  "values of one batch have more than 2 GiB; lower batch_bytes");
    }
    // One byte more than needed, so that an all-empty column has a buffer to point into.
    return data_.Reserve(used_, bytes + 1);
  }

  GrowingBuffer offsets_;
  GrowingBuffer data_;
  int64_t used_ = 0;  ///< bytes of data_
};

/// A column of bytea.
class BytesColumn final : public VariableColumn {
 public:
  using VariableColumn::VariableColumn;

  Status Append(const CellColumn& cells, std::vector<ValueException>& exceptions) override {
    FRESHET_RETURN_IF_ERROR(Reserve(cells));
    auto* const offsets = offsets_.as<int32_t>();
    auto* const data = data_.as<uint8_t>();
    for (int64_t i = 0; i < cells.count; ++i, ++length_) {
      const Cell& cell = cells[i];
      offsets[length_] = static_cast<int32_t>(used_);
      if (cell.size < 0) [[unlikely]] {
        FRESHET_RETURN_IF_ERROR(NoteNull(length_, cell, cells.base, exceptions));
        continue;
      }
      const ValueOutcome outcome =
          ReadBytes(cells.base + cell.offset, static_cast<size_t>(cell.size), data + used_);
      if (outcome == ValueOutcome::kMalformed) return Malformed(type());
      used_ += cell.size / 2 - 1;
    }
    return {};
  }
};

/// A column of text.
class TextColumn final : public VariableColumn {
 public:
  TextColumn(const LogicalType& type, const TextRules& text, bool key)
      : VariableColumn(type, text),
        key_(key),
        as_it_is_(text.converter->is_utf8() || (text.converter->keeps_bytes() && !key)) {}

  Status Append(const CellColumn& cells, std::vector<ValueException>& exceptions) override {
    FRESHET_RETURN_IF_ERROR(Reserve(cells));
    if (as_it_is_) {
      const int64_t before = length_;
      FRESHET_TRY(const bool valid, AppendAsItIs(cells, exceptions));
      if (valid) [[likely]]
        return {};
      Truncate(before);
    }
    return AppendOneByOne(cells, exceptions);
  }

 private:
  /// Copies the values. False when they are not all UTF-8.
  Result<bool> AppendAsItIs(const CellColumn& cells, std::vector<ValueException>& exceptions) {
    auto* const offsets = offsets_.as<int32_t>();
    auto* const data = data_.as<uint8_t>();
    const int64_t start = used_;
    int64_t used = used_;
    bool cut_character = false;  // a value begins with what continues a character
    for (int64_t i = 0; i < cells.count; ++i, ++length_) {
      const Cell& cell = cells[i];
      offsets[length_] = static_cast<int32_t>(used);
      if (cell.size < 0) [[unlikely]] {
        FRESHET_RETURN_IF_ERROR(NoteNull(length_, cell, cells.base, exceptions));
        continue;
      }
      if (cell.size == 0) continue;
      const char* value = cells.base + cell.offset;
      std::memcpy(data + used, value, static_cast<size_t>(cell.size));
      cut_character |= (static_cast<uint8_t>(*value) & 0xC0) == 0x80;
      used += cell.size;
    }
    used_ = used;
    return !cut_character && arrow::util::ValidateUTF8(data + start, used - start);
  }

  Status AppendOneByOne(const CellColumn& cells, std::vector<ValueException>& exceptions) {
    for (int64_t i = 0; i < cells.count; ++i, ++length_) {
      const Cell& cell = cells[i];
      offsets_.as<int32_t>()[length_] = static_cast<int32_t>(used_);
      bool is_value = false;
      converted_.clear();
      if (cell.size >= 0) {
        const std::string_view value(cells.base + cell.offset, static_cast<size_t>(cell.size));
        FRESHET_TRY(is_value, Convert(value));
      }
      if (!is_value) {
        FRESHET_RETURN_IF_ERROR(NoteNull(length_, cell, cells.base, exceptions));
        continue;
      }
      FRESHET_RETURN_IF_ERROR(ReserveBytes(std::ssize(converted_)));
      std::memcpy(data_.as<char>() + used_, converted_.data(), converted_.size());
      used_ += std::ssize(converted_);
    }
    return {};
  }

  Result<bool> Convert(std::string_view value) {
    if (!key_) {
      return text().AppendValue(value, type().kind == LogicalKind::kJson, converted_);
    }
    FRESHET_RETURN_IF_ERROR(text().AppendKey(value, converted_));
    return true;
  }

  const bool key_;
  const bool as_it_is_;  ///< valid values have their bytes
  std::string converted_;
};

/// A column of one-dimensional arrays. Elements are split and unescaped into a scratch, then
/// appended to a column of the element type; a list of which one element is an exception is taken
/// back there and becomes an exception as a whole.
class ListColumn final : public ColumnBase {
 public:
  ListColumn(const LogicalType& type, const TextRules& text, bool key)
      : ColumnBase(type, text),
        elements_(ColumnBuilder::Create(change::ElementType(type), text, key)) {}

  Status Append(const CellColumn& cells, std::vector<ValueException>& exceptions) override {
    constexpr int64_t kOffsetBytes = sizeof(int32_t);
    FRESHET_RETURN_IF_ERROR(offsets_.Reserve(length_ * kOffsetBytes, cells.count * kOffsetBytes));
    auto* const offsets = offsets_.as<int32_t>();
    for (int64_t i = 0; i < cells.count; ++i, ++length_) {
      const Cell& cell = cells[i];
      offsets[length_] = static_cast<int32_t>(elements_->length());
      ValueOutcome outcome = ValueOutcome::kException;
      if (cell.size >= 0) {
        FRESHET_TRY(outcome,
                    AppendElements({cells.base + cell.offset, static_cast<size_t>(cell.size)}));
      }
      if (outcome == ValueOutcome::kValue) continue;
      if (outcome == ValueOutcome::kMalformed) return Malformed(type());
      FRESHET_RETURN_IF_ERROR(NoteNull(length_, cell, cells.base, exceptions));
    }
    return {};
  }

  void Truncate(int64_t length) override {
    if (length < length_) elements_->Truncate(offsets_.as<int32_t>()[length]);
    TruncateBase(length);
  }

  Result<BuiltColumn> Finish() override {
    constexpr int64_t kOffsetBytes = sizeof(int32_t);
    FRESHET_RETURN_IF_ERROR(offsets_.Reserve(length_ * kOffsetBytes, kOffsetBytes));
    offsets_.as<int32_t>()[length_] = static_cast<int32_t>(elements_->length());
    FRESHET_TRY(auto offsets, offsets_.Finish((length_ + 1) * kOffsetBytes));
    FRESHET_TRY(BuiltColumn elements, elements_->Finish());
    FRESHET_TRY(BuiltColumn out, FinishWith({std::move(offsets)}));
    out.values->child_data.push_back(std::move(elements.values));
    return out;
  }

 private:
  /// Appends the elements of one array; none of them unless the outcome is kValue.
  Result<ValueOutcome> AppendElements(std::string_view text) {
    const ValueOutcome outcome =
        SplitArray(text, type().element_delimiter, element_text_, element_cells_);
    if (outcome != ValueOutcome::kValue) return outcome;
    const int64_t before = elements_->length();
    const auto count = static_cast<int64_t>(element_cells_.size());
    element_exceptions_.clear();
    FRESHET_RETURN_IF_ERROR(elements_->Append(
        {.base = element_text_.data(), .first = element_cells_.data(), .stride = 1, .count = count},
        element_exceptions_));
    if (element_exceptions_.empty()) return ValueOutcome::kValue;
    elements_->Truncate(before);
    return ValueOutcome::kException;
  }

  const std::unique_ptr<ColumnBuilder> elements_;
  GrowingBuffer offsets_;
  std::string element_text_;
  std::vector<Cell> element_cells_;
  std::vector<ValueException> element_exceptions_;
};

}  // namespace

std::unique_ptr<ColumnBuilder> ColumnBuilder::Create(const LogicalType& type, const TextRules& text,
                                                     bool key) {
  // Lambdas, not function pointers: each column's loop is compiled with its reader inside.
  switch (type.kind) {
    case LogicalKind::kBool: {
      const auto reader = [](const char* t, size_t n, uint8_t& v) { return ReadBool(t, n, v); };
      return std::make_unique<BoolColumn<decltype(reader)>>(type, text, reader);
    }
    case LogicalKind::kInt16:
      return MakeFixed<int16_t>(
          type, text, [](const char* t, size_t n, int16_t& v) { return ReadInteger(t, n, v); });
    case LogicalKind::kInt32:
      return MakeFixed<int32_t>(
          type, text, [](const char* t, size_t n, int32_t& v) { return ReadInteger(t, n, v); });
    case LogicalKind::kInt64:
      return MakeFixed<int64_t>(
          type, text, [](const char* t, size_t n, int64_t& v) { return ReadInteger(t, n, v); });
    case LogicalKind::kUInt32:
      return MakeFixed<uint32_t>(
          type, text, [](const char* t, size_t n, uint32_t& v) { return ReadInteger(t, n, v); });
    case LogicalKind::kFloat32:
      return MakeFixed<float>(type, text,
                              [](const char* t, size_t n, float& v) { return ReadFloat(t, n, v); });
    case LogicalKind::kFloat64:
      return MakeFixed<double>(
          type, text, [](const char* t, size_t n, double& v) { return ReadFloat(t, n, v); });
    case LogicalKind::kDecimal: {
      const DecimalFormat format(type.precision, type.scale);
      return MakeFixed<Int128>(type, text, [format](const char* t, size_t n, Int128& v) {
        return ReadDecimal(t, n, format, v);
      });
    }
    case LogicalKind::kDate:
      return MakeFixed<int32_t>(
          type, text, [](const char* t, size_t n, int32_t& v) { return ReadDate(t, n, v); });
    case LogicalKind::kTime:
      return MakeFixed<int64_t>(
          type, text, [](const char* t, size_t n, int64_t& v) { return ReadTime(t, n, v); });
    case LogicalKind::kTimestamp:
      return MakeFixed<int64_t>(type, text, [](const char* t, size_t n, int64_t& v) {
        return ReadTimestamp<false>(t, n, v);
      });
    case LogicalKind::kTimestampTz:
      return MakeFixed<int64_t>(type, text, [](const char* t, size_t n, int64_t& v) {
        return ReadTimestamp<true>(t, n, v);
      });
    case LogicalKind::kUuid:
      return MakeFixed<UuidBytes>(
          type, text, [](const char* t, size_t n, UuidBytes& v) { return ReadUuid(t, n, v); });
    case LogicalKind::kBytes:
      return std::make_unique<BytesColumn>(type, text);
    case LogicalKind::kList:
      return std::make_unique<ListColumn>(type, text, key);
    case LogicalKind::kNumericText:
    case LogicalKind::kText:
    case LogicalKind::kJson:
    case LogicalKind::kExactText: {
      static const bool utf8_ready = (arrow::util::InitializeUTF8(), true);
      CHECK(utf8_ready);
      return std::make_unique<TextColumn>(type, text, key);
    }
  }
  CHECK(false && "a logical kind without a column");
  return nullptr;
}

}  // namespace freshet::postgres
