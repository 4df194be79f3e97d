#include "postgres/chunk_join.h"

#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "support/batches.h"

namespace freshet::postgres {
namespace {

using change::LogicalKind;
using test::KeyOnly;
using test::MakeColumn;
using test::MakeSchema;
using test::Null;
using test::Row;
using test::Unchanged;
using testing::ElementsAre;
using testing::IsEmpty;
using Schema = std::shared_ptr<const change::TableSchema>;
using Outcome = Placement::Outcome;

TxidSnapshot Snapshot(std::string_view text) { return TxidSnapshot::Parse(text).value(); }

/// Table `docs (id, title, body, notes)`, read by chunks under the snapshot 100:100: unless a test
/// says otherwise: it sees transactions below 100.
class ChunkJoinTest : public testing::Test {
 protected:
  static Schema MakeDocs(change::ReplicaIdentity identity = change::ReplicaIdentity::kDefault) {
    return MakeSchema(
        {"public", "docs"},
        {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("title", LogicalKind::kText),
         MakeColumn("body", LogicalKind::kText), MakeColumn("notes", LogicalKind::kText)},
        identity);
  }

  void SetUp() override { join_.Watch(docs_->id(), Snapshot("90:90:")); }

  ChunkId OpenChunk(std::string_view snapshot = "100:100:") {
    const ChunkId chunk = join_.Reserve(docs_->id());
    join_.Open(chunk, Snapshot(snapshot));
    return chunk;
  }

  /// Rows as a session read them: (1, ...), (2, ...), ...
  static change::TableChanges Rows(const Schema& schema, int count) {
    test::BatchBuilder builder;
    builder.Begin(1000, change::TransactionKind::kSnapshot);
    for (int i = 1; i <= count; ++i) {
      const std::string n = std::to_string(i);
      Row row = {n, "title" + n, "body" + n, "notes" + n};
      row.resize(schema->columns().size(), "more" + n);
      builder.Snapshot(schema, std::move(row));
    }
    return builder.Build()->tables.at(0);
  }

  /// One line a row; "~" for unchanged.
  static std::vector<std::string> Texts(const change::TableChanges& rows) {
    std::vector<std::string> lines;
    for (int64_t r = 0; r < rows.num_rows(); ++r) {
      std::string line;
      for (int c = 0; c < rows.rows->num_columns(); ++c) {
        std::string text = test::ValueText(*rows.rows->column(c), r);
        for (const change::UnchangedRows& u : rows.unchanged) {
          if (u.column == c && std::binary_search(u.rows.begin(), u.rows.end(), r)) text = "~";
        }
        for (const change::ValueException& e : rows.exceptions) {
          if (e.column == c && e.row == r) text = "!" + e.text;
        }
        line += (c > 0 ? " " : "") + text;
      }
      lines.push_back(std::move(line));
    }
    return lines;
  }

  /// What Place() makes of rows 1 to `count`.
  std::vector<std::string> Placed(ChunkId chunk, int count) {
    const Placement placement = join_.Place(chunk, Rows(docs_, count));
    switch (placement.outcome) {
      case Outcome::kPlaced:
        return Texts(placement.rows);
      case Outcome::kNothing:
        return {};
      case Outcome::kRejected:
        return {"rejected"};
    }
    return {};
  }

  /// The transaction with this xid, whose changes `fill` adds, goes by.
  template <typename Fill>
  void Stream(uint32_t xid, Fill fill) {
    test::BatchBuilder builder;
    builder.Begin(xid);  // the end is the xid too
    fill(builder);
    join_.Observe(*builder.Build());
  }

  Schema docs_ = MakeDocs();
  ChunkJoin join_{int64_t{1} << 20};
};

TEST_F(ChunkJoinTest, PassesRowsThroughThatTheStreamDidNotTouch) {
  const ChunkId chunk = OpenChunk();
  change::TableChanges rows = Rows(docs_, 2);
  const auto same = rows.rows;
  Stream(100, [&](auto& t) { t.Insert(docs_, {"9", "a", "b", "c"}); });

  const Placement placement = join_.Place(chunk, std::move(rows));

  EXPECT_EQ(placement.outcome, Outcome::kPlaced);
  EXPECT_EQ(placement.rows.rows, same);
}

TEST_F(ChunkJoinTest, DropsRowsThatAnUnseenTransactionRewrote) {
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) {
    t.Update(docs_, {"1", "a", "b", "c"});
    t.Delete(docs_, {"3", Null(), Null(), Null()});
  });

