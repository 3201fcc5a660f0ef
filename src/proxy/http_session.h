// One HTTP/1.1 connection from a client and the exchange that runs on it. A single pump moves bytes
// both ways until neither side can go on; every event just calls it.
#pragma once

#include <memory>
#include <string>

#include "http/h1.h"
#include "proxy/conn.h"
#include "proxy/exchange.h"
#include "proxy/worker.h"

namespace knit::proxy {

class HttpSession final : public Session, public Conn::Owner {
 public:
  HttpSession(Worker& worker, std::unique_ptr<Conn> down, HttpContext context);
  ~HttpSession() override;
  void begin();
  void on_conn(Conn& conn) override;
  void drain() override;

 private:
  enum class State {
    Idle,        // between requests, or a head in progress
    Waiting,     // admission (activation, breaker) or a socket
    Connecting,  // to the app
    Exchanging,
    Lingering,  // our last bytes leave, the client's are discarded
    Closed,
  };
  struct Exchange {
    bool active = false, parsed = false;
    TablesRef tables;
    Decision decision;
    const pc::Revision* revision = nullptr;
    std::shared_ptr<RevisionGate> gate;
    std::string granted;  // pod whose slot is held
    std::uint64_t ticket = 0;
    std::shared_ptr<int> token;  // alive while somebody waits for a grant
    Instant started{}, sent_at{}, last_write{}, deadline = Instant::max();
    WallTime wall_started{};
    std::string request_id;
    std::string method;
    std::string opening;  // of a role's connection
    bool retry_after = false;
    int status = 0;
    const char* flags = "-";
    const char* details = "via_upstream";
    Duration upstream_time{}, silence{};
    std::uint64_t body_in = 0, body_out = 0;
    bool head_sent = false;         // to the app
    bool response_started = false;  // to the client
    bool request_done = false, response_done = false;
    bool chunked_down = false, raw_until_close = false;
    bool reused = false, retried = false, body_forwarded = false;
    // To choose another pod when this one refuses: the decision before its last hop.
    bool pinned = false, principal_before = false;
    std::size_t xfcc_before = 0;
    int picks = 0;
    Instant pick_again_at = Instant::max();
  };

  void pump();
  bool pump_head();  // true: something happened
  bool pump_request();
  bool pump_response();
  void start_exchange();
  bool answer_in_place(const http::h1::Head& head);
  void admit();
  void granted(RevisionGate::Outcome outcome);
  bool pick_again();
  void picked_later();  // when pick_again_at has come
  void connect();
  void upstream_failed();
  void response_head();
  void finish_exchange();
  /// `on_end`: exactly once per exchange, on every path.
  void end_exchange();
  void reply(int status, std::string_view body, const char* flags, const char* details,
             std::string_view location = {});
  void timeout_now();
  void abort(const char* flags, const char* details);  // after the response started: reset
  void release_upstream(bool reusable);
  void linger();
  void close();
  Instant next_deadline() const;
  void arm();
  void on_timer();
  bool queue_admin(const http::h1::Head& head);
  bool sidecar_admin(const http::h1::Head& head);
  bool metrics_page(bool known_path, AdminPage page);
  void log_request(const AccessRecord& record);

  std::unique_ptr<Conn> down_, up_;
  HttpContext context_;
  http::h1::Parser request_{http::h1::Parser::Kind::Request};
  http::h1::Parser response_{http::h1::Parser::Kind::Response};
  State state_ = State::Idle;
  Exchange x_;
  Sockets::Wait socket_wait_;
  io::Loop::Timer timer_;
  Instant armed_ = Instant::max();
  Instant idle_since_{}, head_since_{}, linger_until_{};
  std::uint64_t requests_ = 0;
  bool close_after_ = false, pumping_ = false, again_ = false;
};

}  // namespace knit::proxy
