#include "sink/files/files_sink.h"

#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>

#include "sink/files/data_file_reader.h"
#include "sink/files/read_back.h"
#include "support/batches.h"
#include "support/manual_clock.h"
#include "support/temporary_folder.h"

namespace freshet::sink::files {
namespace {

using change::Lsn;
using test::BatchBuilder;
using test::Null;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kDayMicros = 86'400'000'000;

StoredPosition At(uint64_t end_lsn, int64_t offset = 0) {
  return {.source = "s", .log_id = "log", .log_offset = offset, .position = {Lsn{end_lsn}, 0}};
}

class FilesSinkTest : public ::testing::Test {
 protected:
  FilesSinkTest() {
    options_.url = folder_.path().string();
    sink_options_ = {.name = "lake", .mode = WriteMode::kAppend};
  }

  std::unique_ptr<FilesSink> NewSink() {
    return std::make_unique<FilesSink>(sink_options_, options_, clock_);
  }

  /// A sink that is open on the folder.
  std::unique_ptr<FilesSink> OpenSink() {
    auto sink = NewSink();
    const auto position = sink->Open({});
    EXPECT_TRUE(position.has_value()) << position.error();
    return sink;
  }

  static void Write(FilesSink& sink, const std::shared_ptr<const change::ChangeBatch>& batch,
                    uint64_t end_lsn) {
    for (const auto& table : batch->tables) {
      const Status prepared = sink.Prepare(*table.schema);
      ASSERT_TRUE(prepared.has_value()) << prepared.error();
    }
    const Status written = sink.Write(batch, At(end_lsn));
    ASSERT_TRUE(written.has_value()) << written.error();
  }

  static void Flush(FilesSink& sink) {
    const auto flushed = sink.Flush();
    ASSERT_TRUE(flushed.has_value()) << flushed.error();
  }

  /// Data files that somebody who lists the folder sees.
  std::vector<std::string> VisibleFiles() const {
    std::vector<std::string> files = test::FilesBelow(folder_.path());
    std::erase_if(files, [](const std::string& f) { return f.starts_with(kOwnFolder); });
    return files;
  }

  /// Files of the manifest, in order.
  std::vector<DataFile> CommittedFiles() {
    const auto storage = OpenStorage(options_, StorageUse::kRead);
    const auto manifest = ReadManifest(**storage);
    EXPECT_TRUE(manifest.has_value()) << manifest.error();
    std::vector<DataFile> files;
    const Status visited = VisitFiles(**storage, **manifest, [&](const DataFile& file) -> Status {
      files.push_back(file);
      return {};
    });
    EXPECT_TRUE(visited.has_value()) << visited.error();
    return files;
  }

  /// Rows of all committed files of a table as text: the schema's columns, then the operation.
  std::vector<std::string> CommittedRows(const change::TableSchema& schema) {
    const auto storage = OpenStorage(options_, StorageUse::kRead);
    std::vector<std::string> rows;
    for (const DataFile& file : CommittedFiles()) {
      if (file.table != schema.name()) continue;
      const Status read =
          ReadDataFile(**storage, file, schema, [&](const arrow::RecordBatch& batch) -> Status {
            const auto columns = static_cast<int>(schema.columns().size()) + 1;
            arrow::ArrayVector kept;
            for (int i = 0; i < columns; ++i) kept.push_back(batch.column(i));
            const auto fields = batch.schema()->fields();
            const auto shown = arrow::RecordBatch::Make(
                arrow::schema(arrow::FieldVector(fields.begin(), fields.begin() + columns)),
                batch.num_rows(), kept);
            for (std::string& text : test::RowTexts(*shown)) rows.push_back(std::move(text));
            return {};
          });
      EXPECT_TRUE(read.has_value()) << read.error();
    }
    return rows;
  }

