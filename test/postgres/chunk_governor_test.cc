#include "postgres/chunk_governor.h"

#include <gmock/gmock.h>

namespace freshet::postgres {
namespace {

using ::testing::HasSubstr;

class ChunkGovernorTest : public ::testing::Test {
 protected:
  ChunkGovernorTest() { options_.snapshot_workers = 4; }

  Options options_;
};

TEST_F(ChunkGovernorTest, AllWorkersReadWhileTheSourceIsWell) {
  const ChunkAllowance allowed = AllowChunks(options_, {});

  EXPECT_EQ(allowed.chunks, 4);
  EXPECT_EQ(allowed.reason, "");
}

TEST_F(ChunkGovernorTest, OneReadsWhileTheStreamFallsBehind) {
  const int64_t limit = options_.snapshot_pause_stream_lag.bytes;

  EXPECT_EQ(AllowChunks(options_, {.stream_lag_bytes = limit / 4}).chunks, 4);
  EXPECT_EQ(AllowChunks(options_, {.stream_lag_bytes = limit / 4 + 1}).chunks, 1);
  EXPECT_EQ(AllowChunks(options_, {.stream_lag_bytes = limit}).chunks, 1);
}

TEST_F(ChunkGovernorTest, EachLimitPausesAndNamesItsOption) {
  const ChunkAllowance stream =
      AllowChunks(options_, {.stream_lag_bytes = options_.snapshot_pause_stream_lag.bytes + 1});
  const ChunkAllowance replica = AllowChunks(options_, {.replica_lag = std::chrono::hours(1)});
  const ChunkAllowance xmin =
      AllowChunks(options_, {.xmin_age = options_.snapshot_pause_xmin_age + 1});
  const ChunkAllowance full = AllowChunks(options_, {.output_full = true});

  for (const auto* allowed : {&stream, &replica, &xmin, &full}) EXPECT_EQ(allowed->chunks, 0);
  EXPECT_THAT(stream.reason, HasSubstr("`snapshot_pause_stream_lag`"));
  EXPECT_THAT(replica.reason, HasSubstr("`snapshot_pause_replica_lag`"));
  EXPECT_THAT(xmin.reason, HasSubstr("`snapshot_pause_xmin_age`"));
  EXPECT_THAT(full.reason, HasSubstr("log"));
}

}  // namespace
}  // namespace freshet::postgres
