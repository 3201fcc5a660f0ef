#include "supervisor/store.h"

#include <fcntl.h>

namespace knit::supervisor {
namespace {
constexpr std::size_t kMaxKey = 128;
constexpr std::size_t kPerPod = 8;
}  // namespace

Fd duplicate(int fd) { return Fd(fcntl(fd, F_DUPFD_CLOEXEC, 10)); }

ipc::Process Store::owner(const std::string& key) {
  if (key.empty() || key.size() > kMaxKey) return ipc::Process::None;
  for (const char c : key) {
    if (c <= ' ' || c > '~') return ipc::Process::None;
  }
  const auto slash = key.find('/');
  if (slash == std::string::npos || slash + 1 == key.size()) return ipc::Process::None;
  const std::string_view prefix = std::string_view(key).substr(0, slash);
  if (prefix == "pod") {  // pod/UID/what
    const auto second = key.find('/', slash + 1);
    const bool whole = second != std::string::npos && second > slash + 1 && second + 1 < key.size();
    return whole ? ipc::Process::Node : ipc::Process::None;
  }
  if (prefix == "host") return ipc::Process::Node;
  for (const auto p :
       {ipc::Process::Server, ipc::Process::Node, ipc::Process::Proxy, ipc::Process::Events}) {
    if (prefix == to_string(p)) return p;
  }
  return ipc::Process::None;
}

std::string Store::put(ipc::Process by, const std::string& key, Fd fd) {
  if (owner(key) != by || by == ipc::Process::None) return "key is not under your prefix";
  const auto old = entries_.find(key);
  if (old != entries_.end()) {
    old->second = std::move(fd);
    return {};
  }
  const std::size_t share = by == ipc::Process::Node ? limit_ * 3 / 4 : limit_ / 8;
  if (entries_.size() >= limit_ || counts_[by] >= share) return "too many descriptors are kept";
  if (key.compare(0, 4, "pod/") == 0) {
    const std::string pod = key.substr(0, key.find('/', 4) + 1);
    std::size_t count = 0;
    for (auto it = entries_.lower_bound(pod);
         it != entries_.end() && it->first.compare(0, pod.size(), pod) == 0; ++it) {
      ++count;
    }
    if (count >= kPerPod) return "a pod keeps 8 descriptors at most";
  }
  entries_[key] = std::move(fd);
  ++counts_[by];
  return {};
}

std::string Store::drop(ipc::Process by, const std::string& key) {
  if (owner(key) != by || by == ipc::Process::None) return "key is not under your prefix";
  if (entries_.erase(key) != 0) --counts_[by];
  return {};
}

std::pair<std::vector<std::string>, std::vector<Fd>> Store::next(ipc::Process by,
                                                                 const std::string& after,
                                                                 std::size_t max) const {
  std::pair<std::vector<std::string>, std::vector<Fd>> out;
  for (auto it = entries_.upper_bound(after); it != entries_.end() && out.first.size() < max;
       ++it) {
    if (owner(it->first) != by) continue;
    Fd copy = duplicate(it->second.get());
    if (!copy) continue;
    out.first.push_back(it->first);
    out.second.push_back(std::move(copy));
  }
  return out;
}

}  // namespace knit::supervisor
