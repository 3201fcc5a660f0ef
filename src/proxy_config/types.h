// Everything a proxy needs to know, as plain values. The server compiles them from API objects
// (controllers/mesh), config_stream carries them, the proxy runs them. Each resource has a type and
// a name; `hash` of a resource is sha256 of its encoding. All are encoded with base/codec.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/codec.h"

namespace knit::proxy_config {

enum class Type : std::uint32_t {
  Settings = 1, TrustBundle, Identity, Certificate, Mesh, Workload, Service, Revision,
  Gateway, Routes, EdgeRoute, Probe,
};
inline constexpr Type kAllTypes[] = {
    // make-before-break order: a later type may refer to an earlier one
    Type::Settings, Type::TrustBundle, Type::Identity, Type::Certificate, Type::Mesh,
    Type::Workload, Type::Service, Type::Revision, Type::Gateway, Type::Routes, Type::EdgeRoute,
    Type::Probe};
std::string_view to_string(Type type);

#define KNIT_FIELDS(...)               \
  template <class V, class S>          \
  static void fields(V& v, S& s) {     \
    __VA_ARGS__                        \
  }                                    \

/// One, named "node".
struct Settings {
  std::string apps_domain;
  std::vector<std::string> pod_cidrs, service_cidrs;
  std::string cluster_domain = "cluster.local";
  std::string dns_ip;                     // 172.30.0.10
  std::vector<std::string> egress_allow;  // "10.0.0.0/8:9092", "127.0.0.1:9092"
  std::string router_ip;                  // ClusterIP of the router's Service (443, 80)
  std::string host_ip;                    // what the host's own connections come from
  bool operator==(const Settings&) const = default;
  KNIT_FIELDS(v(1, s.apps_domain); v(2, s.pod_cidrs); v(3, s.service_cidrs);
              v(4, s.cluster_domain); v(5, s.dns_ip); v(6, s.egress_allow); v(7, s.router_ip);
              v(8, s.host_ip);)
};

/// Named by mesh ("istio-system"): the roots that peers of this mesh are verified against.
struct TrustBundle {
  std::string roots_pem;
  std::string trust_domain;  // "cluster.local"
  bool operator==(const TrustBundle&) const = default;
  KNIT_FIELDS(v(1, s.roots_pem); v(2, s.trust_domain);)
};

/// Named by SPIFFE id. The proxy makes the key and asks for a leaf by Csr; the resource says which
/// identities this proxy serves.
struct Identity {
  std::string mesh;
  bool operator==(const Identity&) const = default;
  KNIT_FIELDS(v(1, s.mesh);)
};

/// Named "namespace/secret": a gateway's or the router's serving certificate. Held in memory only.
struct Certificate {
  std::string chain_pem, key_pem;
  std::string ca_pem;  // clients' CA (MUTUAL)
  bool operator==(const Certificate&) const = default;
  KNIT_FIELDS(v(1, s.chain_pem); v(2, s.key_pem); v(3, s.ca_pem);)
};

enum class AccessLogFormat : std::uint32_t { Text, Off, Json };
/// Named by mesh.
struct Mesh {
  std::string trust_domain = "cluster.local";
  bool outbound_registry_only = false;
  bool sniff_inbound = false, sniff_outbound = false;  // protocol detection of unnamed ports
  Duration drain{};                                    // terminationDrainDuration
  /// The mesh-wide DestinationRule for *.cluster.local (SMCP mtls: true): mesh clients always send
  /// mTLS to in-cluster hosts, also to peers without a sidecar.
  bool force_mtls_to_cluster = false;
  AccessLogFormat access_log = AccessLogFormat::Text;
  bool operator==(const Mesh&) const = default;
  KNIT_FIELDS(v(1, s.trust_domain); v(2, s.outbound_registry_only); v(3, s.sniff_inbound);
              v(4, s.sniff_outbound); v(5, s.drain); v(6, s.force_mtls_to_cluster);
              v(7, s.access_log);)
};

enum class MtlsMode : std::uint32_t { Permissive, Strict, Disable };
/// What answers on a workload: the pod's own containers, or a role that Knit itself plays.
enum class Role : std::uint32_t {
  App,             // containers of the pod
  IngressGateway,  // Gateway listeners of the pod's mesh
  Activator, Autoscaler, Webhook, Controller, Istiod, Other,  // built-in, no traffic of their own
  Router,
  Events,  // runs inside the events process, behind a socket of its own
};

/// Named by pod uid: a pod (also of a built-in role) as the mesh sees it.
struct Workload {
  std::string ns, name, ip, service_account;
  std::string mesh;       // empty: its namespace is in no mesh
  bool injected = false;  // has a sidecar: identity, inbound policy
  std::string spiffe_id;  // empty unless injected
  MtlsMode inbound = MtlsMode::Permissive;             // effective for all ports but:
  std::map<std::string, MtlsMode> inbound_ports;       // "8080" → mode (portLevelMtls)
  std::vector<std::uint16_t> excluded_inbound_ports;   // straight to the app, no mesh
  std::vector<std::uint16_t> excluded_outbound_ports;
  Role role = Role::App;
  std::string revision;       // "default/hello-00001": has a queue-proxy in front of its app
  std::string workload_name;  // canonical service, for metrics and access log
  std::map<std::string, std::string> labels;
  bool ready = false;      // pod condition Ready
  bool terminating = false;
  bool operator==(const Workload&) const = default;
  KNIT_FIELDS(v(1, s.ns); v(2, s.name); v(3, s.ip); v(4, s.service_account); v(5, s.mesh);
              v(6, s.injected); v(7, s.spiffe_id); v(8, s.inbound); v(9, s.inbound_ports);
              v(10, s.excluded_inbound_ports); v(11, s.excluded_outbound_ports); v(12, s.role);
              v(13, s.revision); v(14, s.workload_name); v(15, s.labels); v(16, s.ready);
              v(17, s.terminating);)
};

enum class Protocol : std::uint32_t { Tcp, Http, Http2, Tls };

struct Backend {
  std::string ip;
  std::uint16_t port = 0;
  std::string pod_uid;  // empty: not a pod (manual Endpoints)
  bool operator==(const Backend&) const = default;
  KNIT_FIELDS(v(1, s.ip); v(2, s.port); v(3, s.pod_uid);)
};
struct ServicePort {
  std::uint16_t port = 0;
  std::string name;
  Protocol protocol = Protocol::Tcp;
  std::vector<Backend> backends;  // ready endpoints only
  bool operator==(const ServicePort&) const = default;
  KNIT_FIELDS(v(1, s.port); v(2, s.name); v(3, s.protocol); v(4, s.backends);)
};
enum class ClientTls : std::uint32_t {
  Auto,         // mTLS if the endpoint's pod is injected, else plaintext
  IstioMutual,  // DestinationRule ISTIO_MUTUAL
  Disable,
};
/// Named "namespace/name".
struct Service {
  std::vector<std::string> cluster_ips;  // empty: headless or ExternalName
  std::string external_name;
  bool headless = false;
  std::vector<ServicePort> ports;
  ClientTls client_tls = ClientTls::Auto;
  std::string revision;  // "default/hello-00001" for a revision's public Service
  /// Hostnames of headless endpoints and all pod IPs for DNS of headless Services.
  std::vector<std::string> dns_ips;
  bool operator==(const Service&) const = default;
  KNIT_FIELDS(v(1, s.cluster_ips); v(2, s.external_name); v(3, s.headless); v(4, s.ports);
              v(5, s.client_tls); v(6, s.revision); v(7, s.dns_ips);)
};

/// Named "namespace/revision".
struct Revision {
  std::string service, configuration;
  std::uint32_t container_concurrency = 0;  // 0 = unlimited
  Duration timeout{}, response_start_timeout{}, idle_timeout{};  // 0 = none
  std::uint16_t user_port = 8080;
  bool h2c = false;
  bool proxy_mode = true;  // SKS Proxy: the activator stage is in the path
  std::vector<std::string> pods;  // uids of the revision's pods that are not terminating
  std::string sks_hash;  // changes whenever mode or generation changed: acked back in Stats
  /// The readiness probe that queue-proxy runs (SERVING_READINESS_PROBE JSON).
  std::string readiness_probe_json;
  /// queue-proxy's request log (config-observability); empty: off.
  std::string request_log_template;
  /// What its Deployment makes next, without a name and an address: at zero, requests will get that.
  std::optional<Workload> next_pod;
  bool operator==(const Revision&) const = default;
  KNIT_FIELDS(v(1, s.service); v(2, s.configuration); v(3, s.container_concurrency);
              v(4, s.timeout); v(5, s.response_start_timeout); v(6, s.idle_timeout);
              v(7, s.user_port); v(8, s.h2c); v(9, s.proxy_mode); v(10, s.pods);
              v(11, s.sks_hash); v(12, s.readiness_probe_json); v(13, s.request_log_template);
              v(14, s.next_pod);)
};

enum class TlsMode : std::uint32_t { Plain, Simple, Mutual, IstioMutual, Passthrough };
struct GatewayServer {
  std::vector<std::string> sni;  // exact or "*.x" or "*"; empty: any
  TlsMode tls = TlsMode::Plain;
  std::string certificate;       // "istio-system/wildcard-certs" for Simple and Mutual
  std::string gateway;           // "knative-serving/knative-ingress-gateway": VirtualServices bind to it
  std::vector<std::string> hosts;
  bool https_redirect = false;
  bool operator==(const GatewayServer&) const = default;
  KNIT_FIELDS(v(1, s.sni); v(2, s.tls); v(3, s.certificate); v(4, s.gateway); v(5, s.hosts);
              v(6, s.https_redirect);)
};
/// Named "POD-UID:PORT": what a gateway pod listens to after the merge of all Gateways.
struct Gateway {
  std::string pod_uid, mesh;
  std::uint16_t port = 0;
  std::vector<GatewayServer> servers;  // in istiod's order of precedence
  bool operator==(const Gateway&) const = default;
  KNIT_FIELDS(v(1, s.pod_uid); v(2, s.mesh); v(3, s.port); v(4, s.servers);)
};

struct HeaderMatch {
  enum class Kind : std::uint32_t { Exact, Prefix, Regex, Present };
  std::string name;  // lower case; ":authority" too
  Kind kind = Kind::Exact;
  std::string value;
  bool operator==(const HeaderMatch&) const = default;
  KNIT_FIELDS(v(1, s.name); v(2, s.kind); v(3, s.value);)
};
struct Match {
  std::vector<std::string> gateways;  // "ns/name" or "mesh"; empty: any of the table's
  std::string authority_prefix, authority_exact, path_prefix, path_exact;
  std::vector<HeaderMatch> headers;
  bool operator==(const Match&) const = default;
  KNIT_FIELDS(v(1, s.gateways); v(2, s.authority_prefix); v(3, s.authority_exact);
              v(4, s.path_prefix); v(5, s.path_exact); v(6, s.headers);)
};
struct Destination {
  std::string service;  // "default/hello-00001"
  std::uint16_t port = 0;
  std::uint32_t weight = 100;
  std::map<std::string, std::string> set_headers;
  bool operator==(const Destination&) const = default;
  KNIT_FIELDS(v(1, s.service); v(2, s.port); v(3, s.weight); v(4, s.set_headers);)
};
struct Route {
  std::vector<Match> matches;  // any of them; empty: always
  std::map<std::string, std::string> set_headers;
  std::string rewrite_authority;
  std::vector<Destination> destinations;
  std::uint32_t direct_status = 0;  // non-zero: answer this instead
  Duration timeout{};
  bool operator==(const Route&) const = default;
  KNIT_FIELDS(v(1, s.matches); v(2, s.set_headers); v(3, s.rewrite_authority);
              v(4, s.destinations); v(5, s.direct_status); v(6, s.timeout);)
};
/// Named "namespace/virtualservice"; `created` orders routes of one host on a gateway.
struct Routes {
  std::vector<std::string> hosts, gateways;  // gateways: "ns/name", "mesh"
  std::vector<Route> routes;
  WallTime created{};
  std::string mesh;
  bool operator==(const Routes&) const = default;
  KNIT_FIELDS(v(1, s.hosts); v(2, s.gateways); v(3, s.routes); v(4, s.created); v(5, s.mesh);)
};

/// An OpenShift Route, named "namespace/name".
struct EdgeRoute {
  enum class Termination : std::uint32_t { None, Edge, Passthrough, Reencrypt };
  enum class Insecure : std::uint32_t { None, Allow, Redirect };
  std::string host, path;
  Termination termination = Termination::None;
  Insecure insecure = Insecure::None;
  std::string service;  // "istio-system/istio-ingressgateway"
  std::uint16_t port = 0;  // resolved Service port; 0: the target port does not exist
  std::string certificate;  // empty: the router's default certificate
  Duration timeout{};
  bool operator==(const EdgeRoute&) const = default;
  KNIT_FIELDS(v(1, s.host); v(2, s.path); v(3, s.termination); v(4, s.insecure); v(5, s.service);
              v(6, s.port); v(7, s.certificate); v(8, s.timeout);)
};

/// A reachability question, named "namespace/ingress": the proxy answers with Reach on every change
/// of anything it passes through. Ready means: listener, SNI, TLS chain, route and policy led to the
/// revision stage with this hash, without waking user code.
struct ProbeTarget {
  std::string host;
  bool external = false;       // through the router's listener
  std::string gateway;         // "ns/name" the host is expected on
  bool operator==(const ProbeTarget&) const = default;
  KNIT_FIELDS(v(1, s.host); v(2, s.external); v(3, s.gateway);)
};
struct Probe {
  std::string hash;  // K-Network-Hash that must come back
  std::vector<ProbeTarget> targets;
  bool operator==(const Probe&) const = default;
  KNIT_FIELDS(v(1, s.hash); v(2, s.targets);)
};

/// One named, encoded resource as it travels.
struct Resource {
  Type type = Type::Settings;
  std::string name, hash, body;
  bool operator==(const Resource&) const = default;
  KNIT_FIELDS(v(1, s.type); v(2, s.name); v(3, s.hash); v(4, s.body);)
};
struct Ref {
  Type type = Type::Settings;
  std::string name;
  bool operator==(const Ref&) const = default;
  auto operator<=>(const Ref&) const = default;
  KNIT_FIELDS(v(1, s.type); v(2, s.name);)
};

/// Why a proxy left one resource out; shown in its object's condition.
struct Refusal {
  Ref ref;
  std::string reason;
  bool operator==(const Refusal&) const = default;
};

}  // namespace knit::proxy_config
