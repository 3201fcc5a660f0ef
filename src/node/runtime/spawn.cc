#include "node/runtime/spawn.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <thread>

namespace knit::node::runtime {

namespace {

constexpr std::size_t kMaxOutput = 64 << 10;

/// Only async-signal-safe calls: other threads may have held locks at the clone.
[[noreturn]] void become(char* const* argv, int out, int err) {
  const int null = ::open("/dev/null", O_RDWR);
  if (null < 0 || ::dup2(null, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0) ::_exit(126);
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  struct sigaction plain{};
  plain.sa_handler = SIG_DFL;
  for (int s = 1; s < 32; ++s) ::sigaction(s, &plain, nullptr);
  char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  char* const env[] = {path, nullptr};
  ::execve(argv[0], argv, env);
  ::_exit(127);
}

}  // namespace

Result<Finished> run(const Command& command) {
  if (command.argv.empty() || ::access(command.argv[0].c_str(), X_OK) != 0) {
    return Error(Code::NotFound, command.argv.empty() ? "no program to run"
                                                      : "there is no program " + command.argv[0]);
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe", errno);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  std::vector<char*> argv;
  for (const std::string& a : command.argv) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  // Descriptors above 2 in the child, so that dup2 cannot overwrite one that is still needed.
  const int out = command.out >= 0 ? command.out : write_end.get();
  const int err = command.err >= 0 ? command.err : write_end.get();
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  if (command.cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<std::uint64_t>(command.cgroup);
  }
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) return errno_error("start " + command.argv[0], errno);
  if (pid == 0) become(argv.data(), out, err);
  const Fd process(pidfd);
  write_end.reset();
  Finished result;
  const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(command.timeout).count();
  timespec begun{};
  ::clock_gettime(CLOCK_MONOTONIC, &begun);
  bool late = false;
  for (bool open = true;;) {
    timespec at{};
    ::clock_gettime(CLOCK_MONOTONIC, &at);
    const long long spent =
        (at.tv_sec - begun.tv_sec) * 1000LL + (at.tv_nsec - begun.tv_nsec) / 1'000'000;
    pollfd polls[2] = {{process.get(), POLLIN, 0}, {open ? read_end.get() : -1, POLLIN, 0}};
    const int n = ::poll(polls, 2, static_cast<int>(std::max(0LL, wait - spent)));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) {
      late = true;
      ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
      break;
    }
    if (polls[1].revents != 0) {
      char buffer[4096];
      const ssize_t got = ::read(read_end.get(), buffer, sizeof buffer);
      if (got <= 0) open = false;
      if (got > 0 && result.output.size() < kMaxOutput) {
        result.output.append(buffer, static_cast<std::size_t>(got));
      }
      continue;
    }
    if (polls[0].revents != 0) break;
  }
  while (::waitpid(static_cast<pid_t>(pid), &result.status, 0) < 0) {
    if (errno != EINTR) return errno_error("wait for " + command.argv[0], errno);
  }
  if (late) {
    return Error(Code::DeadlineExceeded,
                 command.argv[0] + " did not end within " + go_duration(command.timeout));
  }
  return result;
}

std::uint64_t start_time(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return 0;
  char buffer[2048];
  const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
  if (n <= 0) return 0;
  std::string_view text(buffer, static_cast<std::size_t>(n));
  const auto paren = text.rfind(')');  // the name may hold anything
  if (paren == std::string_view::npos) return 0;
  text = text.substr(paren + 2);
  for (int field = 3; field < 22; ++field) {
    const auto space = text.find(' ');
    if (space == std::string_view::npos) return 0;
    text = text.substr(space + 1);
  }
  std::uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

namespace {

/// Knit may live in a chroot. What setns leads to, Knit's commands and those of the runtimes alike,
/// is the namespace's own root: there `root`, Knit's, is mounted on top. Moves the calling thread
/// to the namespace's root.
Result<void> make_root_of_namespace(const Fd& space, const Fd& root) {
  struct statx mine{}, own{};
  constexpr unsigned kWanted = STATX_INO | STATX_MNT_ID;
  if (::setns(space.get(), CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) !=
          0 ||  // all, none shared any more
      ::statx(root.get(), "", AT_EMPTY_PATH, kWanted, &mine) != 0 ||
      ::statx(AT_FDCWD, "/", 0, kWanted, &own) != 0) {
    return errno_error("make mounts private", errno);
  }
  if (mine.stx_mnt_id == own.stx_mnt_id && mine.stx_ino == own.stx_ino) return {};
  const auto tree_flags =
      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | static_cast<unsigned>(AT_EMPTY_PATH);
  const Fd tree(static_cast<int>(::syscall(SYS_open_tree, root.get(), "", tree_flags)));
  if (!tree ||
      ::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0 ||
      ::setns(space.get(), CLONE_NEWNS) != 0) {
    return errno_error("make Knit's root directory that of the pods' mount namespace", errno);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<MountSpace>> MountSpace::create(const std::string& hugetlb_dir) {
  Result<void> result;
  Fd space;
  std::thread thread([&] {
    result = [&]() -> Result<void> {
      if (::unshare(CLONE_NEWNS) != 0) return errno_error("make a mount namespace", errno);
      space = Fd(::open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC));
      const Fd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!space || !root) return errno_error("open the mount namespace", errno);
      KNIT_TRY_VOID(make_root_of_namespace(space, root));
      if (!hugetlb_dir.empty()) {
        // The controller comes back a moment after a former mount of it has gone.
        int error = EBUSY;
        for (int attempt = 0; attempt < 100 && error == EBUSY; ++attempt) {
          if (attempt > 0) ::poll(nullptr, 0, 20);
          error = ::mount("none", hugetlb_dir.c_str(), "cgroup", 0, "hugetlb") == 0 ? 0 : errno;
        }
        if (error != 0) return errno_error("mount the hugetlb controller as v1", error);
      }
      return {};
    }();
  });
  thread.join();
  KNIT_TRY_VOID(std::move(result));
  return std::unique_ptr<MountSpace>(new MountSpace(std::move(space)));
}

Result<void> MountSpace::run(const std::function<Result<void>()>& work) const {
  Result<void> result;
  std::thread thread([&] {
    if (::unshare(CLONE_FS) != 0 || ::setns(space_.get(), CLONE_NEWNS) != 0) {
      result = errno_error("enter the mount namespace of the pods", errno);
      return;
    }
    result = work();
  });
  thread.join();
  return result;
}

}  // namespace knit::node::runtime
