#include "postgres/connection.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <thread>

#include "support/postgres_server.h"
#include "support/silent_server.h"

namespace freshet::postgres {
namespace {

using test::PostgresServer;
using ::testing::HasSubstr;
using ::testing::Not;

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class ConnectionTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    auto server = PostgresServer::Start({.major = GetParam(), .settings = {}, .encoding = "UTF8"});
    ASSERT_TRUE(server.has_value()) << server.error();
    server_ = *std::move(server);
  }

  Connection Connect(const SessionOptions& options = {}) {
    auto connection = Connection::Connect(server_->url(), options);
    EXPECT_TRUE(connection.has_value()) << connection.error();
    return *std::move(connection);
  }

  std::unique_ptr<PostgresServer> server_;
};

/// ALTER ROLE and ALTER DATABASE settings reach every session, walsenders too.
TEST_P(ConnectionTest, RoleSettingsDoNotLeakIntoOutput) {
  ASSERT_TRUE(server_
                  ->Run("ALTER ROLE postgres SET datestyle = 'German'; "
                        "ALTER ROLE postgres SET bytea_output = 'escape'; "
                        "ALTER ROLE postgres SET intervalstyle = 'iso_8601'; "
                        "ALTER ROLE postgres SET timezone = 'Asia/Tokyo'; "
                        "ALTER ROLE postgres SET extra_float_digits = -5; "
                        "ALTER ROLE postgres SET search_path = 'pg_catalog, public'")
                  .has_value());
  Connection connection = Connect();

  auto rows = connection.Query(
      "SELECT date '2024-03-04', '\\x00ff'::bytea, interval '1 day 2 hours', "
      "timestamptz '2024-03-04 12:00+00', 0.1::float8 + 0.2::float8, "
      "current_setting('search_path'), current_setting('row_security')");

  ASSERT_TRUE(rows.has_value()) << rows.error();
  EXPECT_EQ(rows->at(0, 0), "2024-03-04");
  EXPECT_EQ(rows->at(0, 1), "\\x00ff");
  EXPECT_EQ(rows->at(0, 2), "1 day 02:00:00");
  EXPECT_EQ(rows->at(0, 3), "2024-03-04 12:00:00+00");
  EXPECT_THAT(std::string(rows->at(0, 4)), testing::StartsWith("0.3000000000000000"));
  EXPECT_EQ(rows->at(0, 5), "");
  EXPECT_EQ(rows->at(0, 6), "off");
}

TEST_P(ConnectionTest, UserOptionsStayAndOursWin) {
  const Secret url(server_->url().Reveal() +
                   "?options=-c%20geqo%3Doff%20-c%20datestyle%3DGerman&application_name=mine");

  auto connection = Connection::Connect(url);

  ASSERT_TRUE(connection.has_value()) << connection.error();
  auto rows = connection->Query(
      "SELECT current_setting('geqo'), current_setting('datestyle'), "
      "current_setting('application_name')");
  ASSERT_TRUE(rows.has_value()) << rows.error();
  EXPECT_EQ(rows->at(0, 0), "off");
  EXPECT_THAT(std::string(rows->at(0, 1)), HasSubstr("ISO"));
  EXPECT_EQ(rows->at(0, 2), "mine");
}

TEST_P(ConnectionTest, QueriesReturnTextNullsAndErrors) {
  Connection connection = Connect();

  auto rows = connection.Query("SELECT $1 || 'b', NULL, $2::int8 + 1", {"a'\\", "41"});
  auto error = connection.Query("SELECT * FROM nowhere");
  auto after = connection.Query("SELECT 1; SELECT 2");

  ASSERT_TRUE(rows.has_value()) << rows.error();
  EXPECT_EQ(rows->at(0, 0), "a'\\b");
  EXPECT_TRUE(rows->is_null(0, 1));
  EXPECT_EQ(rows->integer(0, 2), 42);
  ASSERT_FALSE(error.has_value());
  EXPECT_EQ(error.error().kind, ErrorKind::kNotFound);
  ASSERT_TRUE(after.has_value()) << after.error();
  EXPECT_EQ(after->at(0, 0), "2");
}

