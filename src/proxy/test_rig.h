// A whole data plane in one test: a real loop, an Engine with one worker, a fake server and node on
// memory channels, apps on loopback addresses that play pods, blocking clients on threads.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "io/real_loop.h"
#include "io/stream.h"
#include "pki/authority.h"
#include "proxy/engine.h"

namespace knit::proxy::test {

using namespace std::chrono_literals;

template <class T>
pc::Resource resource(pc::Type type, std::string name, const T& v) {
  return {type, std::move(name), "", codec::encode(v)};
}

inline Fd listen_on(const std::string& ip, std::uint16_t port, std::uint16_t* bound) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, ip.c_str(), &a.sin_addr);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0) << ip << ":" << port;
  EXPECT_EQ(::listen(fd.get(), 512), 0);
  socklen_t n = sizeof a;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &n);
  if (bound) *bound = ntohs(a.sin_port);
  return fd;
}

struct ClientOptions {
  bool tls = false;
  std::string sni, ca_pem, chain_pem, key_pem;
  int timeout_ms = 5000;
  bool keep_writing = false;  // do not half-close or wait for EOF: stop at `until`
  std::string until;          // returns when the answer contains it
};
struct Answer {
  std::string bytes;
  bool connected = false, handshake = false, reset = false;
  int status() const {
    return bytes.starts_with("HTTP/1.") && bytes.size() > 12 ? std::atoi(bytes.c_str() + 9) : 0;
  }
  std::string body() const {
    const auto at = bytes.find("\r\n\r\n");
    return at == std::string::npos ? "" : bytes.substr(at + 4);
  }
};

/// Blocking; run it on a thread (Rig::run).
inline Answer ask(const std::string& ip, std::uint16_t port, const std::string& request,
                  ClientOptions o = {}) {
  Answer out;
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{o.timeout_ms / 1000, (o.timeout_ms % 1000) * 1000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, ip.c_str(), &a.sin_addr);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return out;
  out.connected = true;
  SSL_CTX* ctx = nullptr;
  SSL* ssl = nullptr;
  if (o.tls) {
    ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, o.ca_pem.empty() ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
    if (!o.ca_pem.empty()) {
      BIO* b = BIO_new_mem_buf(o.ca_pem.data(), static_cast<int>(o.ca_pem.size()));
      X509* ca = PEM_read_bio_X509(b, nullptr, nullptr, nullptr);
      X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca);
      X509_free(ca);
      BIO_free(b);
    }
    if (!o.chain_pem.empty()) {
      BIO* b = BIO_new_mem_buf(o.chain_pem.data(), static_cast<int>(o.chain_pem.size()));
      X509* leaf = PEM_read_bio_X509(b, nullptr, nullptr, nullptr);
      SSL_CTX_use_certificate(ctx, leaf);
      X509_free(leaf);
      while (X509* next = PEM_read_bio_X509(b, nullptr, nullptr, nullptr)) {
        SSL_CTX_add0_chain_cert(ctx, next);
      }
      BIO_free(b);
      BIO* k = BIO_new_mem_buf(o.key_pem.data(), static_cast<int>(o.key_pem.size()));
      EVP_PKEY* key = PEM_read_bio_PrivateKey(k, nullptr, nullptr, nullptr);
      SSL_CTX_use_PrivateKey(ctx, key);
      EVP_PKEY_free(key);
      BIO_free(k);
    }
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd.get());
    if (!o.sni.empty()) SSL_set_tlsext_host_name(ssl, o.sni.c_str());
    out.handshake = SSL_connect(ssl) == 1;
  }
  if (!o.tls || out.handshake) {
    if (ssl) {
      SSL_write(ssl, request.data(), static_cast<int>(request.size()));
    } else if (!request.empty()) {
      out.reset = ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0;
    }
    char buffer[16384];
    while (o.until.empty() || out.bytes.find(o.until) == std::string::npos) {
      errno = 0;
      const ssize_t n =
          ssl ? SSL_read(ssl, buffer, sizeof buffer) : ::recv(fd.get(), buffer, sizeof buffer, 0);
      if (n <= 0) {
        out.reset = out.reset || errno == ECONNRESET;
        break;
      }
      out.bytes.append(buffer, static_cast<std::size_t>(n));
    }
  }
  SSL_free(ssl);
  SSL_CTX_free(ctx);
  ERR_clear_error();
  return out;
}

