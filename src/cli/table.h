#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/terminal.h"

namespace freshet::cli {

/// Rows of text in aligned columns, for people.
class Table {
 public:
  enum class Align : uint8_t { kLeft, kRight };

  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// Adds a row; cells beyond the columns are dropped, missing ones are empty. Line breaks and
  /// other control characters become visible escapes, so that a value cannot break the table.
  void Add(std::vector<std::string> cells);

  /// Title line and rows, two spaces between columns, each line indented by `indent`.
  std::string Render(const Style& style, size_t indent = 0) const;

  size_t size() const { return rows_.size(); }

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace freshet::cli
