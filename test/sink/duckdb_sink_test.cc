#include "sink/duckdb/duckdb_sink.h"

#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "sink/duckdb/query.h"
#include "sink/duckdb/read_back.h"
#include "support/batches.h"
#include "support/manual_clock.h"
#include "support/temporary_folder.h"

namespace freshet::sink::duckdb {
namespace {

using test::BatchBuilder;
using test::Exception;
using test::MakeItemsSchema;
using test::Null;
using test::Unchanged;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Makes every write beyond `bytes` of a file fail, as a full disk does.
rlimit LimitFileSize(rlim_t bytes) {
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit limited = before;
  limited.rlim_cur = bytes;
  ::setrlimit(RLIMIT_FSIZE, &limited);
  return before;
}

class DuckDbSinkTest : public ::testing::Test {
 protected:
  DuckDbSinkTest() { options_.path = folder_ / "shop.duckdb"; }

  std::unique_ptr<DuckDbSink> MakeSink(WriteMode mode = WriteMode::kUpsert) {
    return std::make_unique<DuckDbSink>(options_, SinkOptions{.name = "warehouse", .mode = mode},
                                        clock_);
  }

  /// Writes whole batches to a sink that is opened for it, and flushes.
  void Apply(WriteMode mode, const std::vector<std::shared_ptr<const change::ChangeBatch>>& all) {
    const auto sink = MakeSink(mode);
    ASSERT_TRUE(sink->Open({}).has_value());
    StoredPosition behind;
    for (const auto& batch : all) {
      for (const auto& table : batch->tables) {
        ASSERT_TRUE(sink->Prepare(*table.schema).has_value());
      }
      if (batch->ends_transaction()) {
        behind.position.commit_end = batch->transactions.back().end_lsn;
      }
      const Status written = sink->Write(batch, behind);
      ASSERT_TRUE(written.has_value()) << written.error();
    }
    const auto flushed = sink->Flush();
    ASSERT_TRUE(flushed.has_value()) << flushed.error();
    ASSERT_TRUE(sink->Close().has_value());
  }

  std::vector<std::string> ReadBackRows(const change::TableSchema& schema, WriteMode mode) {
    std::vector<std::string> out;
    const Status status = DuckDbReadBack(options_.path, mode)
                              .Scan(schema, nullptr, [&](const arrow::RecordBatch& rows) -> Status {
                                for (std::string& line : test::RowTexts(rows)) {
                                  out.push_back(std::move(line));
                                }
                                return {};
                              });
    EXPECT_TRUE(status.has_value()) << status.error();
    std::sort(out.begin(), out.end());
    return out;
  }

  /// The answer of a query as lines, values separated by " | ".
  std::vector<std::string> Ask(const std::string& sql) {
    const auto result = Query(options_.path, sql, {}, false, {});
    EXPECT_TRUE(result.has_value()) << result.error();
    std::vector<std::string> out;
    if (!result.has_value()) return out;
    for (const auto& row : result->rows) {
      std::string line;
      for (const auto& value : row) line += (line.empty() ? "" : " | ") + value.value_or("NULL");
      out.push_back(std::move(line));
    }
    return out;
  }

  Error OpenError() {
    const auto opened = MakeSink()->Open({});
    EXPECT_FALSE(opened.has_value());
    return opened.has_value() ? Error{} : opened.error();
  }