/// An app: answers every request with the head it got, on its own port.
class App {
 public:
  App(io::Loop& loop, const std::string& ip, std::uint16_t port) : loop_(loop) {
    listener_ = *io::Listener::adopt(
        loop, listen_on(ip, port, &this->port),
        [this](std::unique_ptr<io::Stream> s) { loop_.spawn(serve(this, std::move(s))); });
  }
  std::uint16_t port = 0;
  int connections = 0, requests = 0, now = 0, peak = 0;
  Duration delay{};
  std::string fixed;         // sent instead, then closed
  std::string early;         // sent as soon as a head is there, whatever follows; not closed
  int close_after_head = 0;  // so many connections are closed when a head is there

 private:
  static io::Task<void> serve(App* app, std::unique_ptr<io::Stream> s) {
    ++app->connections;
    std::string in;
    while (true) {
      auto end = in.find("\r\n\r\n");
      while (end == std::string::npos) {
        auto got = co_await s->read(65536);
        if (!got || got->empty()) co_return;
        in += *got;
        end = in.find("\r\n\r\n");
      }
      const std::string head = in.substr(0, end + 4);
      in.erase(0, end + 4);
      if (app->close_after_head > 0) {
        --app->close_after_head;
        co_return;
      }
      if (!app->early.empty()) {
        std::string bytes = app->early;
        auto sent = co_await s->write(bytes);
        while (sent) {
          auto got = co_await s->read(65536);
          if (!got || got->empty()) co_return;
        }
        co_return;
      }
      std::string body;
      if (const auto at = head.find("Content-Length: "); at != std::string::npos) {
        const auto n = static_cast<std::size_t>(std::atoi(head.c_str() + at + 16));
        while (in.size() < n) {
          auto got = co_await s->read(65536);
          if (!got || got->empty()) co_return;
          in += *got;
        }
        body = in.substr(0, n);
        in.erase(0, n);
      }
      if (head.find("Transfer-Encoding: chunked") != std::string::npos) {
        while (in.find("0\r\n") == std::string::npos || !in.ends_with("\r\n\r\n")) {
          auto got = co_await s->read(65536);
          if (!got || got->empty()) co_return;
          in += *got;
        }
        body = std::exchange(in, {});
      }
      ++app->requests;
      app->peak = std::max(app->peak, ++app->now);
      if (app->delay.count() > 0) co_await io::sleep_for(app->loop_, app->delay);
      --app->now;
      if (!app->fixed.empty()) {
        std::string bytes = app->fixed;
        auto sent = co_await s->write(bytes);
        co_return;
      }
      const std::string all = head + body;
      std::string out = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(all.size()) +
                        "\r\nServer: app\r\nX-App: 1\r\n\r\n" + all;
      auto sent = co_await s->write(out);
      if (!sent) co_return;
    }
  }
  io::Loop& loop_;
  std::unique_ptr<io::Listener> listener_;
};

