#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "change/table_schema.h"
#include "verify/side.h"
#include "verify/source_text.h"

namespace freshet::postgres {
class Connection;
}

namespace freshet::verify {

/// A table in PostgreSQL, read by COPY: the values are the server's own text.
///
/// Each call is a statement of its own and reads the rows committed when it begins. `connection`,
/// `schema` and `text` outlive this object. Errors: those of the connections.
class SourceSide final : public Side {
 public:
  /// `partitioned`: the rows are in the table's partitions. A plain table is read without those
  /// that inherit from it, as it is published.
  /// `text` makes text of its bytes.
  SourceSide(postgres::Connection& connection, const change::TableSchema& schema, bool partitioned,
             SourceText& text, std::stop_token stop);

  Status ReadAll(const Visit& visit) override;
  Status ReadKeys(const std::vector<Key>& keys, const Visit& visit) override;

 private:
  Status Copy(const std::string& condition, const Visit& visit);

  postgres::Connection& connection_;
  const change::TableSchema& schema_;
  const bool partitioned_;
  SourceText& text_;
  const std::stop_token stop_;
  std::vector<change::LogicalType> types_;
};

}  // namespace freshet::verify
