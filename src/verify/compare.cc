#include "verify/compare.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/check.h"

namespace freshet::verify {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

/// What the sides held of one key when last read.
struct Candidate {
  Key key;
  Content source;
  Content target;
  std::vector<Content> source_seen;  ///< since reading again began, newest last
  bool moving = false;
};

using Candidates = std::unordered_map<Hash128, Candidate, HashOfHash128>;

constexpr size_t kSourceStatesKept = 64;
constexpr int64_t kRowsBetweenReports = 8'192;

class Comparison {
 public:
  Comparison(const change::TableSchema& schema, Side& source, Side& target,
             const CompareLimits& limits, const Clock& clock, std::stop_token stop,
             const OnRows& on_rows)
      : schema_(schema),
        source_(source),
        target_(target),
        limits_(limits),
        clock_(clock),
        stop_(std::move(stop)),
        on_rows_(on_rows) {}

  Result<TableReport> Run();

 private:
  bool has_key() const { return !schema_.key_columns().empty(); }

  /// A table without a key is a multiset: its rows are their own keys.
  Hash128 KeyHashOf(const Row& row, const Hash128& row_hash) const {
    return has_key() ? HashOfKey(row, schema_.key_columns()) : row_hash;
  }

  Key KeyOf(const Row& row) const;

  /// Counts a row for progress, and ends the reading when stopped.
  Status CountRow();

  Status ReadBuckets(Side& side, Buckets& buckets);

  /// Fills candidates_ from the buckets that differ. False when there are too many.
  Result<bool> FindCandidates();
  Status ReadGroup(const std::vector<bool>& in_group, Candidates& group);

  /// Reads the candidates until they agree, or until `deadline`.
  Status Settle(nanoseconds deadline);
  Status ReadCandidates(Side& side, Content Candidate::*content);
  void DropSettled();

  /// Makes `total` count `new_content` in place of `old_content`.
  static void Replace(Content& total, Content& old_content, const Content& new_content) {
    total -= old_content;
    total += new_content;
    old_content = new_content;
  }

  Status DescribeDifferences();

  const change::TableSchema& schema_;
  Side& source_;
  Side& target_;
  const CompareLimits& limits_;
  const Clock& clock_;
  const std::stop_token stop_;
  const OnRows& on_rows_;

