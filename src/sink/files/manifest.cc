#include "sink/files/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "sink/files/storage.h"

namespace freshet::sink::files {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kFormatVersion = 1;
constexpr std::string_view kFormatName = "freshet-files";

Json ToObject(const DataFile& file) {
  return Json{{"path", file.path},
              {"schema", file.table.schema},
              {"table", file.table.table},
              {"sequence", file.sequence},
              {"format", file.format},
              {"rows", file.rows},
              {"bytes", file.bytes},
              {"xxh3", file.checksum},
              {"first_lsn", change::ToString(file.first_lsn)},
              {"last_lsn", change::ToString(file.last_lsn)},
              {"fingerprint", fmt::format("{:016x}", file.fingerprint)}};
}

/// Reads fields off JSON; a missing or mistyped one makes the whole fail, at the end.
class FieldReader {
 public:
  explicit FieldReader(const Json& object) : object_(object) {}

  std::string Text(const char* key) {
    const Json* field = Find(key);
    if (field == nullptr || !field->is_string()) return Bad<std::string>(key);
    return field->get<std::string>();
  }
  int64_t Integer(const char* key) {
    const Json* field = Find(key);
    if (field == nullptr || !field->is_number_integer()) return Bad<int64_t>(key);
    return field->get<int64_t>();
  }
  change::Lsn Lsn(const char* key) {
    const auto lsn = change::ParseLsn(Text(key));
    return lsn.has_value() ? *lsn : Bad<change::Lsn>(key);
  }
  uint64_t Hex(const char* key) {
    const std::string text = Text(key);
    uint64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (code != std::errc() || end != text.data() + text.size()) return Bad<uint64_t>(key);
    return value;
  }
  const Json& Array(const char* key) {
    static const Json kEmpty = Json::array();
    const Json* field = Find(key);
    if (field != nullptr && field->is_array()) return *field;
    Bad<int>(key);
    return kEmpty;
  }
  const Json* Find(const char* key) const {
    const auto at = object_.is_object() ? object_.find(key) : object_.end();
    return !object_.is_object() || at == object_.end() ? nullptr : &*at;
  }

  Status Finish() const {
    if (bad_ == nullptr) return {};
    return Fail(ErrorKind::kCorrupt, "field '{}' is missing or has a wrong form", bad_);
  }

 private:
  template <typename T>
  T Bad(const char* key) {
    if (bad_ == nullptr) bad_ = key;
    return T{};
  }

  const Json& object_;
  const char* bad_ = nullptr;
};

Result<DataFile> FromObject(const Json& object) {
  FieldReader in(object);
  DataFile file{.path = in.Text("path"),
                .table = {in.Text("schema"), in.Text("table")},
                .sequence = in.Integer("sequence"),
                .format = in.Text("format"),
                .rows = in.Integer("rows"),
                .bytes = in.Integer("bytes"),
                .checksum = in.Text("xxh3"),
                .first_lsn = in.Lsn("first_lsn"),
                .last_lsn = in.Lsn("last_lsn"),
                .fingerprint = in.Hex("fingerprint")};
  FRESHET_RETURN_IF_ERROR(in.Finish());
  return file;
}

Result<std::optional<StoredPosition>> PositionFrom(const Json* object) {
  if (object == nullptr || object->is_null()) return std::optional<StoredPosition>();
  FieldReader in(*object);
  StoredPosition position{.source = in.Text("source"),
                          .log_id = in.Text("log_id"),
                          .log_offset = in.Integer("log_offset"),
                          .position = {in.Lsn("commit_end"), in.Integer("ordinal")}};
  FRESHET_RETURN_IF_ERROR(in.Finish());
  return std::optional(std::move(position));
}

Result<Manifest> FromManifestObject(const Json& object) {
  FieldReader in(object);
  if (in.Text("format") != kFormatName) {
    return Fail(ErrorKind::kCorrupt, "this is not a manifest of a freshet files sink");
  }
  if (const int64_t version = in.Integer("format_version"); version > kFormatVersion) {
    return Fail(ErrorKind::kUnsupported,
                "it has format version {}, this freshet knows {}; use a newer freshet", version,
                kFormatVersion);
  }
  Manifest manifest{.sink = in.Text("sink"),
                    .version = in.Integer("version"),
                    .writer = in.Text("writer"),
                    .committed_at = in.Integer("committed_at_micros"),
                    .position = {},
                    .next_sequence = in.Integer("next_sequence"),
                    .lists = {},
                    .recent = {}};
  FRESHET_TRY(manifest.position, PositionFrom(in.Find("position")));
  for (const Json& item : in.Array("lists")) {
    FieldReader list(item);
    manifest.lists.push_back({list.Text("path"), list.Integer("level"), list.Integer("files")});
    FRESHET_RETURN_IF_ERROR(list.Finish());
  }
  for (const Json& item : in.Array("files")) {
    FRESHET_TRY(DataFile file, FromObject(item));
    manifest.recent.push_back(std::move(file));
  }
  FRESHET_RETURN_IF_ERROR(in.Finish());
  return manifest;
}

std::string ListPath(int64_t level, int64_t version) {
  return fmt::format("_freshet/lists/{}-{:012}.jsonl", level, version);
}

/// The lists at the end of `lists` that have one level; empty when a merge is not due.
std::vector<FileList> MergeableTail(const std::vector<FileList>& lists) {
  const auto count = static_cast<int64_t>(lists.size());
  if (count < kMergeLists || lists.back().level >= kTopLevel) return {};
  const int64_t level = lists.back().level;
  std::vector<FileList> tail(lists.end() - kMergeLists, lists.end());
  const bool same =
      std::all_of(tail.begin(), tail.end(), [&](const FileList& l) { return l.level == level; });
  return same ? tail : std::vector<FileList>{};
}

}  // namespace

