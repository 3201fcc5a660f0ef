// Upstream connections of one worker: the stock of unconnected sockets that the node made inside
// each pod's network namespace, and idle kept-alive connections per pod port.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/conn.h"

namespace knit::proxy {

class Sockets final : public Conn::Owner {
 public:
  /// `want(uid, level)`: the stock of a pod fell below half; runs on this loop.
  Sockets(io::Loop& loop, std::function<void(const std::string& uid, std::uint32_t level)> want);
  ~Sockets() override;

  void add(const std::string& uid, std::vector<Fd> sockets);
  /// The pod's address as the node says it: used when config does not have it yet.
  void learn(const std::string& uid, std::string ip) { pods_[uid].ip = std::move(ip); }
  /// Closes everything of the pod; waiters are told.
  void forget(const std::string& uid);

  struct Taken {
    std::unique_ptr<Conn> conn;  // Open (reused) or Connecting; nullptr: no socket in stock
    bool reused = false;
    bool unknown = false;  // no such pod here, and the node has had time to say so
  };
  enum class Reuse { Allowed, Fresh };
  Taken take(const std::string& uid, const std::string& ip, std::uint16_t port, Reuse reuse);
  /// Runs `ready` once, on this loop, when the pod has stock again or is gone. Destroy to cancel.
  class Wait {
   public:
    Wait() = default;
    explicit operator bool() const { return alive_ != nullptr; }
    void cancel() { alive_.reset(); }

   private:
    friend class Sockets;
    std::shared_ptr<std::function<void()>> alive_;
  };
  Wait wait(const std::string& uid, std::function<void()> ready);

  /// A connection whose last exchange is complete and that both sides may reuse.
  void keep(const std::string& uid, std::uint16_t port, std::unique_ptr<Conn> conn);
  /// Any other: the socket is disconnected and goes back to the stock.
  void recycle(const std::string& uid, std::unique_ptr<Conn> conn);
  /// Closes idle connections that were not used since `before`.
  void sweep(Instant before);
  std::size_t idle() const;
  std::size_t stock(const std::string& uid) const;

  void on_conn(Conn& conn) override;  // of an idle connection: the app closed it

 private:
  struct Idle {
    std::unique_ptr<Conn> conn;
    Instant since;
  };
  struct Pod {
    std::string ip;
    std::vector<Fd> stock;
    std::uint32_t level = 4, asked_at = 0;
    bool asked = false;
    std::map<std::uint16_t, std::deque<Idle>> idle;
    std::deque<std::weak_ptr<std::function<void()>>> waiting;
  };
  void ask(const std::string& uid, Pod& pod);
  void wake(Pod& pod);

  io::Loop& loop_;
  std::function<void(const std::string&, std::uint32_t)> want_;
  std::map<std::string, Pod, std::less<>> pods_;
  const Instant born_;
  bool told_ = false;  // of a pod that is gone: the node has told all that there are
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

/// A non-blocking connect; `fd` may be one of a pod's stock or a new one.
std::unique_ptr<Conn> connect_conn(io::Loop& loop, Fd fd, const std::string& ip,
                                   std::uint16_t port);

}  // namespace knit::proxy
