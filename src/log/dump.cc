#include "log/dump.h"

#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "log/record_walker.h"

namespace freshet::log {
namespace {

using nlohmann::ordered_json;

std::span<const std::byte> AsSpan(const arrow::Buffer& buffer) {
  return {reinterpret_cast<const std::byte*>(buffer.data()), static_cast<size_t>(buffer.size())};
}

std::string_view TransactionKindName(change::TransactionKind kind) {
  switch (kind) {
    case change::TransactionKind::kStream:
      return "stream";
    case change::TransactionKind::kSnapshot:
      return "snapshot";
    case change::TransactionKind::kMessage:
      return "message";
  }
  return "unknown";
}

ordered_json ToJson(const change::SourceIdentity& source) {
  return {{"system_id", std::to_string(source.system_id)},
          {"timeline", source.timeline},
          {"database", source.database},
          {"slot", source.slot},
          {"publication", source.publication},
          {"consistent_point", ToString(source.consistent_point)}};
}

ordered_json ToJson(const change::Transaction& t) {
  ordered_json out = {{"kind", TransactionKindName(t.kind)},
                      {"xid", std::to_string(t.xid.value)},
                      {"commit_lsn", ToString(t.commit_lsn)},
                      {"commit_time", t.commit_time}};
  if (t.ends) out["end_lsn"] = ToString(t.end_lsn);
  if (t.ordinal != 0) out["ordinal"] = t.ordinal;
  if (!t.begins) out["begins"] = false;
  if (!t.ends) out["ends"] = false;
  if (!t.origin.empty()) out["origin"] = t.origin;
  return out;
}

std::string_view StepName(change::SnapshotStep step) {
  switch (step) {
    case change::SnapshotStep::kWanted:
      return "wanted";
    case change::SnapshotStep::kBegun:
      return "begun";
    case change::SnapshotStep::kAdvanced:
      return "advanced";
    case change::SnapshotStep::kFinished:
      return "finished";
    case change::SnapshotStep::kFresh:
      return "fresh";
    case change::SnapshotStep::kSeen:
      return "seen";
    case change::SnapshotStep::kLooked:
      return "looked";
    case change::SnapshotStep::kLeftOut:
      return "left_out";
  }
  return "unknown";
}

ordered_json ToJson(const std::vector<change::SnapshotProgress>& steps) {
  ordered_json out = ordered_json::array();
  for (const change::SnapshotProgress& step : steps) {
    ordered_json json = {{"step", StepName(step.step)}, {"table", step.table.value}};
    if (step.step == change::SnapshotStep::kWanted) json["keeps"] = step.keeps;
    if (step.step == change::SnapshotStep::kSeen) {
      json["membership"] = step.seen.membership;
      json["row_type"] = fmt::format("{:016x}", step.seen.row_type);
      json["key_type"] = fmt::format("{:016x}", step.seen.key_type);
      json["sent"] = fmt::format("{:016x}", step.seen.sent);
      json["parts"] = ordered_json::array();
      for (const change::SeenPart& part : step.seen.parts) {
        json["parts"].push_back({{"part", part.part.value}, {"filenode", part.filenode}});
      }
    }
    if (step.step == change::SnapshotStep::kSeen || step.step == change::SnapshotStep::kLooked) {
      json["horizon"] = std::to_string(step.seen.horizon);
    }
    if (step.step == change::SnapshotStep::kBegun) {
      json["replaces"] = step.replaces;
      json["begun_xid"] = std::to_string(step.begun_xid);
    }
    if (step.step == change::SnapshotStep::kAdvanced) {
      json["part"] = step.part.value;
      json["filenode"] = step.filenode;
      json["done"] = step.part_done;
      json["rows"] = step.part_rows;
      json["blocks"] = ordered_json::array();
      for (const change::BlockRange& range : step.blocks) {
        json["blocks"].push_back({range.first, range.end});
      }
      json["key_columns"] = step.last_key.size();  // the values are users' data
    }
    out.push_back(std::move(json));
  }
  return out;
}

ordered_json ToJson(const change::TableSchema& schema) {
  ordered_json columns = ordered_json::array();
  for (const change::Column& column : schema.columns()) {
    columns.push_back({{"name", column.name},
                       {"type", column.type_name},
                       {"logical_type", ToString(column.type)},
                       {"key", column.identity}});
  }
  return {{"table", ToString(schema.name())}, {"id", schema.id().value}, {"columns", columns}};
}

ordered_json ToJson(const Checkpoint& checkpoint) {
  ordered_json out = {{"offset", checkpoint.end.offset.value},
                      {"end", ToString(checkpoint.end.position)},
                      {"transaction_open", checkpoint.transaction_open},
                      {"written_at", checkpoint.written_at},
                      {"schemas", checkpoint.schema_count}};
  if (checkpoint.source.has_value()) out["source"] = ToJson(*checkpoint.source);
  if (!checkpoint.snapshots.empty()) out["snapshots"] = ToJson(checkpoint.snapshots);
  return out;
}

/// A value as text: of bytes the hexadecimal digits, else as Arrow prints it.
ordered_json ValueToJson(const arrow::Array& column, int64_t row) {
  if (column.IsNull(row)) return nullptr;
  const auto scalar = column.GetScalar(row);
  if (!scalar.ok()) return nullptr;
  const auto* bytes = dynamic_cast<const arrow::BaseBinaryScalar*>(scalar->get());
  const bool text = (*scalar)->type->id() == arrow::Type::STRING;
  if (bytes == nullptr) return (*scalar)->ToString();
  return text ? bytes->value->ToString() : "\\x" + bytes->value->ToHexString();
}

ordered_json RowsToJson(const change::TableChanges& table) {
  ordered_json rows = ordered_json::array();
  const auto& columns = table.schema->columns();
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    const auto i = static_cast<size_t>(row);
    ordered_json values = ordered_json::object();
    for (size_t c = 0; c < columns.size(); ++c) {
      values[columns[c].name] = ValueToJson(*table.rows->column(static_cast<int>(c)), row);
    }
    ordered_json out = {{"kind", change::ChangeKindName(table.kinds[i])},
                        {"transaction", table.transactions[i]},
                        {"ordinal", table.ordinals[i]},
                        {"values", std::move(values)}};
    for (const change::UnchangedRows& unchanged : table.unchanged) {
      if (std::ranges::binary_search(unchanged.rows, row)) {
        out["unchanged"].push_back(columns[static_cast<size_t>(unchanged.column)].name);
      }
    }
    for (const change::ValueException& e : table.exceptions) {
      if (e.row == row) out["exceptions"][columns[static_cast<size_t>(e.column)].name] = e.text;
    }
    rows.push_back(std::move(out));
  }
  return rows;
}

ordered_json ToJson(const change::TableChanges& table, bool with_rows) {
  std::map<std::string_view, int64_t> kinds;
  for (const change::ChangeKind kind : table.kinds) ++kinds[change::ChangeKindName(kind)];
  ordered_json out = {{"table", ToString(table.schema->name())},
                      {"rows", table.num_rows()},
                      {"kinds", kinds},
                      {"exceptions", table.exceptions.size()}};
  if (with_rows) out["changes"] = RowsToJson(table);
  return out;
}

ordered_json ToJson(const change::ChangeBatch& batch, const DumpFilter& filter) {
  ordered_json out = {{"transactions", ordered_json::array()}, {"tables", ordered_json::array()}};
  for (const change::Transaction& t : batch.transactions) out["transactions"].push_back(ToJson(t));
  for (const change::TableChanges& table : batch.tables) {
    if (filter.table.has_value() && ToString(table.schema->name()) != *filter.table) continue;
    out["tables"].push_back(ToJson(table, filter.rows));
  }
  for (const change::LogicalMessage& m : batch.messages) {
    ordered_json message = {{"prefix", m.prefix}, {"bytes", m.content.size()}};
    if (filter.rows) message["content"] = m.content;
    out["messages"].push_back(std::move(message));
  }
  if (!batch.snapshots.empty()) out["snapshots"] = ToJson(batch.snapshots);
  return out;
}

/// What the head alone can decide.
bool MayPass(const BatchHead& head, const DumpFilter& filter, change::Lsn end_before) {
  if (filter.from.has_value() && head.offset < *filter.from) return false;
  if (filter.to.has_value() && head.offset >= *filter.to) return false;
  if (filter.from_lsn.has_value() && head.ends && head.end.commit_end < *filter.from_lsn)
    return false;
  if (filter.to_lsn.has_value() && end_before >= *filter.to_lsn) return false;
  return !filter.from_time.has_value() || head.newest_commit >= *filter.from_time;
}

bool Passes(const change::ChangeBatch& batch, const DumpFilter& filter) {
  const auto in_range = [&](const change::Transaction& t) {
    return (!filter.from_lsn.has_value() || !t.ends || t.end_lsn >= *filter.from_lsn) &&
           (!filter.to_lsn.has_value() || !t.ends || t.end_lsn < *filter.to_lsn) &&
           (!filter.from_time.has_value() || t.commit_time >= *filter.from_time) &&
           (!filter.to_time.has_value() || t.commit_time < *filter.to_time);
  };
  const auto of_table = [&](const change::TableChanges& table) {
    return !filter.table.has_value() || ToString(table.schema->name()) == *filter.table;
  };
  return std::ranges::any_of(batch.transactions, in_range) &&
         (!filter.table.has_value() || std::ranges::any_of(batch.tables, of_table));
}

/// Shows the records of one segment after another.
class Dumper {
 public:
  Dumper(const DumpFilter& filter, const DumpOutput& output) : filter_(filter), output_(output) {}

