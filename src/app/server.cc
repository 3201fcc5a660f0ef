// `knit server`: store, API, controllers, certificates and autoscaler, built and connected.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apiserver/server.h"
#include "app/control.h"
#include "app/event_roles.h"
#include "app/events_link.h"
#include "app/log_source.h"
#include "app/processes.h"
#include "app/tokens.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "io/real_loop.h"
#include "ipc/channel.h"
#include "kube/resources.h"
#include "kube/roles.h"
#include "pki/vault.h"
#include "store/store.h"

namespace knit::app {
namespace {

constexpr std::string_view kLogModule = "server";

/// The n-th address of an IPv4 range, as text.
std::string address_in(const std::string& cidr, std::uint32_t n) {
  const auto range = controllers::core::parse_v4_range(cidr);
  KNIT_CHECK(range.has_value());  // the settings were validated
  return controllers::core::print_v4(range->first + n);
}

std::string admin_kubeconfig(const cli::Settings& settings, const std::string& root_pem,
                             const pki::Credential& admin) {
  const std::string server =
      "https://" + io::to_string(io::Endpoint{settings.api_address, settings.api_port});
  return "apiVersion: v1\nkind: Config\ncurrent-context: knit\nclusters:\n- name: knit\n  "
         "cluster:\n"
         "    server: " +
         server + "\n    certificate-authority-data: " + hash::base64(root_pem) +
         "\nusers:\n- name: admin\n  user:\n    client-certificate-data: " +
         hash::base64(admin.chain_pem) + "\n    client-key-data: " + hash::base64(admin.key_pem) +
         "\ncontexts:\n- name: knit\n  context:\n    cluster: knit\n    user: admin\n"
         "    namespace: default\n";
}

class Server {
 public:
  Server(io::RealLoop& loop, cli::Settings settings)
      : loop_(loop),
        settings_(std::move(settings)),
        random_(system_random()),
        logs_(loop),
        events_(loop,
                [this] { return bootstrap_ ? bootstrap_->peer(ipc::Process::Events) : nullptr; }) {}

  Result<void> open(Fd channel) {
    const WallTime now = loop_.wall_now();
    KNIT_TRY(auto vault, pki::Vault::open(settings_.data + "/pki"));
    vault_.emplace(std::move(vault));
    KNIT_TRY(const auto api_authority, vault_->api(now));
    KNIT_TRY(const auto apps_authority, vault_->apps(settings_.apps_domain, now));
    KNIT_TRY(const auto token_key, vault_->tokens());
    KNIT_TRY(const auto router,
             pki::wildcard_certificate(*apps_authority, settings_.apps_domain, now));

    store::Options options;
    options.path = settings_.data + "/store/knit.db";
    KNIT_TRY(store_, store::Store::open(std::move(options)));

    const std::string kubernetes_ip = address_in(settings_.service_cidr, 1);
    const std::string router_ip = address_in(settings_.service_cidr, 2);
    ControlSettings control;
    control.node_name = settings_.node_name;
    control.core.api_root_pem = api_authority->root_pem();
    control.core.api_host = settings_.api_address;
    control.core.api_port = settings_.api_port;
    control.core.kubernetes_ip = kubernetes_ip;
    control.core.ranges.v4 = settings_.service_cidr;
    control.core.ranges.dns_ip = settings_.dns_ip;
    control.operators.apps_domain = settings_.apps_domain;
    control.operators.router_ip = router_ip;
    control.routes.apps_domain = settings_.apps_domain;
    control.mesh = mesh_settings(router_ip, router);
    control.authority = [this](const std::string& name) { return mesh_authority(name); };
    control_ = std::make_unique<Control>(loop_, *store_, *random_, std::move(control));
    control_->driver().before_commit(
        [this](const std::vector<reconcile::Change>& changes) { start_pods(changes); });
    tokens_ = std::make_unique<ServiceAccountTokens>(
        token_key, *random_, "https://kubernetes.default.svc.cluster.local");

    apiserver::ApiDependencies dependencies;
    dependencies.random = random_.get();
    dependencies.tokens = tokens_.get();
    dependencies.logs = &logs_;
    dependencies.events = [this](http::Request request) { return events_.ask(std::move(request)); };
    dependencies.server_address =
        io::to_string(io::Endpoint{settings_.api_address, settings_.api_port});
    dependencies.not_ready = [this] {
      return std::string(started_ ? "" : "controllers are starting");
    };
    api_ = std::make_unique<apiserver::ApiServer>(loop_, *store_, control_->registry(),
                                                  std::move(dependencies));
    KNIT_TRY(
        const auto serving,
        pki::api_server_certificate(
            *api_authority,
            {kubernetes_ip, settings_.api_address, settings_.host_ip, settings_.node_name}, now));
    KNIT_TRY(auto tls, io::tls_server_context(
                           {serving.chain_pem, serving.key_pem, api_authority->root_pem()}));
    api_->set_tls(std::move(tls));
    KNIT_TRY(const auto listening, api_->listen({settings_.api_address, settings_.api_port}));
    KNIT_LOG(Info, "API listens", KV("address", io::to_string(listening)));
    KNIT_TRY(const auto admin,
             pki::api_client_certificate(*api_authority, "admin", {"system:masters"}, now));
    KNIT_TRY_VOID(replace_file(settings_.data + "/pki/admin.kubeconfig",
                               admin_kubeconfig(settings_, api_authority->root_pem(), admin), {}));

    ipc::Bootstrap::Handler handler;
    handler.on_peer = [this](ipc::Process peer, std::uint64_t) { on_peer(peer); };
    handler.on_message = [this](ipc::Process peer, ipc::Received m) {
      on_message(peer, std::move(m));
    };
    handler.on_stop = [this](Duration) { stop(); };
    KNIT_TRY(bootstrap_, ipc::Bootstrap::create(loop_, std::move(channel), ipc::Process::Server,
                                                std::move(handler)));
    loop_.spawn(start());
    return {};
  }

