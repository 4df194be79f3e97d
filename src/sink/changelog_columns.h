#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "change/change_batch.h"

namespace arrow {
class Array;
class Field;
}  // namespace arrow

namespace freshet::sink {

/// What a changelog's row says beside the source's columns, in this order behind them.
inline constexpr std::string_view kOperationColumn = "_cdc_operation";
inline constexpr std::string_view kTimestampColumn = "_cdc_timestamp";
inline constexpr std::string_view kIngestionColumn = "_ingestion_timestamp";
inline constexpr std::string_view kLsnColumn = "_cdc_lsn";
inline constexpr std::string_view kSeqColumn = "_cdc_seq";
inline constexpr std::string_view kXidColumn = "_cdc_xid";
inline constexpr std::string_view kExceptionsColumn = "_cdc_exceptions";
inline constexpr std::string_view kUnchangedColumn = "_cdc_unchanged";

/// `_cdc_seq` counts the changes of a transaction. Pieces of snapshots that stand behind the same
/// commit share a `_cdc_lsn`: the rows of the n-th count on from n times this, which no transaction
/// reaches (it would be terabytes of WAL).
inline constexpr int64_t kSeqsPerSnapshotPiece = int64_t{1} << 36;

/// `_cdc_seq` of a change at `ordinal` in `transaction`. In a piece `n * kSeqsPerSnapshotPiece` is
/// left for the truncate in front of the rows, whose ordinal is -1.
int64_t SequenceOf(const change::Transaction& transaction, int64_t ordinal);

/// Their fields: dictionary<int8, utf8>, timestamp[us, UTC] twice, uint64, int64, int64, utf8,
/// utf8.
const std::vector<std::shared_ptr<arrow::Field>>& ChangelogFields();

/// Builds them for every row of `table`, which belongs to `batch`. `ingested_at`: when the sink
/// takes the rows. `keep_exceptions`: fill `_cdc_exceptions`. One dictionary serves all batches.
std::vector<std::shared_ptr<arrow::Array>> ChangelogColumns(const change::ChangeBatch& batch,
                                                            const change::TableChanges& table,
                                                            UnixMicros ingested_at,
                                                            bool keep_exceptions);

/// `{"column":"exact text",...}` by row, of the exceptions of `table`: utf8, null where there are
/// none. What `_cdc_exceptions` holds.
std::shared_ptr<arrow::Array> ExceptionsColumn(const change::TableChanges& table);

/// Appends `text` as a JSON string, quotes included. Bytes from 0x80 on are copied.
void AppendJsonString(std::string_view text, std::string& out);

}  // namespace freshet::sink
