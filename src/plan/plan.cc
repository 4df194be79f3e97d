#include "plan/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "base/check.h"
#include "plan/ddl.h"
#include "plan/source_facts.h"
#include "postgres/table_choice.h"

namespace freshet::plan {
namespace {

using change::ReplicaIdentity;
using change::TableSchema;
using SchemaPtr = std::shared_ptr<const TableSchema>;
using sink::WriteMode;

/// A table of the source, as the statements so far leave it.
struct Table {
  postgres::CatalogTable catalog;
  sink::TableVersions versions = {};  ///< only of a table that is carried; the last is in force
  change::TableId carried_by = {};    ///< itself or its root; 0: not carried
  bool gone = false;

  const TableSchema& schema() const { return *versions.back(); }
};

/// A schema with other columns, name or identity. Under DEFAULT the primary key identifies a row.
SchemaPtr Remade(const TableSchema& from, change::TableName name, ReplicaIdentity identity,
                 std::vector<change::Column> columns) {
  for (change::Column& column : columns) {
    if (identity == ReplicaIdentity::kDefault) column.identity = column.primary_key;
    if (identity == ReplicaIdentity::kFull) column.identity = true;
    if (identity == ReplicaIdentity::kNothing) column.identity = false;
  }
  return std::make_shared<const TableSchema>(from.id(), std::move(name), identity,
                                             std::move(columns));
}

/// "numeric(12,2)" of a column as the source would spell it.
std::string TypeText(const change::Column& column) {
  return column.type_name.empty() ? change::ToString(column.type) : column.type_name;
}

class Planner {
 public:
  Planner(const pipeline::Options& options, postgres::Catalog& catalog, std::stop_token stop)
      : options_(options), catalog_(catalog), facts_(catalog, stop), stop_(std::move(stop)) {}

  Status ReadSource() {
    FRESHET_TRY(filter_,
                postgres::TableFilter::Create(options_.source.tables, options_.source.exclude));
    FRESHET_TRY(const auto all, catalog_.Tables(stop_));
    for (const postgres::CatalogTable& table : all) tables_.push_back({.catalog = table});
    FRESHET_TRY(const postgres::Choice choice,
                postgres::Choose(catalog_, *filter_, options_.source.publication, stop_));
    all_tables_ = choice.all_tables;
    for (const postgres::ChosenTable& chosen : choice.tables) {
      Table* table = ById(chosen.table.id);
      CHECK(table != nullptr);
      FRESHET_TRY(SchemaPtr schema, catalog_.Resolve(chosen.relation));
      table->versions.push_back(std::move(schema));
      table->carried_by = chosen.table.id;
      for (const postgres::CatalogTable& part : chosen.parts) {
        ById(part.id)->carried_by = chosen.table.id;
      }
    }
    return {};
  }

  Status Take(const Operation& operation) {
    if (operation.table == change::TableName{} || operation.action == Action::kRenameEnumValue) {
      Describe(Add(operation, nullptr), operation);
      return {};
    }
    if (operation.action == Action::kCreateTable) return Create(operation);
    FRESHET_TRY(Table* const table, Find(operation));
    if (table == nullptr) return Absent(operation);
    std::vector<Table*> concerned;
    if (table->carried_by.value != 0) concerned.push_back(table);
    if (!operation.only && CascadesToChildren(operation.action)) {
      FRESHET_TRY(const auto below, facts_.Below(table->catalog.id));
      for (const change::TableId id : below) {
        Table* child = ById(id);
        if (child != nullptr && child->carried_by == id && child != table) {
          concerned.push_back(child);
        }
      }
    }
    if (concerned.empty()) {
      Effect& effect = Add(operation, table);
      effect.source.emplace_back("the configuration does not choose this table: nothing changes");
      if (operation.action == Action::kRenameTable || operation.action == Action::kMoveTable) {
        return Rename(operation, *table, effect);
      }
      return {};
    }
    for (Table* each : concerned) FRESHET_RETURN_IF_ERROR(Apply(operation, *each));
    return {};
  }

