#include "pipeline/options.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "config/yaml_reader.h"

namespace freshet::pipeline {
namespace {

using config::Binder;

constexpr std::array<std::string_view, 2> kModeNames = {"upsert", "append"};
constexpr std::array<std::string_view, 3> kExceptionNames = {"keep_text", "null", "fail"};
constexpr std::array<std::string_view, 3> kSchemaChangeNames = {"evolve", "ignore", "fail"};
constexpr std::array<std::string_view, 2> kUnchangedNames = {"fill", "mark"};
constexpr std::array<std::string_view, 3> kAccessNames = {"local", "always", "never"};
constexpr std::array<std::string_view, 4> kLevelNames = {"debug", "info", "warning", "error"};
constexpr std::array<std::string_view, 2> kFormatNames = {"text", "json"};

void Bind(Binder& binder, sink::FlushPolicy& flush) {
  binder.Value({"interval",
                "Longest time a change waits before it is made durable. 0s: as fast as possible."},
               flush.interval);
  binder.Value({"rows", "Row images that make a flush due."}, flush.rows);
  binder.Value({"bytes", "Bytes of buffered changes that make a flush due."}, flush.bytes);
  if (flush.interval.count() < 0) binder.Reject("interval", "must not be negative");
  if (flush.rows <= 0) binder.Reject("rows", "must be at least 1");
  if (flush.bytes.bytes <= 0) binder.Reject("bytes", "must be at least 1");
}

/// The kinds are the keys of a sink's mapping: exactly one of them must be there.
void BindKind(Binder& binder, SinkSpec& spec) {
  for (const sink::Registration& registration : sink::Registrations()) {
    std::shared_ptr<sink::Factory> factory = registration.make();
    const bool present = binder.Section({registration.kind, registration.doc},
                                        [&](Binder& section) { factory->Bind(section); });
    if (!present) continue;
    if (!spec.kind.empty()) {
      binder.Reject(registration.kind,
                    fmt::format("sink '{}' already is a {}; give each kind a sink of its own",
                                spec.options.name, spec.kind));
      continue;
    }
    spec.kind = registration.kind;
    spec.options.mode = registration.default_mode;
    spec.flush = factory->DefaultFlush();
    spec.factory = std::move(factory);
  }
}

void BindClasses(Binder& binder, sink::SchemaChangePolicies& policies) {
  static constexpr std::array<std::string_view, sink::kSchemaChanges> kDocs = {
      "A column is added.",
      "A column is dropped.",
      "A column is renamed.",
      "A column's type is changed.",
      "Other columns identify a row: another primary key or replica identity.",
      "The table is renamed, or moved to another schema.",
      "The table is dropped, and another is made under its name."};
  for (size_t i = 0; i < sink::kSchemaChanges; ++i) {
    BindEnum(binder, {sink::SchemaChangeName(static_cast<sink::SchemaChange>(i)), kDocs[i]},
             kSchemaChangeNames, policies.of[i]);
  }
}

void Bind(Binder& binder, SinkSpec& spec) {
  auto schema_changes = sink::SchemaChangePolicy::kEvolve;
  BindKind(binder, spec);
  BindEnum(binder,
           {"mode",
            "upsert: the target equals the source's tables. append: a changelog. duckdb takes both "
            "and is upsert by default, files take append."},
           kModeNames, spec.options.mode);
  BindEnum(
      binder,
      {"exceptions",
       "What happens to a value that the target's type cannot hold: keep_text keeps it exactly in "
       "`_cdc_exceptions`, null drops and counts it, fail stops the sink."},
      kExceptionNames, spec.options.exceptions);
  BindEnum(
      binder,
      {"schema_changes",
       "What the target does when a table changes: evolve follows the source, ignore leaves the "
       "target as it is, fail stops the sink before the first row of the new version (a column "
       "that is added is still added). docs/schema_changes.md says it for each class."},
      kSchemaChangeNames, schema_changes);
  spec.options.schema_changes = sink::SchemaChangePolicies::All(schema_changes);
  binder.Section(
      {"schema_change_classes", "Policies that differ from `schema_changes`, by class of change."},
      [&](Binder& section) { BindClasses(section, spec.options.schema_changes); });
  BindEnum(binder,
           {"unchanged",
            "What a changelog holds where the server did not send a value, because it is long and "
            "unchanged: fill takes the row's last value from the target (duckdb; files cannot be "
            "read while they are written, and mark), mark leaves null and names the column in "
            "`_cdc_unchanged`."},
           kUnchangedNames, spec.options.unchanged);
  binder.Section({"flush",
                  "When buffered changes are made durable: at the first of these limits. A files "
                  "sink takes its defaults from `rotate`."},
                 [&](Binder& section) { Bind(section, spec.flush); });
  if (spec.factory == nullptr) {
    std::string kinds;
    for (const sink::Registration& r : sink::Registrations()) {
      kinds += fmt::format("{}{}", kinds.empty() ? "" : ", ", r.kind);
    }
    binder.Reject("",
                  fmt::format("sink '{}' has no kind; add one of: {}", spec.options.name, kinds));
    return;
  }
  if (const std::string why = spec.factory->Reject(spec.options); !why.empty()) {
    binder.Reject("mode", why);
  }
}

}  // namespace

void Bind(Binder& binder, Options& options) {
  binder.Section({"source", "Where changes come from.", true}, [&](Binder& source) {
    source.Section({"postgres", "A PostgreSQL database, 10 to 18.", true},
                   [&](Binder& section) { postgres::Bind(section, options.source); });
  });
  binder.Section({"log", "The durable log between source and sinks.", true},
                 [&](Binder& section) { log::Bind(section, options.log); });
  binder.Map({"sinks", "Where changes go, by a name of your choice.", true},
             [&](const std::string& name, Binder& section) {
               SinkSpec spec;
               spec.options.name = name;
               Bind(section, spec);
               options.sinks.push_back(std::move(spec));
             });
  binder.Section({"http", "Health, status, metrics and queries over HTTP."}, [&](Binder& http) {
    http.Value({"listen", "Address and port, as 127.0.0.1:8080. Left out: no HTTP."},
               options.http.listen);
    BindEnum(http,
             {"query",
              "Who may read rows of the targets (/query, and /scan for `freshet verify`): local "
              "serves them where `listen` is a loopback address, always to whoever reaches it."},
             kAccessNames, options.http.query);
    BindEnum(
        http,
        {"control",
         "Who may add tables and have them read again (`freshet table`): local serves it where "
         "`listen` is a loopback address, always to whoever reaches it."},
        kAccessNames, options.http.control);
  });
  binder.Section({"logging", "Messages of the process, on standard error."}, [&](Binder& section) {
    BindEnum(section, {"level", "Least level that is written."}, kLevelNames,
             options.logging.level);
    BindEnum(section, {"format", "text for people, json for machines."}, kFormatNames,
             options.logging.format);
  });
}

Result<Options> ReadOptions(const std::string& path) {
  Options options;
  FRESHET_RETURN_IF_ERROR(
      config::ReadYamlFile(path, [&](Binder& binder) { Bind(binder, options); }));
  return options;
}

Result<std::string> FindWarehouse(const Options& options, std::string_view name) {
  for (const SinkSpec& sink : options.sinks) {
    if (!name.empty() && sink.options.name != name) continue;
    const std::string path = sink.factory->WarehousePath();
    if (!path.empty()) return path;
  }
  if (name.empty()) {
    return Fail(ErrorKind::kNotFound,
                "no sink of this pipeline can be queried; add one of kind duckdb");
  }
  return Fail(ErrorKind::kNotFound, "there is no sink '{}' that can be queried", name);
}

}  // namespace freshet::pipeline
