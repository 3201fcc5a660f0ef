#include "mesh_model/hosts.h"

#include <algorithm>

namespace knit::mesh_model {
namespace {
bool wildcarded(std::string_view h) { return h.starts_with('*'); }
}  // namespace

bool hosts_match(std::string_view a, std::string_view b) {
  const bool wa = wildcarded(a);
  const bool wb = wildcarded(b);
  if (!wa && !wb) return a == b;
  if (wa && wb) {
    if (a.size() < b.size()) std::swap(a, b);
    return a.substr(1).ends_with(b.substr(1));
  }
  if (wb) std::swap(a, b);
  return b.ends_with(a.substr(1)) && b.size() >= a.size();
}

bool host_subset(std::string_view inner, std::string_view outer) {
  if (!wildcarded(outer)) return inner == outer;
  if (wildcarded(inner)) {
    return inner.size() >= outer.size() && inner.substr(1).ends_with(outer.substr(1));
  }
  return inner.ends_with(outer.substr(1)) && inner.size() >= outer.size();
}

ScopedHost split_scoped_host(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return {"*", text};
  return {text.substr(0, slash), text.substr(slash + 1)};
}

std::vector<std::string> hosts_on_server(const std::vector<std::string>& server_hosts,
                                         const std::vector<std::string>& vs_hosts,
                                         std::string_view vs_namespace) {
  std::vector<std::string> out;
  const auto add = [&](std::string_view host) {
    if (std::find(out.begin(), out.end(), host) == out.end()) out.emplace_back(host);
  };
  for (const auto& server : server_hosts) {
    const ScopedHost scoped = split_scoped_host(server);
    if (scoped.ns != "*" && scoped.ns != vs_namespace) continue;
    for (const auto& host : vs_hosts) {
      if (host_subset(host, scoped.host)) {
        add(host);
      } else if (host_subset(scoped.host, host)) {
        add(scoped.host);
      }
    }
  }
  return out;
}

std::string full_host(std::string_view host, std::string_view ns, std::string_view cluster_domain) {
  if (host.find('.') != std::string_view::npos || wildcarded(host)) return std::string(host);
  return std::string(host) + "." + std::string(ns) + ".svc." + std::string(cluster_domain);
}

std::string service_of_host(std::string_view host, std::string_view cluster_domain) {
  const auto dot = host.find('.');
  if (dot == std::string_view::npos || dot == 0) return {};
  const std::string_view name = host.substr(0, dot);
  host.remove_prefix(dot + 1);
  const auto end = host.find('.');
  const std::string_view ns = host.substr(0, end);
  if (ns.empty() || end == std::string_view::npos) return {};
  const std::string_view rest = host.substr(end + 1);
  if (rest != "svc" && !(rest.starts_with("svc.") && rest.substr(4) == cluster_domain)) return {};
  return std::string(ns) + "/" + std::string(name);
}

}  // namespace knit::mesh_model
