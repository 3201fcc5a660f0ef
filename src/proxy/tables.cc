#include "proxy/tables.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace knit::proxy {
namespace {

std::optional<std::array<std::uint8_t, 16>> parse_ip(std::string_view text) {
  const std::string s(text);
  std::array<std::uint8_t, 16> out{};
  if (inet_pton(AF_INET, s.c_str(), out.data() + 12) == 1) {
    out[10] = out[11] = 0xff;
    return out;
  }
  if (inet_pton(AF_INET6, s.c_str(), out.data()) == 1) return out;
  return std::nullopt;
}

template <class T>
Result<std::shared_ptr<const T>> decode(const pc::Resource& r) {
  auto v = codec::decode<T>(r.body);
  if (!v) return std::move(v).error();
  return std::make_shared<const T>(std::move(*v));
}

Error bad(const pc::Resource& r, std::string text) {
  return Error(Code::InvalidArgument,
               std::string(pc::to_string(r.type)) + " " + r.name + ": " + std::move(text));
}

template <class T>
void index_add(Shards<std::vector<std::shared_ptr<const T>>>& index, const std::string& key,
               const std::shared_ptr<const T>& value) {
  const auto* old = index.find(key);
  auto list = old ? *old : std::vector<std::shared_ptr<const T>>{};
  const auto before = [](const std::shared_ptr<const T>& a, const std::shared_ptr<const T>& b) {
    if constexpr (std::is_same_v<T, pc::Routes>) {
      return a->created < b->created;
    } else {
      return a->path.size() > b->path.size();  // HAProxy's map order: the longest path first
    }
  };
  list.insert(std::upper_bound(list.begin(), list.end(), value, before), value);
  index.set(key, std::move(list));
}
template <class T>
void index_remove(Shards<std::vector<std::shared_ptr<const T>>>& index, const std::string& key,
                  const T* value) {
  const auto* old = index.find(key);
  if (!old) return;
  auto list = *old;
  std::erase_if(list, [&](const auto& p) { return p.get() == value; });
  if (list.empty()) {
    index.erase(key);
  } else {
    index.set(key, std::move(list));
  }
}

std::string ip_port(const std::string& ip, std::uint16_t port) {
  return ip + ":" + std::to_string(port);
}

Result<std::vector<Range>> parse_ranges(const std::vector<std::string>& texts) {
  std::vector<Range> out;
  for (const auto& t : texts) {
    KNIT_TRY(const Range r, Range::parse(t));
    out.push_back(r);
  }
  return out;
}

}  // namespace

Result<Range> Range::parse(std::string_view text) {
  const Error error(Code::InvalidArgument,
                    "\"" + std::string(text) + "\" is no address or CIDR with an optional :port");
  Range r;
  std::string_view address = text, bits, port;
  if (!text.empty() && text.front() == '[') {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return error;
    address = text.substr(1, close - 1);
    std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() == '/') {
      const auto colon = rest.find(':');
      bits = rest.substr(1, colon == std::string_view::npos ? colon : colon - 1);
      rest = colon == std::string_view::npos ? std::string_view{} : rest.substr(colon);
    }
    if (!rest.empty()) port = rest.substr(1);
  } else if (std::count(text.begin(), text.end(), ':') <= 1) {
    const auto colon = text.find(':');
    address = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon + 1);
  }
  if (const auto slash = address.find('/'); slash != std::string_view::npos) {
    bits = address.substr(slash + 1);
    address = address.substr(0, slash);
  }
  const auto ip = parse_ip(address);
  if (!ip) return error;
  r.base = *ip;
  const bool v4 = address.find(':') == std::string_view::npos;
  const auto number = [](std::string_view s, unsigned max, unsigned& out) {
    const auto e = std::from_chars(s.data(), s.data() + s.size(), out);
    return e.ec == std::errc() && e.ptr == s.data() + s.size() && out <= max;
  };
  if (!bits.empty()) {
    unsigned n = 0;
    if (!number(bits, v4 ? 32 : 128, n)) return error;
    r.bits = v4 ? 96 + n : n;
  }
  if (!port.empty()) {
    unsigned n = 0;
    if (!number(port, 65535, n) || n == 0) return error;
    r.port = static_cast<std::uint16_t>(n);
  }
  return r;
}

bool Range::holds(std::string_view ip, std::uint16_t for_port) const {
  if (port != 0 && port != for_port) return false;
  const auto a = parse_ip(ip);
  if (!a) return false;
  for (unsigned i = 0; i < 16; ++i) {
    const unsigned left = bits > i * 8 ? std::min(bits - i * 8, 8U) : 0;
    const auto mask = static_cast<std::uint8_t>(0xff00U >> left);
    if (((*a)[i] & mask) != (base[i] & mask)) return false;
  }
  return true;
}