 private:
  io::Task<void> start() {
    const auto made =
        co_await apiserver::bootstrap(api_->api(), apiserver::kFirstNamespaces, loop_.wall_now());
    if (!made) KNIT_LOG(Error, "first objects", KV("error", made.error()));
    control_->start();
    started_ = true;
    roles_.emplace(
        settings_.node_name,
        [](std::string_view role) { return kube::runs_in_events(role) && kube::plays_role(role); },
        [this](const ipc::Roles& roles) { bootstrap_->supervisor().send_state("", roles); });
    roles_->start(control_->backend());
    bind("router-https", settings_.router_https_port);
    bind("router-http", settings_.router_http_port);
  }

  void bind(const std::string& purpose, std::uint16_t port) {
    ipc::Bind message;
    message.address = settings_.router_address;
    message.port = port;
    message.purpose = purpose;
    bootstrap_->supervisor().send(message);
  }

  void on_bound(const ipc::Bound& bound) {
    if (bound.port != 0) {
      KNIT_LOG(Info, "router listens", KV("purpose", bound.purpose), KV("port", bound.port));
      return decided(bound.purpose);
    }
    const bool https = bound.purpose == "router-https";
    const std::uint16_t fallback =
        https ? settings_.router_https_fallback : settings_.router_http_fallback;
    KNIT_LOG(Warn, "router port is taken", KV("purpose", bound.purpose), KV("error", bound.error));
    if (fallback != 0 && fell_back_.insert(bound.purpose).second) {
      return bind(bound.purpose, fallback);
    }
    decided(bound.purpose);
  }

  /// Ready once it is known which ports the router has: the first screen shows them.
  void decided(const std::string& purpose) {
    if (undecided_.erase(purpose) == 0 || !undecided_.empty()) return;
    bootstrap_->ready("API at " +
                      io::to_string(io::Endpoint{settings_.api_address, settings_.api_port}));
  }

  mesh::MeshSettings mesh_settings(const std::string& router_ip, const pki::Credential& router) {
    mesh::MeshSettings m;
    m.apps_domain = settings_.apps_domain;
    m.node_name = settings_.node_name;
    m.host_ip = settings_.host_ip;
    m.dns_ip = settings_.dns_ip;
    m.router_ip = router_ip;
    m.pod_cidrs = {settings_.pod_cidr};
    m.service_cidrs = {settings_.service_cidr};
    std::string_view rest = settings_.egress_allow;
    while (!rest.empty()) {
      const auto comma = rest.find(',');
      m.egress_allow.emplace_back(rest.substr(0, comma));
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    }
    m.mesh_root_pem = [this](const std::string& name) {
      const auto authority = mesh_authority(name);
      return authority ? (*authority)->root_pem() : std::string();
    };
    m.router_chain_pem = router.chain_pem;
    m.router_key_pem = router.key_pem;
    return m;
  }

