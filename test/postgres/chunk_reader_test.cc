#include "postgres/chunk_reader.h"

#include <gtest/gtest.h>

namespace freshet::postgres {
namespace {

class ChunkCopySqlTest : public ::testing::Test {
 protected:
  ChunkCopySqlTest() {
    change::Column id;
    id.name = "id";
    id.identity = true;
    change::Column value;
    value.name = "odd \" name";
    schema_ = std::make_shared<const change::TableSchema>(
        change::TableId{1}, change::TableName{"public", "t"}, change::ReplicaIdentity::kDefault,
        std::vector<change::Column>{id, value});
    task_.part.name = {"public", "t"};
  }

  std::string Sql(const std::vector<std::string>& upto = {}) {
    return ChunkCopySql(task_, *schema_, upto);
  }

  std::shared_ptr<const change::TableSchema> schema_;
  ChunkTask task_;
};

TEST_F(ChunkCopySqlTest, AWholeTableNeedsNoQuery) {
  EXPECT_EQ(Sql(), R"(COPY "public"."t" ("id", "odd "" name") TO STDOUT)");
}

TEST_F(ChunkCopySqlTest, ARangeOfBlocksOfTheTableAlone) {
  task_.range.blocks = {8, 16};
  EXPECT_EQ(Sql(), R"(COPY (SELECT "id", "odd "" name" FROM ONLY "public"."t")"
                   R"( WHERE ctid >= '(8,0)' AND ctid < '(16,0)') TO STDOUT)");
  task_.range.blocks.end = ChunkRange::kOpenEnd;
  EXPECT_EQ(Sql(), R"(COPY (SELECT "id", "odd "" name" FROM ONLY "public"."t")"
                   R"( WHERE ctid >= '(8,0)') TO STDOUT)");
}

TEST_F(ChunkCopySqlTest, ARangeOfKeysUnderARowFilter) {
  task_.range.by_key = true;
  task_.range.after_key = {"o'clock"};
  task_.row_filter = "id > 0";
  EXPECT_EQ(Sql({"z"}),
            R"(COPY (SELECT "id", "odd "" name" FROM ONLY "public"."t")"
            R"( WHERE (id > 0) AND ("id") > ('o''clock') AND ("id") <= ('z')) TO STDOUT)");
}

/// In a database where text may not be valid: the server is told its bytes.
TEST_F(ChunkCopySqlTest, KeysOfTextAreGivenAsBytes) {
  change::Column key;
  key.name = "k";
  key.type = {.kind = change::LogicalKind::kText};
  key.type_name = "text";
  key.identity = true;
  const change::TableSchema schema(change::TableId{1}, {"public", "t"},
                                   change::ReplicaIdentity::kDefault, {key});
  task_.range = {.by_key = true, .after_key = {"61ff"}, .most_rows = 10};

  EXPECT_EQ(ChunkCopySql(task_, schema, {}, /*text_as_bytes=*/true),
            R"(COPY (SELECT "k" FROM ONLY "public"."t" WHERE ("k") > )"
            R"((convert_from(decode('61ff', 'hex'), getdatabaseencoding())::text)) TO STDOUT)");
}

TEST_F(ChunkCopySqlTest, ASweepTakesWhatWasWrittenSince) {
  task_.written_since = (uint64_t{3} << 32) + 77;
  EXPECT_EQ(Sql(), R"(COPY (SELECT "id", "odd "" name" FROM ONLY "public"."t")"
                   R"( WHERE pg_catalog.age(xmin) <= pg_catalog.age('77'::xid)) TO STDOUT)");
}

TEST_F(ChunkCopySqlTest, APartitionedTableIsReadWithItsParts) {
  task_.part.partitioned = true;
  EXPECT_EQ(Sql(), R"(COPY (SELECT "id", "odd "" name" FROM "public"."t") TO STDOUT)");
}

}  // namespace
}  // namespace freshet::postgres
