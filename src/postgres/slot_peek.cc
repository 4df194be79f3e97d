#include "postgres/slot_peek.h"

#include <algorithm>
#include <string_view>

#include "base/byte_reader.h"
#include "postgres/connection.h"

namespace freshet::postgres {

std::string PeekSql(const std::string& slot, change::Lsn upto,
                    const std::vector<PluginOption>& options) {
  std::string arguments;
  for (const PluginOption& option : options) {
    arguments += fmt::format(", {}, {}", Connection::QuoteLiteral(option.name),
                             Connection::QuoteLiteral(option.value));
  }
  return fmt::format(
      "COPY (SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes({}, '{}', NULL{})) "
      "TO STDOUT (FORMAT binary)",
      Connection::QuoteLiteral(slot), change::ToString(upto), arguments);
}

Result<std::span<const std::byte>> BinaryCopyColumn::Next(std::span<const std::byte> message) {
  static constexpr std::string_view kSignature("PGCOPY\n\377\r\n\0", 11);
  constexpr int16_t kTrailer = -1;
  ByteReader in(message);
  bool sound = !ended_;
  if (!begun_) {
    const auto signature = in.ReadBytes(kSignature.size());
    sound = std::ranges::equal(signature, std::as_bytes(std::span(kSignature)));
    in.ReadU32();                // flags
    in.ReadBytes(in.ReadU32());  // header extension
    begun_ = true;
    if (sound && in.Finished()) return std::span<const std::byte>();
  }
  const int16_t columns = in.ReadI16();
  if (sound && columns == kTrailer && in.Finished()) {
    ended_ = true;
    return std::span<const std::byte>();
  }
  const auto value = in.ReadBytes(in.ReadU32());
  if (!sound || columns != 1 || value.empty() || !in.Finished()) {
    return Fail(ErrorKind::kMalformed,
                "the server sent {} bytes that are no row of one column in COPY's binary format",
                message.size());
  }
  return value;
}

}  // namespace freshet::postgres
