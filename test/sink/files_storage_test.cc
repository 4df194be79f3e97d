#include <arrow/io/interfaces.h>
#include <arrow/status.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>

#include "sink/files/storage.h"
#include "support/temporary_folder.h"

namespace freshet::sink::files {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct ErrnoCase {
  int code;
  ErrorKind kind;
  const char* repair;
};

class FromErrnoTest : public ::testing::TestWithParam<ErrnoCase> {};

TEST_P(FromErrnoTest, NamesCauseAndRepair) {
  const Error error = FromErrno(GetParam().code, "write /data/x");

  EXPECT_EQ(error.kind, GetParam().kind);
  EXPECT_THAT(error.message, AllOf(HasSubstr("write /data/x"), HasSubstr(GetParam().repair)));
}

INSTANTIATE_TEST_SUITE_P(
    Codes, FromErrnoTest,
    ::testing::Values(ErrnoCase{ENOSPC, ErrorKind::kNoSpace, "make room"},
                      ErrnoCase{EDQUOT, ErrorKind::kNoSpace, "make room"},
                      ErrnoCase{EACCES, ErrorKind::kDenied, "let freshet's user write"},
                      ErrnoCase{EROFS, ErrorKind::kDenied, "choose another folder"},
                      ErrnoCase{ENOTDIR, ErrorKind::kConfig, "choose another folder"},
                      ErrnoCase{EIO, ErrorKind::kIo, "Input/output error"}));

struct S3Case {
  const char* message;  ///< as Arrow words it
  ErrorKind kind;
  const char* repair;
};

class FromS3Test : public ::testing::TestWithParam<S3Case> {};

TEST_P(FromS3Test, NamesCauseAndRepair) {
  const Error error = FromArrow(
      arrow::Status::IOError("When doing it in bucket 'b': ", GetParam().message), "open s3://b");

  EXPECT_EQ(error.kind, GetParam().kind) << error;
  EXPECT_THAT(error.message, AllOf(HasSubstr("open s3://b"), HasSubstr(GetParam().repair)));
}

INSTANTIATE_TEST_SUITE_P(
    Messages, FromS3Test,
    ::testing::Values(
        S3Case{"AWS Error ACCESS_DENIED during HeadBucket operation: No response body.",
               ErrorKind::kDenied, "check the credentials"},
        S3Case{"AWS Error SIGNATURE_DOES_NOT_MATCH during ListObjectsV2 operation: no",
               ErrorKind::kDenied, "check access key"},
        S3Case{"AWS Error NO_SUCH_BUCKET during ListObjectsV2 operation: no", ErrorKind::kNotFound,
               "make the bucket"},
        S3Case{"AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 7",
               ErrorKind::kUnavailable, "check the endpoint"},
        S3Case{"AWS Error SLOW_DOWN during PutObject operation: later", ErrorKind::kUnavailable,
               "fewer requests"},
        S3Case{"AWS Error UNKNOWN (HTTP status 503) during PutObject operation: later",
               ErrorKind::kUnavailable, "store's own log"},
        S3Case{"AWS Error UNKNOWN (HTTP status 507) during PutObject operation: full",
               ErrorKind::kNoSpace, "make room"},
        S3Case{"AWS Error UNKNOWN (HTTP status 500) during PutObject operation: write x: no space "
               "left on device",
               ErrorKind::kNoSpace, "make room"},
        S3Case{"AWS Error UNKNOWN (HTTP status 418) during PutObject operation: teapot",
               ErrorKind::kIo, "teapot"}));

TEST(RejectUrlTest, OnlyFoldersAndBucketsAreTaken) {
  EXPECT_EQ(RejectUrl("./lake"), "");
  EXPECT_EQ(RejectUrl("file:///lake"), "");
  EXPECT_EQ(RejectUrl("s3://bucket"), "");
  EXPECT_THAT(RejectUrl("s3:///prefix"), HasSubstr("names no bucket"));
  EXPECT_THAT(RejectUrl("gs://bucket/prefix"), HasSubstr("gs://"));
  EXPECT_THAT(RejectUrl(""), HasSubstr("empty"));
}

TEST(TargetOfTest, SaysWhereWithoutDecoration) {
  EXPECT_EQ(TargetOf("s3://bucket/a/b/"), "s3://bucket/a/b");
  EXPECT_EQ(TargetOf("s3://bucket"), "s3://bucket");
  EXPECT_EQ(TargetOf("file:///lake"), "/lake");
}

class LocalStorageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto storage = MakeLocalStorage(folder_ / "deep/lake/", StorageUse::kWrite);
    ASSERT_TRUE(storage.has_value()) << storage.error();
    storage_ = *std::move(storage);
  }

  std::unique_ptr<PendingFile> Finished(const std::string& path, std::string_view content) {
    auto file = storage_->Create(path);
    EXPECT_TRUE(file.has_value()) << file.error();
    EXPECT_TRUE((*file)->stream().Write(content.data(), std::ssize(content)).ok());
    EXPECT_TRUE((*file)->Finish().has_value());
    return *std::move(file);
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<Storage> storage_;
};