  int64_t rows_read_ = 0;
  Buckets source_buckets_;
  Buckets target_buckets_;
  Candidates candidates_;
  TableReport report_;
};

Key Comparison::KeyOf(const Row& row) const {
  Key key;
  for (const int column : schema_.key_columns()) {
    key.emplace_back(row.text(static_cast<size_t>(column)));
  }
  return key;
}

Status Comparison::CountRow() {
  if (++rows_read_ % kRowsBetweenReports != 0) return {};
  on_rows_(rows_read_);
  if (stop_.stop_requested()) return Fail(ErrorKind::kCancelled, "verify was stopped");
  return {};
}

Status Comparison::ReadBuckets(Side& side, Buckets& buckets) {
  return side.ReadAll([&](const Row& row) -> Status {
    const Hash128 row_hash = HashOfRow(row);
    buckets.Add(KeyHashOf(row, row_hash), row_hash);
    return CountRow();
  });
}

Status Comparison::ReadGroup(const std::vector<bool>& in_group, Candidates& group) {
  const auto read = [&](Side& side, Buckets& buckets, Content Candidate::*content) {
    for (size_t i = 0; i < Buckets::kCount; ++i) {
      if (in_group[i]) buckets[i] = {};
    }
    return side.ReadAll([&, content](const Row& row) -> Status {
      FRESHET_RETURN_IF_ERROR(CountRow());
      const Hash128 row_hash = HashOfRow(row);
      const Hash128 key_hash = KeyHashOf(row, row_hash);
      if (!in_group[Buckets::IndexOf(key_hash)]) return {};
      buckets.Add(key_hash, row_hash);
      Candidate& candidate = group[key_hash];
      if (candidate.key.empty()) candidate.key = KeyOf(row);
      (candidate.*content).Add(row_hash);
      return {};
    });
  };
  FRESHET_RETURN_IF_ERROR(read(source_, source_buckets_, &Candidate::source));
  FRESHET_RETURN_IF_ERROR(read(target_, target_buckets_, &Candidate::target));
  std::erase_if(group,
                [](const auto& entry) { return entry.second.source == entry.second.target; });
  return {};
}

Result<bool> Comparison::FindCandidates() {
  candidates_.clear();
  size_t bucket = 0;
  while (bucket < Buckets::kCount) {
    std::vector<bool> in_group(Buckets::kCount);
    int64_t rows = 0;
    for (; bucket < Buckets::kCount && rows < limits_.rows_held; ++bucket) {
      if (source_buckets_[bucket] == target_buckets_[bucket]) continue;
      in_group[bucket] = true;
      rows += source_buckets_[bucket].rows + target_buckets_[bucket].rows;
    }
    if (std::find(in_group.begin(), in_group.end(), true) == in_group.end()) break;

    Candidates group;
    FRESHET_RETURN_IF_ERROR(ReadGroup(in_group, group));
    candidates_.merge(group);
    if (static_cast<int64_t>(candidates_.size()) > limits_.candidates) return false;
  }
  return true;
}

Status Comparison::ReadCandidates(Side& side, Content Candidate::*content) {
  std::unordered_map<Hash128, Content, HashOfHash128> now;
  const auto visit = [&](const Row& row) -> Status {
    const Hash128 row_hash = HashOfRow(row);
    const Hash128 key_hash = KeyHashOf(row, row_hash);
    if (candidates_.contains(key_hash)) now[key_hash].Add(row_hash);
    return CountRow();
  };
  if (has_key() && candidates_.size() <= limits_.keys_per_reading) {
    std::vector<Key> keys;
    for (const auto& [hash, candidate] : candidates_) keys.push_back(candidate.key);
    FRESHET_RETURN_IF_ERROR(side.ReadKeys(keys, visit));
  } else {
    FRESHET_RETURN_IF_ERROR(side.ReadAll(visit));
  }
  Content& total = content == &Candidate::source ? report_.source : report_.target;
  for (auto& [hash, candidate] : candidates_) {
    const auto found = now.find(hash);
    const Content read = found == now.end() ? Content{} : found->second;
    if (content == &Candidate::source) {
      candidate.moving = !candidate.source_seen.empty() && candidate.source_seen.back() != read;
      if (candidate.source_seen.empty() || candidate.moving) {
        candidate.source_seen.push_back(read);
        if (candidate.source_seen.size() > kSourceStatesKept) {
          candidate.source_seen.erase(candidate.source_seen.begin());
        }
      }
    }
    Replace(total, candidate.*content, read);
  }
  return {};
}

void Comparison::DropSettled() {
  for (auto it = candidates_.begin(); it != candidates_.end();) {
    Candidate& candidate = it->second;
    const auto& seen = candidate.source_seen;
    if (std::find(seen.begin(), seen.end(), candidate.target) == seen.end()) {
      ++it;
      continue;
    }
    // The source may have gone on since; the totals are of the moment when both agreed.
    Replace(report_.source, candidate.source, candidate.target);
    ++report_.reread_keys;
    it = candidates_.erase(it);
  }
}

Status Comparison::Settle(nanoseconds deadline) {
  constexpr nanoseconds kFirstPause = milliseconds(50);
  constexpr nanoseconds kLongestPause = milliseconds(500);
  for (nanoseconds pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    FRESHET_RETURN_IF_ERROR(ReadCandidates(source_, &Candidate::source));
    FRESHET_RETURN_IF_ERROR(ReadCandidates(target_, &Candidate::target));
    DropSettled();
    if (candidates_.empty() || clock_.Monotonic() >= deadline) return {};
    if (!clock_.WaitFor(pause, stop_)) return Fail(ErrorKind::kCancelled, "verify was stopped");
  }
}

/// Names of the columns in which two rows of `schema` differ.
std::vector<std::string> DifferingColumns(const change::TableSchema& schema, const Row& a,
                                          const Row& b) {
  std::vector<std::string> names;
  for (size_t i = 0; i < schema.columns().size(); ++i) {
    if (a.is_null(i) != b.is_null(i) || a.text(i) != b.text(i)) {
      names.push_back(schema.columns()[i].name);
    }
  }
  return names;
}

Status Comparison::DescribeDifferences() {
  std::vector<std::pair<Key, Hash128>> shown;
  for (const auto& [hash, candidate] : candidates_) shown.emplace_back(candidate.key, hash);
  const size_t count = std::min(shown.size(), limits_.differences_shown);
  std::partial_sort(shown.begin(), shown.begin() + static_cast<std::ptrdiff_t>(count), shown.end());
  shown.resize(count);

  // A last reading, for the values: which columns differ is all that is kept of them.
  std::unordered_map<Hash128, Row, HashOfHash128> source_rows;
  std::unordered_map<Hash128, Row, HashOfHash128> target_rows;
  if (has_key() && !shown.empty()) {
    std::vector<Key> keys;
    for (const auto& [key, hash] : shown) keys.push_back(key);
    const auto into = [&](auto& rows) {
      return [&](const Row& row) -> Status {
        rows[HashOfKey(row, schema_.key_columns())] = row;
        return {};
      };
    };
    FRESHET_RETURN_IF_ERROR(source_.ReadKeys(keys, into(source_rows)));
    FRESHET_RETURN_IF_ERROR(target_.ReadKeys(keys, into(target_rows)));
  }

  for (const auto& [key, hash] : shown) {
    const Candidate& candidate = candidates_.at(hash);
    Difference difference{.key = key, .columns = {}, .moving = candidate.moving};
    if (candidate.target.rows == 0) {
      difference.kind = DifferenceKind::kMissing;
    } else if (candidate.source.rows == 0) {
      difference.kind = DifferenceKind::kExtra;
    } else if (candidate.source.rows < candidate.target.rows) {
      difference.kind = DifferenceKind::kDuplicate;
    } else if (candidate.source.rows > candidate.target.rows) {
      difference.kind = DifferenceKind::kMissing;
    } else if (source_rows.contains(hash) && target_rows.contains(hash)) {
      difference.columns = DifferingColumns(schema_, source_rows[hash], target_rows[hash]);
    }
    report_.differences.push_back(std::move(difference));
  }
  return {};
}

Result<TableReport> Comparison::Run() {
  const nanoseconds started = clock_.Monotonic();
  report_.name = schema_.name();
  report_.has_key = has_key();

  std::optional<nanoseconds> deadline;
  while (true) {
    source_buckets_ = {};
    target_buckets_ = {};
    FRESHET_RETURN_IF_ERROR(ReadBuckets(source_, source_buckets_));
    FRESHET_RETURN_IF_ERROR(ReadBuckets(target_, target_buckets_));
    FRESHET_TRY(const bool found_all, FindCandidates());
    if (!deadline) deadline = clock_.Monotonic() + limits_.deadline;
    if (found_all) break;
    // So many keys differ that the target is far behind, or wrong throughout.
    if (clock_.Monotonic() >= *deadline) {
      report_.more_may_differ = true;
      break;
    }
    if (!clock_.WaitFor(milliseconds(500), stop_)) {
      return Fail(ErrorKind::kCancelled, "verify was stopped");
    }
  }
  report_.source = source_buckets_.Total();
  report_.target = target_buckets_.Total();
  if (!candidates_.empty() && !report_.more_may_differ) FRESHET_RETURN_IF_ERROR(Settle(*deadline));
  report_.differing_keys = static_cast<int64_t>(candidates_.size());
  FRESHET_RETURN_IF_ERROR(DescribeDifferences());
  on_rows_(rows_read_);
  report_.took = clock_.Monotonic() - started;
  // The buckets agree as sums; a table that agrees key by key agrees as a whole.
  CHECK(!report_.equal() || report_.source == report_.target);
  return std::move(report_);
}

}  // namespace

std::string_view DifferenceKindName(DifferenceKind kind) {
  switch (kind) {
    case DifferenceKind::kMissing:
      return "missing";
    case DifferenceKind::kExtra:
      return "extra";
    case DifferenceKind::kDifferent:
      return "different";
    case DifferenceKind::kDuplicate:
      return "duplicate";
  }
  return "different";
}

Result<TableReport> CompareTable(const change::TableSchema& schema, Side& source, Side& target,
                                 const CompareLimits& limits, const Clock& clock,
                                 std::stop_token stop, const OnRows& on_rows) {
  return Comparison(schema, source, target, limits, clock, std::move(stop), on_rows).Run();
}

}  // namespace freshet::verify
