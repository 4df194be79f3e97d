#include "sink/files/table_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "sink/files/layout.h"

namespace freshet::sink::files {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string TableRecord::PathOf(const change::TableName& name) {
  return fmt::format("{}/tables/{}.{}.json", kOwnFolder, EncodeName(name.schema),
                     EncodeName(name.table));
}

int32_t TableRecord::FieldId(const change::Column& column) {
  if (column.attnum > 0) return column.attnum;
  const auto next = static_cast<int32_t>(kFirstNamedId + named_ids_.size());
  return named_ids_.try_emplace(column.name, next).first->second;
}

bool TableRecord::Add(const change::TableSchema& schema) {
  const auto known = std::find_if(versions_.begin(), versions_.end(), [&](const Version& v) {
    return v.fingerprint == schema.fingerprint();
  });
  if (known != versions_.end()) {
    // A version may return (a column added and dropped again): the last is the one in force.
    if (known + 1 == versions_.end()) return false;
    std::rotate(known, known + 1, versions_.end());
    return true;
  }
  Version version{.fingerprint = schema.fingerprint(), .columns = {}};
  for (size_t i = 0; i < schema.columns().size(); ++i) {
    const change::Column& column = schema.columns()[i];
    const auto& keys = schema.key_columns();
    version.columns.push_back(
        {.name = column.name,
         .type = change::ToString(column.type),
         .source_type = column.type_name,
         .field_id = FieldId(column),
         .key = std::find(keys.begin(), keys.end(), static_cast<int>(i)) != keys.end()});
  }
  versions_.push_back(std::move(version));
  return true;
}

std::vector<int32_t> TableRecord::FieldIds(const change::TableSchema& schema) const {
  std::vector<int32_t> ids;
  for (const change::Column& column : schema.columns()) {
    if (column.attnum > 0) {
      ids.push_back(column.attnum);
      continue;
    }
    const auto named = named_ids_.find(column.name);
    CHECK(named != named_ids_.end());
    ids.push_back(named->second);
  }
  return ids;
}

std::string TableRecord::BreakingChange(const change::TableSchema& schema) const {
  if (versions_.empty()) return {};
  for (const ColumnRecord& old : versions_.back().columns) {
    const int index = schema.IndexOf(old.name);
    if (index < 0) return fmt::format("column '{}' was dropped or renamed", old.name);
    const std::string type = change::ToString(schema.columns()[static_cast<size_t>(index)].type);
    if (type != old.type) {
      return fmt::format("column '{}' changed from {} to {}", old.name, old.type, type);
    }
  }
  return {};
}

std::string TableRecord::ToJson() const {
  Json out{{"schema", name_.schema}, {"table", name_.table}, {"versions", Json::array()}};
  for (const Version& version : versions_) {
    Json columns = Json::array();
    for (const ColumnRecord& c : version.columns) {
      columns.push_back(Json{{"name", c.name},
                             {"type", c.type},
                             {"source_type", c.source_type},
                             {"field_id", c.field_id},
                             {"key", c.key}});
    }
    out["versions"].push_back(Json{{"fingerprint", fmt::format("{:016x}", version.fingerprint)},
                                   {"columns", std::move(columns)}});
  }
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<TableRecord> TableRecord::Parse(std::string_view json) {
  try {  // the one place of this file where the JSON library may throw
    const Json in = Json::parse(json);
    TableRecord record({in.at("schema").get<std::string>(), in.at("table").get<std::string>()});
    for (const Json& v : in.at("versions")) {
      Version version;
      const auto hex = v.at("fingerprint").get<std::string>();
      const auto [end, code] =
          std::from_chars(hex.data(), hex.data() + hex.size(), version.fingerprint, 16);
      if (code != std::errc()) return Fail(ErrorKind::kCorrupt, "bad fingerprint '{}'", hex);
      for (const Json& c : v.at("columns")) {
        ColumnRecord column{.name = c.at("name").get<std::string>(),
                            .type = c.at("type").get<std::string>(),
                            .source_type = c.at("source_type").get<std::string>(),
                            .field_id = c.at("field_id").get<int32_t>(),
                            .key = c.at("key").get<bool>()};
        if (column.field_id >= kFirstNamedId) {
          record.named_ids_.try_emplace(column.name, column.field_id);
        }
        version.columns.push_back(std::move(column));
      }
      record.versions_.push_back(std::move(version));
    }
    return record;
  } catch (const Json::exception& e) {
    return Fail(ErrorKind::kCorrupt, "{}", e.what());
  }
}

}  // namespace freshet::sink::files
