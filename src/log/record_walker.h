#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/file_system.h"
#include "base/result.h"
#include "log/segment_reader.h"

namespace freshet::log {

/// Where a walk through a segment's records ended.
struct WalkEnd {
  int64_t whole_bytes = 0;  ///< end of the last whole record
  bool torn = false;        ///< bytes follow that are no whole record and never were
};

/// Calls `visit` with each record behind the checkpoint, in order, up to byte `size_bytes`. With
/// `check_payloads` a record counts as whole only when its checksum is right. In the `last` segment
/// a torn end ends the walk; anything else that is no record is kCorrupt. Errors: kIo, `visit`'s.
///
/// A bad record is torn when no whole record behind it says that it was durable before: records not
/// yet fsynced may reach the disk in any order, so whole ones may stand behind a torn one.
Result<WalkEnd> WalkRecords(
    SegmentReader& segment, int64_t size_bytes, bool last, bool check_payloads,
    const std::function<Status(int64_t at, const RecordHeader& header,
                               const std::shared_ptr<arrow::Buffer>& payload)>& visit);

}  // namespace freshet::log
