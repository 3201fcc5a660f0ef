#include "base/files.h"
#include "cli/host.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace knit::cli {
namespace {
using namespace std::chrono_literals;

TEST(Host, ParsesTheSupervisorsState) {
  const auto s = parse_state(
      "supervisor\t10\t99\t1700000000000000000\t0\trunning\t\n"
      "server\t11\t100\t1700000000000000001\t2\tready\tAPI at 1.2.3.4\n"
      "port\trouter-https\t0.0.0.0\t8443\nnonsense\n");
  ASSERT_EQ(s.processes.size(), 2u);
  EXPECT_EQ(s.processes[1].name, "server");
  EXPECT_EQ(s.processes[1].pid, 11);
  EXPECT_EQ(s.processes[1].restarts, 2u);
  EXPECT_EQ(s.processes[1].detail, "API at 1.2.3.4");
  ASSERT_EQ(s.ports.size(), 1u);
  EXPECT_EQ(s.ports[0].port, 8443);
}

TEST(Host, KillsOnlyTheVeryProcessThatWasLeft) {
  char dir[] = "/tmp/knit-host-XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  const auto start = process_start(child);
  ASSERT_NE(start, 0u);
  const auto state = [&](std::uint64_t t) {
    return "server\t" + std::to_string(child) + "\t" + std::to_string(t) + "\t1\t0\tready\t\n";
  };
  ASSERT_TRUE(replace_file(std::string(dir) + "/state", state(start + 1), {}));
  EXPECT_TRUE(kill_leftovers(dir).empty()) << "another process of that pid";
  EXPECT_EQ(waitpid(child, nullptr, WNOHANG), 0);
  ASSERT_TRUE(replace_file(std::string(dir) + "/state", state(start), {}));
  EXPECT_EQ(kill_leftovers(dir).size(), 1u);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  std::filesystem::remove_all(dir);
}

TEST(Host, ThePodRangeIsClaimedOnce) {
  const std::string range = "10.99.0.0/20-" + std::to_string(getpid());
  auto first = claim_pod_range(range);
  ASSERT_TRUE(first);
  const auto second = claim_pod_range(range);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find(range), std::string::npos);
  first->reset();
  EXPECT_TRUE(claim_pod_range(range));
}

TEST(Host, ProgramsAnswerOrFailByName) {
  EXPECT_EQ(run_program({"echo", "hello"}).value_or(""), "hello\n");
  EXPECT_EQ(run_program({"no-such-program-here"}).error().message(),
            "no-such-program-here is not installed");
  const auto failed = run_program({"ls", "/nonexistent"});
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message().find("ls failed: "), std::string::npos);
}

TEST(Host, NothingAnswersWithoutASupervisor) {
  const auto control = connect_control("/nonexistent");
  ASSERT_FALSE(control);
  EXPECT_EQ(control.error().message(),
            "Knit is not running (nothing answers at /nonexistent/control.sock)");
}

TEST(Host, MemoryOfThisProcess) {
  const Memory m = memory_of(getpid());
  EXPECT_GT(m.pss_kib, 0u);
  EXPECT_GE(m.rss_kib, m.pss_kib);
}

}  // namespace
}  // namespace knit::cli