  /// Loaded once; a new mesh's root is made at first use, which takes some milliseconds.
  Result<std::shared_ptr<const pki::Authority>> mesh_authority(const std::string& name) {
    if (const auto it = meshes_.find(name); it != meshes_.end()) return it->second;
    KNIT_TRY(auto authority, vault_->mesh(name, loop_.wall_now()));
    meshes_[name] = authority;
    return authority;
  }

  /// The node may start a pod while its creation is being made durable (design 3).
  void start_pods(const std::vector<reconcile::Change>& changes) {
    auto* node = bootstrap_ ? bootstrap_->peer(ipc::Process::Node) : nullptr;
    if (node == nullptr) return;
    for (const auto& change : changes) {
      if (!change.after || change.key().resource != kube::res::pods() || change.after->deleting())
        continue;
      const Json pod = change.after->parse();
      if (json::str(pod, {"spec", "nodeName"}) != settings_.node_name) continue;
      if (change.before && !json::str(change.before->parse(), {"spec", "nodeName"}).empty()) {
        continue;
      }
      ipc::Start message;
      message.uid = change.after->uid();
      message.pod_json = change.after->bytes();
      node->send(message);
    }
  }

  void on_peer(ipc::Process peer) {
    if (peer == ipc::Process::Proxy) control_->proxy().connect(*bootstrap_->peer(peer));
    if (peer == ipc::Process::Node) logs_.set_channel(bootstrap_->peer(peer));
    if (peer == ipc::Process::Events) events_.renew();
  }

  void on_message(ipc::Process peer, ipc::Received message) {
    if (peer == ipc::Process::Proxy) {
      control_->proxy().on_message(message);
    } else if (peer == ipc::Process::Node) {
      if (message.type == ipc::MessageType::ApiOpen && message.fds.size() == 1) {
        api_->serve_as(io::socket_stream(loop_, std::move(message.fds[0])), "system:knit:node");
      } else if (message.type == ipc::MessageType::LogOpened) {
        if (const auto opened = message.as<ipc::LogOpened>()) {
          logs_.on_opened(*opened, std::move(message.fds));
        }
      } else if (message.type == ipc::MessageType::Failed) {
        if (const auto failed = message.as<ipc::Failed>()) {
          KNIT_LOG(Warn, "early start failed", KV("pod", failed->uid),
                   KV("reason", failed->reason));
        }
      }
    } else if (peer == ipc::Process::Events) {
      if (message.type == ipc::MessageType::ApiOpen && message.fds.size() == 1) {
        api_->serve_as(io::socket_stream(loop_, std::move(message.fds[0])), "system:knit:events");
      }
    } else if (message.type == ipc::MessageType::Bound) {
      if (const auto bound = message.as<ipc::Bound>()) on_bound(*bound);
    }
  }

  void stop() {
    api_->drain();
    control_->stop();
    loop_.stop();
  }

  io::RealLoop& loop_;
  cli::Settings settings_;
  std::unique_ptr<Random> random_;
  std::optional<pki::Vault> vault_;
  std::map<std::string, std::shared_ptr<const pki::Authority>> meshes_;
  std::unique_ptr<store::Store> store_;
  NodeLogs logs_;
  EventsLink events_;
  std::unique_ptr<Control> control_;
  std::optional<EventRoles> roles_;
  std::unique_ptr<ServiceAccountTokens> tokens_;
  std::unique_ptr<apiserver::ApiServer> api_;
  std::unique_ptr<ipc::Bootstrap> bootstrap_;
  std::set<std::string> fell_back_;
  std::set<std::string> undecided_{"router-https", "router-http"};
  bool started_ = false;
};

}  // namespace

int run_server(ProcessContext context) {
  Server server(*context.loop, context.settings);
  if (const auto opened = server.open(std::move(context.channel)); !opened) {
    KNIT_LOG(Error, "cannot start", KV("error", opened.error()));
    return 1;
  }
  context.loop->run();
  return 0;
}

}  // namespace knit::app
