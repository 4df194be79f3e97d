#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace freshet::change {

/// A place in PostgreSQL's write-ahead log, in bytes.
struct Lsn {
  uint64_t value = 0;
  auto operator<=>(const Lsn&) const = default;
};

/// "16/B374D848", as PostgreSQL writes it.
std::string ToString(Lsn lsn);

/// Reads the form ToString() writes. Errors: kMalformed.
Result<Lsn> ParseLsn(std::string_view text);

/// A transaction id as the stream carries it: 32 bits, wrapping.
struct Xid {
  uint32_t value = 0;
  auto operator<=>(const Xid&) const = default;
};

/// A table's oid in the source database.
struct TableId {
  uint32_t value = 0;
  auto operator<=>(const TableId&) const = default;
};

/// How far a reader of the change stream is.
///
/// (end, 0): every transaction whose commit ends at or before `end`, and nothing else. (end, n):
/// besides these the first n pieces of a snapshot that stand behind them (Transaction::ordinal);
/// or, beside an open transaction (ResumePoint), its first n changes. Row LSNs are never positions,
/// since rows of one statement may share one. Ordered as the stream is.
struct Position {
  Lsn commit_end;
  int64_t ordinal = 0;
  auto operator<=>(const Position&) const = default;
};

/// "16/B374D848" or, with an ordinal, "16/B374D848+17".
std::string ToString(const Position& position);

/// Reads the form ToString() writes. Errors: kMalformed.
Result<Position> ParsePosition(std::string_view text);

}  // namespace freshet::change
