// The format is a promise: bytes written once must be read for ever. golden/ holds a segment
// written by the first version, and what `freshet log dump --rows` says of it.
// FRESHET_UPDATE_GOLDEN=1 writes both anew, which is right only together with a new format version.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "log/batch_codec.h"
#include "log/dump.h"
#include "log/schema_codec.h"
#include "log/segment_writer.h"
#include "support/batches.h"
#include "support/memory_file_system.h"

namespace freshet::log {
namespace {

using change::LogicalKind;
using test::BatchBuilder;
using test::List;
using test::MakeColumn;
using test::Null;

const std::string kFolder = "test/log/golden";
const std::string kSegment = kFolder + "/00000000000000000007.segment";
const std::string kDump = kFolder + "/dump.jsonl";

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A column of every logical kind.
std::shared_ptr<const change::TableSchema> EveryKind() {
  return test::MakeSchema(
      {"public", "every kind"},
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("b", LogicalKind::kBool),
       MakeColumn("i2", LogicalKind::kInt16), MakeColumn("i4", LogicalKind::kInt32),
       MakeColumn("oid", LogicalKind::kUInt32), MakeColumn("f4", LogicalKind::kFloat32),
       MakeColumn("f8", LogicalKind::kFloat64),
       MakeColumn("d", {.kind = LogicalKind::kDecimal, .precision = 12, .scale = 2}),
       MakeColumn("n", LogicalKind::kNumericText), MakeColumn("t", LogicalKind::kText),
       MakeColumn("j", LogicalKind::kJson), MakeColumn("by", LogicalKind::kBytes),
       MakeColumn("da", LogicalKind::kDate), MakeColumn("ti", LogicalKind::kTime),
       MakeColumn("ts", LogicalKind::kTimestamp), MakeColumn("tz", LogicalKind::kTimestampTz),
       MakeColumn("u", LogicalKind::kUuid),
       MakeColumn("l", {.kind = LogicalKind::kList, .element = LogicalKind::kInt32}),
       MakeColumn("x", LogicalKind::kExactText)},
      change::ReplicaIdentity::kDefault, 16'400);
}

test::Row EveryValue(const std::string& id) {
  return {id,
          "true",
          "-2",
          "4",
          "4000000000",
          "1.5",
          "2.25",
          "19.99",
          "123456789012345678901234567890.5",
          "na\xC3\xAFve",
          R"({"a": 1})",
          std::string("\x00\xFF", 2),
          "2024-02-29",
          "12:34:56.789",
          "2024-02-29 12:00:00.5",
          "2024-02-29 12:00:00Z",
          "01234567-89ab-cdef-0123-456789abcdef",
          List({"1", Null(), "3"}),
          "(1,2)"};
}

/// Writes the records of the golden segment with today's code.
void WriteSegment(FileSystem& fs, const std::string& folder) {
  const auto every = EveryKind();
  const auto items = test::MakeItemsSchema();
  change::SourceIdentity source;
  source.system_id = 7'000'000'000'000'000'001;
  source.timeline = 3;
  source.database = "shop";
  source.database_oid = 16'384;
  source.slot = "freshet";
  source.publication = "freshet";
  source.consistent_point = {0x1000};
  source.created_at = 1'700'000'000'000'000;
  const Checkpoint checkpoint{
      .end = {{7}, {{0x1600}, 3}},
      .newest_commit = 1'700'000'000'000'001,
      .written_at = 1'700'000'000'000'002,
      .previous = {0},
      .previous_bytes = 4096,
      .schema_count = 1,
      .source = source,
      .snapshots = {{.step = change::SnapshotStep::kWanted, .table = every->id()}}};
  const std::vector<std::byte> in_force[] = {EncodeSchema(*every)};
  auto writer =
      SegmentWriter::Create(fs, folder, {"000102030405060708090a0b0c0d0e0f"}, checkpoint, in_force);
  ASSERT_TRUE(writer.has_value()) << writer.error();

  Gather payload;
  payload.Copy(EncodeSchema(*items));
  const int64_t items_place = *(*writer)->Append(RecordKind::kSchema, payload);
  source.timeline = 4;
  payload.Clear();
  payload.Copy(EncodeSource(source));
  ASSERT_TRUE((*writer)->Append(RecordKind::kSource, payload).has_value());
  ASSERT_TRUE((*writer)->Sync().has_value());

  const std::shared_ptr<const change::ChangeBatch> batches[] = {
      BatchBuilder()
          .Begin(0x2000)
          .Insert(every, EveryValue("1"))
          .Insert(items, {"1", "nut", "0.10"})
          .Update(items, {"1", test::Unchanged(), test::Exception("NaN")})
          .Begin(0x3000)
          .Delete(every, test::KeyOnly(*every, EveryValue("1")))
          .Truncate({items})
          .Message("audit", "who\nwhat")
          .Build(),
      BatchBuilder().Part(0x4000, true, false).Snapshot(items, {"2", "bolt", Null()}).Build(),
      BatchBuilder().Part(0x4000, false, true, 1).Snapshot(items, {"3", "gear", "3.00"}).Build(),
      BatchBuilder()
          .Piece(0x4000, 1)
          .Snapshot(items, {"4", "nail", "0.01"})
          .Begun(items, true)
          .Step({.step = change::SnapshotStep::kAdvanced,
                 .table = items->id(),
                 .part = items->id(),
                 .filenode = 16'405,
                 .blocks = {{0, 128}, {256, 384}},
                 .last_key = {"4"},
                 .part_rows = 1})
          .Build(),
      BatchBuilder()
          .Piece(0x4000, 2)
          .Step({.step = change::SnapshotStep::kFinished, .table = items->id()})
          .Step({.step = change::SnapshotStep::kSeen,
                 .table = items->id(),
                 .seen = {.horizon = 740,
                          .row_type = 0x0123456789abcdef,
                          .key_type = 0xfedcba9876543210,
                          .sent = 0x1122334455667788,
                          .membership = 16'406,
                          .parts = {{{17'000}, 17'001}, {items->id(), 16'405}}}})
          .Build(),
      BatchBuilder()
          .Begin(0x5000)
          .Insert(items, {"5", "hook", "2.00"})
          .Step({.step = change::SnapshotStep::kWanted, .table = {17'100}, .keeps = true})
          .Step({.step = change::SnapshotStep::kLooked, .seen = {.horizon = 741}})
          .Step({.step = change::SnapshotStep::kLeftOut, .table = {17'200}})
          .Build()};
  LogEnd end = checkpoint.end;
  for (const auto& batch : batches) {
    std::vector<int64_t> places;
    for (const auto& table : batch->tables) {
      places.push_back(table.schema->id() == every->id() ? (*writer)->schema_places()[0]
                                                         : items_place);
    }
    BatchEncoder encoder(Compression::kNone);
    const BatchHead head = MakeBatchHead(*batch, end.offset, end.position);
    const auto encoded = encoder.Encode(head, *batch, places);
    ASSERT_TRUE(encoded.has_value()) << encoded.error();
    ASSERT_TRUE((*writer)->Append(RecordKind::kBatch, **encoded).has_value());
    end = {{end.offset.value + 1}, head.end};
  }
  ASSERT_TRUE((*writer)->Seal().has_value());
}

std::string DumpText(FileSystem& fs) {
  std::string text;
  const Status status = Dump(fs, kFolder, {.rows = true}, [&](std::string_view line) -> Status {
    text.append(line).push_back('\n');
    return {};
  });
  EXPECT_TRUE(status.has_value()) << status.error();
  return text;
}

TEST(GoldenTest, SegmentOfTheFirstVersionIsReadAsItWasMeant) {
  if (std::getenv("FRESHET_UPDATE_GOLDEN") != nullptr) {
    WriteSegment(LocalFileSystem(), kFolder);
    std::ofstream(kDump) << DumpText(LocalFileSystem());
  }
  ASSERT_FALSE(ReadFile(kSegment).empty()) << "run from the repository's root";

  EXPECT_EQ(DumpText(LocalFileSystem()), ReadFile(kDump));
}

/// A change of the writer that the reader does not notice would still break other readers.
TEST(GoldenTest, SegmentWrittenTodayHasTheSameBytes) {
  test::MemoryFileSystem fs;
  ASSERT_TRUE(fs.MakeFolder(kFolder).has_value());

  WriteSegment(fs, kFolder);

  const auto today = fs.Content(kSegment);
  const std::string golden = ReadFile(kSegment);
  EXPECT_TRUE(std::ranges::equal(today, std::as_bytes(std::span(golden))));
}

}  // namespace
}  // namespace freshet::log
