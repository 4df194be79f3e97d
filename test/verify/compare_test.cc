#include "verify/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "support/batches.h"

namespace freshet::verify {
namespace {

using Values = std::vector<std::string>;

/// A table in memory, in which a test may let something happen before each reading.
class MemorySide final : public Side {
 public:
  explicit MemorySide(size_t key_columns) : key_columns_(key_columns) {}

  Status ReadAll(const Visit& visit) override {
    ++whole_readings;
    return Read(visit, [](const Values&) { return true; });
  }

  Status ReadKeys(const std::vector<Key>& keys, const Visit& visit) override {
    ++key_readings;
    return Read(visit, [&](const Values& row) {
      const Key key(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(key_columns_));
      return std::find(keys.begin(), keys.end(), key) != keys.end();
    });
  }

  std::vector<Values> rows;
  std::function<void()> before_reading = [] {};
  int whole_readings = 0;
  int key_readings = 0;

 private:
  Status Read(const Visit& visit, const std::function<bool(const Values&)>& wanted) {
    before_reading();
    for (const Values& values : rows) {
      if (!wanted(values)) continue;
      Row row;
      for (const std::string& value : values) row.AddText(value);
      FRESHET_RETURN_IF_ERROR(visit(row));
    }
    return {};
  }

  size_t key_columns_;
};

/// Passes the time of a wait at once, instead of waiting for it.
class ImpatientClock final : public Clock {
 public:
  UnixMicros Now() const override { return 0; }
  std::chrono::nanoseconds Monotonic() const override { return now_; }
  bool WaitFor(std::chrono::nanoseconds duration, std::stop_token) const override {
    now_ += duration;
    return true;
  }
  void Advance(std::chrono::nanoseconds by) { now_ += by; }

 private:
  mutable std::chrono::nanoseconds now_{0};
};

class CompareTest : public ::testing::Test {
 protected:
  void Fill(int count) {
    for (int i = 0; i < count; ++i) {
      source_.rows.push_back({std::to_string(i), "name " + std::to_string(i), "1.00"});
    }
    target_.rows = source_.rows;
  }

  TableReport Compare() {
    auto report = CompareTable(*schema_, source_, target_, limits_, clock_, {}, [](int64_t) {});
    EXPECT_TRUE(report.has_value()) << report.error();
    return report.value_or(TableReport{});
  }

