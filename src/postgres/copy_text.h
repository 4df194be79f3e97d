#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "change/change_batch.h"
#include "postgres/text_encoding.h"

namespace freshet::postgres {

/// Turns the rows of `COPY (SELECT <the schema's columns, in order>) TO STDOUT` in text format into
/// columns, for the snapshot. The stream's values go through the same decoder.
///
/// Threads: one. Errors: kMalformed (not a row of that many columns, or a value that is no text of
/// its type), kUnsupported (invalid text under InvalidText::kFail); each names table and column.
/// Source: PostgreSQL manual, COPY, "Text Format".
class CopyTextReader {
 public:
  /// `text`: how the server's bytes become text.
  explicit CopyTextReader(std::shared_ptr<const change::TableSchema> schema,
                          const TextRules& text = {});
  ~CopyTextReader();
  CopyTextReader(CopyTextReader&&) noexcept;
  CopyTextReader& operator=(CopyTextReader&&) noexcept;

  /// Takes one row: a line, with its newline or without, as PQgetCopyData() gives it. Copied.
  Status Add(std::span<const char> line);

  /// Rows taken since the last Finish().
  int64_t rows() const;

  /// Bytes of the lines taken since the last Finish().
  int64_t bytes() const;

  /// The rows taken since the last Finish(), of kind kSnapshot, all of the batch's transaction 0,
  /// with ordinals first_ordinal, first_ordinal + 1, ...
  Result<change::TableChanges> Finish(int64_t first_ordinal);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace freshet::postgres
