// One worker's connections to roles that run inside the events process, kept by role and by the
// hop list that they began with.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "proxy/conn.h"

namespace knit::proxy {

class RolePool final : public Conn::Owner {
 public:
  explicit RolePool(io::Loop& loop) : loop_(loop) {}
  ~RolePool() override;

  void set_run_dir(std::string dir) { run_dir_ = std::move(dir); }
  /// Whether the role of this pod is served now.
  void set_up(const std::string& uid, bool up);
  bool up(const std::string& uid) const { return up_.contains(uid); }

  struct Taken {
    std::unique_ptr<Conn> conn;  // nullptr: nobody listens, or too many wait
    bool reused = false;
  };
  enum class Reuse { Allowed, Fresh };
  /// A new one begins with `opening`, already in its buffer.
  Taken take(const std::string& uid, const std::string& opening, Reuse reuse);
  /// A connection whose last exchange is complete.
  void keep(const std::string& uid, const std::string& opening, std::unique_ptr<Conn> conn);
  void drop(std::unique_ptr<Conn> conn);
  void sweep(Instant before);
  std::size_t idle() const;

  void on_conn(Conn& conn) override;  // of an idle connection: events closed it

 private:
  struct Idle {
    std::unique_ptr<Conn> conn;
    Instant since;
  };
  io::Loop& loop_;
  std::string run_dir_;
  std::set<std::string, std::less<>> up_;
  std::map<std::string, std::deque<Idle>> idle_;  // uid, a line feed, opening
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace knit::proxy
