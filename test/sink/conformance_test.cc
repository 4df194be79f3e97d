// Every kind of sink goes through the same scenarios. A new sink adds one row to kCases.
// The contract: docs/sink_contract.md.
#include <arrow/api.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "sink/duckdb/duckdb_sink.h"
#include "sink/files/files_sink.h"
#include "sink/registry.h"
#include "support/batches.h"
#include "support/manual_clock.h"
#include "support/temporary_folder.h"

namespace freshet::sink {
namespace {

using change::LogicalKind;
using change::LogicalType;
using change::ReplicaIdentity;
using test::BatchBuilder;
using test::Cell;
using test::Exception;
using test::KeyOnly;
using test::List;
using test::MakeColumn;
using test::MakeItemsSchema;
using test::MakeSchema;
using test::Null;
using test::Row;
using test::Unchanged;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Schema = std::shared_ptr<const change::TableSchema>;
using Batch = std::shared_ptr<const change::ChangeBatch>;

LogicalType ListOf(LogicalKind element) { return {.kind = LogicalKind::kList, .element = element}; }

LogicalType Decimal(int precision, int scale) {
  return {.kind = LogicalKind::kDecimal, .precision = precision, .scale = scale};
}

/// A kind of sink as the suite sees it: a factory configured to keep its target in `folder`.
struct SinkCase {
  const char* name;
  WriteMode mode;
  std::unique_ptr<Factory> (*make)(const std::string& folder);
};

std::unique_ptr<Factory> MakeDuckDb(const std::string& folder) {
  duckdb::Options options;
  options.path = folder + "/warehouse.duckdb";
  return duckdb::MakeFactory(options);
}

/// A buffer of one byte: every Write reaches the target, inside its open transaction.
std::unique_ptr<Factory> MakeUnbufferedDuckDb(const std::string& folder) {
  duckdb::Options options;
  options.path = folder + "/warehouse.duckdb";
  options.buffer = {1};
  return duckdb::MakeFactory(options);
}

std::unique_ptr<Factory> MakeParquet(const std::string& folder) {
  files::Options options;
  options.url = folder + "/lake";
  return files::MakeFactory(options);
}

/// Small files: the larger scenarios are spread over several.
std::unique_ptr<Factory> MakeJsonLines(const std::string& folder) {
  files::Options options;
  options.url = folder + "/lake";
  options.format = files::Format::kJsonLines;
  options.rotate.rows = 50;
  return files::MakeFactory(options);
}

/// Marks what was not sent instead of filling it in.
std::unique_ptr<Factory> MakeMarkingDuckDb(const std::string& folder) { return MakeDuckDb(folder); }

const SinkCase kCases[] = {
    {"DuckDbUpsert", WriteMode::kUpsert, &MakeDuckDb},
    {"DuckDbUpsertUnbuffered", WriteMode::kUpsert, &MakeUnbufferedDuckDb},
    {"DuckDbAppend", WriteMode::kAppend, &MakeDuckDb},
    {"DuckDbAppendMarked", WriteMode::kAppend, &MakeMarkingDuckDb},
    {"Parquet", WriteMode::kAppend, &MakeParquet},
    {"JsonLines", WriteMode::kAppend, &MakeJsonLines},
};

/// A pipeline in small: prepares what is new, drops what was applied, writes, flushes.
class ConformanceTest : public ::testing::TestWithParam<SinkCase> {
 protected:
  ConformanceTest() {
    NewFolder();
    options_.name = "target";
    options_.mode = GetParam().mode;
    if (GetParam().make == &MakeMarkingDuckDb) options_.unchanged = UnchangedPolicy::kMark;
  }

  /// Opens the target, as a new process would. A sink still open is dropped without Close(), which
  /// is what a kill does to it.
  void Open() {
    sink_.reset();
    sink_ = factory_->MakeSink(options_, clock_);
    const auto position = sink_->Open({});
    ASSERT_TRUE(position.has_value()) << position.error();
    resumed_ = *position;
    written_ = position->value_or(StoredPosition{});
    prepared_.clear();
  }

  /// Starts over with an empty target.
  void NewFolder() {
    sink_.reset();
    folder_.emplace();
    factory_ = GetParam().make(folder_->path().string());
  }

  Status TryWrite(const Batch& batch) {
    const Batch rest = change::DropApplied(batch, written_.position);
    if (rest == nullptr) return {};
    for (const change::TableChanges& changes : rest->tables) {
      if (!prepared_.insert(changes.schema->fingerprint()).second) continue;
      FRESHET_RETURN_IF_ERROR(sink_->Prepare(*changes.schema));
    }
    StoredPosition behind = written_;
    behind.source = "1/shop";
    behind.log_id = "log";
    ++behind.log_offset;
    for (const change::Transaction& t : rest->transactions) {
      if (t.ends) behind.position = PositionBehind(t);
    }
    FRESHET_RETURN_IF_ERROR(sink_->Write(rest, behind));
    written_ = behind;
    return {};
  }

  void Write(const Batch& batch) {
    const Status status = TryWrite(batch);
    ASSERT_TRUE(status.has_value()) << status.error();
  }

  void Flush() {
    const auto flushed = sink_->Flush();
    ASSERT_TRUE(flushed.has_value()) << flushed.error();
    EXPECT_EQ(flushed->position, written_.position);
  }

  void Apply(const Batch& batch) {
    Write(batch);
    Flush();
  }

  /// One transaction that inserts `rows`, which is how most targets begin here.
  void ApplyInserts(const Schema& schema, const std::vector<Row>& rows) {
    BatchBuilder builder;
    builder.Begin(100);
    for (const Row& row : rows) builder.Insert(schema, row);
    Apply(builder.Build());
  }

  /// The table's rows as the target's reader gives them; `_cdc_exceptions` stands last.
  Result<std::vector<std::string>> TryRead(const Schema& schema,
                                           const std::shared_ptr<arrow::RecordBatch>& keys = {}) {
    FRESHET_TRY(const auto reader, factory_->MakeReadBack(options_));
    std::vector<std::string> out;
    FRESHET_RETURN_IF_ERROR(
        reader->Scan(*schema, keys, [&](const arrow::RecordBatch& rows) -> Status {
          EXPECT_EQ(rows.num_columns(), schema->arrow_schema()->num_fields() + 1);
          for (int c = 0; c < schema->arrow_schema()->num_fields(); ++c) {
            EXPECT_TRUE(rows.column(c)->type()->Equals(schema->arrow_schema()->field(c)->type()))
                << rows.column(c)->type()->ToString();
          }
          for (std::string& line : test::RowTexts(rows)) out.push_back(std::move(line));
          return {};
        }));
    std::sort(out.begin(), out.end());
    return out;
  }

  std::vector<std::string> Read(const Schema& schema) {
    auto rows = TryRead(schema);
    EXPECT_TRUE(rows.has_value()) << rows.error();
    return rows.has_value() ? *rows : std::vector<std::string>{"unreadable"};
  }

  /// `rows` as Read() would return them.
  static std::vector<std::string> Expected(const Schema& schema, const std::vector<Row>& rows) {
    std::vector<std::string> out = test::RowTexts(*test::MakeRows(*schema, rows));
    for (size_t r = 0; r < rows.size(); ++r) {
      std::string object;
      for (size_t c = 0; c < rows[r].size(); ++c) {
        if (rows[r][c].kind != test::Cell::Kind::kException) continue;
        object += object.empty() ? "{" : ",";
        object += "\"" + schema->columns()[c].name + "\":\"" + rows[r][c].text + "\"";
      }
      out[r] += object.empty() ? " | NULL" : " | " + object + "}";
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  std::optional<test::TemporaryFolder> folder_;
  test::ManualClock clock_;
  SinkOptions options_;
  std::unique_ptr<Factory> factory_;
  std::unique_ptr<Sink> sink_;
  std::optional<StoredPosition> resumed_;
  StoredPosition written_;
  std::set<uint64_t> prepared_;
};

INSTANTIATE_TEST_SUITE_P(Sinks, ConformanceTest, ::testing::ValuesIn(kCases),
                         [](const auto& param) { return std::string(param.param.name); });

// ---- positions

TEST_P(ConformanceTest, NewTargetHasNoPosition) {
  Open();

  EXPECT_EQ(resumed_, std::nullopt);
}

TEST_P(ConformanceTest, FlushedPositionComesBackWhole) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(items, {{"1", "nut", "0.10"}});

  Open();

  ASSERT_TRUE(resumed_.has_value());
  EXPECT_EQ(*resumed_,
            (StoredPosition{
                .source = "1/shop", .log_id = "log", .log_offset = 1, .position = {{100}, 0}}));
  EXPECT_EQ(Read(items), Expected(items, {{"1", "nut", "0.10"}}));
}

TEST_P(ConformanceTest, TransactionsWithoutRowsMoveThePosition) {
  Open();
  Apply(BatchBuilder().Begin(100).Begin(200).Message("audit", "hello").Build());

  Open();

  ASSERT_TRUE(resumed_.has_value());
  EXPECT_EQ(resumed_->position.commit_end, change::Lsn{200});
}

TEST_P(ConformanceTest, FlushWithNothingWrittenKeepsThePosition) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(items, {{"1", "nut", "0.10"}});

