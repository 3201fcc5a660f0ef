#include "node/runtime/seccomp.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace knit::node::runtime {
namespace {

/// What the call answers under the program: 0 or errno, in a child.
int outcome(const std::string& program, long number, long a, long b, long c) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    std::vector<sock_filter> code(program.size() / sizeof(sock_filter));
    std::memcpy(code.data(), program.data(), program.size());
    const sock_fprog filter{static_cast<unsigned short>(code.size()), code.data()};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) ::_exit(200);
    const long r = ::syscall(number, a, b, c, 0, 0);
    ::_exit(r >= 0 ? 0 : errno);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string program_for(const std::vector<std::string>& capabilities) {
  auto made = compile_seccomp(default_seccomp_rules(capabilities));
  EXPECT_TRUE(made.has_value());
  return made.value_or("");
}

// What containerd and Docker document: docs.docker.com/engine/security/seccomp, "Significant
// syscalls blocked by the default profile".
TEST(Seccomp, AllowsAndRefusesAsTheDefaultProfileOfContainerRuntimes) {
  const std::string plain = program_for({"CAP_CHOWN"});
  ASSERT_FALSE(plain.empty());
  const struct {
    const char* name;
    long number, a, b, c;
    int want;
  } rows[] = {
      {"getpid", SYS_getpid, 0, 0, 0, 0},
      {"unshare", SYS_unshare, CLONE_NEWUSER, 0, 0, EPERM},
      {"mount", SYS_mount, 0, 0, 0, EPERM},
      {"setns", SYS_setns, -1, 0, 0, EPERM},
      {"keyctl", SYS_keyctl, 0, -3, 0, EPERM},
      {"add_key", SYS_add_key, 0, 0, 0, EPERM},
      {"bpf", SYS_bpf, 0, 0, 0, EPERM},
      {"perf_event_open", SYS_perf_event_open, 0, 0, 0, EPERM},
      {"userfaultfd", SYS_userfaultfd, 0, 0, 0, EPERM},
      {"io_uring_setup", SYS_io_uring_setup, 1, 0, 0, EPERM},
      {"open_by_handle_at", SYS_open_by_handle_at, -1, 0, 0, EPERM},
      {"kexec_load", SYS_kexec_load, 0, 0, 0, EPERM},
      {"reboot", SYS_reboot, 0, 0, 0, EPERM},
      {"personality: the usual", SYS_personality, PER_LINUX, 0, 0, 0},
      {"personality: another", SYS_personality, ADDR_COMPAT_LAYOUT, 0, 0, EPERM},
      {"socket: unix", SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0},
      {"socket: vsock", SYS_socket, AF_VSOCK, SOCK_STREAM, 0, EPERM},
      {"clone with a namespace", SYS_clone, CLONE_NEWUSER, 0, 0, EPERM},
      {"clone3", SYS_clone3, 0, 0, 0, ENOSYS},
      {"fchmodat2: younger than libseccomp", 452, -1, 0, 0, EFAULT},
      {"cachestat: younger than libseccomp", 451, -1, 0, 0, EBADF},
      {"mseal: the youngest", 462, 1, 0, 0, EINVAL},
      {"younger than the profile", 463, -1, 0, 0, ENOSYS},
      {"younger than the profile", 999, -1, 0, 0, ENOSYS},
      {"not allowed, and old", 442, -1, 0, 0, EPERM},
  };
  for (const auto& row : rows) {
    const int got = outcome(plain, row.number, row.a, row.b, row.c);
    // A kernel may not have the call at all.
    if (row.number > 442 && got == ENOSYS) continue;
    EXPECT_EQ(got, row.want) << row.name;
  }
}

TEST(Seccomp, CapabilitiesOpenTheirCalls) {
  const struct {
    const char* capability;
    long number, a;
    int refused, allowed;
  } rows[] = {
      {"CAP_SYS_ADMIN", SYS_setns, -1, EPERM, EBADF},
      {"CAP_SYS_ADMIN", SYS_clone3, 0, ENOSYS, EINVAL},
      {"CAP_DAC_READ_SEARCH", SYS_open_by_handle_at, -1, EPERM, EFAULT},
      {"CAP_SYS_PTRACE", SYS_kcmp, -1, EPERM, ESRCH},
      {"CAP_SYS_PACCT", SYS_acct, -1, EPERM, EFAULT},
  };
  for (const auto& row : rows) {
    if (::geteuid() != 0 && row.number == SYS_acct) continue;  // EPERM for another reason
    EXPECT_EQ(outcome(program_for({}), row.number, row.a, 0, 0), row.refused) << row.capability;
    EXPECT_EQ(outcome(program_for({row.capability}), row.number, row.a, 0, 0), row.allowed)
        << row.capability;
  }
}

TEST(Seccomp, TheTextSaysTheSame) {
  const Json section = seccomp_section(default_seccomp_rules({}));
  EXPECT_EQ(json::str(section, {"defaultAction"}), "SCMP_ACT_ERRNO");
  std::size_t allowed = 0, clone = 0;
  for (const Json& rule : json::array(section, {"syscalls"})) {
    if (json::str(rule, {"action"}) == "SCMP_ACT_ALLOW") ++allowed;
    if (json::array(rule, {"names"})[0] != Json("clone")) continue;
    ++clone;
    const Json& argument = json::array(rule, {"args"})[0];
    EXPECT_EQ(json::i64(argument, {"value"}), 0x7E020000);
    EXPECT_EQ(json::i64(argument, {"valueTwo"}), 0);
    EXPECT_EQ(json::str(argument, {"op"}), "SCMP_CMP_MASKED_EQ");
  }
  EXPECT_EQ(allowed, 8U);  // always, five personalities, socket, clone
  EXPECT_EQ(clone, 1U);
}

TEST(Seccomp, EachSetOfCapabilitiesIsCompiledOnce) {
  SeccompCache cache;
  const auto first = cache.program({"CAP_CHOWN", "CAP_KILL"});
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(*cache.program({"CAP_KILL", "CAP_CHOWN"}), *first);
  EXPECT_NE(*cache.program({"CAP_SYS_ADMIN"}), *first);
}

}  // namespace
}  // namespace knit::node::runtime
