// L4: bytes of one connection to a pod's port or an allowed address, both ways, with half-close.
#pragma once

#include <memory>

#include "proxy/conn.h"
#include "proxy/session.h"
#include "proxy/worker.h"

namespace knit::proxy {

class TcpSession final : public Session, public Conn::Owner {
 public:
  /// `uid` empty: dialled from here (the egress rule has allowed it).
  TcpSession(Worker& worker, std::unique_ptr<Conn> down, Caller caller, std::string uid,
             std::string ip, std::uint16_t port);
  ~TcpSession() override;
  void begin();
  void on_conn(Conn& conn) override;
  void drain() override;

 private:
  void connect();
  void pump();
  void copy(Conn& from, Conn& to);
  enum class How { Fin, Reset };
  void close(How how, const char* flags);

  std::unique_ptr<Conn> down_, up_;
  Caller caller_;
  std::string uid_, ip_;
  std::uint16_t port_;
  Sockets::Wait wait_;
  io::Loop::Timer timer_;
  Instant started_;
  WallTime wall_started_;
  bool connected_ = false, closed_ = false;
};

}  // namespace knit::proxy
