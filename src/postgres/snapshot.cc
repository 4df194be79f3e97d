#include "postgres/snapshot.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/check.h"
#include "base/mutex.h"
#include "base/queue.h"
#include "postgres/copy_text.h"

namespace freshet::postgres {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

namespace {

constexpr int64_t kBlockBytes = 8'192;
constexpr int64_t kMaxWorkers = 64;

/// The first session waits longer for a lock: nobody waits for it yet.
constexpr milliseconds kLaterLockTimeout{1'000};

/// A run of blocks of one table: what one COPY reads.
struct Range {
  size_t source = 0;
  int64_t first_block = 0;
  int64_t end_block = -1;  ///< -1: to the end
  bool first = true;       ///< of its table
};

/// What a worker hands over: a part of a table, or why it gave up.
struct Item {
  std::optional<change::TableChanges> part;
  std::optional<Error> error;
};

std::string QuotedName(const change::TableName& name) {
  return Connection::QuoteIdentifier(name.schema) + "." + Connection::QuoteIdentifier(name.table);
}

std::string CopySql(const SnapshotSource& source, const Range& range) {
  std::string columns;
  for (const change::Column& column : source.schema->columns()) {
    if (!columns.empty()) columns += ", ";
    columns += Connection::QuoteIdentifier(column.name);
  }
  const std::string name = QuotedName(source.table.name);
  std::vector<std::string> conditions;
  if (!source.row_filter.empty()) conditions.push_back("(" + source.row_filter + ")");
  if (range.first_block > 0)
    conditions.push_back(fmt::format("ctid >= '({},0)'", range.first_block));
  if (range.end_block >= 0) conditions.push_back(fmt::format("ctid < '({},0)'", range.end_block));
  const auto& all = source.schema->columns();
  const bool generated = std::any_of(all.begin(), all.end(),
                                     [](const change::Column& column) { return column.generated; });
  // COPY of a table takes no generated column (published ones, 18), a SELECT does.
  if (conditions.empty() && !source.table.partitioned && !columns.empty() && !generated) {
    return fmt::format("COPY {} ({}) TO STDOUT", name, columns);
  }
  std::string sql = fmt::format("COPY (SELECT {} FROM {}{}", columns,
                                source.table.partitioned ? "" : "ONLY ", name);
  for (size_t i = 0; i < conditions.size(); ++i) {
    sql += (i == 0 ? " WHERE " : " AND ") + conditions[i];
  }
  return sql + ") TO STDOUT";
}

}  // namespace

class SnapshotReader::Impl {
 public:
  Impl(const Options& options, std::vector<Connection> sessions)
      : batch_rows_(options.batch_rows),
        batch_bytes_(options.batch_bytes.bytes),
        invalid_text_(options.invalid_text),
        sessions_(std::move(sessions)),
        items_(sessions_.size()) {}

  ~Impl() {
    for (std::jthread& worker : workers_) worker.request_stop();
    items_.Close();
  }

  Status Start(std::vector<SnapshotSource> sources, std::stop_token stop) {
    CHECK(workers_.empty());
    sources_ = std::move(sources);
    std::vector<int64_t> blocks(sources_.size());
    std::vector<SnapshotTable> progress;
    for (size_t i = 0; i < sources_.size(); ++i) {
      FRESHET_TRY(blocks[i], Blocks(sources_[i].table, stop));
      progress.push_back({.name = sources_[i].table.name,
                          .state = SnapshotState::kReading,
                          .bytes_estimated = blocks[i] * kBlockBytes});
      Divide(i, blocks[i]);
    }
    // The longest first, so that the workers end together.
    std::vector<int64_t> left_of_table(sources_.size());
    for (const Range& range : ranges_) ++left_of_table[range.source];
    std::stable_sort(ranges_.begin(), ranges_.end(), [&](const Range& a, const Range& b) {
      return blocks[a.source] > blocks[b.source];
    });
    ranges_left_ = ranges_.size();
    {
      const MutexLock lock(mutex_);
      progress_ = std::move(progress);
      left_of_table_ = std::move(left_of_table);
    }
    for (Connection& session : sessions_) {
      workers_.emplace_back(
          [this, &session](std::stop_token worker_stop) { Work(session, worker_stop); });
    }
    return {};
  }

