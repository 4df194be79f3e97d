#include "postgres/chunk_reader.h"

#include <algorithm>
#include <condition_variable>
#include <stop_token>
#include <thread>

#include "base/check.h"
#include "base/mutex.h"
#include "base/queue.h"
#include "postgres/copy_text.h"
#include "postgres/pgoutput.h"

namespace freshet::postgres {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kBlockBytes = 8'192;

/// A chunk waits so long for its table's lock: DDL that waits for us makes others wait.
constexpr milliseconds kLockTimeout{1'000};

/// Between the statements of a chunk next to nothing happens, unless this process is stopped.
constexpr milliseconds kIdleTimeout{60'000};

std::string QuotedName(const change::TableName& name) {
  return Connection::QuoteIdentifier(name.schema) + "." + Connection::QuoteIdentifier(name.table);
}

std::string From(const CatalogTable& part) {
  return (part.partitioned ? "" : "ONLY ") + QuotedName(part.name);
}

std::string KeyColumns(const change::TableSchema& schema) {
  std::string out;
  for (const int column : schema.key_columns()) {
    if (!out.empty()) out += ", ";
    out += Connection::QuoteIdentifier(schema.columns()[static_cast<size_t>(column)].name);
  }
  return out;
}

/// "(a, b) > ('1', '2')"
std::string CompareKey(const change::TableSchema& schema, std::string_view comparison,
                       const std::vector<std::string>& key) {
  std::string values;
  for (const std::string& value : key) {
    if (!values.empty()) values += ", ";
    values += Connection::QuoteLiteral(value);
  }
  return fmt::format("({}) {} ({})", KeyColumns(schema), comparison, values);
}

}  // namespace

std::string ChunkCopySql(const ChunkTask& task, const change::TableSchema& schema,
                         const std::vector<std::string>& upto_key) {
  std::string columns;
  for (const change::Column& column : schema.columns()) {
    if (!columns.empty()) columns += ", ";
    columns += Connection::QuoteIdentifier(column.name);
  }
  std::vector<std::string> conditions;
  if (!task.row_filter.empty()) conditions.push_back("(" + task.row_filter + ")");
  const ChunkRange& range = task.range;
  if (range.by_key) {
    if (!range.after_key.empty()) conditions.push_back(CompareKey(schema, ">", range.after_key));
    if (!upto_key.empty()) conditions.push_back(CompareKey(schema, "<=", upto_key));
  } else {
    if (range.blocks.first > 0) {
      conditions.push_back(fmt::format("ctid >= '({},0)'", range.blocks.first));
    }
    if (range.blocks.end < ChunkRange::kOpenEnd) {
      conditions.push_back(fmt::format("ctid < '({},0)'", range.blocks.end));
    }
  }
  if (task.written_since.has_value()) {
    conditions.push_back(fmt::format("pg_catalog.age(xmin) <= pg_catalog.age('{}'::xid)",
                                     static_cast<uint32_t>(*task.written_since)));
  }
  if (conditions.empty() && !task.part.partitioned && !columns.empty()) {
    return fmt::format("COPY {} ({}) TO STDOUT", QuotedName(task.part.name), columns);
  }
  std::string sql = fmt::format("COPY (SELECT {} FROM {}", columns, From(task.part));
  for (size_t i = 0; i < conditions.size(); ++i) {
    sql += (i == 0 ? " WHERE " : " AND ") + conditions[i];
  }
  return sql + ") TO STDOUT";
}

class ChunkReader::Impl {
 public:
  Impl(const Options& options, const Clock& clock)
      : options_(options),
        clock_(clock),
        events_(static_cast<size_t>(options.snapshot_workers)),
        workers_(static_cast<size_t>(options.snapshot_workers)) {
    for (Worker& worker : workers_) {
      worker.thread = std::jthread([this, &worker](std::stop_token stop) { Work(worker, stop); });
    }
  }

  ~Impl() {
    events_.Close();
    for (Worker& worker : workers_) {
      worker.thread.request_stop();
      const MutexLock lock(mutex_);
      worker.give_up.request_stop();
    }
  }

  size_t idle() const {
    const MutexLock lock(mutex_);
    return static_cast<size_t>(std::count_if(workers_.begin(), workers_.end(),
                                             [](const Worker& worker) { return !worker.busy; }));
  }

  void Start(ChunkTask task) {
    {
      const MutexLock lock(mutex_);
      const auto worker = std::find_if(workers_.begin(), workers_.end(),
                                       [](const Worker& each) { return !each.busy; });
      CHECK(worker != workers_.end());
      worker->busy = true;
      worker->give_up = std::stop_source();
      worker->task = std::move(task);
    }
    given_.notify_all();
  }

  void GiveUp(int64_t id) {
    const MutexLock lock(mutex_);
    for (Worker& worker : workers_) {
      if (worker.busy && worker.task.id == id) worker.give_up.request_stop();
    }
  }

  ChunkEvent* Front() {
    if (!front_.has_value()) front_ = events_.TryPop();
    return front_.has_value() ? &*front_ : nullptr;
  }

  void Pop() { front_.reset(); }

 private:
  struct Worker {
    bool busy = false;  ///< with `task`; all of this but the session under the mutex
    ChunkTask task;
    std::stop_source give_up;
    std::unique_ptr<Catalog> catalog;  ///< with the worker's session; none after it broke
    std::jthread thread;
  };

  void Work(Worker& worker, std::stop_token stop) {
    while (true) {
      ChunkTask task;
      std::stop_token give_up;
      {
        MutexLock lock(mutex_);
        if (!given_.wait(lock, stop, [&]() REQUIRES(mutex_) { return worker.busy; })) return;
        task = worker.task;
        give_up = worker.give_up.get_token();
      }
      const Status status = Read(worker, task, give_up);
      {
        const MutexLock lock(mutex_);
        worker.busy = false;
      }
      if (status.has_value()) continue;
      worker.catalog.reset();  // in the middle of something; the server ends it with the session
      const Error error{status.error().kind,
                        fmt::format("snapshot of {}: {}", change::ToString(task.table.name),
                                    status.error().message)};
      if (!events_.Push(ChunkFailed{task.id, error}, stop)) return;
    }
  }

  Status Read(Worker& worker, const ChunkTask& task, std::stop_token stop) {
    const auto begun = clock_.Monotonic();
    if (worker.catalog == nullptr) {
      FRESHET_TRY(Connection session, Connection::Connect(options_.url,
                                                          {.replication = false,
                                                           .application_name = "freshet snapshot",
                                                           .settings = {}},
                                                          stop));
      worker.catalog = std::make_unique<Catalog>(std::move(session));
    }
    FRESHET_TRY(ChunkOpened opened, Open(*worker.catalog, task, stop));
    const std::shared_ptr<const change::TableSchema> schema = opened.schema;
    FRESHET_RETURN_IF_ERROR(Push(std::move(opened), stop));
    Connection& session = worker.catalog->connection();
    ChunkEnd end;
    if (task.range.by_key) {
      FRESHET_TRY(end.last_key, FindEnd(session, task, *schema, stop));
    }
    FRESHET_RETURN_IF_ERROR(session.StartCopyOut(ChunkCopySql(task, *schema, end.last_key), stop));
    CopyTextReader rows(schema);
    CopyMessage row;
    for (bool more = true; more;) {
      FRESHET_TRY(more, session.ReadCopy(row, stop));
      if (more) {
        const auto bytes = row.bytes();
        FRESHET_RETURN_IF_ERROR(
            rows.Add({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
        if (rows.rows() < options_.batch_rows && rows.bytes() < options_.batch_bytes.bytes)
          continue;
      } else {
        FRESHET_RETURN_IF_ERROR(session.Execute("COMMIT", stop));
      }
      end.rows += rows.rows();
      end.bytes += rows.bytes();
      FRESHET_TRY(change::TableChanges changes, rows.Finish(0));
      ChunkPiece piece{.id = task.id, .rows = std::move(changes)};
      if (!more) {
        end.took = clock_.Monotonic() - begun;
        piece.end = end;
      }
      FRESHET_RETURN_IF_ERROR(Push(std::move(piece), stop));
    }
    return {};
  }

  Result<ChunkOpened> Open(Catalog& catalog, const ChunkTask& task, std::stop_token stop) {
    Connection& session = catalog.connection();
    // Neither SET nor LOCK takes the snapshot: the SELECT does, so that it sees what was committed
    // before the lock was had.
    FRESHET_RETURN_IF_ERROR(session.Execute(
        fmt::format("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = {};"
                    " SET LOCAL statement_timeout = {};"
                    " SET LOCAL idle_in_transaction_session_timeout = {};"
                    " LOCK TABLE {} IN ACCESS SHARE MODE",
                    kLockTimeout.count(),
                    std::chrono::duration_cast<milliseconds>(options_.snapshot_timeout).count(),
                    kIdleTimeout.count(), From(task.part)),
        stop));
    FRESHET_TRY(
        const Rows rows,
        session.Query(fmt::format("SELECT txid_current_snapshot(), pg_current_wal_insert_lsn(),"
                                  " pg_relation_filenode({0}), pg_relation_size({0}) / {1},"
                                  " to_regclass({2})::oid",
                                  task.part.id.value, kBlockBytes,
                                  Connection::QuoteLiteral(QuotedName(task.part.name))),
                      stop));
    if (rows.integer(0, 4) != int64_t{task.part.id.value}) {
      return Fail(ErrorKind::kNotFound, "another table has the name {} by now",
                  change::ToString(task.part.name));
    }
    FRESHET_TRY(TxidSnapshot snapshot, TxidSnapshot::Parse(rows.at(0, 0)));
    FRESHET_TRY(const change::Lsn behind, change::ParseLsn(rows.at(0, 1)));
    const change::TableId ids[] = {task.table.id};
    FRESHET_RETURN_IF_ERROR(catalog.Load(ids, stop));
    FRESHET_TRY(auto schema, catalog.Resolve(catalog.Describe(task.table, task.columns)));
    if (schema->key_columns().empty()) {
      return Fail(ErrorKind::kUnsupported,
                  "it has no key, so its rows cannot be read beside the stream; give it a primary "
                  "key, or exclude it");
    }
    return ChunkOpened{.id = task.id,
                       .snapshot = std::move(snapshot),
                       .behind = behind,
                       .filenode = static_cast<uint32_t>(rows.integer(0, 2)),
                       .blocks = rows.integer(0, 3),
                       .schema = std::move(schema)};
  }

  /// The key of the last row that the chunk takes; empty: it takes all that are left.
  static Result<std::vector<std::string>> FindEnd(Connection& session, const ChunkTask& task,
                                                  const change::TableSchema& schema,
                                                  std::stop_token stop) {
    const std::string keys = KeyColumns(schema);
    const std::string after = task.range.after_key.empty()
                                  ? ""
                                  : " WHERE " + CompareKey(schema, ">", task.range.after_key);
    FRESHET_TRY(const Rows rows,
                session.Query(fmt::format("SELECT {0} FROM {1}{2} ORDER BY {0} OFFSET {3} LIMIT 1",
                                          keys, From(task.part), after, task.range.most_rows - 1),
                              stop));
    std::vector<std::string> out;
    for (int i = 0; rows.size() == 1 && i < rows.columns(); ++i) out.emplace_back(rows.at(0, i));
    return out;
  }

  Status Push(ChunkEvent event, std::stop_token stop) {
    if (events_.Push(std::move(event), stop)) return {};
    return Fail(ErrorKind::kCancelled, "stopped");
  }

  const Options options_;
  const Clock& clock_;
  mutable Mutex mutex_;
  std::condition_variable_any given_;
  Queue<ChunkEvent> events_;
  std::optional<ChunkEvent> front_;
  std::vector<Worker> workers_;  ///< last: its threads are joined first
};

ChunkReader::ChunkReader(const Options& options, const Clock& clock)
    : impl_(std::make_unique<Impl>(options, clock)) {}

ChunkReader::~ChunkReader() = default;

size_t ChunkReader::idle() const { return impl_->idle(); }
void ChunkReader::Start(ChunkTask task) { impl_->Start(std::move(task)); }
void ChunkReader::GiveUp(int64_t id) { impl_->GiveUp(id); }
ChunkEvent* ChunkReader::Front() { return impl_->Front(); }
void ChunkReader::Pop() { impl_->Pop(); }

}  // namespace freshet::postgres