std::string ToJson(const DataFile& file) {
  return ToObject(file).dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<DataFile> ParseDataFile(std::string_view json) {
  return FromObject(Json::parse(json, nullptr, /*allow_exceptions=*/false));
}

std::string ToJson(const Manifest& manifest) {
  Json out{{"format", kFormatName},     {"format_version", kFormatVersion},
           {"sink", manifest.sink},     {"version", manifest.version},
           {"writer", manifest.writer}, {"committed_at_micros", manifest.committed_at},
           {"position", nullptr},       {"next_sequence", manifest.next_sequence},
           {"lists", Json::array()},    {"files", Json::array()}};
  if (manifest.position.has_value()) {
    out["position"] = Json{{"source", manifest.position->source},
                           {"log_id", manifest.position->log_id},
                           {"log_offset", manifest.position->log_offset},
                           {"commit_end", change::ToString(manifest.position->position.commit_end)},
                           {"ordinal", manifest.position->position.ordinal}};
  }
  for (const FileList& list : manifest.lists) {
    out["lists"].push_back(Json{{"path", list.path}, {"level", list.level}, {"files", list.files}});
  }
  for (const DataFile& file : manifest.recent) out["files"].push_back(ToObject(file));
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Manifest> ParseManifest(std::string_view json) {
  return FromManifestObject(Json::parse(json, nullptr, /*allow_exceptions=*/false));
}

Result<std::optional<Manifest>> ReadManifest(Storage& storage) {
  const std::string path(kManifestPath);
  auto json = storage.Read(path);
  if (!json.has_value()) {
    if (json.error().kind == ErrorKind::kNotFound) return std::optional<Manifest>();
    return Fail(std::move(json).error());
  }
  auto manifest = ParseManifest(*json);
  if (!manifest.has_value()) {
    return FailWhile(fmt::format("read the manifest {}", storage.Full(path)), manifest.error());
  }
  return std::optional(*std::move(manifest));
}

Status Compact(Storage& storage, Manifest& manifest, std::vector<std::string>& superseded) {
  if (manifest.recent.size() < kMaxRecentFiles) return {};
  std::string lines;
  for (const DataFile& file : manifest.recent) lines += ToJson(file) + "\n";
  // The version of the manifest to come makes the name new: no older manifest names it.
  FileList list{ListPath(0, manifest.version + 1), 0, static_cast<int64_t>(manifest.recent.size())};
  FRESHET_RETURN_IF_ERROR(storage.Replace(list.path, lines));
  manifest.recent.clear();
  manifest.lists.push_back(std::move(list));

  for (auto tail = MergeableTail(manifest.lists); !tail.empty();
       tail = MergeableTail(manifest.lists)) {
    FileList merged{ListPath(tail.front().level + 1, manifest.version + 1), tail.front().level + 1,
                    0};
    std::string all;
    for (const FileList& part : tail) {
      FRESHET_TRY(const std::string text, storage.Read(part.path));
      all += text;
      merged.files += part.files;
      superseded.push_back(part.path);
    }
    FRESHET_RETURN_IF_ERROR(storage.Replace(merged.path, all));
    manifest.lists.resize(manifest.lists.size() - tail.size());
    manifest.lists.push_back(std::move(merged));
  }
  return {};
}

Status VisitFiles(Storage& storage, const Manifest& manifest,
                  const std::function<Status(const DataFile&)>& visit) {
  for (const FileList& list : manifest.lists) {
    FRESHET_TRY(const std::string text, storage.Read(list.path));
    std::string_view rest = text;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      auto file = ParseDataFile(rest.substr(0, end));
      if (!file.has_value()) {
        return FailWhile(fmt::format("read {}", storage.Full(list.path)), file.error());
      }
      FRESHET_RETURN_IF_ERROR(visit(*file));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  for (const DataFile& file : manifest.recent) FRESHET_RETURN_IF_ERROR(visit(file));
  return {};
}

}  // namespace freshet::sink::files
