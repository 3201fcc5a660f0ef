#include "proxy/tcp_session.h"

#include <sys/socket.h>

namespace knit::proxy {
namespace {
using namespace std::chrono_literals;
constexpr Duration kConnectLimit = 10s;  // Istio's connectTimeout
}  // namespace

TcpSession::TcpSession(Worker& worker, std::unique_ptr<Conn> down, Caller caller, std::string uid,
                       std::string ip, std::uint16_t port)
    : Session(worker),
      down_(std::move(down)),
      caller_(std::move(caller)),
      uid_(std::move(uid)),
      ip_(std::move(ip)),
      port_(port) {}

TcpSession::~TcpSession() {
  if (down_) down_->set_owner(nullptr);
  if (up_) up_->set_owner(nullptr);
}

void TcpSession::begin() {
  started_ = worker_.loop().now();
  wall_started_ = worker_.loop().wall_now();
  down_->set_owner(this);
  AccessRecord opened;
  opened.tcp = true;
  using Role = Worker::Hop::Role;
  worker_.record_opened(opened, {{caller_.uid, Role::Sender}, {uid_, Role::Receiver}},
                        *worker_.tables());
  timer_ = worker_.loop().after(kConnectLimit, [this] {
    if (!connected_) close(How::Reset, "UF");
  });
  connect();
}

void TcpSession::connect() {
  if (closed_) return;
  if (uid_.empty()) {
    const int family = ip_.find(':') == std::string::npos ? AF_INET : AF_INET6;
    Fd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return close(How::Reset, "UF");
    up_ = connect_conn(worker_.loop(), std::move(fd), ip_, port_);
  } else {
    auto taken = worker_.sockets().take(uid_, ip_, port_, Sockets::Reuse::Fresh);
    if (taken.unknown) return close(How::Reset, "UF");
    if (!taken.conn) {
      wait_ = worker_.sockets().wait(uid_, [this] { connect(); });
      return;
    }
    up_ = std::move(taken.conn);
  }
  up_->set_owner(this);
  if (up_->phase() == Conn::Phase::Open) on_conn(*up_);
}

void TcpSession::on_conn(Conn& conn) {
  if (closed_) return;
  if (up_ && &conn == up_.get() && !connected_) {
    if (conn.failed()) return close(How::Reset, "UF");
    if (conn.phase() != Conn::Phase::Open) return;
    connected_ = true;
    timer_.cancel();
    if (down_->phase() == Conn::Phase::Peeking) down_->open();
  }
  if (&conn == down_.get() && conn.failed()) return close(How::Reset, "DC");
  if (connected_) pump();
}

void TcpSession::copy(Conn& from, Conn& to) {
  while (!from.input().empty() && to.pending() < Conn::kHigh) {
    const std::string_view bytes = from.input();
    to.write(bytes);
    from.consume(bytes.size());
    if (!to.flush()) return;
  }
  if (from.eof() && from.input().empty() && !to.writing_finished()) to.finish_writing();
}

void TcpSession::pump() {
  copy(*down_, *up_);
  copy(*up_, *down_);
  if (down_->failed() || up_->failed()) {
    return close(How::Reset, down_->failed() ? "DC" : "UC");
  }
  if (down_->writing_finished() && up_->writing_finished() && down_->pending() == 0 &&
      up_->pending() == 0) {
    close(How::Fin, "-");
  }
}

void TcpSession::close(How how, const char* flags) {
  if (closed_) return;
  closed_ = true;
  timer_.cancel();
  wait_.cancel();
  AccessRecord r;
  r.tcp = true;
  r.start = wall_started_;
  r.duration = worker_.loop().now() - started_;
  r.flags = flags;
  r.service_port = port_;
  r.bytes_received = down_->received();
  r.bytes_sent = down_->sent();
  r.upstream = ip_ + ":" + std::to_string(port_);
  r.upstream_port = port_;
  r.downstream_remote = caller_.remote_ip + ":" + std::to_string(caller_.remote_port);
  using Role = Worker::Hop::Role;
  worker_.record(r, {{caller_.uid, Role::Sender}, {uid_, Role::Receiver}}, *worker_.tables());
  if (how == How::Reset) down_->reset_on_close();
  down_->set_owner(nullptr);
  if (up_) {
    up_->set_owner(nullptr);
    if (!uid_.empty()) worker_.sockets().recycle(uid_, std::move(up_));
  }
  worker_.retire(this);
}

void TcpSession::drain() {}  // L4 connections end by themselves or with the process

}  // namespace knit::proxy
