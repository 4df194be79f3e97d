#include "base/queue.h"

#include <gtest/gtest.h>

#include <thread>

namespace freshet {
namespace {

using std::chrono::nanoseconds;

TEST(QueueTest, ItemsComeOutInOrder) {
  Queue<int> queue(3);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(queue.Push(i, {}));

  EXPECT_EQ(queue.Pop({}), 0);
  EXPECT_EQ(queue.TryPop(), 1);
  EXPECT_EQ(queue.PopFor(nanoseconds(0), {}), 2);
  EXPECT_EQ(queue.TryPop(), std::nullopt);
}

TEST(QueueTest, FullQueueTakesNothingAndKeepsTheItemOutside) {
  Queue<int> queue(1);
  ASSERT_TRUE(queue.Push(1, {}));

  EXPECT_FALSE(queue.PushFor(2, nanoseconds(0), {}));
  EXPECT_EQ(queue.size(), 1U);
}

TEST(QueueTest, PushWaitsUntilThereIsRoom) {
  Queue<int> queue(1);
  ASSERT_TRUE(queue.Push(1, {}));
  std::jthread pusher([&] { EXPECT_TRUE(queue.Push(2, {})); });

  EXPECT_EQ(queue.Pop({}), 1);
  EXPECT_EQ(queue.Pop({}), 2);
}

TEST(QueueTest, StopEndsEveryWait) {
  Queue<int> queue(1);
  std::stop_source stop;
  std::jthread popper([&] { EXPECT_EQ(queue.Pop(stop.get_token()), std::nullopt); });

  stop.request_stop();
  popper.join();
  ASSERT_TRUE(queue.Push(1, {}));
  EXPECT_FALSE(queue.Push(2, stop.get_token()));
}

TEST(QueueTest, CloseLetsWhatIsThereOut) {
  Queue<int> queue(2);
  ASSERT_TRUE(queue.Push(1, {}));

  queue.Close();

  EXPECT_FALSE(queue.Push(2, {}));
  EXPECT_EQ(queue.Pop({}), 1);
  EXPECT_EQ(queue.Pop({}), std::nullopt);
}

}  // namespace
}  // namespace freshet
