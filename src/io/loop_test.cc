#include "io/loop.h"

#include "io/real_loop.h"
#include "io/sim_loop.h"
#include "io/stream.h"

namespace knit::io {
namespace {
using namespace std::chrono_literals;

Task<void> sleeper(Loop& loop, Duration d, int* out) {
  co_await sleep_for(loop, d);
  *out += 1;
}

TEST(SimLoop, RunsTimersInOrderAndTasksOnTime) {
  SimLoop loop;
  int woken = 0;
  loop.spawn(sleeper(loop, 300s, &woken));
  loop.advance(300s - 1ns);
  EXPECT_EQ(woken, 0);
  loop.advance(1ns);
  EXPECT_EQ(woken, 1);
}

TEST(SimLoop, OneStepAtATimeAndStepsOfTheClock) {
  SimLoop loop;
  std::string seen;
  loop.post([&] {
    seen += "a";
    loop.post([&] { seen += "c"; });
  });
  loop.post([&] { seen += "b"; });
  const auto timer = loop.after(std::chrono::seconds(1), [&] { seen += "d"; });
  EXPECT_TRUE(loop.run_one());
  EXPECT_EQ(seen, "a");
  EXPECT_TRUE(loop.run_one());
  EXPECT_TRUE(loop.run_one());
  EXPECT_EQ(seen, "abc");
  EXPECT_FALSE(loop.run_one()) << "the timer is not due";
  const auto wall = loop.wall_now();
  loop.step_wall(std::chrono::hours(-2));
  EXPECT_EQ(loop.wall_now(), wall - std::chrono::hours(2));
  loop.settle();
  EXPECT_EQ(seen, "abc");
  loop.advance(std::chrono::seconds(1));
  EXPECT_EQ(seen, "abcd");
  EXPECT_EQ(loop.wall_now(), wall - std::chrono::hours(2) + std::chrono::seconds(1));
}

TEST(SimLoop, DestroyingAScopeCancelsTheTask) {
  SimLoop loop;
  int woken = 0;
  {
    const auto scope = loop.spawn_scoped(sleeper(loop, 1s, &woken));
    EXPECT_TRUE(scope.running());
  }
  loop.advance(10s);
  EXPECT_EQ(woken, 0);
}

Task<void> echo(std::unique_ptr<Stream> stream) {
  while (true) {
    auto data = co_await stream->read(1024);
    if (!data || data->empty()) co_return;
    (void)co_await stream->write(std::move(*data));
  }
}
Task<void> ask(Loop& loop, Endpoint to, std::string* answer, RealLoop* stop) {
  auto stream = co_await connect_tcp(loop, to, 1s);
  if (stream) {
    (void)co_await (*stream)->write("hello");
    auto got = co_await (*stream)->read(100);
    if (got) *answer = *got;
  }
  stop->stop();
}

TEST(RealLoop, EchoOverTcpAndBlockingWork) {
  auto loop = RealLoop::create().value();
  auto listener = Listener::tcp(
      *loop, {"127.0.0.1", 0}, [&](std::unique_ptr<Stream> s) { loop->spawn(echo(std::move(s))); });
  ASSERT_TRUE(listener);
  std::string answer;
  loop->spawn(ask(*loop, (*listener)->local(), &answer, loop.get()));
  loop->run();
  EXPECT_EQ(answer, "hello");
}

Task<void> compute(Loop& loop, int* out, RealLoop* stop) {
  *out = co_await blocking<int>(loop, [] { return 42; });
  stop->stop();
}
TEST(RealLoop, BlockingReturnsOnTheLoop) {
  auto loop = RealLoop::create(2).value();
  int value = 0;
  loop->spawn(compute(*loop, &value, loop.get()));
  loop->run();
  EXPECT_EQ(value, 42);
}

}  // namespace
}  // namespace knit::io
