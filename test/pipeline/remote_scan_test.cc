#include "pipeline/remote_scan.h"

#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "support/batches.h"

namespace freshet::pipeline {
namespace {

using Lines = std::vector<std::string>;

/// A target that returns the rows it is given in two batches, and notes what it was asked.
class FakeTarget final : public sink::Factory, public std::enable_shared_from_this<FakeTarget> {
 public:
  void Bind(config::Binder&) override {}
  std::string Reject(const sink::SinkOptions&) const override { return {}; }
  std::unique_ptr<sink::Sink> MakeSink(const sink::SinkOptions&, const Clock&) const override {
    return nullptr;
  }
  Result<std::unique_ptr<sink::ReadBack>> MakeReadBack(const sink::SinkOptions&) const override {
    return std::make_unique<Reader>(*this);
  }

  mutable Lines keys_asked_for;
  mutable std::shared_ptr<const change::TableSchema> schema_asked_for;
  std::optional<Error> error;

 private:
  class Reader final : public sink::ReadBack {
   public:
    explicit Reader(const FakeTarget& target) : target_(target) {}
    Status Scan(const change::TableSchema& schema, const std::shared_ptr<arrow::RecordBatch>& keys,
                const Visit& visit) override {
      target_.schema_asked_for = std::make_shared<change::TableSchema>(schema);
      if (keys != nullptr) target_.keys_asked_for = test::RowTexts(*keys);
      FRESHET_RETURN_IF_ERROR(visit(*test::MakeRows(schema, {{"1", "nut", "0.10"}})));
      if (target_.error) return Fail(*target_.error);
      return visit(*test::MakeRows(schema, {{"2", test::Null(), "0.20"}}));
    }

   private:
    const FakeTarget& target_;
  };
};

class RemoteScanTest : public ::testing::Test {
 protected:
  RemoteScanTest() {
    SinkSpec spec;
    spec.options.name = "warehouse";
    spec.factory = target_;
    pipeline_.sinks.push_back(std::move(spec));
  }

  /// The server's answer to a scan of `sink`.
  std::string Ask(std::string_view sink, const std::string& request) {
    std::string answer;
    ServeScan(pipeline_, sink, std::as_bytes(std::span(request)), [&](std::string_view bytes) {
      answer += bytes;
      return true;
    });
    return answer;
  }

  Status Read(const std::string& answer, size_t bytes_at_a_time) {
    ScanAnswer reader([&](const arrow::RecordBatch& rows) -> Status {
      for (const std::string& line : test::RowTexts(rows)) rows_.push_back(line);
      return {};
    });
    for (size_t at = 0; at < answer.size(); at += bytes_at_a_time) {
      FRESHET_RETURN_IF_ERROR(reader.Add(std::string_view(answer).substr(at, bytes_at_a_time)));
    }
    return reader.Finish();
  }

  std::shared_ptr<const change::TableSchema> schema_ = test::MakeItemsSchema();
  std::shared_ptr<FakeTarget> target_ = std::make_shared<FakeTarget>();
  Options pipeline_;
  Lines rows_;
};

TEST_F(RemoteScanTest, RowsArriveHoweverTheAnswerIsCut) {
  const std::string answer = Ask("warehouse", EncodeScanRequest(*schema_, nullptr).value());

  for (const size_t bytes : {size_t{1}, size_t{7}, answer.size()}) {
    rows_.clear();
    const Status read = Read(answer, bytes);
    ASSERT_TRUE(read.has_value()) << read.error();
    EXPECT_EQ(rows_, (Lines{"1 | nut | 0.10", "2 | NULL | 0.20"}));
  }
  EXPECT_EQ(*target_->schema_asked_for, *schema_);
  EXPECT_TRUE(target_->keys_asked_for.empty());
}

TEST_F(RemoteScanTest, KeysReachTheTarget) {
  const auto key_schema =
      test::MakeSchema({"public", "items"}, {test::MakeColumn("id", change::LogicalKind::kInt64)});
  const auto keys = test::MakeRows(*key_schema, {{"1"}, {"9"}});

  Ask("warehouse", EncodeScanRequest(*schema_, keys).value());

  EXPECT_EQ(target_->keys_asked_for, (Lines{"1", "9"}));
}

TEST_F(RemoteScanTest, AnErrorHalfWayKeepsItsKind) {
  target_->error = Error{ErrorKind::kNotFound, "no such table"};

  const Status read = Read(Ask("warehouse", EncodeScanRequest(*schema_, nullptr).value()), 100);

  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(read.error().message, "no such table");
}

TEST_F(RemoteScanTest, AnAnswerCutOffIsNotMistakenForASmallTable) {
  const std::string answer = Ask("warehouse", EncodeScanRequest(*schema_, nullptr).value());

  for (size_t size = 0; size < answer.size(); ++size) {
    const Status read = Read(answer.substr(0, size), 64);
    ASSERT_FALSE(read.has_value()) << size;
    EXPECT_EQ(read.error().kind, ErrorKind::kUnavailable);
  }
}

TEST_F(RemoteScanTest, AnUnknownSinkAndAStrangeRequestAreRefused) {
  EXPECT_EQ(Read(Ask("lake", EncodeScanRequest(*schema_, nullptr).value()), 64).error().kind,
            ErrorKind::kConfig);
  EXPECT_FALSE(Read(Ask("warehouse", ""), 64).has_value());
  EXPECT_FALSE(Read(Ask("warehouse", "\xff\xff\xff\xff"), 64).has_value());
  EXPECT_FALSE(Read(Ask("warehouse", std::string(40, '\1')), 64).has_value());
}

TEST_F(RemoteScanTest, AnswersThatAreNoneAreMalformed) {
  const auto kind_of = [&](const std::string& bytes) { return Read(bytes, 64).error().kind; };

  EXPECT_EQ(kind_of(std::string("X\0\0\0\0", 5)), ErrorKind::kMalformed);
  EXPECT_EQ(kind_of(std::string("B\4\0\0\0junk", 9)), ErrorKind::kMalformed);
  EXPECT_EQ(kind_of(std::string("B\xff\xff\xff\xff", 5)), ErrorKind::kMalformed);
  EXPECT_EQ(kind_of(std::string("Z\0\0\0\0Z\0\0\0\0", 10)), ErrorKind::kMalformed);
}

}  // namespace
}  // namespace freshet::pipeline
