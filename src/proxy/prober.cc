#include "proxy/prober.h"

#include <algorithm>

#include "base/json.h"
#include "http/h1.h"

namespace knit::proxy {
namespace {
using namespace std::chrono_literals;
constexpr char kApp[] =
    "\x01"
    "app";  // no container probe has such an id
constexpr Duration kFirstPause = 50us, kFastLimit = 2ms, kSlowLimit = 50ms;
constexpr Duration kFastFor = 5s, kEagerFor = 60s;

/// SERVING_READINESS_PROBE → one probe. Source: spec/serving.md 5.3.
ipc::ProbeSpec app_probe(const proxy_config::Revision& r) {
  ipc::ProbeSpec p;
  p.id = kApp;
  p.kind = ipc::ProbeSpec::Kind::Tcp;
  p.port = r.user_port;
  p.failure = 3;
  p.period_s = 10;
  const auto parsed = json::parse(r.readiness_probe_json.empty() ? "{}" : r.readiness_probe_json);
  if (!parsed) return p;
  const Json& j = *parsed;
  const auto number = [&](std::string_view key, std::uint32_t otherwise) {
    const auto v = json::i64(j, {key}, 0);
    return v > 0 && v < 1'000'000 ? static_cast<std::uint32_t>(v) : otherwise;
  };
  p.success = number("successThreshold", 1);
  p.failure = number("failureThreshold", 3);
  p.period_s = number("periodSeconds", 10);
  p.timeout_s = number("timeoutSeconds", 1);
  const auto port = [&](const Json& at) {
    const auto v = json::i64(at, {"port"}, 0);
    return v > 0 && v < 65'536 ? static_cast<std::uint16_t>(v) : r.user_port;
  };
  if (const Json* get = json::find(j, "httpGet")) {
    p.kind = ipc::ProbeSpec::Kind::Http;
    p.port = port(*get);
    p.path = json::str(*get, {"path"}, "/");
    p.scheme = json::str(*get, {"scheme"}, "HTTP");
    for (const Json& h : json::array(*get, {"httpHeaders"})) {
      p.headers[std::string(json::str(h, {"name"}))] = json::str(h, {"value"});
    }
  } else if (const Json* tcp = json::find(j, "tcpSocket")) {
    p.port = port(*tcp);
  } else if (const Json* grpc = json::find(j, "grpc")) {
    p.kind = ipc::ProbeSpec::Kind::Grpc;
    p.port = port(*grpc);
  }
  return p;
}
}  // namespace

/// One connection and, for HTTP, one GET.
class Prober::Attempt final : public Conn::Owner {
 public:
  Attempt(Prober& prober, std::string uid, std::string ip, const ipc::ProbeSpec& spec)
      : prober_(prober), uid_(std::move(uid)), ip_(std::move(ip)), spec_(spec) {}
  ~Attempt() override {
    if (conn_) prober_.sockets_.recycle(uid_, std::move(conn_));
  }
  void start() {
    if (spec_.kind == ipc::ProbeSpec::Kind::Grpc) {
      return end(false, "gRPC probes are not supported yet");
    }
    if (spec_.scheme == "HTTPS") return end(false, "HTTPS probes are not supported yet");
    timer_ = prober_.loop_.after(std::chrono::seconds(std::max(spec_.timeout_s, 1U)), [this] {
      end(false, "timeout after " + std::to_string(std::max(spec_.timeout_s, 1U)) + "s");
    });
    connect();
  }
  void on_conn(Conn& conn) override {
    if (conn.failed()) {
      return end(false, conn.error() == ECONNREFUSED
                            ? "dial tcp " + ip_ + ":" + std::to_string(spec_.port) +
                                  ": connect: connection refused"
                            : "connection failed");
    }
    if (conn.phase() != Conn::Phase::Open) return;
    if (spec_.kind == ipc::ProbeSpec::Kind::Tcp) return end(true, "");
    if (!sent_) {
      sent_ = true;
      std::string& out = conn.out();
      http::h1::write_request_line(out, "GET", spec_.path.empty() ? "/" : spec_.path);
      http::h1::write_field(
          out, "Host", spec_.host.empty() ? ip_ + ":" + std::to_string(spec_.port) : spec_.host);
      bool agent = false;
      for (const auto& [name, value] : spec_.headers) {
        if (http::h1::iequals(name, "host")) continue;
        agent = agent || http::h1::iequals(name, "user-agent");
        http::h1::write_field(out, name, value);
      }
      if (!agent) http::h1::write_field(out, "User-Agent", "kube-probe/1.33");
      http::h1::write_field(out, "Accept", "*/*");
      http::h1::write_field(out, "Connection", "close");
      http::h1::write_end_of_head(out);
      parser_.expect_response_to("GET");
      if (!conn.flush()) return end(false, "connection failed");
    }
    while (true) {
      const auto step = parser_.next(conn.input());
      conn.consume(step.used);
      if (step.event == http::h1::Parser::Event::Head && parser_.head().status >= 200) {
        const int status = parser_.head().status;
        if (status < 400) return end(true, "");
        return end(false, "HTTP probe failed with statuscode: " + std::to_string(status));
      }
      if (step.event == http::h1::Parser::Event::Error)
        return end(false, "malformed HTTP response");
      if (step.event == http::h1::Parser::Event::NeedMore) break;
    }
    if (conn.eof()) end(false, "EOF");
  }

