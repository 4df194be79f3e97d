#pragma once

#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postgres/assembler.h"
#include "support/batches.h"
#include "support/pgoutput_messages.h"

namespace freshet::postgres {

using BatchPtr = std::shared_ptr<const change::ChangeBatch>;

inline constexpr uint32_t kItems = 16'385;
inline constexpr uint32_t kOrders = 16'390;
inline constexpr uint32_t kInt8 = 20;
inline constexpr uint32_t kText = 25;

/// A table of (id int8 key, name text).
inline pgoutput::Relation Items(uint32_t id = kItems, std::string name = "items") {
  return {.xid = {},
          .id = {id},
          .schema = "public",
          .table = std::move(name),
          .columns = {{.name = "id", .type_oid = kInt8, .key = true},
                      {.name = "name", .type_oid = kText}}};
}

/// Feeds messages and gathers batches.
class AssemblerTest : public ::testing::Test {
 protected:
  void Start(AssemblerLimits limits = {}, change::Position resume = {},
             std::optional<change::Transaction> open = {}) {
    assembler_.emplace(limits, schemas_, resume, std::move(open));
  }

  Status Feed(const std::vector<test::MessageBytes>& messages) {
    if (!assembler_) Start();
    for (const test::MessageBytes& message : messages) {
      FRESHET_RETURN_IF_ERROR(assembler_->Add(message));
    }
    return {};
  }

  /// Feeds `messages`, cuts, and returns all batches finished so far.
  std::vector<BatchPtr> Batches(const std::vector<test::MessageBytes>& messages) {
    const Status fed = Feed(messages);
    EXPECT_TRUE(fed.has_value()) << fed.error();
    const Status cut = assembler_->Cut();
    EXPECT_TRUE(cut.has_value()) << cut.error();
    std::vector<BatchPtr> out;
    while (auto batch = assembler_->Take()) out.push_back(std::move(batch));
    return out;
  }

  test::MessageSchemaSource schemas_;
  std::optional<Assembler> assembler_;
};

/// All that a batch says of its rows, one line each: "items 0/2 insert 1 | nut".
inline std::vector<std::string> Lines(const change::ChangeBatch& batch) {
  std::vector<std::string> lines;
  for (const change::TableChanges& table : batch.tables) {
    const auto rows = test::RowTexts(*table.rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      lines.push_back(fmt::format("{} {}/{} {} {}", table.schema->name().table,
                                  table.transactions[i], table.ordinals[i],
                                  change::ChangeKindName(table.kinds[i]), rows[i]));
    }
  }
  return lines;
}

/// Begin, `changes`, Commit.
inline std::vector<test::MessageBytes> Whole(uint64_t commit_lsn,
                                             std::vector<test::MessageBytes> changes) {
  std::vector<test::MessageBytes> out = {
      test::BeginBytes(commit_lsn, static_cast<uint32_t>(commit_lsn))};
  out.insert(out.end(), changes.begin(), changes.end());
  out.push_back(test::CommitBytes(commit_lsn, commit_lsn + 20));
  return out;
}

inline std::vector<test::MessageBytes> operator+(std::vector<test::MessageBytes> a,
                                                 const std::vector<test::MessageBytes>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace freshet::postgres
