#include "app/process.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "base/log.h"
#include "ipc/frame.h"
#include "ipc/launch.h"

namespace knit::app {
namespace {
constexpr std::string_view kLogModule = "process";

#if defined(__x86_64__)
constexpr std::uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArch = AUDIT_ARCH_AARCH64;
#else
#error "add the audit architecture of this machine"
#endif

/// Nobody needs these, and no container may use them either.
constexpr long kDeniedToAll[] = {
    SYS_kexec_load,      SYS_init_module, SYS_finit_module,   SYS_delete_module, SYS_reboot,
    SYS_swapon,          SYS_swapoff,     SYS_acct,           SYS_settimeofday,  SYS_clock_settime,
    SYS_kexec_file_load, SYS_nfsservctl,  SYS_lookup_dcookie,
};
/// Server and proxy: no other process, no kernel surface, no mounts, no programs.
constexpr long kDeniedToServices[] = {
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_setns,
    SYS_unshare,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsmount,
    SYS_fsconfig,
    SYS_fspick,
    SYS_open_tree,
    SYS_mount_setattr,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_execve,
    SYS_execveat,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_personality,
    SYS_quotactl,
    SYS_syslog,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_vhangup,
    SYS_mknodat,
    SYS_fanotify_init,
    SYS_process_madvise,
#if defined(__x86_64__)
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
    SYS_uselib,
    SYS_mknod,
#endif
};

void statement(std::vector<sock_filter>& out, std::uint16_t code, std::uint32_t k) {
  out.push_back(sock_filter{code, 0, 0, k});
}
void jump(std::vector<sock_filter>& out, std::uint16_t code, std::uint32_t k, std::uint8_t yes,
          std::uint8_t no) {
  out.push_back(sock_filter{code, yes, no, k});
}

std::vector<sock_filter> filter_for(ipc::Process self) {
  constexpr std::uint32_t kDeny = SECCOMP_RET_ERRNO | EPERM;
  std::vector<sock_filter> out;
  statement(out, BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  jump(out, BPF_JMP | BPF_JEQ | BPF_K, kArch, 1, 0);
  // Another architecture's numbers mean other calls. A container may be 32-bit; services may not.
  statement(out, BPF_RET | BPF_K,
            self == ipc::Process::Node ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS);
  statement(out, BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
#if defined(__x86_64__)
  jump(out, BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1);  // x32
  statement(out, BPF_RET | BPF_K, kDeny);
#endif
  const auto deny = [&out](long number) {
    jump(out, BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1);
    statement(out, BPF_RET | BPF_K, kDeny);
  };
  for (const long n : kDeniedToAll) deny(n);
  if (self != ipc::Process::Node) {
    for (const long n : kDeniedToServices) deny(n);
  }
  statement(out, BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  return out;
}

Result<void> drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) return errno_error("drop capabilities", errno);
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  return {};
}

log::Level level_of(const std::string& name) {
  if (name == "debug") return log::Level::Debug;
  if (name == "warn") return log::Level::Warn;
  return name == "error" ? log::Level::Error : log::Level::Info;
}

}  // namespace

Result<void> confine(ipc::Process self) {
  const bool node = self == ipc::Process::Node;
  if (!node) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_error("no_new_privs", errno);
    KNIT_TRY_VOID(drop_capabilities());
  }
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno_error("dumpable", errno);
  auto filter = filter_for(self);
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  // Of every thread, should a library have made one already.
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) {
    return errno_error("seccomp", errno);
  }
  return {};
}

Result<ProcessContext> enter_process(ipc::Process self) {
  auto bytes = ipc::read_sealed(ipc::kSettingsFd, ipc::kMaxBody);
  if (!bytes) {
    return Error(Code::InvalidArgument, "`knit " + std::string(to_string(self)) +
                                            "` is started by the supervisor: use `knit up`");
  }
  KNIT_TRY(auto settings, codec::decode<cli::Settings>(*bytes));
  close(ipc::kSettingsFd);
  fcntl(ipc::kChannelFd, F_SETFD, FD_CLOEXEC);
  log::set_process(std::string(to_string(self)));
  log::set_level(level_of(settings.log_level));
  prctl(PR_SET_NAME, ("knit-" + std::string(to_string(self))).c_str());
  KNIT_TRY_VOID(confine(self));
  KNIT_TRY(auto loop, io::RealLoop::create());
  ProcessContext out{std::move(settings), Fd(ipc::kChannelFd), std::move(loop)};
  log_start(out, self);
  return out;
}

io::Task<Result<std::unique_ptr<io::Stream>>> open_api(io::Loop* loop, ipc::Channel* server,
                                                       ipc::Process self) {
  if (server == nullptr) co_return Error(Code::Unavailable, "the server is not there");
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    co_return errno_error("socketpair", errno);
  }
  Fd mine(ends[0]);
  std::vector<Fd> theirs;
  theirs.emplace_back(ends[1]);
  server->send(ipc::ApiOpen{"system:knit:" + std::string(to_string(self))}, std::move(theirs));
  co_return io::socket_stream(*loop, std::move(mine));
}

void log_start(const ProcessContext&, ipc::Process self) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  KNIT_LOG(Info, "started", KV("process", to_string(self)), KV("build", KNIT_BUILD),
           KV("pid", static_cast<int>(getpid())), KV("uid", static_cast<unsigned>(getuid())),
           KV("descriptors", static_cast<std::uint64_t>(files.rlim_cur)));
}

}  // namespace knit::app
