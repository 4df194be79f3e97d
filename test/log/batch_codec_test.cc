#include "log/batch_codec.h"

#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "log/crc32c.h"
#include "log/record.h"
#include "log/schema_codec.h"
#include "support/batches.h"

namespace freshet::log {
namespace {

using change::ChangeBatch;
using test::BatchBuilder;
using test::MakeItemsSchema;

std::shared_ptr<arrow::Buffer> Encoded(const ChangeBatch& batch,
                                       Compression compression = Compression::kNone) {
  BatchEncoder encoder(compression);
  const std::vector<int64_t> places(batch.tables.size(), 200);
  const auto out = encoder.Encode(MakeBatchHead(batch, {3}, {{50}, 2}), batch, places);
  EXPECT_TRUE(out.has_value()) << out.error();
  std::string bytes;
  for (const auto& span : (*out)->Spans({})) {
    bytes.append(reinterpret_cast<const char*>(span.data()), span.size());
  }
  EXPECT_EQ(std::ssize(bytes), (*out)->size_bytes());
  EXPECT_EQ((*out)->Crc(), Crc32c(std::as_bytes(std::span(bytes))));
  return arrow::Buffer::FromString(std::move(bytes));
}

Result<std::shared_ptr<const ChangeBatch>> Decoded(
    const std::shared_ptr<arrow::Buffer>& payload,
    const std::shared_ptr<const change::TableSchema>& schema) {
  return DecodeBatch(payload, [&](int64_t) -> Result<std::shared_ptr<const change::TableSchema>> {
    return schema;
  });
}

void ExpectEqual(const ChangeBatch& a, const ChangeBatch& b) {
  EXPECT_EQ(a.transactions, b.transactions);
  EXPECT_EQ(a.messages, b.messages);
  EXPECT_EQ(a.snapshots, b.snapshots);
  ASSERT_EQ(a.tables.size(), b.tables.size());
  for (size_t i = 0; i < a.tables.size(); ++i) {
    EXPECT_TRUE(a.tables[i].rows->Equals(*b.tables[i].rows));
    EXPECT_EQ(a.tables[i].kinds, b.tables[i].kinds);
    EXPECT_EQ(a.tables[i].transactions, b.tables[i].transactions);
    EXPECT_EQ(a.tables[i].ordinals, b.tables[i].ordinals);
    EXPECT_EQ(a.tables[i].unchanged, b.tables[i].unchanged);
    EXPECT_EQ(a.tables[i].exceptions, b.tables[i].exceptions);
  }
}

/// Rows of mixed kinds in several transactions, with everything that stands beside them.
std::shared_ptr<const ChangeBatch> MixedBatch(
    const std::shared_ptr<const change::TableSchema>& items) {
  BatchBuilder builder;
  for (uint64_t t = 1; t <= 5; ++t) {
    builder.Begin(t * 100).Message("p", "c");
    for (uint64_t i = 0; i < t * 3; ++i) builder.Insert(items, {std::to_string(i), "nut", "1.00"});
    builder.Update(items, {"1", test::Null(), test::Null()},
                   {"7", test::Unchanged(), test::Exception("NaN")});
    builder.Delete(items, {"7", test::Null(), test::Null()}).Truncate({items});
  }
  return builder.Build();
}

TEST(BatchCodecTest, EverythingBesideTheRowsComesBack) {
  const auto items = MakeItemsSchema();
  const auto batch = MixedBatch(items);

  for (const Compression c : {Compression::kNone, Compression::kLz4, Compression::kZstd}) {
    const auto back = Decoded(Encoded(*batch, c), items);

    ASSERT_TRUE(back.has_value()) << back.error();
    ExpectEqual(**back, *batch);
  }
}

TEST(BatchCodecTest, SliceOfRowsIsWrittenAsTheSliceAlone) {
  const auto items = MakeItemsSchema();
  const auto batch = MixedBatch(items);
  const auto rest = change::DropApplied(batch, {change::Lsn{300}, 0});

  const auto payload = Encoded(*rest);

  EXPECT_LT(payload->size(), Encoded(*batch)->size());
  const auto back = Decoded(payload, items);
  ASSERT_TRUE(back.has_value()) << back.error();
  ExpectEqual(**back, *rest);
}

TEST(BatchCodecTest, HeadSaysWhatASeekNeeds) {
  const auto items = MakeItemsSchema();
  const auto part =
      BatchBuilder().Part(900, true, false).Insert(items, {"1", "nut", "0.10"}).Build();
  const auto payload = Encoded(*part);

  const auto head = DecodeBatchHead(
      {reinterpret_cast<const std::byte*>(payload->data()), static_cast<size_t>(payload->size())});

  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->offset, LogOffset{3});
  EXPECT_EQ(head->end, (change::Position{{50}, 2}));  // of the transaction before
  EXPECT_EQ(head->newest_commit, part->transactions[0].commit_time);
  EXPECT_EQ(head->rows, 1);
  EXPECT_TRUE(head->begins);
  EXPECT_FALSE(head->ends);
}

TEST(BatchCodecTest, RowsOfOneKindCostAFewBytesBesideTheirValues) {
  const auto items = MakeItemsSchema();
  const auto of_rows = [&](int rows) {
    BatchBuilder builder;
    builder.Begin(100);
    for (int i = 0; i < rows; ++i) builder.Insert(items, {"1", "nut", "1.00"});
    return Encoded(*builder.Build())->size();
  };

  // 8 + 3 + 16 bytes of values, an offset of 4 and validity bits: nothing of the side columns' 13.
  EXPECT_LT(of_rows(2000) - of_rows(1000), 1000 * 33);
}

/// A piece of a snapshot with a step of every kind.
std::shared_ptr<const ChangeBatch> PieceWithSteps(
    const std::shared_ptr<const change::TableSchema>& items) {
  using change::SnapshotStep;
  const change::TableId table = items->id();
  return BatchBuilder()
      .Piece(900, 7)
      .Begun(items, true)
      .Snapshot(items, {"1", "nut", "0.10"})
      .Step({.step = SnapshotStep::kAdvanced,
             .table = table,
             .part = {77},
             .filenode = 5,
             .blocks = {{0, 8}, {10, 12}},
             .last_key = {"1", "nut"},
             .part_done = true,
             .part_rows = 1})
      .Step({.step = SnapshotStep::kFinished, .table = table})
      .Step({.step = SnapshotStep::kWanted, .table = table, .keeps = true})
      .Step({.step = SnapshotStep::kSeen,
             .table = table,
             .seen = {.horizon = 7,
                      .row_type = 8,
                      .key_type = 9,
                      .sent = 10,
                      .membership = 11,
                      .parts = {{{12}, 13}, {{14}, 15}}}})
      .Step({.step = SnapshotStep::kLooked, .seen = {.horizon = 8}})
      .Step({.step = SnapshotStep::kLeftOut, .table = {99}})
      .Build();
}

std::span<const std::byte> AsSpan(const arrow::Buffer& buffer) {
  return {reinterpret_cast<const std::byte*>(buffer.data()), static_cast<size_t>(buffer.size())};
}

TEST(BatchCodecTest, PieceOfASnapshotComesBackWithItsOrdinalAndSteps) {
  const auto items = MakeItemsSchema();
  const auto batch = PieceWithSteps(items);
  const auto payload = Encoded(*batch);

  const auto back = Decoded(payload, items);

  ASSERT_TRUE(back.has_value()) << back.error();
  ExpectEqual(**back, *batch);
  EXPECT_EQ(DecodeBatchHead(AsSpan(*payload))->end, (change::Position{{900}, 7}));
}

/// Recovery reads them so: it knows no schemas and needs no rows.
TEST(BatchCodecTest, StepsAreReadWithoutTheRest) {
  const auto items = MakeItemsSchema();
  const auto batch = PieceWithSteps(items);

  const auto steps = DecodeSnapshotSteps(AsSpan(*Encoded(*batch)));

  ASSERT_TRUE(steps.has_value()) << steps.error();
  EXPECT_EQ(*steps, batch->snapshots);
}

TEST(BatchCodecTest, StepWithMoreRangesThanTheLimitIsRefused) {
  const auto items = MakeItemsSchema();
  ChangeBatch batch = *PieceWithSteps(items);
  change::SnapshotProgress& step = batch.snapshots[1];
  step.blocks.clear();
  for (int64_t i = 0; step.blocks.size() <= change::kMostBlockRanges; ++i) {
    step.blocks.push_back({i * 10, i * 10 + 5});
  }
  const auto payload = Encoded(batch);

  EXPECT_EQ(Decoded(payload, items).error().kind, ErrorKind::kMalformed);
  EXPECT_FALSE(DecodeSnapshotSteps(AsSpan(*payload)).has_value());
}

TEST(BatchCodecTest, StepsBesideAStreamedTransactionAreRefused) {
  const auto items = MakeItemsSchema();
  ChangeBatch batch = *BatchBuilder().Begin(100).Insert(items, {"1", "nut", "0.10"}).Build();
  batch.snapshots = {{.step = change::SnapshotStep::kFinished, .table = items->id()}};

  EXPECT_EQ(Decoded(Encoded(batch), items).error().kind, ErrorKind::kMalformed);
}

TEST(BatchCodecTest, WhatIsKnownFromACommitOnMayStandBesideIt) {
  const auto items = MakeItemsSchema();
  const auto batch = BatchBuilder()
                         .Begin(100)
                         .Insert(items, {"1", "nut", "0.10"})
                         .Step({.step = change::SnapshotStep::kWanted, .table = items->id()})
                         .Build();

  const auto back = Decoded(Encoded(*batch), items);

  ASSERT_TRUE(back.has_value()) << back.error();
  ExpectEqual(**back, *batch);
}

TEST(BatchCodecTest, BegunTableMustBeInTheBatch) {
  const auto items = MakeItemsSchema();
  ChangeBatch batch = *BatchBuilder().Piece(100, 1).Build();
  batch.snapshots = {{.step = change::SnapshotStep::kBegun, .table = items->id()}};

  EXPECT_EQ(Decoded(Encoded(batch), items).error().kind, ErrorKind::kMalformed);
}

TEST(BatchCodecTest, AnyBrokenByteOfAPieceIsRefusedOrKeepsTheInvariants) {
  const auto items = MakeItemsSchema();
  const auto payload = Encoded(*PieceWithSteps(items));
  for (int64_t at = 0; at < payload->size(); ++at) {
    std::string bytes = payload->ToString();
    bytes[static_cast<size_t>(at)] = static_cast<char>(~bytes[static_cast<size_t>(at)]);
    const auto back = Decoded(arrow::Buffer::FromString(std::move(bytes)), items);
    if (back.has_value()) change::CheckInvariants(**back);
  }
}

TEST(BatchCodecTest, NoPrefixOfABatchIsABatch) {
  const auto items = MakeItemsSchema();
  const auto payload = Encoded(*MixedBatch(items));
  for (int64_t size = 0; size < payload->size(); ++size) {
    const auto back = Decoded(arrow::SliceBuffer(payload, 0, size), items);
    ASSERT_FALSE(back.has_value()) << size << " bytes";
    ASSERT_EQ(back.error().kind, ErrorKind::kMalformed);
  }
}

TEST(BatchCodecTest, AnyBrokenByteIsRefusedOrKeepsTheInvariants) {
  const auto items = MakeItemsSchema();
  const auto payload = Encoded(*MixedBatch(items));
  for (int64_t at = 0; at < payload->size(); ++at) {
    std::string bytes = payload->ToString();
    bytes[static_cast<size_t>(at)] = static_cast<char>(~bytes[static_cast<size_t>(at)]);
    const auto back = Decoded(arrow::Buffer::FromString(std::move(bytes)), items);
    if (back.has_value()) change::CheckInvariants(**back);
  }
}

TEST(SchemaCodecTest, SchemaComesBackAndNoPrefixIsOne) {
  const auto schema =
      test::MakeSchema({"s", "t"},
                       {test::MakeColumn("id", change::LogicalKind::kUuid, true),
                        test::MakeColumn("l", {.kind = change::LogicalKind::kList,
                                               .precision = 10,
                                               .scale = 3,
                                               .element = change::LogicalKind::kDecimal,
                                               .element_delimiter = ';'})},
                       change::ReplicaIdentity::kFull);
  const auto bytes = EncodeSchema(*schema);

  EXPECT_EQ(**DecodeSchema(bytes), *schema);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeSchema(std::span(bytes).first(size)).has_value()) << size << " bytes";
  }
}