 private:
  void connect() {
    auto taken = prober_.sockets_.take(uid_, ip_, spec_.port, Sockets::Reuse::Fresh);
    if (!taken.conn) {
      // No stock (yet): the node was asked; the timeout still counts.
      wait_ = prober_.sockets_.wait(uid_, [this] {
        if (!conn_ && !done_) connect();
      });
      return;
    }
    conn_ = std::move(taken.conn);
    conn_->set_owner(this);
    if (conn_->phase() == Conn::Phase::Open) on_conn(*conn_);
  }
  void end(bool ok, std::string text) {
    if (done_) return;
    done_ = true;
    timer_.cancel();
    wait_.cancel();
    if (conn_) conn_->set_owner(nullptr);
    // Not from inside our own callback: finished() destroys this.
    prober_.loop_.post([&prober = prober_, alive = std::weak_ptr(alive_), uid = uid_, id = spec_.id,
                        ok, text = std::move(text)] {
      if (!alive.expired()) prober.finished(uid, id, ok, text);
    });
  }
  Prober& prober_;
  const std::string uid_, ip_;
  const ipc::ProbeSpec spec_;
  std::unique_ptr<Conn> conn_;
  http::h1::Parser parser_{http::h1::Parser::Kind::Response};
  Sockets::Wait wait_;
  io::Loop::Timer timer_;
  bool sent_ = false, done_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

Prober::Prober(io::Loop& loop, Sockets& sockets, Hooks hooks)
    : loop_(loop), sockets_(sockets), hooks_(std::move(hooks)) {}
Prober::~Prober() = default;

void Prober::set_pod(const ipc::Pod& message) {
  Pod& pod = pods_[message.uid];
  pod.ip = message.ip;
  std::erase_if(pod.probes, [&](const auto& entry) {
    return entry.first != kApp && std::none_of(message.probes.begin(), message.probes.end(),
                                               [&](const auto& p) { return p.id == entry.first; });
  });
  for (const auto& spec : message.probes) {
    const bool is_new = !pod.probes.contains(spec.id);
    Probe& p = pod.probes[spec.id];
    p.spec = spec;
    // queue-proxy is this process: its readiness is the app's.
    p.follows_app =
        spec.port == 8012 || spec.port == 8013 || spec.headers.contains("K-Network-Probe");
    if (p.follows_app) continue;
    if (is_new) {
      p.since = loop_.now();
      schedule(message.uid, spec.id, std::chrono::seconds(spec.initial_delay_s));
    }
  }
  settle_followers(message.uid, pod);
}

void Prober::set_revision(const std::string& uid, const proxy_config::Revision& revision) {
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  Pod& pod = it->second;
  ipc::ProbeSpec spec = app_probe(revision);
  const bool is_new = !pod.probes.contains(kApp);
  Probe& p = pod.probes[kApp];
  p.app = true;
  p.spec = std::move(spec);
  pod.is_revision = true;
  if (is_new) {
    p.since = loop_.now();
    schedule(uid, kApp, Duration{0});
  }
}

void Prober::remove_pod(const std::string& uid) { pods_.erase(uid); }

void Prober::listening(const std::string& uid, std::uint16_t port) {
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  for (auto& [id, p] : it->second.probes) {
    if (p.spec.port == port && !p.ok && !p.follows_app && !p.attempt) {
      p.pause = Duration{0};
      schedule(uid, id, Duration{0});
    }
  }
}

void Prober::schedule(const std::string& uid, const std::string& id, Duration after) {
  pods_[uid].probes[id].timer = loop_.after(after, [this, uid, id] { start(uid, id); });
}

void Prober::start(const std::string& uid, const std::string& id) {
  const auto pod = pods_.find(uid);
  if (pod == pods_.end()) return;
  const auto it = pod->second.probes.find(id);
  if (it == pod->second.probes.end() || it->second.attempt) return;
  it->second.attempt = std::make_unique<Attempt>(*this, uid, pod->second.ip, it->second.spec);
  it->second.attempt->start();
}

void Prober::finished(const std::string& uid, const std::string& id, bool ok, std::string text) {
  const auto pod = pods_.find(uid);
  if (pod == pods_.end()) return;
  const auto it = pod->second.probes.find(id);
  if (it == pod->second.probes.end()) return;
  Probe& p = it->second;
  p.attempt.reset();
  p.text = std::move(text);
  const bool before = p.ok, known = p.known;
  if (ok) {
    ++p.successes;
    p.failures = 0;
    if (p.successes >= std::max(p.spec.success, 1U)) {
      p.ok = p.known = true;
      p.pause = Duration{0};
    }
  } else {
    p.successes = 0;
    // Extra looks at a starting app count as the one look that kubelet would have made.
    const Instant now = loop_.now();
    if (now >= p.counted_until) {
      ++p.failures;
      p.counted_until = now + std::chrono::seconds(std::max(p.spec.period_s, 1U));
    }
    if (p.failures >= std::max(p.spec.failure, 1U)) {
      p.ok = false;
      p.known = true;
    }
  }
  Duration next = std::chrono::seconds(std::max(p.spec.period_s, 1U));
  const Duration age = loop_.now() - p.since;
  if (!p.ok && age < kEagerFor) {
    // Starting: the listen event is the signal; growing pauses make up for a lost one.
    p.pause = std::max(kFirstPause, p.pause * 3 / 2);
    p.pause = std::min(p.pause, age < kFastFor ? kFastLimit : kSlowLimit);
    next = std::min(next, p.pause);
  }
  schedule(uid, id, next);
  if (p.ok != before || p.known != known) {
    report(uid, p);
    if (p.app) {
      if (hooks_.app_ready) hooks_.app_ready(uid, p.ok);
      settle_followers(uid, pod->second);
    }
  }
}

void Prober::settle_followers(const std::string& uid, Pod& pod) {
  const auto app = pod.probes.find(kApp);
  if (app == pod.probes.end()) return;
  for (auto& [id, p] : pod.probes) {
    if (!p.follows_app) continue;
    if (p.known == app->second.known && p.ok == app->second.ok) continue;
    p.known = app->second.known;
    p.ok = app->second.ok;
    p.text = app->second.text;
    report(uid, p);
  }
}

void Prober::report(const std::string& uid, Probe& p) {
  if (p.app || !p.known || !hooks_.probed) return;
  hooks_.probed({uid, p.spec.id, p.ok, p.text});
}

void Prober::resend() {
  for (auto& [uid, pod] : pods_) {
    for (auto& [id, p] : pod.probes) report(uid, p);
  }
}

}  // namespace knit::proxy
