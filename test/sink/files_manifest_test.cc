#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sink/files/manifest.h"
#include "sink/files/storage.h"
#include "support/temporary_folder.h"

namespace freshet::sink::files {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

DataFile MakeFile(int64_t sequence) {
  return {.path = "public.items/dt=2026-01-01/" + std::to_string(sequence) + ".parquet",
          .table = {"public", "it\"ems\xE2\x82\xAC"},
          .sequence = sequence,
          .format = "parquet",
          .rows = 10,
          .bytes = 1'234,
          .checksum = "0123456789abcdef",
          .first_lsn = {0x16'B374'D848},
          .last_lsn = {0x16'B374'D900},
          .fingerprint = 0xFFFF'FFFF'FFFF'FFFF};
}

Manifest MakeManifest() {
  return {.sink = "lake",
          .version = 7,
          .writer = "aabb",
          .committed_at = 1'700'000'000'000'001,
          .position = StoredPosition{.source = "1/shop",
                                     .log_id = "log",
                                     .log_offset = 3,
                                     .position = {{0x16'B374'D908}, 4}},
          .next_sequence = 3,
          .lists = {{"_freshet/lists/0-1.jsonl", 0, 256}},
          .recent = {MakeFile(1), MakeFile(2)}};
}

TEST(ManifestTest, RoundTripsThroughJson) {
  const auto parsed = ParseManifest(ToJson(MakeManifest()));

  ASSERT_TRUE(parsed.has_value()) << parsed.error();
  EXPECT_EQ(*parsed, MakeManifest());
}

TEST(ManifestTest, PositionMayBeMissing) {
  Manifest manifest = MakeManifest();
  manifest.position.reset();

  EXPECT_EQ(*ParseManifest(ToJson(manifest)), manifest);
}

TEST(ManifestTest, EveryTruncationIsCorrupt) {
  const std::string json = ToJson(MakeManifest());

  for (size_t size = 0; size + 2 < json.size(); size += 7) {
    const auto parsed = ParseManifest(json.substr(0, size));
    ASSERT_FALSE(parsed.has_value()) << size;
    EXPECT_EQ(parsed.error().kind, ErrorKind::kCorrupt);
  }
}

TEST(ManifestTest, MistypedFieldIsNamed) {
  std::string json = ToJson(MakeManifest());
  json.replace(json.find("\"version\": 7"), 12, "\"version\": \"\"");

  const auto parsed = ParseManifest(json);

  ASSERT_FALSE(parsed.has_value());
  EXPECT_THAT(parsed.error().message, HasSubstr("'version'"));
}

TEST(ManifestTest, NewerFormatIsUnsupported) {
  std::string json = ToJson(MakeManifest());
  json.replace(json.find("\"format_version\": 1"), 19, "\"format_version\": 2");

  const auto parsed = ParseManifest(json);

  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().kind, ErrorKind::kUnsupported);
}

class CompactTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto storage = MakeLocalStorage(folder_.path().string(), StorageUse::kWrite);
    ASSERT_TRUE(storage.has_value()) << storage.error();
    storage_ = *std::move(storage);
  }

  /// Adds files as flushes of `files_a_flush` would.
  void AddFiles(int64_t count, int64_t files_a_flush) {
    for (int64_t added = 0; added < count; added += files_a_flush) {
      std::vector<std::string> superseded;
      const Status compacted = Compact(*storage_, manifest_, superseded);
      ASSERT_TRUE(compacted.has_value()) << compacted.error();
      for (int64_t i = 0; i < files_a_flush; ++i) {
        manifest_.recent.push_back(MakeFile(manifest_.next_sequence++));
      }
      ++manifest_.version;
      for (const std::string& path : superseded) {
        ASSERT_TRUE(storage_->Delete(path).has_value());
      }
    }
  }

  std::vector<int64_t> Sequences() {
    std::vector<int64_t> sequences;
    const Status visited = VisitFiles(*storage_, manifest_, [&](const DataFile& file) -> Status {
      sequences.push_back(file.sequence);
      return {};
    });
    EXPECT_TRUE(visited.has_value()) << visited.error();
    return sequences;
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<Storage> storage_;
  Manifest manifest_;
};

TEST_F(CompactTest, FewFilesStayInTheManifest) {
  AddFiles(kMaxRecentFiles, 1);

  EXPECT_THAT(manifest_.lists, IsEmpty());
  EXPECT_THAT(Sequences(), SizeIs(kMaxRecentFiles));
}

TEST_F(CompactTest, ManyFilesKeepTheirOrderOverMergedLists) {
  const int64_t count = static_cast<int64_t>(kMaxRecentFiles) * (kMergeLists + 2);

  AddFiles(count, 64);

  const std::vector<int64_t> sequences = Sequences();
  ASSERT_EQ(std::ssize(sequences), count);
  for (int64_t i = 0; i < count; ++i) EXPECT_EQ(sequences[static_cast<size_t>(i)], i + 1);
  ASSERT_THAT(manifest_.lists, SizeIs(2));
  EXPECT_EQ(manifest_.lists.front().level, 1);
  EXPECT_EQ(manifest_.lists.front().files, static_cast<int64_t>(kMaxRecentFiles) * kMergeLists);
  EXPECT_THAT(test::FilesBelow(folder_.path() / "_freshet/lists"), SizeIs(2));
}

TEST_F(CompactTest, BrokenLineOfAListIsCorruptAndNamed) {
  AddFiles(static_cast<int64_t>(kMaxRecentFiles) + 64, 64);
  test::WriteText(folder_ / manifest_.lists.front().path, "{\"path\":\"x\"}\n");

  const Status visited =
      VisitFiles(*storage_, manifest_, [](const DataFile&) -> Status { return {}; });

  ASSERT_FALSE(visited.has_value());
  EXPECT_EQ(visited.error().kind, ErrorKind::kCorrupt);
  EXPECT_THAT(visited.error().message, HasSubstr(manifest_.lists.front().path));
}

}  // namespace
}  // namespace freshet::sink::files
