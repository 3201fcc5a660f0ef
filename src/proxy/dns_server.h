// DNS for pods: the UDP socket that the node made inside the pod, and TCP 53 at the capture
// listener.
#pragma once

#include <memory>

#include "dns/answer.h"
#include "proxy/conn.h"
#include "proxy/session.h"
#include "proxy/worker.h"

namespace knit::proxy {

/// The names that Tables hold.
class TableNames final : public dns::Names {
 public:
  explicit TableNames(const Tables& t) : t_(t) {}
  std::optional<dns::ServiceNames> service(std::string_view ns,
                                           std::string_view name) const override;
  bool has_namespace(std::string_view ns) const override;
  bool has_pod(std::string_view ns, std::string_view ip) const override;
  std::string name_of(std::string_view ip) const override;

 private:
  const Tables& t_;
};
dns::Zone zone_of(const Tables& t);

/// One pod's UDP socket, on one worker.
class DnsSocket {
 public:
  DnsSocket(Worker& worker, Fd fd);

 private:
  void serve();
  Worker& worker_;
  Fd fd_;
  io::Loop::Watch watch_;
};

/// DNS over TCP: length-prefixed queries, one after another (RFC 7766), 30 s idle.
class DnsSession final : public Session, public Conn::Owner {
 public:
  DnsSession(Worker& worker, std::unique_ptr<Conn> conn);
  ~DnsSession() override;
  void begin();
  void on_conn(Conn& conn) override;
  void drain() override { close(); }

 private:
  void close();
  void limit();
  std::unique_ptr<Conn> conn_;
  io::Loop::Timer timer_;
  bool closed_ = false;
};

}  // namespace knit::proxy