  EXPECT_THAT(Placed(chunk, 4), ElementsAre("2 title2 body2 notes2", "4 title4 body4 notes4"));
  EXPECT_EQ(join_.counters().dropped, 2);
}

TEST_F(ChunkJoinTest, KeepsRowsThatASeenTransactionRewrote) {
  const ChunkId chunk = OpenChunk("95:100:95,97");
  for (const uint32_t xid : {95U, 96U, 97U, 99U}) {
    Stream(xid, [&](auto& t) { t.Update(docs_, {std::to_string(xid - 94), "a", "b", "c"}); });
  }

  EXPECT_THAT(Placed(chunk, 5), ElementsAre("2 title2 body2 notes2", "4 title4 body4 notes4",
                                            "5 title5 body5 notes5"));
}

TEST_F(ChunkJoinTest, TellsNothingLeft) {
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) { t.Update(docs_, {"1", "a", "b", "c"}); });

  EXPECT_EQ(join_.Place(chunk, Rows(docs_, 1)).outcome, Outcome::kNothing);
}

TEST_F(ChunkJoinTest, GivesWhatEveryImageLeftUnchanged) {
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) {
    t.Update(docs_, {"1", "a", Unchanged(), Unchanged()});
    t.Update(docs_, {"2", "a", Unchanged(), "c"});
  });
  Stream(101, [&](auto& t) { t.Update(docs_, {"1", "aa", Unchanged(), "cc"}); });

  EXPECT_THAT(Placed(chunk, 3), ElementsAre("1 ~ body1 ~", "2 ~ body2 ~", "3 title3 body3 notes3"));
  EXPECT_EQ(join_.counters().patched, 2);
}

TEST_F(ChunkJoinTest, DropsARowOfWhichTheImagesLeftNothingInCommon) {
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) {
    t.Update(docs_, {"1", "a", Unchanged(), "c"});
    t.Update(docs_, {"1", "a", "b", Unchanged()});
  });

  EXPECT_THAT(Placed(chunk, 1), IsEmpty());
}

TEST_F(ChunkJoinTest, FollowsARowToItsNewKey) {
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) {
    t.Update(docs_, {"1", "a", Unchanged(), Unchanged()});
    t.Update(docs_, KeyOnly(*docs_, {"1", "", "", ""}), {"11", "a", Unchanged(), Unchanged()});
    t.Update(docs_, KeyOnly(*docs_, {"2", "", "", ""}), {"12", "a", "b", "c"});
  });
  Stream(101, [&](auto& t) {
    t.Update(docs_, KeyOnly(*docs_, {"11", "", "", ""}), {"-5", "a", Unchanged(), "c"});
    t.Insert(docs_, {"1", "x", "y", "z"});
  });

  EXPECT_THAT(Placed(chunk, 3), ElementsAre("-5 ~ body1 ~", "3 title3 body3 notes3"));
}

TEST_F(ChunkJoinTest, ForgetsARowThatWasDeletedAtItsNewKey) {
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) {
    t.Update(docs_, KeyOnly(*docs_, {"1", "", "", ""}), {"11", "a", Unchanged(), Unchanged()});
    t.Delete(docs_, {"11", Null(), Null(), Null()});
    t.Update(docs_, KeyOnly(*docs_, {"2", "", "", ""}), {"11", "a", Unchanged(), "c"});
  });

  EXPECT_THAT(Placed(chunk, 2), ElementsAre("11 ~ body2 ~"));
}

TEST_F(ChunkJoinTest, FollowsARowBackToItsKey) {
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) {
    t.Update(docs_, KeyOnly(*docs_, {"1", "", "", ""}), {"11", "a", Unchanged(), Unchanged()});
    t.Update(docs_, KeyOnly(*docs_, {"11", "", "", ""}), {"1", "a", Unchanged(), "c"});
  });

  EXPECT_THAT(Placed(chunk, 1), ElementsAre("1 ~ body1 ~"));
}

TEST_F(ChunkJoinTest, ReadsKeysOfFullOldRows) {
  docs_ = MakeDocs(change::ReplicaIdentity::kFull);
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) {
    t.Update(docs_, {"1", "title1", "body1", "notes1"}, {"1", "a", Unchanged(), Unchanged()});
    t.Update(docs_, {"2", "title2", "body2", "notes2"}, {"12", "a", Unchanged(), "c"});
    t.Delete(docs_, {"3", "title3", "body3", "notes3"});
  });

  EXPECT_THAT(Placed(chunk, 4),
              ElementsAre("1 ~ body1 notes1", "12 ~ body2 ~", "4 title4 body4 notes4"));
}

