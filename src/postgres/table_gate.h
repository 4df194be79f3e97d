#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_set>
#include <vector>

#include "change/ids.h"
#include "postgres/pgoutput.h"
#include "postgres/table_filter.h"
#include "postgres/text_encoding.h"

namespace freshet::postgres {

/// Keeps messages of tables that were not chosen from the decoder: a publication that somebody else
/// made (FOR ALL TABLES, say) may send more than the configuration names.
///
/// Threads: one. Malformed messages pass, for the decoder to name.
class TableGate {
 public:
  /// `chosen`: tables let through whatever their name (partitions of a chosen root). `truncated`,
  /// which outlives it, gets the tables whose TRUNCATE passes. `converter`: how names in messages
  /// become text.
  TableGate(TableFilter filter, std::unordered_set<uint32_t> chosen,
            std::unordered_set<uint32_t>& truncated,
            std::shared_ptr<TextConverter> converter = TextConverter::Utf8())
      : filter_(std::move(filter)),
        chosen_(std::move(chosen)),
        converter_(std::move(converter)),
        truncated_(truncated) {}

  /// Lets `chosen` through as well, and whatever matches `filter` instead of the filter before.
  void Choose(TableFilter filter, const std::unordered_set<uint32_t>& chosen) {
    filter_ = std::move(filter);
    chosen_.insert(chosen.begin(), chosen.end());
  }

  /// The stream named this table, and was turned away: it does not name it again.
  bool ignores(change::TableId table) const { return ignored_.contains(table.value); }

  /// `message` as it may pass: itself; empty for a table's description that must not; or one that
  /// is valid until the next call: for changes that must not pass pgoutput::kTurnedAway, and for a
  /// TRUNCATE of chosen and other tables together one that names the chosen ones.
  std::span<const std::byte> Filter(std::span<const std::byte> message) {
    // While nothing was turned away, rows pass: only a Relation can change that.
    if (ignored_.empty() && pgoutput::IsRow(message)) return message;
    return Examine(message);
  }

 private:
  std::span<const std::byte> Examine(std::span<const std::byte> message);
  std::span<const std::byte> FilterTruncate(std::span<const std::byte> message);
  std::span<const std::byte> TurnAway(std::span<const std::byte> message, uint8_t changes);

  TableFilter filter_;
  std::unordered_set<uint32_t> chosen_;
  std::shared_ptr<TextConverter> converter_;
  std::unordered_set<uint32_t> ignored_;
  std::unordered_set<uint32_t>& truncated_;
  std::vector<std::byte> rewritten_;
  bool in_stream_ = false;  ///< inside a chunk of a running transaction, where messages have an xid
};

}  // namespace freshet::postgres
