#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "change/logical_type.h"
#include "postgres/text_encoding.h"

namespace freshet::postgres {
class Connection;
}

namespace freshet::verify {

/// Says what text of the source is to read as in a target, from the bytes that COPY sends.
///
/// Written apart from postgres/text_encoding.h, for the reason given in render.h: what a character
/// is in UTF-8, the server is asked, once each. Threads: one. Errors: those of the connection.
class SourceText {
 public:
  /// Asks through `server`, which outlives this object and is used for nothing else during Read().
  SourceText(postgres::Connection& server, postgres::InvalidText policy);

  /// `bytes`, a value of `type`, as a target has it: in UTF-8, or by the policy where it is not
  /// valid. `key`: of a key's column. The view is valid until the next call.
  Result<std::string_view> Read(const change::LogicalType& type, bool key, std::string_view bytes);

 private:
  struct Character {
    std::string utf8;         ///< empty: the encoding does not have it
    bool comes_back = false;  ///< from UTF-8 the server makes the same bytes of it
  };

  Result<const Character*> CharacterOf(std::string_view unit);
  size_t UnitSize(std::string_view bytes) const;
  Result<std::string_view> Readable(const change::LogicalType& type, std::string_view bytes);

  postgres::Connection& server_;
  const postgres::InvalidText policy_;
  const std::string encoding_;
  const bool is_utf8_;                                ///< as which SQL_ASCII is read too
  const bool is_checked_;                             ///< by the server: UTF8, but not SQL_ASCII
  std::unordered_map<std::string, Character> known_;  ///< of those the server was asked
  Character plain_;                                   ///< one that it need not be
  std::string out_;
};

}  // namespace freshet::verify