  std::vector<Effect> Finish() && { return std::move(effects_); }

 private:
  static bool CascadesToChildren(Action action) {
    return action == Action::kAddColumn || action == Action::kDropColumn ||
           action == Action::kRenameColumn || action == Action::kChangeType ||
           action == Action::kTruncate;
  }

  Table* ById(change::TableId id) {
    const auto at = std::find_if(tables_.begin(), tables_.end(),
                                 [&](const Table& table) { return table.catalog.id == id; });
    return at == tables_.end() ? nullptr : &*at;
  }

  /// The table that a statement means; null when there is none. Without a schema: in public, else
  /// the only one of that name. Errors: kConfig when there are more.
  Result<Table*> Find(const Operation& operation) {
    std::vector<Table*> found;
    for (Table& table : tables_) {
      const change::TableName& name = table.catalog.name;
      if (table.gone || name.table != operation.table.table) continue;
      if (!operation.table.schema.empty() && name.schema != operation.table.schema) continue;
      if (operation.table.schema.empty() && name.schema == "public") return &table;
      found.push_back(&table);
    }
    if (found.empty()) return static_cast<Table*>(nullptr);
    if (found.size() > 1) {
      return Fail(ErrorKind::kConfig,
                  "table {} is in several schemas ({}, {}, ...); name its schema in the statement",
                  operation.table.table, found[0]->catalog.name.schema,
                  found[1]->catalog.name.schema);
    }
    return found.front();
  }

  Effect& Add(const Operation& operation, const Table* table) {
    Effect effect{.sql = operation.sql, .what = WhatOf(operation)};
    if (table != nullptr) {
      effect.table = table->catalog.name;
      effect.carried = table->carried_by.value != 0;
    } else if (operation.action != Action::kRenameEnumValue) {
      effect.table = operation.table;
    }
    effects_.push_back(std::move(effect));
    return effects_.back();
  }

  static std::string WhatOf(const Operation& operation) {
    switch (operation.action) {
      case Action::kAddColumn:
        return fmt::format("add column {}", operation.name);
      case Action::kDropColumn:
        return fmt::format("drop column {}", operation.name);
      case Action::kRenameColumn:
        return fmt::format("rename column {} to {}", operation.name, operation.to);
      case Action::kChangeType:
        return fmt::format("change the type of column {}", operation.name);
      case Action::kAddPrimaryKey:
        return "add a primary key";
      case Action::kDropConstraint:
        return fmt::format("drop constraint {}", operation.name);
      case Action::kReplicaIdentity:
        return "change the replica identity";
      case Action::kRenameTable:
        return fmt::format("rename to {}", operation.to);
      case Action::kMoveTable:
        return fmt::format("move to schema {}", operation.to);
      case Action::kSetLogged:
        return "set logged";
      case Action::kSetUnlogged:
        return "set unlogged";
      case Action::kAttachPartition:
        return fmt::format("attach partition {}", operation.name);
      case Action::kDetachPartition:
        return fmt::format("detach partition {}", operation.name);
      case Action::kTruncate:
        return "truncate";
      case Action::kDropTable:
        return "drop the table";
      case Action::kCreateTable:
        return "create the table";
      case Action::kRenameEnumValue:
        return fmt::format("rename value '{}' of type {} to '{}'", operation.name,
                           operation.table.table, operation.to);
      case Action::kRows:
        return "change rows";
      case Action::kNothing:
        return "nothing that is replicated";
      case Action::kUnknown:
        return "cannot be told from its text";
    }
    return {};
  }

  /// What concerns no table that is there.
  static void Describe(Effect& effect, const Operation& operation) {
    if (operation.action == Action::kUnknown) {
      effect.source.emplace_back(
          "what it does is not in its text: plan the statements that it runs, or that it cascades "
          "to, one by one");
    } else if (operation.action == Action::kRenameEnumValue) {
      effect.source.emplace_back(
          "rows that hold the value read otherwise from then on, and none of them is sent: have "
          "the tables with columns of the type read again, `freshet table resnapshot NAME`");
      effect.harms = true;
    } else {
      effect.source.emplace_back("PostgreSQL sends nothing of it, and no row changes");
    }
  }

