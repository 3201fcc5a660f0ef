// Sends what the engine delivers: HTTP/1.1 over the road, with kept connections.
// Source: knative/eventing pkg/kncloudevents/{event_dispatcher,http_client}.go;
// spec/eventing.md 3.1
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "events/delivery/dispatcher.h"
#include "events/host/road.h"
#include "http/client.h"

namespace knit::events {

struct SenderSettings {
  std::size_t max_idle_per_host = 100;
  std::size_t max_hosts = 256;        // with kept connections; the one unused longest goes first
  std::size_t max_answer = 12 << 20;  // of a reply; more is an error
  Duration connect_timeout = std::chrono::seconds(10);
  Duration unused = std::chrono::seconds(30);  // connections to a host are kept so long
  std::string ca_pem;  // for https addresses without CACerts; empty: those are refused
};

/// Parts of an absolute http or https URL.
struct Url {
  bool tls = false;
  std::string host;  // without brackets
  std::uint16_t port = 80;
  std::string authority;  // as it goes into Host
  std::string path = "/", query;
};
/// Errors: InvalidArgument (no http URL, user information in it).
Result<Url> parse_url(std::string_view text);

class RoadSender final : public Sender {
 public:
  /// The road outlives it.
  RoadSender(io::Loop& loop, RoleRoad& road, SenderSettings settings);
  ~RoadSender() override;
  /// `message.to.role` makes the connection. Redirects are not followed.
  io::Task<Answer> send(OutMessage message) override;
  std::size_t hosts() const { return pools_.size(); }

 private:
  struct Pool {
    std::shared_ptr<http::Client> client;
    Instant used;
  };
  // role, tls, host, port, CA certificates
  using Where = std::tuple<std::string, bool, std::string, std::uint16_t, std::string>;
  static io::Task<Answer> exchange(std::shared_ptr<http::Client> client, http::Request request);
  static io::Task<Result<std::unique_ptr<io::Stream>>> connect(io::Loop* loop, RoleRoad* road,
                                                               Where where, std::string ca);
  std::shared_ptr<http::Client> pool(const Where& where);
  void sweep();

  io::Loop& loop_;
  RoleRoad& road_;
  SenderSettings settings_;
  std::map<Where, Pool> pools_;
  io::Loop::Timer timer_;
};

}  // namespace knit::events
