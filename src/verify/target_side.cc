#include "verify/target_side.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "postgres/copy_text.h"
#include "verify/canonical.h"
#include "verify/render.h"

namespace freshet::verify {
namespace {

/// Appends `text` as COPY writes it, for the reader of a key.
void AppendEscaped(std::string_view text, std::string& out) {
  for (const char c : text) {
    switch (c) {
      case '\\':
        out += "\\\\";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        out.push_back(c);
    }
  }
}

Status CheckColumns(const change::TableSchema& schema, const arrow::RecordBatch& batch) {
  const auto count = static_cast<int>(schema.columns().size());
  if (batch.num_columns() != count + 1) {
    return Fail(ErrorKind::kMalformed, "table {}: the target returned {} columns instead of {}",
                ToString(schema.name()), batch.num_columns(), count + 1);
  }
  for (int i = 0; i < count; ++i) {
    const auto& wanted = *schema.arrow_schema()->field(i)->type();
    const auto& returned = *batch.column(i)->type();
    if (!returned.Equals(wanted)) {
      return Fail(ErrorKind::kMalformed,
                  "table {}: the target returned column {} as {} instead of {}",
                  ToString(schema.name()), schema.columns()[static_cast<size_t>(i)].name,
                  returned.ToString(), wanted.ToString());
    }
  }
  if (batch.column(count)->type_id() != arrow::Type::STRING) {
    return Fail(ErrorKind::kMalformed, "table {}: the target returned exceptions as {}",
                ToString(schema.name()), batch.column(count)->type()->ToString());
  }
  return {};
}

}  // namespace

Status VisitRows(const change::TableSchema& schema, const arrow::RecordBatch& batch,
                 const Side::Visit& visit) {
  FRESHET_RETURN_IF_ERROR(CheckColumns(schema, batch));
  const auto& columns = schema.columns();
  const auto& exceptions =
      static_cast<const arrow::StringArray&>(*batch.column(static_cast<int>(columns.size())));
  Row row;
  std::string text;
  for (int64_t r = 0; r < batch.num_rows(); ++r) {
    nlohmann::json exact;
    if (!exceptions.IsNull(r)) {
      exact = nlohmann::json::parse(exceptions.GetView(r), nullptr, false);
      if (!exact.is_object()) {
        return Fail(ErrorKind::kMalformed, "table {}: _cdc_exceptions holds no JSON object",
                    ToString(schema.name()));
      }
    }
    row.Clear();
    for (size_t c = 0; c < columns.size(); ++c) {
      const arrow::Array& values = *batch.column(static_cast<int>(c));
      if (const auto found = exact.find(columns[c].name); found != exact.end()) {
        if (!found->is_string() || !values.IsNull(r)) {
          return Fail(ErrorKind::kMalformed,
                      "table {}: column {} has a value and an exception in one row",
                      ToString(schema.name()), columns[c].name);
        }
        AppendCanonical(columns[c].type, found->get_ref<const std::string&>(), row.BeginText());
        row.EndText();
      } else if (values.IsNull(r)) {
        row.AddNull();
      } else {
        text.clear();
        AppendRendered(columns[c].type, values, r, text);
        AppendCanonical(columns[c].type, text, row.BeginText());
        row.EndText();
      }
    }
    FRESHET_RETURN_IF_ERROR(visit(row));
  }
  return {};
}

Result<std::shared_ptr<arrow::RecordBatch>> KeysAsBatch(const change::TableSchema& schema,
                                                        const std::vector<Key>& keys) {
  std::vector<change::Column> columns;
  for (const int column : schema.key_columns()) {
    columns.push_back(schema.columns()[static_cast<size_t>(column)]);
  }
  postgres::CopyTextReader reader(std::make_shared<change::TableSchema>(
      schema.id(), schema.name(), schema.replica_identity(), std::move(columns)));
  std::string line;
  for (const Key& key : keys) {
    line.clear();
    for (const std::string& text : key) {
      if (&text != &key.front()) line.push_back('\t');
      AppendEscaped(text, line);
    }
    FRESHET_RETURN_IF_ERROR(reader.Add(line));
  }
  FRESHET_TRY(change::TableChanges changes, reader.Finish(0));
  return changes.rows;
}

TargetSide::TargetSide(sink::ReadBack& read_back, const change::TableSchema& schema)
    : read_back_(read_back), schema_(schema) {}

Status TargetSide::ReadAll(const Visit& visit) { return Scan(nullptr, visit); }

Status TargetSide::ReadKeys(const std::vector<Key>& keys, const Visit& visit) {
  if (keys.empty()) return {};
  FRESHET_TRY(const auto batch, KeysAsBatch(schema_, keys));
  return Scan(batch, visit);
}

Status TargetSide::Scan(const std::shared_ptr<arrow::RecordBatch>& keys, const Visit& visit) {
  Status scanned = read_back_.Scan(schema_, keys, [&](const arrow::RecordBatch& rows) {
    return VisitRows(schema_, rows, visit);
  });
  if (!scanned.has_value() && scanned.error().kind == ErrorKind::kNotFound) return {};
  return scanned;
}

}  // namespace freshet::verify
