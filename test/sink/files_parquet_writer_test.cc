#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/schema.h>
#include <parquet/statistics.h>

#include <algorithm>

#include "sink/changelog_columns.h"
#include "sink/files/checksum_stream.h"
#include "sink/files/file_writer.h"
#include "support/batches.h"

namespace freshet::sink::files {
namespace {

using change::LogicalKind;
using test::MakeColumn;
using ::testing::ElementsAre;

/// The columns of a batch's only table, as the sink hands them to a writer.
std::vector<std::shared_ptr<arrow::Array>> ColumnsOf(const change::ChangeBatch& batch) {
  const change::TableChanges& table = batch.tables.front();
  std::vector<std::shared_ptr<arrow::Array>> columns = table.rows->columns();
  for (auto& column : ChangelogColumns(batch, table, /*ingested_at=*/1, /*keep_exceptions=*/true)) {
    columns.push_back(std::move(column));
  }
  return columns;
}

/// Writes one batch and opens the result.
class ParquetWriterTest : public ::testing::Test {
 protected:
  std::unique_ptr<parquet::ParquetFileReader> Write(const change::ChangeBatch& batch,
                                                    const std::vector<int32_t>& ids,
                                                    Compression compression = Compression::kZstd,
                                                    int times = 1) {
    const auto target = arrow::io::BufferOutputStream::Create().ValueOrDie();
    const auto stream = std::make_shared<ChecksumStream>(*target);
    auto writer = MakeParquetWriter(*batch.tables.front().schema, ids, compression, stream);
    EXPECT_TRUE(writer.has_value()) << writer.error();
    for (int i = 0; i < times; ++i) {
      EXPECT_TRUE((*writer)->Append(ColumnsOf(batch)).has_value());
    }
    EXPECT_TRUE((*writer)->Finish().has_value());
    const auto bytes = target->Finish().ValueOrDie();
    EXPECT_EQ(stream->bytes(), bytes->size());
    return parquet::ParquetFileReader::Open(std::make_shared<arrow::io::BufferReader>(bytes));
  }
};

TEST_F(ParquetWriterTest, ColumnsHaveLogicalTypesAndFieldIds) {
  const auto schema = test::MakeSchema(
      {"s", "t"},
      {MakeColumn("id", LogicalKind::kInt64, true),
       MakeColumn("price", {LogicalKind::kDecimal, 12, 2}), MakeColumn("token", LogicalKind::kUuid),
       MakeColumn("doc", LogicalKind::kJson), MakeColumn("at", LogicalKind::kTimestampTz),
       MakeColumn("small", LogicalKind::kUInt32)});
  const auto batch = test::BatchBuilder()
                         .Begin(100)
                         .Insert(schema, {"1", "1.50", "00112233-4455-6677-8899-aabbccddeeff", "{}",
                                          "2024-02-29 12:00:00Z", "7"})
                         .Build();

  const auto file = Write(*batch, {1, 2, 3, 4, 6, 7});

  const parquet::SchemaDescriptor& columns = *file->metadata()->schema();
  std::vector<std::string> types;
  std::vector<int> ids;
  for (int i = 0; i < 6; ++i) {
    types.push_back(columns.Column(i)->logical_type()->ToString());
    ids.push_back(columns.Column(i)->schema_node()->field_id());
  }
  EXPECT_THAT(types,
              ElementsAre("None", "Decimal(precision=12, scale=2)", "UUID", "JSON",
                          ::testing::HasSubstr("isAdjustedToUTC=true, timeUnit=microseconds"),
                          "Int(bitWidth=32, isSigned=false)"));
  EXPECT_THAT(ids, ElementsAre(1, 2, 3, 4, 6, 7));
  EXPECT_EQ(columns.Column(6)->name(), "_cdc_operation");
  EXPECT_EQ(columns.Column(6)->schema_node()->field_id(), 2'000'000);
}

TEST_F(ParquetWriterTest, ColumnsHaveStatisticsAndTheChosenCompression) {
  const auto items = test::MakeItemsSchema();
  const auto batch = test::BatchBuilder()
                         .Begin(100)
                         .Insert(items, {"3", "nut", "0.10"})
                         .Insert(items, {"1", test::Null(), "0.10"})
                         .Build();

  const auto file = Write(*batch, {1, 2, 3});

  const auto group = file->metadata()->RowGroup(0);
  for (int i = 0; i < group->num_columns(); ++i) {
    EXPECT_EQ(group->ColumnChunk(i)->compression(), parquet::Compression::ZSTD);
    EXPECT_TRUE(group->ColumnChunk(i)->is_stats_set()) << group->ColumnChunk(i)->path_in_schema();
  }
  const auto ids =
      std::static_pointer_cast<parquet::Int64Statistics>(group->ColumnChunk(0)->statistics());
  EXPECT_EQ(ids->min(), 1);
  EXPECT_EQ(ids->max(), 3);
  EXPECT_EQ(group->ColumnChunk(1)->statistics()->null_count(), 1);
  // Of what is there, not of every operation there could be.
  const auto operations =
      std::static_pointer_cast<parquet::ByteArrayStatistics>(group->ColumnChunk(3)->statistics());
  EXPECT_EQ(parquet::ByteArrayToString(operations->min()), "insert");
  EXPECT_EQ(parquet::ByteArrayToString(operations->max()), "insert");
}

TEST_F(ParquetWriterTest, RowGroupsEndAtTheirLimit) {
  const auto items = test::MakeItemsSchema();
  test::BatchBuilder builder;
  builder.Begin(100);
  for (int i = 0; i < 5'000; ++i) builder.Insert(items, {std::to_string(i), "nut", "0.10"});

  const auto file = Write(*builder.Build(), {1, 2, 3}, Compression::kNone, 30);

  EXPECT_EQ(file->metadata()->num_rows(), 150'000);
  ASSERT_EQ(file->metadata()->num_row_groups(), 2);
  EXPECT_LE(file->metadata()->RowGroup(0)->num_rows(), kMaxRowGroupRows);
}

/// A commit of one big row after the other: fewer rows than are worth a call, and much memory.
TEST_F(ParquetWriterTest, BigRowsDoNotWaitForMore) {
  const auto items = test::MakeItemsSchema();
  const auto batch = test::BatchBuilder()
                         .Begin(100)
                         .Insert(items, {"1", std::string(1 << 20, 'x'), "0.10"})
                         .Build();
  const auto target = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto stream = std::make_shared<ChecksumStream>(*target);
  auto writer = MakeParquetWriter(*items, {1, 2, 3}, Compression::kNone, stream);
  ASSERT_TRUE(writer.has_value()) << writer.error();

  constexpr int kRows = 100;
  int64_t most = 0;
  for (int i = 0; i < kRows; ++i) {
    ASSERT_TRUE((*writer)->Append(ColumnsOf(*batch)).has_value());
    most = std::max(most, (*writer)->buffered_bytes());
  }

  EXPECT_GE(most, kMaxRowGroupBytes / 2);  // it is counted at all
  EXPECT_LE(most, kMaxRowGroupBytes + (8 << 20));
  EXPECT_GE(stream->bytes(), 2 * kMaxRowGroupBytes);
  ASSERT_TRUE((*writer)->Finish().has_value());
}

TEST_F(ParquetWriterTest, SmallAppendsBecomeOneRowGroup) {
  const auto items = test::MakeItemsSchema();
  const auto batch = test::BatchBuilder().Begin(100).Insert(items, {"1", "nut", "0.10"}).Build();

  const auto file = Write(*batch, {1, 2, 3}, Compression::kSnappy, 100);

  EXPECT_EQ(file->metadata()->num_row_groups(), 1);
  EXPECT_EQ(file->metadata()->num_rows(), 100);
}

}  // namespace
}  // namespace freshet::sink::files
