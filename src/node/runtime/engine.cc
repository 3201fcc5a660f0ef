#include "node/runtime/engine.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"

namespace knit::node::runtime {

namespace {

constexpr std::string_view kLogModule = "runtime";
constexpr std::size_t kMaxAccountFile = 1 << 20;
/// Source: containers/crun crun.1.md
constexpr const char* kCrunFilter = "run.oci.seccomp_bpf_data";

Result<void> make_dir(const std::string& path, mode_t mode = 0700) {
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return errno_error("mkdir " + path, errno);
  return {};
}

/// A file of the image: no symbolic link of it leads out. Absent, or no plain file: empty.
std::string read_in_root(const std::string& root, const char* path) {
  const Fd dir(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const Fd fd(static_cast<int>(::syscall(SYS_openat2, dir.get(), path, &how, sizeof how)));
  struct stat st{};
  if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  return read_rest(fd.get(), kMaxAccountFile);
}

/// The message of the last line of the runtime's log, without its time and level.
std::string last_words(const std::string& log) {
  std::string text = read_rest(Fd(::open(log.c_str(), O_RDONLY | O_CLOEXEC)).get(), 64 << 10);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const auto line = text.rfind('\n');
  if (line != std::string::npos) text.erase(0, line + 1);
  if (auto dom = json::parse(text); dom && dom->is_object()) {
    text = json::str(*dom, {"msg"});
  }
  return text.substr(0, 1000);
}

int open_beneath(int dir, const char* path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, dir, path, &how, sizeof how));
}

/// Opens `path` below `root`; directories that are missing are made.
Result<Fd> open_sub_path(const std::string& root, const std::string& path) {
  Fd at(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at) return errno_error("open " + root, errno);
  if (Fd whole(open_beneath(at.get(), path.c_str(), O_PATH)); whole) return whole;
  if (errno != ENOENT) return errno_error("subPath \"" + path + "\"", errno);
  for (std::string_view rest = path; !rest.empty();) {
    const auto end = rest.find('/');
    const std::string part(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") return Error(Code::InvalidArgument, "subPath \"" + path + "\" contains '..'");
    if (::mkdirat(at.get(), part.c_str(), 0777) != 0 && errno != EEXIST) {
      return errno_error("make subPath \"" + path + "\"", errno);
    }
    Fd next(open_beneath(at.get(), part.c_str(), O_PATH | O_DIRECTORY));
    if (!next) return errno_error("subPath \"" + path + "\"", errno);
    at = std::move(next);
  }
  return at;
}

/// Makes `at` show the sub path: bound by descriptor, so that nobody can exchange it meanwhile.
Result<void> bind_sub_path(const std::string& root, const std::string& path,
                           const std::string& at) {
  KNIT_TRY(const Fd fd, open_sub_path(root, path));
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return errno_error("subPath \"" + path + "\"", errno);
  if (S_ISDIR(st.st_mode)) {
    KNIT_TRY_VOID(make_dir(at));
  } else {
    KNIT_TRY_VOID(replace_file(at, "", {}));
  }
  const std::string source = "/proc/self/fd/" + std::to_string(fd.get());
  if (::mount(source.c_str(), at.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    return errno_error("bind subPath \"" + path + "\"", errno);
  }
  return {};
}

bool safe_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
             std::string_view::npos;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(EngineSettings settings) {
  if (!settings.run_dir.starts_with('/')) {
    return Error(Code::InvalidArgument, "the run directory must be absolute: " + settings.run_dir);
  }
  if (::access(settings.crun.c_str(), X_OK) != 0 && ::access(settings.runc.c_str(), X_OK) != 0) {
    return Error(Code::Unsupported, "neither " + settings.crun + " nor " + settings.runc +
                                        " is installed; install the package crun");
  }
  KNIT_TRY(CgroupLayout layout, read_cgroup_layout());
  for (const char* dir : {"", "/bundles", "/crun", "/runc", "/hugetlb"}) {
    KNIT_TRY_VOID(make_dir(settings.run_dir + dir));
  }
  const bool fix = layout.hybrid_with_controllers;
  std::unique_ptr<Engine> out(new Engine(std::move(settings), std::move(layout)));
  KNIT_TRY(out->mounts_, MountSpace::create(fix ? out->settings_.run_dir + "/hugetlb" : ""));
  // Runtimes start here, so that what they leave behind lies below Knit's own cgroup. It also holds
  // the root: two Knits share that, and the one that goes must not take it from the other.
  out->leaf_path_ =
      std::string(kCgroupRoot) + "/run-" + std::to_string(hash::fnv32a(out->settings_.run_dir));
  KNIT_TRY_VOID(make_cgroup(out->cgroups_, out->leaf_path_));
  KNIT_TRY(out->leaf_, open_unified(out->cgroups_, out->leaf_path_));
  KNIT_TRY(out->cgroup_, open_unified(out->cgroups_, kCgroupRoot));
  return out;
}

Result<void> Engine::mount_root(const std::string& bundle, const std::vector<std::string>& layers,
                                std::int64_t size) const {
  const std::string rw = bundle + "/rw", links = bundle + "/layers";
  for (const std::string& dir : {bundle, rw, links, bundle + "/rootfs"}) {
    KNIT_TRY_VOID(make_dir(dir));
  }
  const std::string options = "mode=0755,size=" + std::to_string(size);
  if (::mount("tmpfs", rw.c_str(), "tmpfs", MS_NODEV, options.c_str()) != 0) {
    return errno_error("mount tmpfs on " + rw, errno);
  }
  KNIT_TRY_VOID(make_dir(rw + "/upper", 0755));
  KNIT_TRY_VOID(make_dir(rw + "/work"));
  std::string lower;
  for (std::size_t i = layers.size(); i-- > 0;) {  // the topmost comes first
    const std::string name = std::to_string(i);
    if (::symlink(layers[i].c_str(), (links + "/" + name).c_str()) != 0 && errno != EEXIST) {
      return errno_error("symlink to " + layers[i], errno);
    }
    lower += (lower.empty() ? "" : ":") + name;
  }
  if (::chdir(links.c_str()) != 0) return errno_error("chdir " + links, errno);
  const std::string data =
      "lowerdir=" + lower + ",upperdir=" + rw + "/upper,workdir=" + rw + "/work";
  if (::mount("overlay", (bundle + "/rootfs").c_str(), "overlay", 0, data.c_str()) != 0) {
    return errno_error("mount the container's root (overlay)", errno);
  }
  // The container's "/" is what its topmost layer says.
  struct stat st{};
  if (!layers.empty() && ::stat(layers.back().c_str(), &st) == 0) {
    ::chmod((rw + "/upper").c_str(), st.st_mode & 07777);
    if (::chown((rw + "/upper").c_str(), st.st_uid, st.st_gid) != 0) {
      return errno_error("chown the container's root", errno);
    }
  }
  return {};
}

Result<void> Engine::create_with(const std::string& runtime, const ContainerSpec& spec,
                                 const User& user, const std::string& bundle, int out,
                                 int err) const {
  const bool runc = runtime == settings_.runc;
  KNIT_TRY_VOID(replace_file(bundle + "/config.json", json::print(oci_config(spec, user)), {}));
  const std::string log = bundle + "/runtime.log";
  Command command;
  command.argv = {runtime, "--root", settings_.run_dir + (runc ? "/runc" : "/crun"),
                  "--log", log,      "--log-format",
                  "json"};
  if (!runc) command.argv.emplace_back("--cgroup-manager=cgroupfs");
  for (std::string arg : {std::string("create"), std::string("--bundle"), bundle,
                          std::string("--pid-file"), bundle + "/pid", spec.id}) {
    command.argv.push_back(std::move(arg));
  }
  command.out = out;
  command.err = err;
  KNIT_TRY(const Fd cgroup, leaf());
  command.cgroup = cgroup.get();
  KNIT_TRY(const Finished done, run(command));
  if (done.ok()) return {};
  std::string words = last_words(log);
  if (words.empty()) words = runtime + " create failed with status " + std::to_string(done.status);
  return Error(words.find("not found") != std::string::npos ? Code::NotFound : Code::Unavailable,
               std::move(words));
}

Result<Created> Engine::prepare(const ContainerSpec& spec, const std::vector<std::string>& layers,
                                int out, int err) {
  if (!safe_id(spec.id)) return Error(Code::InvalidArgument, "bad container id " + spec.id);
  if (layers.empty()) return Error(Code::InvalidArgument, "the image has no layers");
  const std::string bundle = bundle_of(spec.id);
  Created created;
  const auto r = mounts_->run([&]() -> Result<void> {
    KNIT_TRY_VOID(mount_root(bundle, layers, spec.root_size));
    const std::string root = bundle + "/rootfs";
    KNIT_TRY(const User user,
             resolve_user(spec, read_in_root(root, "etc/passwd"), read_in_root(root, "etc/group")));
    ContainerSpec resolved = spec;
    std::size_t sub_paths = 0;
    for (Mount& m : resolved.mounts) {
      if (m.beneath.empty()) continue;
      const std::string at = bundle + "/sub" + std::to_string(sub_paths++);
      KNIT_TRY_VOID(bind_sub_path(m.source, m.beneath, at));
      m.source = at;
    }
    if (resolved.seccomp == Seccomp::RuntimeDefault) {
      KNIT_TRY(resolved.annotations[kCrunFilter], seccomp_.program(resolved.capabilities));
      resolved.seccomp = Seccomp::Unconfined;  // crun needs no text beside the program
    }
    auto made = create_with(settings_.crun, resolved, user, bundle, out, err);
    if (!made &&
        ((made.error().code() == Code::NotFound && ::access(settings_.crun.c_str(), X_OK) != 0) ||
         made.error().message().find("cgroup") != std::string::npos) &&
        ::access(settings_.runc.c_str(), X_OK) == 0) {
      KNIT_LOG(Warn, "crun refused; using runc", KV("container", spec.id),
               KV("reason", made.error()));
      resolved.seccomp = spec.seccomp;
      resolved.annotations.erase(kCrunFilter);
      made = create_with(settings_.runc, resolved, user, bundle, out, err);
      created.runc = true;
    }
    return made;
  });
  const std::string pid_text = read_file(bundle + "/pid", 32).value_or("");
  if (r) {
    std::from_chars(pid_text.data(), pid_text.data() + pid_text.size(), created.pid);
    created.start_time = start_time(created.pid);
  }
  if (!r || created.pid <= 0) {
    (void)remove(spec.id);
    if (!r) return r.error();
    return Error(Code::Unavailable, "the runtime wrote no pid for container " + spec.id);
  }
  return created;
}

Result<Fd> Engine::leaf() const {
  const std::lock_guard lock(leaf_mutex_);
  if (::faccessat(leaf_.get(), "cgroup.procs", F_OK, 0) != 0) {
    KNIT_TRY_VOID(make_cgroup(cgroups_, leaf_path_));
    KNIT_TRY(leaf_, open_unified(cgroups_, leaf_path_));
  }
  Fd copy(::fcntl(leaf_.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return errno_error("copy a descriptor", errno);
  return copy;
}

bool Engine::is_runc(const std::string& id) const {
  return ::access((settings_.run_dir + "/runc/" + id).c_str(), F_OK) == 0;
}

std::string Engine::uri(const std::string& id) const {
  return (is_runc(id) ? "runc://" : "crun://") + id;
}

Result<Finished> Engine::runtime_command(const std::string& id, std::vector<std::string> args,
                                         Duration timeout) const {
  const bool runc = is_runc(id);
  Command command;
  command.argv = {runc ? settings_.runc : settings_.crun, "--root",
                  settings_.run_dir + (runc ? "/runc" : "/crun")};
  if (!runc) command.argv.emplace_back("--cgroup-manager=cgroupfs");
  for (std::string& a : args) command.argv.push_back(std::move(a));
  command.timeout = timeout;
  KNIT_TRY(const Fd cgroup, leaf());
  command.cgroup = cgroup.get();
  Result<Finished> result = Finished();
  KNIT_TRY_VOID(mounts_->run([&]() -> Result<void> {
    result = run(command);
    return {};
  }));
  return result;
}

Result<void> Engine::start(const std::string& id) {
  if (!safe_id(id)) return Error(Code::InvalidArgument, "bad container id " + id);
  const bool runc = is_runc(id);
  const std::string fifo = settings_.run_dir + (runc ? "/runc/" : "/crun/") + id + "/exec.fifo";
  const Fd fd(::open(fifo.c_str(), (runc ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC));
  bool started = false;
  if (fd && runc) {
    pollfd p{fd.get(), POLLIN, 0};
    char byte = 0;
    started = ::poll(&p, 1, 1000) == 1 && ::read(fd.get(), &byte, 1) == 1;
  } else if (fd) {
    started = ::write(fd.get(), "\0", 1) == 1;
  }
  if (started) {
    ::unlink(fifo.c_str());  // "created" becomes "running"
    return {};
  }
  KNIT_TRY(const Finished done, runtime_command(id, {"start", id}, std::chrono::seconds(30)));
  if (!done.ok()) {
    return Error(Code::Unavailable, "failed to start container: " + done.output.substr(0, 1000));
  }
  return {};
}

Result<void> Engine::signal(pid_t pid, std::uint64_t started, int signo) {
  const Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd || start_time(pid) != started) return Error(Code::NotFound, "the process has ended");
  if (::syscall(SYS_pidfd_send_signal, fd.get(), signo, nullptr, 0) != 0) {
    return errno_error("signal the container", errno);
  }
  return {};
}

Result<void> Engine::remove(const std::string& id) {
  if (!safe_id(id)) return Error(Code::InvalidArgument, "bad container id " + id);
  const std::string bundle = bundle_of(id);
  Result<void> outcome;
  const bool known =
      is_runc(id) || ::access((settings_.run_dir + "/crun/" + id).c_str(), F_OK) == 0;
  if (known) {
    const auto done = runtime_command(id, {"delete", "--force", id}, std::chrono::seconds(30));
    if (!done) {
      outcome = done.error();
    } else if (!done->ok()) {
      outcome = Error(Code::Unavailable, "delete container " + id + ": " + done->output);
    }
  }
  KNIT_TRY_VOID(mounts_->run([&]() -> Result<void> {
    for (std::size_t i = 0; i < 1000; ++i) {
      if (::umount2((bundle + "/sub" + std::to_string(i)).c_str(), MNT_DETACH) != 0) break;
    }
    ::umount2((bundle + "/rootfs").c_str(), MNT_DETACH);
    ::umount2((bundle + "/rw").c_str(), MNT_DETACH);
    std::error_code error;
    std::filesystem::remove_all(bundle, error);
    if (error) return Error(Code::Unavailable, "remove " + bundle + ": " + error.message());
    return {};
  }));
  return outcome;
}

Result<ExecResult> Engine::exec(const std::string& id, const std::vector<std::string>& argv,
                                Duration timeout) {
  if (!safe_id(id)) return Error(Code::InvalidArgument, "bad container id " + id);
  std::vector<std::string> args{"exec", id};
  args.insert(args.end(), argv.begin(), argv.end());
  KNIT_TRY(Finished done, runtime_command(id, std::move(args), timeout));
  const int code = WIFEXITED(done.status) ? WEXITSTATUS(done.status) : 128 + WTERMSIG(done.status);
  return ExecResult{code, std::move(done.output)};
}

Result<void> Engine::mount_memory(const std::string& path, std::int64_t bytes) {
  return mounts_->run([&]() -> Result<void> {
    const std::string options = "mode=0777" + (bytes > 0 ? ",size=" + std::to_string(bytes) : "");
    if (::mount("tmpfs", path.c_str(), "tmpfs", MS_NODEV | MS_NOSUID, options.c_str()) != 0) {
      return errno_error("mount tmpfs on " + path, errno);
    }
    return {};
  });
}

void Engine::unmount(const std::string& path) {
  (void)mounts_->run([&]() -> Result<void> {
    ::umount2(path.c_str(), MNT_DETACH);
    return {};
  });
}

Result<Fd> Engine::keep_mounts(const std::string& dir) {
  Fd tree;
  KNIT_TRY_VOID(mounts_->run([&]() -> Result<void> {
    tree = Fd(static_cast<int>(
        ::syscall(SYS_open_tree, AT_FDCWD, dir.c_str(),
                  static_cast<unsigned>(OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE))));
    if (!tree) return errno_error("keep the mounts below " + dir, errno);
    return {};
  }));
  return tree;
}

Result<void> Engine::restore_mounts(const std::string& dir, int tree) {
  return mounts_->run([&]() -> Result<void> {
    if (::syscall(SYS_move_mount, tree, "", AT_FDCWD, dir.c_str(),
                  static_cast<unsigned>(MOVE_MOUNT_F_EMPTY_PATH)) != 0) {
      return errno_error("mount what was kept at " + dir, errno);
    }
    return {};
  });
}

std::vector<std::string> Engine::list() const {
  std::vector<std::string> out;
  for (const char* dir : {"/crun", "/runc"}) {
    std::error_code error;
    for (const auto& e : std::filesystem::directory_iterator(settings_.run_dir + dir, error)) {
      if (e.is_directory(error)) out.push_back(e.path().filename().string());
    }
  }
  return out;
}

void Engine::remove_cgroups() {
  remove_cgroup(cgroups_, leaf_path_);
  remove_if_empty(cgroups_, kCgroupRoot);
}

}  // namespace knit::node::runtime
