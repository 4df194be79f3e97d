#include "postgres/array_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace freshet::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// The elements of an array's text; null as "<null>".
struct Split {
  explicit Split(std::string_view text, char delimiter = ',') {
    std::string scratch = "left over";
    std::vector<Cell> cells(3);
    outcome = SplitArray(text, delimiter, scratch, cells);
    for (const Cell& cell : cells) {
      elements.push_back(cell.size == Cell::kNull
                             ? "<null>"
                             : scratch.substr(cell.offset, static_cast<size_t>(cell.size)));
    }
  }

  ValueOutcome outcome;
  std::vector<std::string> elements;
};

TEST(SplitArrayTest, PlainElementsAndNulls) {
  const Split split("{1,NULL,-3}");

  EXPECT_EQ(split.outcome, ValueOutcome::kValue);
  EXPECT_THAT(split.elements, ElementsAre("1", "<null>", "-3"));
  EXPECT_THAT(Split("{}").elements, IsEmpty());
  EXPECT_EQ(Split("{}").outcome, ValueOutcome::kValue);
}

TEST(SplitArrayTest, QuotedElementsAreUnescaped) {
  const Split split(R"({"a,b","NULL","","q\"\\","{}"," x"})");

  EXPECT_EQ(split.outcome, ValueOutcome::kValue);
  EXPECT_THAT(split.elements, ElementsAre("a,b", "NULL", "", "q\"\\", "{}", " x"));
}

TEST(SplitArrayTest, BoxesAreParted) {
  const Split split("{(2,2),(0,0);(1,1),(0,0)}", ';');

  EXPECT_EQ(split.outcome, ValueOutcome::kValue);
  EXPECT_THAT(split.elements, ElementsAre("(2,2),(0,0)", "(1,1),(0,0)"));
}

TEST(SplitArrayTest, MoreDimensionsAndOtherBoundsAreExceptions) {
  for (const std::string_view text : {"{{1,2},{3,4}}", "[0:1]={1,2}", "[2:3][1:2]={{1,2},{3,4}}"}) {
    EXPECT_EQ(Split(text).outcome, ValueOutcome::kException) << text;
  }
}

TEST(SplitArrayTest, OddTextIsMalformed) {
  for (const std::string_view text : {"", "{", "}", "1", "{1", "{1,}", "{,1}", "{1}x}", "{\"a}",
                                      "{\"a\\}", "{\"a\"b}", "{a\"b\"}", "{1}}", "{1,2"}) {
    EXPECT_EQ(Split(text).outcome, ValueOutcome::kMalformed) << text;
  }
}

/// Arrays written as the server does, quoting all elements, are read back.
TEST(SplitArrayTest, RandomElementsSurviveTheRoundTrip) {
  std::mt19937 random(11);
  constexpr std::string_view kAlphabet = "ab,{}\"\\ ;\n\xC3\xA9";
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> elements(random() % 5);
    std::string text = "{";
    for (std::string& element : elements) {
      for (size_t size = random() % 6; size > 0; --size) {
        element += kAlphabet[random() % kAlphabet.size()];
      }
      if (text.size() > 1) text += ',';
      text += '"';
      for (const char c : element) {
        if (c == '"' || c == '\\') text += '\\';
        text += c;
      }
      text += '"';
    }
    text += '}';
    const Split split(text);
    ASSERT_EQ(split.outcome, ValueOutcome::kValue) << text;
    ASSERT_EQ(split.elements, elements) << text;
  }
}

}  // namespace
}  // namespace freshet::postgres
