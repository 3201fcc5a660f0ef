#include "supervisor/exits.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace knit::supervisor {
namespace {
constexpr std::size_t kUnclaimed = 4'096;
constexpr std::size_t kMaxExpected = 65'536;
constexpr Duration kStatusWait = std::chrono::seconds(2);

bool valid(const std::string& container) {
  if (container.empty() || container.size() > 128) return false;
  for (const char c : container) {
    if (c <= ' ' || c > '~') return false;
  }
  return true;
}

/// linux/pidfd.h of 6.15, which tells the exit status of a reaped process.
struct PidfdInfo {
  std::uint64_t mask = 1 << 3;  // PIDFD_INFO_EXIT
  std::uint64_t cgroup = 0;
  std::uint32_t ids[11] = {};
  std::int32_t exit_code = 0;
};
bool exit_of(int pidfd, int& status) {
  PidfdInfo info;
  static_assert(sizeof info == 64);
  if (ioctl(pidfd, _IOWR(0xFF, 11, PidfdInfo), &info) != 0 || (info.mask & (1 << 3)) == 0) {
    return false;
  }
  status = info.exit_code;
  return true;
}
}  // namespace

std::uint64_t start_time(pid_t pid, pid_t* parent) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[1'024];
  const ssize_t n = fd ? ::read(fd.get(), text, sizeof text - 1) : -1;
  if (n <= 0) return 0;
  text[n] = '\0';
  const char* at = std::strrchr(text, ')');  // the command may hold anything
  for (int field = 2; at != nullptr && field < 22; ++field) {
    at = std::strchr(at + 1, ' ');
    if (field == 3 && at != nullptr && parent != nullptr) *parent = std::atoi(at + 1);
  }
  return at == nullptr ? 0 : std::strtoull(at + 1, nullptr, 10);
}

Result<void> Exits::open(const std::string& path) {
  journal_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!journal_) return errno_error(path, errno);
  std::string text;
  char chunk[4'096];
  for (ssize_t n; (n = ::read(journal_.get(), chunk, sizeof chunk)) > 0;) {
    text.append(chunk, static_cast<std::size_t>(n));
  }
  std::size_t at = 0;
  for (std::size_t end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const std::string line = text.substr(at, end - at);
    char name[129];
    int status = 0;
    int lost = 0;
    long long when = 0;
    if (std::sscanf(line.c_str(), "exit %128s %d %lld %d", name, &status, &when, &lost) == 4) {
      pending_.push_back({{name, status, WallTime{when}, lost != 0}, 0});
    } else if (std::sscanf(line.c_str(), "ack %128s", name) == 1) {
      std::erase_if(pending_, [&](const Pending& p) { return p.exit.container == name; });
    }
  }
  if (at != text.size()) append("\n");  // a line cut short by a crash
  return {};
}

void Exits::append(const std::string& line) {
  [[maybe_unused]] const auto n = ::write(journal_.get(), line.data(), line.size());
}

void Exits::record(std::string container, int status, WallTime when, bool lost) {
  append("exit " + container + " " + std::to_string(status) + " " + std::to_string(when.ns) + " " +
         (lost ? "1" : "0") + "\n");
  pending_.push_back({{std::move(container), status, when, lost}, 0});
}

std::string Exits::expect(const ipc::Expect& e, WallTime now) {
  if (!valid(e.container) || e.pid <= 1 || e.start_time == 0) return "malformed Expect";
  for (const auto& p : pending_) {
    if (p.exit.container == e.container) return {};  // it is being told
  }
  if (expected_.size() >= kMaxExpected) return "too many processes are expected";
  std::erase_if(expected_, [&](const auto& x) { return x.second.container == e.container; });
  const Id id{e.pid, e.start_time};
  for (auto it = unclaimed_.begin(); it != unclaimed_.end(); ++it) {
    if (it->first != id) continue;
    record(e.container, it->second.first, it->second.second, false);
    unclaimed_.erase(it);
    return {};
  }
  pid_t parent = 0;
  Expected expected{e.container, {}, {}};
  if (start_time(e.pid, &parent) != e.start_time) {
    record(e.container, 137 << 8, now, true);
    return {};
  }
  // The engine may still be its parent: when it ends, the process becomes ours after all.
  if (parent != getpid()) {
    expected.pidfd = Fd(static_cast<int>(syscall(SYS_pidfd_open, e.pid, 0)));
  }
  expected_[id] = std::move(expected);
  return {};
}

void Exits::reaped(pid_t pid, std::uint64_t start, int status, WallTime now) {
  const Id id{pid, start};
  auto node = expected_.extract(id);
  if (!node.empty()) return record(std::move(node.mapped().container), status, now, false);
  if (unclaimed_.size() >= kUnclaimed) unclaimed_.pop_front();
  unclaimed_.push_back({id, {status, now}});
}

const ipc::Exit* Exits::unsent() const {
  for (const auto& p : pending_) {
    if (p.sequence == 0) return &p.exit;
  }
  return nullptr;
}
void Exits::sent(std::uint64_t sequence) {
  for (auto& p : pending_) {
    if (p.sequence != 0) continue;
    p.sequence = sequence;
    return;
  }
}
void Exits::resend() {
  for (auto& p : pending_) p.sequence = 0;
}
void Exits::acked(std::uint64_t sequence) {
  for (auto it = pending_.begin(); it != pending_.end(); ++it) {
    if (it->sequence == 0 || it->sequence != sequence) continue;
    append("ack " + it->exit.container + "\n");
    pending_.erase(it);
    break;
  }
  if (pending_.empty()) [[maybe_unused]]
    const int r = ftruncate(journal_.get(), 0);
}

std::vector<int> Exits::foreign() const {
  std::vector<int> out;
  for (const auto& [id, e] : expected_) {
    if (e.pidfd && e.dead_since.ns == 0) out.push_back(e.pidfd.get());
  }
  return out;
}

bool Exits::check_foreign(WallTime now) {
  bool again = false;
  for (auto it = expected_.begin(); it != expected_.end();) {
    Expected& e = it->second;
    pollfd p{e.pidfd.get(), POLLIN, 0};
    if (!e.pidfd || poll(&p, 1, 0) <= 0) {
      ++it;
      continue;
    }
    if (e.dead_since.ns == 0) e.dead_since = now;
    int status = 137 << 8;
    const bool known = exit_of(e.pidfd.get(), status);  // only once its parent has reaped it
    pid_t parent = 0;
    if (!known && start_time(it->first.first, &parent) != 0 && parent == getpid()) {
      ++it;  // a zombie of ours: reaped() follows
    } else if (known || now - e.dead_since >= kStatusWait) {
      record(e.container, status, e.dead_since, !known);
      it = expected_.erase(it);
    } else {
      again = true;
      ++it;
    }
  }
  return again;
}

}  // namespace knit::supervisor
