#include "plan/ddl.h"

#include <pg_query.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace freshet::plan {
namespace {

using nlohmann::json;

/// Members of a parse tree. What is not there reads as empty: libpg_query leaves out zero values.
const json& Member(const json& node, const char* name) {
  static const json kEmpty = json::object();
  const auto found = node.find(name);
  return found == node.end() ? kEmpty : *found;
}

std::string Text(const json& node, const char* name) {
  const json& member = Member(node, name);
  return member.is_string() ? member.get<std::string>() : "";
}

bool Flag(const json& node, const char* name) {
  const json& member = Member(node, name);
  return member.is_boolean() && member.get<bool>();
}

size_t Size(const json& node, const char* name) {
  const json& member = Member(node, name);
  return member.is_number_unsigned() ? member.get<size_t>() : 0;
}

/// [{"String": {"sval": ...}}, ...]
std::vector<std::string> Strings(const json& list) {
  std::vector<std::string> out;
  for (const json& item : list) out.push_back(Text(Member(item, "String"), "sval"));
  return out;
}

change::TableName NameOf(const json& range_var) {
  return {Text(range_var, "schemaname"), Text(range_var, "relname")};
}

/// The last two of {catalog, schema, table}.
change::TableName NameOf(const std::vector<std::string>& parts) {
  return {parts.size() > 1 ? parts[parts.size() - 2] : "", parts.empty() ? "" : parts.back()};
}

TypeName TypeOf(const json& type) {
  TypeName out;
  out.names = Strings(Member(type, "names"));
  for (const json& modifier : Member(type, "typmods")) {
    const json& number = Member(Member(Member(modifier, "A_Const"), "ival"), "ival");
    out.modifiers.push_back(number.is_number() ? number.dump() : "0");
  }
  out.array = !Member(type, "arrayBounds").empty();
  return out;
}

/// The functions that an expression calls, by their last name. Of CURRENT_TIMESTAMP and its like
/// none is volatile.
void CollectFunctions(const json& node, std::vector<std::string>& out) {
  if (node.is_object()) {
    if (const json& call = Member(node, "FuncCall"); !call.empty()) {
      const auto names = Strings(Member(call, "funcname"));
      if (!names.empty()) out.push_back(names.back());
    }
    for (const auto& [name, member] : node.items()) CollectFunctions(member, out);
  } else if (node.is_array()) {
    for (const json& item : node) CollectFunctions(item, out);
  }
}

bool IsSerial(const TypeName& type) {
  static constexpr std::string_view kSerials[] = {"serial",  "serial4",     "bigserial",
                                                  "serial8", "smallserial", "serial2"};
  return type.names.size() == 1 && std::find(std::begin(kSerials), std::end(kSerials),
                                             type.names.front()) != std::end(kSerials);
}

change::ReplicaIdentity IdentityOf(const std::string& type) {
  if (type == "f") return change::ReplicaIdentity::kFull;
  if (type == "n") return change::ReplicaIdentity::kNothing;
  if (type == "i") return change::ReplicaIdentity::kIndex;
  return change::ReplicaIdentity::kDefault;
}

/// Collects the operations of a parse tree.
class Collector {
 public:
  explicit Collector(std::string_view sql) : sql_(sql) {}

