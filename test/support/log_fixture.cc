#include "support/log_fixture.h"

#include <arrow/record_batch.h>
#include <fmt/format.h>

#include "log/segment_reader.h"

namespace freshet::test {

using log::Log;
using log::LogEntry;
using log::Reader;

LogTest::LogTest() { options_.path = "log"; }

std::unique_ptr<Log> LogTest::Open() {
  auto log = Log::Open(fs_, clock_, options_);
  if (!log.has_value()) {
    ADD_FAILURE() << log.error();
    return nullptr;
  }
  return *std::move(log);
}

std::unique_ptr<Log> LogTest::CrashAndOpen(std::unique_ptr<Log> log, uint64_t seed) {
  fs_.DieAfter(0);  // a log that is let go must not be able to save anything
  log.reset();
  fs_.Crash(seed);
  return Open();
}

std::shared_ptr<const change::ChangeBatch> LogTest::Items(uint64_t end_lsn, Row row) const {
  return BatchBuilder().Begin(end_lsn).Insert(items_, std::move(row)).Build();
}

std::shared_ptr<const change::ChangeBatch> LogTest::ItemsPart(uint64_t end_lsn, bool begins,
                                                              bool ends, Row row) const {
  return BatchBuilder().Part(end_lsn, begins, ends).Insert(items_, std::move(row)).Build();
}

void LogTest::Append(Log& log, std::shared_ptr<const change::ChangeBatch> batch) {
  const auto end = log.Append(std::move(batch));
  ASSERT_TRUE(end.has_value()) << end.error();
}

std::unique_ptr<Reader> LogTest::NewReader(Log& log, uint64_t after_lsn) {
  auto reader = log.NewReader({change::Lsn{after_lsn}, 0});
  if (!reader.has_value()) {
    ADD_FAILURE() << reader.error();
    return nullptr;
  }
  return *std::move(reader);
}

LogEntry LogTest::NextEntry(Reader& reader) {
  auto next = reader.Next(std::chrono::nanoseconds(0), {});
  if (!next.has_value() || !next->has_value()) {
    ADD_FAILURE() << "no entry: " << (next.has_value() ? "nothing there" : next.error().message);
    return {};
  }
  return **std::move(next);
}

std::vector<std::string> LogTest::Drain(Reader& reader) {
  std::vector<std::string> texts;
  while (true) {
    const auto next = reader.Next(std::chrono::nanoseconds(0), {});
    if (!next.has_value()) texts.push_back("error: " + next.error().message);
    if (!next.has_value() || !next->has_value()) return texts;
    for (const change::TableChanges& table : (*next)->batch->tables) {
      const auto rows = RowTexts(*table.rows);
      for (size_t i = 0; i < rows.size(); ++i) {
        const auto& t = (*next)->batch->transactions[static_cast<size_t>(table.transactions[i])];
        texts.push_back(fmt::format("{}: {}", t.end_lsn.value, rows[i]));
      }
    }
  }
}

std::vector<std::string> LogTest::ReadTexts(Log& log, uint64_t after_lsn) {
  const auto reader = NewReader(log, after_lsn);
  return reader == nullptr ? std::vector<std::string>() : Drain(*reader);
}

std::string LogTest::SegmentPath(int64_t first_offset) const {
  return options_.path + "/" + log::SegmentName({first_offset});
}

}  // namespace freshet::test
