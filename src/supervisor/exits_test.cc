#include "supervisor/exits.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>

namespace knit::supervisor {
namespace {

class ExitsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/knit-exits-XXXXXX";
    const Fd fd(mkstemp(name));
    path = name;
  }
  void TearDown() override { unlink(path.c_str()); }
  std::string path;
  const WallTime now{1'000};
};

TEST_F(ExitsTest, SurvivesTheSupervisorUntilAcknowledged) {
  const auto self = start_time(getpid());
  ASSERT_NE(self, 0u);
  {
    Exits exits;
    ASSERT_TRUE(exits.open(path));
    for (const char* c : {"a", "b"}) {
      EXPECT_EQ(exits.expect({c, 999'999'99, 5}, now), "") << "gone already: lost at once";
    }
    ASSERT_NE(exits.unsent(), nullptr);
    EXPECT_EQ(exits.unsent()->container, "a");
    exits.sent(7);
    EXPECT_EQ(exits.unsent()->container, "b");
    exits.sent(8);
    EXPECT_EQ(exits.unsent(), nullptr);
    exits.acked(7);
    exits.acked(7);
    exits.acked(0);
    EXPECT_EQ(exits.pending(), 1u);
  }
  std::ofstream(path, std::ios::app) << "exit torn 1";  // a crash in the middle of a line
  Exits next;
  ASSERT_TRUE(next.open(path));
  ASSERT_EQ(next.pending(), 1u);
  EXPECT_EQ(next.unsent()->container, "b");
  EXPECT_EQ(next.unsent()->status, 137 << 8);
  EXPECT_TRUE(next.unsent()->lost);
  next.sent(1);
  next.resend();
  ASSERT_NE(next.unsent(), nullptr);
  next.sent(2);
  next.acked(2);
  Exits last;
  ASSERT_TRUE(last.open(path));
  EXPECT_EQ(last.pending(), 0u);
}

TEST_F(ExitsTest, RefusesWhatCannotBe) {
  Exits exits;
  ASSERT_TRUE(exits.open(path));
  for (const ipc::Expect& e :
       {ipc::Expect{"", 10, 1}, ipc::Expect{"a b", 10, 1}, ipc::Expect{"a", 1, 1},
        ipc::Expect{"a", -1, 1}, ipc::Expect{"a", 10, 0},
        ipc::Expect{std::string(129, 'x'), 10, 1}}) {
    EXPECT_EQ(exits.expect(e, now), "malformed Expect");
  }
}

TEST_F(ExitsTest, MatchesPidAndStartTime) {
  Exits exits;
  ASSERT_TRUE(exits.open(path));
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  const auto start = start_time(child);
  EXPECT_EQ(exits.expect({"mine", child, start}, now), "");
  exits.reaped(child, start + 1, 0, now);  // another process of that pid
  EXPECT_EQ(exits.unsent(), nullptr);
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  exits.reaped(child, start, status, now);
  ASSERT_NE(exits.unsent(), nullptr);
  EXPECT_EQ(exits.unsent()->status, SIGKILL);
  EXPECT_FALSE(exits.unsent()->lost);
  // Reaped before anybody expected it, then claimed.
  exits.sent(1);
  EXPECT_EQ(exits.expect({"other", child, start + 1}, now), "");
  EXPECT_EQ(exits.unsent()->container, "other");
}

TEST_F(ExitsTest, LearnsTheStatusOfAnothersChild) {
  // After a restart the containers are children of somebody else: here of `keeper`.
  int gate[2];
  int told[2];
  ASSERT_EQ(pipe2(gate, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(told, O_CLOEXEC), 0);
  const pid_t keeper = fork();
  if (keeper == 0) {
    close(gate[1]);
    const pid_t inner = fork();
    if (inner == 0) {
      char c;
      _exit(::read(gate[0], &c, 1) == 0 ? 5 : 6);
    }
    if (::write(told[1], &inner, sizeof inner) < 0) _exit(1);
    waitpid(inner, nullptr, 0);
    if (::write(told[1], &inner, sizeof inner) < 0) _exit(1);
    pause();
  }
  pid_t inner = 0;
  ASSERT_EQ(::read(told[0], &inner, sizeof inner), static_cast<ssize_t>(sizeof inner));
  Exits exits;
  ASSERT_TRUE(exits.open(path));
  EXPECT_EQ(exits.expect({"adopted", inner, start_time(inner)}, now), "");
  EXPECT_EQ(exits.foreign().size(), 1u);
  EXPECT_FALSE(exits.check_foreign(now));
  EXPECT_EQ(exits.pending(), 0u) << "it still runs";
  close(gate[1]);
  ASSERT_EQ(::read(told[0], &inner, sizeof inner), static_cast<ssize_t>(sizeof inner));
  if (exits.check_foreign(now)) {  // a kernel before 6.15 cannot tell: lost after 2 s
    EXPECT_TRUE(exits.check_foreign(now + std::chrono::milliseconds(1'999)));
    EXPECT_FALSE(exits.check_foreign(now + std::chrono::seconds(2)));
  }
  ASSERT_EQ(exits.pending(), 1u);
  EXPECT_EQ(exits.unsent()->status, exits.unsent()->lost ? 137 << 8 : 5 << 8);
  kill(keeper, SIGKILL);
  waitpid(keeper, nullptr, 0);
  for (const int fd : {gate[0], told[0], told[1]}) close(fd);
}

}  // namespace
}  // namespace knit::supervisor
