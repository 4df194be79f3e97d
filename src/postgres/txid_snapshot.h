#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "change/ids.h"

namespace freshet::postgres {

/// What txid_current_snapshot() printed: which transactions a session that reads sees.
///
/// Of a primary only: on a standby the list of running transactions is empty, whatever runs.
/// Source: PostgreSQL manual, "Transaction ID and Snapshot Information Functions".
class TxidSnapshot {
 public:
  /// Reads "xmin:xmax:xip,xip,...". Errors: kMalformed.
  static Result<TxidSnapshot> Parse(std::string_view text);

  /// Every transaction below has ended and is visible, if it committed. 64-bit.
  uint64_t xmin() const { return xmin_; }

  /// No transaction from here on had ended, though some may have begun. 64-bit.
  uint64_t xmax() const { return xmax_; }

  /// The transactions between xmin() and xmax() that had not ended, ascending. One that waits in
  /// its commit (for a synchronous standby) or was prepared has not ended.
  const std::vector<uint64_t>& running() const { return running_; }

  /// The 64-bit id of `xid`: the one nearest to xmax().
  uint64_t Widen(change::Xid xid) const;

  /// `xid` is visible, given that it has committed by now.
  bool Sees(change::Xid xid) const { return Sees(Widen(xid)); }
  bool Sees(uint64_t xid) const;

  /// The text Parse() reads.
  std::string ToString() const;

  bool operator==(const TxidSnapshot&) const = default;

 private:
  uint64_t xmin_ = 0;
  uint64_t xmax_ = 0;
  std::vector<uint64_t> running_;
};

}  // namespace freshet::postgres