  Status Absent(const Operation& operation) {
    if (operation.action == Action::kNothing || operation.action == Action::kRows ||
        operation.if_exists) {
      Describe(Add(operation, nullptr), operation.if_exists ? Operation{} : operation);
      return {};
    }
    return Fail(
        ErrorKind::kNotFound, "table {} is not in the database; correct the statement",
        change::ToString({operation.table.schema.empty() ? "public" : operation.table.schema,
                          operation.table.table}));
  }

  Status Create(const Operation& operation) {
    FRESHET_TRY(Table* const there, Find(operation));
    if (there != nullptr && operation.if_exists) {
      Describe(Add(operation, there), Operation{});
      return {};
    }
    const change::TableName name{operation.table.schema.empty() ? "public" : operation.table.schema,
                                 operation.table.table};
    Effect& effect = Add(operation, nullptr);
    effect.table = name;
    effect.carried = filter_->Matches(name);
    if (!effect.carried) {
      effect.source.emplace_back("the configuration does not choose this table: nothing changes");
      return {};
    }
    effect.source.emplace_back(
        all_tables_ ? "the publication takes it in by itself: it is carried from its first row on"
                    : "it joins at the next start or SIGHUP, or by `freshet table add`; then its "
                      "rows are read, and every sink makes its table");
    return {};
  }

  Status Apply(const Operation& operation, Table& table) {
    Effect& effect = Add(operation, &table);
    switch (operation.action) {
      case Action::kAddColumn:
        return AddColumn(operation, table, effect);
      case Action::kDropColumn:
        return DropColumn(operation, table, effect);
      case Action::kRenameColumn:
        return RenameColumn(operation, table, effect);
      case Action::kChangeType:
        return ChangeType(operation, table, effect);
      case Action::kAddPrimaryKey:
        return AddPrimaryKey(operation, table, effect);
      case Action::kDropConstraint:
        return DropConstraint(operation, table, effect);
      case Action::kReplicaIdentity:
        return SetIdentity(operation, table, effect);
      case Action::kRenameTable:
      case Action::kMoveTable:
        return Rename(operation, table, effect);
      case Action::kTruncate:
        Truncate(table, effect);
        return {};
      case Action::kDropTable:
        Drop(table, effect);
        return {};
      case Action::kAttachPartition:
        effect.source.push_back("rows that it brings were never sent as this table's: " +
                                ReadAgain(table, false));
        return {};
      case Action::kDetachPartition:
        effect.source.push_back("rows that leave with it are not sent as deleted: " +
                                ReadAgain(table, true));
        return {};
      case Action::kSetLogged:
        effect.source.push_back("rows from before were in no WAL: " + ReadAgain(table, false));
        return {};
      case Action::kSetUnlogged:
        effect.source.emplace_back(
            "PostgreSQL refuses it while a publication names the table; taken out of it, its "
            "changes are in no WAL and are lost");
        effect.harms = true;
        return {};
      case Action::kRows:
        effect.source.emplace_back("its rows are sent as any other change");
        return {};
      default:
        Describe(effect, operation);
        return {};
    }
  }

  /// What happens to rows that changed, or with `vanished` also went, without a word in the stream.
  std::string ReadAgain(const Table& table, bool vanished) const {
    using Policy = postgres::UnsentRowsPolicy;
    const Policy policy = options_.source.unsent_rows;
    if (policy == Policy::kReadAgain || (policy == Policy::kKeepVanished && !vanished)) {
      return "what that does to rows is not sent, so freshet reads them again by itself";
    }
    return fmt::format(
        "what that does to rows is not sent: have them read again, `freshet table resnapshot "
        "{}{}` (`unsent_rows` says not to do it by itself)",
        change::ToString(table.catalog.name), vanished ? " --replace" : "");
  }

