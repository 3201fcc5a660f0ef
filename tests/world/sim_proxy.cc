#include "sim_proxy.h"

#include <unistd.h>

#include "proxy/exchange.h"

namespace knit::world {
namespace pc = proxy_config;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {
/// Keys are made once for each identity of the test binary: they take time and say nothing.
const proxy::KeyAndCsr& key_of(const std::string& identity) {
  static std::map<std::string, proxy::KeyAndCsr> made;
  auto it = made.find(identity);
  if (it == made.end()) {
    auto key = proxy::make_csr(identity);
    KNIT_CHECK(key.has_value());
    it = made.emplace(identity, std::move(*key)).first;
  }
  return it->second;
}
}  // namespace

struct SimProxy::Process : std::enable_shared_from_this<SimProxy::Process> {
  explicit Process(SimProxy& owner)
      : p(owner),
        loop(owner.loop_),
        journal([this](Fd fd) { p.kept_ = std::move(fd); }),
        client(config_stream::Client::Hooks{
            [this](const auto& set, const auto& removed, auto applied) {
              apply(set, removed, std::move(applied));
            },
            [this](const auto& set, const auto& removed) {
              journal.append(set, removed, [this] { return client.snapshot(); });
            }}) {}

  SimProxy& p;
  io::Loop& loop;
  ipc::Channel* server = nullptr;
  proxy::TablesRef tables = std::make_shared<proxy::Tables>();
  proxy::HandshakeCache handshakes;
  app::ConfigJournal journal;
  config_stream::Client client;
  std::map<std::string, std::string> told_reach, told_hash;
  std::set<std::string> demanded;
  struct Own {
    std::string mesh, chain_pem;
    std::string held;  // what its context was made of
    Instant asked{};
  };
  std::map<std::string, Own> identities;
  std::map<std::string, std::shared_ptr<proxy::RevisionGate>> gates;
  io::Loop::Timer ticking;
  std::uint64_t timer_ids = 0;
  std::map<std::uint64_t, io::Loop::Timer> timers;

  struct Request {
    std::string host, revision, uid;
    Duration work{};
    Instant since{};
    std::uint64_t ticket = 0;
    proxy::Decision decision;
    std::function<void(Answer)> done;
  };
  std::map<std::uint64_t, Request> requests;
  std::uint64_t request_ids = 0;

  template <class F>
  void after(Duration delay, F work) {
    const auto id = ++timer_ids;
    timers[id] = loop.after(delay, [weak = weak_from_this(), id, work] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      auto mine = self->timers.extract(id);
      work(*self);
    });
  }
  template <class F>
  void post(F work) {
    loop.post([weak = weak_from_this(), work] {
      if (const auto self = weak.lock()) work(*self);
    });
  }

  // ---- config, as proxy::Engine does it

  void apply(const std::vector<pc::Resource>& set, const std::vector<pc::Ref>& removed,
             config_stream::Client::Applied applied) {
    auto next = std::make_shared<proxy::Tables>(*tables);
    std::vector<pc::Refusal> bad;
    std::set<std::string> revisions, pods;
    const auto note = [&](pc::Type type, const std::string& name) {
      if (type == pc::Type::Revision) revisions.insert(name);
      if (type == pc::Type::Workload) pods.insert(name);
    };
    for (const auto& r : set) {
      const pc::Ref ref{r.type, r.name};
      if (auto done = next->set(r); !done) {
        p.refused_[ref] = r.hash;
        bad.push_back({ref, done.error().message()});
        continue;
      }
      p.refused_.erase(ref);
      note(r.type, r.name);
    }
    for (const auto& ref : removed) {
      next->remove(ref);
      p.refused_.erase(ref);
      note(ref.type, ref.name);
      if (ref.type == pc::Type::Identity) identities.erase(ref.name);
      if (ref.type == pc::Type::Probe) told_reach.erase(ref.name);
    }
    tables = next;
    tables->identities.for_each([&](const std::string& id, const auto& resource) {
      Own& own = identities[id];
      own.mesh = resource->mesh;
      if (own.chain_pem.empty()) {
        ask(id, own);
      } else {
        hold(id);
      }
    });
    for (const auto& name : revisions) {
      for (const auto& uid : configure(name)) pods.insert(uid);
    }
    for (const auto& uid : pods) place(uid);
    after(p.hooks_.worker_lag(), [bad, applied = std::move(applied)](Process& self) {
      self.evaluate();
      applied(bad);
    });
  }
  /// Pods of the revision are to be placed anew.
  std::vector<std::string> configure(const std::string& name) {
    const auto* r = tables->revisions.find(name);
    if (r == nullptr) {
      if (const auto gate = gates.extract(name)) gate.mapped()->close(loop.now());
      told_hash.erase(name);
      return {};
    }
    gate(name).configure(loop.now(), *r);
    return r->pods;
  }
  proxy::RevisionGate& gate(const std::string& name) {
    auto& gate = gates[name];
    if (!gate) {
      gate = std::make_shared<proxy::RevisionGate>(name);
      gate->set_on_demand([weak = weak_from_this(), name] {
        if (const auto self = weak.lock()) self->post([name](Process& s) { s.demand(name); });
      });
    }
    return *gate;
  }
  void place(const std::string& uid) {
    const auto* w = tables->workloads.find(uid);
    for (const auto& [name, gate] : gates) {
      if (w == nullptr || w->revision != name || w->terminating) gate->remove_pod(loop.now(), uid);
    }
    if (w != nullptr && !w->revision.empty() && !w->terminating &&
        tables->revisions.find(w->revision)) {
      gate(w->revision).set_pod(loop.now(), uid, w->ready);
    }
  }