TEST_F(LocalStorageTest, FileIsThereWhenPublishedAndNotBefore) {
  std::vector<std::unique_ptr<PendingFile>> files;
  files.push_back(Finished("a/b/1", "one"));
  EXPECT_FALSE(storage_->Open("a/b/1").has_value());

  const Status published = storage_->Publish(files);

  ASSERT_TRUE(published.has_value()) << published.error();
  EXPECT_EQ(storage_->Read("a/b/1").value(), "one");
}

TEST_F(LocalStorageTest, FileThatIsDroppedLeavesNothing) {
  Finished("a/b/1", "one").reset();
  storage_->Create("a/b/2").value().reset();

  EXPECT_THAT(test::FilesBelow(folder_.path()), IsEmpty());
}

TEST_F(LocalStorageTest, ReplaceShowsTheNewContent) {
  ASSERT_TRUE(storage_->Replace("m/x.json", "old and longer").has_value());
  ASSERT_TRUE(storage_->Replace("m/x.json", "new").has_value());

  EXPECT_EQ(storage_->Read("m/x.json").value(), "new");
  EXPECT_THAT(test::FilesBelow(folder_.path()), ElementsAre("deep/lake/m/x.json"));
}

TEST_F(LocalStorageTest, MissingFilesAreNotFoundAndDeletingThemIsFine) {
  const auto read = storage_->Read("nothing");

  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().kind, ErrorKind::kNotFound);
  EXPECT_TRUE(storage_->Delete("nothing").has_value());
}

TEST_F(LocalStorageTest, ListNamesFilesOfOneFolderOnly) {
  ASSERT_TRUE(storage_->Replace("f/a", "").has_value());
  ASSERT_TRUE(storage_->Replace("f/b", "").has_value());
  ASSERT_TRUE(storage_->Replace("f/deeper/c", "").has_value());

  EXPECT_THAT(storage_->List("f").value(), UnorderedElementsAre("a", "b"));
  EXPECT_THAT(storage_->List("absent").value(), IsEmpty());
}

TEST_F(LocalStorageTest, DeleteAllTakesTheFolderAndNothingBesideIt) {
  ASSERT_TRUE(storage_->Replace("f/a", "").has_value());
  test::WriteText(folder_.path() / "deep/beside", "");

  EXPECT_TRUE(storage_->DeleteAll().has_value());

  EXPECT_THAT(test::FilesBelow(folder_.path()), ElementsAre("deep/beside"));
  EXPECT_TRUE(storage_->DeleteAll().has_value()) << "again";
}

TEST(MakeLocalStorageTest, ReadingMakesNoFolder) {
  const test::TemporaryFolder folder;

  const auto storage = MakeLocalStorage(folder / "absent", StorageUse::kRead);

  EXPECT_TRUE(storage.has_value());
  EXPECT_FALSE(std::filesystem::exists(folder / "absent"));
}

}  // namespace
}  // namespace freshet::sink::files
