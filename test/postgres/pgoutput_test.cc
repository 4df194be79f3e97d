#include "postgres/pgoutput.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "support/pgoutput_messages.h"

namespace freshet::postgres::pgoutput {
namespace {

using change::Lsn;
using change::ReplicaIdentity;
using change::TableId;
using change::Xid;
using test::MessageBytes;
using test::MessageWriter;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kYear2000 = 946'684'800'000'000;

/// Parses one message that is sound and of kind T.
template <typename T>
T Parsed(const MessageBytes& bytes, Parser parser = {}) {
  auto message = parser.Parse(bytes);
  EXPECT_TRUE(message.has_value()) << message.error();
  if (!message.has_value() || !std::holds_alternative<T>(*message)) {
    ADD_FAILURE() << "another kind of message";
    return {};
  }
  return std::get<T>(std::move(*message));
}

/// A parser that stands between StreamStart and StreamStop.
Parser InStream() {
  Parser parser;
  EXPECT_TRUE(parser.Parse(MessageWriter('S').U32(700).U8(1).bytes()).has_value());
  return parser;
}

std::vector<std::string> Texts(const Tuple& tuple) {
  std::vector<std::string> out;
  tuple.ForEach([&](const Field& field) {
    out.push_back(
        static_cast<char>(field.kind) +
        std::string(reinterpret_cast<const char*>(field.value.data()), field.value.size()));
  });
  return out;
}

TEST(ParserTest, BeginAndCommit) {
  const auto begin = Parsed<Begin>(test::BeginBytes(0x16B374D848, 731, 5));
  EXPECT_EQ(begin.final_lsn, Lsn{0x16B374D848});
  EXPECT_EQ(begin.commit_time, kYear2000 + 5);
  EXPECT_EQ(begin.xid, Xid{731});

  const auto commit = Parsed<Commit>(test::CommitBytes(100, 148, -7));
  EXPECT_EQ(commit.commit_lsn, Lsn{100});
  EXPECT_EQ(commit.end_lsn, Lsn{148});
  EXPECT_EQ(commit.commit_time, kYear2000 - 7);
}

TEST(ParserTest, Origin) {
  const MessageBytes bytes = MessageWriter('O').U64(7).CString("elsewhere").bytes();

  const auto origin = Parsed<Origin>(bytes);

  EXPECT_EQ(origin.commit_lsn, Lsn{7});
  EXPECT_EQ(origin.name, "elsewhere");
}

TEST(ParserTest, RelationOfEveryIdentity) {
  for (const ReplicaIdentity identity : {ReplicaIdentity::kDefault, ReplicaIdentity::kNothing,
                                         ReplicaIdentity::kFull, ReplicaIdentity::kIndex}) {
    const Relation relation{
        .xid = {},
        .id = {16'385},
        .schema = "public",
        .table = "a \"quoted\" näme",
        .identity = identity,
        .columns = {{.name = "id", .type_oid = 20, .typmod = -1, .key = true},
                    {.name = "price", .type_oid = 1700, .typmod = 786'438, .key = false}}};

    EXPECT_EQ(Parsed<Relation>(test::RelationBytes(relation)), relation);
  }
}

TEST(ParserTest, EmptySchemaNameIsTheCatalogs) {
  const auto relation =
      Parsed<Relation>(MessageWriter('R').U32(1).CString("").CString("t").Char('d').U16(0).bytes());
  const auto type =
      Parsed<Type>(MessageWriter('Y').U32(17'000).CString("").CString("int4").bytes());

  EXPECT_EQ(relation.schema, "pg_catalog");
  EXPECT_EQ(type.schema, "pg_catalog");
  EXPECT_EQ(type.oid, 17'000U);
  EXPECT_EQ(type.name, "int4");
}

TEST(ParserTest, InsertWithEveryKindOfField) {
  const MessageBytes bytes = test::InsertBytes(
      9, {"text", "", test::NullField(), test::UnchangedField(), {'b', std::string("\0\1", 2)}});

  const auto row = Parsed<Row>(bytes);

  EXPECT_EQ(row.operation, RowOperation::kInsert);
  EXPECT_EQ(row.relation, TableId{9});
  EXPECT_EQ(row.old_kind, OldTuple::kNone);
  EXPECT_EQ(row.old_tuple.columns(), 0);
  EXPECT_THAT(Texts(row.new_tuple), ElementsAre("ttext", "t", "n", "u", std::string("b\0\1", 3)));
}

TEST(ParserTest, ThreeShapesOfUpdate) {
  const MessageBytes plain = test::UpdateBytes(9, 0, {}, {"2"});
  const MessageBytes key = test::UpdateBytes(9, 'K', {"1"}, {"2"});
  const MessageBytes full = test::UpdateBytes(9, 'O', {"1"}, {"2"});

  EXPECT_EQ(Parsed<Row>(plain).old_kind, OldTuple::kNone);
  EXPECT_EQ(Parsed<Row>(key).old_kind, OldTuple::kKey);
  EXPECT_THAT(Texts(Parsed<Row>(key).old_tuple), ElementsAre("t1"));
  EXPECT_EQ(Parsed<Row>(full).old_kind, OldTuple::kFull);
  EXPECT_THAT(Texts(Parsed<Row>(full).new_tuple), ElementsAre("t2"));
}

TEST(ParserTest, DeleteHasAnOldTupleOnly) {
  const MessageBytes bytes = test::DeleteBytes(9, 'K', {"1", test::NullField()});

  const auto row = Parsed<Row>(bytes);

  EXPECT_EQ(row.operation, RowOperation::kDelete);
  EXPECT_THAT(Texts(row.old_tuple), ElementsAre("t1", "n"));
  EXPECT_EQ(row.new_tuple.columns(), 0);
}

TEST(ParserTest, TruncateOfSeveralTables) {
  const auto truncate = Parsed<Truncate>(MessageWriter('T').U32(2).U8(3).U32(7).U32(8).bytes());

  EXPECT_TRUE(truncate.cascade);
  EXPECT_TRUE(truncate.restart_identity);
  EXPECT_THAT(truncate.relations, ElementsAre(TableId{7}, TableId{8}));
}

TEST(ParserTest, LogicalMessage) {
  const MessageBytes bytes = test::LogicalMessageBytes(true, 77, "prefix", "content");

  const auto message = Parsed<LogicalMessage>(bytes);

  EXPECT_TRUE(message.transactional);
  EXPECT_EQ(message.lsn, Lsn{77});
  EXPECT_EQ(message.prefix, "prefix");
  EXPECT_EQ(message.content.size(), 7U);
}

TEST(ParserTest, StreamedMessagesCarryAnXid) {
  const MessageBytes insert =
      MessageWriter('I').U32(701).U32(9).Char('N').U16(1).Char('t').U32(1).Char('x').bytes();
  const MessageBytes truncate = MessageWriter('T').U32(702).U32(0).U8(0).bytes();
  const MessageBytes message = MessageWriter('M').U32(703).U8(1).U64(5).CString("p").U32(0).bytes();
  const MessageBytes relation =
      MessageWriter('R').U32(704).U32(9).CString("s").CString("t").Char('f').U16(0).bytes();
  const MessageBytes type = MessageWriter('Y').U32(705).U32(1).CString("s").CString("t").bytes();

  EXPECT_EQ(Parsed<Row>(insert, InStream()).xid, Xid{701});
  EXPECT_EQ(Parsed<Row>(insert, InStream()).relation, TableId{9});
  EXPECT_EQ(Parsed<Truncate>(truncate, InStream()).xid, Xid{702});
  EXPECT_EQ(Parsed<LogicalMessage>(message, InStream()).xid, Xid{703});
  EXPECT_EQ(Parsed<Relation>(relation, InStream()).xid, Xid{704});
  EXPECT_EQ(Parsed<Type>(type, InStream()).xid, Xid{705});
}

TEST(ParserTest, StreamedTransactions) {
  const auto start = Parsed<StreamStart>(MessageWriter('S').U32(700).U8(0).bytes());
  const auto commit =
      Parsed<StreamCommit>(MessageWriter('c').U32(700).U8(0).U64(100).U64(148).U64(0).bytes());
  const auto abort = Parsed<StreamAbort>(MessageWriter('A').U32(700).U32(701).bytes());
  const auto abort_v4 =
      Parsed<StreamAbort>(MessageWriter('A').U32(700).U32(701).U64(90).U64(5).bytes());

  EXPECT_EQ(start.xid, Xid{700});
  EXPECT_FALSE(start.first_segment);
  EXPECT_EQ(commit.commit.end_lsn, Lsn{148});
  EXPECT_EQ(abort.subxid, Xid{701});
  EXPECT_FALSE(abort.abort_lsn.has_value());
  EXPECT_EQ(abort_v4.abort_lsn, Lsn{90});
  EXPECT_EQ(abort_v4.abort_time, kYear2000 + 5);
}

TEST(ParserTest, TwoPhaseTransactions) {
  const auto body = [](char tag) {
    MessageWriter out(tag);
    if (tag != 'b') out.U8(0);
    return out.U64(100).U64(148).U64(5).U32(700).CString("gid").bytes();
  };
  for (const char tag : {'b', 'P', 'K', 'p'}) {
    const MessageBytes bytes = body(tag);
    const auto two_phase = Parsed<TwoPhase>(bytes);
    EXPECT_EQ(static_cast<char>(two_phase.step), tag);
    EXPECT_EQ(two_phase.end_lsn, Lsn{148});
    EXPECT_EQ(two_phase.xid, Xid{700});
    EXPECT_EQ(two_phase.gid, "gid");
  }
  const MessageBytes bytes =
      MessageWriter('r').U8(0).U64(100).U64(148).U64(5).U64(6).U32(700).CString("gid").bytes();
  const auto rollback = Parsed<RollbackPrepared>(bytes);
  EXPECT_EQ(rollback.rollback_end_lsn, Lsn{148});
  EXPECT_EQ(rollback.rollback_time, kYear2000 + 6);
}

/// One sound message of each kind.
std::vector<MessageBytes> OneOfEach() {
  return {test::BeginBytes(1, 2),
          test::CommitBytes(1, 2),
          MessageWriter('O').U64(7).CString("o").bytes(),
          test::RelationBytes({.xid = {},
                               .id = {9},
                               .schema = "s",
                               .table = "t",
                               .columns = {{.name = "a", .type_oid = 20}}}),
          MessageWriter('Y').U32(1).CString("s").CString("t").bytes(),
          test::InsertBytes(9, {"a", test::NullField(), "c"}),
          test::UpdateBytes(9, 'O', {"a"}, {"b"}),
          test::DeleteBytes(9, 'K', {"a"}),
          test::TruncateBytes({1, 2}),
          test::LogicalMessageBytes(false, 1, "p", "c"),
          MessageWriter('S').U32(1).U8(1).bytes(),
          MessageWriter('c').U32(1).U8(0).U64(1).U64(2).U64(3).bytes(),
          MessageWriter('A').U32(1).U32(2).bytes(),
          MessageWriter('A').U32(1).U32(2).U64(3).U64(4).bytes(),
          MessageWriter('P').U8(0).U64(1).U64(2).U64(3).U32(4).CString("g").bytes(),
          MessageWriter('r').U8(0).U64(1).U64(2).U64(3).U64(4).U32(5).CString("g").bytes()};
}

TEST(ParserTest, MessageCutOffAnywhereIsMalformed) {
  for (const MessageBytes& whole : OneOfEach()) {
    ASSERT_TRUE(Parser().Parse(whole).has_value()) << static_cast<char>(whole[0]);
    const bool abort_v4 = whole[0] == std::byte{'A'} && whole.size() > 9;
    for (size_t size = 0; size < whole.size(); ++size) {
      if (abort_v4 && size == 9) continue;  // that is the older form
      const auto cut = Parser().Parse(std::span(whole).first(size));
      ASSERT_FALSE(cut.has_value()) << static_cast<char>(whole[0]) << size;
      EXPECT_EQ(cut.error().kind, ErrorKind::kMalformed);
    }
  }
}

TEST(ParserTest, BytesLeftOverAreMalformed) {
  for (MessageBytes bytes : OneOfEach()) {
    bytes.push_back(std::byte{0});
    EXPECT_FALSE(Parser().Parse(bytes).has_value()) << static_cast<char>(bytes[0]);
  }
}

TEST(ParserTest, CountsBeyondTheMessageAreMalformed) {
  const MessageBytes hostile[] = {
      MessageWriter('T').U32(0xFFFF'FFFF).U8(0).bytes(),
      MessageWriter('I').U32(9).Char('N').U16(0xFFFF).bytes(),
      MessageWriter('I').U32(9).Char('N').U16(1).Char('t').U32(0xFFFF'FFFF).bytes(),
      MessageWriter('R').U32(9).CString("s").CString("t").Char('d').U16(0xFFFF).bytes(),
      MessageWriter('M').U8(0).U64(1).CString("p").U32(0xFFFF'FFFF).bytes(),
  };
  for (const MessageBytes& bytes : hostile) EXPECT_FALSE(Parser().Parse(bytes).has_value());
}

TEST(ParserTest, ValuesOutsideTheProtocolAreMalformed) {
  const MessageBytes hostile[] = {
      MessageWriter('?').bytes(),
      MessageWriter('C').U8(1).U64(1).U64(2).U64(3).bytes(),
      MessageWriter('B').U64(1).U64(0x7FFF'FFFF'FFFF'FFFF).U32(1).bytes(),
      MessageWriter('R').U32(9).CString("s").CString("t").Char('x').U16(0).bytes(),
      MessageWriter('R').U32(9).CString("s").CString("t").Char('d').U16(1601).bytes(),
      MessageWriter('I').U32(9).Char('K').U16(0).Char('N').U16(0).bytes(),
      MessageWriter('I').U32(9).Char('X').U16(0).bytes(),
      MessageWriter('D').U32(9).Char('N').U16(0).bytes(),
      MessageWriter('U').U32(9).Char('K').U16(0).Char('O').U16(0).bytes(),
      MessageWriter('I').U32(9).Char('N').U16(1).Char('z').bytes(),
      MessageWriter('T').U32(0).U8(4).bytes(),
      MessageWriter('M').U8(2).U64(1).CString("p").U32(0).bytes(),
      MessageWriter('S').U32(1).U8(2).bytes(),
      MessageWriter('E').bytes(),
  };
  for (const MessageBytes& bytes : hostile) {
    EXPECT_FALSE(Parser().Parse(bytes).has_value()) << static_cast<char>(bytes[0]);
  }
  EXPECT_FALSE(InStream().Parse(MessageWriter('S').U32(1).U8(1).bytes()).has_value());
}

TEST(ParserTest, ErrorNamesMessageAndPlace) {
  const auto result = Parser().Parse(MessageWriter('I').U32(9).Char('N').U16(1).Char('z').bytes());

  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().message, HasSubstr("'I' of 9 bytes"));
  EXPECT_THAT(result.error().message, HasSubstr("byte 9"));
}

TEST(ParserTest, StreamStopEndsTheXids) {
  Parser parser = InStream();
  ASSERT_TRUE(parser.in_stream());

  ASSERT_TRUE(parser.Parse(MessageWriter('E').bytes()).has_value());

  EXPECT_FALSE(parser.in_stream());
  const auto row = Parsed<Row>(test::InsertBytes(9, {"a"}), parser);
  EXPECT_FALSE(row.xid.has_value());
}

TEST(ParserTest, AFailedMessageLeavesTheStateAlone) {
  Parser parser;
  ASSERT_FALSE(parser.Parse(MessageWriter('S').U32(700).bytes()).has_value());
  EXPECT_FALSE(parser.in_stream());
}

}  // namespace
}  // namespace freshet::postgres::pgoutput
