#include "postgres/publication.h"

#include <gtest/gtest.h>

namespace freshet::postgres {
namespace {

CatalogTable Table(const std::string& name, bool partitioned = false) {
  CatalogTable table;
  table.name = {"public", name};
  table.partitioned = partitioned;
  return table;
}

TEST(PublicationSqlTest, ATableStandsForItsOwnRowsAndATreeForAll) {
  EXPECT_EQ(AddToPublicationSql("p", Table("t"), 15),
            R"(ALTER PUBLICATION "p" ADD TABLE ONLY "public"."t")");
  EXPECT_EQ(AddToPublicationSql("p", Table("t", true), 15),
            R"(ALTER PUBLICATION "p" ADD TABLE "public"."t")");
  const CatalogTable both[] = {Table("a"), Table("b", true)};
  EXPECT_EQ(CreatePublicationSql("odd \" name", both, 12),
            R"(CREATE PUBLICATION "odd "" name" FOR TABLE ONLY "public"."a", "public"."b")");
}

TEST(PublicationSqlTest, OldServersWaitForTheTablesWriters) {
  EXPECT_EQ(AddToPublicationSql("p", Table("t"), 12),
            R"(BEGIN; LOCK TABLE ONLY "public"."t" IN SHARE ROW EXCLUSIVE MODE;)"
            R"( ALTER PUBLICATION "p" ADD TABLE ONLY "public"."t"; COMMIT)");
}

}  // namespace
}  // namespace freshet::postgres
