#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sink/files/data_file_reader.h"
#include "support/batches.h"
#include "support/temporary_folder.h"

namespace freshet::sink::files {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// What reading a file of this content fails with.
class BadFileTest : public ::testing::Test {
 protected:
  Error ReadError(const std::string& format, const std::string& content) {
    const std::string path = "t." + format;
    test::WriteText(folder_ / path, content);
    const auto storage = MakeLocalStorage(folder_.path().string(), StorageUse::kRead);
    const DataFile file{.path = path,
                        .table = items_->name(),
                        .sequence = 1,
                        .format = format,
                        .rows = 1,
                        .bytes = 1,
                        .checksum = "",
                        .first_lsn = {},
                        .last_lsn = {},
                        .fingerprint = items_->fingerprint()};
    const Status read = ReadDataFile(**storage, file, *items_,
                                     [](const arrow::RecordBatch&) -> Status { return {}; });
    EXPECT_FALSE(read.has_value());
    return read.has_value() ? Error{} : read.error();
  }

  test::TemporaryFolder folder_;
  std::shared_ptr<const change::TableSchema> items_ = test::MakeItemsSchema();
};

TEST_F(BadFileTest, LineThatIsNoJsonIsNamed) {
  const Error error = ReadError("jsonl", "{\"id\":1}\n{\"id\":\n");

  EXPECT_EQ(error.kind, ErrorKind::kMalformed);
  EXPECT_THAT(error.message, AllOf(HasSubstr("t.jsonl"), HasSubstr("line 2")));
}

TEST_F(BadFileTest, ValueOfAnotherTypeIsNamed) {
  const Error error = ReadError("jsonl", "{\"id\":1,\"amount\":0.1}\n");

  EXPECT_EQ(error.kind, ErrorKind::kMalformed);
  EXPECT_THAT(error.message, AllOf(HasSubstr("line 1"), HasSubstr("'amount'")));
}

TEST_F(BadFileTest, IntegerThatDoesNotFitIsNamed) {
  EXPECT_THAT(ReadError("jsonl", "{\"id\":9223372036854775808}\n").message, HasSubstr("'id'"));
}

TEST_F(BadFileTest, LastLineMustBeWhole) {
  EXPECT_THAT(ReadError("jsonl", "{\"id\":1}\n{\"id\":2}").message, HasSubstr("does not end"));
}

TEST_F(BadFileTest, BytesThatAreNoParquetAreMalformed) {
  EXPECT_EQ(ReadError("parquet", "PAR1 this is no Parquet file PAR1").kind, ErrorKind::kMalformed);
}

TEST_F(BadFileTest, UnknownFormatIsUnsupported) {
  EXPECT_EQ(ReadError("orc", "x").kind, ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace freshet::sink::files