  Status AddColumn(const Operation& operation, Table& table, Effect& effect) {
    if (table.schema().IndexOf(operation.name) >= 0) {
      if (operation.if_exists) return Nothing(effect, "it is there already");
      return Fail(ErrorKind::kConfig, "table {} has a column {} already; correct the statement",
                  change::ToString(table.catalog.name), operation.name);
    }
    FRESHET_TRY(change::Column column, facts_.ColumnOf(operation.name, operation.type));
    effect.what = fmt::format("add column {} {}", operation.name, TypeText(column));
    if (operation.value == Default::kGenerated) {
      effect.source.emplace_back("a generated column is not sent: targets do not get it");
      return {};
    }
    FRESHET_TRY(const bool lists,
                facts_.ListsColumns(options_.source.publication, table.catalog.id));
    if (lists) {
      effect.source.push_back(
          fmt::format("publication '{}' lists this table's columns: the new one is not sent until "
                      "its owner adds it to the list",
                      options_.source.publication));
      return {};
    }
    FRESHET_TRY(const bool vary, facts_.AnyVolatile(operation.functions));
    if (operation.value == Default::kNone) {
      effect.source.emplace_back("no rewrite; rows from before read as null");
    } else if (operation.value == Default::kSequence || vary) {
      effect.source.push_back(
          "the server gives each row from before a value of its own and writes "
          "the table anew; " +
          ReadAgain(table, false));
    } else if (facts_.major() < 11) {
      effect.source.push_back("before PostgreSQL 11 a default writes the table anew; " +
                              ReadAgain(table, false));
    } else {
      effect.source.emplace_back(
          "no rewrite; rows from before read as the default, which freshet takes from the catalog "
          "and gives to those in targets too");
    }
    int16_t last = 0;
    for (const change::Column& each : table.schema().columns()) last = std::max(last, each.attnum);
    column.attnum = static_cast<int16_t>(last + 1);
    std::vector<change::Column> columns = table.schema().columns();
    columns.push_back(std::move(column));
    return Become(table, table.schema().name(), table.schema().replica_identity(),
                  std::move(columns), effect);
  }

  /// The index of the column that a statement names; none where it says IF EXISTS and it is not.
  Result<std::optional<size_t>> ColumnIn(const Operation& operation, const Table& table) {
    const int index = table.schema().IndexOf(operation.name);
    if (index >= 0) return std::optional(static_cast<size_t>(index));
    if (operation.if_exists) return std::optional<size_t>();
    return Fail(ErrorKind::kNotFound,
                "table {} has no column {} that is published; correct the statement",
                change::ToString(table.catalog.name), operation.name);
  }

  Status DropColumn(const Operation& operation, Table& table, Effect& effect) {
    FRESHET_TRY(const std::optional<size_t> index, ColumnIn(operation, table));
    if (!index.has_value()) return Nothing(effect, "there is no such column");
    std::vector<change::Column> columns = table.schema().columns();
    const bool key = columns[*index].primary_key;
    columns.erase(columns.begin() + static_cast<std::ptrdiff_t>(*index));
    if (key) {
      for (change::Column& column : columns) column.primary_key = false;
      WarnOfMissingKey(table, effect);
    }
    effect.source.emplace_back(
        "later rows come without it; a column that a target has of it stays, null from then on");
    return Become(table, table.schema().name(), table.schema().replica_identity(),
                  std::move(columns), effect);
  }

  Status RenameColumn(const Operation& operation, Table& table, Effect& effect) {
    FRESHET_TRY(const std::optional<size_t> index, ColumnIn(operation, table));
    if (!index.has_value()) return Nothing(effect, "there is no such column");
    std::vector<change::Column> columns = table.schema().columns();
    columns[*index].name = operation.to;
    effect.source.emplace_back("it is known by its number, so its values go on under the new name");
    return Become(table, table.schema().name(), table.schema().replica_identity(),
                  std::move(columns), effect);
  }