TEST_P(ConnectionTest, CopyGoesInAndOut) {
  Connection connection = Connect();
  ASSERT_TRUE(connection.Execute("CREATE TABLE public.t (a int, b text)").has_value());
  ASSERT_TRUE(connection.StartCopyIn("COPY public.t FROM STDIN").has_value());
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(connection.PutCopy(Bytes(fmt::format("{}\t{}\n", i, std::string(1000, 'x')))));
  }
  auto in = connection.EndCopyIn();
  ASSERT_TRUE(in.has_value()) << in.error();

  ASSERT_TRUE(connection.StartCopyOut("COPY public.t TO STDOUT").has_value());
  int64_t rows = 0;
  CopyMessage message;
  for (;;) {
    auto more = connection.ReadCopy(message);
    ASSERT_TRUE(more.has_value()) << more.error();
    if (!*more) break;
    ++rows;
  }

  EXPECT_EQ(*in, 1000);
  EXPECT_EQ(rows, 1000);
  EXPECT_TRUE(connection.Query("SELECT 1").has_value());
}

TEST_P(ConnectionTest, BadCopyRowIsAnErrorAndTheSessionLives) {
  Connection connection = Connect();
  ASSERT_TRUE(connection.Execute("CREATE TABLE public.t (a int)").has_value());
  ASSERT_TRUE(connection.StartCopyIn("COPY public.t FROM STDIN").has_value());
  ASSERT_TRUE(connection.PutCopy(Bytes("no number\n")).has_value());

  auto in = connection.EndCopyIn();

  ASSERT_FALSE(in.has_value());
  EXPECT_THAT(in.error().message, HasSubstr("22P02"));
  EXPECT_TRUE(connection.Query("SELECT 1").has_value());
}

TEST_P(ConnectionTest, AStopEndsAWaitAndCancelsTheStatement) {
  Connection connection = Connect();
  std::stop_source stop;
  std::jthread stopper([&] {
    // Stops once the server is busy with it.
    while (*server_->Ask("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' "
                         "AND pid <> pg_backend_pid()") == "0") {
    }
    stop.request_stop();
  });

  auto rows = connection.Query("SELECT pg_sleep(60)", stop.get_token());

  ASSERT_FALSE(rows.has_value());
  EXPECT_EQ(rows.error().kind, ErrorKind::kCancelled);
}

TEST_P(ConnectionTest, RefusalsNameCauseAndRepair) {
  const std::string base = fmt::format("127.0.0.1:{}", server_->port());
  auto database = Connection::Connect(Secret("postgres://postgres@" + base + "/nowhere"));
  auto role = Connection::Connect(Secret("postgres://nobody@" + base + "/postgres"));
  auto refused = Connection::Connect(Secret("postgres://postgres@127.0.0.1:1/postgres"));
  auto tls = Connection::Connect(Secret("postgres://postgres@" + base + "/x?sslmode=require"));
  auto unreadable = Connection::Connect(Secret("host=x password=hush hush"));

  ASSERT_FALSE(database.has_value() || role.has_value() || refused.has_value() || tls.has_value() ||
               unreadable.has_value());
  EXPECT_EQ(database.error().kind, ErrorKind::kNotFound);
  EXPECT_THAT(database.error().message, HasSubstr("correct the database in the url"));
  EXPECT_EQ(role.error().kind, ErrorKind::kDenied);
  EXPECT_THAT(role.error().message, HasSubstr("CREATE ROLE"));
  EXPECT_EQ(refused.error().kind, ErrorKind::kUnavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("is PostgreSQL running there"));
  EXPECT_EQ(tls.error().kind, ErrorKind::kConfig);
  EXPECT_THAT(tls.error().message, HasSubstr("turn ssl on"));
  EXPECT_EQ(unreadable.error().kind, ErrorKind::kConfig);
  EXPECT_THAT(unreadable.error().message, Not(HasSubstr("hush")));
}

