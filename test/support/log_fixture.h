#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "log/log.h"
#include "support/batches.h"
#include "support/manual_clock.h"
#include "support/memory_file_system.h"

namespace freshet::test {

/// A log in a memory file system, and short ways to fill and read it.
class LogTest : public testing::Test {
 protected:
  LogTest();

  std::unique_ptr<log::Log> Open();

  /// Lets the power fail under `log`, and opens what is left.
  std::unique_ptr<log::Log> CrashAndOpen(std::unique_ptr<log::Log> log, uint64_t seed = 1);

  /// One transaction that ends at `end_lsn` and inserts one row into table items.
  std::shared_ptr<const change::ChangeBatch> Items(uint64_t end_lsn, Row row) const;

  /// Part of a transaction with one row.
  std::shared_ptr<const change::ChangeBatch> ItemsPart(uint64_t end_lsn, bool begins, bool ends,
                                                       Row row) const;

  static void Append(log::Log& log, std::shared_ptr<const change::ChangeBatch> batch);
  static std::unique_ptr<log::Reader> NewReader(log::Log& log, uint64_t after_lsn = 0);
  static log::LogEntry NextEntry(log::Reader& reader);

  /// Everything there is for `reader` right now, a line a row: "END_LSN: row".
  static std::vector<std::string> Drain(log::Reader& reader);

  /// The same from a new reader.
  static std::vector<std::string> ReadTexts(log::Log& log, uint64_t after_lsn = 0);

  /// Path of the segment that begins with this batch.
  std::string SegmentPath(int64_t first_offset) const;

  MemoryFileSystem fs_;
  ManualClock clock_;
  log::Options options_;
  const std::shared_ptr<const change::TableSchema> items_ = MakeItemsSchema();
};

}  // namespace freshet::test
