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

bool IsKey(const change::TableSchema& schema, const change::Column& column) {
  const auto& keys = schema.key_columns();
  const auto index = static_cast<int>(&column - schema.columns().data());
  return std::find(keys.begin(), keys.end(), index) != keys.end();
}

}  // namespace

std::string TableRecord::PathOf(const change::TableName& name) {
  return fmt::format("{}/tables/{}.{}.json", kOwnFolder, EncodeName(name.schema),
                     EncodeName(name.table));
}

int32_t TableRecord::FieldId(const change::Column& column) {
  if (const auto known = KnownFieldId(column); known.has_value()) return *known;
  const auto next = static_cast<int32_t>(kFirstNamedId + named_ids_.size());
  return named_ids_.try_emplace(column.name, next).first->second;
}

std::string TableRecord::PathOf(change::TableId id) {
  return fmt::format("{}/tables/by_id/{}.json", kOwnFolder, id.value);
}

bool TableRecord::Add(const change::TableSchema& schema) {
  name_ = schema.name();
  id_ = schema.id();
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
  for (const change::Column& column : schema.columns()) {
    version.columns.push_back({.name = column.name,
                               .type = change::ToString(column.type),
                               .source_type = column.type_name,
                               .field_id = FieldId(column),
                               .key = IsKey(schema, column),
                               .missing_value = column.missing_value});
  }
  versions_.push_back(std::move(version));
  return true;
}

/// A number that is not known now may have been when the last version was added.
std::optional<int32_t> TableRecord::KnownFieldId(const change::Column& column) const {
  if (column.attnum > 0) return column.attnum;
  if (!versions_.empty()) {
    for (const ColumnRecord& last : versions_.back().columns) {
      if (last.name == column.name) return last.field_id;
    }
  }
  const auto named = named_ids_.find(column.name);
  return named == named_ids_.end() ? std::nullopt : std::optional(named->second);
}

std::vector<int32_t> TableRecord::FieldIds(const change::TableSchema& schema) const {
  const Version* const version = Find(schema.fingerprint());
  CHECK(version != nullptr);
  std::vector<int32_t> ids;
  for (const ColumnRecord& column : version->columns) ids.push_back(column.field_id);
  return ids;
}

const TableRecord::Version* TableRecord::Find(uint64_t fingerprint) const {
  const auto at = std::find_if(versions_.begin(), versions_.end(),
                               [&](const Version& v) { return v.fingerprint == fingerprint; });
  return at == versions_.end() ? nullptr : &*at;
}

std::vector<std::string> TableRecord::NamesIn(uint64_t fingerprint,
                                              const change::TableSchema& schema) const {
  const Version* const version = Find(fingerprint);
  CHECK(version != nullptr);
  std::vector<std::string> names;
  for (const change::Column& column : schema.columns()) {
    const auto id = KnownFieldId(column);
    const auto at =
        std::find_if(version->columns.begin(), version->columns.end(),
                     [&](const ColumnRecord& c) { return id.has_value() && c.field_id == *id; });
    names.push_back(at == version->columns.end() ? "" : at->name);
  }
  return names;
}

std::vector<std::pair<std::string, std::string>> TableRecord::RenamesSince(
    uint64_t fingerprint, const change::TableSchema& schema) const {
  const std::vector<std::string> names = NamesIn(fingerprint, schema);
  std::vector<std::pair<std::string, std::string>> out;
  for (const ColumnRecord& former : Find(fingerprint)->columns) {
    const auto same = std::find(names.begin(), names.end(), former.name);
    if (same == names.end()) {
      if (schema.IndexOf(former.name) >= 0) out.emplace_back(former.name, "");
      continue;
    }
    const std::string& now = schema.columns()[static_cast<size_t>(same - names.begin())].name;
    if (now != former.name) out.emplace_back(former.name, now);
  }
  return out;
}

