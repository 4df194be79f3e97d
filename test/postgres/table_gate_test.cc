#include "postgres/table_gate.h"

#include <gmock/gmock.h>

#include <string>

namespace freshet::postgres {
namespace {

using namespace std::string_literals;

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string Id(char id) { return "\0\0\0"s + id; }

std::string Relation(char id, const std::string& name) {
  return "R" + Id(id) + "public\0"s + name + "\0d\0\0"s;
}

class TableGateTest : public ::testing::Test {
 protected:
  std::unordered_set<uint32_t> truncated_;
  TableGate gate_{*TableFilter::Create({"public.a*"}, {}), {7}, truncated_};
};

TEST_F(TableGateTest, RowsOfTablesNotChosenStayOut) {
  const std::string other = Relation(2, "b");
  const std::string row = "I" + Id(2) + "N";
  const std::string chosen = "I" + Id(1) + "N";

  EXPECT_TRUE(gate_.Filter(Bytes(other)).empty());
  EXPECT_EQ(Text(gate_.Filter(Bytes(row))), "#\1");
  EXPECT_EQ(Text(gate_.Filter(Bytes(chosen))), chosen);
  EXPECT_EQ(Text(gate_.Filter(Bytes("B..."))), "B...");
}

TEST_F(TableGateTest, ChangesThatStayOutAreCounted) {
  ASSERT_TRUE(gate_.Filter(Bytes(Relation(2, "b"))).empty());

  EXPECT_EQ(Text(gate_.Filter(Bytes("U" + Id(2) + "N"))), "#\1");
  EXPECT_EQ(Text(gate_.Filter(Bytes("U" + Id(2) + "K"))), "#\2");
  EXPECT_EQ(Text(gate_.Filter(Bytes("U" + Id(2) + "O"))), "#\2");
  EXPECT_EQ(Text(gate_.Filter(Bytes("D" + Id(2) + "O"))), "#\1");
}

TEST_F(TableGateTest, PartitionsOfAChosenRootPassByTheirId) {
  const std::string leaf = Relation(7, "zz");

  EXPECT_EQ(Text(gate_.Filter(Bytes(leaf))), leaf);
}

TEST_F(TableGateTest, ATruncateOfAChosenTableIsRemembered) {
  ASSERT_TRUE(gate_.Filter(Bytes(Relation(2, "b"))).empty());

  const std::string both = "T" + Id(2) + "\1" + Id(1) + Id(2);
  EXPECT_FALSE(gate_.Filter(Bytes(both)).empty());

  EXPECT_TRUE(truncated_.contains(1));
  EXPECT_FALSE(truncated_.contains(2));
}

TEST_F(TableGateTest, ATableRenamedIntoTheChoicePassesFromThenOn) {
  const std::string row = "U" + Id(2) + "N";
  ASSERT_TRUE(gate_.Filter(Bytes(Relation(2, "b"))).empty());

  const std::string renamed = Relation(2, "ab");
  EXPECT_EQ(Text(gate_.Filter(Bytes(renamed))), renamed);

  EXPECT_EQ(Text(gate_.Filter(Bytes(row))), row);
}

TEST_F(TableGateTest, ATruncateOfSeveralKeepsTheChosenTables) {
  ASSERT_TRUE(gate_.Filter(Bytes(Relation(2, "b"))).empty());
  const std::string both = "T" + Id(2) + "\1" + Id(1) + Id(2);
  const std::string other = "T" + Id(1) + "\0"s + Id(2);

  EXPECT_EQ(Text(gate_.Filter(Bytes(both))), "T" + Id(1) + "\1" + Id(1));
  EXPECT_EQ(Text(gate_.Filter(Bytes(other))), "#\1");
}

TEST_F(TableGateTest, WhatIsMalformedIsLeftToTheDecoder) {
  ASSERT_TRUE(gate_.Filter(Bytes(Relation(2, "b"))).empty());

  EXPECT_EQ(Text(gate_.Filter(Bytes("T"))), "T");
  EXPECT_EQ(Text(gate_.Filter(Bytes("R\1"))), "R\1");
  EXPECT_TRUE(gate_.Filter({}).empty());
}

/// Messages of a running transaction have its id in front.
TEST_F(TableGateTest, InsideAStreamedChunkTheSameHolds) {
  const std::string xid = "\0\0\1\0"s;
  const auto in_stream = [&](const std::string& message) {
    return message.substr(0, 1) + xid + message.substr(1);
  };
  const std::string start = "S" + xid + "\1";
  const std::string chosen = in_stream("I" + Id(1) + "N");
  EXPECT_EQ(Text(gate_.Filter(Bytes(start))), start);
  EXPECT_TRUE(gate_.Filter(Bytes(in_stream(Relation(2, "b")))).empty());
  EXPECT_EQ(Text(gate_.Filter(Bytes(in_stream("I" + Id(2) + "N")))), "#" + xid + "\1");
  EXPECT_EQ(Text(gate_.Filter(Bytes(chosen))), chosen);
  EXPECT_EQ(Text(gate_.Filter(Bytes(in_stream("T" + Id(2) + "\1" + Id(1) + Id(2))))),
            in_stream("T" + Id(1) + "\1" + Id(1)));
  EXPECT_EQ(Text(gate_.Filter(Bytes("E"))), "E");

  EXPECT_EQ(Text(gate_.Filter(Bytes("D" + Id(2) + "K"))), "#\1");
}

}  // namespace
}  // namespace freshet::postgres
