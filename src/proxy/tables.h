// The config that every worker runs: immutable, shared, with the indexes that the byte path needs.
// The engine's main loop makes the next Tables from the last one and publishes it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/shards.h"
#include "proxy/tls.h"
#include "proxy_config/types.h"

namespace knit::proxy {

namespace pc = proxy_config;

/// "10.0.0.0/8", "fd00::/64", or one address; optionally ":port" behind (v6 in brackets).
struct Range {
  std::array<std::uint8_t, 16> base{};  // v4 as ::ffff:a.b.c.d
  unsigned bits = 128;
  std::uint16_t port = 0;  // 0: any
  static Result<Range> parse(std::string_view text);
  bool holds(std::string_view ip, std::uint16_t for_port) const;
};

/// A Certificate resource ready to serve.
struct ServingCertificate {
  pc::Certificate source;
  std::shared_ptr<TlsContext> simple;  // no client certificate
  std::shared_ptr<TlsContext> mutual;  // verified against ca_pem; null without one
};

/// A leaf that this proxy holds for one SPIFFE id.
struct HeldIdentity {
  std::string spiffe_id, mesh, trust_domain;
  std::string hash;                    // sha256 of the leaf's DER, hex, for XFCC
  std::shared_ptr<TlsContext> server;  // requires a client of the same mesh
  WallTime not_before{}, not_after{};
};

struct Tables {
  std::uint64_t version = 0;
  pc::Settings settings;
  std::vector<Range> pod_ranges, service_ranges, egress_allow;

  Shards<pc::TrustBundle> bundles;
  Shards<pc::Identity> identities;
  Shards<ServingCertificate> certificates;
  Shards<pc::Mesh> meshes;
  Shards<pc::Workload> workloads;
  Shards<pc::Service> services;
  Shards<pc::Revision> revisions;
  Shards<pc::Gateway> gateways;
  Shards<pc::Routes> routes;
  Shards<pc::EdgeRoute> edge_routes;
  Shards<pc::Probe> probes;
  Shards<HeldIdentity> held;  // by SPIFFE id

  // Indexes
  Shards<std::size_t> namespaces;            // of Services and workloads, with their count
  Shards<std::string> workload_by_ip;        // → uid
  Shards<std::vector<std::string>> by_role;  // built-in roles → uids
  Shards<std::string> service_by_ip;         // ClusterIP → "ns/name"
  Shards<pc::Protocol> backend_protocol;     // "ip:port"
  Shards<std::vector<std::shared_ptr<const pc::Routes>>> routes_by_host;  // oldest first
  Shards<std::vector<std::shared_ptr<const pc::EdgeRoute>>> edge_by_host;

  /// Applies one resource. Errors (nothing is changed): InvalidArgument, Unsupported; the sentence
  /// goes into the object's condition.
  Result<void> set(const pc::Resource& resource);
  void remove(const pc::Ref& ref);

  void count_namespace(std::string_view ns, int by);
  const pc::Workload* workload_at(std::string_view ip) const;
  bool in_mesh_ranges(std::string_view ip) const;  // pods and services
};

using TablesRef = std::shared_ptr<const Tables>;

/// "host:80" → "host", lower case; brackets of v6 literals kept.
std::string host_of(std::string_view authority);

}  // namespace knit::proxy