  void ask(const std::string& id, Own& own) {
    own.asked = loop.now();
    if (server != nullptr) server->send(ipc::Csr{id, key_of(id).csr_pem});
  }
  void on_cert(const ipc::Cert& cert) {
    const auto it = identities.find(cert.identity);
    if (it == identities.end() || !cert.error.empty()) return;
    it->second.chain_pem = cert.chain_pem;
    hold(cert.identity);
    evaluate();
  }
  void hold(const std::string& id) {
    Own& own = identities[id];
    const auto* bundle = tables->bundles.find(own.mesh);
    std::string made_of = own.chain_pem + (bundle ? bundle->roots_pem + bundle->trust_domain : "");
    if (own.held == made_of) return;
    const auto info = proxy::inspect_leaf(own.chain_pem);
    if (bundle == nullptr || !info) return;
    proxy::TlsServerOptions o;
    o.chain_pem = own.chain_pem;
    o.key_pem = key_of(id).key_pem;
    o.client = proxy::ClientCertificate::Require;
    o.client_ca_pem = bundle->roots_pem;
    o.spiffe_trust_domain = bundle->trust_domain;
    o.mesh_alpn = true;
    auto context = proxy::TlsContext::server(o);
    if (!context) {
      p.hooks_.violation("a certificate of ours cannot be used: " + context.error().message());
      return;
    }
    own.held = std::move(made_of);
    auto next = std::make_shared<proxy::Tables>(*tables);
    next->held.set(id, proxy::HeldIdentity{id, own.mesh, o.spiffe_trust_domain, info->hash,
                                           std::move(*context), info->not_before, info->not_after});
    tables = next;
  }
  void evaluate() {
    if (server == nullptr) return;
    tables->probes.for_each([&](const std::string& name, const auto& probe) {
      const ipc::Reach r = proxy::reach(*tables, name, *probe, 1, handshakes);
      std::string state = codec::encode(r);
      std::string& told = told_reach[name];
      if (told == state) return;
      told = std::move(state);
      server->send_state(name, r);
    });
  }

  // ---- reports

