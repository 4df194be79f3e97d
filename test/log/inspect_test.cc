#include "log/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "log/dump.h"
#include "log/segment_reader.h"
#include "support/batches.h"
#include "support/log_fixture.h"

namespace freshet::log {
namespace {

using change::Lsn;
using change::Position;
using nlohmann::json;
using test::BatchBuilder;
using test::LogTest;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class InspectTest : public LogTest {
 protected:
  InspectReport Inspected(bool check_everything = true) {
    auto report = Inspect(fs_, options_.path, {.check_everything = check_everything});
    if (!report.has_value()) {
      ADD_FAILURE() << report.error();
      return {};
    }
    return *std::move(report);
  }

  /// The lines of a dump, of kind `record` only.
  std::vector<json> Dumped(const DumpFilter& filter, std::string_view record = "batch") {
    std::vector<json> lines;
    const Status status = Dump(fs_, options_.path, filter, [&](std::string_view line) -> Status {
      json parsed = json::parse(line);
      if (parsed["record"] == record) lines.push_back(std::move(parsed));
      return {};
    });
    EXPECT_TRUE(status.has_value()) << status.error();
    return lines;
  }

  std::vector<int64_t> DumpedOffsets(const DumpFilter& filter) {
    std::vector<int64_t> offsets;
    for (const json& line : Dumped(filter)) offsets.push_back(line["offset"]);
    return offsets;
  }

  void WriteFive() {
    const auto log = Open();
    for (uint64_t i = 1; i <= 5; ++i) {
      Append(*log, Items(i * 100, {std::to_string(i), "nut", "0.10"}));
      ASSERT_TRUE(log->Sync().has_value());
    }
  }
};

TEST_F(InspectTest, FolderWithoutALogIsNotFound) {
  ASSERT_TRUE(fs_.MakeFolder("empty").has_value());

  const auto report = Inspect(fs_, "empty", {});

  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().kind, ErrorKind::kNotFound);
}

TEST_F(InspectTest, RunningLogIsCountedWithoutTouchingIt) {
  options_.segment_size.bytes = 1;
  const auto log = Open();
  for (uint64_t i = 1; i <= 30; ++i) Append(*log, Items(i * 100, {"1", "nut", "0.10"}));
  Append(*log, ItemsPart(4000, true, false, {"2", "bolt", "0.20"}));

  for (const bool everything : {true, false}) {
    const InspectReport report = Inspected(everything);

    EXPECT_EQ(report.id, log->id());
    EXPECT_EQ(std::ssize(report.segments), log->stats().segments);
    EXPECT_EQ(report.batches, 31);
    EXPECT_EQ(report.transactions, 30);
    EXPECT_EQ(report.rows, 31);
    EXPECT_EQ(report.size_bytes, log->stats().size_bytes);
    EXPECT_EQ(report.end.offset, LogOffset{31});
    EXPECT_EQ(report.end.position, (Position{Lsn{3000}, 0}));
    EXPECT_FALSE(report.damaged);
    EXPECT_EQ(report.segments.front().condition, SegmentCondition::kSealed);
    EXPECT_EQ(report.segments.back().condition, SegmentCondition::kActive);
    EXPECT_TRUE(report.segments.back().ends_open);
  }
  Append(*log, ItemsPart(4000, false, true, {"3", "gear", "0.30"}));
}

TEST_F(InspectTest, HalfWrittenRecordAtTheEndIsTornNotDamaged) {
  WriteFive();
  fs_.CutTail(SegmentPath(0), 1);

  const InspectReport report = Inspected();

  EXPECT_FALSE(report.damaged);
  ASSERT_EQ(report.segments.size(), 1U);
  EXPECT_EQ(report.segments[0].condition, SegmentCondition::kTorn);
  EXPECT_EQ(report.batches, 4);
  EXPECT_LT(report.segments[0].whole_bytes, report.segments[0].size_bytes);
}

TEST_F(InspectTest, DamageIsReportedAndTheOtherSegmentsAreStillCounted) {
  options_.segment_size.bytes = 1;
  {
    const auto log = Open();
    for (uint64_t i = 1; i <= 30; ++i) Append(*log, Items(i * 100, {"1", "nut", "0.10"}));
  }
  const auto firsts = ListSegments(fs_, options_.path);
  ASSERT_GT(firsts->size(), 2U);
  const std::string path = SegmentPath((*firsts)[1].value);
  fs_.Flip(path, 2000);

  const InspectReport report = Inspected();

  EXPECT_TRUE(report.damaged);
  EXPECT_EQ(report.segments[1].condition, SegmentCondition::kDamaged);
  EXPECT_THAT(report.segments[1].damage, HasSubstr(path));
  EXPECT_EQ(report.segments[0].condition, SegmentCondition::kSealed);
  EXPECT_EQ(report.end.offset, LogOffset{30});
}

TEST_F(InspectTest, DumpTellsNoValuesUnlessAsked) {
  {
    const auto log = Open();
    Append(*log, BatchBuilder()
                     .Begin(100)
                     .Update(items_, {"1", test::Unchanged(), test::Exception("NaN")})
                     .Message("audit", "private words")
                     .Build());
  }

  const auto silent = Dumped({});
  ASSERT_EQ(silent.size(), 1U);
  EXPECT_THAT(silent[0].dump(), Not(HasSubstr("NaN")));
  EXPECT_THAT(silent[0].dump(), Not(HasSubstr("private words")));
  EXPECT_EQ(silent[0]["tables"][0]["table"], "public.items");
  EXPECT_EQ(silent[0]["tables"][0]["kinds"]["update_postimage"], 1);
  EXPECT_EQ(silent[0]["transactions"][0]["end_lsn"], "0/64");

  const json row = Dumped({.rows = true})[0]["tables"][0]["changes"][0];
  EXPECT_EQ(row["kind"], "update_postimage");
  EXPECT_EQ(row["values"]["id"], "1");
  EXPECT_EQ(row["values"]["name"], nullptr);
  EXPECT_EQ(row["unchanged"], json::array({"name"}));
  EXPECT_EQ(row["exceptions"]["amount"], "NaN");
}

TEST_F(InspectTest, StepsOfSnapshotsAreToldWithoutTheValuesOfKeys) {
  {
    const auto log = Open();
    Append(*log, BatchBuilder()
                     .Piece(100, 3)
                     .Begun(items_, true)
                     .Step({.step = change::SnapshotStep::kAdvanced,
                            .table = items_->id(),
                            .part = {77},
                            .last_key = {"private key"},
                            .part_rows = 5})
                     .Build());
  }

  const auto report = Inspect(fs_, options_.path, {});
  const auto dumped = Dumped({.rows = true});

  ASSERT_TRUE(report.has_value()) << report.error();
  EXPECT_EQ(report->end.position, (change::Position{{100}, 3}));
  EXPECT_EQ(report->snapshots.unfinished().at(items_->id()).parts.at({77}).part_rows, 5);
  ASSERT_EQ(dumped.size(), 1U);
  EXPECT_EQ(dumped[0]["end"], "0/64+3");
  EXPECT_EQ(dumped[0]["snapshots"][0]["step"], "begun");
  EXPECT_EQ(dumped[0]["snapshots"][1]["rows"], 5);
  EXPECT_THAT(dumped[0].dump(), Not(HasSubstr("private key")));
}

TEST_F(InspectTest, DumpFiltersByOffsetLsnAndCount) {
  WriteFive();

  EXPECT_THAT(DumpedOffsets({}), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(DumpedOffsets({.from = LogOffset{1}, .to = LogOffset{3}}), ElementsAre(1, 2));
  EXPECT_THAT(DumpedOffsets({.from_lsn = Lsn{200}, .to_lsn = Lsn{400}}), ElementsAre(1, 2));
  EXPECT_THAT(DumpedOffsets({.most_batches = 2}), ElementsAre(0, 1));
}

TEST_F(InspectTest, DumpFiltersByTimeAndTable) {
  const auto orders = test::MakeItemsSchema("orders");
  {
    const auto log = Open();
    for (int i = 1; i <= 4; ++i) {
      auto batch = *BatchBuilder()
                        .Begin(static_cast<uint64_t>(i) * 100)
                        .Insert(i % 2 == 0 ? orders : items_, {"1", "nut", "0.10"})
                        .Build();
      batch.transactions[0].commit_time = i * 1000;
      Append(*log, std::make_shared<change::ChangeBatch>(std::move(batch)));
    }
  }

  EXPECT_THAT(DumpedOffsets({.from_time = 2000, .to_time = 4000}), ElementsAre(1, 2));
  EXPECT_THAT(DumpedOffsets({.table = "public.orders"}), ElementsAre(1, 3));
  EXPECT_EQ(Dumped({}, "checkpoint").size(), 1U);
  EXPECT_EQ(Dumped({}, "schema").size(), 2U);
  EXPECT_EQ(Dumped({.table = "public.orders"}, "schema").size(), 1U);
}

TEST_F(InspectTest, DumpStopsAtDamage) {
  WriteFive();
  fs_.Flip(SegmentPath(0), 1500);

  const Status status = Dump(fs_, options_.path, {}, [](std::string_view) { return Status(); });

  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace freshet::log
