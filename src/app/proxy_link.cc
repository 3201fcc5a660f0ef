#include "app/proxy_link.h"

#include "base/log.h"
#include "controllers/mesh/identity.h"
#include "kube/resources.h"

namespace knit::app {
namespace {
constexpr std::string_view kLogModule = "proxy-link";

/// "default/hello" → the key of its Knative Ingress.
kube::Key ingress_key(std::string_view name) {
  const auto slash = name.find('/');
  return {kube::res::kingresses(), std::string(name.substr(0, slash)),
          std::string(slash == std::string_view::npos ? "" : name.substr(slash + 1))};
}
}  // namespace

ProxyLink::ProxyLink(io::Loop& loop, reconcile::Backend& backend, mesh::MeshSettings settings,
                     Autoscaling& autoscaling, std::string node, AuthorityOf authority)
    : loop_(loop),
      backend_(backend),
      autoscaling_(autoscaling),
      node_(std::move(node)),
      authority_(std::move(authority)),
      stream_({[](const proxy_config::Refusal& refusal) {
                 KNIT_LOG(Warn, "the proxy refused a resource",
                          KV("type", to_string(refusal.ref.type)), KV("name", refusal.ref.name),
                          KV("reason", refusal.reason));
               },
               [] {}}),
      compiler_(std::move(settings), [this](const mesh::ConfigDelta& delta) { on_delta(delta); }) {
  stream_.begin();  // a proxy may be there before the first objects are
}

void ProxyLink::start() {
  compiler_.start(*backend_.snapshot());
  stream_.complete();
  stream_.flush();
  const std::weak_ptr<int> alive = alive_;
  backend_.subscribe([this, alive](const reconcile::Change& change) {
    if (alive.expired()) return;
    compiler_.changed(*backend_.snapshot(), change);
    if (compiler_.dirty()) flush_soon();
  });
}

/// Changes that arrive together are compiled together.
void ProxyLink::flush_soon() {
  if (std::exchange(flush_posted_, true)) return;
  const std::weak_ptr<int> alive = alive_;
  loop_.post([this, alive] {
    if (alive.expired()) return;
    flush_posted_ = false;
    compiler_.flush(*backend_.snapshot());
  });
}

void ProxyLink::on_delta(const mesh::ConfigDelta& delta) {
  for (const auto& resource : delta.set) {
    if (resource.type == proxy_config::Type::Revision) {
      if (const auto r = codec::decode<proxy_config::Revision>(resource.body)) {
        autoscaling_.on_revision(resource.name, r->sks_hash, r->proxy_mode);
      }
    }
    stream_.set(resource);
  }
  for (const auto& ref : delta.removed) {
    if (ref.type == proxy_config::Type::Revision) autoscaling_.forget_revision(ref.name);
    stream_.remove(ref);
  }
  stream_.flush();
}

void ProxyLink::connect(ipc::Channel& channel) {
  channel_ = &channel;
  stream_.disconnect();
  stream_.connect(channel);
}

void ProxyLink::on_message(const ipc::Received& message) {
  if (stream_.on_message(message)) return;
  switch (message.type) {
    case ipc::MessageType::Csr: {
      const auto csr = message.as<ipc::Csr>();
      if (!csr) return;
      ipc::Cert cert;
      cert.identity = csr->identity;
      auto chain = mesh::answer_csr(*backend_.snapshot(), node_, csr->identity, csr->pkcs10_pem,
                                    authority_, loop_.wall_now());
      if (chain) {
        cert.chain_pem = std::move(*chain);
      } else {
        cert.error = chain.error().message();
        KNIT_LOG(Warn, "certificate refused", KV("identity", csr->identity), KV("why", cert.error));
      }
      if (channel_ != nullptr) channel_->send(cert);
      return;
    }
    case ipc::MessageType::Demand:
      if (const auto demand = message.as<ipc::Demand>()) autoscaling_.on_demand(*demand);
      return;
    case ipc::MessageType::Stats:
      if (const auto stats = message.as<ipc::Stats>()) autoscaling_.on_stats(*stats);
      return;
    case ipc::MessageType::Reach: {
      const auto reach = message.as<ipc::Reach>();
      if (!reach) return;
      JsonObject value;
      value["hash"] = reach->hash;
      value["ready"] = reach->ready;
      value["failure"] = reach->failure;
      backend_.signals().set(reconcile::Signal::Reach, ingress_key(reach->ingress), std::move(value));
      return;
    }
    default: return;
  }
}

}  // namespace knit::app