  ImpatientClock clock_;
  std::shared_ptr<const change::TableSchema> schema_ = test::MakeItemsSchema();
  MemorySide source_{1};
  MemorySide target_{1};
  CompareLimits limits_{.deadline = std::chrono::nanoseconds(0)};
};

TEST_F(CompareTest, EqualTablesAreReadOnceEach) {
  Fill(1000);
  std::reverse(target_.rows.begin(), target_.rows.end());

  const TableReport report = Compare();

  EXPECT_TRUE(report.equal());
  EXPECT_EQ(report.source.rows, 1000);
  EXPECT_EQ(report.source, report.target);
  EXPECT_EQ(source_.whole_readings, 1);
  EXPECT_EQ(target_.key_readings, 0);
}

TEST_F(CompareTest, OneChangedByteIsFoundWithItsKeyAndColumn) {
  Fill(1000);
  target_.rows[417][1].back() ^= 1;

  const TableReport report = Compare();

  EXPECT_FALSE(report.equal());
  EXPECT_EQ(report.differing_keys, 1);
  ASSERT_EQ(report.differences.size(), 1U);
  EXPECT_EQ(report.differences[0].kind, DifferenceKind::kDifferent);
  EXPECT_EQ(report.differences[0].key, (Key{"417"}));
  EXPECT_EQ(report.differences[0].columns, (Values{"name"}));
  EXPECT_NE(report.source.sum, report.target.sum);
}

/// The property that everything else is for: whatever one byte of the target changes, it is found.
TEST_F(CompareTest, AnyChangedByteIsFound) {
  Fill(8);
  const std::vector<Values> good = target_.rows;
  int changed = 0;
  for (size_t row = 0; row < good.size(); ++row) {
    for (size_t column = 0; column < good[row].size(); ++column) {
      for (size_t at = 0; at < good[row][column].size(); ++at) {
        target_.rows = good;
        target_.rows[row][column][at] ^= 4;
        EXPECT_FALSE(Compare().equal()) << row << " " << column << " " << at;
        ++changed;
      }
    }
  }
  EXPECT_GT(changed, 80);
}

TEST_F(CompareTest, MissingExtraAndDuplicateRowsAreToldApart) {
  Fill(100);
  target_.rows.erase(target_.rows.begin() + 10);
  target_.rows.push_back({"900", "extra", "0.00"});
  target_.rows.push_back(source_.rows[50]);

  const TableReport report = Compare();

  EXPECT_EQ(report.differing_keys, 3);
  std::map<std::string, DifferenceKind> kinds;
  for (const Difference& d : report.differences) kinds[d.key[0]] = d.kind;
  EXPECT_EQ(kinds.at("10"), DifferenceKind::kMissing);
  EXPECT_EQ(kinds.at("900"), DifferenceKind::kExtra);
  EXPECT_EQ(kinds.at("50"), DifferenceKind::kDuplicate);
}

TEST_F(CompareTest, ATargetThatIsLateBecomesEqual) {
  Fill(100);
  limits_.deadline = std::chrono::seconds(30);
  source_.rows[7][1] = "changed";
  source_.rows.push_back({"100", "new", "1.00"});
  int readings = 0;
  target_.before_reading = [&] {
    clock_.Advance(std::chrono::seconds(1));
    if (++readings == 5) target_.rows = source_.rows;
  };
  source_.before_reading = [&] { clock_.Advance(std::chrono::seconds(1)); };

  const TableReport report = Compare();

  EXPECT_TRUE(report.equal());
  EXPECT_EQ(report.reread_keys, 2);
  EXPECT_EQ(report.source.rows, 101);
  EXPECT_EQ(report.source, report.target);
}

/// A row that changes all the time is never the same on both sides at one moment.
TEST_F(CompareTest, ARowThatNeverRestsAgreesWithAStateItHadSince) {
  Fill(10);
  limits_.deadline = std::chrono::hours(1);
  std::vector<std::string> history = {"0", "0", "0"};
  source_.before_reading = [&] {
    history.push_back(std::to_string(history.size()));
    source_.rows[3][1] = history.back();
  };
  target_.before_reading = [&] {
    clock_.Advance(std::chrono::seconds(1));
    target_.rows[3][1] = history[history.size() - 2];  // one state behind
  };

  EXPECT_TRUE(Compare().equal());
}

TEST_F(CompareTest, ARowThatStaysWrongWhileTheSourceMovesIsDifferentAndMoving) {
  Fill(10);
  limits_.deadline = std::chrono::seconds(5);
  int state = 0;
  target_.rows[3][1] = "stuck";
  source_.before_reading = [&] {
    clock_.Advance(std::chrono::seconds(1));
    source_.rows[3][1] = std::to_string(++state);
  };

  const TableReport report = Compare();

  ASSERT_EQ(report.differences.size(), 1U);
  EXPECT_TRUE(report.differences[0].moving);
}

TEST_F(CompareTest, RowsWithoutAKeyAreAMultiset) {
  auto columns = schema_->columns();
  for (change::Column& column : columns) column.identity = column.primary_key = false;
  schema_ = test::MakeSchema({"public", "log"}, columns, change::ReplicaIdentity::kNothing);
  ASSERT_TRUE(schema_->key_columns().empty());
  Fill(50);
  source_.rows.push_back(source_.rows[0]);
  EXPECT_FALSE(Compare().equal());

  target_.rows.insert(target_.rows.begin() + 20, source_.rows[0]);
  const TableReport report = Compare();

  EXPECT_TRUE(report.equal());
  EXPECT_EQ(report.target.rows, 51);
  EXPECT_EQ(target_.key_readings, 0);
}

TEST_F(CompareTest, SmallLimitsChangeTheWayAndNotTheAnswer) {
  Fill(2000);
  for (size_t i = 0; i < 300; ++i) target_.rows[i * 5][2] = "9.99";
  limits_.rows_held = 50;
  limits_.keys_per_reading = 10;

  const TableReport report = Compare();

  EXPECT_EQ(report.differing_keys, 300);
  EXPECT_EQ(report.differences.size(), limits_.differences_shown);
  EXPECT_FALSE(report.more_may_differ);
}

TEST_F(CompareTest, TooManyDifferencesAreNotCountedToTheEnd) {
  Fill(2000);
  target_.rows.clear();
  limits_.candidates = 100;
  limits_.rows_held = 50;

  const TableReport report = Compare();

  EXPECT_TRUE(report.more_may_differ);
  EXPECT_FALSE(report.equal());
  EXPECT_GT(report.differing_keys, 100);
  EXPECT_LT(report.differing_keys, 500);
}

TEST_F(CompareTest, AReadingThatFailsIsNoVerdict) {
  Fill(10);
  class Broken final : public Side {
    Status ReadAll(const Visit&) override { return Fail(ErrorKind::kUnavailable, "gone"); }
    Status ReadKeys(const std::vector<Key>&, const Visit&) override { return {}; }
  } broken;

  const auto report = CompareTable(*schema_, source_, broken, limits_, clock_, {}, [](int64_t) {});

  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().kind, ErrorKind::kUnavailable);
}

}  // namespace
}  // namespace freshet::verify
