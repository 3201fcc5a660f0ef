// Maistra, Istio, the operators and OpenShift: as their webhooks answer.
// Source: maistra/istio-operator pkg/controller/validation, istio pkg/config/validation,
// openshift/library-go pkg/route/validation.
#include <algorithm>
#include <set>

#include "kube/names.h"
#include "kube/schema/validation.h"

namespace knit::schema {

namespace {
using json::array;
using json::find;
using json::i64;
using json::str;

Verdict denied(std::string_view webhook, std::string_view why) {
  Verdict v;
  v.failure = bad_request("admission webhook \"" + std::string(webhook) +
                          "\" denied the request: " + std::string(why));
  return v;
}

std::string text(const Json& v) {
  const auto* s = v.if_string();
  return s == nullptr ? json::print(v) : std::string(s->data(), s->size());
}

// ------------------------------------------------------------------ Maistra

Verdict member_roll(const Json& o) {
  constexpr std::string_view kWebhook = "smmr.validation.maistra.io";
  if (str(o, {"metadata", "name"}) != "default") {
    return denied(kWebhook, "ServiceMeshMemberRoll must be named \"default\"");
  }
  const auto& members = array(o, {"spec", "members"});
  if (!members.empty() && !array(o, {"spec", "memberSelectors"}).empty()) {
    return denied(kWebhook, "spec.members and spec.memberSelectors cannot both be set");
  }
  const std::string_view mesh = str(o, {"metadata", "namespace"});
  std::set<std::string> seen;
  for (const Json& m : members) {
    const std::string name = text(m);
    if (name == "*") {
      if (members.size() > 1) {
        return denied(kWebhook,
                      "when using the wildcard in spec.members, no other members may be "
                      "specified");
      }
      continue;
    }
    if (const auto errors = kube::check_dns1123_label(name); !errors.empty()) {
      return denied(kWebhook, "ServiceMeshMemberRoll contains invalid namespace name \"" + name +
                                  "\": " + errors.front());
    }
    if (name == mesh) {
      return denied(kWebhook, "mesh project/namespace cannot be listed as a member");
    }
    if (!seen.insert(name).second) {
      return denied(kWebhook, "ServiceMeshMemberRoll contains duplicate member \"" + name + "\"");
    }
  }
  return {};
}

Verdict member(const Json& o, const Json* old) {
  constexpr std::string_view kWebhook = "smm.validation.maistra.io";
  if (str(o, {"metadata", "name"}) != "default") {
    return denied(kWebhook, "ServiceMeshMember must be named \"default\"");
  }
  if (str(o, {"spec", "controlPlaneRef", "name"}).empty() ||
      str(o, {"spec", "controlPlaneRef", "namespace"}).empty()) {
    return denied(kWebhook, "spec.controlPlaneRef needs name and namespace");
  }
  if (old != nullptr && !(*find(o, {"spec", "controlPlaneRef"}) ==
                          (find(*old, {"spec", "controlPlaneRef"}) == nullptr
                               ? Json()
                               : *find(*old, {"spec", "controlPlaneRef"})))) {
    return denied(kWebhook, "ServiceMeshMember.spec.controlPlaneRef cannot be changed");
  }
  return {};
}

Verdict control_plane(const Json& o) {
  constexpr std::string_view kWebhook = "smcp.validation.maistra.io";
  constexpr std::string_view kVersions[] = {"v2.0", "v2.1", "v2.2", "v2.3", "v2.4", "v2.5", "v2.6"};
  const std::string_view version = str(o, {"spec", "version"});
  if (std::find(std::begin(kVersions), std::end(kVersions), version) == std::end(kVersions)) {
    return denied(kWebhook,
                  "invalid Version specified; supported versions are: v2.0, v2.1, v2.2, "
                  "v2.3, v2.4, v2.5, v2.6");
  }
  for (const Json& p : array(o, {"spec", "profiles"})) {
    if (p != "default" && p != "small" && p != "base") {
      return denied(kWebhook, "spec.profiles: profile \"" + text(p) +
                                  "\" does not exist; Knit knows base, small and default");
    }
  }
  for (const std::string_view direction : {"inbound", "outbound"}) {
    for (const Json& p :
         array(o, {"spec", "proxy", "networking", "trafficControl", direction, "excludedPorts"})) {
      const auto* n = p.if_int64();
      if (n == nullptr || *n < 1 || *n > 65535) {
        return denied(kWebhook, "spec.proxy.networking.trafficControl." + std::string(direction) +
                                    ".excludedPorts: " + text(p) + " is no port (1..65535)");
      }
    }
  }
  return {};
}

// ------------------------------------------------------------------ Istio

constexpr std::string_view kProtocols[] = {"HTTP",  "HTTPS", "GRPC",  "GRPC-WEB", "HTTP2",
                                           "MONGO", "REDIS", "MYSQL", "TCP",      "TLS"};
bool known_protocol(std::string_view p) {
  return std::find(std::begin(kProtocols), std::end(kProtocols), p) != std::end(kProtocols);
}
bool tls_protocol(std::string_view p) { return p == "HTTPS" || p == "TLS"; }

/// "[ns/]dnsName", "*", "*.suffix", "./x".
std::string host_problem(std::string_view host, bool with_namespace) {
  if (with_namespace) {
    if (const auto slash = host.find('/'); slash != std::string_view::npos) {
      const std::string_view ns = host.substr(0, slash);
      host = host.substr(slash + 1);
      if (ns != "." && ns != "*" && !kube::check_dns1123_label(ns).empty()) {
        return "namespace \"" + std::string(ns) + "\" in host is not valid";
      }
    }
  }
  if (host == "*") return {};
  std::string_view rest = host;
  if (rest.starts_with("*.")) rest.remove_prefix(2);
  std::string lower(rest);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (lower.empty() || !kube::check_dns1123_subdomain(lower).empty()) {
    return "domain name \"" + std::string(host) + "\" invalid (label \"" + std::string(rest) +
           "\" invalid)";
  }
  return {};
}

void gateway_tls(const Json& tls, std::string_view protocol, std::vector<std::string>& errors,
                 std::vector<std::string>& warnings) {
  const std::string_view mode = str(tls, {"mode"}, "PASSTHROUGH");
  const bool credential =
      !str(tls, {"credentialName"}).empty() || !array(tls, {"credentialNames"}).empty();
  const bool files = !str(tls, {"serverCertificate"}).empty() || !str(tls, {"privateKey"}).empty();
  if (json::boolean(tls, {"httpsRedirect"}) && tls_protocol(protocol)) {
    warnings.emplace_back("tls.httpsRedirect should only be used with http servers");
  }
  if (mode == "ISTIO_MUTUAL") {
    if (credential) errors.emplace_back("ISTIO_MUTUAL TLS cannot have associated credentialName");
    if (files) errors.emplace_back("ISTIO_MUTUAL TLS cannot have associated server certificate");
    if (!str(tls, {"caCertificates"}).empty()) {
      errors.emplace_back("ISTIO_MUTUAL TLS cannot have associated CA bundle");
    }
    return;
  }
  if (mode == "PASSTHROUGH" || mode == "AUTO_PASSTHROUGH") {
    if (credential || files || !str(tls, {"caCertificates"}).empty()) {
      warnings.push_back(std::string(mode) +
                         " mode does not use certificates, they will be ignored");
    }
    return;
  }
  if (credential && files) {
    errors.emplace_back(
        "one of credential_name, credential_names, tls_certificates or "
        "server_certificate+private_key must be set");
  }
  if (credential) return;
  const std::string shown(mode);
  if (array(tls, {"tlsCertificates"}).empty()) {
    if (str(tls, {"serverCertificate"}).empty()) {
      errors.push_back(shown + " TLS requires a server certificate");
    }
    if (str(tls, {"privateKey"}).empty()) errors.push_back(shown + " TLS requires a private key");
  }
  if (mode == "MUTUAL" && str(tls, {"caCertificates"}).empty() &&
      str(tls, {"caCertCredentialName"}).empty()) {
    errors.emplace_back("MUTUAL TLS requires a client CA bundle");
  }
}

Verdict istio_denied(const std::vector<std::string>& errors, std::vector<std::string> warnings) {
  Verdict v;
  if (!errors.empty()) {
    std::string all;
    for (const auto& e : errors) all += "\n\t* " + e;
    v = denied("validation.istio.io",
               "configuration is invalid: " +
                   (errors.size() == 1
                        ? errors.front()
                        : std::to_string(errors.size()) + " errors occurred:" + all + "\n\n"));
  }
  v.warnings = std::move(warnings);
  return v;
}

Verdict gateway(const Json& o) {
  std::vector<std::string> errors, warnings;
  const auto& servers = array(o, {"spec", "servers"});
  if (servers.empty()) errors.emplace_back("gateway must have at least one server");
  std::set<std::string_view> names;
  for (const Json& s : servers) {
    const auto& hosts = array(s, {"hosts"});
    if (hosts.empty()) errors.emplace_back("server config must contain at least one host");
    for (const Json& h : hosts) {
      if (auto why = host_problem(text(h), true); !why.empty()) {
        errors.push_back("invalid server host: " + why);
      }
    }
    const Json* port = find(s, "port");
    if (port == nullptr) {
      errors.emplace_back("port is required");
      continue;
    }
    const std::string_view protocol = str(*port, {"protocol"});
    if (!known_protocol(protocol)) {
      errors.push_back("invalid protocol \"" + std::string(protocol) +
                       "\", supported protocols are HTTP, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, "
                       "MYSQL, TCP, HTTPS, TLS");
    }
    const auto number = i64(*port, {"number"});
    const bool unix_bind = str(s, {"bind"}).starts_with("unix://");
    if (!(unix_bind && number == 0) && (number < 1 || number > 65535)) {
      errors.push_back("port number " + std::to_string(number) + " must be in the range 1..65535");
    }
    if (find(*port, "targetPort") != nullptr) {
      errors.emplace_back("targetPort has no impact on Gateways");
    }
    const std::string_view name = str(*port, {"name"});
    if (name.empty()) {
      errors.push_back("port name must be set: " + json::print(s));
    } else if (!names.insert(name).second) {
      errors.push_back("port names in servers must be unique: duplicate name " + std::string(name));
    }
    const Json* tls = find(s, "tls");
    if (tls_protocol(protocol) && tls == nullptr) {
      errors.push_back("server must have TLS settings for HTTPS/TLS protocols");
    } else if (!tls_protocol(protocol) && tls != nullptr &&
               (!json::boolean(*tls, {"httpsRedirect"}) || find(*tls, "mode") != nullptr)) {
      errors.emplace_back("server cannot have TLS settings for non HTTPS/TLS ports");
    }
    if (tls != nullptr && tls_protocol(protocol)) gateway_tls(*tls, protocol, errors, warnings);
  }
  return istio_denied(errors, std::move(warnings));
}

/// Repeated port names and numbers: an error of real Istio. DIFFERS: the seed's own file has them,
/// so names are a Warning unless `compatibility: upstream` is set.
Verdict service_entry(const Json& o, const Context& context) {
  std::vector<std::string> errors, warnings;
  const auto& hosts = array(o, {"spec", "hosts"});
  if (hosts.empty()) errors.emplace_back("service entry must have at least one host");
  for (const Json& h : hosts) {
    if (text(h) == "*") {
      errors.emplace_back("invalid host *");
    } else if (auto why = host_problem(text(h), false); !why.empty()) {
      errors.push_back(why);
    }
  }
  const auto& ports = array(o, {"spec", "ports"});
  std::set<std::string> names;
  std::set<std::int64_t> numbers;
  for (const Json& p : ports) {
    const std::string name(str(p, {"name"}));
    const auto number = i64(p, {"number"});
    if (name.empty()) errors.emplace_back("service entry port name is required");
    if (!name.empty() && !names.insert(name).second) {
      const std::string what = "service entry port name \"" + name + "\" already defined";
      if (context.upstream_strict) {
        errors.push_back(what);
      } else {
        warnings.push_back("spec.ports: " + what +
                           "; Istio refuses this ServiceEntry, Knit takes it and tells the ports "
                           "apart by number");
      }
    }
    if (!numbers.insert(number).second) {
      errors.push_back("service entry port " + std::to_string(number) + " already defined");
    }
    if (number < 1 || number > 65535) {
      errors.push_back("port number " + std::to_string(number) + " must be in the range 1..65535");
    }
    const std::string_view protocol = str(p, {"protocol"});
    std::string upper(protocol);
    for (char& c : upper) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    if (!protocol.empty() && !known_protocol(upper)) {
      errors.push_back("unsupported protocol: " + std::string(protocol));
    }
  }
  const std::string_view resolution = str(o, {"spec", "resolution"}, "NONE");
  if (resolution == "NONE" && !array(o, {"spec", "endpoints"}).empty()) {
    errors.emplace_back("no endpoints should be provided for resolution type none");
  }
  return istio_denied(errors, std::move(warnings));
}

Verdict peer_authentication(const Json& o) {
  std::vector<std::string> errors;
  const auto& ports = json::object(o, {"spec", "portLevelMtls"});
  if (!ports.empty() && json::object(o, {"spec", "selector", "matchLabels"}).empty()) {
    errors.emplace_back("portLevelMtls requires selector");
  }
  for (const auto& member : ports) {
    if (member.key() == "0") errors.emplace_back("port cannot be 0");
  }
  return istio_denied(errors, {});
}

// ------------------------------------------------------------------ operators, OpenShift

Verdict operator_object(const Kind& kind, const Json& o) {
  const bool serving = kind.kind == "KnativeServing";
  const std::string_view ns = str(o, {"metadata", "namespace"});
  const std::string_view want = serving ? "knative-serving" : "knative-eventing";
  if (ns == want) return {};
  return denied(
      serving ? "knativeservings.operator.serverless.openshift.io"
              : "knativeeventings.operator.serverless.openshift.io",
      std::string(kind.kind) + " may only be created in " + std::string(want) + " namespace");
}

Verdict route(const Kind& kind, const Json& o, const Json* old) {
  Errors errors;
  const std::string_view host = str(o, {"spec", "host"});
  if (!host.empty()) {
    errors.all("spec.host", host, kube::check_dns1123_subdomain(host));
    std::string_view rest = host;
    while (!rest.empty()) {
      const auto dot = std::min(rest.find('.'), rest.size());
      if (dot > 63) errors.invalid("spec.host", host, "must be no more than 63 characters");
      rest.remove_prefix(std::min(dot + 1, rest.size()));
    }
  }
  if (old != nullptr && !str(*old, {"spec", "host"}).empty() &&
      str(*old, {"spec", "host"}) != host) {
    errors.invalid("spec.host", host, kImmutable);
  }
  if (str(o, {"spec", "to", "name"}).empty()) errors.required("spec.to.name");
  if (const auto k = str(o, {"spec", "to", "kind"}, "Service"); k != "Service") {
    errors.not_supported("spec.to.kind", k, {"Service"});
  }
  const auto weight = [&](const Json& target, const std::string& path) {
    const auto w = i64(target, {"weight"}, 100);
    if (w < 0 || w > 256) errors.invalid(path, w, "weight must be an integer between 0 and 256");
  };
  if (const Json* to = find(o, {"spec", "to"})) weight(*to, "spec.to.weight");
  const auto& others = array(o, {"spec", "alternateBackends"});
  if (others.size() > 3) {
    errors.required("spec.alternateBackends", "cannot specify more than 3 alternate backends");
  }
  for (std::size_t i = 0; i < others.size(); ++i) {
    weight(others[i], at(at("spec.alternateBackends", i), "weight"));
    if (str(others[i], {"name"}).empty()) {
      errors.required(at(at("spec.alternateBackends", i), "name"));
    }
  }
  const std::string_view path = str(o, {"spec", "path"});
  const std::string_view termination = str(o, {"spec", "tls", "termination"});
  if (!path.empty() && !path.starts_with('/')) {
    errors.invalid("spec.path", path, "path must begin with /");
  }
  if (!path.empty() && termination == "passthrough") {
    errors.invalid("spec.path", path, "passthrough termination does not support paths");
  }
  if (termination == "passthrough") {
    for (const std::string_view key :
         {"certificate", "key", "caCertificate", "destinationCACertificate"}) {
      if (!str(o, {"spec", "tls", key}).empty()) {
        errors.invalid("spec.tls." + std::string(key), "redacted " + std::string(key) + " data",
                       "passthrough termination does not support certificates");
      }
    }
    if (str(o, {"spec", "tls", "insecureEdgeTerminationPolicy"}) == "Allow") {
      errors.invalid("spec.tls.insecureEdgeTerminationPolicy", "Allow",
                     "cannot have both TLS termination type passthrough and "
                     "InsecureEdgeTerminationPolicy set to Allow");
    }
  }
  if (termination == "edge" && !str(o, {"spec", "tls", "destinationCACertificate"}).empty()) {
    errors.invalid("spec.tls.destinationCACertificate", "redacted destination ca certificate data",
                   "edge termination does not support destination certificates");
  }
  Verdict v;
  if (!errors.list.empty()) {
    v.failure = invalid(kind, str(o, {"metadata", "name"}), std::move(errors.list));
  }
  return v;
}
}  // namespace

Verdict validate_mesh(const Kind& kind, const Json& object, const Json* old,
                      const Context& context) {
  if (kind.kind == "ServiceMeshMemberRoll") return member_roll(object);
  if (kind.kind == "ServiceMeshMember") return member(object, old);
  if (kind.kind == "ServiceMeshControlPlane") return control_plane(object);
  if (kind.group == "networking.istio.io") {
    if (kind.kind == "Gateway") return gateway(object);
    if (kind.kind == "ServiceEntry") return service_entry(object, context);
  }
  if (kind.kind == "PeerAuthentication") return peer_authentication(object);
  if (kind.group.starts_with("operator.")) return operator_object(kind, object);
  if (kind.group == "route.openshift.io") return route(kind, object, old);
  return {};
}

}  // namespace knit::schema
