#include "base/file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace freshet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class LocalFileSystemTest : public testing::Test {
 protected:
  LocalFileSystemTest() {
    folder_ = std::filesystem::temp_directory_path() / "freshet-files.XXXXXX";
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~LocalFileSystemTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(std::string_view name) const { return folder_ + "/" + std::string(name); }

  static Status Write(WritableFile& file, int64_t at, std::string_view first,
                      std::string_view second = {}) {
    const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(first)),
                                                 std::as_bytes(std::span(second))};
    return file.WriteAt(at, pieces);
  }

  std::string ReadAll(const std::string& path) const {
    const auto file = fs_.OpenForReading(path);
    std::string text(static_cast<size_t>(*(*file)->SizeBytes()) + 10, '?');
    text.resize(*(*file)->ReadAt(0, std::as_writable_bytes(std::span(text))));
    return text;
  }

  std::string folder_;
  FileSystem& fs_ = LocalFileSystem();
};

TEST_F(LocalFileSystemTest, PiecesAreWrittenOneBehindTheOtherAtTheirPlace) {
  const auto file = fs_.OpenForWriting(Path("f"));
  ASSERT_TRUE(file.has_value()) << file.error();

  ASSERT_TRUE(Write(**file, 0, "hello ", "world").has_value());
  ASSERT_TRUE(Write(**file, 6, "", "there").has_value());
  ASSERT_TRUE((*file)->Sync().has_value());

  EXPECT_EQ(ReadAll(Path("f")), "hello there");
}

TEST_F(LocalFileSystemTest, MorePiecesThanTheSystemTakesAtOnceAreAllWritten) {
  constexpr size_t kPieces = 5000;  // IOV_MAX is 1024
  const std::string text(kPieces, 'x');
  std::vector<std::span<const std::byte>> pieces;
  for (size_t i = 0; i < kPieces; ++i) {
    pieces.push_back(std::as_bytes(std::span(text)).subspan(i, 1));
  }
  const auto file = fs_.OpenForWriting(Path("f"));

  ASSERT_TRUE((*file)->WriteAt(0, pieces).has_value());

  EXPECT_EQ(ReadAll(Path("f")), text);
}

TEST_F(LocalFileSystemTest, OpeningForWritingKeepsWhatIsThere) {
  ASSERT_TRUE(Write(**fs_.OpenForWriting(Path("f")), 0, "abc").has_value());

  const auto again = fs_.OpenForWriting(Path("f"));
  EXPECT_EQ(ReadAll(Path("f")), "abc");
  ASSERT_TRUE((*again)->Truncate(1).has_value());
  EXPECT_EQ(ReadAll(Path("f")), "a");
}

TEST_F(LocalFileSystemTest, ReservedRoomIsNotPartOfTheFileAndGoesBackWithTruncate) {
  const auto blocks = [&] {
    struct stat info {};
    EXPECT_EQ(stat(Path("f").c_str(), &info), 0);
    EXPECT_EQ(info.st_size, 3);
    return info.st_blocks;
  };
  const auto file = fs_.OpenForWriting(Path("f"));
  ASSERT_TRUE(Write(**file, 0, "abc").has_value());

  (*file)->Reserve(int64_t{1} << 20);
  const auto reserved = blocks();
  ASSERT_TRUE((*file)->Truncate(3).has_value());

  EXPECT_LE(blocks(), reserved);
  EXPECT_LE(blocks(), 16);
}

TEST_F(LocalFileSystemTest, ReadBehindTheEndIsShort) {
  ASSERT_TRUE(Write(**fs_.OpenForWriting(Path("f")), 0, "abc").has_value());
  const auto file = fs_.OpenForReading(Path("f"));
  std::string text(10, '?');

  EXPECT_EQ(*(*file)->ReadAt(2, std::as_writable_bytes(std::span(text))), 1U);
  EXPECT_EQ(*(*file)->ReadAt(3, std::as_writable_bytes(std::span(text))), 0U);
}

TEST_F(LocalFileSystemTest, MissingFileIsNotFoundAndNamed) {
  const auto file = fs_.OpenForReading(Path("nowhere"));

  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().kind, ErrorKind::kNotFound);
  EXPECT_THAT(file.error().message, HasSubstr(Path("nowhere")));
}

TEST_F(LocalFileSystemTest, FoldersAreMadeWithThoseAboveAndListedInOrder) {
  ASSERT_TRUE(fs_.MakeFolder(Path("a/b/c")).has_value());
  ASSERT_TRUE(fs_.MakeFolder(Path("a/b/c")).has_value());
  ASSERT_TRUE(fs_.OpenForWriting(Path("a/b/c/2")).has_value());
  ASSERT_TRUE(fs_.OpenForWriting(Path("a/b/c/1")).has_value());
  ASSERT_TRUE(fs_.Rename(Path("a/b/c/2"), Path("a/b/c/3")).has_value());
  ASSERT_TRUE(fs_.SyncFolder(Path("a/b/c")).has_value());

  EXPECT_THAT(*fs_.List(Path("a/b/c")), ElementsAre("1", "3"));
  ASSERT_TRUE(fs_.Remove(Path("a/b/c/1")).has_value());
  EXPECT_THAT(*fs_.List(Path("a/b/c")), ElementsAre("3"));
}

TEST_F(LocalFileSystemTest, FileInTheWayOfAFolderIsAnError) {
  ASSERT_TRUE(fs_.OpenForWriting(Path("f")).has_value());

  const Status made = fs_.MakeFolder(Path("f"));

  ASSERT_FALSE(made.has_value());
  EXPECT_THAT(made.error().message, HasSubstr("in the way"));
}

TEST_F(LocalFileSystemTest, LockNamesItsHolderAndIsLetGo) {
  {
    const auto held = fs_.Lock(Path("lock"));
    ASSERT_TRUE(held.has_value()) << held.error();

    const auto second = fs_.Lock(Path("lock"));

    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().kind, ErrorKind::kBusy);
    EXPECT_THAT(second.error().message, HasSubstr("process " + std::to_string(getpid())));
  }
  EXPECT_TRUE(fs_.Lock(Path("lock")).has_value());
}

TEST_F(LocalFileSystemTest, FullDeviceIsNoSpace) {
  const auto full = fs_.OpenForWriting("/dev/full");
  if (!full.has_value()) GTEST_SKIP() << "no /dev/full here";

  const Status written = Write(**full, 0, "abc");

  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().kind, ErrorKind::kNoSpace);
  EXPECT_THAT(written.error().message, HasSubstr("free space"));
}

TEST_F(LocalFileSystemTest, FreeBytesAreKnown) { EXPECT_GT(*fs_.FreeBytes(folder_), 0); }

TEST_F(LocalFileSystemTest, TryWritingLeavesNothingBehind) {
  EXPECT_TRUE(TryWriting(fs_, folder_).has_value());

  EXPECT_TRUE(fs_.List(folder_)->empty());
  EXPECT_EQ(TryWriting(fs_, Path("missing")).error().kind, ErrorKind::kNotFound);
}

}  // namespace
}  // namespace freshet
