#include "postgres/table_gate.h"

#include "base/byte_reader.h"

namespace freshet::postgres {
namespace {

void AppendU32(std::vector<std::byte>& out, uint32_t value) {
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<std::byte>(value >> shift));
}

}  // namespace

std::span<const std::byte> TableGate::Examine(std::span<const std::byte> message) {
  ByteReader in(message);
  const char tag = static_cast<char>(in.ReadU8());
  if (in_stream_) in.ReadU32();
  switch (tag) {
    case 'S':
      in_stream_ = true;
      return message;
    case 'E':
      in_stream_ = false;
      return message;
    case 'R': {
      const uint32_t id = in.ReadU32();
      change::TableName name{converter_->Name(in.ReadCString()), ""};
      name.table = converter_->Name(in.ReadCString());
      if (!in.ok()) return message;
      if (chosen_.contains(id) || filter_.Matches(name)) {
        ignored_.erase(id);  // renamed into the choice
        return message;
      }
      ignored_.insert(id);
      return {};
    }
    case 'I':
    case 'U':
    case 'D': {
      const uint32_t id = in.ReadU32();
      if (!in.ok() || !ignored_.contains(id)) return message;
      // An update with an old row ('K', 'O') is two changes.
      const bool old = tag == 'U' && in.remaining() > 0 && in.ReadU8() != 'N';
      return TurnAway(message, old ? 2 : 1);
    }
    case 'T':
      return FilterTruncate(message);
    default:
      return message;
  }
}

std::span<const std::byte> TableGate::TurnAway(std::span<const std::byte> message,
                                               uint8_t changes) {
  const std::ptrdiff_t head = in_stream_ ? 5 : 1;  // tag, xid
  rewritten_.assign(message.begin(), message.begin() + head);
  rewritten_.front() = static_cast<std::byte>(pgoutput::kTurnedAway);
  rewritten_.push_back(std::byte{changes});
  return rewritten_;
}

std::span<const std::byte> TableGate::FilterTruncate(std::span<const std::byte> message) {
  ByteReader in(message);
  in.ReadU8();
  const std::ptrdiff_t before_count = in_stream_ ? 5 : 1;  // tag, xid
  if (in_stream_) in.ReadU32();
  const uint32_t count = in.ReadU32();
  const uint8_t options = in.ReadU8();
  std::vector<uint32_t> kept;
  bool all = true;
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    const uint32_t id = in.ReadU32();
    if (ignored_.contains(id)) {
      all = false;
    } else {
      kept.push_back(id);
      truncated_.insert(id);
    }
  }
  if (!in.Finished() || all) return message;
  if (kept.empty()) return TurnAway(message, 1);
  rewritten_.assign(message.begin(), message.begin() + before_count);
  AppendU32(rewritten_, static_cast<uint32_t>(kept.size()));
  rewritten_.push_back(std::byte{options});
  for (const uint32_t id : kept) AppendU32(rewritten_, id);
  return rewritten_;
}

}  // namespace freshet::postgres