std::string host_of(std::string_view authority) {
  std::string out(authority);
  if (!out.empty() && out.front() == '[') {
    out.resize(std::min(out.find(']') + 1, out.size()));
  } else {
    out.resize(std::min(out.find(':'), out.size()));
  }
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  if (out.size() > 1 && out.back() == '.') out.pop_back();
  return out;
}

void Tables::count_namespace(std::string_view ns, int by) {
  const auto* old = namespaces.find(ns);
  const std::size_t n = (old ? *old : 0) + static_cast<std::size_t>(by);
  if (n == 0) {
    namespaces.erase(ns);
  } else {
    namespaces.set(std::string(ns), std::size_t{n});
  }
}

const pc::Workload* Tables::workload_at(std::string_view ip) const {
  const auto* uid = workload_by_ip.find(ip);
  return uid ? workloads.find(*uid) : nullptr;
}

bool Tables::in_mesh_ranges(std::string_view ip) const {
  const auto in = [&](const std::vector<Range>& rs) {
    return std::any_of(rs.begin(), rs.end(), [&](const Range& r) { return r.holds(ip, 0); });
  };
  return in(pod_ranges) || in(service_ranges);
}

Result<void> Tables::set(const pc::Resource& r) {
  switch (r.type) {
    case pc::Type::Settings: {
      KNIT_TRY(const auto v, decode<pc::Settings>(r));
      KNIT_TRY(auto pods, parse_ranges(v->pod_cidrs));
      KNIT_TRY(auto svcs, parse_ranges(v->service_cidrs));
      KNIT_TRY(auto allow, parse_ranges(v->egress_allow));
      settings = *v;
      pod_ranges = std::move(pods);
      service_ranges = std::move(svcs);
      egress_allow = std::move(allow);
      return {};
    }
    case pc::Type::TrustBundle: {
      KNIT_TRY(auto v, decode<pc::TrustBundle>(r));
      if (v->roots_pem.empty()) return bad(r, "has no root certificate");
      bundles.set(r.name, std::move(v));
      return {};
    }
    case pc::Type::Identity: {
      KNIT_TRY(auto v, decode<pc::Identity>(r));
      if (!r.name.starts_with("spiffe://")) return bad(r, "is no SPIFFE id");
      identities.set(r.name, std::move(v));
      return {};
    }
    case pc::Type::Certificate: {
      KNIT_TRY(const auto v, decode<pc::Certificate>(r));
      ServingCertificate c;
      c.source = *v;
      TlsServerOptions options;
      options.chain_pem = v->chain_pem;
      options.key_pem = v->key_pem;
      KNIT_TRY(c.simple, TlsContext::server(options));
      if (!v->ca_pem.empty()) {
        options.client_ca_pem = v->ca_pem;
        options.client = ClientCertificate::Require;
        KNIT_TRY(c.mutual, TlsContext::server(options));
      }
      certificates.set(r.name, std::move(c));
      return {};
    }
    case pc::Type::Mesh: {
      KNIT_TRY(auto v, decode<pc::Mesh>(r));
      meshes.set(r.name, std::move(v));
      return {};
    }
    case pc::Type::Workload: {
      KNIT_TRY(auto v, decode<pc::Workload>(r));
      remove({pc::Type::Workload, r.name});
      if (v->role != pc::Role::App) {
        const std::string key = std::to_string(static_cast<unsigned>(v->role));
        const auto* old = by_role.find(key);
        auto list = old ? *old : std::vector<std::string>{};
        list.push_back(r.name);
        by_role.set(key, std::move(list));
      }
      count_namespace(v->ns, 1);
      if (!v->ip.empty()) workload_by_ip.set(v->ip, r.name);
      workloads.set(r.name, std::move(v));
      return {};
    }
    case pc::Type::Service: {
      KNIT_TRY(auto v, decode<pc::Service>(r));
      remove({pc::Type::Service, r.name});
      count_namespace(r.name.substr(0, r.name.find('/')), 1);
      for (const auto& ip : v->cluster_ips) service_by_ip.set(ip, r.name);
      for (const auto& p : v->ports) {
        for (const auto& b : p.backends) {
          backend_protocol.set(ip_port(b.ip, b.port), pc::Protocol(p.protocol));
        }
      }
      services.set(r.name, std::move(v));
      return {};
    }
    case pc::Type::Revision: {
      KNIT_TRY(auto v, decode<pc::Revision>(r));
      if (v->h2c) {
        return Error(Code::Unsupported, "Revision " + r.name +
                                            ": a container port named h2c needs HTTP/2, which is "
                                            "not supported yet; name the port http1");
      }
      revisions.set(r.name, std::move(v));
      return {};
    }
    case pc::Type::Gateway: {
      KNIT_TRY(auto v, decode<pc::Gateway>(r));
      for (const auto& s : v->servers) {
        const bool needs = s.tls == pc::TlsMode::Simple || s.tls == pc::TlsMode::Mutual;
        if (needs && s.certificate.empty()) return bad(r, "a server has no certificate");
      }
      gateways.set(r.name, std::move(v));
      return {};
    }
    case pc::Type::Routes: {
      KNIT_TRY(auto v, decode<pc::Routes>(r));
      for (const auto& route : v->routes) {
        for (const auto& m : route.matches) {
          for (const auto& h : m.headers) {
            if (h.kind == pc::HeaderMatch::Kind::Regex) {
              return Error(Code::Unsupported, "VirtualService " + r.name + ": header " + h.name +
                                                  " is matched by regex, which is not supported "
                                                  "yet; use exact or prefix");
            }
          }
        }
      }
      remove({pc::Type::Routes, r.name});
      for (const auto& h : v->hosts) index_add(routes_by_host, host_of(h), v);
      routes.set(r.name, std::move(v));
      return {};
    }
    case pc::Type::EdgeRoute: {
      KNIT_TRY(auto v, decode<pc::EdgeRoute>(r));
      if (v->termination == pc::EdgeRoute::Termination::Reencrypt) {
        return Error(Code::Unsupported,
                     "Route " + r.name + ": spec.tls.termination reencrypt is not supported yet");
      }
      remove({pc::Type::EdgeRoute, r.name});
      index_add(edge_by_host, host_of(v->host), v);
      edge_routes.set(r.name, std::move(v));
      return {};
    }
    case pc::Type::Probe: {
      KNIT_TRY(auto v, decode<pc::Probe>(r));
      probes.set(r.name, std::move(v));
      return {};
    }
  }
  return Error(Code::Unsupported,
               "unknown resource type " + std::to_string(static_cast<std::uint32_t>(r.type)));
}

