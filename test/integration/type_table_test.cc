#include <gmock/gmock.h>

#include <sstream>

#include "integration/all_sinks_fixture.h"
#include "sink/duckdb/query.h"
#include "support/program.h"

/// Every row of docs/types.md, in every target, by snapshot and by stream.
namespace freshet {
namespace {

struct TypeRow {
  std::string type;
  std::string sql;
  std::string duckdb_type;
  std::string value;
  bool exact = false;
  int from_major = 10;
};

/// What stands between the backquotes of a cell.
std::string Code(const std::string& cell) {
  const size_t begin = cell.find('`');
  const size_t end = cell.rfind('`');
  return begin == end ? "" : cell.substr(begin + 1, end - begin - 1);
}

/// The rows of the page's first table. None of its values has a `|`.
std::vector<TypeRow> ReadTypeTable() {
  std::vector<TypeRow> out;
  std::istringstream page(test::ReadText("docs/types.md"));
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("| `")) continue;
    std::vector<std::string> cells;
    std::istringstream rest(line.substr(1));
    for (std::string cell; std::getline(rest, cell, '|');) cells.push_back(cell);
    if (cells.size() < 4) continue;  // another table of the page
    TypeRow row{.type = Code(cells.at(0)),
                .sql = Code(cells.at(1)),
                .duckdb_type = Code(cells.at(2)),
                .value = Code(cells.at(3)),
                .exact = cells.at(3).starts_with(" exact ")};
    if (cells.size() > 4) row.from_major = std::stoi(cells[4]);
    out.push_back(std::move(row));
  }
  return out;
}

constexpr const char* kUsersTypes =
    "CREATE TYPE mood AS ENUM ('sad', 'o''k'); CREATE DOMAIN price AS numeric(10,2);"
    "CREATE DOMAIN deep_price AS price CHECK (VALUE > 0);"
    "CREATE TYPE address AS (street text, number int); CREATE TYPE span AS RANGE (subtype = int4)";

class TypeTableTest : public test::AllSinksTest {};

TEST_P(TypeTableTest, EveryRowOfThePageIsTrue) {
  Configure();
  Sql(kUsersTypes);
  std::vector<TypeRow> rows = ReadTypeTable();
  ASSERT_GT(rows.size(), 80U);
  std::erase_if(rows, [](const TypeRow& row) { return row.from_major > GetParam(); });
  std::string columns;
  std::string values;
  for (size_t i = 0; i < rows.size(); ++i) {
    columns += ", c" + std::to_string(i) + " " + rows[i].type;
    values += ", " + rows[i].sql;
  }
  Sql("CREATE TABLE t (id int PRIMARY KEY" + columns + "); INSERT INTO t VALUES (1" + values + ")");
  CatchUp();
  Sql("INSERT INTO t VALUES (2" + values + ")");
  CatchUp();

  for (size_t i = 0; i < rows.size(); ++i) {
    const TypeRow& row = rows[i];
    const std::string c = "c" + std::to_string(i);
    const auto answer = sink::duckdb::Query(
        Mirror(),
        "SELECT typeof(" + c + "), " + c + "::VARCHAR, json_extract_string(_cdc_exceptions, '/" +
            c + "') FROM public.t ORDER BY id",
        {}, false, {});
    ASSERT_TRUE(answer.has_value()) << answer.error();
    ASSERT_EQ(answer->rows.size(), 2U);
    for (const auto& got : answer->rows) {
      EXPECT_EQ(got.at(0).value_or("NULL"), row.duckdb_type) << row.type << " " << row.sql;
      EXPECT_EQ(got.at(1).value_or("NULL"), row.exact ? "NULL" : row.value)
          << row.type << " " << row.sql;
      EXPECT_EQ(got.at(2).value_or("NULL"), row.exact ? row.value : "NULL")
          << row.type << " " << row.sql;
    }
  }
  ExpectEqual();
}

TEST_P(TypeTableTest, WideRowsLongValuesAndOddNamesArrive) {
  Configure();
  std::string columns = "c1 int PRIMARY KEY";
  std::string values = "1";
  constexpr int kMostColumns = 1'600;
  for (int i = 2; i <= kMostColumns; ++i) {
    columns += ", c" + std::to_string(i) + " int2";
    values += ", " + std::to_string(i);
  }
  const std::string odd = R"("Odd ""name"".\ ü")";
  Sql("CREATE TABLE wide (" + columns + "); CREATE TABLE " + odd +
      " (\"Id\" int PRIMARY KEY, \"select\" text, \"SELECT\" text, \"a.b\" int, \" \" int);"
      "CREATE TABLE long (id int PRIMARY KEY, j jsonb, t text)");
  for (const char* key : {"1", "2"}) {
    values[0] = *key;
    Sql("INSERT INTO wide VALUES (" + values + "); INSERT INTO " + odd + " VALUES (" + key +
        ", 'a', 'b', 1, 2); INSERT INTO long VALUES (" + key +
        ", jsonb_build_object('k', repeat('x', 1000000)), repeat('ab', 8 << 20))");
    CatchUp();
  }

  ExpectEqual();
}

INSTANTIATE_TEST_SUITE_P(Majors, TypeTableTest,
                         ::testing::ValuesIn(test::PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet
