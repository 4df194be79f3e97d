#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/change_batch.h"
#include "postgres/catalog.h"
#include "postgres/chunk_plan.h"
#include "postgres/options.h"
#include "postgres/txid_snapshot.h"

namespace freshet::postgres {

/// One chunk to be read.
struct ChunkTask {
  int64_t id = 0;                         ///< the caller's; never used twice
  CatalogTable table;                     ///< as its changes arrive
  CatalogTable part;                      ///< the relation that is read: `table`, or a leaf of it
  std::vector<std::string> columns = {};  ///< those published; empty: all but generated ones
  std::string row_filter = {};            ///< the publication's condition; empty: all rows
  ChunkRange range;

  /// Of a sweep: only row versions written by this transaction (64-bit) or younger ones.
  std::optional<uint64_t> written_since = {};
};

/// A session has the table locked, and sees what its rows will be read under.
struct ChunkOpened {
  int64_t id = 0;
  TxidSnapshot snapshot;
  change::Lsn behind;  ///< read after the snapshot: all that it sees committed before
  uint32_t filenode = 0;
  int64_t blocks = 0;
  std::shared_ptr<const change::TableSchema> schema;
};

/// How a chunk ended that was read whole.
struct ChunkEnd {
  int64_t rows = 0;
  int64_t bytes = 0;
  std::chrono::nanoseconds took{};
  std::vector<std::string> last_key = {};  ///< of by_key: where it ended; empty: at the last row
};

/// Rows of a chunk, perhaps none; the last piece has the end.
struct ChunkPiece {
  int64_t id = 0;
  change::TableChanges rows;
  std::optional<ChunkEnd> end = {};
};

/// A chunk broke off.
struct ChunkFailed {
  int64_t id = 0;
  Error error;
  bool together = false;  ///< with others, one of which may be at fault alone
};

using ChunkEvent = std::variant<ChunkOpened, ChunkPiece, ChunkFailed>;

/// Reads chunks of tables in sessions of its own, one a worker thread.
///
/// Each chunk is read in a REPEATABLE READ READ ONLY transaction that first locks the relation
/// (ACCESS SHARE, so that no rewrite or truncate comes between), then takes its snapshot. Chunks of
/// small tables share a transaction, whose locks are not waited for: who waits for one lock while
/// he has others may make a deadlock. A relation without blocks is not asked for its rows.
///
/// A chunk's events come in order: opened, pieces, the last one with the end; or, anywhere, failed.
/// A session that breaks is made anew for the next chunk.
///
/// Memory: as many bundles of events as there are workers, and one more each; a bundle has rows up
/// to the limits of a batch. Threads: used by one; the workers are its own, and are joined by the
/// destructor.
/// Errors of ChunkFailed: those of Connection, of CopyTextReader, and kUnsupported for a table that
/// has no key (any more).
class ChunkReader {
 public:
  ChunkReader(const Options& options, const Clock& clock);
  ~ChunkReader();
  ChunkReader(const ChunkReader&) = delete;
  ChunkReader& operator=(const ChunkReader&) = delete;

  /// Workers without a chunk.
  size_t idle() const;

  /// Gives chunks, at least one, to an idle worker, which reads them one after the other under one
  /// snapshot.
  void Start(std::vector<ChunkTask> tasks);

  /// The chunk is not wanted any more: it breaks off soon, with events that come until then. One
  /// that is read with others is read to its end.
  void GiveUp(int64_t id);

  /// The oldest event; null when there is none. It stays until Pop().
  ChunkEvent* Front();
  void Pop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// "COPY (SELECT ... FROM ... WHERE ...) TO STDOUT" of a chunk with these columns. `upto_key`: of
/// by_key, where it ends; empty: at the last row. `text_as_bytes`: keys of text are given as the
/// hexadecimal of their bytes.
std::string ChunkCopySql(const ChunkTask& task, const change::TableSchema& schema,
                         const std::vector<std::string>& upto_key, bool text_as_bytes = false);

}  // namespace freshet::postgres
