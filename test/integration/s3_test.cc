#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sink/files/files_sink.h"
#include "support/batches.h"
#include "support/manual_clock.h"
#include "support/s3_server.h"

namespace freshet::sink::files {
namespace {

using change::Lsn;
using test::BatchBuilder;
using test::S3Server;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

StoredPosition At(uint64_t end_lsn) {
  return {.source = "s", .log_id = "log", .log_offset = 0, .position = {Lsn{end_lsn}, 0}};
}

/// The files sink against a real S3 store.
class S3Test : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto server = S3Server::Start();
    ASSERT_TRUE(server.has_value()) << server.error();
    server_ = server->release();
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  void SetUp() override {
    ASSERT_NE(server_, nullptr);
    prefix_ = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    options_.url = std::string("s3://") + S3Server::kBucket + "/" + prefix_;
    options_.s3 = server_->access();
  }

  std::unique_ptr<FilesSink> NewSink() {
    return std::make_unique<FilesSink>(SinkOptions{.name = "lake", .mode = WriteMode::kAppend},
                                       options_, clock_);
  }

  /// A sink that is open on the prefix.
  std::unique_ptr<FilesSink> OpenSink() {
    auto sink = NewSink();
    const auto position = sink->Open({});
    EXPECT_TRUE(position.has_value()) << position.error();
    return sink;
  }

  Status Write(FilesSink& sink, uint64_t end_lsn, int rows = 1, const std::string& text = "nut") {
    BatchBuilder builder;
    builder.Begin(end_lsn);
    for (int id = 1; id <= rows; ++id) {
      builder.Insert(items_, {std::to_string(id), text, "0.10"});
    }
    FRESHET_RETURN_IF_ERROR(sink.Prepare(*items_));
    return sink.Write(builder.Build(), At(end_lsn));
  }

  /// Keys of data files under the prefix.
  std::vector<std::string> VisibleFiles() const {
    auto keys = server_->Keys(prefix_);
    EXPECT_TRUE(keys.has_value()) << keys.error();
    std::erase_if(*keys, [](const std::string& key) { return key.starts_with(kOwnFolder); });
    return *keys;
  }

  std::vector<DataFile> CommittedFiles() {
    const auto storage = OpenStorage(options_, StorageUse::kRead);
    const auto manifest = ReadManifest(**storage);
    EXPECT_TRUE(manifest.has_value()) << manifest.error();
    return manifest->value_or(Manifest{}).recent;
  }

