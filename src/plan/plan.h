#pragma once

#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"
#include "pipeline/options.h"

namespace freshet::plan {

/// What one sink would do.
struct SinkStep {
  std::string sink;                     ///< its name in the configuration
  std::string kind;                     ///< "duckdb"
  std::vector<std::string> steps = {};  ///< SQL or sentences, in order; empty: nothing
  bool stops = false;                   ///< it would stop before the next row; `steps` says why
};

/// What one statement would do to one table that the pipeline carries.
struct Effect {
  std::string sql;               ///< the statement
  std::string what;              ///< "add column note text"
  change::TableName table = {};  ///< as it is called before; empty where it concerns none
  bool carried = false;          ///< the configuration chooses the table
  std::vector<std::string> source =
      {};              ///< what it means at the source and in the stream, in sentences
  bool harms = false;  ///< `source` names something that stops writers, or loses rows
  std::vector<SinkStep> sinks = {};
};

/// Says what statements would do to a pipeline, without running them.
///
/// Reads the source's catalog, and no target: a sink is taken to have followed each table until
/// now. Later statements see what earlier ones did. Errors: kConfig for SQL that cannot be read,
/// kNotFound for a table, column or type that is not there; those of Connection.
Result<std::vector<Effect>> PlanDdl(const pipeline::Options& options, std::string_view sql,
                                    std::stop_token stop);

}  // namespace freshet::plan