  void demand(const std::string& revision) {
    const auto it = gates.find(revision);
    if (server == nullptr || it == gates.end()) return;
    const auto w = it->second->waiting();
    if (w.count == 0 && !demanded.contains(revision)) return;
    if (w.count == 0) {
      demanded.erase(revision);
    } else {
      demanded.insert(revision);
    }
    server->send_state(revision, ipc::Demand{revision, w.count,
                                             w.count == 0 ? Duration{} : loop.now() - w.oldest});
  }
  void tick() {
    ticking = loop.after(seconds(1), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->tick();
    });
    for (auto& [id, own] : identities) {
      if (own.chain_pem.empty() && loop.now() - own.asked >= seconds(5)) ask(id, own);
    }
    ipc::Stats stats;
    stats.when = loop.wall_now();
    for (const auto& [name, gate] : gates) {
      const auto report = gate->cut(loop.now());
      const auto* r = tables->revisions.find(name);
      const std::string hash = r ? r->sks_hash : "";
      const auto told = told_hash.find(name);
      const bool news = told == told_hash.end() || told->second != hash;
      if (server == nullptr) continue;
      if (gate->waiting().count > 0 || demanded.contains(name)) demand(name);
      if (!report.traffic && !news && !gate->has_pod()) continue;
      told_hash[name] = hash;
      ipc::RevisionStat s;
      s.revision = name;
      s.average_concurrency = report.average_concurrency;
      s.requests_per_second = report.requests_per_second;
      s.in_flight = report.in_flight;
      s.sks_hash = hash;
      s.pods = report.pods;
      stats.revisions.push_back(std::move(s));
    }
    if (server != nullptr && !stats.revisions.empty()) server->send_state("", stats);
  }
  void connected(ipc::Channel& channel) {
    server = &channel;
    client.connect(channel);
    for (auto& [id, own] : identities) {
      if (own.chain_pem.empty()) ask(id, own);
    }
    told_reach.clear();
    told_hash.clear();
    evaluate();
    for (const auto& [name, gate] : gates) demand(name);
  }

  // ---- requests

  proxy::Decision route(const std::string& host) {
    const auto& t = *tables;
    proxy::Decision none;
    none.status = 503;
    none.details = "no road";
    const auto* e = proxy::pick_passthrough(t, host);
    if (e == nullptr) return none;
    const auto* s = t.services.find(e->service);
    const auto* port = s ? proxy::port_of(*s, e->port) : nullptr;
    if (port == nullptr || port->backends.empty()) return none;
    const auto& b = port->backends.front();
    const auto* g = t.gateways.find(b.pod_uid + ":" + std::to_string(b.port));
    const auto* picked = g ? proxy::pick_server(*g, host) : nullptr;
    if (picked == nullptr) return none;
    proxy::HttpContext c;
    c.listener = proxy::HttpContext::Listener::Gateway;
    c.target = b.pod_uid;
    c.port = g->port;
    c.tls = true;
    c.gateway_server = picked->gateway;
    const proxy::RequestView q{"GET", host, "/",
                               [](std::string_view) -> const std::string_view* { return nullptr; }};
    return proxy::route_request(t, c, q, ++request_ids * 0x9e3779b97f4a7c15ULL);
  }
  void finish(std::uint64_t id, int status, std::string why) {
    auto node = requests.extract(id);
    if (!node) return;
    Request& r = node.mapped();
    if (!r.uid.empty()) {
      if (const auto it = gates.find(r.revision); it != gates.end()) {
        it->second->release(loop.now(), r.uid);
      }
    }
    if (r.done) r.done({r.host, status, std::move(why), r.revision});
  }
  void begin(const std::string& host, Duration work, std::function<void(Answer)> done) {
    proxy::Decision d = route(host);
    if (d.kind != proxy::Decision::Kind::Revision) {
      done({host, d.status, d.details, {}});
      return;
    }
    const auto id = ++request_ids;
    Request& r = requests[id];
    r.host = host;
    r.revision = d.revision;
    r.work = work;
    r.since = loop.now();
    r.decision = std::move(d);
    r.done = std::move(done);
    proxy::RevisionGate& g = gate(r.revision);
    const auto admission = g.acquire(loop.now(), r.decision.uid,
                                     [weak = weak_from_this(), id](proxy::RevisionGate::Outcome o) {
                                       const auto self = weak.lock();
                                       if (self == nullptr) return;
                                       self->post([id, o](Process& s) { s.resumed(id, o); });
                                     });
    switch (admission.admit) {
      case proxy::RevisionGate::Admit::Full:
        finish(id, 503, "activation queue full");
        return;
      case proxy::RevisionGate::Admit::Queued:
        r.ticket = admission.ticket;
        after(seconds(300), [id](Process& s) { s.give_up(id); });
        return;
      case proxy::RevisionGate::Admit::Now:
        forward(id, admission.uid);
        return;
    }
  }
  void give_up(std::uint64_t id) {
    const auto it = requests.find(id);
    if (it == requests.end() || !it->second.uid.empty()) return;
    if (const auto g = gates.find(it->second.revision); g != gates.end()) {
      if (!g->second->cancel(loop.now(), it->second.ticket)) return;  // resumed() is on its way
    }
    finish(id, 504, "activation request timeout");
  }
  void resumed(std::uint64_t id, const proxy::RevisionGate::Outcome& o) {
    const auto it = requests.find(id);
    if (it == requests.end()) {
      if (o.granted) KNIT_CHECK(false);  // only give_up ends a waiting request, and it cancels
      return;
    }
    if (o.granted) {
      forward(id, o.uid);
      return;
    }
    if (p.hooks_.revision_stays(it->second.revision)) {
      p.hooks_.violation("request to " + it->second.host + " was held for " + it->second.revision +
                         ", which exists, and refused");
    }
    finish(id, 503, "the revision is gone");
  }
  void forward(std::uint64_t id, const std::string& uid) {
    Request& r = requests.at(id);
    r.uid = uid;
    if (const auto gone = p.hooks_.gone_for(uid)) {
      // Its end may still be on its way to us; the real proxy tries another pod meanwhile.
      if (*gone > seconds(5) && server != nullptr) {
        p.hooks_.violation("request to " + r.host + " was sent to pod " + uid + ", gone for " +
                           go_duration(*gone));
      }
      finish(id, 503, "the pod is gone");
      return;
    }
    if (!proxy::last_hop(*tables, r.decision, uid, 8012)) {
      finish(id, 503, "the pod's policy rejects the caller");
      return;
    }
    after(r.work, [id](Process& s) { s.finish(id, 200, {}); });
  }
  void pod_ended(const std::string& uid) {
    std::vector<std::uint64_t> cut;
    for (const auto& [id, r] : requests) {
      if (r.uid == uid) cut.push_back(id);
    }
    for (const auto id : cut) finish(id, 502, "the pod ended");
  }
};