TEST_F(ChunkJoinTest, NothingIsLeftOfATruncatedTable) {
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) { t.Truncate({docs_}); });

  EXPECT_THAT(Placed(chunk, 3), IsEmpty());
  Stream(101, [&](auto& t) { t.Update(docs_, {"1", "a", Unchanged(), Unchanged()}); });
  EXPECT_THAT(Placed(chunk, 3), IsEmpty());
}

TEST_F(ChunkJoinTest, ATruncateThatIsSeenIsOldNews) {
  const ChunkId chunk = OpenChunk();
  Stream(99, [&](auto& t) { t.Truncate({docs_}); });

  EXPECT_THAT(Placed(chunk, 1), ElementsAre("1 title1 body1 notes1"));
}

TEST_F(ChunkJoinTest, RemembersATransactionUntilASnapshotSeesIt) {
  Stream(101, [&](auto& t) { t.Update(docs_, {"1", "a", "b", "c"}); });
  const ChunkId early = OpenChunk("101:103:101");  // it waits in its commit
  EXPECT_THAT(Placed(early, 2), ElementsAre("2 title2 body2 notes2"));
  EXPECT_GT(join_.counters().window_bytes, 0);

  join_.Close(early);
  const ChunkId late = OpenChunk("103:103:");

  EXPECT_THAT(Placed(late, 1), ElementsAre("1 title1 body1 notes1"));
  EXPECT_EQ(join_.counters().window_bytes, 0);
}

TEST_F(ChunkJoinTest, ASnapshotDoesNotForgetWhatAReservedChunkMayMiss) {
  const ChunkId slow = join_.Reserve(docs_->id());
  Stream(101, [&](auto& t) { t.Update(docs_, {"1", "a", "b", "c"}); });
  const ChunkId quick = OpenChunk("105:105:");

  join_.Open(slow, Snapshot("100:100:"));

  EXPECT_THAT(Placed(slow, 2), ElementsAre("2 title2 body2 notes2"));
  EXPECT_THAT(Placed(quick, 1), ElementsAre("1 title1 body1 notes1"));
  join_.Close(slow);
  EXPECT_EQ(join_.counters().window_bytes, 0);
}

TEST_F(ChunkJoinTest, WorksInWhatCameBetweenTwoPieces) {
  const ChunkId chunk = OpenChunk();
  EXPECT_THAT(Placed(chunk, 1), ElementsAre("1 title1 body1 notes1"));
  Stream(100, [&](auto& t) { t.Update(docs_, {"1", "a", Unchanged(), Unchanged()}); });
  EXPECT_THAT(Placed(chunk, 1), ElementsAre("1 ~ body1 notes1"));
  Stream(101, [&](auto& t) { t.Delete(docs_, {"1", Null(), Null(), Null()}); });

  EXPECT_THAT(Placed(chunk, 1), IsEmpty());
}

TEST_F(ChunkJoinTest, RejectsAChunkThatMayMissWhatWasStreamedUnobserved) {
  join_.Watch(docs_->id(), Snapshot("95:99:95,97"));
  EXPECT_THAT(join_.WaitsFor(docs_->id()), ElementsAre(95U, 97U));

  const ChunkId chunk = OpenChunk("97:105:97");
  EXPECT_THAT(join_.WaitsFor(docs_->id()), ElementsAre(97U));
  EXPECT_THAT(Placed(chunk, 1), ElementsAre("rejected"));
  join_.Close(chunk);
  join_.Learn(Snapshot("105:105:"));

  EXPECT_THAT(join_.WaitsFor(docs_->id()), IsEmpty());
  EXPECT_THAT(Placed(OpenChunk("105:105:"), 1), ElementsAre("1 title1 body1 notes1"));
  EXPECT_EQ(join_.counters().rejected, 1);
}

TEST_F(ChunkJoinTest, WaitsForTransactionsThatBeganBehindTheSnapshotsEndToo) {
  join_.Watch(docs_->id(), Snapshot("97:98:97"), 100);
  EXPECT_THAT(join_.WaitsFor(docs_->id()), ElementsAre(97U, 98U, 99U));

  join_.Learn(Snapshot("99:101:99"));

  EXPECT_THAT(join_.WaitsFor(docs_->id()), ElementsAre(99U));
}