  Flush();
  Open();
  Flush();

  EXPECT_EQ(resumed_->position.commit_end, change::Lsn{100});
}

TEST_P(ConformanceTest, CloseDropsWhatWasNotFlushedAndKeepsTheRest) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(items, {{"1", "nut", "0.10"}});
  Write(BatchBuilder().Begin(200).Insert(items, {"2", "bolt", "0.20"}).Build());

  ASSERT_TRUE(sink_->Close().has_value());

  EXPECT_EQ(Read(items), Expected(items, {{"1", "nut", "0.10"}}));
  Open();
  EXPECT_EQ(resumed_->position.commit_end, change::Lsn{100});
}

// ---- restart

/// Three batches; the sink is killed at each point between two calls and opened again; then the
/// caller starts over from the first batch. The target must end the same.
TEST_P(ConformanceTest, KilledAtAnyPointItEndsEqual) {
  const auto items = MakeItemsSchema();
  const std::vector<Batch> batches = {
      BatchBuilder()
          .Begin(100)
          .Insert(items, {"1", "nut", "0.10"})
          .Insert(items, {"2", "bolt", "0.20"})
          .Build(),
      BatchBuilder()
          .Begin(200)
          .Update(items, {"1", "nut, brass", "0.15"})
          .Begin(300)
          .Delete(items, {"2", Null(), Null()})
          .Insert(items, {"3", "screw", "0.30"})
          .Build(),
      BatchBuilder().Begin(400).Insert(items, {"2", "bolt again", "0.25"}).Build(),
  };
  const size_t steps = batches.size() * 2;  // Write, Flush, Write, ...
  for (size_t kill_before = 0; kill_before <= steps; ++kill_before) {
    SCOPED_TRACE(kill_before);
    NewFolder();
    Open();
    const auto run = [&](size_t until) {
      for (size_t step = 0; step < until; ++step) {
        if (step % 2 == 0) {
          Write(batches[step / 2]);
        } else {
          Flush();
        }
      }
    };

    run(kill_before);
    Open();
    run(steps);

    EXPECT_EQ(Read(items), Expected(items, {{"1", "nut, brass", "0.15"},
                                            {"2", "bolt again", "0.25"},
                                            {"3", "screw", "0.30"}}));
    sink_.reset();
  }
}

TEST_P(ConformanceTest, OpenOnTheSameObjectStartsOverAfterAnError) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(items, {{"1", "nut", "0.10"}});
  const Batch second = BatchBuilder().Begin(200).Insert(items, {"2", "bolt", "0.20"}).Build();
  Write(second);

  const auto position = sink_->Open({});  // as the pipeline does after an error
  ASSERT_TRUE(position.has_value()) << position.error();
  prepared_.clear();
  written_ = **position;
  Apply(second);

  EXPECT_EQ((*position)->position.commit_end, change::Lsn{100});
  EXPECT_EQ(Read(items), Expected(items, {{"1", "nut", "0.10"}, {"2", "bolt", "0.20"}}));
}

TEST_P(ConformanceTest, RedeliveredTransactionsAreAppliedOnce) {
  const auto items = MakeItemsSchema();
  Open();
  const Batch batch = BatchBuilder()
                          .Begin(100)
                          .Insert(items, {"1", "nut", "0.10"})
                          .Begin(200)
                          .Insert(items, {"2", "bolt", "0.20"})
                          .Build();
  Apply(batch);

  Open();
  Write(batch);         // wholly behind the position: nothing is left to write
  Apply(BatchBuilder()  // overlaps: the first transaction is known
            .Begin(200)
            .Insert(items, {"2", "bolt", "0.20"})
            .Begin(300)
            .Insert(items, {"3", "screw", "0.30"})
            .Build());

  EXPECT_EQ(Read(items),
            Expected(items, {{"1", "nut", "0.10"}, {"2", "bolt", "0.20"}, {"3", "screw", "0.30"}}));
}

// ---- visibility

