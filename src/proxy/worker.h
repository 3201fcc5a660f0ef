// One worker: a loop, its connections, its upstream sockets. Nothing is shared between workers but
// immutable Tables and what `Shared` holds. All methods run on the worker's loop.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "proxy/road.h"
#include "proxy/role_pool.h"
#include "proxy/session.h"
#include "proxy/shared.h"
#include "proxy/sockets.h"
#include "proxy/traffic_metrics.h"

namespace knit::proxy {

struct ListenerInfo {
  enum class Kind {
    RouterHttps,
    RouterHttp,
    HostCapture,
    PodCapture,
    NodePort,
    RoleEgress
  } kind = Kind::HostCapture;
  std::string uid;         // PodCapture, RoleEgress: the pod
  std::string service;     // NodePort: "ns/name"
  std::uint16_t port = 0;  // NodePort: the Service's port
};

class DnsSocket;

class Worker {
 public:
  Worker(io::Loop& loop, Shared& shared, unsigned index);
  ~Worker();

  void publish(TablesRef tables) { tables_ = std::move(tables); }
  void add_listener(const std::string& key, std::shared_ptr<Fd> listener, ListenerInfo info);
  void remove_listener(const std::string& key);
  /// A pod's UDP socket for DNS.
  void add_dns(const std::string& uid, Fd fd);
  void remove_dns(const std::string& uid);
  void stop_listening() { listeners_.clear(); }
  void drain();
  std::size_t sessions() const { return sessions_.size(); }
  void set_default_certificate(std::shared_ptr<TlsContext> c) { default_certificate_ = c; }
  void tick();  // each second

  // For sessions
  io::Loop& loop() { return loop_; }
  Shared& shared() { return shared_; }
  Sockets& sockets() { return sockets_; }
  RolePool& roles() { return roles_; }
  TrafficMetrics& metrics() { return metrics_; }
  const TablesRef& tables() const { return tables_; }
  bool draining() const { return draining_; }
  unsigned index() const { return index_; }
  const std::shared_ptr<TlsContext>& default_certificate() const { return default_certificate_; }
  std::uint64_t random();
  void adopt(std::unique_ptr<Session> session);
  /// Destroys the session after the current callback.
  void retire(Session* session);

  // Entrances (doorway.cc): each takes over the connection and decides the next stage.
  void enter_router_https(std::unique_ptr<Conn> conn, Caller caller);
  void enter_router_http(std::unique_ptr<Conn> conn, Caller caller);
  void enter_captured(std::unique_ptr<Conn> conn, Caller caller, const std::string& ip,
                      std::uint16_t port);
  void enter_node_port(std::unique_ptr<Conn> conn, Caller caller, const std::string& service,
                       std::uint16_t port);
  void enter_backend(std::unique_ptr<Conn> conn, Caller caller, const pc::Backend& backend);
  void enter_gateway(std::unique_ptr<Conn> conn, Caller caller, const std::string& uid,
                     std::uint16_t port);
  void enter_inbound(std::unique_ptr<Conn> conn, Caller caller, const std::string& uid,
                     std::uint16_t port);
  void enter_http(std::unique_ptr<Conn> conn, HttpContext context);
  void enter_role(std::unique_ptr<Conn> conn, const std::string& uid);
  void enter_dns(std::unique_ptr<Conn> conn, Caller caller);
  void enter_tcp(std::unique_ptr<Conn> conn, Caller caller, const std::string& uid,
                 const std::string& ip, std::uint16_t port);
  /// A sidecar or gateway on the road of a request; one without uid is not there.
  struct Hop {
    enum class Role { Sender, Receiver, Both } role;
    std::string_view uid;
    Hop(std::string_view u, Role r) : role(r), uid(u) {}
  };
  /// Counts it and writes a line for each hop, the first sender first.
  void record(const AccessRecord& record, std::initializer_list<Hop> hops, const Tables& tables);
  void record_opened(const AccessRecord& record, std::initializer_list<Hop> hops,
                     const Tables& tables);
  AccessLog& access_log() { return access_log_; }

 private:
  struct Listening {
    std::shared_ptr<Fd> fd;
    ListenerInfo info;
    io::Loop::Watch watch;
    io::Loop::Timer pause;
  };
  void accept_some(const std::string& key);
  void watch(const std::string& key, Listening& l);

  io::Loop& loop_;
  Shared& shared_;
  const unsigned index_;
  TablesRef tables_;
  Sockets sockets_;
  RolePool roles_;
  TrafficMetrics metrics_;
  AccessLog access_log_;
  std::shared_ptr<TlsContext> default_certificate_;
  std::map<std::string, std::shared_ptr<Listening>> listeners_;
  std::unordered_map<Session*, std::unique_ptr<Session>> sessions_;
  std::vector<std::unique_ptr<Session>> retired_;
  std::map<std::string, std::unique_ptr<DnsSocket>> dns_;
  bool draining_ = false;
  std::uint64_t random_state_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace knit::proxy
