#include "node/runtime/seccomp.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string_view>

#include "base/fd.h"
#include "base/hash.h"

namespace knit::node::runtime {
namespace {

constexpr std::string_view kAlways =
    "accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown "
    "chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
    "clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect "
    "copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old "
    "epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit "
    "exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod "
    "fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr "
    "flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate "
    "ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat "
    "get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid "
    "geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid "
    "getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage "
    "getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr inotify_add_watch "
    "inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents "
    "io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill "
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr "
    "link linkat listen listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 "
    "madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod "
    "mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open "
    "mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap "
    "mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep newfstatat "
    "_newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc "
    "pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 "
    "process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 "
    "pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg "
    "recvmmsg_time64 recvmsg remap_file_pages removexattr rename renameat renameat2 "
    "restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo "
    "rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo "
    "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam "
    "sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity "
    "sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget "
    "semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto "
    "set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 "
    "setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 "
    "setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt "
    "setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaction sigaltstack signal "
    "signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend socketcall socketpair splice "
    "stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs sysinfo tee "
    "tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 "
    "timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 "
    "timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname "
    "unlink unlinkat utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid "
    "write writev "
#if defined(__x86_64__)
    "arch_prctl modify_ldt";
#elif defined(__aarch64__)
    "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2";
#endif

/// One of the capabilities allows the calls.
constexpr struct {
  std::string_view capabilities, calls;
} kByCapability[] = {
    {"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
    {"CAP_SYS_ADMIN",
     "clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
     "move_mount name_to_handle_at open_tree pivot_root quotactl quotactl_fd setdomainname "
     "sethostname setns umount umount2 unshare"},
    {"CAP_SYS_ADMIN CAP_BPF", "bpf"},
    {"CAP_SYS_ADMIN CAP_PERFMON", "perf_event_open"},
    {"CAP_SYS_BOOT", "reboot"},
    {"CAP_SYS_CHROOT", "chroot"},
    {"CAP_SYS_MODULE", "delete_module finit_module init_module query_module"},
    {"CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {"CAP_SYS_PACCT", "acct"},
    {"CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"},
    {"CAP_SYS_RAWIO", "ioperm iopl"},
    {"CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"},
    {"CAP_SYS_TTY_CONFIG", "vhangup"},
    {"CAP_SYSLOG", "syslog"},
};

/// Calls that are younger than Debian 12's libseccomp; their number is the same everywhere.
constexpr struct {
  std::string_view name;
  int number;
} kYoung[] = {{"cachestat", 451},
              {"fchmodat2", 452},
              {"map_shadow_stack", 453},
              {"futex_wake", 454},
              {"futex_wait", 455},
              {"futex_requeue", 456},
              {"mseal", 462},
              {"futex_waitv", 449},
              {"set_mempolicy_home_node", 450},
              {"process_mrelease", 448},
              {"memfd_secret", 447},
              {"quotactl_fd", 443}};

constexpr std::uint32_t kNewestCall = 462;  // mseal

constexpr std::uint64_t kNamespaceFlags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
                                          CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                          CLONE_NEWCGROUP;

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    if (end > 0) out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

int young_number(const std::string& call) {
  for (const auto& young : kYoung) {
    if (young.name == call) return young.number;
  }
  return __NR_SCMP_ERROR;
}

/// What libseccomp cannot say: calls that are younger than it are allowed by number (the same on
/// every architecture), and calls that are younger than this profile do not exist, so that C
/// libraries fall back. Large numbers are x32 calls and ARM's own. Source: runc
/// libcontainer/seccomp/patchbpf (ENOSYS for what is newer than the profile)
std::string prelude(const std::vector<int>& allowed) {
  std::vector<sock_filter> code;
  const auto add = [&](int op, std::uint32_t k, std::size_t yes, std::size_t no) {
    code.push_back({static_cast<std::uint16_t>(op), static_cast<std::uint8_t>(yes),
                    static_cast<std::uint8_t>(no), k});
  };
  const std::size_t length = allowed.size() + 4;  // of what follows the first comparison
  add(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr), 0, 0);
  add(BPF_JMP | BPF_JGE | BPF_K, 0xf0000, length - 1, 0);
  for (std::size_t i = 0; i < allowed.size(); ++i) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(allowed[i]), allowed.size() - i + 1,
        0);
  }
  add(BPF_JMP | BPF_JGT | BPF_K, kNewestCall, 0, 2);
  add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
  add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
  return {reinterpret_cast<const char*>(code.data()), code.size() * sizeof(sock_filter)};
}

Error failed(const std::string& what, int result) {
  return errno_error(std::string("seccomp: ") + what, -result);
}

}  // namespace

std::vector<SeccompRule> default_seccomp_rules(const std::vector<std::string>& capabilities) {
  const auto has = [&](std::string_view name) {
    return std::find(capabilities.begin(), capabilities.end(), name) != capabilities.end();
  };
  std::vector<SeccompRule> out{{.calls = words(kAlways)}};
  for (const auto& row : kByCapability) {
    const auto any = words(row.capabilities);
    if (std::any_of(any.begin(), any.end(), has)) out.push_back({.calls = words(row.calls)});
  }
  for (const std::uint64_t persona : {0x0ULL, 0x8ULL, 0x20000ULL, 0x20008ULL, 0xffffffffULL}) {
    out.push_back({.calls = {"personality"}, .arguments = {{.index = 0, .value = persona}}});
  }
  out.push_back(
      {.calls = {"socket"}, .arguments = {{.index = 0, .value = AF_VSOCK, .equal = false}}});
  if (!has("CAP_SYS_ADMIN")) {
    out.push_back(
        {.calls = {"clone"}, .arguments = {{.index = 0, .mask = kNamespaceFlags, .value = 0}}});
    // Its flags cannot be looked at: C libraries fall back to clone.
    out.push_back({.calls = {"clone3"}, .error = ENOSYS});
  }
  return out;
}