TEST(RecordTest, HeaderIsOneOnlyAtItsPlaceAndWithoutABrokenByte) {
  const RecordHeader header{.kind = RecordKind::kSchema,
                            .payload_bytes = 77,
                            .payload_crc = 0x12345678,
                            .synced_bytes = 4096};
  const RecordHeaderBytes bytes = EncodeRecordHeader(header, 1000);

  const auto back = DecodeRecordHeader(bytes, 1000);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->kind, RecordKind::kSchema);
  EXPECT_EQ(back->payload_bytes, 77U);
  EXPECT_EQ(back->synced_bytes, 4096);
  EXPECT_EQ(RecordBytes(*back), kRecordHeaderBytes + 80);

  EXPECT_FALSE(DecodeRecordHeader(bytes, 1008).has_value());
  for (size_t i = 0; i < bytes.size(); ++i) {
    RecordHeaderBytes broken = bytes;
    broken[i] ^= std::byte{1};
    EXPECT_FALSE(DecodeRecordHeader(broken, 1000).has_value()) << "byte " << i;
  }
}

TEST(Crc32cTest, BothWaysGiveTheValueOfTheStandard) {
  const std::string_view text = "123456789";
  EXPECT_EQ(Crc32c(std::as_bytes(std::span(text))), 0xE3069283U);
  EXPECT_EQ(Crc32cPortable(std::as_bytes(std::span(text))), 0xE3069283U);
}

TEST(Crc32cTest, PiecesOfAnyLengthGiveWhatTheWholeGives) {
  std::vector<std::byte> bytes;
  for (int i = 0; i < 100; ++i) bytes.push_back(static_cast<std::byte>(i * 37));
  const std::span<const std::byte> all(bytes);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(Crc32c(all.subspan(cut), Crc32c(all.first(cut))), Crc32cPortable(all));
    EXPECT_EQ(Crc32cPortable(all.subspan(cut), Crc32cPortable(all.first(cut))), Crc32c(all));
  }
}

}  // namespace
}  // namespace freshet::log