class Rig {
 public:
  /// `workers` 0: the main loop is the worker; else that many on threads of their own.
  explicit Rig(int workers = 0) {
    loop = *io::RealLoop::create(0);
    std::vector<io::Loop*> loops;
    for (int i = 0; i < workers; ++i) {
      worker_loops.push_back(*io::RealLoop::create(0));
      loops.push_back(worker_loops.back().get());
    }
    if (loops.empty()) loops.push_back(loop.get());
    const int pid = ::getpid();
    net = "127." + std::to_string(64 + pid % 100) + "." + std::to_string(pid / 100 % 250) + ".";
    mesh_ca = authority("mesh");
    apps_ca = authority("apps");
    engine =
        *Engine::create(*loop, loops, system_random(),
                        {.server = [this] { return server_end ? server_proxy_end.get() : nullptr; },
                         .node = [this] { return node_proxy_end.get(); },
                         .run_dir = run_dir,
                         .keep_leaves =
                             [this](const auto& set, const auto& removed) {
                               for (const auto& r : set) kept_leaves[r.name] = r;
                               for (const auto& r : removed) kept_leaves.erase(r.name);
                             }});
    for (auto& w : worker_loops) worker_threads.emplace_back([l = w.get()] { l->run(); });
    std::tie(server_end, server_proxy_end) =
        ipc::memory_channels(*loop, {[this](ipc::Received r) { on_server(std::move(r)); }, [] {}},
                             {[this](ipc::Received r) { engine->on_server(std::move(r)); }, [] {}});
    std::tie(node_end, node_proxy_end) =
        ipc::memory_channels(*loop, {[this](ipc::Received r) { on_node(std::move(r)); }, [] {}},
                             {[this](ipc::Received r) { engine->on_node(std::move(r)); }, [] {}});
    pc::Settings s;
    s.pod_cidrs = {net + "0/25"};
    s.service_cidrs = {net + "128/25"};
    s.router_ip = ip(250);
    s.dns_ip = ip(253);
    put(pc::Type::Settings, "node", s);
    put(pc::Type::TrustBundle, "istio-system",
        pc::TrustBundle{mesh_ca->root_pem(), "cluster.local"});
    put(pc::Type::Mesh, "istio-system", pc::Mesh{});
  }
  ~Rig() {
    for (auto& w : worker_loops) w->stop();
    for (auto& t : worker_threads) t.join();
    apps.clear();
    engine.reset();
    server_end.reset();
    server_proxy_end.reset();
    node_end.reset();
    node_proxy_end.reset();
  }

  std::string ip(int host) const { return net + std::to_string(host); }

