#include "proxy/engine.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"

namespace knit::proxy {
namespace {
constexpr std::string_view kLogModule = "proxy";
using namespace std::chrono_literals;

Result<Fd> memory_file(std::string_view text) {
  Fd fd(::memfd_create("knit-metrics", MFD_CLOEXEC));
  if (!fd) return errno_error("memfd_create", errno);
  while (!text.empty()) {
    const ssize_t n = ::write(fd.get(), text.data(), text.size());
    if (n <= 0) return errno_error("write", errno);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

std::string namespace_of(const std::string& name) { return name.substr(0, name.find('/')); }
}  // namespace

Engine::Engine(io::Loop& main, std::vector<io::Loop*> workers, std::unique_ptr<Random> random,
               Hooks hooks)
    : main_(main),
      hooks_(std::move(hooks)),
      shared_(std::move(random)),
      tables_(std::make_shared<Tables>()),
      logs_([this] { return hooks_.node(); }),
      probe_sockets_(main, [this](const std::string& uid,
                                  std::uint32_t level) { want(uid, level, workers_.size()); }),
      prober_(main, probe_sockets_,
              {.probed =
                   [this](const ipc::Probed& p) {
                     if (auto* node = hooks_.node()) node->send_state(p.uid + "\n" + p.probe, p);
                   },
               .app_ready =
                   [this](const std::string& uid, bool ready) {
                     const auto it = pods_.find(uid);
                     if (it == pods_.end()) return;
                     it->second.app_ready = ready;
                     reconcile_gates({}, {uid});
                   }}),
      roles_(main, hooks_.run_dir,
             {.up =
                  [this](const std::string& uid, bool up) {
                    each_worker([uid, up](Worker& w) { w.roles().set_up(uid, up); });
                  },
              .probed =
                  [this](const ipc::Probed& p) {
                    if (auto* node = hooks_.node()) node->send_state(p.uid + "\n" + p.probe, p);
                  }}) {
  for (std::size_t i = 0; i < workers.size(); ++i) {
    workers_.push_back(
        {workers[i], std::make_unique<Worker>(*workers[i], shared_, static_cast<unsigned>(i))});
    workers_.back().worker->roles().set_run_dir(hooks_.run_dir);
  }
}

Result<std::unique_ptr<Engine>> Engine::create(io::Loop& main, std::vector<io::Loop*> workers,
                                               std::unique_ptr<Random> random, Hooks hooks) {
  if (workers.empty()) return Error(Code::InvalidArgument, "the proxy needs a worker");
  ::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  KNIT_TRY(const auto pem, self_signed("router.knit.local", main.wall_now()));
  TlsServerOptions options;
  options.chain_pem = pem.first;
  options.key_pem = pem.second;
  KNIT_TRY(auto fallback, TlsContext::server(options));
  std::unique_ptr<Engine> e(
      new Engine(main, std::move(workers), std::move(random), std::move(hooks)));
  Engine* p = e.get();
  const auto weak = std::weak_ptr(e->alive_);
  e->shared_.want = [p, weak](const std::string& uid, std::uint32_t level, unsigned worker) {
    p->main_.post([p, weak, uid, level, worker] {
      if (!weak.expired()) p->want(uid, level, worker);
    });
  };
  e->shared_.demand = [p, weak](const std::string& revision) {
    p->main_.post([p, weak, revision] {
      if (!weak.expired()) p->send_demand(revision);
    });
  };
  e->shared_.access_log = [p, weak](AccessLog::Batch batch) {
    p->main_.post([p, weak, b = std::make_shared<AccessLog::Batch>(std::move(batch))] {
      if (!weak.expired()) p->logs_.add(std::move(*b));
    });
  };
  // Runs on worker threads: what it touches is locked inside.
  e->shared_.admin_page = [p](const std::string& uid, AdminPage page, const Tables& tables) {
    return p->admin_page(uid, page, tables);
  };
  for (auto& slot : e->workers_) slot.worker->set_default_certificate(fallback);
  e->tick_ = main.after(1s, [p] { p->tick(); });
  return e;
}

Engine::~Engine() = default;

void Engine::each_worker(std::function<void(Worker&)> work) {
  for (auto& slot : workers_) {
    slot.loop->post([w = slot.worker.get(), work, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) work(*w);
    });
  }
}

// ---- config

void Engine::apply(const std::vector<pc::Resource>& set, const std::vector<pc::Ref>& removed,
                   Applied applied) {
  auto next = std::make_shared<Tables>(*tables_);
  std::vector<Nack> nacks;
  std::set<std::string> revisions, pods;
  bool identities = false;
  Affected affected;
  auto ordered = set;
  std::sort(ordered.begin(), ordered.end(),
            [](const auto& a, const auto& b) { return a.type < b.type; });
  const auto note = [&](pc::Type type, const std::string& name) {
    if (type == pc::Type::Revision) revisions.insert(name);
    if (type == pc::Type::Workload) pods.insert(name);
    identities = identities || type == pc::Type::Identity || type == pc::Type::TrustBundle ||
                 type == pc::Type::Mesh;
  };
  for (const auto& r : ordered) affected_by(*next, {r.type, r.name}, affected);
  for (const auto& ref : removed) affected_by(*next, ref, affected);
  for (const auto& r : ordered) {
    if (auto done = next->set(r); !done) {
      nacks.push_back({{r.type, r.name}, done.error().message()});
      continue;
    }
    note(r.type, r.name);
  }
  for (const auto& ref : removed) {
    next->remove(ref);
    note(ref.type, ref.name);
    if (ref.type == pc::Type::Identity) drop_identity(ref.name);
    if (ref.type == pc::Type::Probe) told_reach_.erase(ref.name);
  }
  for (const auto& r : ordered) affected_by(*next, {r.type, r.name}, affected);
  ++next->version;
  tables_ = next;
  if (identities) reconcile_identities();  // may add held leaves: part of the same publication
  publish(tables_, [this, applied = std::move(applied), nacks, affected] {
    evaluate_probes(affected);
    applied(nacks);
  });
  reconcile_gates(revisions, pods);
}

void Engine::publish(TablesRef next, std::function<void()> all_run) {
  struct Count {
    std::size_t left;
    std::function<void()> done;
  };
  auto count = std::make_shared<Count>(Count{workers_.size(), std::move(all_run)});
  std::shared_ptr<TlsContext> fallback;
  if (const auto* c = next->certificates.find("openshift-ingress/router-certs-default")) {
    fallback = c->simple;
  }
  for (auto& slot : workers_) {
    slot.loop->post(
        [this, w = slot.worker.get(), next, count, fallback, alive = std::weak_ptr(alive_)] {
          if (alive.expired()) return;
          w->publish(next);
          if (fallback) w->set_default_certificate(fallback);
          main_.post([count, alive] {
            if (alive.expired()) return;
            if (--count->left == 0 && count->done) count->done();
          });
        });
  }
}

void Engine::reconcile_gates(const std::set<std::string>& revisions,
                             const std::set<std::string>& pods) {
  const Instant now = main_.now();
  std::set<std::string> touched = pods;
  for (const auto& name : revisions) {
    const auto* r = tables_->revisions.find(name);
    if (!r) {
      shared_.gate(name)->close(now);
      shared_.drop_gate(name);
      told_hash_.erase(name);
      continue;
    }
    shared_.gate(name)->configure(now, *r);
    for (const auto& [uid, pod] : pods_) {
      const auto* w = tables_->workloads.find(uid);
      if (w && w->revision == name) touched.insert(uid);
    }
  }
  for (const auto& uid : touched) {
    const auto* w = tables_->workloads.find(uid);
    const auto known = pods_.find(uid);
    if (!w || known == pods_.end()) {
      for (const auto& gate : shared_.gates()) gate->remove_pod(now, uid);
      continue;
    }
    if (w->revision.empty()) continue;
    attach_revision(uid);
    const auto gate = shared_.gate(w->revision);
    if (w->terminating || known->second.draining) {
      gate->remove_pod(now, uid);
    } else {
      gate->set_pod(now, uid, known->second.app_ready && known->second.learned);
    }
  }
}

void Engine::attach_revision(const std::string& uid) {
  const auto* w = tables_->workloads.find(uid);
  if (!w || w->revision.empty() || !pods_.contains(uid)) return;
  if (const auto* r = tables_->revisions.find(w->revision)) prober_.set_revision(uid, *r);
}

/// Which Ingresses may lead elsewhere now. What all roads share (gateways, certificates, built-in
/// roles, settings) affects all.
void Engine::affected_by(const Tables& t, const pc::Ref& ref, Affected& out) {
  switch (ref.type) {
    case pc::Type::Identity:
      return;
    case pc::Type::Probe:
      out.names.insert(ref.name);
      return;
    case pc::Type::Revision:
    case pc::Type::Routes:
      out.namespaces.insert(namespace_of(ref.name));
      return;
    case pc::Type::EdgeRoute:
      if (const auto* e = t.edge_routes.find(ref.name)) out.hosts.insert(host_of(e->host));
      return;
    case pc::Type::Workload:
      if (const auto* w = t.workloads.find(ref.name)) {
        if (w->role != pc::Role::App) out.all = true;
        out.namespaces.insert(w->ns);
      }
      return;
    case pc::Type::Service:
      // A Service of gateways is on everybody's road.
      if (const auto* s = t.services.find(ref.name); s && s->revision.empty()) {
        for (const auto& p : s->ports) {
          for (const auto& b : p.backends) {
            const auto* w = t.workloads.find(b.pod_uid);
            if (w && w->role != pc::Role::App) out.all = true;
          }
        }
      }
      out.namespaces.insert(namespace_of(ref.name));
      return;
    default:
      out.all = true;
      return;
  }
}

void Engine::evaluate_probes(const Affected& affected) {
  auto* server = hooks_.server();
  if (!server) return;  // on_server_connected() evaluates all
  const TablesRef t = tables_;
  t->probes.for_each([&](const std::string& name, const std::shared_ptr<const pc::Probe>& probe) {
    const bool concerned =
        affected.all || affected.names.contains(name) ||
        affected.namespaces.contains(namespace_of(name)) ||
        (!affected.hosts.empty() &&
         std::any_of(probe->targets.begin(), probe->targets.end(), [&](const auto& target) {
           return affected.hosts.contains(host_of(target.host));
         }));
    if (!concerned) return;
    const ipc::Reach r =
        reach(*t, name, *probe, static_cast<std::uint32_t>(workers_.size()), handshakes_);
    std::string state = codec::encode(r);
    std::string& told = told_reach_[name];
    if (told == state) return;
    told = std::move(state);
    server->send_state(name, r);
  });
}

// ---- server

void Engine::on_server(ipc::Received m) {
  switch (m.type) {
    case ipc::MessageType::Cert: {
      const auto cert = m.as<ipc::Cert>();
      if (cert) on_cert(*cert);
      return;
    }
    case ipc::MessageType::Metrics: {
      const auto call = m.as<ipc::Metrics>();
      auto* server = hooks_.server();
      if (!call || !server) return;
      auto text = memory_file(metrics_text());
      if (!text) {
        KNIT_LOG(Warn, "metrics cannot be handed over", KV("error", text.error()));
        return;
      }
      std::vector<Fd> fds;
      fds.push_back(std::move(*text));
      server->send(ipc::MetricsReply{call->call}, std::move(fds));
      return;
    }
    default:
      return;
  }
}

void Engine::on_server_connected() {
  former_leaves_.clear();  // what the last config did not name
  for (auto& [id, own] : identities_) {
    if (!own.next_key_pem.empty()) request_certificate(id, own);
  }
  told_reach_.clear();
  told_hash_.clear();
  evaluate_probes({.all = true});
  for (const auto& gate : shared_.gates()) {
    if (gate->waiting().count > 0) send_demand(gate->name());
  }
}

void Engine::send_demand(const std::string& revision) {
  auto* server = hooks_.server();
  if (!server) return;
  const auto w = shared_.gate(revision)->waiting();
  if (w.count == 0 && !demanded_.contains(revision)) return;
  if (w.count == 0) {
    demanded_.erase(revision);
  } else {
    demanded_.insert(revision);
  }
  server->send_state(revision, ipc::Demand{revision, w.count,
                                           w.count == 0 ? Duration{0} : main_.now() - w.oldest});
}

void Engine::tick() {
  tick_ = main_.after(1s, [this] { tick(); });
  const Instant now = main_.now();
  const WallTime wall = main_.wall_now();
  each_worker([](Worker& w) { w.tick(); });
  probe_sockets_.sweep(now - 60s);
  roles_.tick();
  for (auto& [id, own] : identities_) {
    const bool due = !own.chain_pem.empty() && wall >= own.renew_at;
    if ((due || own.chain_pem.empty()) && now - own.asked >= 5s) request_certificate(id, own);
  }
  auto* server = hooks_.server();
  ipc::Stats stats;
  stats.when = wall;
  for (const auto& gate : shared_.gates()) {
    const auto report = gate->cut(now);
    const auto* r = tables_->revisions.find(gate->name());
    const std::string hash = r ? r->sks_hash : "";
    const auto told = told_hash_.find(gate->name());
    const bool news = told == told_hash_.end() || told->second != hash;
    if (!server) continue;
    if (gate->waiting().count > 0 || demanded_.contains(gate->name())) send_demand(gate->name());
    // An idle revision with pods reports zeros: only they let the autoscaler go to zero.
    if (!report.traffic && !news && !gate->has_pod()) continue;
    told_hash_[gate->name()] = hash;
    ipc::RevisionStat s;
    s.revision = gate->name();
    s.average_concurrency = report.average_concurrency;
    s.requests_per_second = report.requests_per_second;
    s.in_flight = report.in_flight;
    s.sks_hash = hash;
    s.pods = report.pods;
    stats.revisions.push_back(std::move(s));
  }
  for (auto& slot : workers_) slot.worker->metrics().take_egress_refused(stats.egress_refused);
  if (server && (!stats.revisions.empty() || !stats.egress_refused.empty())) {
    server->send_state("", stats);
  }
}

std::uint32_t Engine::in_flight() const {
  std::uint32_t n = 0;
  for (const auto& gate : shared_.gates()) n += gate->in_flight();
  return n;
}

TrafficMetrics::Pages Engine::pages(std::string_view uid) const {
  TrafficMetrics::Pages out;
  for (const auto& slot : workers_) slot.worker->metrics().merge_into(out, uid);
  return out;
}

std::string Engine::metrics_text() const {
  const auto all = pages({});
  return istio_text(all) + invocation_text(all) + activator_text(shared_.gates(), *tables_);
}

std::string Engine::admin_page(const std::string& uid, AdminPage page, const Tables& tables) {
  switch (page) {
    case AdminPage::Sidecar:
      return istio_text(pages(uid));
    case AdminPage::Activator:
      return activator_text(shared_.gates(), tables);
    case AdminPage::QueueProxy:
      break;
  }
  std::string out = invocation_text(pages(uid));
  const auto* w = tables.workloads.find(uid);
  const auto* r = w ? tables.revisions.find(w->revision) : nullptr;
  // Only with a concurrency limit is there a queue. Source: spec/serving.md 5.5.
  if (r && r->container_concurrency > 0) {
    out += queue_depth_text(*shared_.gate(w->revision),
                            revision_labels(w->revision, r) + ",k8s_pod_name=\"" + w->name + "\"",
                            uid);
  }
  return out;
}

void Engine::drain(Duration deadline, std::function<void()> done) {
  drained_ = std::move(done);
  each_worker([](Worker& w) { w.drain(); });
  drain_timer_ = main_.after(deadline, [this] {
    if (auto f = std::exchange(drained_, nullptr)) f();
  });
  drained();
}

void Engine::drained() {
  auto sum = std::make_shared<std::pair<std::size_t, std::size_t>>(workers_.size(), 0);
  for (auto& slot : workers_) {
    slot.loop->post([this, w = slot.worker.get(), sum, alive = std::weak_ptr(alive_)] {
      if (alive.expired()) return;
      w->access_log().flush();
      main_.post([this, sum, n = w->sessions(), alive] {
        if (alive.expired()) return;
        sum->second += n;
        if (--sum->first != 0 || !drained_) return;
        if (sum->second == 0) {
          drain_timer_.cancel();
          if (auto f = std::exchange(drained_, nullptr)) f();
          return;
        }
        probe_timer_ = main_.after(100ms, [this] { drained(); });
      });
    });
  }
}

}  // namespace knit::proxy