SimProxy::SimProxy(io::Loop& loop, Hooks hooks) : loop_(loop), hooks_(std::move(hooks)) {}
SimProxy::~SimProxy() = default;

void SimProxy::start() {
  auto process = std::make_shared<Process>(*this);
  process_ = process;
  if (kept_) {
    auto last = app::ConfigJournal::read(kept_.get());
    if (!last) {
      hooks_.violation("the journal cannot be read: " + last.error().message());
    } else {
      process->client.restore(std::move(*last), [] {});
    }
  }
  process->tick();
}
void SimProxy::kill() {
  auto dead = std::move(process_);
  if (dead == nullptr) return;
  auto lost = std::move(dead->requests);
  dead.reset();
  for (auto& [id, r] : lost) {
    if (r.done) r.done({r.host, 0, "the proxy was killed", r.revision});
  }
}
void SimProxy::connect(ipc::Channel& channel) {
  if (process_) process_->connected(channel);
}
void SimProxy::disconnect() {
  if (!process_) return;
  process_->server = nullptr;
  process_->client.disconnect();
}
void SimProxy::on_message(const ipc::Received& message) {
  if (!process_ || process_->client.on_message(message)) return;
  if (message.type == ipc::MessageType::Cert) {
    if (const auto cert = message.as<ipc::Cert>()) process_->on_cert(*cert);
  }
}
void SimProxy::pod_ended(const std::string& uid) {
  if (process_) process_->pod_ended(uid);
}
bool SimProxy::busy(const std::string& uid) const {
  if (!process_) return false;
  for (const auto& [id, r] : process_->requests) {
    if (r.uid == uid) return true;
  }
  return false;
}
void SimProxy::request(const std::string& host, Duration work, std::function<void(Answer)> done) {
  if (!process_) {
    done({host, 0, "no proxy", {}});
    return;
  }
  process_->begin(host, work, std::move(done));
}
std::size_t SimProxy::in_flight() const { return process_ ? process_->requests.size() : 0; }
proxy::TablesRef SimProxy::tables() const {
  return process_ ? process_->tables : std::make_shared<proxy::Tables>();
}
std::vector<pc::Resource> SimProxy::config() const {
  return process_ ? process_->client.snapshot() : std::vector<pc::Resource>{};
}

}  // namespace knit::world
