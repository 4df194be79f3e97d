#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace freshet::verify {

/// One row of a table as texts: each value in the form PostgreSQL's COPY writes it, made canonical
/// (canonical.h). Both sides of a comparison are brought into this form and nothing else of them is
/// compared.
///
/// Reused from row to row. Views returned are valid until the next change.
class Row {
 public:
  void Clear() {
    bytes_.clear();
    values_.clear();
  }

  void AddNull();
  void AddText(std::string_view text);

  /// Adds a text by parts: append to the string between the two calls, only.
  std::string& BeginText();
  void EndText();

  size_t size() const { return values_.size(); }
  bool is_null(size_t column) const { return values_[column].is_null; }
  std::string_view text(size_t column) const {
    return std::string_view(bytes_).substr(values_[column].begin, values_[column].size);
  }

  /// The whole row as bytes: of each value its length (all ones for null), then its text. Two rows
  /// are equal exactly when these are.
  std::string_view bytes() const { return bytes_; }

 private:
  struct Value {
    size_t begin;
    size_t size;
    bool is_null;
  };

  std::string bytes_;
  std::vector<Value> values_;
};

}  // namespace freshet::verify
