// The first moments of a connection: peeks at bytes, ends TLS, then hands it to the next stage.
#pragma once

#include <memory>

#include "proxy/conn.h"
#include "proxy/session.h"
#include "proxy/worker.h"

namespace knit::proxy {

class Doorway final : public Session, public Conn::Owner {
 public:
  enum class Stage { RouterSni, GatewaySni, InboundSniff, RouterTls, GatewayTls, InboundTls };
  Doorway(Worker& worker, std::unique_ptr<Conn> conn, Caller caller, Stage stage, std::string uid,
          std::uint16_t port);
  void on_conn(Conn& conn) override;
  void drain() override;
  void begin();

 private:
  void router_hello(const ClientHello& hello);
  void gateway_hello(const ClientHello& hello);
  void inbound_bytes(std::string_view bytes);
  void handshake_done();
  void start_tls(std::shared_ptr<TlsContext> context, Stage next, Duration limit);
  std::unique_ptr<Conn> leave();
  /// Closes; `rst` when the peer is to see a reset.
  enum class How { Fin, Reset };
  void close(How how);
  void limit(Duration d);

  std::unique_ptr<Conn> conn_;
  Caller caller_;
  Stage stage_;
  std::string uid_;
  std::uint16_t port_;
  std::string sni_, server_;
  std::vector<std::string> hosts_;
  io::Loop::Timer timer_;
  bool gone_ = false;
};

/// After the inbound policy: HTTP or L4, as port and protocol say. `peer` is the verified caller.
void enter_inbound_open(Worker& worker, std::unique_ptr<Conn> conn, Caller caller,
                        const std::string& uid, std::uint16_t port, Peer peer, bool tls);

}  // namespace knit::proxy
