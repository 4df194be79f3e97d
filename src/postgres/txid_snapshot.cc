#include "postgres/txid_snapshot.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace freshet::postgres {
namespace {

/// Takes a decimal number off the front of `text`; false when there is none.
bool TakeNumber(std::string_view& text, uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool TakeByte(std::string_view& text, char byte) {
  if (!text.starts_with(byte)) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

Result<TxidSnapshot> TxidSnapshot::Parse(std::string_view text) {
  TxidSnapshot out;
  std::string_view rest = text;
  bool good = TakeNumber(rest, out.xmin_) && TakeByte(rest, ':') && TakeNumber(rest, out.xmax_) &&
              TakeByte(rest, ':') && out.xmin_ <= out.xmax_;
  uint64_t least = out.xmin_;
  while (good && !rest.empty()) {
    uint64_t xid = 0;
    good = (out.running_.empty() || TakeByte(rest, ',')) && TakeNumber(rest, xid) && xid >= least &&
           xid < out.xmax_;
    out.running_.push_back(xid);
    least = xid + 1;
  }
  if (!good) {
    return Fail(ErrorKind::kMalformed,
                "'{}' is not a snapshot as txid_current_snapshot() prints it", text);
  }
  return out;
}

uint64_t TxidSnapshot::Widen(change::Xid xid) const {
  const auto distance = static_cast<int32_t>(xid.value - static_cast<uint32_t>(xmax_));
  return xmax_ + static_cast<uint64_t>(int64_t{distance});
}

bool TxidSnapshot::Sees(uint64_t xid) const {
  if (xid < xmin_) return true;
  return xid < xmax_ && !std::binary_search(running_.begin(), running_.end(), xid);
}

std::string TxidSnapshot::ToString() const {
  return fmt::format("{}:{}:{}", xmin_, xmax_, fmt::join(running_, ","));
}

}  // namespace freshet::postgres
