#include <gmock/gmock.h>

#include <fstream>

#include "integration/all_sinks_fixture.h"
#include "postgres/capture.h"
#include "postgres/text_encoding.h"
#include "sink/duckdb/query.h"
#include "support/memory_output.h"

/// Databases that are not encoded in UTF8.
namespace freshet {
namespace {

using postgres::InvalidText;
using postgres::TextConverter;
using test::PostgresServer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EncodingsTest : public test::AllSinksTest {
 protected:
  void MakeDatabase(const std::string& encoding) {
    for (const std::string& sql :
         {"DROP DATABASE " + name_, "CREATE DATABASE " + name_ + " ENCODING '" + encoding +
                                        "' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"}) {
      const Status status = server_->Run(sql);
      ASSERT_TRUE(status.has_value()) << status.error();
    }
    std::filesystem::remove_all(folder_.path());
    std::filesystem::create_directories(folder_.path());
    Configure();
  }

  /// SQL for text of these bytes, valid or not.
  static std::string Bytes(const std::string& hex) {
    return "convert_from('\\x" + hex + "'::bytea, getdatabaseencoding())";
  }

  /// What DuckDB answers, values by row divided by " | ".
  std::vector<std::string> Target(const std::string& sql) {
    const auto answer = sink::duckdb::Query(Mirror(), sql, {}, false, {});
    EXPECT_TRUE(answer.has_value()) << answer.error();
    std::vector<std::string> out;
    if (!answer.has_value()) return out;
    for (const auto& row : answer->rows) {
      std::string text;
      for (const auto& value : row) text += (text.empty() ? "" : " | ") + value.value_or("NULL");
      out.push_back(text);
    }
    return out;
  }

  Status Pump() {
    pipeline::Pipeline pipeline(options_, LocalFileSystem(), SystemClock(), "test");
    return pipeline.Run({.until_caught_up = true}, {});
  }

  /// The same row three times: before the snapshot, in the stream, and in a backlog that is read in
  /// rounds.
  void WriteThreeWays(const std::string& table, const std::string& values) {
    Sql("INSERT INTO " + table + " VALUES (1, " + values + ")");
    CatchUp();
    Sql("INSERT INTO " + table + " VALUES (2, " + values + ")");
    CatchUp();
    Sql("INSERT INTO " + table + " VALUES (3, " + values + ")");
    Sql("INSERT INTO filler SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g");
    options_.source.catch_up_threshold = config::ByteSize{int64_t{1} << 20};
    CatchUp();
  }
};

TEST_P(EncodingsTest, TextAndNamesOfEveryKindArrive) {
  struct Case {
    const char* encoding;
    const char* text;
  };
  for (const auto& [encoding, text] :
       {Case{"LATIN1", "Ænø"}, Case{"WIN1252", "€uro’"}, Case{"WIN1258", "Ấ"},
        Case{"EUC_JP", "日本～ｶﾅ"}, Case{"EUC_KR", "한국"}, Case{"SQL_ASCII", "日本é😀"}}) {
    SCOPED_TRACE(encoding);
    const bool combines = std::string(encoding) == "WIN1258";
    const std::string t = combines ? "Â\u0301" : text;
    MakeDatabase(encoding);
    Sql("CREATE TYPE mood AS ENUM ('" + t + "')");
    Sql("CREATE TYPE pair AS (a text, b int)");
    Sql("CREATE TABLE filler (id int PRIMARY KEY, v text)");
    Sql("CREATE TABLE \"t" + t + "\" (id int PRIMARY KEY, \"c" + t +
        "\" text, v varchar(20), l text[], j jsonb, m mood, p pair)");
    WriteThreeWays("\"t" + t + "\"", "'" + t + "', 'x" + t + "', ARRAY['" + t + "', NULL, '" + t +
                                         " \"'], jsonb_build_object('k" + t + "', '" + t + "'), '" +
                                         t + "', ROW('" + t + "', 1)");

    EXPECT_EQ(Target("SELECT \"c" + t + "\", v, l[1], l[3], json_extract_string(j, '/k" + t +
                     "'), m, p FROM public.\"t" + t + "\" ORDER BY id"),
              std::vector<std::string>(3, t + " | x" + t + " | " + t + " | " + t + " \" | " + t +
                                              " | " + t + " | (" + t + ",1)"));
    ExpectEqual();
  }
}

TEST_P(EncodingsTest, InvalidTextIsQuarantinedWithItsExactBytes) {
  struct Case {
    const char* encoding;
    const char* bytes;  ///< of which no part is ASCII
  };
  for (const auto& [encoding, bytes] :
       {Case{"WIN1252", "81"}, Case{"SQL_ASCII", "e9ff"}, Case{"EUC_JP", "a9a1"}}) {
    SCOPED_TRACE(encoding);
    const std::string hex(bytes);
    MakeDatabase(encoding);
    Sql("CREATE TABLE filler (id int PRIMARY KEY, v text)");
    Sql("DO $$ BEGIN EXECUTE format('CREATE TYPE mood AS ENUM (%L)', " + Bytes(hex) + "); END $$");
    Sql("CREATE TABLE t (id int PRIMARY KEY, v text, w varchar(20), l text[], j jsonb, m mood)");
    WriteThreeWays("t", Bytes("61" + hex) + ", 'fine', ARRAY['a', " + Bytes(hex) +
                            "], jsonb_build_object('k', " + Bytes(hex) + "), " + Bytes(hex) +
                            "::mood");

    EXPECT_EQ(Target("SELECT v, w, l, j, m, json_extract_string(_cdc_exceptions, '/v'),"
                     " json_extract_string(_cdc_exceptions, '/l'),"
                     " json_extract_string(_cdc_exceptions, '/m') FROM public.t ORDER BY id"),
              std::vector<std::string>(3, "NULL | fine | NULL | NULL | NULL | \\x61" + hex +
                                              " | \\x7b612c" + hex + "7d | \\x" + hex));
    ExpectEqual();
  }
}

TEST_P(EncodingsTest, InvalidTextIsReplacedOrWrittenAsBytes) {
  struct Case {
    InvalidText policy;
    const char* expected;
  };
  for (const auto& [policy, expected] :
       {Case{InvalidText::kReplace, "a\uFFFDé | [a\uFFFD, x] | a\uFFFD"},
        Case{InvalidText::kBytes, "a\\x81é | [a\\x81, x] | a\\x81"}}) {
    MakeDatabase("WIN1252");
    options_.source.invalid_text = policy;
    Sql("CREATE TABLE filler (id int PRIMARY KEY, v text)");
    Sql("CREATE TABLE t (id int PRIMARY KEY, v text, l text[], j jsonb)");
    WriteThreeWays("t", Bytes("6181e9") + ", ARRAY[" + Bytes("6181") +
                            ", 'x'], jsonb_build_object('k', " + Bytes("6181") + ")");

    EXPECT_EQ(Target("SELECT v, l, json_extract_string(j, '/k') FROM public.t ORDER BY id"),
              std::vector<std::string>(3, expected));
    ExpectEqual();
  }
}

TEST_P(EncodingsTest, InvalidTextStopsWhereItIsToFail) {
  MakeDatabase("SQL_ASCII");
  options_.source.invalid_text = InvalidText::kFail;
  Sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, " + Bytes("ff") + ")");