  Result<std::optional<change::TableChanges>> Next(int64_t first_ordinal,
                                                   std::chrono::nanoseconds timeout,
                                                   std::stop_token stop) {
    if (finished()) return std::optional<change::TableChanges>();
    std::optional<Item> item = items_.PopFor(timeout, stop);
    if (stop.stop_requested()) return Fail(ErrorKind::kCancelled, "stopped");
    if (!item.has_value()) return std::optional<change::TableChanges>();
    if (item->error.has_value()) return Fail(std::move(*item->error));
    for (int64_t& ordinal : item->part->ordinals) ordinal += first_ordinal;
    return std::move(item->part);
  }

  bool finished() const { return ranges_left_.load() == 0 && items_.size() == 0; }

  std::vector<SnapshotTable> progress() const {
    const MutexLock lock(mutex_);
    return progress_;
  }

 private:
  /// Blocks of a table now, at least those of the snapshot. Partitions are counted together.
  Result<int64_t> Blocks(const CatalogTable& table, std::stop_token stop) {
    FRESHET_TRY(
        const Rows rows,
        sessions_.front().Query(
            fmt::format("WITH RECURSIVE tree(id) AS (SELECT {}::oid UNION ALL SELECT inhrelid FROM"
                        " pg_inherits JOIN tree ON inhparent = id AND {}) "
                        "SELECT sum(pg_relation_size(id)) / {} FROM tree",
                        table.id.value, table.partitioned, kBlockBytes),
            stop));
    return rows.integer(0, 0);
  }

  void Divide(size_t source, int64_t blocks) {
    const bool divisible =
        !sources_[source].table.partitioned && sessions_.front().server_major() >= 14;
    int64_t first = 0;
    while (divisible && blocks - first > 2 * kBlocksPerRange) {
      ranges_.push_back({source, first, first + kBlocksPerRange, first == 0});
      first += kBlocksPerRange;
    }
    ranges_.push_back({source, first, -1, first == 0});
  }

  void Work(Connection& session, std::stop_token stop) {
    for (;;) {
      const size_t index = next_range_.fetch_add(1);
      if (index >= ranges_.size()) return;
      const Status status = Copy(session, ranges_[index], stop);
      if (!status.has_value()) {
        const change::TableName& name = sources_[ranges_[index].source].table.name;
        items_.Push({.part = {},
                     .error = Error{status.error().kind, "snapshot of " + ToString(name) + ": " +
                                                             status.error().message}},
                    stop);
        return;
      }
      {
        const MutexLock lock(mutex_);
        const size_t source = ranges_[index].source;
        if (--left_of_table_[source] == 0) {
          progress_[source].state = SnapshotState::kFinished;
          progress_[source].done = true;
        }
      }
      ranges_left_.fetch_sub(1);
    }
  }