std::optional<std::string> TableRecord::MissingValue(const change::Column& column) const {
  const auto id = KnownFieldId(column);
  for (const Version& version : versions_) {
    for (const ColumnRecord& c : version.columns) {
      if (id.has_value() && c.field_id == *id && c.missing_value.has_value()) {
        return c.missing_value;
      }
    }
  }
  return column.missing_value;
}

Status TableRecord::Admit(const change::TableName& table, const Difference& difference,
                          const SchemaChangePolicies& policies) {
  if (policies.Of(difference.change) != SchemaChangePolicy::kFail) return {};
  return Fail(ErrorKind::kUnsupported,
              "table {}: {}, and schema_changes is 'fail' for {}; set it to 'evolve' to go on",
              change::ToString(table), difference.what, SchemaChangeName(difference.change));
}

Result<std::vector<std::string>> TableRecord::Foresee(const TableVersions& versions,
                                                      const SchemaChangePolicies& policies) {
  TableRecord record(versions.front()->name());
  std::vector<std::string> out;
  for (const auto& version : versions) {
    out.clear();
    for (const Difference& difference : record.Differences(*version)) {
      FRESHET_RETURN_IF_ERROR(Admit(version->name(), difference, policies));
      out.push_back("later files: " + difference.what);
    }
    record.Add(*version);
  }
  return out;
}

std::vector<TableRecord::Difference> TableRecord::Differences(
    const change::TableSchema& schema) const {
  std::vector<Difference> out;
  if (versions_.empty()) return out;
  if (name_ != schema.name()) {
    out.push_back(
        {SchemaChange::kRenameTable, fmt::format("it was {} before", change::ToString(name_))});
  }
  const std::vector<ColumnRecord>& before = versions_.back().columns;
  const auto id_of = [&](const change::Column& column) { return KnownFieldId(column).value_or(0); };
  bool other_key = false;
  for (const ColumnRecord& old : before) {
    const auto same =
        std::find_if(schema.columns().begin(), schema.columns().end(),
                     [&](const change::Column& c) { return id_of(c) == old.field_id; });
    if (same == schema.columns().end()) {
      out.push_back({SchemaChange::kDropColumn, fmt::format("column '{}' was dropped", old.name)});
      other_key = other_key || old.key;
      continue;
    }
    if (same->name != old.name) {
      out.push_back({SchemaChange::kRenameColumn,
                     fmt::format("column '{}' was renamed to '{}'", old.name, same->name)});
    }
    if (const std::string type = change::ToString(same->type); type != old.type) {
      out.push_back({SchemaChange::kChangeType,
                     fmt::format("column '{}' changed from {} to {}", old.name, old.type, type)});
    }
    other_key = other_key || IsKey(schema, *same) != old.key;
  }
  for (const change::Column& column : schema.columns()) {
    const auto same = std::find_if(before.begin(), before.end(), [&](const ColumnRecord& old) {
      return id_of(column) == old.field_id;
    });
    if (same != before.end()) continue;
    out.push_back({SchemaChange::kAddColumn, fmt::format("column '{}' was added", column.name)});
    other_key = other_key || IsKey(schema, column);
  }
  if (other_key) out.push_back({SchemaChange::kChangeKey, "other columns identify a row"});
  return out;
}

std::string TableRecord::ToJson() const {
  Json out{{"schema", name_.schema},
           {"table", name_.table},
           {"table_id", id_.value},
           {"versions", Json::array()}};
  for (const Version& version : versions_) {
    Json columns = Json::array();
    for (const ColumnRecord& c : version.columns) {
      columns.push_back(Json{{"name", c.name},
                             {"type", c.type},
                             {"source_type", c.source_type},
                             {"field_id", c.field_id},
                             {"key", c.key}});
      if (c.missing_value.has_value()) columns.back()["missing_value"] = *c.missing_value;
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
    record.id_.value = in.value("table_id", uint32_t{0});
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
                            .key = c.at("key").get<bool>(),
                            .missing_value = std::nullopt};
        if (const auto missing = c.find("missing_value"); missing != c.end()) {
          column.missing_value = missing->get<std::string>();
        }
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