Json seccomp_section(const std::vector<SeccompRule>& rules) {
  JsonArray calls;
  for (const SeccompRule& rule : rules) {
    JsonArray names, arguments;
    for (const auto& call : rule.calls) names.emplace_back(call);
    for (const SeccompArgument& a : rule.arguments) {
      JsonObject argument{{"index", a.index}};
      if (a.mask == ~std::uint64_t{0}) {
        argument["value"] = a.value;
        argument["op"] = a.equal ? "SCMP_CMP_EQ" : "SCMP_CMP_NE";
      } else {
        argument["value"] = a.mask;
        argument["valueTwo"] = a.value;
        argument["op"] = "SCMP_CMP_MASKED_EQ";
      }
      arguments.emplace_back(std::move(argument));
    }
    JsonObject out{{"names", std::move(names)},
                   {"action", rule.error == 0 ? "SCMP_ACT_ALLOW" : "SCMP_ACT_ERRNO"}};
    if (rule.error != 0) out["errnoRet"] = rule.error;
    if (!arguments.empty()) out["args"] = std::move(arguments);
    calls.emplace_back(std::move(out));
  }
  return JsonObject{
      {"defaultAction", "SCMP_ACT_ERRNO"},
      {"defaultErrnoRet", EPERM},
#if defined(__x86_64__)
      {"architectures", JsonArray{"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}},
#elif defined(__aarch64__)
      {"architectures", JsonArray{"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"}},
#endif
      {"syscalls", std::move(calls)}};
}

Result<std::string> compile_seccomp(const std::vector<SeccompRule>& rules) {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                                seccomp_release);
  if (!filter) return Error(Code::Internal, "seccomp: cannot make a filter");
#if defined(__x86_64__)
  const std::uint32_t others[] = {SCMP_ARCH_X86, SCMP_ARCH_X32};
#elif defined(__aarch64__)
  const std::uint32_t others[] = {SCMP_ARCH_ARM};
#endif
  for (const std::uint32_t arch : others) {
    if (const int r = seccomp_arch_add(filter.get(), arch); r != 0 && r != -EEXIST) {
      return failed("add an architecture", r);
    }
  }
  // A tree of comparisons instead of a list: eleven steps a call, not hundreds.
  if (const int r = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2); r != 0) {
    return failed("optimize", r);
  }
  std::vector<int> young;
  for (const SeccompRule& rule : rules) {
    const std::uint32_t action =
        rule.error == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(static_cast<std::uint32_t>(rule.error));
    std::vector<scmp_arg_cmp> conditions;
    for (const SeccompArgument& a : rule.arguments) {
      const bool whole = a.mask == ~std::uint64_t{0};
      if (!whole && !a.equal) return Error(Code::Internal, "seccomp: no masked unequal");
      conditions.push_back({a.index,
                            whole ? (a.equal ? SCMP_CMP_EQ : SCMP_CMP_NE) : SCMP_CMP_MASKED_EQ,
                            whole ? a.value : a.mask, whole ? 0 : a.value});
    }
    for (const auto& call : rule.calls) {
      const int number = seccomp_syscall_resolve_name(call.c_str());
      if (number == __NR_SCMP_ERROR) {
        // Young, or another architecture's, which the runtimes pass over too.
        if (const int by_number = young_number(call); by_number != __NR_SCMP_ERROR) {
          young.push_back(by_number);
        }
        continue;
      }
      const int r =
          seccomp_rule_add_array(filter.get(), action, number,
                                 static_cast<unsigned>(conditions.size()), conditions.data());
      // -EDOM: the call is not one of this architecture.
      if (r != 0 && r != -EDOM) return failed("rule for " + call, r);
    }
  }
  const Fd file(::memfd_create("knit-seccomp", MFD_CLOEXEC));
  if (!file) return errno_error("memfd", errno);
  if (const int r = seccomp_export_bpf(filter.get(), file.get()); r != 0) {
    return failed("export", r);
  }
  std::string out(static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END)), '\0');
  if (::pread(file.get(), out.data(), out.size(), 0) != static_cast<ssize_t>(out.size())) {
    return errno_error("read the seccomp filter", errno);
  }
  return prelude(young) + out;
}

Result<std::string> SeccompCache::program(const std::vector<std::string>& capabilities) {
  auto key = capabilities;
  std::sort(key.begin(), key.end());
  const std::lock_guard lock(mutex_);
  if (const auto it = programs_.find(key); it != programs_.end()) return it->second;
  KNIT_TRY(const std::string program, compile_seccomp(default_seccomp_rules(capabilities)));
  if (programs_.size() >= 64) programs_.clear();  // sets of capabilities come from manifests
  return programs_.emplace(std::move(key), hash::base64(program)).first->second;
}

}  // namespace knit::node::runtime
