#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace freshet::test {

/// A new empty folder, deleted with all it holds when the test ends.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

/// The files below `folder`, as sorted relative paths.
std::vector<std::string> FilesBelow(const std::filesystem::path& folder);

std::string ReadText(const std::filesystem::path& file);
void WriteText(const std::filesystem::path& file, const std::string& text);

}  // namespace freshet::test