TEST_P(ConnectionTest, AWrongPasswordIsDeniedAndNeverPrinted) {
  ASSERT_TRUE(server_->Run("CREATE ROLE locked LOGIN PASSWORD 'right'").has_value());
  {
    std::string lines;
    auto hba = server_->Ask("SELECT setting FROM pg_settings WHERE name = 'hba_file'");
    ASSERT_TRUE(hba.has_value());
    FILE* file = std::fopen(hba->c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fputs("local all all trust\nhost all all 127.0.0.1/32 md5\n", file);
    std::fclose(file);
  }
  ASSERT_TRUE(server_->Run("SELECT pg_reload_conf()").has_value());

  auto wrong = Connection::Connect(
      Secret(fmt::format("postgres://locked:wrong-one@127.0.0.1:{}/postgres", server_->port())));
  auto none = Connection::Connect(Secret(
      fmt::format("postgres://locked@127.0.0.1:{}/postgres?passfile=/dev/null", server_->port())));

  ASSERT_FALSE(wrong.has_value() || none.has_value());
  EXPECT_EQ(wrong.error().kind, ErrorKind::kDenied);
  EXPECT_THAT(wrong.error().message, HasSubstr("28P01"));
  EXPECT_THAT(wrong.error().message, Not(HasSubstr("wrong-one")));
  EXPECT_EQ(none.error().kind, ErrorKind::kDenied);
}

TEST_P(ConnectionTest, ATerminatedSessionIsUnavailable) {
  Connection connection = Connect();
  ASSERT_TRUE(
      server_->Run(fmt::format("SELECT pg_terminate_backend({})", connection.backend_pid())));

  auto rows = connection.Query("SELECT 1");

  ASSERT_FALSE(rows.has_value());
  EXPECT_EQ(rows.error().kind, ErrorKind::kUnavailable);
}

TEST_P(ConnectionTest, OtherEncodingsAreSpokenInUtf8) {
  ASSERT_TRUE(server_
                  ->Run("CREATE DATABASE old ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' "
                        "TEMPLATE template0")
                  .has_value());
  auto connection = Connection::Connect(server_->url("old"));
  ASSERT_TRUE(connection.has_value()) << connection.error();

  auto rows = connection->Query("SELECT 'é', length('é'), $1, chr(233)", {"ü"});
  auto failed = connection->Query("SELECT 1 FROM \"té\"");
  auto unknown = connection->Query("SELECT '日'");

  ASSERT_TRUE(rows.has_value()) << rows.error();
  EXPECT_EQ(rows->at(0, 0), "é");
  EXPECT_EQ(rows->integer(0, 1), 1);
  EXPECT_EQ(rows->at(0, 2), "ü");
  EXPECT_EQ(rows->at(0, 3), "é");
  ASSERT_FALSE(failed.has_value() || unknown.has_value());
  EXPECT_THAT(failed.error().message, HasSubstr("\"té\""));
  EXPECT_EQ(unknown.error().kind, ErrorKind::kConfig);
  EXPECT_THAT(unknown.error().message, HasSubstr("LATIN1"));
}

TEST_P(ConnectionTest, EncodingsWithoutADependableFormAreRefused) {
  for (const std::string encoding : {"MULE_INTERNAL", "EUC_JIS_2004"}) {
    const std::string name = "odd_" + encoding;
    ASSERT_TRUE(server_
                    ->Run("CREATE DATABASE " + name + " ENCODING '" + encoding +
                          "' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
                    .has_value());
    std::string folded = name;
    std::transform(folded.begin(), folded.end(), folded.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });

    auto connection = Connection::Connect(server_->url(folded));

    ASSERT_FALSE(connection.has_value());
    EXPECT_EQ(connection.error().kind, ErrorKind::kUnsupported);
    EXPECT_THAT(connection.error().message, HasSubstr(encoding));
    EXPECT_THAT(connection.error().message, HasSubstr("dump and restore"));
  }
}

TEST_P(ConnectionTest, AWalsenderSessionAnswersReplicationCommands) {
  Connection connection =
      Connect({.replication = true, .application_name = "freshet", .settings = {}});

  auto rows = connection.Query("IDENTIFY_SYSTEM");

  ASSERT_TRUE(rows.has_value()) << rows.error();
  EXPECT_EQ(rows->at(0, 3), "postgres");
}

/// libpq used without blocking stays with it: connect_timeout is the caller's.
TEST_P(ConnectionTest, AHostThatIsSilentIsGivenUpForTheNext) {
  const test::SilentServer silent;
  std::string url = server_->url().Reveal();
  url.replace(url.find("127.0.0.1"), 9, fmt::format("127.0.0.1:{},127.0.0.1", silent.port()));

  auto connection = Connection::Connect(Secret(url + "?connect_timeout=2"));

  ASSERT_TRUE(connection.has_value()) << connection.error();
  EXPECT_EQ(connection->server_major(), GetParam());
}

TEST_P(ConnectionTest, AServerSurvivesImmediateStopAndResume) {
  ASSERT_TRUE(server_->Run("CREATE TABLE public.t AS SELECT 1 AS a").has_value());
  ASSERT_TRUE(server_->Stop(PostgresServer::StopMode::kImmediate).has_value());

  ASSERT_TRUE(server_->Resume().has_value());

  EXPECT_EQ(*server_->Ask("SELECT count(*) FROM public.t"), "1");
}

/// A TLS record may lie decrypted in the library while the socket has nothing: no wait may hang
/// then.
TEST(TlsTest, MessagesLargerThanARecordArriveWithoutWaitingForMore) {
  auto server = PostgresServer::Start({.major = 15, .settings = {}, .encoding = "UTF8"});
  ASSERT_TRUE(server.has_value()) << server.error();
  const std::string data = (*server)->folder() + "/data";
  const std::string openssl =
      "openssl req -new -x509 -days 2 -nodes -newkey rsa:2048 -subj /CN=127.0.0.1 -addext "
      "subjectAltName=IP:127.0.0.1 -keyout " +
      data + "/server.key -out " + data + "/server.crt 2>/dev/null && chmod 600 " + data +
      "/server.key && chown --reference=" + data + "/PG_VERSION " + data + "/server.key";
  ASSERT_EQ(std::system(openssl.c_str()), 0) << "needs the openssl program";
  ASSERT_TRUE((*server)->Run("ALTER SYSTEM SET ssl = on").has_value());
  ASSERT_TRUE((*server)->Stop().has_value());
  ASSERT_TRUE((*server)->Resume().has_value());
  const std::string url = (*server)->url().Reveal();

  auto connection =
      Connection::Connect(Secret(url + "?sslmode=verify-full&sslrootcert=" + data + "/server.crt"));
  auto untrusted = Connection::Connect(Secret(url + "?sslmode=verify-full&sslrootcert=/dev/null"));

  ASSERT_TRUE(connection.has_value()) << connection.error();
  EXPECT_TRUE(connection->encrypted());
  EXPECT_FALSE(untrusted.has_value());
  for (const int size : {1, 8'000, 16'384, 20'000, 32'768, 50'000, 1'000'000}) {
    auto rows = connection->Query(fmt::format("SELECT repeat('x', {})", size));
    ASSERT_TRUE(rows.has_value()) << rows.error();
    EXPECT_EQ(rows->at(0, 0).size(), static_cast<size_t>(size));
    ASSERT_TRUE(
        connection
            ->StartCopyOut(fmt::format(
                "COPY (SELECT repeat('x', {}) FROM generate_series(1, 20)) TO STDOUT", size))
            .has_value());
    int64_t bytes = 0;
    CopyMessage message;
    for (;;) {
      auto more = connection->ReadCopy(message);
      ASSERT_TRUE(more.has_value()) << more.error();
      if (!*more) break;
      bytes += static_cast<int64_t>(message.bytes().size());
    }
    EXPECT_EQ(bytes, 20 * (int64_t{size} + 1));
  }
}

INSTANTIATE_TEST_SUITE_P(Majors, ConnectionTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
