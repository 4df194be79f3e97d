#include "postgres/copy_text.h"

#include <cstring>
#include <numeric>
#include <string_view>
#include <utility>

#include "postgres/table_builder.h"
#include "postgres/text_arena.h"

namespace freshet::postgres {
namespace {

/// Rows are read into columns whenever this much text has gathered: it is still in the cache then.
constexpr size_t kDecodeBytes = size_t{128} << 10;

/// The character an escape stands for; 0 when the server writes no such escape.
char Unescaped(char letter) {
  switch (letter) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    case '\\':
      return '\\';
    default:
      return 0;
  }
}

/// Replaces the escapes in [text, text + size) by what they stand for. The new size; -1 when there
/// is one the server never writes.
int32_t UnescapeInPlace(char* text, size_t size) {
  size_t out = 0;
  for (size_t in = 0; in < size; ++in) {
    char c = text[in];
    if (c == '\\') {
      if (++in == size) return -1;
      c = Unescaped(text[in]);
      if (c == 0) return -1;
    }
    text[out++] = c;
  }
  return static_cast<int32_t>(out);
}

}  // namespace

class CopyTextReader::Impl {
 public:
  Impl(std::shared_ptr<const change::TableSchema> schema, const TextRules& text)
      : builder_(std::move(schema), text) {}

  Status Add(std::span<const char> line) {
    constexpr size_t kMaxLineBytes = size_t{1} << 30;
    if (line.size() > kMaxLineBytes) return BadRow("it has more than 1 GiB");
    bytes_ += static_cast<int64_t>(line.size());
    if (!line.empty() && line.back() == '\n') line = line.first(line.size() - 1);

    const uint32_t offset = arena_.Append(line.data(), line.size());
    char* const first = arena_.data() + offset;
    char* const end = first + line.size();
    Cell* cells = builder_.AddRow(change::ChangeKind::kSnapshot, 0, 0);
    const size_t columns = builder_.schema()->columns().size();
    const bool escapes = !line.empty() && std::memchr(first, '\\', line.size()) != nullptr;
    if (columns == 0) return line.empty() ? Status() : BadRow("its table has no columns");

    char* at = first;
    for (size_t i = 0; i < columns; ++i) {
      const auto rest = static_cast<size_t>(end - at);
      auto* stop = rest == 0 ? nullptr : static_cast<char*>(std::memchr(at, '\t', rest));
      if ((stop == nullptr) != (i + 1 == columns)) return BadRow("it has another count of columns");
      if (stop == nullptr) stop = end;
      const auto size = static_cast<size_t>(stop - at);
      cells[i].offset = static_cast<uint32_t>(at - arena_.data());
      if (!escapes) {
        cells[i].size = static_cast<int32_t>(size);
      } else if (std::string_view(at, size) == "\\N") {
        cells[i].size = Cell::kNull;
      } else {
        cells[i].size = UnescapeInPlace(at, size);
        if (cells[i].size < 0) return BadRow("it has an escape the server never writes");
      }
      at = stop == end ? end : stop + 1;
    }
    return arena_.used() >= kDecodeBytes ? Decode() : Status();
  }

  int64_t rows() const { return builder_.rows(); }
  int64_t bytes() const { return bytes_; }

  Result<change::TableChanges> Finish(int64_t first_ordinal) {
    FRESHET_RETURN_IF_ERROR(Decode());
    FRESHET_TRY(change::TableChanges changes, builder_.TakeAll(arena_.data()));
    std::iota(changes.ordinals.begin(), changes.ordinals.end(), first_ordinal);
    bytes_ = 0;
    return changes;
  }

 private:
  Status Decode() {
    FRESHET_RETURN_IF_ERROR(builder_.Decode(arena_.data()));
    arena_.Clear();
    return {};
  }

  tl::unexpected<Error> BadRow(std::string_view why) const {
    return Fail(ErrorKind::kMalformed, "table {}: the server sent a malformed COPY row: {}",
                change::ToString(builder_.schema()->name()), why);
  }

  TableBuilder builder_;
  TextArena arena_;
  int64_t bytes_ = 0;
};

CopyTextReader::CopyTextReader(std::shared_ptr<const change::TableSchema> schema,
                               const TextRules& text)
    : impl_(std::make_unique<Impl>(std::move(schema), text)) {}

CopyTextReader::~CopyTextReader() = default;
CopyTextReader::CopyTextReader(CopyTextReader&&) noexcept = default;
CopyTextReader& CopyTextReader::operator=(CopyTextReader&&) noexcept = default;

Status CopyTextReader::Add(std::span<const char> line) { return impl_->Add(line); }
int64_t CopyTextReader::rows() const { return impl_->rows(); }
int64_t CopyTextReader::bytes() const { return impl_->bytes(); }
Result<change::TableChanges> CopyTextReader::Finish(int64_t first_ordinal) {
  return impl_->Finish(first_ordinal);
}

}  // namespace freshet::postgres
