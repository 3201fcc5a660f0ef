// The access log of the pods that this proxy serves: lines in Istio's format, gathered per worker,
// handed to the node in batches. No system call on a request's path.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/loop.h"
#include "ipc/channel.h"
#include "proxy_config/types.h"

namespace knit::proxy {

/// One finished request or L4 connection, as Istio's access log and metrics see it.
struct AccessRecord {
  WallTime start{};
  std::string method, path, authority, user_agent, request_id, forwarded_for;
  int minor = 1;  // of HTTP/1
  int status = 0;
  const char* flags = "-";
  const char* details = "-";
  std::uint64_t bytes_received = 0, bytes_sent = 0;  // of bodies
  Duration duration{}, upstream_time{};
  bool answered_upstream = false;  // upstream_time is known
  std::string upstream, downstream_remote, downstream_local, sni, route_name;
  std::string destination_service;  // "ns/name"
  std::uint16_t service_port = 0, upstream_port = 0;
  bool mtls = false;
  bool tcp = false;
};

/// Appends one line. `inbound`: as the sidecar in front of the receiver writes it; else as the
/// sender's. Source: spec/mesh.md 2.10, istio pilot/pkg/model/telemetry_logging.go.
void append_access_line(std::string& out, const AccessRecord& r, bool inbound,
                        proxy_config::AccessLogFormat format, std::string_view cluster_domain);

/// What queue-proxy's request log template can ask for. Source: spec/serving.md 5.7, knative
/// pkg/http/request_log.go.
struct RequestLogInput {
  const AccessRecord* record = nullptr;
  std::string_view referer, host, remote_address;
  std::int64_t content_length = 0;
  std::string_view revision, ns, service, configuration, pod_name, pod_ip;
  std::function<std::string_view(std::string_view name)> header;
};
/// Executes the template; a line end is added where it has none. Errors: InvalidArgument, with the
/// action that is not supported.
Result<std::string> request_log_line(std::string_view text, const RequestLogInput& in);

/// One worker's lines. Bounded: past kMost bytes between two flushes lines are counted as lost.
class AccessLog {
 public:
  using Batch = std::vector<ipc::Logged>;
  static constexpr std::size_t kFlushAt = 32 << 10, kMost = 1 << 20, kLine = 15 << 10;
  AccessLog(io::Loop& loop, std::function<void(Batch)> hand_on)
      : loop_(loop), hand_on_(std::move(hand_on)) {}
  /// `write(std::string&)` appends one whole line.
  template <class F>
  void add(std::string_view uid, std::string_view container, F write) {
    ipc::Logged* to = entry(uid, container);
    if (bytes_ >= kMost) {
      ++to->lost;
      return;
    }
    const std::size_t before = to->lines.size();
    write(to->lines);
    if (to->lines.size() - before > kLine) {
      to->lines.resize(before + kLine - 1);
      to->lines += '\n';
    }
    bytes_ += to->lines.size() - before;
    if (bytes_ >= kFlushAt) flush_soon(Duration(0));
  }
  void flush();

 private:
  ipc::Logged* entry(std::string_view uid, std::string_view container);
  void flush_soon(Duration wait);
  io::Loop& loop_;
  std::function<void(Batch)> hand_on_;
  Batch batch_;  // few pods log in one tick: searched from the back
  std::map<std::string, std::size_t, std::less<>> index_;
  std::size_t bytes_ = 0;
  io::Loop::Timer timer_;
  bool urgent_ = false;
};

/// Main loop: sends batches to the node, a few at a time; keeps a bounded rest while it is slow or
/// gone. What a node that died had not acknowledged is sent again.
class LogSender {
 public:
  explicit LogSender(std::function<ipc::Channel*()> node) : node_(std::move(node)) {}
  void add(AccessLog::Batch batch);
  void connected() { pump(); }

 private:
  static constexpr std::size_t kMessage = 48 << 10, kPending = 2 << 20, kInFlight = 8;
  void pump();
  std::function<ipc::Channel*()> node_;
  struct Pending {
    std::uint64_t order = 0;
    ipc::Logged message;
  };
  std::deque<Pending> pending_;  // by order
  std::uint64_t next_order_ = 0;
  std::size_t bytes_ = 0, in_flight_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace knit::proxy
