#include "postgres/text_encoding.h"

#include <gmock/gmock.h>

namespace freshet::postgres {
namespace {

using Invalid = TextConverter::Invalid;
using ::testing::HasSubstr;

std::shared_ptr<TextConverter> Of(std::string_view encoding) {
  auto made = TextConverter::Create(encoding);
  EXPECT_TRUE(made.has_value()) << made.error();
  return *std::move(made);
}

std::string Converted(std::string_view encoding, std::string_view text,
                      Invalid invalid = Invalid::kBytes) {
  std::string out = "|";
  Of(encoding)->Append(text, invalid, out);
  return out.substr(1);
}

std::string Exactly(std::string_view encoding, std::string_view text) {
  std::string out;
  Of(encoding)->AppendExactly(text, out);
  return out;
}

TEST(TextConverterTest, EveryEncodingOfAServerIsKnownButThree) {
  for (const char* encoding : {"EUC_JIS_2004", "JOHAB", "MULE_INTERNAL", "KLINGON"}) {
    const auto made = TextConverter::Create(encoding);
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().kind, ErrorKind::kUnsupported);
    EXPECT_THAT(made.error().message, HasSubstr(encoding));
  }
  EXPECT_TRUE(Of("UTF8")->is_utf8());
  EXPECT_FALSE(Of("SQL_ASCII")->is_utf8());
  EXPECT_TRUE(Of("SQL_ASCII")->keeps_bytes());
  EXPECT_FALSE(Of("LATIN1")->keeps_bytes());
}

TEST(TextConverterTest, TextBecomesUtf8) {
  EXPECT_EQ(Converted("LATIN1", "caf\xE9"), "café");
  EXPECT_EQ(Converted("WIN1252", "\x80 and \x99"), "€ and ™");
  EXPECT_EQ(Converted("KOI8R", "\xF0\xD2\xC9"), "При");
  EXPECT_EQ(Converted("EUC_JP", "\xC6\xFC\x8E\xB1 \x8F\xB0\xA1"), "日ｱ 丂");
  EXPECT_EQ(Converted("EUC_KR", "\xC7\xD1"), "한");
  EXPECT_EQ(Converted("UTF8", "é😀"), "é😀");
}

/// As the server has it: letter and accent stay two characters.
TEST(TextConverterTest, CharactersAreNotJoined) {
  EXPECT_EQ(Converted("WIN1258", "\xC2\xEC"), "Â\u0301");
}

TEST(TextConverterTest, LongTextIsConvertedWhole) {
  std::string text;
  std::string expected;
  for (int i = 0; i < 5'000; ++i) {
    text += "\xC6\xFC";
    expected += "日";
  }

  EXPECT_EQ(Converted("EUC_JP", text), expected);
}

TEST(TextConverterTest, WhatIsInvalidIsMarkedCharacterByCharacter) {
  EXPECT_EQ(Converted("WIN1252", "a\x81\xE9"), "a\\x81é");
  EXPECT_EQ(Converted("WIN1252", "a\x81\xE9", Invalid::kReplacement), "a\uFFFDé");
  EXPECT_EQ(Converted("WIN1252", "a\x81\xE9", Invalid::kJsonBytes), "a\\\\x81é");
  EXPECT_EQ(Converted("SQL_ASCII", "\xC3\xA9\xC3\xFFz", Invalid::kReplacement), "é\uFFFD\uFFFDz");
  // A character of two bytes that is none does not take the first byte of the next.
  EXPECT_EQ(Converted("EUC_JP", "\xA9\xA1\xC6\xFC"), "\\xa9\\xa1日");
  EXPECT_EQ(Converted("EUC_JP", "\xC6"), "\\xc6");
}

TEST(TextConverterTest, NothingIsAppendedOfInvalidTextWhenNothingIsToStandForIt) {
  for (const char* encoding : {"UTF8", "SQL_ASCII", "EUC_JP"}) {
    std::string out = "before";
    EXPECT_FALSE(Of(encoding)->Append("a\xFF", Invalid::kNothing, out));
    EXPECT_EQ(out, "before");
  }
}

TEST(TextConverterTest, ExactFormsTellAllTextsApart) {
  EXPECT_EQ(Exactly("SQL_ASCII", "plain é"), "plain é");
  EXPECT_EQ(Exactly("SQL_ASCII", "a\xFF"), "\\x61ff");
  EXPECT_EQ(Exactly("SQL_ASCII", "\\x61ff"), "\\x5c7836316666");
  EXPECT_EQ(Exactly("SQL_ASCII", "\\x61f"), "\\x61f");
  EXPECT_EQ(Exactly("UTF8", "\\x61ff"), "\\x61ff");
  // Two forms of one character: the server makes the first of U+2252.
  EXPECT_EQ(Exactly("EUC_JP", "\xA2\xE2"), "≒");
  EXPECT_EQ(Exactly("EUC_JP", "\xAD\xF0"), "\\xadf0");
}

TEST(TextConverterTest, SqlIsEncodedAsTheDatabaseIs) {
  EXPECT_EQ(*Of("LATIN1")->Encode("SELECT 'é'"), "SELECT '\xE9'");
  EXPECT_EQ(*Of("EUC_JP")->Encode("日"), "\xC6\xFC");
  EXPECT_EQ(*Of("WIN1258")->Encode("Â\u0301"), "\xC2\xEC");
  EXPECT_EQ(*Of("SQL_ASCII")->Encode("é"), "é");
  const auto foreign = Of("LATIN1")->Encode("日");
  ASSERT_FALSE(foreign.has_value());
  EXPECT_EQ(foreign.error().kind, ErrorKind::kConfig);
  EXPECT_THAT(foreign.error().message, HasSubstr("LATIN1"));
}

TEST(TextConverterTest, NamesAreLeftAsTheyAreWhereTheyAreAscii) {
  EXPECT_EQ(Of("LATIN1")->Name("\\x41"), "\\x41");
  EXPECT_EQ(Of("LATIN1")->Name("t\xE9"), "té");
  EXPECT_EQ(Of("WIN1252")->Name("t\x81"), "\\x7481");
}

TEST(TextRulesTest, AnExceptionIsReadableWhereItCanBe) {
  const TextRules rules{Of("WIN1252"), InvalidText::kQuarantine};

  EXPECT_EQ(rules.ExceptionText("{{\xE9}}"), "{{é}}");
  EXPECT_EQ(rules.ExceptionText("\x81"), "\\x81");
}

TEST(TextRulesTest, AKeyThatIsToFailFails) {
  const TextRules rules{Of("WIN1252"), InvalidText::kFail};
  std::string out;

  EXPECT_TRUE(rules.AppendKey("\xE9", out).has_value());
  EXPECT_EQ(rules.AppendKey("\x81", out).error().kind, ErrorKind::kUnsupported);
  EXPECT_EQ(out, "é");
}

}  // namespace
}  // namespace freshet::postgres