  Status ChangeType(const Operation& operation, Table& table, Effect& effect) {
    FRESHET_TRY(const std::optional<size_t> index, ColumnIn(operation, table));
    if (!index.has_value()) return Nothing(effect, "there is no such column");
    std::vector<change::Column> columns = table.schema().columns();
    FRESHET_TRY(const change::Column to, facts_.ColumnOf(operation.name, operation.type));
    effect.what = fmt::format("change column {} from {} to {}", operation.name,
                              TypeText(columns[*index]), TypeText(to));
    FRESHET_TRY(const bool rewrites, facts_.Rewrites(columns[*index], to));
    if (rewrites || operation.converts) {
      effect.source.push_back("the server writes the table anew; " + ReadAgain(table, false));
    } else {
      effect.source.emplace_back("no rewrite; rows from before stay as they are");
    }
    columns[*index].type_oid = to.type_oid;
    columns[*index].typmod = to.typmod;
    columns[*index].type_name = to.type_name;
    columns[*index].type = to.type;
    return Become(table, table.schema().name(), table.schema().replica_identity(),
                  std::move(columns), effect);
  }

  Status AddPrimaryKey(const Operation& operation, Table& table, Effect& effect) {
    std::vector<std::string> keys = operation.columns;
    if (keys.empty()) {
      FRESHET_TRY(keys, facts_.IndexColumns(table.catalog.id, operation.name));
    }
    std::vector<change::Column> columns = table.schema().columns();
    for (change::Column& column : columns) {
      column.primary_key = std::find(keys.begin(), keys.end(), column.name) != keys.end();
    }
    effect.what = fmt::format("add primary key ({})", fmt::join(keys, ", "));
    effect.source.push_back(fmt::format("rows are told apart by {}", fmt::join(keys, ", ")));
    return Become(table, table.schema().name(), table.schema().replica_identity(),
                  std::move(columns), effect);
  }

  Status DropConstraint(const Operation& operation, Table& table, Effect& effect) {
    FRESHET_TRY(const bool key, facts_.IsPrimaryKey(table.catalog.id, operation.name));
    if (!key) return Nothing(effect, "PostgreSQL sends nothing of it, and no row changes");
    effect.what = fmt::format("drop the primary key ({})", operation.name);
    std::vector<change::Column> columns = table.schema().columns();
    for (change::Column& column : columns) column.primary_key = false;
    WarnOfMissingKey(table, effect);
    return Become(table, table.schema().name(), table.schema().replica_identity(),
                  std::move(columns), effect);
  }

  static void WarnOfMissingKey(const Table& table, Effect& effect) {
    if (table.schema().replica_identity() != ReplicaIdentity::kDefault) return;
    effect.source.push_back(fmt::format(
        "UPDATE and DELETE of {} fail at the source without a key, since it is published: run "
        "ALTER TABLE ... REPLICA IDENTITY FULL, or USING INDEX, in the same transaction",
        change::ToString(table.catalog.name)));
    effect.harms = true;
  }

  Status SetIdentity(const Operation& operation, Table& table, Effect& effect) {
    std::vector<change::Column> columns = table.schema().columns();
    switch (operation.identity) {
      case ReplicaIdentity::kNothing:
        effect.source.emplace_back(
            "UPDATE and DELETE of the table fail at the source, since it is published");
        effect.harms = true;
        break;
      case ReplicaIdentity::kFull:
        effect.source.emplace_back("old rows are sent whole, which makes more WAL");
        break;
      case ReplicaIdentity::kIndex: {
        FRESHET_TRY(const auto keys, facts_.IndexColumns(table.catalog.id, operation.name));
        for (change::Column& column : columns) {
          column.identity = std::find(keys.begin(), keys.end(), column.name) != keys.end();
        }
        effect.source.push_back(fmt::format("rows are told apart by {}", fmt::join(keys, ", ")));
        break;
      }
      case ReplicaIdentity::kDefault:
        effect.source.emplace_back("rows are told apart by the primary key");
        if (std::none_of(columns.begin(), columns.end(),
                         [](const change::Column& column) { return column.primary_key; })) {
          effect.source.emplace_back(
              "there is none: UPDATE and DELETE of the table fail at the source, since it is "
              "published");
          effect.harms = true;
        }
        break;
    }
    return Become(table, table.schema().name(), operation.identity, std::move(columns), effect);
  }