  static std::shared_ptr<const pki::Authority> authority(const std::string& name) {
    return *pki::Authority::load(*pki::Authority::create({name, ""}, wall()));
  }
  static WallTime wall() {
    timespec t{};
    clock_gettime(CLOCK_REALTIME, &t);
    return {t.tv_sec * 1'000'000'000 + t.tv_nsec};
  }
  pki::Credential leaf(const pki::Authority& ca, const std::string& uri,
                       Duration lifetime = 1h) const {
    pki::LeafSpec spec;
    spec.uri = uri;
    spec.server = spec.client = true;
    spec.lifetime = lifetime;
    return *ca.issue_with_key(spec, wall());
  }

  template <class T>
  void put(pc::Type type, const std::string& name, const T& value) {
    pending.push_back(resource(type, name, value));
  }
  /// Applies what was put; the refusals, once every worker runs it.
  std::vector<pc::Refusal> apply(std::vector<pc::Ref> removed = {}) {
    std::vector<pc::Refusal> out;
    bool done = false;
    engine->apply(pending, removed, [&](std::vector<pc::Refusal> r) {
      out = std::move(r);
      done = true;
      loop->stop();
    });
    pending.clear();
    if (!done) loop->run();
    return out;
  }
  /// Runs the loop until `condition`, at most 5 s. False: it never held.
  bool until(std::function<bool()> condition) {
    const Instant end = loop->now() + 5s;
    while (!condition()) {
      if (loop->now() >= end) return false;
      auto timer = loop->after(1ms, [this] { loop->stop(); });
      loop->run();
    }
    return true;
  }
  /// Runs blocking clients on threads while the loop serves them.
  std::vector<Answer> run(std::vector<std::function<Answer()>> clients) {
    std::vector<Answer> out(clients.size());
    std::vector<std::thread> threads;
    std::atomic<std::size_t> left = clients.size();
    for (std::size_t i = 0; i < clients.size(); ++i) {
      threads.emplace_back([&, i] {
        out[i] = clients[i]();
        if (--left == 0) loop->stop();
      });
    }
    while (left != 0) {
      auto guard = loop->after(100ms, [this] { loop->stop(); });
      loop->run();
    }
    for (auto& t : threads) t.join();
    return out;
  }
  Answer one(std::function<Answer()> client) { return run({std::move(client)})[0]; }

  /// A pod with an app, known to config and node. `revision`: the app is a revision's.
  pc::Workload workload(const std::string& name, int host, bool injected = true) const {
    pc::Workload w;
    w.ns = "default";
    w.name = w.workload_name = name;
    w.ip = ip(host);
    w.mesh = "istio-system";
    w.service_account = name;
    w.injected = injected;
    if (injected) w.spiffe_id = "spiffe://cluster.local/ns/default/sa/" + name;
    w.ready = true;
    return w;
  }
  void put_workload(const std::string& uid, const pc::Workload& w) {
    put(pc::Type::Workload, uid, w);
    if (w.injected) put(pc::Type::Identity, w.spiffe_id, pc::Identity{w.mesh});
  }
  void node_pod(const std::string& uid, const pc::Workload& w, std::vector<Fd> fds = {},
                std::vector<ipc::ProbeSpec> probes = {}) {
    ipc::Pod p;
    p.uid = uid;
    p.ns = w.ns;
    p.name = w.name;
    p.ip = w.ip;
    p.probes = std::move(probes);
    p.has_fds = true;
    if (fds.empty()) fds.push_back(listen_on(w.ip, 0, nullptr));
    node_end->send(p, std::move(fds));
  }
  App& app(int host, std::uint16_t port = 0) {
    apps.push_back(std::make_unique<App>(*loop, ip(host), port));
    return *apps.back();
  }
  std::uint16_t listen(const std::string& purpose, const std::string& address,
                       std::uint16_t port = 0) {
    std::uint16_t bound = 0;
    Fd fd = listen_on(address, port, &bound);
    ipc::Listener l;
    l.key = purpose + address + std::to_string(bound);
    l.purpose = purpose;
    l.port = bound;
    EXPECT_TRUE(engine->on_listener(l, std::move(fd)).has_value());
    return bound;
  }

  void on_server(ipc::Received r) {
    if (r.type == ipc::MessageType::Csr) {
      const auto csr = *r.as<ipc::Csr>();
      pki::LeafSpec spec;
      spec.uri = csr.identity;
      spec.server = spec.client = true;
      spec.lifetime = 24h;
      auto chain = mesh_ca->issue(csr.pkcs10_pem, spec, wall());
      EXPECT_TRUE(chain.has_value());
      ++csrs;
      if (chain) server_end->send(ipc::Cert{csr.identity, *chain, ""});
    }
    if (r.type == ipc::MessageType::Demand) demands.push_back(*r.as<ipc::Demand>());
    if (r.type == ipc::MessageType::Stats) stats.push_back(*r.as<ipc::Stats>());
    if (r.type == ipc::MessageType::Reach) {
      const auto reach = *r.as<ipc::Reach>();
      reaches[reach.ingress] = reach;
    }
  }
  void on_node(ipc::Received r) {
    if (r.type == ipc::MessageType::Want) {
      const auto want = *r.as<ipc::Want>();
      if (!give_sockets) return;
      std::vector<Fd> fds;
      for (std::uint32_t i = 0; i < want.level; ++i) {
        fds.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      }
      ipc::Sockets s;
      s.uid = want.uid;
      node_end->send(s, std::move(fds));
    }
    if (r.type == ipc::MessageType::Logged) {
      const auto logged = *r.as<ipc::Logged>();
      node_end->ack(r);
      std::string_view rest = logged.lines;
      while (!rest.empty()) {
        const auto end = rest.find('\n');
        access_log[logged.uid + "/" + logged.container].emplace_back(rest.substr(0, end));
        rest.remove_prefix(end + 1);
      }
    }
    if (r.type == ipc::MessageType::Probed) {
      const auto p = *r.as<ipc::Probed>();
      probed[p.uid + " " + p.probe] = p;
    }
  }

  std::unique_ptr<io::RealLoop> loop;
  std::vector<std::unique_ptr<io::RealLoop>> worker_loops;
  std::vector<std::thread> worker_threads;
  std::string net;
  std::string run_dir = ::testing::TempDir() + "knit-proxy-" + std::to_string(::getpid());
  std::map<std::string, pc::Resource> kept_leaves;
  std::shared_ptr<const pki::Authority> mesh_ca, apps_ca;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<ipc::Channel> server_end, server_proxy_end, node_end, node_proxy_end;
  std::vector<std::unique_ptr<App>> apps;
  std::vector<pc::Resource> pending;
  std::vector<ipc::Demand> demands;
  std::vector<ipc::Stats> stats;
  std::map<std::string, ipc::Reach> reaches;
  std::map<std::string, ipc::Probed> probed;
  std::map<std::string, std::vector<std::string>> access_log;
  int csrs = 0;
  bool give_sockets = true;
};

}  // namespace knit::proxy::test