TEST_F(ChunkJoinTest, WhatAnotherChunkSawHasNotBeenSeenByThisOne) {
  join_.Watch(docs_->id(), Snapshot("95:99:95"));
  const ChunkId early = join_.Reserve(docs_->id());
  const ChunkId late = OpenChunk("105:105:");

  join_.Open(early, Snapshot("95:102:95"));

  EXPECT_THAT(Placed(early, 1), ElementsAre("rejected"));
  EXPECT_THAT(Placed(late, 1), ElementsAre("1 title1 body1 notes1"));
}

TEST_F(ChunkJoinTest, RejectsAChunkThatMissesWhatWasStreamedBeforeTheTableWasEmptied) {
  const ChunkId before = OpenChunk("100:102:100");
  Stream(100, [&](auto& t) { t.Update(docs_, {"1", "a", "b", "c"}); });
  join_.Emptied(docs_->id());
  const ChunkId misses = OpenChunk("100:105:100");
  const ChunkId sees = OpenChunk("105:105:");

  EXPECT_THAT(Placed(before, 2), ElementsAre("rejected"));
  EXPECT_THAT(Placed(misses, 2), ElementsAre("rejected"));
  EXPECT_THAT(Placed(sees, 1), ElementsAre("1 title1 body1 notes1"));
}

TEST_F(ChunkJoinTest, RejectsThatThereAreNoRowsToo) {
  change::TableChanges none;
  none.schema = docs_;
  none.rows = test::MakeRows(*docs_, {});
  Stream(100, [&](auto& t) { t.Insert(docs_, {"1", "a", "b", "c"}); });
  EXPECT_EQ(join_.Place(OpenChunk("100:105:100"), none).outcome, Outcome::kNothing);

  join_.Emptied(docs_->id());

  EXPECT_EQ(join_.Place(OpenChunk("100:105:100"), none).outcome, Outcome::kRejected);
}

TEST_F(ChunkJoinTest, ATransactionBeyondTheWindowCountsAsIfItTouchedAll) {
  ChunkJoin small(2000);
  small.Watch(docs_->id(), Snapshot("90:90:"));
  const ChunkId misses = small.Reserve(docs_->id());
  small.Open(misses, Snapshot("100:100:"));
  test::BatchBuilder large;
  large.Begin(100);
  for (int i = 0; i < 1000; ++i) large.Insert(docs_, {std::to_string(1000 + i), "", "", ""});
  small.Observe(*large.Build());
  const ChunkId sees = small.Reserve(docs_->id());
  small.Open(sees, Snapshot("101:101:"));

  EXPECT_EQ(small.Place(misses, Rows(docs_, 1)).outcome, Outcome::kRejected);
  EXPECT_EQ(small.Place(sees, Rows(docs_, 1)).outcome, Outcome::kPlaced);
  EXPECT_LE(small.counters().window_bytes, 2000);
}

TEST_F(ChunkJoinTest, MemoryIsBoundedWhateverIsStreamed) {
  constexpr int64_t kWindow = 10'000;
  ChunkJoin small(kWindow);
  small.Watch(docs_->id(), Snapshot("90:90:"));
  const ChunkId misses = small.Reserve(docs_->id());
  small.Open(misses, Snapshot("100:100:"));
  int64_t most = 0;
  for (uint64_t xid = 100; xid < 20'000; ++xid) {
    const auto batch = test::BatchBuilder().Begin(xid).Insert(docs_, {"7", "", "", ""}).Build();
    small.Observe(*batch);
    most = std::max(most, small.counters().window_bytes);
  }

  EXPECT_LE(most, kWindow + (int64_t{1} << 20) + 1000);
  EXPECT_EQ(small.Place(misses, Rows(docs_, 1)).outcome, Outcome::kRejected);
  small.Close(misses);
  const ChunkId partly = small.Reserve(docs_->id());
  small.Open(partly, Snapshot("19000:20000:19000"));
  EXPECT_EQ(small.Place(partly, Rows(docs_, 1)).outcome, Outcome::kRejected);
  small.Close(partly);
  const ChunkId sees = small.Reserve(docs_->id());
  small.Open(sees, Snapshot("20000:20000:"));
  EXPECT_EQ(small.Place(sees, Rows(docs_, 1)).outcome, Outcome::kPlaced);
  EXPECT_EQ(small.counters().window_bytes, 0);
}