void Tables::remove(const pc::Ref& ref) {
  switch (ref.type) {
    case pc::Type::Settings:
      break;
    case pc::Type::TrustBundle:
      bundles.erase(ref.name);
      break;
    case pc::Type::Identity:
      identities.erase(ref.name);
      held.erase(ref.name);
      break;
    case pc::Type::Certificate:
      certificates.erase(ref.name);
      break;
    case pc::Type::Mesh:
      meshes.erase(ref.name);
      break;
    case pc::Type::Workload:
      if (const auto w = workloads.get(ref.name)) {
        count_namespace(w->ns, -1);
        const auto* uid = workload_by_ip.find(w->ip);
        if (uid && *uid == ref.name) workload_by_ip.erase(w->ip);
        if (w->role != pc::Role::App) {
          const std::string key = std::to_string(static_cast<unsigned>(w->role));
          if (const auto* old = by_role.find(key)) {
            auto list = *old;
            std::erase(list, ref.name);
            by_role.set(key, std::move(list));
          }
        }
      }
      workloads.erase(ref.name);
      break;
    case pc::Type::Service:
      if (const auto old = services.get(ref.name)) {
        count_namespace(std::string_view(ref.name).substr(0, ref.name.find('/')), -1);
        for (const auto& ip : old->cluster_ips) service_by_ip.erase(ip);
        for (const auto& p : old->ports) {
          for (const auto& b : p.backends) backend_protocol.erase(ip_port(b.ip, b.port));
        }
      }
      services.erase(ref.name);
      break;
    case pc::Type::Revision:
      revisions.erase(ref.name);
      break;
    case pc::Type::Gateway:
      gateways.erase(ref.name);
      break;
    case pc::Type::Routes:
      if (const auto old = routes.get(ref.name)) {
        for (const auto& h : old->hosts) index_remove(routes_by_host, host_of(h), old.get());
      }
      routes.erase(ref.name);
      break;
    case pc::Type::EdgeRoute:
      if (const auto old = edge_routes.get(ref.name)) {
        index_remove(edge_by_host, host_of(old->host), old.get());
      }
      edge_routes.erase(ref.name);
      break;
    case pc::Type::Probe:
      probes.erase(ref.name);
      break;
  }
}

}  // namespace knit::proxy
