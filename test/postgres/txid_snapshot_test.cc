#include "postgres/txid_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace freshet::postgres {
namespace {

using change::Xid;
using testing::ElementsAre;
using testing::IsEmpty;

TxidSnapshot Parsed(std::string_view text) {
  auto snapshot = TxidSnapshot::Parse(text);
  EXPECT_TRUE(snapshot.has_value()) << text;
  return snapshot.value_or(TxidSnapshot());
}

TEST(TxidSnapshotTest, ReadsWhatTheServerPrints) {
  const TxidSnapshot snapshot = Parsed("100:105:100,103");

  EXPECT_EQ(snapshot.xmin(), 100U);
  EXPECT_EQ(snapshot.xmax(), 105U);
  EXPECT_THAT(snapshot.running(), ElementsAre(100U, 103U));
  EXPECT_EQ(snapshot.ToString(), "100:105:100,103");
}

TEST(TxidSnapshotTest, ReadsASnapshotOfAnIdleServer) {
  const TxidSnapshot snapshot = Parsed("744:744:");

  EXPECT_THAT(snapshot.running(), IsEmpty());
  EXPECT_EQ(snapshot.ToString(), "744:744:");
}

TEST(TxidSnapshotTest, SeesWhatHadEnded) {
  const TxidSnapshot snapshot = Parsed("100:105:100,103");

  EXPECT_TRUE(snapshot.Sees(Xid{99}));
  EXPECT_FALSE(snapshot.Sees(Xid{100}));
  EXPECT_TRUE(snapshot.Sees(Xid{101}));
  EXPECT_TRUE(snapshot.Sees(Xid{102}));
  EXPECT_FALSE(snapshot.Sees(Xid{103}));
  EXPECT_TRUE(snapshot.Sees(Xid{104}));
  EXPECT_FALSE(snapshot.Sees(Xid{105}));
  EXPECT_FALSE(snapshot.Sees(Xid{106}));
}

TEST(TxidSnapshotTest, WidensToTheEpochThatIsNearest) {
  const uint64_t epoch = uint64_t{1} << 32;
  const TxidSnapshot late =
      Parsed(std::to_string(2 * epoch - 3) + ":" + std::to_string(2 * epoch - 1) + ":");
  const TxidSnapshot early =
      Parsed(std::to_string(2 * epoch + 3) + ":" + std::to_string(2 * epoch + 5) + ":");

  EXPECT_EQ(late.Widen(Xid{4'294'967'295}), 2 * epoch - 1);
  EXPECT_EQ(late.Widen(Xid{3}), 2 * epoch + 3);
  EXPECT_EQ(early.Widen(Xid{3}), 2 * epoch + 3);
  EXPECT_EQ(early.Widen(Xid{4'294'967'290}), 2 * epoch - 6);
  EXPECT_TRUE(early.Sees(Xid{4'294'967'290}));
  EXPECT_FALSE(late.Sees(Xid{3}));
}

TEST(TxidSnapshotTest, RefusesOtherText) {
  for (const char* text :
       {"", "1", "1:", "1:2", "5:4:", "1:2:a", "1:5:2,", "1:5:,2", "1:5:3,2", "1:5:2,2", "1:5:5",
        "2:5:1", "1:5:2 ", "-1:5:", "99999999999999999999:1:", "1:2::"}) {
    const auto snapshot = TxidSnapshot::Parse(text);

    ASSERT_FALSE(snapshot.has_value()) << text;
    EXPECT_EQ(snapshot.error().kind, ErrorKind::kMalformed);
  }
}

}  // namespace
}  // namespace freshet::postgres