  Status Rename(const Operation& operation, Table& table, Effect& effect) {
    change::TableName name = table.catalog.name;
    (operation.action == Action::kMoveTable ? name.schema : name.table) = operation.to;
    table.catalog.name = name;
    if (table.versions.empty()) return {};
    effect.source.emplace_back("it is known by its oid, so its changes go on arriving");
    if (!filter_->Matches(name)) {
      effect.source.push_back(
          fmt::format("`tables` of the configuration does not choose {}: add it, or the table is "
                      "left out at the next start",
                      change::ToString(name)));
      effect.harms = true;
    }
    return Become(table, name, table.schema().replica_identity(), table.schema().columns(), effect);
  }

  void Truncate(const Table& table, Effect& effect) {
    if (table.carried_by != table.catalog.id) {
      effect.source.push_back("PostgreSQL does not send the truncation of a partition: " +
                              ReadAgain(*ById(table.carried_by), true));
      return;
    }
    effect.source.emplace_back("sent; other tables are emptied with it where it says CASCADE");
    for (const pipeline::SinkSpec& sink : options_.sinks) {
      effect.sinks.push_back({.sink = sink.options.name,
                              .kind = sink.kind,
                              .steps = {sink.options.mode == WriteMode::kAppend
                                            ? "a row `truncate` is added to the changelog"
                                            : "the table is emptied, in the transaction's place"}});
    }
  }

  void Drop(Table& table, Effect& effect) {
    if (table.carried_by != table.catalog.id) {
      effect.source.push_back("rows that go with the partition are not sent as deleted: " +
                              ReadAgain(*ById(table.carried_by), true));
      return;
    }
    effect.source.emplace_back(
        "nothing of it is sent; rows from before still arrive, and every target's table stays");
    table.gone = true;
  }

  static Status Nothing(Effect& effect, std::string why) {
    effect.source.push_back(std::move(why));
    return {};
  }

  /// Puts the schema in force and asks every sink what it would do.
  Status Become(Table& table, change::TableName name, ReplicaIdentity identity,
                std::vector<change::Column> columns, Effect& effect) {
    table.versions.push_back(Remade(table.schema(), std::move(name), identity, std::move(columns)));
    for (const pipeline::SinkSpec& sink : options_.sinks) {
      SinkStep step{.sink = sink.options.name, .kind = sink.kind};
      auto foreseen = sink.factory->Foresee(sink.options, table.versions);
      if (foreseen.has_value()) {
        step.steps = *std::move(foreseen);
      } else {
        step.stops = true;
        step.steps = {foreseen.error().message};
      }
      effect.sinks.push_back(std::move(step));
    }
    return {};
  }

  const pipeline::Options& options_;
  postgres::Catalog& catalog_;
  SourceFacts facts_;
  std::stop_token stop_;
  std::optional<postgres::TableFilter> filter_;
  bool all_tables_ = false;
  std::vector<Table> tables_;
  std::vector<Effect> effects_;
};

}  // namespace

Result<std::vector<Effect>> PlanDdl(const pipeline::Options& options, std::string_view sql,
                                    std::stop_token stop) {
  FRESHET_TRY(const std::vector<Operation> operations, ParseDdl(sql));
  FRESHET_TRY(postgres::Connection connection,
              postgres::Connection::Connect(options.source.url, {}, stop));
  postgres::Catalog catalog(std::move(connection));
  Planner planner(options, catalog, stop);
  FRESHET_RETURN_IF_ERROR(planner.ReadSource());
  for (const Operation& operation : operations) FRESHET_RETURN_IF_ERROR(planner.Take(operation));
  return std::move(planner).Finish();
}

}  // namespace freshet::plan
