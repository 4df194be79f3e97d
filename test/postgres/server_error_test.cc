#include "postgres/server_error.h"

#include <gmock/gmock.h>

namespace freshet::postgres {
namespace {

using ::testing::HasSubstr;

ErrorKind KindOf(std::string sqlstate) {
  return FromServer({.sqlstate = std::move(sqlstate), .message = "m", .detail = "", .hint = ""})
      .kind;
}

TEST(ServerErrorTest, SqlStatesBecomeKindsThatTellRetryFromStop) {
  EXPECT_EQ(KindOf("28P01"), ErrorKind::kDenied);
  EXPECT_EQ(KindOf("28000"), ErrorKind::kDenied);
  EXPECT_EQ(KindOf("42501"), ErrorKind::kDenied);
  EXPECT_EQ(KindOf("3D000"), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf("42704"), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf("53300"), ErrorKind::kBusy);
  EXPECT_EQ(KindOf("53400"), ErrorKind::kConfig);
  EXPECT_EQ(KindOf("55006"), ErrorKind::kBusy);
  EXPECT_EQ(KindOf("57P01"), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf("57P03"), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf("58P01"), ErrorKind::kGap);
  EXPECT_EQ(KindOf("0A000"), ErrorKind::kUnsupported);
  EXPECT_EQ(KindOf("XX000"), ErrorKind::kFatal);
}

TEST(ServerErrorTest, ALostConnectionIsWorthARetry) {
  const Error error = FromServer({.sqlstate = "",
                                  .message = "server closed the connection unexpectedly\n\tThis "
                                             "probably means the server terminated",
                                  .detail = "",
                                  .hint = ""});

  EXPECT_EQ(error.kind, ErrorKind::kUnavailable);
  EXPECT_EQ(error.message.find('\n'), std::string::npos);
}

TEST(ServerErrorTest, MessageNamesCauseAndRepair) {
  const Error error = FromServer({.sqlstate = "28P01",
                                  .message = "password authentication failed for user \"x\"",
                                  .detail = "",
                                  .hint = ""});

  EXPECT_THAT(error.message, HasSubstr("password authentication failed for user \"x\""));
  EXPECT_THAT(error.message, HasSubstr("28P01"));
  EXPECT_THAT(error.message, HasSubstr("~/.pgpass"));
}

TEST(ServerErrorTest, RefusedConnectionIsSplitIntoStateAndMessage) {
  const ServerFailure failure = ParseConnectFailure(
      "connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  3D000: database \"shop\" "
      "does not exist\nLOCATION:  InitPostgres, postinit.c:941\n");

  EXPECT_EQ(failure.sqlstate, "3D000");
  EXPECT_EQ(failure.message, "database \"shop\" does not exist");
}

TEST(ServerErrorTest, OfSeveralHostsTheLastFailureCounts) {
  const ServerFailure failure = ParseConnectFailure(
      "connection to server at \"a\", port 1 failed: FATAL:  3D000: database \"x\" does not exist\n"
      "LOCATION:  InitPostgres\n"
      "connection to server at \"b\", port 1 failed: FATAL:  28P01: password wrong\n"
      "LOCATION:  auth_failed, auth.c:300\n");

  EXPECT_EQ(failure.sqlstate, "28P01");
  EXPECT_EQ(failure.message, "password wrong");
}

TEST(ServerErrorTest, TextOfTheClientKeepsNoState) {
  const ServerFailure failure = ParseConnectFailure(
      "connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n\tIs the server "
      "running on that host and accepting TCP/IP connections?\n");
  const Error error = FromServer(failure);

  EXPECT_EQ(failure.sqlstate, "");
  EXPECT_EQ(error.kind, ErrorKind::kUnavailable);
  EXPECT_THAT(error.message, HasSubstr("listen_addresses"));
}

TEST(ServerErrorTest, ALimitThatIsReachedIsRepairedByItsOwnSetting) {
  const auto message_of = [](std::string message) {
    const Error error =
        FromServer({.sqlstate = "53400", .message = std::move(message), .detail = "", .hint = ""});
    EXPECT_EQ(error.kind, ErrorKind::kConfig);
    return error.message;
  };

  EXPECT_THAT(message_of("all replication slots are in use"), HasSubstr("max_replication_slots"));
  const std::string files = message_of("temporary file size exceeds \"temp_file_limit\" (1024kB)");
  EXPECT_THAT(files, HasSubstr("ALTER ROLE name SET temp_file_limit"));
  EXPECT_THAT(files, HasSubstr("catch_up_threshold"));
  EXPECT_THAT(files, ::testing::Not(HasSubstr("replication_slots")));
  EXPECT_THAT(message_of("some other limit"), HasSubstr("raise the limit"));
}

TEST(ServerErrorTest, AValueTooLargeForTextIsNamedAsThat) {
  const Error error = FromServer({.sqlstate = "XX000",
                                  .message = "invalid memory alloc request size 1080000003",
                                  .detail = "",
                                  .hint = ""});

  EXPECT_EQ(error.kind, ErrorKind::kUnsupported);
  EXPECT_THAT(error.message, HasSubstr("too large to be sent as text"));
}

}  // namespace
}  // namespace freshet::postgres
