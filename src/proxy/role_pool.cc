#include "proxy/role_pool.h"

#include <algorithm>

#include "ipc/roles.h"
#include "proxy/roles.h"

namespace knit::proxy {
namespace {
constexpr std::size_t kMaxIdle = 100;     // of one role and hop list
constexpr std::size_t kMaxKinds = 1'000;  // of roles and hop lists together
}  // namespace

RolePool::~RolePool() {
  for (auto& [key, list] : idle_) {
    for (auto& idle : list) idle.conn->set_owner(nullptr);
  }
}

void RolePool::set_up(const std::string& uid, bool up) {
  if (up) {
    up_.insert(uid);
    return;
  }
  up_.erase(uid);
  for (auto it = idle_.lower_bound(uid + "\n"); it != idle_.end() && it->first.starts_with(uid);) {
    for (auto& idle : it->second) drop(std::move(idle.conn));
    it = idle_.erase(it);
  }
}

RolePool::Taken RolePool::take(const std::string& uid, const std::string& opening, Reuse reuse) {
  const auto found = idle_.find(uid + "\n" + opening);
  while (reuse == Reuse::Allowed && found != idle_.end() && !found->second.empty()) {
    auto conn = std::move(found->second.back().conn);
    found->second.pop_back();
    conn->set_owner(nullptr);
    if (!conn->eof() && !conn->failed() && conn->input().empty()) return {std::move(conn), true};
    drop(std::move(conn));
  }
  auto conn = connect_role(loop_, ipc::role_ingress_path(run_dir_, uid));
  if (conn) conn->write(opening);
  return {std::move(conn), false};
}

void RolePool::keep(const std::string& uid, const std::string& opening,
                    std::unique_ptr<Conn> conn) {
  const std::string key = uid + "\n" + opening;
  const bool usable = !conn->eof() && !conn->failed() && conn->input().empty() &&
                      conn->pending() == 0 && up_.contains(uid);
  if (!usable || (idle_.size() >= kMaxKinds && !idle_.contains(key))) {
    return drop(std::move(conn));
  }
  auto& list = idle_[key];
  if (list.size() >= kMaxIdle) return drop(std::move(conn));
  conn->set_owner(this);
  list.push_back({std::move(conn), loop_.now()});
}

void RolePool::drop(std::unique_ptr<Conn> conn) {
  conn->set_owner(nullptr);
  // The caller may be inside the connection's own callback.
  loop_.post([c = std::shared_ptr<Conn>(std::move(conn))] {});
}

void RolePool::sweep(Instant before) {
  for (auto it = idle_.begin(); it != idle_.end();) {
    auto& list = it->second;
    while (!list.empty() && list.front().since < before) {
      drop(std::move(list.front().conn));
      list.pop_front();
    }
    it = list.empty() ? idle_.erase(it) : std::next(it);
  }
}

std::size_t RolePool::idle() const {
  std::size_t n = 0;
  for (const auto& [key, list] : idle_) n += list.size();
  return n;
}

void RolePool::on_conn(Conn& conn) {
  loop_.post([this, target = &conn, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    for (auto& [key, list] : idle_) {
      const auto it = std::find_if(list.begin(), list.end(),
                                   [&](const Idle& i) { return i.conn.get() == target; });
      if (it == list.end()) continue;
      if (!target->eof() && !target->failed() && target->input().empty()) return;
      auto owned = std::move(it->conn);
      list.erase(it);
      return drop(std::move(owned));
    }
  });
}

}  // namespace knit::proxy
