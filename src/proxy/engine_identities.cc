// The workloads' leaves: keys are made here, signed by the server, renewed at half life, and kept
// outside the process so that the next one can answer before it has heard from a server.
#include "base/log.h"
#include "proxy/engine.h"

namespace knit::proxy {
namespace {
constexpr std::string_view kLogModule = "proxy";

WallTime half_life(const LeafInfo& leaf) {
  return leaf.not_before + (leaf.not_after - leaf.not_before) / 2;
}
}  // namespace

void Engine::reconcile_identities() {
  tables_->identities.for_each(
      [&](const std::string& id, const std::shared_ptr<const pc::Identity>& resource) {
        auto& own = identities_[id];
        own.mesh = resource->mesh;
        if (auto former = former_leaves_.extract(id); former && own.chain_pem.empty()) {
          own.key_pem = std::move(former.mapped().key_pem);
          own.chain_pem = std::move(former.mapped().chain_pem);
          own.renew_at = half_life(*inspect_leaf(own.chain_pem));
          own.next_key_pem.clear();
          own.next_csr_pem.clear();
          keep(id, own);
        }
        if (own.chain_pem.empty()) {
          if (own.next_key_pem.empty()) request_certificate(id, own);
        } else {
          hold(id);  // the bundle may have changed
        }
      });
}

void Engine::request_certificate(const std::string& id, OwnIdentity& own) {
  if (own.next_key_pem.empty()) {
    auto made = make_csr(id);
    if (!made) {
      own.problem = made.error().message();
      KNIT_LOG(Error, "cannot make a key", KV("identity", id), KV("error", made.error()));
      return;
    }
    own.next_key_pem = made->key_pem;
    own.next_csr_pem = made->csr_pem;
  }
  own.asked = main_.now();
  if (auto* server = hooks_.server()) server->send(ipc::Csr{id, own.next_csr_pem});
}

void Engine::on_cert(const ipc::Cert& cert) {
  const auto it = identities_.find(cert.identity);
  if (it == identities_.end() || it->second.next_key_pem.empty()) return;
  OwnIdentity& own = it->second;
  if (!cert.error.empty()) {
    own.problem = cert.error;
    KNIT_LOG(Warn, "certificate refused", KV("identity", cert.identity), KV("error", cert.error));
    return;
  }
  const auto info = inspect_leaf(cert.chain_pem);
  if (!info) {
    own.problem = info.error().message();
    return;
  }
  own.key_pem = std::move(own.next_key_pem);
  own.next_key_pem.clear();
  own.next_csr_pem.clear();
  own.chain_pem = cert.chain_pem;
  own.problem.clear();
  own.renew_at = half_life(*info);
  keep(cert.identity, own);
  auto next = std::make_shared<Tables>(*tables_);
  ++next->version;
  tables_ = next;
  hold(cert.identity);
  publish(tables_, [this] { evaluate_probes({.all = true}); });
}

/// Makes the leaf usable: tables_ is still private to the main loop when this is called.
void Engine::hold(const std::string& id) {
  const OwnIdentity& own = identities_[id];
  const auto* bundle = tables_->bundles.find(own.mesh);
  const auto info = inspect_leaf(own.chain_pem);
  if (!bundle || !info) return;
  TlsServerOptions o;
  o.chain_pem = own.chain_pem;
  o.key_pem = own.key_pem;
  o.client = ClientCertificate::Require;
  o.client_ca_pem = bundle->roots_pem;
  o.spiffe_trust_domain = bundle->trust_domain.empty() ? "cluster.local" : bundle->trust_domain;
  o.mesh_alpn = true;
  auto context = TlsContext::server(o);
  if (!context) {
    KNIT_LOG(Error, "certificate cannot be used", KV("identity", id), KV("error", context.error()));
    return;
  }
  HeldIdentity held;
  held.spiffe_id = id;
  held.mesh = own.mesh;
  held.trust_domain = o.spiffe_trust_domain;
  held.hash = info->hash;
  held.server = std::move(*context);
  held.not_before = info->not_before;
  held.not_after = info->not_after;
  auto next = std::make_shared<Tables>(*tables_);
  next->held.set(id, std::move(held));
  tables_ = next;
}

// ---- beyond this process

pc::Resource Engine::leaf(const std::string& id, const OwnIdentity& own) {
  return {pc::Type::Certificate, id, "",
          codec::encode(pc::Certificate{own.chain_pem, own.key_pem, ""})};
}

std::vector<pc::Resource> Engine::leaves() const {
  std::vector<pc::Resource> out;
  for (const auto& [id, own] : identities_) {
    if (!own.chain_pem.empty()) out.push_back(leaf(id, own));
  }
  return out;
}

void Engine::keep(const std::string& id, const OwnIdentity& own) {
  if (hooks_.keep_leaves) hooks_.keep_leaves({leaf(id, own)}, {});
}

void Engine::drop_identity(const std::string& id) {
  if (identities_.erase(id) == 0 || !hooks_.keep_leaves) return;
  hooks_.keep_leaves({}, {{pc::Type::Certificate, id}});
}

void Engine::restore_leaves(const std::vector<pc::Resource>& leaves) {
  for (const auto& r : leaves) {
    auto kept = codec::decode<pc::Certificate>(r.body);
    if (!kept) continue;
    const auto info = inspect_leaf(kept->chain_pem);
    if (info && info->not_after > main_.wall_now()) former_leaves_[r.name] = std::move(*kept);
  }
  reconcile_identities();
  publish(tables_, [this] { evaluate_probes({.all = true}); });
}

}  // namespace knit::proxy