  static S3Server* server_;
  std::string prefix_;
  test::ManualClock clock_;
  Options options_;
  std::shared_ptr<const change::TableSchema> items_ = test::MakeItemsSchema();
};

S3Server* S3Test::server_ = nullptr;

/// Bytes that no compression shrinks, so that a file has several parts.
std::string Noise(size_t bytes) {
  std::string out(bytes, '\0');
  uint32_t state = 1;
  for (char& c : out) {
    state = state * 1'664'525 + 1'013'904'223;
    c = static_cast<char>('!' + (state >> 24) % 90);
  }
  return out;
}

TEST_F(S3Test, FlushedRowsAndPositionAreThereAfterReopening) {
  {
    const auto sink = OpenSink();
    ASSERT_TRUE(Write(*sink, 100, 3).has_value());
    EXPECT_THAT(VisibleFiles(), IsEmpty());
    const auto flushed = sink->Flush();
    ASSERT_TRUE(flushed.has_value()) << flushed.error();
    ASSERT_TRUE(Write(*sink, 200).has_value());  // not flushed
  }

  const auto position = NewSink()->Open({});

  ASSERT_TRUE(position.has_value()) << position.error();
  EXPECT_EQ(position->value(), At(100));
  EXPECT_THAT(VisibleFiles(), SizeIs(1));
  EXPECT_EQ(CommittedFiles().front().rows, 3);
}

TEST_F(S3Test, ManyFilesOfOneFlushBecomeVisibleTogether) {
  options_.rotate.rows = 1;  // so that most are staged under a hidden name
  const auto sink = OpenSink();
  ASSERT_TRUE(Write(*sink, 100, 12).has_value());
  EXPECT_THAT(VisibleFiles(), IsEmpty());

  const auto flushed = sink->Flush();

  ASSERT_TRUE(flushed.has_value()) << flushed.error();
  EXPECT_THAT(VisibleFiles(), SizeIs(12));
  EXPECT_THAT(CommittedFiles(), SizeIs(12));
  const auto staged = server_->Keys(prefix_ + "/_freshet/tmp");
  EXPECT_THAT(*staged, IsEmpty());
}

TEST_F(S3Test, FileOfSeveralPartsIsInvisibleUntilFlush) {
  options_.format = Format::kJsonLines;
  options_.compression = Compression::kNone;
  const auto sink = OpenSink();
  const std::string megabyte = Noise(1 << 20);
  for (uint64_t lsn = 100; lsn < 125; ++lsn) {
    ASSERT_TRUE(Write(*sink, lsn, 1, megabyte).has_value());
  }
  EXPECT_THAT(VisibleFiles(), IsEmpty());

  const auto flushed = sink->Flush();

  ASSERT_TRUE(flushed.has_value()) << flushed.error();
  ASSERT_THAT(CommittedFiles(), SizeIs(1));
  EXPECT_GT(CommittedFiles().front().bytes, 25 << 20);
  EXPECT_THAT(VisibleFiles(), SizeIs(1));
}

TEST_F(S3Test, DeleteAllTakesThePrefixAndNothingBesideIt) {
  const auto sink = OpenSink();
  ASSERT_TRUE(Write(*sink, 0x100).has_value());
  ASSERT_TRUE(sink->Flush().has_value());
  Options beside = options_;
  beside.url += "-beside";
  const auto other = OpenStorage(beside, StorageUse::kWrite);
  ASSERT_TRUE((*other)->Replace("kept", "x").has_value());

  const auto storage = OpenStorage(options_, StorageUse::kWrite);
  const Status deleted = (*storage)->DeleteAll();

  EXPECT_TRUE(deleted.has_value()) << deleted.error();
  EXPECT_THAT(*server_->Keys(prefix_), IsEmpty());
  EXPECT_THAT(*server_->Keys(prefix_ + "-beside"), SizeIs(1));
  EXPECT_TRUE((*storage)->DeleteAll().has_value()) << "again";
}

TEST_F(S3Test, WrongSecretIsDenied) {
  options_.s3.secret_key = Secret("wrong");

  const auto position = NewSink()->Open({});

  ASSERT_FALSE(position.has_value());
  EXPECT_EQ(position.error().kind, ErrorKind::kDenied) << position.error();
  EXPECT_THAT(position.error().message, AllOf(HasSubstr("s3://lake"), HasSubstr("check")));
}

TEST_F(S3Test, UnknownAccessKeyIsDenied) {
  options_.s3.access_key = Secret("NOBODY");

  const auto position = NewSink()->Open({});

  ASSERT_FALSE(position.has_value());
  EXPECT_EQ(position.error().kind, ErrorKind::kDenied) << position.error();
}

TEST_F(S3Test, MissingBucketIsNotFound) {
  options_.url = "s3://nowhere/" + prefix_;

  const auto position = NewSink()->Open({});

  ASSERT_FALSE(position.has_value());
  EXPECT_EQ(position.error().kind, ErrorKind::kNotFound) << position.error();
  EXPECT_THAT(position.error().message, AllOf(HasSubstr("nowhere"), HasSubstr("make the bucket")));
}

TEST_F(S3Test, SecondWriterFencesTheFirst) {
  const auto first = OpenSink();
  ASSERT_TRUE(Write(*first, 100).has_value());
  const auto second = OpenSink();

  const auto flushed = first->Flush();

  ASSERT_FALSE(flushed.has_value());
  EXPECT_EQ(flushed.error().kind, ErrorKind::kBusy);
  EXPECT_THAT(VisibleFiles(), IsEmpty());
}

TEST_F(S3Test, ServerKilledDuringAnUploadLosesAndRepeatsNothing) {
  options_.format = Format::kJsonLines;
  options_.compression = Compression::kNone;
  options_.s3.request_timeout = std::chrono::seconds(5);
  const auto sink = OpenSink();
  ASSERT_TRUE(Write(*sink, 100).has_value());
  ASSERT_TRUE(sink->Flush().has_value());
  const std::string megabyte = Noise(1 << 20);
  for (uint64_t lsn = 201; lsn < 216; ++lsn) {  // the first part is on its way
    ASSERT_TRUE(Write(*sink, lsn, 1, megabyte).has_value());
  }

  server_->Kill9();
  const auto failed = sink->Flush();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().kind, ErrorKind::kUnavailable) << failed.error();
  const auto unreachable = sink->Open({});
  ASSERT_FALSE(unreachable.has_value());
  EXPECT_EQ(unreachable.error().kind, ErrorKind::kUnavailable) << unreachable.error();

  const Status resumed = server_->Resume();
  ASSERT_TRUE(resumed.has_value()) << resumed.error();
  auto position = sink->Open({});
  for (int tries = 0; !position.has_value() && tries < 100; ++tries) {  // as the pipeline does
    EXPECT_EQ(position.error().kind, ErrorKind::kUnavailable) << position.error();
    position = sink->Open({});
  }
  ASSERT_TRUE(position.has_value()) << position.error();
  EXPECT_EQ(position->value(), At(100));
  EXPECT_THAT(VisibleFiles(), SizeIs(1));
  for (uint64_t lsn = 201; lsn < 216; ++lsn) {
    ASSERT_TRUE(Write(*sink, lsn, 1, megabyte).has_value());
  }
  const auto flushed = sink->Flush();
  ASSERT_TRUE(flushed.has_value()) << flushed.error();
  EXPECT_THAT(VisibleFiles(), SizeIs(2));
  int64_t rows = 0;
  for (const DataFile& file : CommittedFiles()) rows += file.rows;
  EXPECT_EQ(rows, 1 + 15);
}

}  // namespace
}  // namespace freshet::sink::files