TEST_F(ChunkJoinTest, RejectsRowsOfOtherColumnsThanTheStreams) {
  const Schema wider = MakeSchema(
      {"public", "docs"},
      {MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("title", LogicalKind::kText),
       MakeColumn("body", LogicalKind::kText), MakeColumn("notes", LogicalKind::kText),
       MakeColumn("added", LogicalKind::kText)});
  const ChunkId older = OpenChunk("100:100:");
  Stream(100, [&](auto& t) { t.Insert(wider, {"9", "a", "b", "c", "d"}); });
  const ChunkId newer = OpenChunk("101:101:");

  EXPECT_THAT(Placed(older, 1), ElementsAre("rejected"));
  EXPECT_EQ(join_.Place(newer, Rows(wider, 1)).outcome, Outcome::kPlaced);
}

TEST_F(ChunkJoinTest, RejectsRowsOfAnotherKeyThanTheStreams) {
  const Schema other = MakeSchema(
      {"public", "docs"},
      {MakeColumn("id", LogicalKind::kInt64), MakeColumn("title", LogicalKind::kText, true),
       MakeColumn("body", LogicalKind::kText), MakeColumn("notes", LogicalKind::kText)});
  const ChunkId chunk = OpenChunk("100:100:");
  Stream(100, [&](auto& t) { t.Insert(other, {"9", "a", "b", "c"}); });

  EXPECT_THAT(Placed(chunk, 1), ElementsAre("rejected"));
}

TEST_F(ChunkJoinTest, IgnoresOtherTablesAndSnapshots) {
  const Schema other = test::MakeItemsSchema("other");
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) { t.Insert(other, {"1", "nut", "0.10"}); });
  join_.Observe(*test::BatchBuilder()
                     .Begin(101, change::TransactionKind::kSnapshot)
                     .Snapshot(docs_, {"1", "a", "b", "c"})
                     .Build());

  EXPECT_THAT(Placed(chunk, 1), ElementsAre("1 title1 body1 notes1"));
  EXPECT_EQ(join_.counters().window_bytes, 0);
}

TEST_F(ChunkJoinTest, AnUnwatchedTableHoldsNoMemory) {
  const ChunkId chunk = OpenChunk();
  Stream(100, [&](auto& t) { t.Update(docs_, {"1", "a", "b", "c"}); });
  EXPECT_GT(join_.counters().window_bytes, 0);

  join_.Unwatch(docs_->id());

  EXPECT_EQ(join_.counters().window_bytes, 0);
  EXPECT_THAT(Placed(chunk, 1), ElementsAre("rejected"));
  join_.Close(chunk);
}

TEST_F(ChunkJoinTest, KnowsWhetherAColumnCameUnchanged) {
  Stream(100, [&](auto& t) { t.Update(docs_, {"1", "a", "b", "c"}); });
  EXPECT_FALSE(join_.saw_unchanged(docs_->id()));
  Stream(101, [&](auto& t) { t.Update(docs_, {"2", "a", Unchanged(), "c"}); });
  EXPECT_TRUE(join_.saw_unchanged(docs_->id()));
}

TEST_F(ChunkJoinTest, AKeyThatWasNotSentIsTakenFromTheOldRow) {
  const Schema files = MakeSchema(
      {"public", "files"},
      {MakeColumn("path", LogicalKind::kText, true), MakeColumn("body", LogicalKind::kText)});
  join_.Watch(files->id(), Snapshot("90:90:"));
  const auto rows = [&] {
    return test::BatchBuilder()
        .Begin(1000, change::TransactionKind::kSnapshot)
        .Snapshot(files, {"a", "body a"})
        .Snapshot(files, {"b", "body b"})
        .Build()
        ->tables.at(0);
  };
  const auto open = [&] {
    const ChunkId chunk = join_.Reserve(files->id());
    join_.Open(chunk, Snapshot("100:100:"));
    return chunk;
  };
  const ChunkId known = open();
  Stream(100, [&](auto& t) { t.Update(files, {"a", Null()}, {Unchanged(), "new"}); });
  EXPECT_THAT(Texts(join_.Place(known, rows()).rows), ElementsAre("b body b"));

  const ChunkId unknown = open();
  Stream(101, [&](auto& t) { t.Update(files, {Unchanged(), "newer"}); });
  EXPECT_EQ(join_.Place(unknown, rows()).outcome, Outcome::kRejected);
}

}  // namespace
}  // namespace freshet::postgres
