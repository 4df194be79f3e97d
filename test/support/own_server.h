#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "postgres/capture.h"
#include "support/memory_output.h"
#include "support/postgres_server.h"

namespace freshet::test {

/// A fixture with a server of the parameter's major for each test, which may restart it and change
/// its settings, and what one capture of it needs.
class OwnServerTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { Start({}); }

  void Start(const std::vector<std::string>& settings) {
    server_.reset();
    auto server = PostgresServer::Start({.major = GetParam(), .settings = settings});
    ASSERT_TRUE(server.has_value()) << server.error();
    server_ = *std::move(server);
    options_.url = server_->url();
    options_.tables = {"public.t*"};
  }

  void Run(const std::string& sql) {
    const Status status = server_->Run(sql);
    ASSERT_TRUE(status.has_value()) << status.error();
  }

  std::string Ask(const std::string& sql) {
    auto answer = server_->Ask(sql);
    EXPECT_TRUE(answer.has_value()) << answer.error();
    return answer.value_or("");
  }

  change::Lsn AskLsn(const std::string& sql) {
    return change::ParseLsn(Ask(sql)).value_or(change::Lsn{});
  }
  change::Lsn Confirmed() {
    return AskLsn("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name='freshet'");
  }

  void MakeTable() { Run("CREATE TABLE public.t (id int PRIMARY KEY, v text)"); }

  /// A first run up to the stream, with one row, stopped again.
  void CaptureOnce() {
    MakeTable();
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(postgres::CaptureState::kStreaming))
        << capture.status().reason;
    Run("INSERT INTO public.t VALUES (1, 'one')");
    ASSERT_TRUE(output_.WaitForEvents(1));
    const Status status = capture.Stop();
    ASSERT_TRUE(status.has_value()) << status.error();
  }

  /// A second run, with a second row.
  void CaptureOneMore() {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(postgres::CaptureState::kStreaming))
        << capture.status().reason;
    Run("INSERT INTO public.t VALUES (2, 'x')");
    ASSERT_TRUE(output_.WaitForEvents(2));
    const Status status = capture.Stop();
    ASSERT_TRUE(status.has_value()) << status.error();
  }

  /// Runs a command in the server's folder.
  void Shell(const std::string& command) {
    ASSERT_EQ(std::system(fmt::format("cd '{}' && {}", server_->folder(), command).c_str()), 0);
  }

  /// Starts the stopped server as a standby and promotes it.
  void Promote() {
    Shell("touch data/standby.signal");
    ASSERT_TRUE(server_->Resume().has_value());
    Run("SELECT pg_promote()");
  }

  /// Runs a capture that is to end by itself, with an error. kBusy, of a walsender that has not
  /// noticed yet that its client is gone, is tried again.
  Error RunToError() {
    for (;;) {
      RunningCapture capture(options_, output_);
      const auto end = capture.WaitEnd();
      EXPECT_TRUE(end.has_value()) << "still running";
      if (!end.has_value()) return {};
      EXPECT_FALSE(end->has_value()) << "ended without an error";
      if (end->has_value()) return {};
      if (end->error().kind != ErrorKind::kBusy) return end->error();
    }
  }

  /// Runs captures one after another, as a pipeline does, until `events` have arrived.
  void CaptureWithRetries(size_t events) {
    for (int attempt = 0; attempt < 200; ++attempt) {
      RunningCapture capture(options_, output_);
      output_.WaitUntil([&] { return output_.Events().size() >= events || capture.ended(); });
      if (output_.Events().size() >= events) return;
    }
    ADD_FAILURE() << "gave up";
  }

  std::unique_ptr<PostgresServer> server_;
  postgres::Options options_;
  MemoryOutput output_;
};

}  // namespace freshet::test
