#include "verify/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace freshet::verify {
namespace {

Row MakeRow(const std::vector<const char*>& values) {
  Row row;
  for (const char* value : values) {
    if (value == nullptr) {
      row.AddNull();
    } else {
      row.AddText(value);
    }
  }
  return row;
}

TEST(RowTest, ValuesComeBackAsTheyWerePut) {
  const Row row = MakeRow({"a", nullptr, "", "long text"});

  ASSERT_EQ(row.size(), 4U);
  EXPECT_EQ(row.text(0), "a");
  EXPECT_TRUE(row.is_null(1));
  EXPECT_FALSE(row.is_null(2));
  EXPECT_EQ(row.text(2), "");
  EXPECT_EQ(row.text(3), "long text");
}

TEST(RowTest, TextByPartsIsTheSameRow) {
  Row row;
  row.BeginText().append("ab");
  row.EndText();

  EXPECT_EQ(row.bytes(), MakeRow({"ab"}).bytes());
}

TEST(Hash128Test, SumsAndDifferencesCarryIntoTheHighWord) {
  Hash128 sum{.high = 1, .low = UINT64_MAX};

  sum += Hash128{.high = 0, .low = 1};
  EXPECT_EQ(sum, (Hash128{.high = 2, .low = 0}));

  sum -= Hash128{.high = 0, .low = 1};
  EXPECT_EQ(sum, (Hash128{.high = 1, .low = UINT64_MAX}));
}

TEST(HashOfRowTest, NullEmptyAndMovedBordersAreDifferentRows) {
  const std::vector<Row> rows = {MakeRow({"a", "b"}),    MakeRow({"ab", ""}),
                                 MakeRow({"", "ab"}),    MakeRow({nullptr, ""}),
                                 MakeRow({"", nullptr}), MakeRow({"a", "b", nullptr})};

  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < rows.size(); ++j) {
      EXPECT_EQ(HashOfRow(rows[i]) == HashOfRow(rows[j]), i == j) << i << " and " << j;
    }
  }
}

/// The heart of verify: whichever single bit of a row differs, the row's hash does.
TEST(HashOfRowTest, EveryFlippedBitIsSeen) {
  const std::string text = "The quick brown fox, 12.50, \\x00ff, {1,2,NULL}";
  const Hash128 unchanged = HashOfRow(MakeRow({"key", text.c_str()}));

  for (size_t at = 0; at < text.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = text;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      Row row;
      row.AddText("key");
      row.AddText(flipped);
      EXPECT_NE(HashOfRow(row), unchanged) << "byte " << at << " bit " << bit;
    }
  }
}

TEST(HashOfKeyTest, TakesTheKeyColumnsOnly) {
  const std::vector<int> key = {2, 0};

  EXPECT_EQ(HashOfKey(MakeRow({"1", "x", "2"}), key), HashOfKey(MakeRow({"1", "y", "2"}), key));
  EXPECT_NE(HashOfKey(MakeRow({"1", "x", "2"}), key), HashOfKey(MakeRow({"2", "x", "1"}), key));
}

TEST(BucketsTest, OrderOfRowsDoesNotMatterAndOneRowDoes) {
  std::vector<Row> rows;
  for (int i = 0; i < 1000; ++i) rows.push_back(MakeRow({std::to_string(i).c_str(), "v"}));
  Buckets forwards;
  Buckets backwards;
  for (const Row& row : rows) forwards.Add(HashOfKey(row, {0}), HashOfRow(row));
  std::reverse(rows.begin(), rows.end());
  rows.front() = MakeRow({"999", "w"});
  for (const Row& row : rows) backwards.Add(HashOfKey(row, {0}), HashOfRow(row));

  std::vector<size_t> differing;
  for (size_t i = 0; i < Buckets::kCount; ++i) {
    if (forwards[i] != backwards[i]) differing.push_back(i);
  }

  ASSERT_EQ(differing.size(), 1U);
  EXPECT_EQ(differing[0], Buckets::IndexOf(HashOfKey(rows.front(), {0})));
  EXPECT_EQ(forwards.Total().rows, 1000);
  EXPECT_NE(forwards.Total(), backwards.Total());
}

/// Two equal rows must not cancel each other out, as they would under an exclusive or.
TEST(BucketsTest, ARowTwiceIsNotNoRow) {
  const Row row = MakeRow({"1"});
  Buckets twice;
  twice.Add(HashOfRow(row), HashOfRow(row));
  twice.Add(HashOfRow(row), HashOfRow(row));

  EXPECT_NE(twice.Total().sum, Hash128{});
  EXPECT_EQ(twice.Total().rows, 2);
}

}  // namespace
}  // namespace freshet::verify
