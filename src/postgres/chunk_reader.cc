#include "postgres/chunk_reader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <stop_token>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "base/queue.h"
#include "postgres/copy_text.h"
#include "postgres/pgoutput.h"

namespace freshet::postgres {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kBlockBytes = 8'192;

/// All of a table that is no larger is one range of keys.
constexpr int64_t kFewBlocks = 64;

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

/// Whether a key's value is written as the hexadecimal of its bytes: text of a database where it
/// may not be valid.
bool AsBytes(const change::Column& column, bool text_as_bytes) {
  return text_as_bytes && (column.type.kind == change::LogicalKind::kText ||
                           column.type.kind == change::LogicalKind::kExactText);
}

std::string KeyValues(const change::TableSchema& schema, bool text_as_bytes) {
  std::string out;
  for (const int index : schema.key_columns()) {
    const change::Column& column = schema.columns()[static_cast<size_t>(index)];
    const std::string name = Connection::QuoteIdentifier(column.name);
    if (!out.empty()) out += ", ";
    out += AsBytes(column, text_as_bytes)
               ? fmt::format("encode(convert_to({}::text, getdatabaseencoding()), 'hex')", name)
               : name;
  }
  return out;
}

/// "(a, b) > ('1', '2')"
std::string CompareKey(const change::TableSchema& schema, std::string_view comparison,
                       const std::vector<std::string>& key, bool text_as_bytes) {
  std::string values;
  for (size_t i = 0; i < key.size(); ++i) {
    const auto index = static_cast<size_t>(schema.key_columns()[i]);
    const change::Column& column = schema.columns()[index];
    const std::string literal = Connection::QuoteLiteral(key[i]);
    if (!values.empty()) values += ", ";
    values += AsBytes(column, text_as_bytes)
                  ? fmt::format("convert_from(decode({}, 'hex'), getdatabaseencoding())::{}",
                                literal, column.type_name)
                  : literal;
  }
  return fmt::format("({}) {} ({})", KeyColumns(schema), comparison, values);
}

}  // namespace

