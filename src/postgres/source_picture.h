#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"
#include "postgres/connection.h"

namespace freshet::postgres {

/// What the catalog says of one table that is captured, or of a partition of it.
struct PicturedTable {
  change::TableName name;   ///< empty of a partition of which a log knows the oid only
  change::TableId root;     ///< the chosen table it belongs to; itself unless it is a partition
  uint32_t filenode = 0;    ///< of its rows; 0: it has none itself
  uint64_t horizon = 0;     ///< every transaction below this id had ended when it was looked at
  bool older_rows = false;  ///< it was rewritten or joined, and has rows from before that

  // Of a chosen table, not of its partitions:
  bool published = false;   ///< listed by the publication under its own name
  uint32_t membership = 0;  ///< oid by which the publication lists it; 0: it takes in all
  uint64_t sent = 0;        ///< hash of the column list and the row filter (15+)
  uint64_t row_type = 0;    ///< hash of its columns' numbers and types
  uint64_t key_type = 0;    ///< hash of those of its key's columns
};

/// The captured tables and their publication at one moment. Compared with a later one it tells what
/// the stream does not: PostgreSQL sends no word of a changed publication.
struct SourcePicture {
  change::Lsn seen_at;    ///< the server's WAL end before the rest was read
  int64_t listed = 0;     ///< tables of the publication, chosen or not; 0: it takes in all
  bool published = true;  ///< the publication is there
  std::string left_out;   ///< operations that it does not send, "update, delete"; empty: none
  uint64_t horizon = 0;   ///< every transaction below this id had ended
  std::map<uint32_t, PicturedTable> tables;  ///< by OID
};

/// Reads a picture of the tables `chosen` and, below them, their partitions. Errors: those of
/// Connection.
Result<SourcePicture> TakePicture(Connection& connection, const std::string& publication,
                                  std::span<const change::TableId> chosen,
                                  std::stop_token stop = {});

/// Fills in `older_rows` of the tables whose rows lie in another file than in `before`, and of the
/// partitions that are not in it: whether the first rows of them are older than that. So a table
/// whose rows were moved (VACUUM FULL, CLUSTER) is told from one whose rows are new (rewritten,
/// truncated), and a partition that was attached with rows from one that was made.
/// Errors: those of Connection; a table that is locked or gone is left as it is.
Status LookAtRows(Connection& connection, const SourcePicture& before, SourcePicture& now,
                  std::stop_token stop = {});

/// A chosen table some of whose rows came, went or changed without a word in the stream.
struct UnsentRows {
  change::TableId table;
  std::string why;
  bool vanished = false;  ///< rows of it may be gone

  /// A TRUNCATE would look the same, of which the stream tells: then nothing is unsent.
  bool unless_truncated = false;

  std::vector<change::TableId> parts = {};  ///< the partitions they lie in; empty: anywhere
};

/// What a picture says that was not so, or was not known, in an earlier one.
struct SourceDrift {
  /// One sentence each, with the repair; the stream goes on.
  std::vector<std::string> warnings;

  /// One or more a table.
  std::vector<UnsentRows> unsent_rows;

  /// The publication has more tables: chosen ones among them are to join. Before 13 the server may
  /// go on for long without sending their rows, so waiting for one is not enough.
  bool tables_joined = false;

  /// Tables whose changes are no longer sent: a gap, from `before.seen_at` on at the earliest.
  std::string gap;
};

/// Compares the tables that `before` knows. `publication` is its name, for the messages. Pure.
SourceDrift Compare(const SourcePicture& before, const SourcePicture& now,
                    const std::string& publication);

}  // namespace freshet::postgres