  test::TemporaryFolder folder_;
  test::ManualClock clock_;
  Options options_;
  SinkOptions sink_options_;
  std::shared_ptr<const change::TableSchema> items_ = test::MakeItemsSchema();
};

TEST_F(FilesSinkTest, NewTargetHasNoPosition) {
  const auto sink = NewSink();

  const auto position = sink->Open({});

  ASSERT_TRUE(position.has_value()) << position.error();
  EXPECT_FALSE(position->has_value());
}

TEST_F(FilesSinkTest, FlushedRowsAndPositionAreThereAfterReopening) {
  {
    const auto sink = OpenSink();
    Write(*sink, BatchBuilder().Begin(100).Insert(items_, {"1", "nut", "0.10"}).Build(), 100);
    const auto flushed = sink->Flush();
    ASSERT_TRUE(flushed.has_value()) << flushed.error();
    EXPECT_EQ(*flushed, At(100));
  }

  const auto position = NewSink()->Open({});

  ASSERT_TRUE(position.has_value()) << position.error();
  EXPECT_EQ(position->value(), At(100));
  EXPECT_THAT(CommittedRows(*items_), ElementsAre("1 | nut | 0.10 | insert"));
  EXPECT_THAT(VisibleFiles(),
              ElementsAre(::testing::MatchesRegex(
                  "public\\.items/dt=2023-11-14/000000000001-[0-9a-f]{8}\\.parquet")));
}

TEST_F(FilesSinkTest, NothingIsVisibleBeforeFlush) {
  options_.rotate.rows = 2;
  const auto sink = OpenSink();

  Write(*sink,
        BatchBuilder()
            .Part(100, true, false)
            .Insert(items_, {"1", "nut", "0.10"})
            .Insert(items_, {"2", "nut", "0.10"})
            .Insert(items_, {"3", "nut", "0.10"})
            .Build(),
        0);

  EXPECT_THAT(VisibleFiles(), IsEmpty());
  EXPECT_THAT(CommittedFiles(), IsEmpty());
}

TEST_F(FilesSinkTest, UnflushedRowsAreGoneAfterReopening) {
  {
    const auto sink = OpenSink();
    Write(*sink, BatchBuilder().Begin(100).Insert(items_, {"1", "nut", "0.10"}).Build(), 100);
  }

  const auto position = NewSink()->Open({});

  EXPECT_FALSE(position->has_value());
  EXPECT_THAT(VisibleFiles(), IsEmpty());
}

TEST_F(FilesSinkTest, FileClosesAtTheNumberOfRows) {
  options_.rotate.rows = 2;
  const auto sink = OpenSink();
  BatchBuilder builder;
  builder.Begin(100);
  for (int id = 1; id <= 5; ++id) builder.Insert(items_, {std::to_string(id), "nut", "0.10"});

  Write(*sink, builder.Build(), 100);
  Flush(*sink);

  std::vector<int64_t> rows;
  for (const DataFile& file : CommittedFiles()) rows.push_back(file.rows);
  EXPECT_THAT(rows, ElementsAre(2, 2, 1));
  EXPECT_THAT(CommittedRows(*items_), SizeIs(5));
}

TEST_F(FilesSinkTest, FileClosesAtTheNumberOfBytes) {
  options_.rotate.bytes.bytes = 1;
  options_.format = Format::kJsonLines;
  options_.compression = Compression::kNone;
  const auto sink = OpenSink();
  const std::string wide(300'000, 'x');

  for (uint64_t lsn = 100; lsn < 103; ++lsn) {
    Write(*sink, BatchBuilder().Begin(lsn).Insert(items_, {"1", wide, "0.10"}).Build(), lsn);
  }
  Flush(*sink);

  EXPECT_THAT(CommittedFiles(), SizeIs(3));
}

TEST_F(FilesSinkTest, ChangesOfTwoDaysGoToTwoFolders) {
  const auto sink = OpenSink();

  Write(*sink,
        BatchBuilder()
            .Begin(100)
            .Insert(items_, {"1", "nut", "0.10"})
            .Begin(100 + kDayMicros)
            .Insert(items_, {"2", "nut", "0.10"})
            .Build(),
        100 + kDayMicros);
  Flush(*sink);

  EXPECT_THAT(VisibleFiles(), ElementsAre(HasSubstr("dt=2023-11-14/000000000001"),
                                          HasSubstr("dt=2023-11-15/000000000002")));
  EXPECT_THAT(CommittedRows(*items_),
              ElementsAre("1 | nut | 0.10 | insert", "2 | nut | 0.10 | insert"));
}

TEST_F(FilesSinkTest, LayoutAndOddNamesMakePaths) {
  options_.layout = "raw/{table}/{dt}/{hour}/part-{sequence}";
  options_.format = Format::kJsonLines;
  const auto odd = test::MakeSchema({"public", "my/odd table"},
                                    {test::MakeColumn("id", change::LogicalKind::kInt32, true)});
  const auto sink = OpenSink();

  Write(*sink, BatchBuilder().Begin(100).Insert(odd, {"1"}).Build(), 100);
  Flush(*sink);

  EXPECT_THAT(VisibleFiles(),
              ElementsAre(::testing::MatchesRegex("raw/my%2Fodd%20table/2023-11-14/22/"
                                                  "part-000000000001-[0-9a-f]{8}\\.jsonl\\.zst")));
}

TEST_F(FilesSinkTest, FileIsDescribedInTheManifest) {
  const auto sink = OpenSink();

  Write(*sink,
        BatchBuilder()
            .Begin(100)
            .Insert(items_, {"1", "nut", "0.10"})
            .Begin(200)
            .Delete(items_, {"1", Null(), Null()})
            .Build(),
        200);
  Flush(*sink);

  const auto files = CommittedFiles();
  ASSERT_THAT(files, SizeIs(1));
  const DataFile& file = files.front();
  EXPECT_EQ(file.rows, 2);
  EXPECT_EQ(file.first_lsn, Lsn{92});
  EXPECT_EQ(file.last_lsn, Lsn{192});
  EXPECT_EQ(file.fingerprint, items_->fingerprint());
  EXPECT_EQ(file.bytes, static_cast<int64_t>(std::filesystem::file_size(folder_ / file.path)));
  EXPECT_THAT(file.checksum, SizeIs(16));
}

TEST_F(FilesSinkTest, FilesThatTheManifestDoesNotNameAreDeletedAtOpen) {
  {
    const auto sink = OpenSink();
    Write(*sink, BatchBuilder().Begin(100).Insert(items_, {"1", "nut", "0.10"}).Build(), 100);
    Flush(*sink);
  }
  const std::string committed = VisibleFiles().front();
  // As a crash between the files and the manifest leaves it.
  const std::string leftover = "public.items/dt=2023-11-14/000000000002-0badf00d.parquet";
  test::WriteText(folder_ / leftover, "half a flush");
  test::WriteText(folder_ / "_freshet/intent-0badf00d.json",
                  "[\"" + leftover + "\",\"" + committed + "\"]");
  test::WriteText(folder_ / "_freshet/tmp/7", "half a file");

  const auto sink = OpenSink();

  EXPECT_THAT(VisibleFiles(), ElementsAre(committed));
  EXPECT_THAT(test::FilesBelow(folder_ / "_freshet/tmp"), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "_freshet/intent-0badf00d.json"));
}

TEST_F(FilesSinkTest, PositionWithoutRowsIsKept) {
  {
    const auto sink = OpenSink();
    Write(*sink, BatchBuilder().Begin(100).Message("p", "c").Build(), 100);
    Flush(*sink);
  }

  EXPECT_EQ(NewSink()->Open({})->value(), At(100));
  EXPECT_THAT(VisibleFiles(), IsEmpty());
}

TEST_F(FilesSinkTest, SecondProcessIsKeptOut) {
  const auto first = OpenSink();

  const auto second = NewSink()->Open({});

  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::kBusy);
  EXPECT_THAT(second.error().message, HasSubstr("in use by another freshet process"));
}

TEST_F(FilesSinkTest, FencedPredecessorCannotCommit) {
  const auto first = OpenSink();
  Write(*first, BatchBuilder().Begin(100).Insert(items_, {"1", "nut", "0.10"}).Build(), 100);
  std::filesystem::remove(folder_ / "_freshet/lock");  // as a store without locks
  const auto second = OpenSink();

  const auto flushed = first->Flush();

  ASSERT_FALSE(flushed.has_value());
  EXPECT_EQ(flushed.error().kind, ErrorKind::kBusy);
  EXPECT_THAT(VisibleFiles(), IsEmpty());
}

TEST_F(FilesSinkTest, FolderOfAnotherSinkIsRefused) {
  OpenSink().reset();
  sink_options_.name = "other";

  const auto position = NewSink()->Open({});

  ASSERT_FALSE(position.has_value());
  EXPECT_EQ(position.error().kind, ErrorKind::kConfig);
  EXPECT_THAT(position.error().message, HasSubstr("belongs to the sink 'lake'"));
}

TEST_F(FilesSinkTest, PathThroughAFileIsExplained) {
  test::WriteText(folder_ / "file", "");
  options_.url = folder_ / "file/lake";

  const auto position = NewSink()->Open({});

  ASSERT_FALSE(position.has_value());
  EXPECT_EQ(position.error().kind, ErrorKind::kConfig);
  EXPECT_THAT(position.error().message, HasSubstr("choose another folder"));
}

TEST_F(FilesSinkTest, ManifestThatIsNoneIsCorrupt) {
  test::WriteText(folder_ / "_freshet/manifest.json", "{\"format\":\"other\"}");

  const auto position = NewSink()->Open({});

  ASSERT_FALSE(position.has_value());
  EXPECT_EQ(position.error().kind, ErrorKind::kCorrupt);
  EXPECT_THAT(position.error().message, HasSubstr("manifest.json"));
}

TEST_F(FilesSinkTest, NewVersionOfATableGoesToANewFile) {
  const auto wider = test::MakeSchema(
      items_->name(), {test::MakeColumn("id", change::LogicalKind::kInt64, true),
                       test::MakeColumn("name", change::LogicalKind::kText),
                       test::MakeColumn("amount", {change::LogicalKind::kDecimal, 12, 2}),
                       test::MakeColumn("note", change::LogicalKind::kText)});
  const auto sink = OpenSink();

  Write(*sink, BatchBuilder().Begin(100).Insert(items_, {"1", "nut", "0.10"}).Build(), 100);
  Write(*sink, BatchBuilder().Begin(200).Insert(wider, {"2", "nut", "0.10", "new"}).Build(), 200);
  Flush(*sink);

  EXPECT_THAT(CommittedFiles(), SizeIs(2));
  EXPECT_THAT(CommittedRows(*wider),
              ElementsAre("1 | nut | 0.10 | NULL | insert", "2 | nut | 0.10 | new | insert"));
}

TEST_F(FilesSinkTest, DroppedColumnStopsASinkThatMustNotEvolve) {
  sink_options_.schema_changes = SchemaChangePolicies::All(SchemaChangePolicy::kFail);
  const auto narrower =
      test::MakeSchema(items_->name(), {test::MakeColumn("id", change::LogicalKind::kInt64, true),
                                        test::MakeColumn("name", change::LogicalKind::kText)});
  const auto sink = OpenSink();
  ASSERT_TRUE(sink->Prepare(*items_).has_value());

  const Status prepared = sink->Prepare(*narrower);

  ASSERT_FALSE(prepared.has_value());
  EXPECT_EQ(prepared.error().kind, ErrorKind::kUnsupported);
  EXPECT_THAT(prepared.error().message,
              AllOf(HasSubstr("public.items"), HasSubstr("'amount' was dropped")));
}

TEST_F(FilesSinkTest, ColumnNamedLikeOneOfTheChangelogIsRefused) {
  const auto schema = test::MakeSchema({"public", "t"},
                                       {test::MakeColumn("_cdc_lsn", change::LogicalKind::kInt64)});
  const auto sink = OpenSink();

  const Status prepared = sink->Prepare(*schema);

  ASSERT_FALSE(prepared.has_value());
  EXPECT_THAT(prepared.error().message, HasSubstr("'_cdc_lsn'"));
}

TEST_F(FilesSinkTest, ManyFilesMoveToListsAndStayListed) {
  options_.rotate.rows = 1;
  const int64_t files = static_cast<int64_t>(kMaxRecentFiles) + 3;
  const auto sink = OpenSink();

  for (int64_t i = 1; i <= files; ++i) {
    const auto lsn = static_cast<uint64_t>(i) * 100;
    Write(*sink, BatchBuilder().Begin(lsn).Insert(items_, {std::to_string(i), "n", "1"}).Build(),
          lsn);
    if (i % 20 == 0) Flush(*sink);
  }
  Flush(*sink);
  Write(*sink, BatchBuilder().Begin(900'000).Insert(items_, {"0", "n", "1"}).Build(), 900'000);
  Flush(*sink);

  const auto committed = CommittedFiles();
  ASSERT_EQ(std::ssize(committed), files + 1);
  for (size_t i = 0; i < committed.size(); ++i) {
    EXPECT_EQ(committed[i].sequence, static_cast<int64_t>(i) + 1);
  }
  const auto storage = OpenStorage(options_, StorageUse::kRead);
  const auto manifest = ReadManifest(**storage);
  EXPECT_THAT(manifest->value().lists, SizeIs(1));
}

/// As under a limit on open files: one transaction touches more tables than that.
TEST_F(FilesSinkTest, TransactionOverManyTablesKeepsFewFilesOpen) {
  constexpr int kTables = 120;
  const auto sink = OpenSink();
  BatchBuilder builder;
  builder.Begin(100);
  for (int i = 0; i < kTables; ++i) {
    builder.Insert(test::MakeItemsSchema("t" + std::to_string(i)), {"1", "nut", "0.10"});
  }
  const auto batch = builder.Build();
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit limited = before;
  limited.rlim_cur = 100;
  ::setrlimit(RLIMIT_NOFILE, &limited);

  Write(*sink, batch, 100);
  Flush(*sink);

  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_THAT(CommittedFiles(), SizeIs(kTables));
}

TEST_F(FilesSinkTest, CommittedFileThatIsGoneIsNoEmptyTable) {
  const auto sink = OpenSink();
  Write(*sink, BatchBuilder().Begin(100).Insert(items_, {"1", "nut", "0.10"}).Build(), 100);
  Flush(*sink);
  const DataFile file = CommittedFiles().at(0);
  std::filesystem::remove(folder_.path() / file.path);

  const Status scanned = FilesReadBack(options_).Scan(
      *items_, nullptr, [](const arrow::RecordBatch&) { return Status(); });

  ASSERT_FALSE(scanned.has_value());
  EXPECT_EQ(scanned.error().kind, ErrorKind::kCorrupt);
  EXPECT_THAT(scanned.error().message, HasSubstr(file.path));
}

/// A byte of a column that says nothing of the table's present rows.
TEST_F(FilesSinkTest, CommittedFileOfWhichAByteChangedIsNotRead) {
  options_.format = Format::kJsonLines;
  options_.compression = Compression::kNone;
  const auto sink = OpenSink();
  Write(*sink, BatchBuilder().Begin(100).Insert(items_, {"1", "nut", "0.10"}).Build(), 100);
  Flush(*sink);
  const auto visit = [](const arrow::RecordBatch&) { return Status(); };
  EXPECT_TRUE(FilesReadBack(options_).Scan(*items_, nullptr, visit).has_value());

  const std::string path = folder_ / CommittedFiles().at(0).path;
  std::string text = test::ReadText(path);
  const size_t at = text.find("\"_cdc_xid\":100");
  ASSERT_NE(at, std::string::npos) << text;
  text.replace(at, 14, "\"_cdc_xid\":101");
  test::WriteText(path, text);
  const Status scanned = FilesReadBack(options_).Scan(*items_, nullptr, visit);

  ASSERT_FALSE(scanned.has_value());
  EXPECT_EQ(scanned.error().kind, ErrorKind::kCorrupt);
  EXPECT_THAT(scanned.error().message, HasSubstr(path));
}

}  // namespace
}  // namespace freshet::sink::files