  const Status ran = Pump();

  ASSERT_FALSE(ran.has_value());
  EXPECT_EQ(ran.error().kind, ErrorKind::kUnsupported) << ran.error();
  EXPECT_THAT(ran.error().message, HasSubstr("public.t, column v"));
  EXPECT_THAT(ran.error().message, HasSubstr("quarantine"));
}

/// No key is null, none is another's, and chunks that end at one go on behind it.
TEST_P(EncodingsTest, KeysOfInvalidTextStayApart) {
  MakeDatabase("SQL_ASCII");
  options_.source.snapshot_chunk_size = config::ByteSize{8192};
  Sql("CREATE TABLE t (k text PRIMARY KEY, v int, pad text)");
  // So many blocks are not read in one go.
  Sql("INSERT INTO t SELECT 'f' || g, 1, repeat('x', 1000) FROM generate_series(1, 1000) AS g");
  for (int i = 0; i < 64; ++i) {
    const std::string byte = fmt::format("{:02x}", 0xC0 + i);
    Sql("INSERT INTO t VALUES (" + Bytes(byte) + ", 1), (" + Bytes("61" + byte) + ", 1), ('\\x" +
        byte + "', 1)");
  }
  CatchUp();
  Sql("UPDATE t SET v = 2 WHERE k = " + Bytes("c3"));
  Sql("UPDATE t SET k = " + Bytes("fffe") + " WHERE k = " + Bytes("c4"));
  Sql("DELETE FROM t WHERE k = " + Bytes("c5"));
  CatchUp();

  EXPECT_THAT(Target("SELECT count(*), count(DISTINCT k), count(k) FROM public.t"),
              ElementsAre("1191 | 1191 | 1191"));
  EXPECT_THAT(Target("SELECT v FROM public.t WHERE k = '\\xc3'"), ElementsAre("2"));
  EXPECT_THAT(Target("SELECT count(*) FROM public.t WHERE k IN ('\\xc4', '\\xc5')"),
              ElementsAre("0"));
  EXPECT_THAT(Target("SELECT v FROM public.t WHERE k = '\\xfffe'"), ElementsAre("1"));
  ExpectEqual();
}

TEST_P(EncodingsTest, ANameThatIsNoTextIsRefusedWithItsRepair) {
  MakeDatabase("SQL_ASCII");
  Sql("CREATE TABLE t (id int PRIMARY KEY)");
  Sql("DO $$ BEGIN EXECUTE format('CREATE TABLE public.%I (id int PRIMARY KEY)', " + Bytes("74ff") +
      "); END $$");

  const Status ran = Pump();

  ASSERT_FALSE(ran.has_value());
  EXPECT_EQ(ran.error().kind, ErrorKind::kUnsupported) << ran.error();
  EXPECT_THAT(ran.error().message, HasSubstr("public.\\x74ff"));
  EXPECT_THAT(ran.error().message, HasSubstr("rename it"));
  options_.source.exclude = {"public.\\x74ff"};
  CatchUp();
}

/// Where the server converts a character to UTF8, it is the same one here, and the way back too.
TEST_P(EncodingsTest, EveryCharacterIsTheServers) {
  Run("CREATE FUNCTION public.character_of(b bytea, encoding name) RETURNS bytea LANGUAGE plpgsql "
      "AS $$ "
      "BEGIN RETURN convert(b, encoding, 'UTF8'); EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$");
  const std::string singles =
      "LATIN1,LATIN2,LATIN3,LATIN4,LATIN5,LATIN6,LATIN7,LATIN8,LATIN9,LATIN10,WIN1250,WIN1251,"
      "WIN1252,WIN1253,WIN1254,WIN1255,WIN1256,WIN1257,WIN1258,WIN866,WIN874,KOI8R,KOI8U,"
      "ISO_8859_5,ISO_8859_6,ISO_8859_7,ISO_8859_8";
  auto connection = postgres::Connection::Connect(url());
  ASSERT_TRUE(connection.has_value()) << connection.error();
  const auto rows = connection->Query(
      "SELECT e, encode(b, 'hex'), encode(u, 'hex') FROM (SELECT e, b, public.character_of(b, "
      "e::name) AS u "
      "FROM "
      "(SELECT e, set_byte('\\x00', 0, i) AS b FROM unnest('{" +
      singles +
      "}'::text[]) AS e, generate_series(128, 255) AS i UNION ALL "
      "SELECT e, set_byte(set_byte('\\x0000', 0, i), 1, j) FROM"
      " unnest('{EUC_JP,EUC_CN,EUC_KR,EUC_TW}'::text[]) AS e, generate_series(161, 254) AS i,"
      " generate_series(161, 254, 3) AS j UNION ALL "
      "SELECT 'EUC_JP', set_byte(set_byte('\\x8f0000', 1, i), 2, j) FROM"
      " generate_series(161, 254) AS i, generate_series(161, 254, 7) AS j) AS all_bytes) AS c");
  ASSERT_TRUE(rows.has_value()) << rows.error();
  const auto unhex = [](std::string_view digits) {
    std::string out;
    for (size_t i = 0; i < digits.size(); i += 2) {
      out.push_back(static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16)));
    }
    return out;
  };

  int compared = 0;
  std::shared_ptr<TextConverter> converter;
  for (int i = 0; i < rows->size(); ++i) {
    if (converter == nullptr || converter->encoding() != rows->at(i, 0)) {
      auto made = TextConverter::Create(rows->at(i, 0));
      ASSERT_TRUE(made.has_value()) << made.error();
      converter = *std::move(made);
    }
    if (rows->is_null(i, 2)) continue;
    const std::string bytes = unhex(rows->at(i, 1));
    std::string text;
    EXPECT_TRUE(converter->Append(bytes, TextConverter::Invalid::kNothing, text));
    EXPECT_EQ(text, unhex(rows->at(i, 2))) << rows->at(i, 0) << " " << rows->at(i, 1);
    std::string exactly;
    converter->AppendExactly(bytes, exactly);
    const bool comes_back = converter->Encode(text).value_or("") == bytes;
    EXPECT_EQ(exactly == text, comes_back) << rows->at(i, 0) << " " << rows->at(i, 1);
    ++compared;
  }
  EXPECT_GT(compared, 10'000);
}

INSTANTIATE_TEST_SUITE_P(Majors, EncodingsTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet
