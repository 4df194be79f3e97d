#include "verify/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "postgres/catalog.h"
#include "postgres/connection.h"
#include "postgres/pgoutput.h"
#include "postgres/table_filter.h"
#include "verify/remote_read_back.h"
#include "verify/source_side.h"
#include "verify/target_side.h"

namespace freshet::verify {
namespace {

/// A table to compare, as the source's catalog describes it.
struct SourceTable {
  postgres::CatalogTable catalog;
  std::shared_ptr<const change::TableSchema> schema;
  int64_t rows_expected = 0;
};

/// Rows of a table as the server estimates them.
Result<int64_t> EstimatedRows(postgres::Connection& connection, const change::TableId& table) {
  FRESHET_TRY(const postgres::Rows rows,
              connection.Query(fmt::format(
                  "SELECT greatest(c.reltuples, s.n_live_tup, 0)::bigint FROM pg_class c "
                  "LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE c.oid = {}",
                  table.value)));
  return rows.size() == 0 ? 0 : rows.integer(0, 0);
}

Result<std::vector<SourceTable>> FindTables(postgres::Catalog& catalog,
                                            const postgres::Options& source,
                                            const std::vector<std::string>& globs,
                                            const std::stop_token& stop) {
  FRESHET_TRY(const auto all, catalog.Tables(stop));
  FRESHET_TRY(const auto captured, postgres::TableFilter::Create(source.tables, source.exclude));
  FRESHET_TRY(auto chosen,
              postgres::ChooseTables(all, captured, catalog.connection().server_major()));
  if (!globs.empty()) {
    FRESHET_TRY(const auto wanted, postgres::TableFilter::Create(globs, {}));
    std::erase_if(chosen, [&](const auto& table) { return !wanted.Matches(table.name); });
    if (chosen.empty()) {
      return Fail(ErrorKind::kNotFound,
                  "no captured table matches --table {}: see `tables:` in the configuration",
                  fmt::join(globs, ", "));
    }
  }
  std::vector<change::TableId> ids;
  for (const postgres::CatalogTable& table : chosen) ids.push_back(table.id);
  FRESHET_RETURN_IF_ERROR(catalog.Load(ids, stop));

  std::vector<SourceTable> tables;
  for (const postgres::CatalogTable& table : chosen) {
    FRESHET_TRY(auto schema, catalog.Resolve(catalog.Describe(table, {})));
    FRESHET_TRY(const int64_t rows, EstimatedRows(catalog.connection(), table.id));
    tables.push_back({.catalog = table, .schema = std::move(schema), .rows_expected = rows});
  }
  return tables;
}

/// A target to compare.
struct Target {
  const pipeline::SinkSpec* spec;
  std::unique_ptr<sink::ReadBack> read_back;
};

Result<std::vector<Target>> OpenTargets(const pipeline::Options& pipeline,
                                        const std::vector<std::string>& names, Report& report) {
  for (const std::string& name : names) {
    const bool known = std::any_of(pipeline.sinks.begin(), pipeline.sinks.end(),
                                   [&](const auto& spec) { return spec.options.name == name; });
    if (!known)
      return Fail(ErrorKind::kConfig, "--sink {}: the configuration has no such sink", name);
  }
  std::vector<Target> targets;
  for (const pipeline::SinkSpec& spec : pipeline.sinks) {
    if (!names.empty() && std::find(names.begin(), names.end(), spec.options.name) == names.end()) {
      continue;
    }
    std::unique_ptr<sink::ReadBack> read_back;
    const std::string warehouse = spec.factory->WarehousePath();
    if (!warehouse.empty() && IsServing(pipeline.http.listen, spec.options.name, warehouse)) {
      read_back = std::make_unique<RemoteReadBack>(pipeline.http.listen, spec.options.name);
    } else {
      FRESHET_TRY(read_back, spec.factory->MakeReadBack(spec.options));
    }
    if (read_back == nullptr) {
      report.skipped.push_back(spec.options.name);
    } else {
      targets.push_back({.spec = &spec, .read_back = std::move(read_back)});
    }
  }
  if (targets.empty()) {
    return Fail(ErrorKind::kConfig, "no sink of this configuration can be read back");
  }
  return targets;
}

}  // namespace

bool Report::equal() const {
  return std::all_of(sinks.begin(), sinks.end(), [](const SinkReport& sink) {
    return std::all_of(sink.tables.begin(), sink.tables.end(),
                       [](const TableReport& table) { return table.equal(); });
  });
}

Result<Report> Verify(const pipeline::Options& pipeline, const Options& options, const Clock& clock,
                      std::stop_token stop, const OnProgress& on_progress) {
  Report report;
  FRESHET_TRY(auto targets, OpenTargets(pipeline, options.sinks, report));

  postgres::SessionOptions session;
  session.application_name = "freshet verify";
  FRESHET_TRY(auto for_catalog, postgres::Connection::Connect(pipeline.source.url, session, stop));
  FRESHET_TRY(auto for_rows, postgres::Connection::Connect(pipeline.source.url, session, stop));
  postgres::Catalog catalog(std::move(for_catalog));
  FRESHET_TRY(const auto tables, FindTables(catalog, pipeline.source, options.tables, stop));

  SourceText text(catalog.connection(), pipeline.source.invalid_text);

  Progress progress;
  progress.tables_total = targets.size() * tables.size();
  for (const Target& target : targets) {
    progress.sink = target.spec->options.name;
    SinkReport& of_sink = report.sinks.emplace_back();
    of_sink.sink = progress.sink;
    of_sink.kind = target.spec->kind;
    for (const SourceTable& table : tables) {
      progress.table = ToString(table.catalog.name);
      progress.rows_expected = 2 * table.rows_expected;
      progress.rows_read = 0;
      on_progress(progress);
      SourceSide source(for_rows, *table.schema, table.catalog.partitioned, text, stop);
      TargetSide in_target(*target.read_back, *table.schema);
      auto compared = CompareTable(*table.schema, source, in_target, options.limits, clock, stop,
                                   [&](int64_t rows) {
                                     progress.rows_read = rows;
                                     on_progress(progress);
                                   });
      if (!compared.has_value()) {
        return FailWhile(fmt::format("compare {} with sink {}", progress.table, progress.sink),
                         std::move(compared).error());
      }
      of_sink.tables.push_back(std::move(*compared));
      ++progress.tables_done;
    }
  }
  return report;
}

}  // namespace freshet::verify
