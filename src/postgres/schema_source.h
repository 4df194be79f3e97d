#pragma once

#include <memory>

#include "base/result.h"
#include "change/table_schema.h"

namespace freshet::postgres {

namespace pgoutput {
struct Relation;
}

/// Says what table version a Relation message of the stream describes.
///
/// The message itself has names, type oids and the replica identity; primary keys, not-null flags,
/// enums, domains and type names are in the source's catalog. Implemented over the catalog, and in
/// tests from the message alone.
class SchemaSource {
 public:
  virtual ~SchemaSource() = default;

  /// The schema of `relation`: one column per column of the message, in its order.
  ///
  /// Called for each Relation message, on the thread that feeds the assembler; it may ask the
  /// server. A message that comes again with the same content may mean another table version: a
  /// column that was dropped and added again. `relation` is valid during the call only. A type the
  /// catalog does not know any more is kExactText.
  virtual Result<std::shared_ptr<const change::TableSchema>> Resolve(
      const pgoutput::Relation& relation) = 0;
};

}  // namespace freshet::postgres