  test::TemporaryFolder folder_;
  test::ManualClock clock_;
  Options options_;
};

// ---- what users see

TEST_F(DuckDbSinkTest, MirrorHasTheSourcesNamesAndTypes) {
  const auto items = MakeItemsSchema();
  Apply(WriteMode::kUpsert, {BatchBuilder().Begin(100).Insert(items, {"1", "nut", "0.1"}).Build()});

  EXPECT_THAT(
      Ask("SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'public' "
          "AND table_name = 'items' ORDER BY column_index"),
      ElementsAre("id | BIGINT", "name | VARCHAR", "amount | DECIMAL(12,2)",
                  "_cdc_exceptions | JSON"));
  EXPECT_THAT(Ask("SELECT sink, commit_end FROM freshet.positions"),
              ElementsAre("warehouse | 100"));
}

TEST_F(DuckDbSinkTest, ChangelogSaysWhatWhenAndWhere) {
  const auto items = MakeItemsSchema();
  Apply(WriteMode::kAppend, {BatchBuilder()
                                 .Begin(108)
                                 .Insert(items, {"1", "nut", Exception("NaN")})
                                 .Update(items, {"1", Null(), Null()}, {"2", Unchanged(), "0.20"})
                                 .Delete(items, {"2", Null(), Null()})
                                 .Truncate({items})
                                 .Build()});

  EXPECT_THAT(
      Ask("SELECT id, name, amount, _cdc_operation, epoch_us(_cdc_timestamp), _cdc_lsn, _cdc_seq, "
          "_cdc_xid, _cdc_exceptions, _cdc_unchanged FROM public.items ORDER BY _cdc_lsn, "
          "_cdc_seq"),
      ElementsAre(
          "1 | nut | NULL | insert | 1700000000000108 | 100 | 0 | 108 | {\"amount\":\"NaN\"} | "
          "NULL",
          "1 | NULL | NULL | update_preimage | 1700000000000108 | 100 | 1 | 108 | NULL | NULL",
          "2 | NULL | 0.20 | update_postimage | 1700000000000108 | 100 | 2 | 108 | NULL | "
          "[\"name\"]",
          "2 | NULL | NULL | delete | 1700000000000108 | 100 | 3 | 108 | NULL | NULL",
          "NULL | NULL | NULL | truncate | 1700000000000108 | 100 | 4 | 108 | NULL | NULL"));
  EXPECT_THAT(Ask("SELECT DISTINCT epoch_us(_ingestion_timestamp) FROM public.items"),
              ElementsAre("1700000000000000"));
}

/// A reader of the changelog alone has every value, as far as any row before had it.
TEST_F(DuckDbSinkTest, ChangelogIsFilledWithValuesThatWereNotSent) {
  const auto items = MakeItemsSchema();
  Apply(WriteMode::kAppend, {BatchBuilder()
                                 .Begin(100)
                                 .Insert(items, {"1", "long one", "0.10"})
                                 .Insert(items, {"2", Exception("exact"), "0.20"})
                                 .Build()});
  Apply(WriteMode::kAppend,
        {BatchBuilder()
             .Begin(200)
             .Update(items, {"1", Unchanged(), "0.11"})
             .Update(items, {"1", Null(), Null()}, {"10", Unchanged(), Unchanged()})
             .Update(items, {"2", Unchanged(), "0.21"})
             .Update(items, {"3", Unchanged(), "0.31"})
             .Begin(300)
             .Update(items, {"10", Unchanged(), "0.12"})
             .Build()});

  EXPECT_THAT(Ask("SELECT _cdc_lsn, _cdc_operation, id, name, amount, _cdc_exceptions, "
                  "_cdc_unchanged FROM public.items WHERE _cdc_lsn > 100 ORDER BY _cdc_lsn, "
                  "_cdc_seq"),
              ElementsAre("192 | update_postimage | 1 | long one | 0.11 | NULL | NULL",
                          "192 | update_preimage | 1 | NULL | NULL | NULL | NULL",
                          "192 | update_postimage | 10 | long one | 0.11 | NULL | NULL",
                          "192 | update_postimage | 2 | NULL | 0.21 | {\"name\":\"exact\"} | NULL",
                          "192 | update_postimage | 3 | NULL | 0.31 | NULL | [\"name\"]",
                          "292 | update_postimage | 10 | long one | 0.12 | NULL | NULL"));
}

TEST_F(DuckDbSinkTest, TwoSinksOfOneProcessShareAFile) {
  const auto items = MakeItemsSchema("items");
  const auto log = MakeItemsSchema("log");
  DuckDbSink first(options_, {.name = "first"}, clock_);
  DuckDbSink second(options_, {.name = "second", .mode = WriteMode::kAppend}, clock_);
  ASSERT_TRUE(first.Open({}).has_value());
  ASSERT_TRUE(second.Open({}).has_value());

  for (auto [sink, schema] : {std::pair(&first, items), std::pair(&second, log)}) {
    ASSERT_TRUE(sink->Prepare(*schema).has_value());
    StoredPosition behind;
    behind.position.commit_end = {100};
    const auto batch = BatchBuilder().Begin(100).Insert(schema, {"1", "nut", "0.10"}).Build();
    ASSERT_TRUE(sink->Write(batch, behind).has_value());
    EXPECT_TRUE(sink->Flush().has_value());
  }

  EXPECT_THAT(Ask("SELECT sink FROM freshet.positions ORDER BY sink"),
              ElementsAre("first", "second"));
}

TEST_F(DuckDbSinkTest, TableOfAnotherSinkIsRefused) {
  const auto items = MakeItemsSchema();
  Apply(WriteMode::kUpsert, {BatchBuilder().Begin(100).Insert(items, {"1", "nut", "1"}).Build()});
  DuckDbSink renamed(options_, {.name = "dwh"}, clock_);
  const auto position = renamed.Open({});
  ASSERT_TRUE(position.has_value() && !position->has_value());

  const Status prepared = renamed.Prepare(*items);

  ASSERT_FALSE(prepared.has_value());
  EXPECT_EQ(prepared.error().kind, ErrorKind::kConfig);
  EXPECT_THAT(prepared.error().message, HasSubstr("its former name"));
}

TEST_F(DuckDbSinkTest, OtherModeThanATableWasWrittenInIsRefused) {
  for (const auto& [before, after] : {std::pair(WriteMode::kUpsert, WriteMode::kAppend),
                                      std::pair(WriteMode::kAppend, WriteMode::kUpsert)}) {
    options_.path = folder_ / (before == WriteMode::kUpsert ? "mirror.duckdb" : "log.duckdb");
    const auto items = MakeItemsSchema();
    Apply(before, {BatchBuilder().Begin(100).Insert(items, {"1", "nut", "1"}).Build()});
    const auto sink = MakeSink(after);
    ASSERT_TRUE(sink->Open({}).has_value());

    const Status prepared = sink->Prepare(*items);

    ASSERT_FALSE(prepared.has_value());
    EXPECT_EQ(prepared.error().kind, ErrorKind::kConfig);
    EXPECT_THAT(prepared.error().message, HasSubstr("set `mode` of sink 'warehouse' back"));
  }
}

TEST_F(DuckDbSinkTest, TwoTablesThatWouldBeOneAreRefused) {
  const auto sink = MakeSink();
  ASSERT_TRUE(sink->Open({}).has_value());
  ASSERT_TRUE(sink->Prepare(*MakeItemsSchema("Items")).has_value());
  ASSERT_TRUE(sink->Prepare(*MakeItemsSchema("items")).has_value());  // items_2

  const Status prepared = sink->Prepare(*MakeItemsSchema("items_2"));

  ASSERT_FALSE(prepared.has_value());
  EXPECT_EQ(prepared.error().kind, ErrorKind::kUnsupported);
  EXPECT_THAT(prepared.error().message, HasSubstr("public.items "));
}

/// The part of a giant transaction ends inside an update of a table that is not its last.
TEST_F(DuckDbSinkTest, UpdateOfOneTableMayBeCutWhileAnotherIsWhole) {
  options_.buffer = {1};
  const auto items = MakeItemsSchema("items");
  const auto others = MakeItemsSchema("others");
  const auto whole = BatchBuilder()
                         .Begin(200)
                         .Insert(others, {"1", "other", "1"})
                         .Update(items, {"1", Null(), Null()}, {"2", "nut", "2"})
                         .Build();
  const auto cut = [&](size_t row, bool ends) {
    auto part = std::make_shared<change::ChangeBatch>(*whole);
    part->transactions[0].begins = !ends;
    part->transactions[0].ends = ends;
    if (!ends) part->transactions[0].end_lsn = {};
    std::swap(part->tables[0], part->tables[1]);  // items first
    if (ends) part->tables.pop_back();
    change::TableChanges& table = part->tables[0];
    table.rows = table.rows->Slice(static_cast<int64_t>(row), 1);
    table.kinds = {table.kinds[row]};
    table.ordinals = {table.ordinals[row]};
    table.transactions = {0};
    return std::shared_ptr<const change::ChangeBatch>(part);
  };

  Apply(WriteMode::kUpsert, {BatchBuilder().Begin(100).Insert(items, {"1", "nut", "1"}).Build(),
                             cut(0, false), cut(1, true)});

  EXPECT_THAT(ReadBackRows(*items, WriteMode::kUpsert), ElementsAre("2 | nut | 2.00 | NULL"));
  EXPECT_THAT(ReadBackRows(*others, WriteMode::kUpsert), ElementsAre("1 | other | 1.00 | NULL"));
}

/// A column is dropped and another made under its name, all in one flush.
TEST_F(DuckDbSinkTest, ValueOfADroppedColumnIsNotTakenForOneOfItsName) {
  const auto version = [](std::vector<change::Column> columns) {
    columns.insert(columns.begin(), test::MakeColumn("id", change::LogicalKind::kInt64, true));
    return test::MakeSchema({"public", "t"}, std::move(columns));
  };
  const auto number = version({test::MakeColumn("x", change::LogicalKind::kInt32)});
  const auto without = version({});
  const auto text = version({test::MakeColumn("x", change::LogicalKind::kText)});

  Apply(WriteMode::kUpsert, {BatchBuilder().Begin(100).Insert(number, {"1", "5"}).Build(),
                             BatchBuilder().Begin(200).Insert(without, {"2"}).Build(),
                             BatchBuilder().Begin(300).Update(text, {"1", Unchanged()}).Build()});

  EXPECT_THAT(ReadBackRows(*text, WriteMode::kUpsert),
              ElementsAre("1 | NULL | NULL", "2 | NULL | NULL"));
}

/// The source rounded what it had; the stream does not say so, and the target kept it.
TEST_F(DuckDbSinkTest, ValueThatANarrowerTypeWouldRoundIsNotReadAsIfItWere) {
  const auto version = [](int precision, int scale) {
    return test::MakeSchema(
        {"public", "t"},
        {test::MakeColumn("id", change::LogicalKind::kInt64, true),
         test::MakeColumn("d", {change::LogicalKind::kDecimal, precision, scale})});
  };
  const auto wide = version(20, 4);
  Apply(WriteMode::kUpsert, {BatchBuilder()
                                 .Begin(100)
                                 .Insert(wide, {"1", "1.2345"})
                                 .Insert(wide, {"2", "1.2300"})
                                 .Build()});

  EXPECT_THAT(ReadBackRows(*version(6, 2), WriteMode::kUpsert),
              ElementsAre("1 | NULL | NULL", "2 | 1.23 | NULL"));
}

// ---- folding a changelog

/// Neither exactly once nor equal: a comparison must get to see it.
TEST_F(DuckDbSinkTest, ChangeThatStandsTwiceIsGivenTwice) {
  const auto items = MakeItemsSchema();
  Apply(WriteMode::kAppend, {BatchBuilder()
                                 .Begin(100)
                                 .Insert(items, {"1", "nut", "1"})
                                 .Insert(items, {"2", "bolt", "2"})
                                 .Delete(items, {"2", Null(), Null()})
                                 .Build()});
  {
    const auto database = Database::Open(options_.path, Access::kReadWrite);
    const auto connection = (*database)->Connect();
    const Status done =
        (*connection)->Execute("INSERT INTO public.items FROM public.items WHERE _cdc_seq <> 1");
    ASSERT_TRUE(done.has_value()) << done.error();
  }

  EXPECT_THAT(
      ReadBackRows(*items, WriteMode::kAppend),
      ElementsAre("1 | nut | 1.00 | NULL", "1 | nut | 1.00 | NULL", "2 | NULL | NULL | NULL"));
}

TEST_F(DuckDbSinkTest, SnapshotStandsBeforeATransactionAtTheSamePlace) {
  const auto items = MakeItemsSchema();
  Apply(WriteMode::kAppend,
        {BatchBuilder()
             .Begin(100, change::TransactionKind::kSnapshot)
             .Snapshot(items, {"1", "nut", "0.10"})
             .Snapshot(items, {"2", "bolt", "0.20"})
             .Build(),
         BatchBuilder().Begin(100).Update(items, {"2", "bolt, new", "0.20"}).Build()});

  EXPECT_THAT(ReadBackRows(*items, WriteMode::kAppend),
              ElementsAre("1 | nut | 0.10 | NULL", "2 | bolt, new | 0.20 | NULL"));
}

/// They are appended as they come, and are rows like any other from then on.
TEST_F(DuckDbSinkTest, FreshRowsOfASnapshotStandAmongTheOthers) {
  const auto items = MakeItemsSchema();
  const change::SnapshotProgress fresh{.step = change::SnapshotStep::kFresh, .table = items->id()};
  Apply(WriteMode::kUpsert,
        {BatchBuilder().Begin(90).Insert(items, {"9", "old", "0.90"}).Build(),
         BatchBuilder().Piece(100, 1).Truncate({items}).Begun(items, true).Build(),
         BatchBuilder()
             .Piece(100, 2)
             .Snapshot(items, {"1", "nut", "0.10"})
             .Snapshot(items, {"2", "bolt", "0.20"})
             .Step(fresh)
             .Build(),
         BatchBuilder()
             .Begin(200)
             .Update(items, {"2", "bolt, new", "0.20"})
             .Insert(items, {"3", "cog", "0.30"})
             .Build(),
         BatchBuilder()
             .Piece(200, 1)
             .Snapshot(items, {"3", "cog", "0.30"})
             .Snapshot(items, {"4", "pin", "0.40"})
             .Build()});

  EXPECT_THAT(ReadBackRows(*items, WriteMode::kUpsert),
              ElementsAre("1 | nut | 0.10 | NULL", "2 | bolt, new | 0.20 | NULL",
                          "3 | cog | 0.30 | NULL", "4 | pin | 0.40 | NULL"));
}

/// Whoever marks rows as fresh answers for it.
TEST_F(DuckDbSinkTest, FreshRowsAreNotLookedForInTheTarget) {
  const auto items = MakeItemsSchema();
  for (const bool fresh : {false, true}) {
    options_.path = folder_ / (fresh ? "fresh.duckdb" : "any.duckdb");
    const auto piece = [&](int64_t n) {
      BatchBuilder batch;
      batch.Piece(100, n).Snapshot(items, {"1", "nut", "0.10"});
      if (fresh) batch.Step({.step = change::SnapshotStep::kFresh, .table = items->id()});
      return batch.Build();
    };

    Apply(WriteMode::kUpsert, {piece(1), piece(2)});

    EXPECT_EQ(ReadBackRows(*items, WriteMode::kUpsert).size(), fresh ? 2u : 1u);
  }
}

/// Row 1 was deleted in the source while nobody looked.
TEST_F(DuckDbSinkTest, SnapshotTakenAnewReplacesTheTable) {
  const auto items = MakeItemsSchema();
  const auto kind = change::TransactionKind::kSnapshot;
  for (const WriteMode mode : {WriteMode::kUpsert, WriteMode::kAppend}) {
    options_.path = folder_ / fmt::format("mode_{}.duckdb", static_cast<int>(mode));
    Apply(mode, {BatchBuilder()
                     .Begin(100, kind)
                     .Snapshot(items, {"1", "nut", "0.10"})
                     .Snapshot(items, {"2", "bolt", "0.20"})
                     .Build()});

    Apply(mode, {BatchBuilder()
                     .Part(300, true, true, -1, kind)
                     .Truncate({items})
                     .Snapshot(items, {"2", "bolt", "0.30"})
                     .Snapshot(items, {"3", "cog", "0.40"})
                     .Build()});

    EXPECT_THAT(ReadBackRows(*items, mode),
                ElementsAre("2 | bolt | 0.30 | NULL", "3 | cog | 0.40 | NULL"));
  }
}

TEST_F(DuckDbSinkTest, ValuesNotSentAreTracedOverManyKeyChanges) {
  const auto items = MakeItemsSchema();
  constexpr int kMoves = 20;
  BatchBuilder builder;
  builder.Begin(100).Insert(items, {"0", Exception("far"), "0.10"});
  for (int i = 0; i < kMoves; ++i) {
    const std::string here = std::to_string(i);
    builder.Update(items, {here, Null(), Null()}, {std::to_string(i + 1), Unchanged(), "0.20"});
    builder.Insert(items, {here, "takes the key", "0.30"});
    builder.Delete(items, {here, Null(), Null()});
  }
  const auto batch = builder.Build();

  Apply(WriteMode::kAppend, {batch});

  EXPECT_THAT(ReadBackRows(*items, WriteMode::kAppend),
              ElementsAre("20 | NULL | 0.20 | {\"name\":\"far\"}"));
}

// ---- memory

std::shared_ptr<const change::TableSchema> MakeWideSchema() {
  constexpr int kColumns = 1'600;  // the most that PostgreSQL has
  std::vector<change::Column> columns = {
      test::MakeColumn("c0", change::LogicalKind::kInt64, /*key=*/true)};
  for (int i = 1; i < kColumns; ++i) {
    columns.push_back(test::MakeColumn("c" + std::to_string(i), change::LogicalKind::kText));
  }
  return test::MakeSchema({"public", "wide"}, std::move(columns));
}

std::shared_ptr<const change::ChangeBatch> WideBatch(
    const std::shared_ptr<const change::TableSchema>& wide) {
  BatchBuilder builder;
  builder.Begin(100);
  for (int row = 0; row < 20; ++row) {
    test::Row values(wide->columns().size(), test::Cell("some text"));
    values[0] = test::Cell(std::to_string(row));
    builder.Insert(wide, std::move(values));
  }
  return builder.Build();
}

TEST_F(DuckDbSinkTest, TheWidestTableFitsTheDefault) {
  const auto wide = MakeWideSchema();

  Apply(WriteMode::kUpsert, {WideBatch(wide)});

  EXPECT_THAT(Ask("SELECT count(c1599) FROM public.wide"), ElementsAre("20"));
}

TEST_F(DuckDbSinkTest, ACommitWithoutMemoryNamesTheOptionAndItsValue) {
  options_.memory_limit = {64 << 20};  // given, so not raised
  const auto wide = MakeWideSchema();
  const auto sink = MakeSink();
  ASSERT_TRUE(sink->Open({}).has_value());

  Status status = sink->Prepare(*wide);
  if (status.has_value()) status = sink->Write(WideBatch(wide), {});
  if (status.has_value()) {
    const auto flushed = sink->Flush();
    if (!flushed.has_value()) status = Fail(flushed.error());
  }

  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kNoSpace) << status.error();
  EXPECT_THAT(status.error().message, HasSubstr("raise memory_limit of the duckdb sink"));
  EXPECT_THAT(status.error().message, HasSubstr("64.0 MiB"));
}

/// 160 MB of rows in one transaction, with 32 MB for DuckDB and 1 MB of buffer.
TEST_F(DuckDbSinkTest, TransactionLargerThanMemoryIsWritten) {
  options_.memory_limit = {32 << 20};
  options_.buffer = {1 << 20};
  const auto items = MakeItemsSchema();
  constexpr int kParts = 80;
  constexpr int kRows = 1'000;
  const std::string wide(2'000, 'x');
  const auto sink = MakeSink();
  ASSERT_TRUE(sink->Open({}).has_value());
  ASSERT_TRUE(sink->Prepare(*items).has_value());
  StoredPosition behind;
  for (int part = 0; part < kParts; ++part) {
    BatchBuilder builder;
    builder.Part(100, part == 0, part == kParts - 1, part * kRows);
    for (int i = 0; i < kRows; ++i) {
      const std::string id = std::to_string(part * kRows + i);
      builder.Insert(items, {id, id + wide, "1.00"});
    }
    if (part == kParts - 1) behind.position.commit_end = {100};

    const Status written = sink->Write(builder.Build(), behind);

    ASSERT_TRUE(written.has_value()) << written.error();
  }
  const auto flushed = sink->Flush();

  ASSERT_TRUE(flushed.has_value()) << flushed.error();
  EXPECT_THAT(Ask("SELECT count(*), count(DISTINCT id), min(length(name)) FROM public.items"),
              ElementsAre("80000 | 80000 | 2001"));
}

// ---- what goes wrong

TEST_F(DuckDbSinkTest, FileOfAnotherProcessIsBusyAndNamesIt) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "DuckDB starts threads in the child, which ThreadSanitizer cannot follow";
#endif
  int ready[2];
  int done[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(done), 0);
  const pid_t child = ::fork();
  if (child == 0) {  // another process: holds the file until told to go
    const auto database = Database::Open(options_.path, Access::kReadWrite);
    char byte = database.has_value() ? 'y' : 'n';
    if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
    if (::read(done[0], &byte, 1) != 1) ::_exit(1);
    ::_exit(0);
  }
  char byte = 'n';
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');

  const Error error = OpenError();

  EXPECT_EQ(error.kind, ErrorKind::kBusy);
  EXPECT_THAT(error.message, HasSubstr(options_.path));
  EXPECT_THAT(error.message, HasSubstr(std::to_string(child)));
  ASSERT_EQ(::write(done[1], &byte, 1), 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(MakeSink()->Open({}).has_value());
}

TEST_F(DuckDbSinkTest, FileThatIsNoDatabaseIsAWrongConfiguration) {
  test::WriteText(options_.path, std::string(20'000, 'x'));

  const Error error = OpenError();

  EXPECT_EQ(error.kind, ErrorKind::kConfig);
  EXPECT_THAT(error.message, HasSubstr("choose another path"));
}

TEST_F(DuckDbSinkTest, FileOfANewerFormatIsUnsupported) {
  ASSERT_TRUE(MakeSink()->Open({}).has_value());
  std::fstream file(options_.path, std::ios::in | std::ios::out | std::ios::binary);
  constexpr std::streamoff kVersionAt = 8 + 4;  // behind the checksum and "DUCK"
  const uint64_t version = 9'999;
  file.seekp(kVersionAt);
  file.write(reinterpret_cast<const char*>(&version), sizeof(version));
  file.close();

  const Error error = OpenError();

  EXPECT_THAT(error.kind, ::testing::AnyOf(ErrorKind::kUnsupported, ErrorKind::kCorrupt))
      << error.message;
}

TEST_F(DuckDbSinkTest, FolderIsMadeAndAFileInItsPlaceIsRefused) {
  options_.path = folder_ / "a/b/shop.duckdb";
  EXPECT_TRUE(MakeSink()->Open({}).has_value());

  test::WriteText(folder_ / "file", "x");
  options_.path = folder_ / "file/shop.duckdb";

  EXPECT_THAT(OpenError().message, HasSubstr(folder_ / "file"));
}

TEST_F(DuckDbSinkTest, FullDiskIsNoSpaceAndLosesNothing) {
  const auto items = MakeItemsSchema();
  Apply(WriteMode::kUpsert, {BatchBuilder().Begin(100).Insert(items, {"1", "nut", "1"}).Build()});
  const auto sink = MakeSink();
  ASSERT_TRUE(sink->Open({}).has_value());
  ASSERT_TRUE(sink->Prepare(*items).has_value());
  BatchBuilder builder;
  builder.Begin(200);
  for (int i = 2; i < 30'000; ++i) {
    builder.Insert(items, {std::to_string(i), std::string(200, 'x') + std::to_string(i), "1"});
  }
  StoredPosition behind;
  behind.position.commit_end = {200};
  const rlimit before = LimitFileSize(3 << 20);

  Status status = sink->Write(builder.Build(), behind);
  if (status.has_value()) {
    const auto flushed = sink->Flush();
    if (!flushed.has_value()) status = Status(tl::make_unexpected(flushed.error()));
  }

  ::setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kNoSpace) << status.error();
  ASSERT_TRUE(sink->Close().has_value());
  EXPECT_THAT(Ask("SELECT id FROM public.items"), ElementsAre("1"));
}

}  // namespace
}  // namespace freshet::sink::duckdb
