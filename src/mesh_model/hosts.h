// Istio's host patterns: "*", "*.suffix", exact; with a namespace in front on Gateways.
// Source: istio pkg/config/host/name.go
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace knit::mesh_model {

/// The two patterns can mean the same host.
bool hosts_match(std::string_view a, std::string_view b);
/// Everything that `inner` means, `outer` means too.
bool host_subset(std::string_view inner, std::string_view outer);

/// "ns/host" → {"ns", "host"}; without namespace {"*", host}.
struct ScopedHost {
  std::string_view ns, host;
};
ScopedHost split_scoped_host(std::string_view text);

/// The hosts of a VirtualService in `vs_namespace` that a server serves: those with a subset
/// relation either way, the narrower of the two. (spec mesh.md 2.2)
std::vector<std::string> hosts_on_server(const std::vector<std::string>& server_hosts,
                                         const std::vector<std::string>& vs_hosts,
                                         std::string_view vs_namespace);

/// A destination's full name: short names get the namespace of the object that names them.
/// (spec mesh.md 2.3) "hello" in "default" → "hello.default.svc.cluster.local".
std::string full_host(std::string_view host, std::string_view ns, std::string_view cluster_domain);
/// "hello.default.svc.cluster.local" → "default/hello"; empty when it is no Service's name.
std::string service_of_host(std::string_view host, std::string_view cluster_domain);

}  // namespace knit::mesh_model
