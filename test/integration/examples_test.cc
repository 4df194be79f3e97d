#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/file_system.h"
#include "generate/generator.h"
#include "pipeline/pipeline.h"
#include "support/postgres_server.h"
#include "support/s3_server.h"
#include "support/temporary_folder.h"
#include "verify/report.h"
#include "verify/verify.h"

namespace freshet {
namespace {

using Changes = std::vector<std::pair<std::string, std::string>>;

/// Runs the files of examples/ against a real PostgreSQL and a real S3 store. Only addresses and
/// folders of an example are replaced, and each of them must be there to be replaced.
class ExamplesRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = test::PostgresServer::Start();
    ASSERT_TRUE(server.has_value()) << server.error();
    server_ = std::move(server).value();
    for (const char* name :
         {"PGPASSWORD", "FLOW_PASSWORD", "SHOPSTREAM_PASSWORD", "AIRBYTE_PASSWORD"}) {
      ::setenv(name, "for-tests", 1);
    }
  }

  void StartS3() {
    auto store = test::S3Server::Start();
    ASSERT_TRUE(store.has_value()) << store.error();
    store_ = std::move(store).value();
    for (const char* name : {"LAKE_BUCKET", "COLLECTIONS_BUCKET"}) {
      ::setenv(name, test::S3Server::kBucket, 1);
    }
    ::setenv("LAKE_REGION", "us-east-1", 1);
    ::setenv("AWS_ACCESS_KEY_ID", store_->access().access_key.Reveal().c_str(), 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", store_->access().secret_key.Reveal().c_str(), 1);
  }

  void Sql(const std::string& sql, const std::string& database = "postgres") {
    const Status done = server_->Run(sql, database);
    ASSERT_TRUE(done.has_value()) << done.error();
  }

  /// A role that may replicate, and a database of its own.
  void MakeDatabase(const std::string& database, const std::string& role) {
    Sql(fmt::format("CREATE ROLE {} LOGIN REPLICATION", role));
    Sql(fmt::format("CREATE DATABASE {} OWNER {}", database, role));
  }

  void Generate(const std::string& database, const std::string& role, generate::Schema schema) {
    generate::Options options;
    options.url = server_->url(database, role);
    options.schema = schema;
    options.seed = ++seed_;
    options.rate = 0;
    options.rows = 500;
    options.initial_rows = 500;
    const auto done = generate::Generate(options, SystemClock(), {}, [](const auto&) {});
    ASSERT_TRUE(done.has_value()) << done.error();
  }

  /// The example with `changes`, and with ./data/ or /var/lib/freshet/ in a folder of the test's.
  pipeline::Options Read(const std::string& name, Changes changes) {
    std::string text = test::ReadText("examples/" + name);
    const bool serves = text.find("/var/lib/freshet/") != std::string::npos;
    changes.emplace_back(serves ? "/var/lib/freshet/" : "./data/", folder_ / "");
    for (const auto& [from, to] : changes) {
      size_t at = text.find(from);
      EXPECT_NE(at, std::string::npos) << name << " has no " << from;
      for (; at != std::string::npos; at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
      }
    }
    test::WriteText(folder_ / name, text);
    auto options = pipeline::ReadOptions(folder_ / name);
    EXPECT_TRUE(options.has_value()) << options.error() << "\n" << text;
    return options.value_or(pipeline::Options());
  }

  /// freshet run --until-caught-up, then freshet verify.
  void CatchUpAndCompare(const pipeline::Options& options, size_t tables) {
    pipeline::Pipeline pipeline(options, LocalFileSystem(), SystemClock(), "test");
    const Status ran = pipeline.Run({.until_caught_up = true}, {});
    ASSERT_TRUE(ran.has_value()) << ran.error();
    const auto report = verify::Verify(options, {}, SystemClock(), {}, [](const auto&) {});
    ASSERT_TRUE(report.has_value()) << report.error();
    EXPECT_TRUE(report->equal()) << verify::ToText(*report);
    ASSERT_EQ(report->sinks.size(), options.sinks.size());
    for (const verify::SinkReport& sink : report->sinks) {
      EXPECT_EQ(sink.tables.size(), tables) << sink.sink;
    }
  }

  std::string Here(const std::string& host) const {
    return fmt::format("{} port={}", host, server_->port());
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<test::PostgresServer> server_;
  std::unique_ptr<test::S3Server> store_;
  uint64_t seed_ = 0;
};

TEST_F(ExamplesRunTest, QuickStart) {
  MakeDatabase("shop", "freshet");
  Generate("shop", "freshet", generate::Schema::kShop);
  const auto options =
      Read("quick_start.yaml", {{"host=127.0.0.1 port=5432", Here("host=127.0.0.1")}});

  CatchUpAndCompare(options, 6);
  Generate("shop", "freshet", generate::Schema::kShop);
  CatchUpAndCompare(options, 6);
}

/// A materialization that is added later is filled from the log.
TEST_F(ExamplesRunTest, StoryAWarehouseCollectionsAndOneThatComesLater) {
  StartS3();
  MakeDatabase("flow", "flow_capture");
  Generate("flow", "flow_capture", generate::Schema::kShipping);
  Changes changes = {
      {"host=127.0.0.1", Here("host=127.0.0.1")},
      {"format: parquet\n", fmt::format("format: parquet\n      s3: {{ endpoint: \"{}\" }}\n",
                                        store_->access().endpoint)}};
  CatchUpAndCompare(Read("a_one_command_demo.yaml", changes), 3);
  Generate("flow", "flow_capture", generate::Schema::kShipping);
  changes.emplace_back("\nhttp:", fmt::format("\n  later:\n    duckdb: {{ path: \"{}\" }}\n\nhttp:",
                                              folder_ / "later.duckdb"));

  const auto options = Read("a_one_command_demo.yaml", changes);

  ASSERT_EQ(options.sinks.size(), 3U);
  CatchUpAndCompare(options, 3);
}

TEST_F(ExamplesRunTest, StoryBShopStream) {
  MakeDatabase("shop", "freshet");
  Sql("CREATE TABLE public.customers (id bigint PRIMARY KEY, email text, phone text);"
      "CREATE TABLE public.addresses (id bigint PRIMARY KEY, customer_id bigint REFERENCES "
      "public.customers,"
      " line text);"
      "CREATE TABLE public.products (id bigint PRIMARY KEY, category text, price numeric(10,2));"
      "CREATE TABLE public.inventory_levels (product_id bigint PRIMARY KEY, quantity integer NOT "
      "NULL"
      " DEFAULT 0);"
      "CREATE TABLE public.orders (id bigint PRIMARY KEY, customer_id bigint, total numeric,"
      " created_at timestamptz DEFAULT now());"
      "CREATE TABLE public.line_items (order_id bigint, line integer, product_id bigint, price"
      " numeric(10,2), PRIMARY KEY (order_id, line));"
      "CREATE TABLE public.orders_tmp (id bigint);"  // no key: excluded
      "INSERT INTO public.customers SELECT i, i || '@example.com' FROM generate_series(1, 300) i;"
      "INSERT INTO public.products SELECT i, 'c' || i % 7, i FROM generate_series(1, 50) i;"
      "INSERT INTO public.orders SELECT i, i, i * 1.5 FROM generate_series(1, 300) i;",
      "shop");
  for (const char* table :
       {"customers", "addresses", "products", "inventory_levels", "orders", "line_items"}) {
    Sql(fmt::format("ALTER TABLE public.{} OWNER TO freshet", table), "shop");
  }
  const auto options =
      Read("b_shopstream.yaml",
           {{"host=orders-db.internal", Here("host=127.0.0.1")}, {" sslmode=verify-full", ""}});
  CatchUpAndCompare(options, 6);

  // What hurt them: a column that becomes nullable; and a NaN price, a customer who is forgotten.
  Sql("ALTER TABLE public.inventory_levels ALTER quantity DROP NOT NULL, ADD note text;"
      "INSERT INTO public.inventory_levels SELECT i, NULLIF(i, 3), 'n' FROM generate_series(1, 50) "
      "i;"
      "UPDATE public.products SET price = 'NaN' WHERE id = 7;"
      "DELETE FROM public.customers WHERE id = 42; UPDATE public.orders SET total = total + 1 "
      "WHERE id < 100;",
      "shop");

  CatchUpAndCompare(options, 6);
}

TEST_F(ExamplesRunTest, StoryCRawAndCurrentFromOneCapture) {
  MakeDatabase("warehouse_source", "cdc_user");
  Generate("warehouse_source", "cdc_user", generate::Schema::kShop);
  const auto options =
      Read("c_real_time_warehouse.yaml", {{"host=127.0.0.1", Here("host=127.0.0.1")}});

  CatchUpAndCompare(options, 6);
  Generate("warehouse_source", "cdc_user", generate::Schema::kShop);
  CatchUpAndCompare(options, 6);
}

/// The role may read and replicate, nothing else.
TEST_F(ExamplesRunTest, StoryDReadOnlyRoleIntoALake) {
  StartS3();
  Sql("CREATE ROLE airbyte_user LOGIN REPLICATION");
  Sql("CREATE DATABASE app");
  Sql("CREATE SCHEMA cdc_source;"
      "CREATE TABLE cdc_source.customers (id bigint PRIMARY KEY, name text, city text);"
      "INSERT INTO cdc_source.customers SELECT i, 'n' || i, 'c' FROM generate_series(1, 1000) i;"
      "CREATE PUBLICATION airbyte_pub FOR TABLE cdc_source.customers;"
      "GRANT USAGE ON SCHEMA cdc_source TO airbyte_user;"
      "GRANT SELECT ON cdc_source.customers TO airbyte_user",
      "app");
  const auto options =
      Read("d_lakehouse.yaml",
           {{"host=bastion.internal port=15432", Here("host=127.0.0.1")},
            {"path_style: false", fmt::format("endpoint: \"{}\"", store_->access().endpoint)}});
  CatchUpAndCompare(options, 1);

  Sql("UPDATE cdc_source.customers SET city = 'd' WHERE id % 3 = 0;"
      "DELETE FROM cdc_source.customers WHERE id % 10 = 0",
      "app");

  CatchUpAndCompare(options, 1);
}

TEST_F(ExamplesRunTest, StoryEJsonObjectsNamedAsTopics) {
  StartS3();
  test::WriteText(folder_ / "s3_access_key", store_->access().access_key.Reveal() + "\n");
  test::WriteText(folder_ / "s3_secret_key", store_->access().secret_key.Reveal() + "\n");
  MakeDatabase("app", "cdc");
  Generate("app", "cdc", generate::Schema::kShop);
  Sql("CREATE TABLE public.flyway_schema_history (note text)", "app");  // no key: excluded
  const auto options =
      Read("e_s3_json.yaml", {{"host=127.0.0.1", Here("host=127.0.0.1")},
                              {"# s3:", "s3:"},
                              {"#   ", "  "},
                              {"/run/secrets/", folder_ / ""},
                              {"http://minio.internal:9000", store_->access().endpoint}});

  CatchUpAndCompare(options, 6);

  const auto keys = store_->Keys("topics");
  ASSERT_TRUE(keys.has_value()) << keys.error();
  EXPECT_TRUE(std::any_of(keys->begin(), keys->end(), [](const std::string& key) {
    return key.starts_with("postgres-cdc.public.orders/dt=") && key.ends_with(".jsonl.gz");
  }));
}

}  // namespace
}  // namespace freshet
