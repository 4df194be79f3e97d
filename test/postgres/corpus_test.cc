// Real bytes, captured by fuzz/capture_corpus.py, through parser, assembler and COPY reader.

#include <arrow/record_batch.h>
#include <arrow/status.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "postgres/assembler.h"
#include "postgres/pgoutput.h"
#include "postgres/spool.h"
#include "support/batches.h"
#include "support/memory_file_system.h"
#include "support/pgoutput_messages.h"

namespace freshet::postgres {
namespace {

using change::ValueException;
using test::MessageBytes;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsSupersetOf;

/// The files of a corpus by name, each as the messages in it.
std::map<std::string, std::vector<MessageBytes>> Corpus(const std::string& target) {
  std::map<std::string, std::vector<MessageBytes>> files;
  for (const auto& entry : std::filesystem::directory_iterator("fuzz/corpus/" + target)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(in), {});
    files[entry.path().filename()] = test::SplitMessages(std::as_bytes(std::span(bytes)));
  }
  return files;
}

std::vector<std::shared_ptr<const change::ChangeBatch>> Assemble(
    const std::vector<MessageBytes>& messages, SchemaSource& schemas) {
  std::vector<std::shared_ptr<const change::ChangeBatch>> batches;
  test::MemoryFileSystem fs;
  const auto spool = Spool::Create(fs, SystemClock(), {.folder = "spool", .memory_bytes = 4'096});
  EXPECT_TRUE(spool.has_value()) << spool.error();
  Assembler assembler({}, schemas, {}, {}, spool->get());
  for (const MessageBytes& message : messages) {
    Status added = assembler.Add(message);
    while (added.has_value() && assembler.replaying()) added = assembler.Replay();
    EXPECT_TRUE(added.has_value()) << added.error();
  }
  EXPECT_TRUE(assembler.Cut().has_value());
  while (auto batch = assembler.Take()) batches.push_back(std::move(batch));
  EXPECT_TRUE(assembler.idle());
  return batches;
}

TEST(CorpusTest, EveryCapturedMessageIsParsed) {
  std::set<char> seen;
  for (const auto& [name, messages] : Corpus("pgoutput")) {
    pgoutput::Parser parser;
    for (const MessageBytes& message : messages) {
      const auto parsed = parser.Parse(message);
      ASSERT_TRUE(parsed.has_value()) << name << ": " << parsed.error();
      seen.insert(static_cast<char>(message[0]));
    }
    EXPECT_FALSE(parser.in_stream()) << name;
  }
  // Every kind of message there is.
  EXPECT_EQ(std::string(seen.begin(), seen.end()), "ABCDEIKMOPRSTUYbcpr");
}

TEST(CorpusTest, EveryCapturedStreamIsAssembled) {
  const auto corpus = Corpus("assembler");
  ASSERT_GE(corpus.size(), 11U);
  for (const auto& [name, messages] : corpus) {
    SCOPED_TRACE(name);
    test::MessageSchemaSource schemas;
    for (const auto& batch : Assemble(messages, schemas)) {
      for (const change::TableChanges& table : batch->tables) {
        EXPECT_TRUE(table.rows->ValidateFull().ok());
      }
    }
  }
}

/// What was rolled back, to a savepoint or altogether, is not in it.
TEST(CorpusTest, StreamedTransactionsHaveWhatWasCommitted) {
  for (const char* name : {"streamed_15", "streamed_18"}) {
    test::MessageSchemaSource schemas;
    std::vector<std::string> values;
    for (const auto& batch : Assemble(Corpus("assembler").at(name), schemas)) {
      for (const change::TableChanges& table : batch->tables) {
        for (const std::string& row : test::RowTexts(*table.rows)) {
          values.push_back(row.substr(row.find(" | ") + 3, 1));
        }
      }
    }
    EXPECT_EQ(std::count(values.begin(), values.end(), "x"), 402) << name;
    EXPECT_EQ(std::count(values.begin(), values.end(), "y"), 0) << name;
    EXPECT_EQ(std::count(values.begin(), values.end(), "z"), 101) << name;
    EXPECT_EQ(std::count(values.begin(), values.end(), "a"), 0) << name;
    EXPECT_EQ(values.size(), 503U) << name;
  }
}

TEST(CorpusTest, ExtremesOfEveryTypeAreValuesOrExceptions) {
  test::MessageSchemaSource schemas;
  const auto batches = Assemble(Corpus("assembler").at("kinds_15"), schemas);

  ASSERT_EQ(batches.size(), 1U);
  ASSERT_EQ(batches[0]->tables.size(), 1U);
  const change::TableChanges& table = batches[0]->tables[0];
  const auto value = [&](const char* column, int64_t row) {
    return test::ValueText(*table.rows->GetColumnByName(column), row);
  };
  EXPECT_EQ(value("s", 0), "-32768");
  EXPECT_EQ(value("l", 0), "9223372036854775807");
  EXPECT_EQ(value("o", 0), "4294967295");
  EXPECT_EQ(value("r", 0), "nan");
  EXPECT_EQ(value("d", 0), "-0");
  EXPECT_EQ(value("n", 0), "NaN");
  EXPECT_EQ(value("n2", 0), "1234567890123456789012345678.0123456789");
  EXPECT_EQ(value("n2", 1), "-1E-10");
  EXPECT_EQ(value("t", 0), "tab\t newline\n back\\slash é😀");
  EXPECT_EQ(value("c", 0), "ab   ");
  EXPECT_EQ(value("y", 0), std::string("\0\xFF\x10", 3));
  EXPECT_EQ(value("iv", 0), "1 mon -2 days +03:04:05.6");
  EXPECT_EQ(value("net", 0), "10.0.0.1/8");

  std::set<std::string> exceptions;
  for (const ValueException& e : table.exceptions) {
    exceptions.insert(fmt::format(
        "{} {} {}", e.row, table.schema->columns()[static_cast<size_t>(e.column)].name, e.text));
  }
  EXPECT_THAT(exceptions,
              ElementsAre("0 an {1.50,NaN}", "0 ti 24:00:00", "0 ts 294276-12-31 23:59:59.999999",
                          "1 an {{1.00,2.00},{3.00,4.00}}", "1 dt infinity", "1 ts -infinity",
                          "2 ai [0:1]={1,2}", "2 at {{a}}"));
}

/// The script's changes, as three versions of the server tell them: the same story.
TEST(CorpusTest, VersionsOfTheServerTellTheSameChanges) {
  std::vector<std::vector<std::string>> stories;
  for (const char* name : {"changes_10", "changes_15", "changes_18"}) {
    test::MessageSchemaSource schemas;
    std::vector<std::string> story;
    for (const auto& batch : Assemble(Corpus("assembler").at(name), schemas)) {
      for (const change::TableChanges& table : batch->tables) {
        const auto rows = test::RowTexts(*table.rows);
        for (size_t i = 0; i < rows.size(); ++i) {
          story.push_back(fmt::format("{} {} {}", table.schema->name().table,
                                      change::ChangeKindName(table.kinds[i]), rows[i]));
        }
      }
    }
    stories.push_back(std::move(story));
  }
  EXPECT_THAT(
      stories[1],
      IsSupersetOf({"plain update_preimage 2 | NULL | NULL | NULL | NULL",
                    "plain delete 3 | NULL | NULL | NULL | NULL", "whole update_preimage 1 | a",
                    "whole update_postimage 1 | b", "by_index update_preimage NULL | x | NULL",
                    "odd insert ok | 12.50 | (1,2) | 1 mon -2 days"}));
  EXPECT_EQ(stories[1], stories[2]);
}

}  // namespace
}  // namespace freshet::postgres
