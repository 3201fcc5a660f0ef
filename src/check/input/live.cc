// The blocking doorway to cluster.cc: a loop, name resolution, TCP, TLS, and one deadline.
#include <arpa/inet.h>
#include <netdb.h>

#include "check/input/cluster.h"
#include "check/input/live.h"
#include "io/real_loop.h"
#include "io/stream.h"

namespace knit::check::input {
namespace {

using Addresses = std::vector<std::string>;

/// Literals of a host name, as the system resolves it. Blocks.
Result<Addresses> resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int r = ::getaddrinfo(host.c_str(), nullptr, &hints, &list); r != 0) {
    return Error(Code::Unavailable, "resolve " + host + ": " + ::gai_strerror(r));
  }
  Addresses out;
  for (const addrinfo* a = list; a != nullptr && out.size() < 8; a = a->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(a->ai_addr, a->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      out.emplace_back(text.data());
    }
  }
  ::freeaddrinfo(list);
  if (out.empty()) return Error(Code::Unavailable, host + " has no address");
  return out;
}

struct Way {
  Access access;
  Addresses addresses;
  std::shared_ptr<io::TlsClientContext> tls;
};

io::Task<Result<std::unique_ptr<io::Stream>>> connect(io::Loop* loop, std::shared_ptr<Way> way) {
  if (way->addresses.empty()) {
    auto resolving =
        io::blocking<Result<Addresses>>(*loop, [host = way->access.host] { return resolve(host); });
    auto found = co_await resolving;
    if (!found) co_return std::move(found).error();
    way->addresses = std::move(*found);
  }
  Error last(Code::Unavailable, "no address");
  for (const auto& address : way->addresses) {
    auto connecting = io::connect_tcp(*loop, {address, way->access.port}, std::chrono::seconds(10));
    auto raw = co_await connecting;
    if (!raw) {
      last = std::move(raw).error();
      continue;
    }
    if (!way->tls) co_return std::move(raw);
    auto handshake = io::tls_connect(*loop, std::move(*raw), way->tls);
    co_return co_await handshake;
  }
  co_return std::move(last);
}

io::Task<void> carry_out(io::RealLoop* loop, http::Connector connector, Access access,
                         ClusterOptions options, ObjectSet* out, Result<void>* result) {
  auto reading = read_cluster(*loop, std::move(connector), std::move(access), options, *out);
  *result = co_await reading;
  loop->stop();
}

}  // namespace

Result<http::Connector> connector_to(io::Loop& loop, const Access& access) {
  auto way = std::make_shared<Way>();
  way->access = access;
  if (access.tls) {
    io::TlsClientConfig config;
    config.ca_pem = access.ca_pem;
    config.server_name = access.server_name;
    config.certificate_chain_pem = access.certificate_pem;
    config.private_key_pem = access.key_pem;
    config.insecure_skip_verify = access.insecure;
    KNIT_TRY(way->tls, io::tls_client_context(config));
  }
  return http::Connector([l = &loop, way] { return connect(l, way); });
}

Result<void> read_live(const Access& access, const ClusterOptions& options, ObjectSet& out) {
  KNIT_TRY(auto loop, io::RealLoop::create(1));
  KNIT_TRY(auto connector, connector_to(*loop, access));
  const std::string server = access.host + ":" + std::to_string(access.port);
  Result<void> result = Error(Code::DeadlineExceeded,
                              "it did not answer everything within " +
                                  std::to_string(options.timeout / std::chrono::seconds(1)) + " s");
  auto timer = loop->after(options.timeout, [&loop] { loop->stop(); });
  auto task = loop->spawn_scoped(
      carry_out(loop.get(), std::move(connector), access, options, &out, &result));
  loop->run();
  task.cancel();
  if (!result) return std::move(result).error().within(server);
  return result;
}

}  // namespace knit::check::input