std::string ChunkCopySql(const ChunkTask& task, const change::TableSchema& schema,
                         const std::vector<std::string>& upto_key, bool text_as_bytes) {
  std::string columns;
  for (const change::Column& column : schema.columns()) {
    if (!columns.empty()) columns += ", ";
    columns += Connection::QuoteIdentifier(column.name);
  }
  std::vector<std::string> conditions;
  if (!task.row_filter.empty()) conditions.push_back("(" + task.row_filter + ")");
  const ChunkRange& range = task.range;
  if (range.by_key) {
    if (!range.after_key.empty())
      conditions.push_back(CompareKey(schema, ">", range.after_key, text_as_bytes));
    if (!upto_key.empty()) conditions.push_back(CompareKey(schema, "<=", upto_key, text_as_bytes));
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
  const bool generated = std::any_of(schema.columns().begin(), schema.columns().end(),
                                     [](const change::Column& column) { return column.generated; });
  // COPY of a table takes no generated column (published ones, 18), a SELECT does.
  if (conditions.empty() && !task.part.partitioned && !columns.empty() && !generated) {
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

  void Start(std::vector<ChunkTask> tasks) {
    CHECK(!tasks.empty());
    {
      const MutexLock lock(mutex_);
      const auto worker = std::find_if(workers_.begin(), workers_.end(),
                                       [](const Worker& each) { return !each.busy; });
      CHECK(worker != workers_.end());
      worker->busy = true;
      worker->give_up = std::stop_source();
      worker->tasks = std::move(tasks);
    }
    given_.notify_all();
  }

  void GiveUp(int64_t id) {
    const MutexLock lock(mutex_);
    for (Worker& worker : workers_) {
      const bool alone = worker.busy && worker.tasks.size() == 1;
      if (alone && worker.tasks.front().id == id) worker.give_up.request_stop();
    }
  }

  ChunkEvent* Front() {
    if (front_.empty()) {
      if (auto bundle = events_.TryPop()) front_ = *std::move(bundle);
    }
    return front_.empty() ? nullptr : &front_.front();
  }

  void Pop() { front_.pop_front(); }

 private:
  using Bundle = std::deque<ChunkEvent>;

  struct Worker {
    bool busy = false;  ///< with `tasks`; all of this but the session under the mutex
    std::vector<ChunkTask> tasks;
    std::stop_source give_up;
    std::unique_ptr<Catalog> catalog;  ///< with the worker's session; none after it broke
    std::jthread thread;
  };

  /// Chunks that are read under one snapshot.
  struct Reading {
    const std::vector<ChunkTask>& tasks;
    std::stop_token stop;
    Bundle bundle;  ///< not pushed yet
    int64_t rows = 0;
    int64_t bytes = 0;
    size_t ended = 0;  ///< chunks whose end is in the bundle, or was pushed
    size_t told = 0;   ///< those whose end was pushed
  };

  void Work(Worker& worker, std::stop_token stop) {
    while (true) {
      std::vector<ChunkTask> tasks;
      std::stop_token give_up;
      {
        MutexLock lock(mutex_);
        if (!given_.wait(lock, stop, [&]() REQUIRES(mutex_) { return worker.busy; })) return;
        tasks = worker.tasks;
        give_up = worker.give_up.get_token();
      }
      Reading reading{.tasks = tasks, .stop = give_up, .bundle = {}};
      const Status status = Read(worker, reading);
      {
        const MutexLock lock(mutex_);
        worker.busy = false;
      }
      if (status.has_value()) continue;
      worker.catalog.reset();  // in the middle of something; the server ends it with the session
      Bundle failed;
      for (size_t i = reading.told; i < tasks.size(); ++i) {
        const Error error{status.error().kind,
                          fmt::format("snapshot of {}: {}", change::ToString(tasks[i].table.name),
                                      status.error().message)};
        failed.push_back(
            ChunkFailed{.id = tasks[i].id, .error = error, .together = tasks.size() > 1});
      }
      if (!events_.Push(std::move(failed), stop)) return;
    }
  }

  Status Read(Worker& worker, Reading& reading) {
    if (worker.catalog == nullptr) {
      FRESHET_TRY(Connection session, Connection::Connect(options_.url,
                                                          {.replication = false,
                                                           .application_name = "freshet snapshot",
                                                           .settings = {}},
                                                          reading.stop));
      worker.catalog = std::make_unique<Catalog>(std::move(session));
    }
    FRESHET_TRY(const std::vector<ChunkOpened> opened, Open(*worker.catalog, reading));
    reading.bundle.assign(opened.begin(), opened.end());
    FRESHET_RETURN_IF_ERROR(Push(reading));
    Connection& session = worker.catalog->connection();
    for (const ChunkOpened& chunk : opened) {
      FRESHET_RETURN_IF_ERROR(ReadRows(session, reading, chunk));
    }
    FRESHET_RETURN_IF_ERROR(session.Execute("COMMIT", reading.stop));
    return Push(reading);
  }

  /// Reads the rows of the next of the chunks.
  Status ReadRows(Connection& session, Reading& reading, const ChunkOpened& opened) {
    const auto begun = clock_.Monotonic();
    const ChunkTask& task = reading.tasks[reading.ended];
    CopyTextReader rows(opened.schema, {session.converter(), options_.invalid_text});
    ChunkEnd end;
    const auto take = [&]() -> Status {
      reading.rows += rows.rows();
      reading.bytes += rows.bytes();
      end.rows += rows.rows();
      end.bytes += rows.bytes();
      FRESHET_TRY(change::TableChanges changes, rows.Finish(0));
      reading.bundle.push_back(ChunkPiece{.id = task.id, .rows = std::move(changes)});
      return {};
    };
    // A file without blocks, measured under the lock and after the snapshot, has no rows for it.
    const bool empty = opened.blocks == 0 && !task.part.partitioned;
    if (!empty) {
      const bool all = opened.blocks <= kFewBlocks && task.range.after_key.empty();
      if (task.range.by_key && !all) {
        FRESHET_TRY(end.last_key, FindEnd(session, task, *opened.schema, reading.stop));
      }
      const bool text_as_bytes = !session.converter()->is_utf8();
      FRESHET_RETURN_IF_ERROR(session.StartCopyOut(
          ChunkCopySql(task, *opened.schema, end.last_key, text_as_bytes), reading.stop));
      for (CopyMessage row;;) {
        FRESHET_TRY(const bool more, session.ReadCopy(row, reading.stop));
        if (!more) break;
        const auto bytes = row.bytes();
        FRESHET_RETURN_IF_ERROR(
            rows.Add({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
        if (reading.rows + rows.rows() < options_.batch_rows &&
            reading.bytes + rows.bytes() < options_.batch_bytes.bytes) {
          continue;
        }
        FRESHET_RETURN_IF_ERROR(take());
        FRESHET_RETURN_IF_ERROR(Push(reading));
      }
    }
    FRESHET_RETURN_IF_ERROR(take());
    end.took = clock_.Monotonic() - begun;
    std::get<ChunkPiece>(reading.bundle.back()).end = std::move(end);
    ++reading.ended;
    return {};
  }

  Result<std::vector<ChunkOpened>> Open(Catalog& catalog, const Reading& reading) {
    Connection& session = catalog.connection();
    std::string relations;
    std::string values;
    for (const ChunkTask& task : reading.tasks) {
      const char* const comma = relations.empty() ? "" : ", ";
      values += fmt::format("{}({}, '{}'::oid, {})", comma, task.id, task.part.id.value,
                            Connection::QuoteLiteral(QuotedName(task.part.name)));
      relations += comma + From(task.part);
    }
    // Neither SET nor LOCK takes the snapshot: the SELECT does, so that it sees what was committed
    // before the locks were had.
    // A sweep reads the whole part under one snapshot, so that it cannot be made smaller.
    const bool sweep = reading.tasks.front().written_since.has_value();
    FRESHET_RETURN_IF_ERROR(session.Execute(
        fmt::format(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = {};"
            " SET LOCAL statement_timeout = {};"
            " SET LOCAL idle_in_transaction_session_timeout = {};"
            " LOCK TABLE {} IN ACCESS SHARE MODE{}",
            kLockTimeout.count(),
            sweep ? 0 : std::chrono::duration_cast<milliseconds>(options_.snapshot_timeout).count(),
            kIdleTimeout.count(), relations, reading.tasks.size() > 1 ? " NOWAIT" : ""),
        reading.stop));
    FRESHET_TRY(
        const Rows rows,
        session.Query(
            fmt::format("SELECT txid_current_snapshot(), (SELECT pg_current_wal_insert_lsn()),"
                        " pg_relation_filenode(relation), pg_relation_size(relation) / {},"
                        " to_regclass(name)::oid = relation "
                        "FROM (VALUES {}) AS chunk(id, relation, name) ORDER BY id",
                        kBlockBytes, values),
            reading.stop));
    FRESHET_TRY(const TxidSnapshot snapshot, TxidSnapshot::Parse(rows.at(0, 0)));
    FRESHET_TRY(const change::Lsn behind, change::ParseLsn(rows.at(0, 1)));
    std::map<change::TableId, std::shared_ptr<const change::TableSchema>> schemas;
    std::vector<change::TableId> ids;
    for (const ChunkTask& task : reading.tasks) {
      if (schemas.try_emplace(task.table.id).second) ids.push_back(task.table.id);
    }
    FRESHET_RETURN_IF_ERROR(catalog.Load(ids, reading.stop));
    std::vector<ChunkOpened> out;
    for (int i = 0; i < rows.size(); ++i) {
      const ChunkTask& task = reading.tasks[static_cast<size_t>(i)];
      if (!rows.boolean(i, 4)) {
        return Fail(ErrorKind::kNotFound, "another table has the name {} by now",
                    change::ToString(task.part.name));
      }
      auto& schema = schemas[task.table.id];
      if (schema == nullptr) {
        FRESHET_TRY(schema, catalog.Resolve(catalog.Describe(task.table, task.columns)));
      }
      if (schema->key_columns().empty()) {
        return Fail(ErrorKind::kUnsupported,
                    "it has no key, so its rows cannot be read beside the stream; give it a "
                    "primary key, or exclude it");
      }
      out.push_back({.id = task.id,
                     .snapshot = snapshot,
                     .behind = behind,
                     .filenode = static_cast<uint32_t>(rows.integer(i, 2)),
                     .blocks = rows.integer(i, 3),
                     .schema = schema});
    }
    return out;
  }

  /// The key of the last row that the chunk takes; empty: it takes all that are left.
  static Result<std::vector<std::string>> FindEnd(Connection& session, const ChunkTask& task,
                                                  const change::TableSchema& schema,
                                                  std::stop_token stop) {
    const bool text_as_bytes = !session.converter()->is_utf8();
    const std::string after =
        task.range.after_key.empty()
            ? ""
            : " WHERE " + CompareKey(schema, ">", task.range.after_key, text_as_bytes);
    FRESHET_TRY(const Rows rows,
                session.Query(fmt::format("SELECT {} FROM {}{} ORDER BY {} OFFSET {} LIMIT 1",
                                          KeyValues(schema, text_as_bytes), From(task.part), after,
                                          KeyColumns(schema), task.range.most_rows - 1),
                              stop));
    std::vector<std::string> out;
    for (int i = 0; rows.size() == 1 && i < rows.columns(); ++i) out.emplace_back(rows.at(0, i));
    return out;
  }

  Status Push(Reading& reading) {
    if (!events_.Push(std::exchange(reading.bundle, {}), reading.stop)) {
      return Fail(ErrorKind::kCancelled, "stopped");
    }
    reading.rows = reading.bytes = 0;
    reading.told = reading.ended;
    return {};
  }

  const Options options_;
  const Clock& clock_;
  mutable Mutex mutex_;
  std::condition_variable_any given_;
  Queue<Bundle> events_;
  Bundle front_;
  std::vector<Worker> workers_;  ///< last: its threads are joined first
};

ChunkReader::ChunkReader(const Options& options, const Clock& clock)
    : impl_(std::make_unique<Impl>(options, clock)) {}

ChunkReader::~ChunkReader() = default;

size_t ChunkReader::idle() const { return impl_->idle(); }
void ChunkReader::Start(std::vector<ChunkTask> tasks) { impl_->Start(std::move(tasks)); }
void ChunkReader::GiveUp(int64_t id) { impl_->GiveUp(id); }
ChunkEvent* ChunkReader::Front() { return impl_->Front(); }
void ChunkReader::Pop() { impl_->Pop(); }

}  // namespace freshet::postgres