  bool done() const { return filter_.most_batches.has_value() && shown_ >= *filter_.most_batches; }

  Status Dump(SegmentReader& segment, bool last) {
    FRESHET_RETURN_IF_ERROR(
        Line(segment, "checkpoint", kSegmentHeaderBytes, ToJson(segment.checkpoint())));
    end_before_ = segment.checkpoint().end.position.commit_end;
    FRESHET_TRY(const int64_t size, segment.SizeBytes());
    const auto walked =
        WalkRecords(segment, size, last, false, [&](int64_t at, const RecordHeader& header, auto&) {
          return done() ? Status() : Record(segment, at, header, size);
        });
    if (!walked.has_value()) return Fail(walked.error());
    return {};
  }

 private:
  Status Record(SegmentReader& segment, int64_t at, const RecordHeader& header, int64_t size) {
    switch (header.kind) {
      case RecordKind::kCheckpoint:
        return Fail(segment.Damage(at, "a checkpoint stands inside the segment"));
      case RecordKind::kSource: {
        FRESHET_TRY(const auto payload, segment.PayloadAt(at, header));
        if (payload == nullptr) return Fail(segment.Damage(at, "a checksum does not match"));
        FRESHET_TRY(const auto source, DecodeSource(AsSpan(*payload)));
        return Line(segment, "source", at, ToJson(source));
      }
      case RecordKind::kSchema: {
        FRESHET_TRY(const auto schema, segment.SchemaAt(at, size));
        if (filter_.table.has_value() && ToString(schema->name()) != *filter_.table) return {};
        return Line(segment, "schema", at, ToJson(*schema));
      }
      case RecordKind::kBatch:
        return Batch(segment, at, header, size);
    }
    return {};
  }