  Status Copy(Connection& session, const Range& range, std::stop_token stop) {
    const SnapshotSource& source = sources_[range.source];
    FRESHET_RETURN_IF_ERROR(session.StartCopyOut(CopySql(source, range), stop));
    CopyTextReader reader(source.schema, {session.converter(), invalid_text_});
    CopyMessage row;
    bool emitted = false;
    for (;;) {
      FRESHET_TRY(const bool more, session.ReadCopy(row, stop));
      if (more) {
        const auto bytes = row.bytes();
        FRESHET_RETURN_IF_ERROR(
            reader.Add({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
        if (reader.rows() < batch_rows_ && reader.bytes() < batch_bytes_) continue;
      }
      // A table without rows is announced by one empty part.
      if (reader.rows() == 0 && (emitted || !range.first)) return {};
      FRESHET_RETURN_IF_ERROR(HandOver(reader, range.source, stop));
      emitted = true;
      if (!more) return {};
    }
  }

  Status HandOver(CopyTextReader& reader, size_t source, std::stop_token stop) {
    const int64_t rows = reader.rows();
    const int64_t bytes = reader.bytes();
    FRESHET_TRY(change::TableChanges part, reader.Finish(0));
    if (!items_.Push({.part = std::move(part), .error = {}}, stop)) {
      return Fail(ErrorKind::kCancelled, "stopped");
    }
    const MutexLock lock(mutex_);
    progress_[source].rows_copied += rows;
    progress_[source].bytes_copied += bytes;
    return {};
  }

  const int64_t batch_rows_;
  const int64_t batch_bytes_;
  const InvalidText invalid_text_;
  std::vector<Connection> sessions_;  ///< each used by its worker once those run
  std::vector<SnapshotSource> sources_;
  std::vector<Range> ranges_;
  std::atomic<size_t> next_range_{0};
  std::atomic<size_t> ranges_left_{1};  ///< counted down after the last part was pushed
  Queue<Item> items_;
  mutable Mutex mutex_;
  std::vector<SnapshotTable> progress_ GUARDED_BY(mutex_);
  std::vector<int64_t> left_of_table_ GUARDED_BY(mutex_);  ///< ranges
  std::vector<std::jthread> workers_;                      ///< last: joined first
};

SnapshotReader::SnapshotReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SnapshotReader::~SnapshotReader() = default;

Result<std::unique_ptr<SnapshotReader>> SnapshotReader::Import(const Options& options,
                                                               const std::string& snapshot,
                                                               std::span<const CatalogTable> tables,
                                                               std::stop_token stop) {
  std::vector<Connection> sessions;
  std::string seen;
  const int64_t workers = std::clamp<int64_t>(options.snapshot_workers, 1, kMaxWorkers);
  for (int64_t i = 0; i < workers; ++i) {
    FRESHET_TRY(
        Connection session,
        Connection::Connect(
            options.url,
            {.replication = false, .application_name = "freshet snapshot", .settings = {}}, stop));
    FRESHET_TRY(const Rows rows, session.Query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                                               "SET TRANSACTION SNAPSHOT " +
                                                   Connection::QuoteLiteral(snapshot) +
                                                   "; SELECT txid_current_snapshot()",
                                               stop));
    if (i == 0) seen = std::string(rows.at(0, 0));
    if (rows.at(0, 0) != seen) {
      return Fail(ErrorKind::kGap,
                  "two snapshot sessions see different states ({} and {}); connect to the server "
                  "itself, not through a pool of connections",
                  seen, rows.at(0, 0));
    }
    sessions.push_back(std::move(session));
  }
  // In every session: one that locks a table when it comes to read it would wait for somebody who
  // waits for another one of ours, for ever.
  milliseconds patience = duration_cast<milliseconds>(options.snapshot_timeout);
  for (Connection& session : sessions) {
    for (const CatalogTable& table : tables) {
      FRESHET_RETURN_IF_ERROR(session.Execute(
          fmt::format("SET LOCAL lock_timeout = {}; LOCK TABLE {}{} IN ACCESS SHARE MODE",
                      patience.count(), table.partitioned ? "" : "ONLY ", QuotedName(table.name)),
          stop));
    }
    patience = std::min(patience, kLaterLockTimeout);
  }
  return std::unique_ptr<SnapshotReader>(
      new SnapshotReader(std::make_unique<Impl>(options, std::move(sessions))));
}

Status SnapshotReader::Start(std::vector<SnapshotSource> sources, std::stop_token stop) {
  return impl_->Start(std::move(sources), stop);
}

Result<std::optional<change::TableChanges>> SnapshotReader::Next(int64_t first_ordinal,
                                                                 std::chrono::nanoseconds timeout,
                                                                 std::stop_token stop) {
  return impl_->Next(first_ordinal, timeout, stop);
}

bool SnapshotReader::finished() const { return impl_->finished(); }
std::vector<SnapshotTable> SnapshotReader::progress() const { return impl_->progress(); }

}  // namespace freshet::postgres
