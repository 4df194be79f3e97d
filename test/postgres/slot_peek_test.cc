#include "postgres/slot_peek.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace freshet::postgres {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;

const std::string kHeader = "PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"s;

std::string Row(const std::string& value) {
  return "\0\1\0\0\0"s + static_cast<char>(value.size()) + value;
}

class BinaryCopyColumnTest : public ::testing::Test {
 protected:
  Result<std::string> Next(const std::string& message) {
    FRESHET_TRY(const auto value,
                column_.Next(std::as_bytes(std::span(message.data(), message.size()))));
    return std::string(reinterpret_cast<const char*>(value.data()), value.size());
  }

  BinaryCopyColumn column_;
};

TEST_F(BinaryCopyColumnTest, TheHeaderStandsBeforeTheFirstRow) {
  EXPECT_EQ(Next(kHeader + Row("B..")).value_or("?"), "B..");
  EXPECT_EQ(Next(Row("C")).value_or("?"), "C");
  EXPECT_EQ(Next("\xff\xff").value_or("?"), "");
}

TEST_F(BinaryCopyColumnTest, WithoutRowsThereIsHeaderAndTrailer) {
  EXPECT_EQ(Next(kHeader + "\xff\xff").value_or("?"), "");
}

TEST_F(BinaryCopyColumnTest, AHeaderMayStandAlone) {
  EXPECT_EQ(Next(kHeader).value_or("?"), "");
  EXPECT_EQ(Next(Row("B")).value_or("?"), "B");
}

TEST_F(BinaryCopyColumnTest, AHeaderExtensionIsSkipped) {
  EXPECT_EQ(Next("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\2xy"s + Row("B")).value_or("?"), "B");
}

TEST_F(BinaryCopyColumnTest, AnythingElseIsMalformed) {
  const std::string null = "\0\1\xff\xff\xff\xff"s;
  for (const std::string& first :
       {""s, "PGCOPY"s, "PGCOPX\n\xff\r\n\0\0\0\0\0\0\0\0\0"s + Row("B"), Row("B")}) {
    column_ = {};
    const auto value = Next(first);
    ASSERT_FALSE(value.has_value()) << first;
    EXPECT_EQ(value.error().kind, ErrorKind::kMalformed);
  }
  for (const std::string& later : {""s, null, Row(""), Row("B") + "x", Row("BC").substr(0, 7),
                                   "\0\2\0\0\0\1B\0\0\0\1C"s, "\0\0"s}) {
    column_ = {};
    ASSERT_TRUE(Next(kHeader + Row("B")).has_value());
    EXPECT_FALSE(Next(later).has_value()) << later;
  }
  column_ = {};
  ASSERT_TRUE(Next(kHeader + "\xff\xff").has_value());
  EXPECT_FALSE(Next(Row("B")).has_value()) << "behind the trailer";
}

TEST(PeekSqlTest, EverythingIsQuoted) {
  EXPECT_EQ(PeekSql("s", change::Lsn{0x1600000ABC}, {{"proto_version", "1"}, {"x", "it's"}}),
            "COPY (SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes('s', '16/ABC', "
            "NULL, 'proto_version', '1', 'x', 'it''s')) TO STDOUT (FORMAT binary)");
}

}  // namespace
}  // namespace freshet::postgres
