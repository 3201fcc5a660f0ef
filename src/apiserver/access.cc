#include "apiserver/access.h"

#include "http/h1.h"
#include "pki/x509.h"

namespace knit::apiserver {
namespace {

constexpr std::string_view kTagUser = "user:";

struct Rule {
  std::string_view user;       // a trailing '*' matches any suffix
  std::string_view verbs;      // '|' separated, or "*"
  std::string_view resources;  // "pods.", "deployments.apps", "pods/status."; '|' separated, "*"
};
/// What each process may do: the RBAC that an installation on a real cluster will give it.
constexpr Rule kRules[] = {
    {"system:knit:node", "get|list|watch",
     "pods|nodes|namespaces|services|endpoints|configmaps|secrets|serviceaccounts|"
     "endpointslices.discovery.k8s.io|leases.coordination.k8s.io"},
    {"system:knit:node", "create|update|patch|delete", "pods|nodes|leases.coordination.k8s.io"},
    {"system:knit:node", "get|update|patch", "pods/status|nodes/status"},
    {"system:knit:node", "create|update|patch", "events|events.events.k8s.io"},
    {"system:knit:node", "create", "serviceaccounts/token"},
    {"system:knit:events", "get|list|watch",
     "brokers.eventing.knative.dev|triggers.eventing.knative.dev|"
     "inmemorychannels.messaging.knative.dev|pingsources.sources.knative.dev"},
    {"system:knit:events", "get|update|patch", "inmemorychannels/status.messaging.knative.dev"},
    {"system:knit:events", "create|update|patch", "events|events.events.k8s.io"},
    {"system:knit:events", "get|list|watch",
     "brokers.eventing.knative.dev|triggers.eventing.knative.dev|"
     "inmemorychannels.messaging.knative.dev|pingsources.sources.knative.dev"},
    {"system:knit:events", "patch", "inmemorychannels/status.messaging.knative.dev"},
    {"system:knit:controller:*", "*", "*"},
};

bool in_list(std::string_view list, std::string_view what) {
  if (list == "*") return true;
  while (!list.empty()) {
    const std::size_t bar = list.find('|');
    if (list.substr(0, bar) == what) return true;
    list = bar == std::string_view::npos ? std::string_view() : list.substr(bar + 1);
  }
  return false;
}
bool user_matches(std::string_view pattern, std::string_view user) {
  if (!pattern.empty() && pattern.back() == '*') {
    return user.starts_with(pattern.substr(0, pattern.size() - 1));
  }
  return pattern == user;
}
std::string rule_resource(const Attributes& a) {
  std::string out = a.resource;
  if (!a.subresource.empty()) out += "/" + a.subresource;
  if (!a.group.empty()) out += "." + a.group;
  return out;
}

bool is_health(std::string_view path) {
  for (const std::string_view p : {"/healthz", "/livez", "/readyz", "/version"}) {
    if (path == p || (path.starts_with(p) && path.size() > p.size() && path[p.size()] == '/')) {
      return true;
    }
  }
  return false;
}
bool is_discovery(std::string_view path) {
  for (const std::string_view p : {"/api", "/apis", "/openapi", "/openid"}) {
    if (path == p || path.starts_with(std::string(p) + "/")) return true;
  }
  return path == "/";
}

User with_group(User user, std::string_view group) {
  if (!user.in(group)) user.groups.emplace_back(group);
  return user;
}

constexpr std::string_view kAuthenticated = "system:authenticated";

}  // namespace

Result<User> CertificateUsers::user_of(const std::string& pem) {
  if (const auto it = users_.find(pem); it != users_.end()) return it->second;
  // io/tls has verified the chain against the API's client CA.
  auto parsed = pki::parse_certificates(pem);
  if (!parsed || parsed->front().common_name.empty()) {
    return Error(Code::Unauthenticated, "Unauthorized");
  }
  User user;
  user.name = parsed->front().common_name;
  user.groups = parsed->front().organizations;
  user = with_group(std::move(user), kAuthenticated);
  if (users_.size() >= kMost) users_.clear();
  users_.emplace(pem, user);
  return user;
}

Result<User> authenticate(const http::Peer& peer, const http::Headers& headers, Tokens* tokens,
                          const ObjectReader& state, WallTime now, CertificateUsers& certificates) {
  if (std::string_view(peer.tag).starts_with(kTagUser)) {
    User user;
    user.name = peer.tag.substr(kTagUser.size());
    user.groups = {"system:knit"};
    return with_group(std::move(user), kAuthenticated);
  }
  if (!peer.certificate.empty()) return certificates.user_of(peer.certificate);
  const std::string_view header = headers.get("Authorization");
  if (!header.empty()) {
    const std::size_t space = header.find(' ');
    if (space == std::string_view::npos || !http::h1::iequals(header.substr(0, space), "bearer")) {
      return Error(Code::Unauthenticated, "Unauthorized");
    }
    std::string_view token = header.substr(space + 1);
    while (!token.empty() && token.front() == ' ') token.remove_prefix(1);
    if (tokens == nullptr || token.empty()) return Error(Code::Unauthenticated, "Unauthorized");
    auto user = tokens->authenticate(token, {}, state, now);
    if (!user) return Error(Code::Unauthenticated, "Unauthorized");
    return with_group(std::move(*user), kAuthenticated);
  }
  User user;
  user.name = kAnonymous;
  user.groups = {"system:unauthenticated"};
  return user;
}

Attributes attributes_of(const RequestInfo& info, std::string_view path) {
  Attributes a;
  a.verb = info.verb;
  if (!info.resource) {
    a.path = path;
    return a;
  }
  a.group = info.group;
  a.resource = info.plural;
  a.subresource = info.subresource;
  a.ns = info.ns;
  a.name = info.name;
  return a;
}

bool authorized(const User& user, const Attributes& a) {
  if (user.in(kMasters)) return true;
  if (!a.path.empty()) {
    if (a.verb != "get") return false;
    if (is_health(a.path)) return true;
    return user.name != kAnonymous && is_discovery(a.path);
  }
  if (user.name == kAnonymous) return false;
  if (a.verb == "create" &&
      ((a.group == "authentication.k8s.io" && a.resource == "selfsubjectreviews") ||
       (a.group == "authorization.k8s.io" &&
        (a.resource == "selfsubjectaccessreviews" || a.resource == "selfsubjectrulesreviews")))) {
    return true;
  }
  for (const Rule& rule : kRules) {
    if (user_matches(rule.user, user.name) && in_list(rule.verbs, a.verb) &&
        in_list(rule.resources, rule_resource(a))) {
      return true;
    }
  }
  return false;
}

Status denied(const User& user, const Attributes& a) {
  if (!a.path.empty()) {
    return {403, "Forbidden",
            "forbidden: User \"" + user.name + "\" cannot " + a.verb + " path \"" + a.path + "\"",
            JsonObject()};
  }
  const std::string resource = a.resource + (a.group.empty() ? std::string() : "." + a.group);
  const std::string full = a.resource + (a.subresource.empty() ? "" : "/" + a.subresource);
  std::string message = resource;
  if (!a.name.empty()) message += " \"" + a.name + "\"";
  message += " is forbidden: User \"" + user.name + "\" cannot " + a.verb + " resource \"" + full +
             "\" in API group \"" + a.group + "\"";
  message += a.ns.empty() ? " at the cluster scope" : " in the namespace \"" + a.ns + "\"";
  JsonObject details;
  if (!a.name.empty()) details["name"] = text(a.name);
  if (!a.group.empty()) details["group"] = text(a.group);
  details["kind"] = text(a.resource);
  return {403, "Forbidden", std::move(message), std::move(details)};
}

}  // namespace knit::apiserver
