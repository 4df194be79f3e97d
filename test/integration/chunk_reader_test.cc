#include "postgres/chunk_reader.h"

#include <gmock/gmock.h>

#include <optional>
#include <thread>

#include "support/shared_postgres.h"

/// Chunks that are read together.
namespace freshet::postgres {
namespace {

class ChunkReaderTest : public test::SharedPostgresTest {
 protected:
  void SetUp() override {
    SharedPostgresTest::SetUp();
    options_.url = url();
    options_.snapshot_workers = 1;
    Run("CREATE TABLE public.a (id int PRIMARY KEY); INSERT INTO public.a VALUES (1), (2);"
        "CREATE TABLE public.b (id int PRIMARY KEY, v text);"
        "CREATE TABLE public.c (id int PRIMARY KEY, v text); INSERT INTO public.c VALUES (7, 'x')");
    auto session = Connection::Connect(url());
    ASSERT_TRUE(session.has_value()) << session.error();
    session_.emplace(*std::move(session));
    reader_.emplace(options_, SystemClock());
  }

  /// One chunk with all of each table; ids from 1 on.
  std::vector<ChunkTask> Tasks() {
    auto tables = session_->Tables();
    EXPECT_TRUE(tables.has_value() && tables->size() == 3);
    std::vector<ChunkTask> tasks;
    for (const CatalogTable& table : *tables) {
      const bool by_key = GetParam() < 14;
      tasks.push_back({.id = std::ssize(tasks) + 1,
                       .table = table,
                       .part = table,
                       .range = {.by_key = by_key, .most_rows = by_key ? 1 : 0}});
    }
    return tasks;
  }

  ChunkEvent Take() {
    while (reader_->Front() == nullptr) std::this_thread::yield();
    ChunkEvent event = std::move(*reader_->Front());
    reader_->Pop();
    return event;
  }

  Options options_;
  std::optional<Catalog> session_;
  std::optional<ChunkReader> reader_;
};

TEST_P(ChunkReaderTest, ChunksReadTogetherComeUnderOneSnapshotOneAfterTheOther) {
  reader_->Start(Tasks());

  std::vector<ChunkOpened> opened;
  for (int64_t id = 1; id <= 3; ++id) {
    const ChunkEvent event = Take();
    ASSERT_TRUE(std::holds_alternative<ChunkOpened>(event));
    opened.push_back(std::get<ChunkOpened>(event));
    EXPECT_EQ(opened.back().id, id);
    EXPECT_EQ(opened.back().snapshot, opened.front().snapshot);
    EXPECT_EQ(opened.back().behind, opened.front().behind);
  }
  EXPECT_EQ(opened[0].blocks, 1);
  EXPECT_EQ(opened[1].blocks, 0);
  EXPECT_NE(opened[0].filenode, opened[1].filenode);
  EXPECT_EQ(opened[2].schema->name().table, "c");
  const int64_t rows[] = {2, 0, 1};
  for (int64_t id = 1; id <= 3; ++id) {
    const ChunkEvent event = Take();
    ASSERT_TRUE(std::holds_alternative<ChunkPiece>(event));
    const auto& piece = std::get<ChunkPiece>(event);
    EXPECT_EQ(piece.id, id);
    EXPECT_EQ(piece.rows.num_rows(), rows[id - 1]);
    ASSERT_TRUE(piece.end.has_value());
    EXPECT_EQ(piece.end->rows, rows[id - 1]);
    EXPECT_TRUE(piece.end->last_key.empty());
  }
}

TEST_P(ChunkReaderTest, PiecesAreCutAtTheLimitAcrossTheChunksOfASession) {
  options_.batch_rows = 1;
  reader_.emplace(options_, SystemClock());
  reader_->Start(Tasks());
  for (int i = 0; i < 3; ++i) Take();

  std::vector<std::pair<int64_t, int64_t>> pieces;
  int ended = 0;
  while (ended < 3) {
    const ChunkEvent event = Take();
    ASSERT_TRUE(std::holds_alternative<ChunkPiece>(event));
    const auto& piece = std::get<ChunkPiece>(event);
    if (piece.rows.num_rows() > 0) pieces.emplace_back(piece.id, piece.rows.num_rows());
    ended += piece.end.has_value() ? 1 : 0;
  }
  EXPECT_THAT(pieces, testing::ElementsAre(std::pair(1, 1), std::pair(1, 1), std::pair(3, 1)));
}

/// To wait for one lock while others are held may be a deadlock, which somebody else has to pay.
TEST_P(ChunkReaderTest, ALockedTableIsNotWaitedForWhileOthersAreLocked) {
  auto other = Connection::Connect(url());
  ASSERT_TRUE(other.has_value());
  ASSERT_TRUE(other->Execute("BEGIN; LOCK TABLE public.b").has_value());

  reader_->Start(Tasks());

  for (int64_t id = 1; id <= 3; ++id) {
    const ChunkEvent event = Take();
    ASSERT_TRUE(std::holds_alternative<ChunkFailed>(event));
    EXPECT_EQ(std::get<ChunkFailed>(event).id, id);
    EXPECT_EQ(std::get<ChunkFailed>(event).error.kind, ErrorKind::kBusy);
    EXPECT_TRUE(std::get<ChunkFailed>(event).together);
  }
  while (reader_->idle() == 0) std::this_thread::yield();
  reader_->Start({Tasks().front()});
  EXPECT_TRUE(std::holds_alternative<ChunkOpened>(Take()));
  EXPECT_TRUE(std::holds_alternative<ChunkPiece>(Take()));
}

TEST_P(ChunkReaderTest, AChunkThatIsReadWithOthersIsReadToItsEndThoughGivenUp) {
  reader_->Start(Tasks());
  reader_->GiveUp(2);

  for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::holds_alternative<ChunkOpened>(Take()));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::holds_alternative<ChunkPiece>(Take()));
}

INSTANTIATE_TEST_SUITE_P(Majors, ChunkReaderTest,
                         ::testing::ValuesIn(test::PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