TEST_P(ConformanceTest, GiantTransactionIsSeenWholeOrNotAtAll) {
  const auto items = MakeItemsSchema();
  constexpr int kParts = 5;
  constexpr int kRowsAPart = 3'000;
  Open();
  ApplyInserts(items, {{"-1", "before", "0.00"}});

  std::vector<Row> rows = {{"-1", "before", "0.00"}};
  for (int part = 0; part < kParts; ++part) {
    BatchBuilder builder;
    builder.Part(9'000, part == 0, part == kParts - 1, part * kRowsAPart);
    for (int i = 0; i < kRowsAPart; ++i) {
      rows.push_back({std::to_string(part * kRowsAPart + i), "giant", "1.00"});
      builder.Insert(items, rows.back());
    }
    Write(builder.Build());
    EXPECT_EQ(Read(items), Expected(items, {{"-1", "before", "0.00"}}));
  }
  Flush();

  EXPECT_EQ(Read(items), Expected(items, rows));
  Open();
  EXPECT_EQ(resumed_->position.commit_end, change::Lsn{9'000});
}

TEST_P(ConformanceTest, GiantTransactionCutOffIsTakenAgainWhole) {
  const auto items = MakeItemsSchema();
  const auto part = [&](int number, bool ends) {
    const std::string id = std::to_string(number);
    return BatchBuilder()
        .Part(900, number == 0, ends, number * 2)
        .Insert(items, {id, "part", "1.00"})
        .Insert(items, {"10" + id, "part", "2.00"})
        .Build();
  };
  Open();
  Write(part(0, false));
  Write(part(1, false));

  Open();
  EXPECT_EQ(resumed_, std::nullopt);
  for (int i = 0; i < 3; ++i) Write(part(i, i == 2));
  Flush();

  EXPECT_EQ(Read(items), Expected(items, {{"0", "part", "1.00"},
                                          {"100", "part", "2.00"},
                                          {"1", "part", "1.00"},
                                          {"101", "part", "2.00"},
                                          {"2", "part", "1.00"},
                                          {"102", "part", "2.00"}}));
}

TEST_P(ConformanceTest, SnapshotThenStream) {
  const auto items = MakeItemsSchema();
  Open();
  Write(BatchBuilder()
            .Part(500, true, false, 0, change::TransactionKind::kSnapshot)
            .Snapshot(items, {"1", "nut", "0.10"})
            .Snapshot(items, {"2", "bolt", "0.20"})
            .Build());
  Apply(BatchBuilder()
            .Part(500, false, true, 2, change::TransactionKind::kSnapshot)
            .Snapshot(items, {"3", "screw", "0.30"})
            .Build());

  Apply(BatchBuilder()
            .Begin(600)
            .Update(items, {"2", "bolt, long", "0.22"})
            .Delete(items, {"3", Null(), Null()})
            .Build());

  EXPECT_EQ(Read(items), Expected(items, {{"1", "nut", "0.10"}, {"2", "bolt, long", "0.22"}}));
}

TEST_P(ConformanceTest, SnapshotIntoATargetThatHasRowsReplacesThem) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(items, {{"1", "nut", "0.10"}});
  Open();

  Apply(BatchBuilder()
            .Begin(500, change::TransactionKind::kSnapshot)
            .Snapshot(items, {"1", "nut, new", "0.11"})
            .Build());

  EXPECT_EQ(Read(items), Expected(items, {{"1", "nut, new", "0.11"}}));
}

// ---- pieces of snapshots

/// Rows read beside the stream may have been changed by it before they come.
TEST_P(ConformanceTest, PieceOfASnapshotGivesWhatUpdatesDidNotSend) {
  const auto items = MakeItemsSchema();
  for (const bool flush_between : {false, true}) {
    SCOPED_TRACE(flush_between);
    NewFolder();
    Open();
    const auto apply = [&](const Batch& batch) {
      Write(batch);
      if (flush_between) Flush();
    };

    apply(BatchBuilder()
              .Begin(100)
              .Update(items, {"1", Unchanged(), "0.11"})
              .Update(items, {"2", Null(), Null()}, {"20", Unchanged(), "0.22"})
              .Insert(items, {"5", "new", "0.50"})
              .Build());
    apply(BatchBuilder()
              .Piece(100, 1)
              .Snapshot(items, {"1", "long text one", Unchanged()})
              .Snapshot(items, {"20", "long text two", Unchanged()})
              .Snapshot(items, {"3", "three", "0.30"})
              .Build());
    apply(BatchBuilder()
              .Begin(200)
              .Update(items, {"1", Unchanged(), "0.12"})
              .Update(items, {"20", Null(), Null()}, {"21", Unchanged(), "0.23"})
              .Update(items, {"3", Unchanged(), "0.33"})
              .Build());
    Flush();

    EXPECT_EQ(Read(items), Expected(items, {{"1", "long text one", "0.12"},
                                            {"21", "long text two", "0.23"},
                                            {"3", "three", "0.33"},
                                            {"5", "new", "0.50"}}));
  }
}

TEST_P(ConformanceTest, PieceOfASnapshotMayComeTwice) {
  const auto items = MakeItemsSchema();
  for (const bool flush_between : {false, true}) {
    SCOPED_TRACE(flush_between);
    NewFolder();
    Open();
    Write(BatchBuilder().Begin(100).Update(items, {"1", Unchanged(), "0.11"}).Build());
    if (flush_between) Flush();

    for (const uint64_t behind : {100, 200}) {
      Write(BatchBuilder()
                .Piece(behind, 1)
                .Snapshot(items, {"1", "long text", Unchanged()})
                .Snapshot(items, {"2", "two", "0.20"})
                .Build());
      Write(BatchBuilder().Piece(behind, 2).Snapshot(items, {"3", Exception("x"), "0.30"}).Build());
      if (flush_between) Flush();
      Write(BatchBuilder().Begin(behind + 100).Insert(items, {"9", "other", "0"}).Build());
      Write(BatchBuilder().Begin(behind + 101).Delete(items, {"9", Null(), Null()}).Build());
    }
    Flush();

    EXPECT_EQ(Read(items), Expected(items, {{"1", "long text", "0.11"},
                                            {"2", "two", "0.20"},
                                            {"3", Exception("x"), "0.30"}}));
  }
}

TEST_P(ConformanceTest, RowsOfOnePieceFollowThoseOfTheOneBefore) {
  const auto items = MakeItemsSchema();
  Open();
  Write(BatchBuilder().Begin(100).Insert(items, {"7", "seven", "0.70"}).Build());

  Write(BatchBuilder().Piece(100, 1).Snapshot(items, {"1", "before", "0.10"}).Build());
  Write(BatchBuilder().Piece(100, 2).Snapshot(items, {"1", "after", "0.11"}).Build());
  Flush();

  EXPECT_EQ(Read(items), Expected(items, {{"1", "after", "0.11"}, {"7", "seven", "0.70"}}));
}

/// A target stops and goes on between pieces behind one commit: their ordinals tell them apart.
TEST_P(ConformanceTest, PiecesBehindOneCommitAreAppliedOnceEach) {
  const auto items = MakeItemsSchema();
  const auto piece = [&](int64_t n) {
    const std::string id = std::to_string(n);
    return BatchBuilder()
        .Piece(100, n)
        .Snapshot(items, {id, "nut", "0.10"})
        .Snapshot(items, {"1" + id, "bolt", "0.20"})
        .Build();
  };
  Open();
  Apply(BatchBuilder().Begin(100).Insert(items, {"0", "streamed", "1.00"}).Build());
  Apply(piece(1));
  Write(piece(2));
  Flush();

  Open();
  EXPECT_EQ(resumed_->position, (change::Position{{100}, 2}));
  for (int64_t n = 1; n <= 3; ++n) Write(piece(n));
  Apply(BatchBuilder().Begin(200).Delete(items, {"2", Null(), Null()}).Build());

  EXPECT_EQ(Read(items), Expected(items, {{"0", "streamed", "1.00"},
                                          {"1", "nut", "0.10"},
                                          {"11", "bolt", "0.20"},
                                          {"12", "bolt", "0.20"},
                                          {"3", "nut", "0.10"},
                                          {"13", "bolt", "0.20"}}));
}

/// Rows that a piece brings may be there: by the stream, or by the same range read before a
/// crash.
TEST_P(ConformanceTest, PieceReplacesRowsThatAreThere) {
  const auto items = MakeItemsSchema();
  Open();
  Apply(BatchBuilder()
            .Begin(100)
            .Insert(items, {"1", "streamed", "1.00"})
            .Insert(items, {"2", "streamed", "2.00"})
            .Build());
  Apply(BatchBuilder()
            .Piece(100, 1)
            .Snapshot(items, {"1", "read", "1.00"})
            .Snapshot(items, {"3", "read", "3.00"})
            .Build());

  Apply(BatchBuilder().Piece(100, 2).Snapshot(items, {"3", "read again", "3.00"}).Build());

  EXPECT_EQ(Read(items), Expected(items, {{"1", "read", "1.00"},
                                          {"2", "streamed", "2.00"},
                                          {"3", "read again", "3.00"}}));
}

/// As the pipeline empties a table whose rows are read anew: a truncate of ordinal -1 in the
/// piece.
TEST_P(ConformanceTest, TruncateInAPieceEmptiesWhatStoodBefore) {
  const auto items = MakeItemsSchema();
  Open();
  Apply(BatchBuilder().Begin(100).Insert(items, {"1", "streamed", "1.00"}).Build());
  Apply(BatchBuilder().Piece(100, 1).Snapshot(items, {"2", "read", "2.00"}).Build());
  change::ChangeBatch again = *BatchBuilder()
                                   .Piece(100, 2)
                                   .Truncate({items})
                                   .Snapshot(items, {"3", "read anew", "3.00"})
                                   .Build();
  again.tables[0].ordinals = {-1, 0};

  Apply(std::make_shared<const change::ChangeBatch>(again));
  EXPECT_EQ(Read(items), Expected(items, {{"3", "read anew", "3.00"}}));
  Apply(BatchBuilder().Begin(108).Insert(items, {"1", "streamed", "1.50"}).Build());

  EXPECT_EQ(Read(items), Expected(items, {{"1", "streamed", "1.50"}, {"3", "read anew", "3.00"}}));
}

// ---- changes of rows

TEST_P(ConformanceTest, UpdatesComeWithAndWithoutOldTuple) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(items, {{"1", "nut", "0.10"}, {"2", "bolt", "0.20"}, {"3", "screw", Null()}});

  Apply(BatchBuilder()
            .Begin(200)
            .Update(items, {"1", "nut", "0.11"})
            .Update(items, {"2", Null(), Null()}, {"2", "bolt", "0.21"})
            .Update(items, {"3", Null(), "0.30"})
            .Build());

  EXPECT_EQ(Read(items),
            Expected(items, {{"1", "nut", "0.11"}, {"2", "bolt", "0.21"}, {"3", Null(), "0.30"}}));
}

TEST_P(ConformanceTest, KeyChangesMoveTheRow) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(items, {{"1", "nut", "0.10"}, {"2", "bolt", "0.20"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Update(items, {"1", Null(), Null()}, {"10", "nut", "0.10"})
            .Update(items, {"2", Null(), Null()}, {"1", "bolt", "0.20"})  // a key just left
            .Insert(items, {"2", "screw", "0.30"})
            .Begin(300)
            .Update(items, {"10", Null(), Null()}, {"11", "nut", "0.12"})
            .Build());

  EXPECT_EQ(
      Read(items),
      Expected(items, {{"11", "nut", "0.12"}, {"1", "bolt", "0.20"}, {"2", "screw", "0.30"}}));
}

TEST_P(ConformanceTest, KeyDeletedAndInsertedAgainInOneBatch) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(items, {{"1", "nut", "0.10"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Delete(items, {"1", Null(), Null()})
            .Insert(items, {"1", "nut again", "0.20"})
            .Begin(300)
            .Insert(items, {"2", "short life", "0.00"})
            .Delete(items, {"2", Null(), Null()})
            .Build());

  EXPECT_EQ(Read(items), Expected(items, {{"1", "nut again", "0.20"}}));
}

TEST_P(ConformanceTest, CompositeKeysOfManyTypes) {
  const auto table = MakeSchema(
      {"public", "composite"},
      {MakeColumn("region", LogicalKind::kText, true), MakeColumn("note", LogicalKind::kText),
       MakeColumn("day", LogicalKind::kDate, true), MakeColumn("part", LogicalKind::kUuid, true)});
  const std::string a = "00000000-0000-4000-8000-00000000000a";
  const std::string b = "f0000000-0000-4000-8000-00000000000b";
  Open();
  ApplyInserts(table, {{"", "empty text is a key", "2024-02-29", a},
                       {"eu", "one", "2024-02-29", a},
                       {"eu", "two", "2024-02-29", b},
                       {"eu", "three", "1969-12-31", a}});

  Apply(BatchBuilder()
            .Begin(200)
            .Update(table, {"eu", "two!", "2024-02-29", b})
            .Delete(table, {"eu", Null(), "2024-02-29", a})
            .Delete(table, {"", Null(), "2024-02-29", a})
            .Build());

  EXPECT_EQ(Read(table),
            Expected(table, {{"eu", "two!", "2024-02-29", b}, {"eu", "three", "1969-12-31", a}}));
}

TEST_P(ConformanceTest, TruncateEmptiesAllTablesItNamesAndNoOther) {
  const auto items = MakeItemsSchema("items");
  const auto orders = MakeItemsSchema("orders");
  const auto kept = MakeItemsSchema("kept");
  Open();
  Apply(BatchBuilder()
            .Begin(100)
            .Insert(items, {"1", "nut", "0.10"})
            .Insert(orders, {"1", "order", "0.10"})
            .Insert(kept, {"1", "kept", "0.10"})
            .Build());

  Apply(BatchBuilder()
            .Begin(200)
            .Insert(items, {"2", "goes too", "0.20"})
            .Truncate({items, orders})
            .Insert(items, {"1", "after", "0.30"})
            .Begin(300)
            .Update(items, {"1", "after, updated", "0.31"})
            .Build());

  EXPECT_EQ(Read(items), Expected(items, {{"1", "after, updated", "0.31"}}));
  EXPECT_THAT(Read(orders), IsEmpty());
  EXPECT_EQ(Read(kept), Expected(kept, {{"1", "kept", "0.10"}}));
}

// ---- unchanged TOAST

TEST_P(ConformanceTest, ValuesThatWereNotSentStayAsTheyWere) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(
      items,
      {{"1", "long text one", "0.10"}, {"2", "long text two", "0.20"}, {"3", Null(), "0.30"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Update(items, {"1", Unchanged(), "0.11"})
            .Update(items, {"3", Unchanged(), "0.31"})
            .Update(items, {"2", "new text", "0.21"})
            .Update(items, {"2", Unchanged(), "0.22"})
            .Update(items, {"2", Unchanged(), Unchanged()})
            .Insert(items, {"4", "in this batch", "0.40"})
            .Update(items, {"4", Unchanged(), "0.41"})
            .Begin(300)
            .Update(items, {"1", Unchanged(), "0.12"})
            .Build());

  EXPECT_EQ(Read(items), Expected(items, {{"1", "long text one", "0.12"},
                                          {"2", "new text", "0.22"},
                                          {"3", Null(), "0.31"},
                                          {"4", "in this batch", "0.41"}}));
}

TEST_P(ConformanceTest, ValuesThatWereNotSentMoveWithTheKey) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(items, {{"1", "long text one", "0.10"}, {"2", "long text two", "0.20"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Update(items, {"1", Null(), Null()}, {"10", Unchanged(), "0.11"})
            .Update(items, {"10", Null(), Null()}, {"11", Unchanged(), "0.12"})
            .Update(items, {"2", Null(), Null()}, {"1", Unchanged(), "0.21"})
            .Insert(items, {"2", "other", "0.30"})
            .Update(items, {"2", Null(), Null()}, {"3", Unchanged(), "0.31"})
            .Build());

  EXPECT_EQ(Read(items), Expected(items, {{"11", "long text one", "0.12"},
                                          {"1", "long text two", "0.21"},
                                          {"3", "other", "0.31"}}));
}

// ---- tables without a key

TEST_P(ConformanceTest, KeylessTableIsABagOfRows) {
  const auto bag = MakeSchema(
      {"public", "bag"},
      {MakeColumn("a", LogicalKind::kInt32), MakeColumn("b", LogicalKind::kText),
       MakeColumn("c", LogicalType{.kind = LogicalKind::kList, .element = LogicalKind::kInt32})},
      ReplicaIdentity::kFull);
  const Row twin = {"1", "twin", List({"1", Null()})};
  const Row null = {Null(), Null(), Null()};
  Open();
  ApplyInserts(bag, {twin, twin, twin, null, null, {"2", "single", List({})}});

  Apply(BatchBuilder()
            .Begin(200)
            .Delete(bag, twin)
            .Delete(bag, null)
            .Update(bag, {"2", "single", List({})}, {"2", "updated", Unchanged()})
            .Insert(bag, {"3", "short life", Null()})
            .Delete(bag, {"3", "short life", Null()})
            .Begin(300)
            .Update(bag, twin, {"1", "was a twin", Null()})
            .Insert(bag, null)
            .Build());

  EXPECT_EQ(
      Read(bag),
      Expected(bag, {twin, null, null, {"2", "updated", List({})}, {"1", "was a twin", Null()}}));
}

/// One image stands for two equal rows, and between it and the next row lies one that is gone.
TEST_P(ConformanceTest, EqualRowsStayApartFromTheirNeighbours) {
  const auto bag =
      MakeSchema({"public", "bag"}, {MakeColumn("a", LogicalKind::kText)}, ReplicaIdentity::kFull);
  Open();

  Apply(BatchBuilder()
            .Begin(100)
            .Insert(bag, {"twin"})
            .Insert(bag, {"short life"})
            .Insert(bag, {"single"})
            .Insert(bag, {"twin"})
            .Delete(bag, {"short life"})
            .Build());

  EXPECT_EQ(Read(bag), Expected(bag, {{"twin"}, {"twin"}, {"single"}}));
}

TEST_P(ConformanceTest, KeylessRowsAreFoundByExceptionsThatWereNotSent) {
  const auto bag =
      MakeSchema({"public", "bag"},
                 {MakeColumn("big", ListOf(LogicalKind::kInt32)), MakeColumn("d", Decimal(9, 2)),
                  MakeColumn("n", LogicalKind::kInt32)},
                 ReplicaIdentity::kFull);
  const Row before = {Exception("{{1},{2}}"), Exception("NaN"), "1"};
  const Row after = {Exception("{{1},{2}}"), Exception("NaN"), "2"};
  Open();
  Apply(BatchBuilder()
            .Begin(100)
            .Insert(bag, before)
            .Begin(200)
            .Update(bag, before, {Unchanged(), Exception("NaN"), "2"})
            .Build());

  Apply(BatchBuilder().Begin(300).Delete(bag, after).Build());

  EXPECT_THAT(Read(bag), IsEmpty());
}

TEST_P(ConformanceTest, TableWithoutColumnsCountsItsRows) {
  const auto empty = MakeSchema({"public", "empty"}, {}, ReplicaIdentity::kFull);
  Open();
  ApplyInserts(empty, {{}, {}, {}});

  Apply(BatchBuilder().Begin(200).Delete(empty, {}).Build());

  EXPECT_EQ(Read(empty).size(), 2U);
}

TEST_P(ConformanceTest, FullIdentityWithPrimaryKeyIsKeyed) {
  const auto full = MakeSchema(
      {"public", "full"},
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("name", LogicalKind::kText)},
      ReplicaIdentity::kFull);
  Open();
  ApplyInserts(full, {{"1", "one"}, {"2", "two"}, {"3", "three"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Update(full, {"1", "one"}, {"1", "one!"})
            .Update(full, {"2", "two"}, {"20", Unchanged()})
            .Delete(full, {"3", "three"})
            .Build());

  EXPECT_EQ(Read(full), Expected(full, {{"1", "one!"}, {"20", "two"}}));
}

TEST_P(ConformanceTest, TableWithoutIdentityTakesInserts) {
  const auto log = MakeSchema({"public", "log"}, {MakeColumn("line", LogicalKind::kText)},
                              ReplicaIdentity::kNothing);
  Open();
  ApplyInserts(log, {{"same"}, {"same"}});

  EXPECT_EQ(Read(log), Expected(log, {{"same"}, {"same"}}));
}

// ---- types and values

TEST_P(ConformanceTest, EveryTypeComesBackExactly) {
  const auto types = MakeSchema({"public", "types"},
                                {MakeColumn("id", LogicalKind::kInt32, true),
                                 MakeColumn("b", LogicalKind::kBool),
                                 MakeColumn("i2", LogicalKind::kInt16),
                                 MakeColumn("i8", LogicalKind::kInt64),
                                 MakeColumn("oid", LogicalKind::kUInt32),
                                 MakeColumn("f4", LogicalKind::kFloat32),
                                 MakeColumn("f8", LogicalKind::kFloat64),
                                 MakeColumn("d4", Decimal(4, 2)),
                                 MakeColumn("d9", Decimal(9, 0)),
                                 MakeColumn("d18", Decimal(18, 6)),
                                 MakeColumn("d38", Decimal(38, 10)),
                                 MakeColumn("num", LogicalKind::kNumericText),
                                 MakeColumn("t", LogicalKind::kText),
                                 MakeColumn("j", LogicalKind::kJson),
                                 MakeColumn("by", LogicalKind::kBytes),
                                 MakeColumn("day", LogicalKind::kDate),
                                 MakeColumn("tod", LogicalKind::kTime),
                                 MakeColumn("ts", LogicalKind::kTimestamp),
                                 MakeColumn("tz", LogicalKind::kTimestampTz),
                                 MakeColumn("u", LogicalKind::kUuid),
                                 MakeColumn("x", LogicalKind::kExactText),
                                 MakeColumn("li", ListOf(LogicalKind::kInt64)),
                                 MakeColumn("lt", ListOf(LogicalKind::kText)),
                                 MakeColumn("lu", ListOf(LogicalKind::kUuid)),
                                 MakeColumn("lb", ListOf(LogicalKind::kBool)),
                                 MakeColumn("ld", LogicalType{.kind = LogicalKind::kList,
                                                              .precision = 12,
                                                              .scale = 3,
                                                              .element = LogicalKind::kDecimal})});
  const std::string high = "ffffffff-ffff-4fff-bfff-ffffffffffff";
  const std::string low = "00000000-0000-4000-8000-000000000001";
  const Row lowest = {"1",
                      "true",
                      "-32768",
                      "-9223372036854775808",
                      "4294967295",
                      "nan",
                      "inf",
                      "-99.99",
                      "999999999",
                      "-123456789012.345678",
                      "-1234567890123456789012345678.0123456789",
                      "1e-400",
                      "",
                      "{\"a\": [1, null, \"x\"]}",
                      std::string("\0\x01\xff", 3),
                      "0001-01-01",
                      "00:00:00",
                      "0001-01-01 00:00:00",
                      "9999-12-31 23:59:59.999999Z",
                      high,
                      "[1,10)",
                      List({"1", Null(), "-9223372036854775808"}),
                      List({"", "a,b", "\"quoted\"", Null()}),
                      List({high, low}),
                      List({"true", Null(), "false"}),
                      List({"1.500", "-0.001"})};
  const Row highest = {"2",
                       "false",
                       "32767",
                       "9223372036854775807",
                       "0",
                       "-0.5",
                       "-1.7976931348623157e308",
                       "0.01",
                       "-1",
                       "0.000001",
                       "0.0000000001",
                       "0.00",
                       "a text of more than twelve bytes 😀 ünïcode",
                       "null",
                       "",
                       "9999-12-31",
                       "23:59:59.999999",
                       "1969-12-31 23:59:59.999999",
                       "1970-01-01 00:00:00Z",
                       low,
                       "1 day 02:03:04.000005",
                       List({}),
                       List({}),
                       List({}),
                       List({}),
                       List({})};
  Row nulls(lowest.size(), Null());
  nulls[0] = "3";
  Open();

  ApplyInserts(types, {lowest, highest, nulls});

  EXPECT_EQ(Read(types), Expected(types, {lowest, highest, nulls}));
}

TEST_P(ConformanceTest, ExceptionsKeepTheirExactText) {
  const auto table = MakeSchema(
      {"public", "odd"},
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("day", LogicalKind::kDate),
       MakeColumn("amount", Decimal(10, 2)), MakeColumn("note", LogicalKind::kText)});
  Open();
  ApplyInserts(table, {{"1", Exception("infinity"), Exception("NaN"), "both"},
                       {"2", "2024-01-01", Exception("-NaN"), "one"},
                       {"3", "2024-01-01", "1.00", "none"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Update(table, {"2", Exception("-infinity"), "2.00", "moved"})
            .Update(table, {"1", Unchanged(), "5.00", "kept"})
            .Insert(table, {"4", Exception("infinity"), "4.00", "new"})
            .Update(table, {"4", Unchanged(), "6.00", "new"})
            .Build());

  EXPECT_EQ(Read(table), Expected(table, {{"1", Exception("infinity"), "5.00", "kept"},
                                          {"2", Exception("-infinity"), "2.00", "moved"},
                                          {"3", "2024-01-01", "1.00", "none"},
                                          {"4", Exception("infinity"), "6.00", "new"}}));
}

TEST_P(ConformanceTest, KeysToldApartByTheirExceptionOnly) {
  const auto table = MakeSchema(
      {"public", "odd_keys"},
      {MakeColumn("day", LogicalKind::kDate, true), MakeColumn("note", LogicalKind::kText)});
  Open();
  ApplyInserts(table, {{Exception("infinity"), "late"},
                       {Exception("-infinity"), "early"},
                       {"2024-01-01", "ordinary"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Delete(table, {Exception("-infinity"), Null()})
            .Update(table, {Exception("infinity"), Unchanged()})
            .Update(table, {"2024-01-01", Null()}, {Exception("-infinity"), Unchanged()})
            .Build());

  EXPECT_EQ(Read(table), Expected(table, {{Exception("infinity"), "late"},
                                          {Exception("-infinity"), "ordinary"}}));
}

TEST_P(ConformanceTest, ExceptionIsRefusedUnderPolicyFail) {
  options_.exceptions = ExceptionPolicy::kFail;
  const auto items = MakeItemsSchema();
  Open();

  const Status status =
      TryWrite(BatchBuilder().Begin(100).Insert(items, {"1", "nut", Exception("NaN")}).Build());

  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kUnsupported);
  EXPECT_THAT(status.error().message, HasSubstr("public.items"));
  EXPECT_THAT(status.error().message, HasSubstr("amount"));
}

TEST_P(ConformanceTest, NamesOfAnySpelling) {
  const std::vector<std::string> names = {"Upper Case", "quo\"ted", "line\nbreak", "smile 😀",
                                          "select",     "a.b",      "semi;colon",  "per%cent"};
  std::vector<change::Column> columns = {MakeColumn("Id \"x\"", LogicalKind::kInt64, true)};
  for (const std::string& name : names) columns.push_back(MakeColumn(name, LogicalKind::kText));
  const auto odd = MakeSchema({"Odd \"schema\"", "Odd 'table' 😀"}, columns);
  Row row = {"1"};
  for (const std::string& name : names) row.emplace_back("value of " + name);
  Open();
  ApplyInserts(odd, {row});

  Row updated = row;
  updated[1] = "updated";
  Row sent = updated;
  sent[2] = Unchanged();
  Apply(BatchBuilder().Begin(200).Update(odd, sent).Build());

  EXPECT_EQ(Read(odd), Expected(odd, {updated}));
}

/// Names that a target's own SQL uses, for rows and for keys.
TEST_P(ConformanceTest, NamesOfOurOwnStatementsAreNamesLikeAnyOther) {
  const auto columns = [](bool key) {
    return std::vector<change::Column>{
        MakeColumn("rowid", LogicalKind::kInt64, key), MakeColumn("k0", LogicalKind::kText),
        MakeColumn("e0", LogicalKind::kText), MakeColumn("place", LogicalKind::kText)};
  };
  const auto keyed = MakeSchema({"public", "incoming"}, columns(true));
  const auto bag = MakeSchema({"public", "target"}, columns(false), ReplicaIdentity::kFull);
  Open();
  BatchBuilder inserts;
  inserts.Begin(100);
  for (const Schema& schema : {keyed, bag}) {
    inserts.Insert(schema, {"1", "a", "b", "c"}).Insert(schema, {"2", "a", "b", "c"});
  }
  inserts.Insert(bag, {"1", "a", "b", "c"}).Insert(bag, {"1", "x", "y", "z"});
  Apply(inserts.Build());

  Apply(BatchBuilder()
            .Begin(200)
            .Update(keyed, {"1", "new", Unchanged(), "c"})
            .Delete(bag, {"1", "a", "b", "c"})
            .Build());

  EXPECT_EQ(Read(keyed), Expected(keyed, {{"1", "new", "b", "c"}, {"2", "a", "b", "c"}}));
  EXPECT_EQ(Read(bag),
            Expected(bag, {{"1", "a", "b", "c"}, {"2", "a", "b", "c"}, {"1", "x", "y", "z"}}));
}

TEST_P(ConformanceTest, NamesThatDifferByCaseOnlyStayApart) {
  const auto lower = MakeItemsSchema("items");
  const auto upper = MakeItemsSchema("ITEMS");
  const auto columns =
      MakeSchema({"public", "columns"},
                 {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("a", LogicalKind::kText),
                  MakeColumn("A", LogicalKind::kText), MakeColumn("A_2", LogicalKind::kText)});
  Open();
  Apply(BatchBuilder()
            .Begin(100)
            .Insert(lower, {"1", "lower", "0.10"})
            .Insert(upper, {"1", "upper", "0.20"})
            .Insert(columns, {"1", "small", "large", "suffixed"})
            .Build());

  Open();  // the mapping must be found again
  Apply(BatchBuilder()
            .Begin(200)
            .Update(upper, {"1", "upper, updated", "0.20"})
            .Update(columns, {"1", "small", "large, updated", "suffixed"})
            .Build());

  EXPECT_EQ(Read(lower), Expected(lower, {{"1", "lower", "0.10"}}));
  EXPECT_EQ(Read(upper), Expected(upper, {{"1", "upper, updated", "0.20"}}));
  EXPECT_EQ(Read(columns), Expected(columns, {{"1", "small", "large, updated", "suffixed"}}));
}

// ---- schema changes

Schema Version(std::vector<change::Column> columns) {
  return MakeSchema({"public", "evolving"}, std::move(columns));
}

TEST_P(ConformanceTest, AddedColumnIsNullInOldRows) {
  const auto v1 = Version({MakeColumn("id", LogicalKind::kInt64, true)});
  const auto v2 = Version(
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("note", LogicalKind::kText)});
  Open();
  ApplyInserts(v1, {{"1"}});

  // Both versions in one batch, as a DDL in the middle of a backlog brings them.
  Apply(BatchBuilder()
            .Begin(200)
            .Insert(v1, {"2"})
            .Begin(300)
            .Insert(v2, {"3", "with note"})
            .Update(v2, {"1", "noted"})
            .Build());

  EXPECT_EQ(Read(v2), Expected(v2, {{"1", "noted"}, {"2", Null()}, {"3", "with note"}}));
}

/// A column as the catalog knows it.
change::Column Numbered(int16_t attnum, std::string name, LogicalType type, bool key = false) {
  change::Column column = MakeColumn(std::move(name), type, key);
  column.attnum = attnum;
  return column;
}

change::Column Numbered(int16_t attnum, std::string name, LogicalKind kind, bool key = false) {
  return Numbered(attnum, std::move(name), LogicalType{.kind = kind}, key);
}

change::Column WithMissing(change::Column column, std::string text) {
  column.missing_value = std::move(text);
  return column;
}

/// The same default in every type; text as the server writes it, cell as tests do.
TEST_P(ConformanceTest, AddedColumnHoldsItsDefaultInOldRows) {
  struct Default {
    LogicalType type;
    const char* text;
    Cell cell;
  };
  const std::vector<Default> defaults = {
      {{.kind = LogicalKind::kBool}, "t", "true"},
      {{.kind = LogicalKind::kInt32}, "-7", "-7"},
      {{.kind = LogicalKind::kUInt32}, "4294967295", "4294967295"},
      {{.kind = LogicalKind::kFloat64}, "0.1", "0.1"},
      {Decimal(12, 2), "1.50", "1.50"},
      {Decimal(12, 2), "NaN", Exception("NaN")},
      {{.kind = LogicalKind::kText}, "it's \\ \"quoted\"", "it's \\ \"quoted\""},
      {{.kind = LogicalKind::kText}, "", ""},
      {{.kind = LogicalKind::kJson}, R"({"a": 1})", R"({"a": 1})"},
      {{.kind = LogicalKind::kBytes}, "\\x4142", "AB"},
      {{.kind = LogicalKind::kDate}, "2024-02-29", "2024-02-29"},
      {{.kind = LogicalKind::kDate}, "infinity", Exception("infinity")},
      {{.kind = LogicalKind::kTime}, "23:59:59.5", "23:59:59.5"},
      {{.kind = LogicalKind::kTime}, "24:00:00", Exception("24:00:00")},
      {{.kind = LogicalKind::kTimestamp}, "2024-02-29 12:00:00.25", "2024-02-29 12:00:00.25"},
      {{.kind = LogicalKind::kTimestampTz}, "2024-02-29 12:00:00+00", "2024-02-29 12:00:00Z"},
      {{.kind = LogicalKind::kUuid},
       "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
       "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
      {ListOf(LogicalKind::kText), "{a,\"b,c\",NULL,\"NULL\"}", List({"a", "b,c", Null(), "NULL"})},
      {ListOf(LogicalKind::kInt32), "{}", List({})},
      {ListOf(LogicalKind::kInt32), "{{1,2}}", Exception("{{1,2}}")},
  };
  const auto id = [] { return Numbered(1, "id", LogicalKind::kInt64, true); };
  std::vector<change::Column> columns = {id()};
  Row old_row;
  for (const Default& d : defaults) {
    const auto number = static_cast<int16_t>(columns.size() + 1);
    columns.push_back(WithMissing(Numbered(number, "c" + std::to_string(number), d.type), d.text));
    old_row.push_back(d.cell);
  }
  const auto v1 = Version({id()});
  const auto v2 = Version(columns);
  const auto row = [&](const char* key) {
    Row out = old_row;
    out.insert(out.begin(), key);
    return out;
  };
  Row nulls(columns.size(), Null());
  nulls[0] = "4";
  Row updated = row("3");
  updated[1] = "false";
  Open();
  ApplyInserts(v1, {{"1"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Insert(v1, {"2"})
            .Insert(v1, {"3"})
            .Begin(300)
            .Insert(v2, nulls)
            .Update(v2, updated)
            .Build());

  EXPECT_EQ(Read(v2), Expected(v2, {row("1"), row("2"), updated, nulls}));
}

TEST_P(ConformanceTest, SeveralColumnsAddedBetweenTwoRows) {
  const auto id = Numbered(1, "id", LogicalKind::kInt64, true);
  const auto a = WithMissing(Numbered(2, "a", LogicalKind::kInt32), "1");
  const auto b = WithMissing(Numbered(3, "b", LogicalKind::kInt32), "2");
  const auto c = Numbered(4, "c", LogicalKind::kInt32);
  const auto v1 = Version({id});
  const auto v2 = Version({id, a});
  const auto v3 = Version({id, a, b, c});
  for (const bool flush : {false, true}) {
    SCOPED_TRACE(flush);
    NewFolder();
    Open();
    ApplyInserts(v1, {{"1"}, {"2"}});

    Write(BatchBuilder().Begin(200).Update(v1, {"1"}).Insert(v1, {"3"}).Build());
    if (flush) Flush();
    Write(BatchBuilder()
              .Begin(300)
              .Insert(v2, {"4", "10"})
              .Update(v2, {"2", "11"})
              .Insert(v3, {"5", "12", "13", "14"})
              .Update(v3, {"4", "10", "20", "21"})
              .Build());
    Flush();

    EXPECT_EQ(Read(v3), Expected(v3, {{"1", "1", "2", Null()},
                                      {"2", "11", "2", Null()},
                                      {"3", "1", "2", Null()},
                                      {"4", "10", "20", "21"},
                                      {"5", "12", "13", "14"}}));
  }
}

TEST_P(ConformanceTest, RenamedColumnsKeepTheirValues) {
  const auto id = Numbered(1, "id", LogicalKind::kInt64, true);
  const auto v1 =
      Version({id, Numbered(2, "a", LogicalKind::kText), Numbered(3, "b", LogicalKind::kText)});
  const auto v2 = Version(  // a and b change names, which takes three renames
      {id, Numbered(2, "b", LogicalKind::kText), Numbered(3, "a", LogicalKind::kText)});
  const auto v3 =
      Version({id, Numbered(2, "first", LogicalKind::kText), Numbered(3, "a", LogicalKind::kText),
               Numbered(4, "b", LogicalKind::kText)});
  Open();
  ApplyInserts(v1, {{"1", "a1", "b1"}, {"2", "a2", "b2"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Insert(v1, {"3", "a3", "b3"})
            .Update(v2, {"1", "a1'", Unchanged()})
            .Insert(v2, {"4", "a4", "b4"})
            .Build());

  EXPECT_EQ(
      Read(v2),
      Expected(v2, {{"1", "a1'", "b1"}, {"2", "a2", "b2"}, {"3", "a3", "b3"}, {"4", "a4", "b4"}}));
  Open();
  Apply(BatchBuilder()
            .Begin(300)
            .Insert(v3, {"5", "a5", "b5", "c5"})
            .Update(v3, {"2", Unchanged(), "b2'", Null()})
            .Build());

  EXPECT_EQ(Read(v3), Expected(v3, {{"1", "a1'", "b1", Null()},
                                    {"2", "a2", "b2'", Null()},
                                    {"3", "a3", "b3", Null()},
                                    {"4", "a4", "b4", Null()},
                                    {"5", "a5", "b5", "c5"}}));
}

/// The catalog is read when a message comes, and may not have its columns by then.
TEST_P(ConformanceTest, RenameIsFollowedThoughTheNumberWasNotKnownInBetween) {
  const auto version = [](const char* name, int16_t attnum) {
    change::Column column = Numbered(attnum, name, LogicalKind::kText);
    return std::make_shared<const change::TableSchema>(
        change::TableId{20'000}, change::TableName{"public", "evolving"}, ReplicaIdentity::kDefault,
        std::vector<change::Column>{Numbered(1, "id", LogicalKind::kInt64, true), column});
  };
  const Schema known = version("before", 2);
  const Schema unknown = version("before", 0);
  const Schema after = version("after", 2);
  Open();
  ApplyInserts(known, {{"1", "one"}});
  Open();

  Apply(BatchBuilder()
            .Begin(200)
            .Insert(unknown, {"2", "two"})
            .Insert(after, {"3", "three"})
            .Build());

  EXPECT_EQ(Read(after), Expected(after, {{"1", "one"}, {"2", "two"}, {"3", "three"}}));
}

TEST_P(ConformanceTest, ColumnDroppedAndAddedAgainKeepsNoOldValues) {
  const auto id = Numbered(1, "id", LogicalKind::kInt64, true);
  const auto v1 = Version({id, Numbered(2, "note", LogicalKind::kText)});
  const auto v2 = Version({id, WithMissing(Numbered(3, "note", LogicalKind::kText), "default")});
  for (const bool flush : {false, true}) {
    SCOPED_TRACE(flush);
    NewFolder();
    Open();
    ApplyInserts(v1, {{"1", "old"}, {"2", "old"}});

    Write(BatchBuilder().Begin(200).Insert(v1, {"3", "old"}).Update(v1, {"2", "older"}).Build());
    if (flush) Flush();
    Write(BatchBuilder().Begin(300).Insert(v2, {"4", "new"}).Update(v2, {"2", "two"}).Build());
    Flush();

    EXPECT_EQ(Read(v2),
              Expected(v2, {{"1", "default"}, {"2", "two"}, {"3", "default"}, {"4", "new"}}));
  }
}

TEST_P(ConformanceTest, RenamedTableIsFollowed) {
  const auto named = [](const char* schema, const char* name, uint32_t id) {
    return MakeSchema(
        {schema, name},
        {Numbered(1, "id", LogicalKind::kInt64, true), Numbered(2, "note", LogicalKind::kText)},
        ReplicaIdentity::kDefault, id);
  };
  const auto before = named("public", "before", 20'000);
  const auto after = named("public", "after", 20'000);
  const auto moved = named("archive", "after", 20'000);
  Open();
  ApplyInserts(before, {{"1", "one"}, {"2", "two"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Insert(before, {"3", "three"})
            .Insert(after, {"4", "four"})
            .Update(after, {"1", "one'"})
            .Build());

  EXPECT_EQ(Read(after),
            Expected(after, {{"1", "one'"}, {"2", "two"}, {"3", "three"}, {"4", "four"}}));
  EXPECT_FALSE(TryRead(before).has_value() && GetParam().mode == WriteMode::kUpsert &&
               Read(before) != Read(after));
  Open();
  Apply(BatchBuilder().Begin(300).Delete(moved, {"2", Null()}).Build());

  EXPECT_EQ(Read(moved), Expected(moved, {{"1", "one'"}, {"3", "three"}, {"4", "four"}}));
}

TEST_P(ConformanceTest, TablesThatChangeNamesKeepTheirRows) {
  const auto named = [](const char* name, uint32_t id) {
    return MakeSchema(
        {"public", name},
        {Numbered(1, "id", LogicalKind::kInt64, true), Numbered(2, "note", LogicalKind::kText)},
        ReplicaIdentity::kDefault, id);
  };
  Open();
  ApplyInserts(named("a", 20'000), {{"1", "first"}});
  Apply(BatchBuilder().Begin(150).Insert(named("b", 20'001), {"1", "second"}).Build());

  Apply(BatchBuilder()
            .Begin(200)
            .Insert(named("a", 20'001), {"2", "second"})
            .Insert(named("b", 20'000), {"2", "first"})
            .Build());

  const auto a = named("a", 20'001);
  const auto b = named("b", 20'000);
  EXPECT_EQ(Read(a), Expected(a, {{"1", "second"}, {"2", "second"}}));
  EXPECT_EQ(Read(b), Expected(b, {{"1", "first"}, {"2", "first"}}));
}

TEST_P(ConformanceTest, TableMadeAnewUnderTheNameHasNoRowsOfTheFormer) {
  const auto former = MakeSchema(
      {"public", "t"},
      {Numbered(1, "id", LogicalKind::kInt64, true), Numbered(2, "note", LogicalKind::kText)},
      ReplicaIdentity::kDefault, 20'000);
  const auto anew = MakeSchema(
      {"public", "t"},
      {Numbered(1, "note", LogicalKind::kText), Numbered(2, "id", LogicalKind::kInt64, true)},
      ReplicaIdentity::kDefault, 20'001);
  Open();
  ApplyInserts(former, {{"1", "old"}, {"2", "old"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Insert(former, {"3", "old"})
            .Insert(anew, {"new", "1"})
            .Insert(anew, {"new", "7"})
            .Build());

  EXPECT_EQ(Read(anew), Expected(anew, {{"new", "1"}, {"new", "7"}}));
}

/// Each class of change under each policy that is not evolve.
TEST_P(ConformanceTest, ClassesOfChangeMeetTheirPolicy) {
  const auto id = Numbered(1, "id", LogicalKind::kInt64, true);
  const auto note = Numbered(2, "note", LogicalKind::kText);
  const auto size = Numbered(3, "size", LogicalKind::kInt16);
  const auto table = [](std::vector<change::Column> columns, const char* name = "t",
                        uint32_t oid = 20'000) {
    return MakeSchema({"public", name}, std::move(columns), ReplicaIdentity::kDefault, oid);
  };
  const auto v1 = table({id, note, size});
  const std::vector<std::pair<SchemaChange, Schema>> changes = {
      {SchemaChange::kAddColumn, table({id, note, size, Numbered(4, "x", LogicalKind::kText)})},
      {SchemaChange::kDropColumn, table({id, note})},
      {SchemaChange::kRenameColumn, table({id, Numbered(2, "text", LogicalKind::kText), size})},
      {SchemaChange::kChangeType, table({id, note, Numbered(3, "size", LogicalKind::kInt64)})},
      {SchemaChange::kChangeKey, table({Numbered(1, "id", LogicalKind::kInt64), note,
                                        Numbered(3, "size", LogicalKind::kInt16, true)})},
      {SchemaChange::kRenameTable, table({id, note, size}, "renamed")},
      {SchemaChange::kRecreateTable, table({id, note, size}, "t", 20'001)},
  };
  for (const auto& [change, next] : changes) {
    SCOPED_TRACE(SchemaChangeName(change));
    NewFolder();
    options_.schema_changes = SchemaChangePolicies::All(SchemaChangePolicy::kEvolve);
    options_.schema_changes.of[static_cast<size_t>(change)] = SchemaChangePolicy::kFail;
    Open();
    ApplyInserts(v1, {{"1", "one", "1"}});

    const Status refused = sink_->Prepare(*next);

    EXPECT_FALSE(refused.has_value());
    if (refused.has_value()) continue;
    EXPECT_EQ(refused.error().kind, ErrorKind::kUnsupported);
    EXPECT_THAT(refused.error().message, HasSubstr(std::string(SchemaChangeName(change))));

    // Every other class is still followed, and an ignored one stops nothing.
    options_.schema_changes.of[static_cast<size_t>(change)] = SchemaChangePolicy::kIgnore;
    Open();
    EXPECT_TRUE(sink_->Prepare(*next).has_value());
    Row row = {"2", "two", "2"};
    row.resize(next->columns().size(), "more");
    BatchBuilder more;
    more.Begin(200).Insert(next, row);
    Apply(more.Build());
    EXPECT_TRUE(TryRead(next).has_value());
  }
}

TEST_P(ConformanceTest, SchemaChangeBehindDeletesOfTheSameFlush) {
  const auto v1 = Version({MakeColumn("id", LogicalKind::kInt64, true)});
  const auto v2 = Version(
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("note", LogicalKind::kText)});
  Open();
  ApplyInserts(v1, {{"1"}, {"2"}, {"3"}});

  Write(BatchBuilder().Begin(200).Delete(v1, {"1"}).Update(v1, {"2"}, {"20"}).Build());
  Write(BatchBuilder().Begin(300).Insert(v2, {"4", "new"}).Delete(v2, {"3", Null()}).Build());
  Flush();

  EXPECT_EQ(Read(v2), Expected(v2, {{"20", Null()}, {"4", "new"}}));
}

TEST_P(ConformanceTest, DroppedColumnIsNoLongerWritten) {
  const auto v1 = Version(
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("note", LogicalKind::kText)});
  const auto v2 = Version({MakeColumn("id", LogicalKind::kInt64, true)});
  Open();
  ApplyInserts(v1, {{"1", "kept"}});
  Open();

  Apply(BatchBuilder().Begin(200).Insert(v2, {"2"}).Update(v2, {"1"}).Build());

  EXPECT_EQ(Read(v2), Expected(v2, {{"1"}, {"2"}}));
}

/// Of a message that is older than the catalog, the numbers of columns are not known.
TEST_P(ConformanceTest, RenamedColumnWithoutANumberIsDropAndAdd) {
  const auto unnumbered = [](const char* name) {
    return std::make_shared<const change::TableSchema>(
        change::TableId{20'000}, change::TableName{"public", "evolving"}, ReplicaIdentity::kDefault,
        std::vector<change::Column>{MakeColumn("id", LogicalKind::kInt64, true),
                                    MakeColumn(name, LogicalKind::kText)});
  };
  const Schema v1 = unnumbered("before");
  const Schema v2 = unnumbered("after");
  Open();
  ApplyInserts(v1, {{"1", "old"}});

  Apply(BatchBuilder().Begin(200).Insert(v2, {"2", "new"}).Build());

  EXPECT_EQ(Read(v2), Expected(v2, {{"1", Null()}, {"2", "new"}}));
}

TEST_P(ConformanceTest, WidenedColumnKeepsItsValues) {
  const auto v1 =
      Version({MakeColumn("id", LogicalKind::kInt32, true), MakeColumn("n", LogicalKind::kInt16),
               MakeColumn("f", LogicalKind::kFloat32), MakeColumn("d", Decimal(6, 2))});
  const auto v2 =
      Version({MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("n", LogicalKind::kInt64),
               MakeColumn("f", LogicalKind::kFloat64), MakeColumn("d", Decimal(20, 4))});
  Open();
  ApplyInserts(v1, {{"1", "7", "0.5", "12.34"}, {"2", "8", "0.25", "-9999.99"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Insert(v1, {"3", "9", "1.5", "1.00"})
            .Begin(300)
            .Insert(v2, {"4000000000", "5000000000", "1e300", "1234567890123456.0001"})
            .Update(v2, {"1", "70", "0.5", "12.3456"})
            .Build());

  EXPECT_EQ(Read(v2),
            Expected(v2, {{"1", "70", "0.5", "12.3456"},
                          {"2", "8", "0.25", "-9999.9900"},
                          {"3", "9", "1.5", "1.0000"},
                          {"4000000000", "5000000000", "1e300", "1234567890123456.0001"}}));
}

TEST_P(ConformanceTest, RetypedColumnThatDoesNotFitBeginsAnew) {
  const auto v1 = Version(
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("value", LogicalKind::kText)});
  const auto v2 = Version(
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("value", LogicalKind::kDate)});
  Open();
  ApplyInserts(v1, {{"1", "text"}});

  Apply(BatchBuilder().Begin(200).Insert(v2, {"2", "2024-02-29"}).Build());
  Open();
  Apply(BatchBuilder().Begin(300).Insert(v2, {"3", "2024-03-01"}).Build());

  EXPECT_EQ(Read(v2), Expected(v2, {{"1", Null()}, {"2", "2024-02-29"}, {"3", "2024-03-01"}}));
}

TEST_P(ConformanceTest, ChangeOfTheKeyColumns) {
  const auto v1 =
      Version({MakeColumn("a", LogicalKind::kInt64, true), MakeColumn("b", LogicalKind::kInt64)});
  const auto v2 =
      Version({MakeColumn("a", LogicalKind::kInt64), MakeColumn("b", LogicalKind::kInt64, true)});
  Open();
  ApplyInserts(v1, {{"1", "10"}, {"2", "20"}});

  Apply(BatchBuilder()
            .Begin(200)
            .Update(v1, {"2", "21"})
            .Begin(300)
            .Update(v2, {"5", "10"})
            .Delete(v2, {Null(), "21"})
            .Build());

  if (GetParam().mode == WriteMode::kAppend) return;  // a changelog is folded by one key
  EXPECT_EQ(Read(v2), Expected(v2, {{"5", "10"}}));
}

TEST_P(ConformanceTest, PolicyFailRefusesEverySchemaChangeButAnAddedColumn) {
  options_.schema_changes = SchemaChangePolicies::All(SchemaChangePolicy::kFail);
  const auto v1 = Version(
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("note", LogicalKind::kText)});
  const auto added =
      Version({MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("note", LogicalKind::kText),
               MakeColumn("more", LogicalKind::kText)});
  const auto dropped = Version(
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("more", LogicalKind::kText)});
  const auto retyped =
      Version({MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("note", LogicalKind::kInt64),
               MakeColumn("more", LogicalKind::kText)});
  Open();
  ApplyInserts(v1, {{"1", "x"}});
  Apply(BatchBuilder().Begin(200).Insert(added, {"2", "y", "z"}).Build());

  for (const Schema& schema : {dropped, retyped}) {
    const Status status = sink_->Prepare(*schema);

    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().kind, ErrorKind::kUnsupported);
    EXPECT_THAT(status.error().message, HasSubstr("public.evolving"));
    EXPECT_THAT(status.error().message, HasSubstr("note"));
    Open();
  }
  EXPECT_EQ(Read(added), Expected(added, {{"1", "x", Null()}, {"2", "y", "z"}}));
}

// ---- reading back

TEST_P(ConformanceTest, ReadingIsLimitedToTheKeysAskedFor) {
  const auto items = MakeItemsSchema();
  const auto key_schema =
      MakeSchema({"public", "items"}, {MakeColumn("id", LogicalKind::kInt64, true)});
  Open();
  BatchBuilder builder;
  builder.Begin(100);
  for (int i = 0; i < 100; ++i) builder.Insert(items, {std::to_string(i), "item", "1.00"});
  Apply(builder.Build());

  const auto rows = TryRead(items, test::MakeRows(*key_schema, {{"7"}, {"42"}, {"100"}}));

  ASSERT_TRUE(rows.has_value()) << rows.error();
  EXPECT_EQ(*rows, Expected(items, {{"7", "item", "1.00"}, {"42", "item", "1.00"}}));
}

TEST_P(ConformanceTest, ReadingATableThatIsNotThereIsNotFound) {
  const auto items = MakeItemsSchema();
  Open();
  ApplyInserts(items, {{"1", "nut", "0.10"}});

  const auto rows = TryRead(MakeItemsSchema("absent"));

  ASSERT_FALSE(rows.has_value());
  EXPECT_EQ(rows.error().kind, ErrorKind::kNotFound);
}

TEST_P(ConformanceTest, DescribeNamesTargetAndGuarantee) {
  Open();

  const Description description = sink_->Describe();

  EXPECT_THAT(description.target, HasSubstr(folder_->path().string()));
  EXPECT_THAT(description.guarantee, HasSubstr("exactly once"));
}

// ---- anything at all

/// Random changes of one table beside a model of it; a batch is one transaction.
class RandomTraffic {
 public:
  RandomTraffic(Schema schema, unsigned seed) : schema_(std::move(schema)), random_(seed) {}

  bool OneIn(int n) { return Pick(n) == 0; }

  Batch NextBatch() {
    BatchBuilder builder;
    builder.Begin(end_lsn_ += 100);
    for (int i = 1 + Pick(20); i > 0; --i) AddChange(builder);
    return builder.Build();
  }

  std::vector<Row> rows() const {
    std::vector<Row> out;
    for (const auto& [key, row] : model_) out.push_back(row);
    return out;
  }

 private:
  static constexpr int kKeys = 12;

  int Pick(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

  void AddChange(BatchBuilder& builder) {
    const std::string key = std::to_string(Pick(kKeys));
    const Row fresh = {key, "text " + std::to_string(random_()), std::to_string(Pick(99)) + ".00"};
    const auto at = model_.find(key);
    if (at == model_.end()) {
      builder.Insert(schema_, fresh);
      model_[key] = fresh;
      return;
    }
    Row& row = at->second;
    Row sent = fresh;
    switch (Pick(5)) {
      case 0:
        builder.Delete(schema_, KeyOnly(*schema_, row));
        model_.erase(at);
        return;
      case 1:
        sent[1] = Unchanged();
        builder.Update(schema_, sent);
        row[2] = fresh[2];
        return;
      case 2: {
        const std::string other = std::to_string(Pick(kKeys));
        if (model_.contains(other)) return;
        sent = row;
        sent[0] = other;
        model_[other] = sent;
        if (OneIn(2)) sent[1] = Unchanged();
        builder.Update(schema_, KeyOnly(*schema_, row), sent);
        model_.erase(key);
        return;
      }
      case 3:
        if (!OneIn(10)) return;
        builder.Truncate({schema_});
        model_.clear();
        return;
      default:
        builder.Update(schema_, fresh);
        row = fresh;
    }
  }

  Schema schema_;
  std::mt19937 random_;
  uint64_t end_lsn_ = 1'000;
  std::map<std::string, Row> model_;
};

TEST_P(ConformanceTest, RandomChangesWithRandomKillsEndEqual) {
  const auto items = MakeItemsSchema();
  for (const unsigned seed : {1U, 2U}) {
    SCOPED_TRACE(seed);
    NewFolder();
    Open();
    RandomTraffic traffic(items, seed);
    std::vector<Batch> unflushed;
    for (int step = 0; step < 30; ++step) {
      unflushed.push_back(traffic.NextBatch());
      Write(unflushed.back());
      if (traffic.OneIn(4)) {
        Open();  // killed: everything since the last flush comes again
        for (const Batch& again : unflushed) Write(again);
      }
      if (traffic.OneIn(3)) {
        Flush();
        unflushed.clear();
      }
    }
    Flush();
    EXPECT_EQ(Read(items), Expected(items, traffic.rows()));
    sink_.reset();
  }
}

}  // namespace
}  // namespace freshet::sink
