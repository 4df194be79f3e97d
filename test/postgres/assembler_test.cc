#include "postgres/assembler.h"

#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/batches.h"
#include "support/pgoutput_messages.h"

namespace freshet::postgres {
namespace {

using change::ChangeBatch;
using change::ChangeKind;
using change::Lsn;
using change::Position;
using change::ReplicaIdentity;
using change::Transaction;
using change::TransactionKind;
using test::BeginBytes;
using test::CommitBytes;
using test::DeleteBytes;
using test::InsertBytes;
using test::LogicalMessageBytes;
using test::MessageBytes;
using test::NullField;
using test::RelationBytes;
using test::TruncateBytes;
using test::UnchangedField;
using test::UpdateBytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using BatchPtr = std::shared_ptr<const ChangeBatch>;

constexpr uint32_t kItems = 16'385;
constexpr uint32_t kOrders = 16'390;
constexpr uint32_t kInt8 = 20;
constexpr uint32_t kText = 25;

pgoutput::Relation Items(uint32_t id = kItems, std::string name = "items") {
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
  void Start(AssemblerLimits limits = {}, Position resume = {},
             std::optional<Transaction> open = {}) {
    assembler_.emplace(limits, schemas_, resume, std::move(open));
  }

  Status Feed(const std::vector<MessageBytes>& messages) {
    if (!assembler_) Start();
    for (const MessageBytes& message : messages) {
      FRESHET_RETURN_IF_ERROR(assembler_->Add(message));
    }
    return {};
  }

  /// Feeds `messages`, cuts, and returns all batches finished so far.
  std::vector<BatchPtr> Batches(const std::vector<MessageBytes>& messages) {
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
std::vector<std::string> Lines(const ChangeBatch& batch) {
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

TEST_F(AssemblerTest, OneTransactionBecomesOneBatch) {
  const auto batches = Batches(
      {BeginBytes(100, 7, 1'000'000), RelationBytes(Items()), InsertBytes(kItems, {"1", "nut"}),
       InsertBytes(kItems, {"-2", NullField()}), CommitBytes(100, 120, 1'000'000)});

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]),
              ElementsAre("items 0/0 insert 1 | nut", "items 0/1 insert -2 | NULL"));
  EXPECT_THAT(batches[0]->transactions, ElementsAre(Transaction{.xid = {7},
                                                                .commit_lsn = {100},
                                                                .end_lsn = {120},
                                                                .commit_time = 946'684'801'000'000,
                                                                .origin = ""}));
  EXPECT_TRUE(assembler_->idle());
  EXPECT_EQ(assembler_->received_end(), Lsn{120});
}

}  // namespace
}  // namespace freshet::postgres
