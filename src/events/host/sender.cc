#include "events/host/sender.h"

#include <charconv>

namespace knit::events {
namespace {

// The dispatcher bounds each request by its policy and cancels it; this is the last resort.
constexpr Duration kLongest = std::chrono::hours(1);

io::Task<Answer> refused(std::string error) { co_return Answer{0, {}, {}, std::move(error)}; }

}  // namespace

Result<Url> parse_url(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return Error(Code::InvalidArgument, "\"" + std::string(text) + "\": " + std::string(why));
  };
  Url out;
  std::string_view rest = text;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
    out.tls = true;
    out.port = 443;
  } else {
    return bad(text.empty() ? "there is no address" : "not an http or https URL");
  }
  rest = rest.substr(0, rest.find('#'));
  const auto end = rest.find_first_of("/?");
  std::string_view authority = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end);
  if (authority.find('@') != std::string_view::npos) return bad("a URL with user information");
  out.authority = authority;
  std::string_view port;
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == std::string_view::npos) return bad("a '[' without ']'");
    out.host = authority.substr(1, close - 1);
    authority.remove_prefix(close + 1);
    if (!authority.empty() && authority[0] != ':') return bad("a malformed authority");
    if (!authority.empty()) port = authority.substr(1);
  } else {
    const auto colon = authority.find(':');
    out.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) port = authority.substr(colon + 1);
  }
  if (out.host.empty()) return bad("a URL without a host");
  for (const char c : out.authority) {
    if (c <= ' ' || c == 0x7f) return bad("a malformed authority");
  }
  if (!port.empty()) {
    const auto [p, ec] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (ec != std::errc() || p != port.data() + port.size() || out.port == 0) {
      return bad("a malformed port");
    }
  }
  const auto q = rest.find('?');
  out.path = rest.substr(0, q);
  if (out.path.empty()) out.path = "/";
  if (q != std::string_view::npos) out.query = rest.substr(q + 1);
  return out;
}

RoadSender::RoadSender(io::Loop& loop, RoleRoad& road, SenderSettings settings)
    : loop_(loop), road_(road), settings_(std::move(settings)) {}
RoadSender::~RoadSender() = default;

io::Task<Result<std::unique_ptr<io::Stream>>> RoadSender::connect(io::Loop* loop, RoleRoad* road,
                                                                  Where where, std::string ca) {
  const auto& [role, tls, host, port, certificates] = where;
  RoleTarget to{host, port};
  auto stream = co_await road->connect(role, std::move(to));
  if (!stream || !tls) co_return stream;
  io::TlsClientConfig config;
  config.ca_pem = std::move(ca);
  config.server_name = host;
  auto context = io::tls_client_context(config);
  if (!context) co_return std::move(context).error();
  co_return co_await io::tls_connect(*loop, std::move(*stream), std::move(*context));
}

std::shared_ptr<http::Client> RoadSender::pool(const Where& where) {
  Pool& p = pools_[where];
  p.used = loop_.now();
  if (!p.client) {
    const std::string& own = std::get<4>(where);
    http::ClientSettings s;
    s.max_body = settings_.max_answer;
    s.max_idle = settings_.max_idle_per_host;
    s.connect_timeout = settings_.connect_timeout;
    s.timeout = kLongest;
    p.client = std::make_shared<http::Client>(
        loop_,
        [loop = &loop_, road = &road_, where, ca = own.empty() ? settings_.ca_pem : own] {
          return connect(loop, road, where, ca);
        },
        std::move(s));
  }
  auto client = p.client;
  sweep();
  return client;
}

void RoadSender::sweep() {
  while (pools_.size() > settings_.max_hosts) {
    auto oldest = pools_.begin();
    for (auto it = pools_.begin(); it != pools_.end(); ++it) {
      if (it->second.used < oldest->second.used) oldest = it;
    }
    pools_.erase(oldest);  // those that use it hold on to it
  }
  if (timer_ || pools_.empty()) return;
  timer_ = loop_.after(settings_.unused, [this] {
    timer_.cancel();
    std::erase_if(pools_, [&](const auto& entry) {
      return entry.second.client.use_count() == 1 &&
             loop_.now() - entry.second.used >= settings_.unused;
    });
    sweep();
  });
}

io::Task<Answer> RoadSender::exchange(std::shared_ptr<http::Client> client, http::Request request) {
  auto response = co_await client->send(std::move(request));
  if (!response) co_return Answer{0, {}, {}, std::string(response.error().message())};
  co_return Answer{response->status, std::move(response->headers), std::move(response->body), {}};
}

io::Task<Answer> RoadSender::send(OutMessage message) {
  const auto url = parse_url(message.to.url);
  if (!url) return refused(std::string(url.error().message()));
  if (url->tls && message.to.ca_certs.empty() && settings_.ca_pem.empty()) {
    return refused("\"" + message.to.url +
                   "\" is https and its address has no CACerts to verify it with");
  }
  if (!message.to.audience.empty()) {
    return refused("\"" + message.to.url + "\" wants a token for the audience \"" +
                   message.to.audience + "\": authentication-oidc is not supported");
  }
  http::Request request;
  request.method = "POST";
  request.path = http::url_decode(url->path, false);
  request.query = http::Query(url->query);
  request.headers.add("Host", url->authority);
  for (const auto& [name, value] : message.headers.fields()) request.headers.add(name, value);
  request.body = std::move(message.body);
  const Where where{message.to.role, url->tls, url->host, url->port, message.to.ca_certs};
  return exchange(pool(where), std::move(request));
}

}  // namespace knit::events