  void Take(const json& statement) {
    const size_t begin = Size(statement, "stmt_location");
    const size_t length = Size(statement, "stmt_len");
    statement_ = Trimmed(sql_.substr(begin, length == 0 ? std::string_view::npos : length));
    const json& node = Member(statement, "stmt");
    if (node.empty()) return;
    const std::string& kind = node.begin().key();
    const json& body = node.begin().value();
    if (kind == "AlterTableStmt") {
      AlterTable(body);
    } else if (kind == "RenameStmt") {
      Rename(body);
    } else if (kind == "AlterObjectSchemaStmt") {
      Move(body);
    } else if (kind == "DropStmt") {
      Drop(body);
    } else if (kind == "TruncateStmt") {
      for (const json& relation : Member(body, "relations")) {
        Add(Action::kTruncate, Member(relation, "RangeVar"));
      }
    } else if (kind == "CreateStmt") {
      Create(body);
    } else if (kind == "CreateTableAsStmt") {
      const bool table = Text(body, "objtype") == "OBJECT_TABLE";
      Add(table ? Action::kCreateTable : Action::kNothing, Member(Member(body, "into"), "rel"));
    } else if (kind == "AlterEnumStmt") {
      Operation& out = Add(Action::kNothing, NameOf(Strings(Member(body, "typeName"))));
      out.name = Text(body, "oldVal");
      out.to = Text(body, "newVal");
      if (!out.name.empty()) out.action = Action::kRenameEnumValue;
    } else if (OneOf(kind, {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt"})) {
      Add(Action::kRows, Member(body, "relation"));
    } else if (OneOf(kind, {"DoStmt", "CallStmt", "SelectStmt", "ExecuteStmt"})) {
      Add(Action::kUnknown, change::TableName{});
    } else {
      Add(Action::kNothing, Member(body, "relation"));
    }
  }

  std::vector<Operation> Finish() && { return std::move(out_); }

 private:
  static bool OneOf(std::string_view text, std::initializer_list<std::string_view> list) {
    return std::find(list.begin(), list.end(), text) != list.end();
  }

  static std::string Trimmed(std::string_view text) {
    constexpr std::string_view kBlank = " \t\r\n;";
    const size_t begin = text.find_first_not_of(kBlank);
    if (begin == std::string_view::npos) return {};
    return std::string(text.substr(begin, text.find_last_not_of(kBlank) - begin + 1));
  }

  Operation& Add(Action action, change::TableName table) {
    out_.push_back({.action = action, .table = std::move(table), .sql = statement_});
    return out_.back();
  }

  Operation& Add(Action action, const json& range_var) {
    Operation& out = Add(action, NameOf(range_var));
    out.only = !range_var.empty() && !Flag(range_var, "inh");
    return out;
  }

  void AlterTable(const json& body) {
    const json& relation = Member(body, "relation");
    if (Text(body, "objtype") != "OBJECT_TABLE") {
      Add(Action::kNothing, relation);
      return;
    }
    for (const json& item : Member(body, "cmds")) {
      const json& command = Member(item, "AlterTableCmd");
      const std::string kind = Text(command, "subtype");
      const json& def = Member(command, "def");
      Operation& out = Add(Action::kNothing, relation);
      out.name = Text(command, "name");
      out.if_exists = Flag(body, "missing_ok") || Flag(command, "missing_ok");
      if (kind == "AT_AddColumn") {
        AddColumn(Member(def, "ColumnDef"), out);
      } else if (kind == "AT_DropColumn") {
        out.action = Action::kDropColumn;
      } else if (kind == "AT_AlterColumnType") {
        out.action = Action::kChangeType;
        out.type = TypeOf(Member(Member(def, "ColumnDef"), "typeName"));
        out.converts = !Member(Member(def, "ColumnDef"), "raw_default").empty();
      } else if (kind == "AT_AddConstraint") {
        AddKey(Member(def, "Constraint"), out);
      } else if (kind == "AT_DropConstraint") {
        out.action = Action::kDropConstraint;
      } else if (kind == "AT_ReplicaIdentity") {
        const json& identity = Member(def, "ReplicaIdentityStmt");
        out.action = Action::kReplicaIdentity;
        out.identity = IdentityOf(Text(identity, "identity_type"));
        out.name = Text(identity, "name");
      } else if (kind == "AT_SetLogged") {
        out.action = Action::kSetLogged;
      } else if (kind == "AT_SetUnLogged") {
        out.action = Action::kSetUnlogged;
      } else if (kind == "AT_AttachPartition" || kind == "AT_DetachPartition") {
        const auto partition = NameOf(Member(Member(def, "PartitionCmd"), "name"));
        out.action =
            kind == "AT_AttachPartition" ? Action::kAttachPartition : Action::kDetachPartition;
        out.name = partition.table;
        out.to = partition.schema;
      }
    }
  }

  /// May append to out_, so `out` is not touched after.
  void AddColumn(const json& column, Operation& out) {
    out.action = Action::kAddColumn;
    out.name = Text(column, "colname");
    out.type = TypeOf(Member(column, "typeName"));
    if (IsSerial(out.type)) out.value = Default::kSequence;
    bool key = false;
    for (const json& item : Member(column, "constraints")) {
      const json& constraint = Member(item, "Constraint");
      const std::string kind = Text(constraint, "contype");
      if (kind == "CONSTR_DEFAULT") {
        const json& expression = Member(constraint, "raw_expr");
        const bool null = Flag(Member(expression, "A_Const"), "isnull");
        if (!null) out.value = Default::kExpression;
        CollectFunctions(expression, out.functions);
      } else if (kind == "CONSTR_IDENTITY") {
        out.value = Default::kSequence;
      } else if (kind == "CONSTR_GENERATED") {
        out.value = Default::kGenerated;
      }
      key = key || kind == "CONSTR_PRIMARY";
    }
    if (!key) return;
    Operation added = out;
    added.action = Action::kAddPrimaryKey;
    added.columns = {out.name};
    out_.push_back(std::move(added));
  }

  static void AddKey(const json& constraint, Operation& out) {
    if (Text(constraint, "contype") != "CONSTR_PRIMARY") return;
    out.action = Action::kAddPrimaryKey;
    out.columns = Strings(Member(constraint, "keys"));
    out.name = Text(constraint, "indexname");
  }

  void Rename(const json& body) {
    const std::string kind = Text(body, "renameType");
    Operation& out = Add(Action::kNothing, Member(body, "relation"));
    out.to = Text(body, "newname");
    out.if_exists = Flag(body, "missing_ok");
    if (kind == "OBJECT_COLUMN" && Text(body, "relationType") == "OBJECT_TABLE") {
      out.action = Action::kRenameColumn;
      out.name = Text(body, "subname");
    } else if (kind == "OBJECT_TABLE") {
      out.action = Action::kRenameTable;
    } else if (kind == "OBJECT_SCHEMA") {
      out.action = Action::kUnknown;
    }
  }

  void Move(const json& body) {
    const bool table = Text(body, "objectType") == "OBJECT_TABLE";
    Operation& out = Add(table ? Action::kMoveTable : Action::kNothing, Member(body, "relation"));
    out.to = Text(body, "newschema");
    out.if_exists = Flag(body, "missing_ok");
  }

  void Drop(const json& body) {
    const std::string kind = Text(body, "removeType");
    if (kind != "OBJECT_TABLE") {
      // CASCADE may take columns and tables along.
      const bool cascades = Text(body, "behavior") == "DROP_CASCADE" || kind == "OBJECT_SCHEMA";
      Add(cascades ? Action::kUnknown : Action::kNothing, change::TableName{});
      return;
    }
    for (const json& object : Member(body, "objects")) {
      const json& items = Member(Member(object, "List"), "items");
      Add(Action::kDropTable, NameOf(Strings(items))).if_exists = Flag(body, "missing_ok");
    }
  }

  void Create(const json& body) {
    const json& relation = Member(body, "relation");
    const bool temporary = Text(relation, "relpersistence") == "t";
    Operation& out = Add(temporary ? Action::kNothing : Action::kCreateTable, relation);
    out.if_exists = Flag(body, "if_not_exists");
    const json& parents = Member(body, "inhRelations");
    if (Member(body, "partbound").empty() || parents.empty()) return;
    // A partition that is made empty brings nothing.
    out.action = Action::kNothing;
  }

  std::string_view sql_;
  std::string statement_;
  std::vector<Operation> out_;
};

/// Line and column, from 1, of a byte.
std::string PlaceOf(std::string_view sql, int cursor) {
  const size_t at = std::min(sql.size(), static_cast<size_t>(std::max(cursor - 1, 0)));
  const std::string_view before = sql.substr(0, at);
  const size_t line_begin =
      before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return fmt::format("line {}, column {}", std::count(before.begin(), before.end(), '\n') + 1,
                     at - line_begin + 1);
}

}  // namespace

Result<std::vector<Operation>> ParseDdl(std::string_view sql) {
  const std::string text(sql);
  const std::unique_ptr<PgQueryParseResult, void (*)(PgQueryParseResult*)> parsed(
      new PgQueryParseResult(pg_query_parse(text.c_str())), [](PgQueryParseResult* result) {
        pg_query_free_parse_result(*result);
        delete result;
      });
  if (parsed->error != nullptr) {
    return Fail(ErrorKind::kConfig, "the SQL cannot be read: {} ({}); correct it",
                parsed->error->message, PlaceOf(sql, parsed->error->cursorpos));
  }
  const json tree = json::parse(parsed->parse_tree, nullptr, /*allow_exceptions=*/false);
  if (tree.is_discarded()) {
    return Fail(ErrorKind::kUnsupported,
                "the SQL has text that cannot be carried over; write it in UTF-8");
  }
  Collector collector(sql);
  for (const json& statement : Member(tree, "stmts")) collector.Take(statement);
  std::vector<Operation> out = std::move(collector).Finish();
  if (out.empty()) {
    return Fail(ErrorKind::kConfig, "there is no statement in the SQL; give at least one");
  }
  return out;
}

}  // namespace freshet::plan