  Status Batch(SegmentReader& segment, int64_t at, const RecordHeader& header, int64_t size) {
    FRESHET_TRY(const BatchHead head, segment.BatchHeadAt(at, header, size));
    const bool may_pass = MayPass(head, filter_, std::exchange(end_before_, head.end.commit_end));
    if (!may_pass) return {};
    FRESHET_TRY(const auto batch, segment.BatchAt(at, header));
    if (!Passes(*batch, filter_)) return {};
    ++shown_;
    ordered_json json = {{"offset", head.offset.value},
                         {"end", ToString(head.end)},
                         {"rows", head.rows},
                         {"bytes", RecordBytes(header)}};
    json.update(ToJson(*batch, filter_));
    return Line(segment, "batch", at, std::move(json));
  }

  Status Line(const SegmentReader& segment, std::string_view record, int64_t at,
              ordered_json fields) {
    ordered_json line = {
        {"record", record}, {"segment", SegmentName(segment.first())}, {"byte", at}};
    line.update(fields);
    // Text that is not UTF-8 can stand in messages; the dump shows it as well as JSON can.
    return output_(line.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
  }

  const DumpFilter& filter_;
  const DumpOutput& output_;
  change::Lsn end_before_;
  int64_t shown_ = 0;
};

}  // namespace

Status Dump(FileSystem& fs, const std::string& folder, const DumpFilter& filter,
            const DumpOutput& output) {
  FRESHET_TRY(const auto firsts, ListLog(fs, folder));
  Dumper dumper(filter, output);
  for (size_t i = 0; i < firsts.size() && !dumper.done(); ++i) {
    const bool last = i + 1 == firsts.size();
    if (filter.to.has_value() && firsts[i] >= *filter.to) break;
    if (filter.from.has_value() && !last && firsts[i + 1] <= *filter.from) continue;
    FRESHET_TRY(const auto segment, SegmentReader::Open(fs, folder, firsts[i]));
    FRESHET_RETURN_IF_ERROR(dumper.Dump(*segment, last));
  }
  return {};
}

}  // namespace freshet::log
