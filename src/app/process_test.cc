#include "app/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "app/commands.h"

namespace knit::app {
namespace {

/// Runs `probe` in a confined child; its return value is the exit status.
int confined(ipc::Process self, int (*probe)(pid_t sibling)) {
  const pid_t sibling = fork();
  if (sibling == 0) {
    pause();
    _exit(0);
  }
  const pid_t child = fork();
  if (child == 0) {
    if (!confine(self)) _exit(99);
    _exit(probe(sibling));
  }
  int status = 0;
  waitpid(child, &status, 0);
  kill(sibling, SIGKILL);
  waitpid(sibling, nullptr, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int denied_service_calls(pid_t sibling) {
  const auto denied = [](long r) { return r == -1 && errno == EPERM; };
  char buffer[8];
  iovec here{buffer, sizeof buffer};
  if (!denied(ptrace(PTRACE_ATTACH, sibling, nullptr, nullptr))) return 1;
  if (!denied(syscall(SYS_process_vm_readv, sibling, &here, 1, &here, 1, 0))) return 2;
  if (!denied(mount("none", "/mnt", "tmpfs", 0, nullptr))) return 3;
  if (!denied(syscall(SYS_bpf, 0, nullptr, 0))) return 4;
  if (!denied(syscall(SYS_keyctl, 0, 0, 0, 0, 0))) return 5;
  if (!denied(syscall(SYS_userfaultfd, 0))) return 6;
  if (!denied(syscall(SYS_perf_event_open, nullptr, 0, 0, 0, 0))) return 7;
  if (!denied(syscall(SYS_kexec_load, 0, 0, nullptr, 0))) return 8;
  if (!denied(syscall(SYS_finit_module, -1, "", 0))) return 9;
  char* const argv[] = {nullptr};
  if (!denied(execve("/bin/true", argv, argv))) return 10;
  if (!denied(unshare(CLONE_NEWNET))) return 11;
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 12;
  if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) return 13;
  if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2) return 14;
  // What it lives on still works.
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0 || ::write(fds[0], "x", 1) != 1) return 15;
  const pid_t child = fork();
  if (child == 0) _exit(0);
  return child > 0 && waitpid(child, nullptr, 0) == child ? 0 : 16;
}

int denied_node_calls(pid_t) {
  if (syscall(SYS_kexec_load, 0, 0, nullptr, 0) != -1 || errno != EPERM) return 1;
  if (syscall(SYS_finit_module, -1, "", 0) != -1 || errno != EPERM) return 2;
  if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) return 3;
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0) return 4;  // containers would inherit it
  char* const argv[] = {const_cast<char*>("true"), nullptr};
  execve("/bin/true", argv, argv);
  return 5;
}

TEST(Confine, ServerAndProxyCanReachNobodyElse) {
  EXPECT_EQ(confined(ipc::Process::Server, denied_service_calls), 0);
  EXPECT_EQ(confined(ipc::Process::Proxy, denied_service_calls), 0);
}

TEST(Confine, TheNodeStillRunsContainers) {
  if (geteuid() != 0) GTEST_SKIP() << "the node is root";
  EXPECT_EQ(confined(ipc::Process::Node, denied_node_calls), 0);
}

TEST(EnterProcess, OnlyUnderTheSupervisor) {
  const auto context = enter_process(ipc::Process::Proxy);
  ASSERT_FALSE(context);
  EXPECT_EQ(context.error().message(), "`knit proxy` is started by the supervisor: use `knit up`");
}

TEST(Commands, AllHaveNamesHelpAndAction) {
  for (const auto& c : all_commands()) {
    EXPECT_FALSE(c.name.empty());
    EXPECT_FALSE(c.help.empty()) << c.name;
    EXPECT_TRUE(c.run) << c.name;
  }
}

}  // namespace
}  // namespace knit::app
