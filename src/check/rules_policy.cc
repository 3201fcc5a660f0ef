// K8xx: AuthorizationPolicies that Knative's own traffic must pass.
#include "check/helpers.h"

namespace knit::check {
namespace {

using yaml::Path;

constexpr std::string_view kPolicy = "security.istio.io/AuthorizationPolicy";

bool allow(const Json& policy) {
  const auto action = json::str(policy, {"spec", "action"}, "ALLOW");
  return action == "ALLOW";
}

bool list_has(const JsonArray& list, std::string_view value) {
  return std::any_of(list.begin(), list.end(), [&](const Json& v) {
    const auto* s = v.if_string();
    if (s == nullptr) return false;
    const std::string_view text(s->data(), s->size());
    if (text == "*" || text == value) return true;
    if (text.ends_with('*')) return value.starts_with(text.substr(0, text.size() - 1));
    return text.starts_with('*') && value.ends_with(text.substr(1));
  });
}

/// Some rule lets callers of namespace `ns` through (whatever its operation).
bool admits_source(const Json& rule, std::string_view ns) {
  const auto& from = json::array(rule, {"from"});
  if (from.empty()) return true;
  for (const auto& f : from) {
    const auto& namespaces = json::array(f, {"source", "namespaces"});
    const auto& principals = json::array(f, {"source", "principals"});
    if (namespaces.empty() && principals.empty()) return true;
    if (list_has(namespaces, ns)) return true;
    for (const auto& p : principals) {
      const auto* s = p.if_string();
      if (s != nullptr &&
          (*s == "*" ||
           std::string_view(s->data(), s->size()).find("/ns/" + std::string(ns) + "/") !=
               std::string_view::npos)) {
        return true;
      }
    }
  }
  return false;
}
bool admits_path(const Json& rule, std::string_view path) {
  const auto& to = json::array(rule, {"to"});
  if (to.empty()) return true;
  return std::any_of(to.begin(), to.end(), [&](const Json& t) {
    const auto& paths = json::array(t, {"operation", "paths"});
    return paths.empty() || list_has(paths, path);
  });
}

/// ALLOW policies of a namespace: Istio lets a request through that any of them admits.
std::map<std::string, std::vector<ItemPtr>> allow_policies(const Context& c) {
  std::map<std::string, std::vector<ItemPtr>> out;
  for (const auto& policy : c.list(kPolicy)) {
    if (allow(policy->json)) out[policy->ns].push_back(policy);
  }
  return out;
}
bool has_services(const Context& c, const std::string& ns) {
  return !c.list(kServiceKind, ns).empty();
}

void admits_serving(Context& c) {
  for (const auto& [ns, policies] : allow_policies(c)) {
    if (!has_services(c, ns)) continue;
    const bool admitted = std::any_of(policies.begin(), policies.end(), [](const ItemPtr& p) {
      const auto& rules = json::array(p->json, {"spec", "rules"});
      return std::any_of(rules.begin(), rules.end(),
                         [](const Json& r) { return admits_source(r, "knative-serving"); });
    });
    if (!admitted)
      c.report(policies.front(), Path{"spec", "rules"},
               "no rule admits callers from knative-serving");
  }
}

void admits_probes(Context& c) {
  for (const auto& [ns, policies] : allow_policies(c)) {
    if (!has_services(c, ns)) continue;
    for (const std::string_view path : {"/healthz", "/metrics"}) {
      bool source = false;
      bool admitted = false;
      for (const auto& p : policies) {
        for (const auto& r : json::array(p->json, {"spec", "rules"})) {
          if (!admits_source(r, "knative-serving")) continue;
          source = true;
          admitted |= admits_path(r, path);
        }
      }
      if (source && !admitted) {
        c.report(policies.front(), Path{"spec", "rules"},
                 "no rule admits " + std::string(path) + " from knative-serving");
      }
    }
  }
}

void system_allow_set(Context& c) {
  for (const std::string ns : {"knative-serving", "knative-eventing"}) {
    const auto policies = c.list(kPolicy, ns);
    ItemPtr deny;
    bool some = false;
    for (const auto& p : policies) {
      if (!allow(p->json)) continue;
      if (json::array(p->json, {"spec", "rules"}).empty() &&
          json::find(p->json, {"spec", "selector"}) == nullptr) {
        deny = p;
      }
      for (const auto& r : json::array(p->json, {"spec", "rules"})) some |= admits_source(r, ns);
    }
    if (deny && !some) {
      c.report(
          deny, {},
          "denies everything in " + ns + ", and no other policy admits Knative's own components");
    }
  }
}

void known_sources(Context& c) {
  if (!c.objects().knows("Namespace")) return;
  for (const auto& policy : c.list(kPolicy)) {
    std::size_t i = 0;
    for (const auto& rule : json::array(policy->json, {"spec", "rules"})) {
      std::size_t k = 0;
      for (const auto& from : json::array(rule, {"from"})) {
        std::size_t n = 0;
        for (const auto& v : json::array(from, {"source", "namespaces"})) {
          const auto* s = v.if_string();
          const Path at = Path{"spec", "rules"} / i / "from" / k / "source" / "namespaces" / n++;
          if (s == nullptr || s->find('*') != std::string::npos) continue;
          const std::string name(s->data(), s->size());
          if (Context::is_placeholder(name) || c.find("Namespace", "", name)) continue;
          c.report(policy, at, "namespace " + name + " does not exist");
        }
        ++k;
      }
      ++i;
    }
  }
}

void tenants(Context& c) {
  std::set<std::string> namespaces;
  for (const auto& s : c.list(kServiceKind)) namespaces.insert(s->ns);
  if (namespaces.size() < 2) return;
  for (const auto& [ns, policies] : allow_policies(c)) {
    if (!has_services(c, ns)) continue;
    for (const auto& p : policies) {
      for (const auto& r : json::array(p->json, {"spec", "rules"})) {
        if (json::array(r, {"from"}).empty() || !admits_source(r, "knative-serving")) continue;
        if (!admits_path(r, "/anything-else")) continue;  // probes only
        const auto& when = json::array(r, {"when"});
        const auto& to = json::array(r, {"to"});
        const bool bound = !when.empty() || std::any_of(to.begin(), to.end(), [](const Json& t) {
          return !json::array(t, {"operation", "hosts"}).empty();
        });
        if (bound) continue;
        c.report(p, Path{"spec", "rules"},
                 "admits all of knative-serving: whoever reaches the activator reaches " + ns);
      }
    }
  }
}

void by_label(Context& c) {
  for (const auto& policy : c.list(kPolicy)) {
    if (json::str(policy->json, {"spec", "action"}) != "CUSTOM") continue;
    if (json::object(policy->json, {"spec", "selector", "matchLabels"}).empty() ||
        !has_services(c, policy->ns))
      continue;
    c.report(policy, Path{"spec", "selector"},
             "CUSTOM on the pods of a service does not hold while it is scaled to zero");
  }
  for (const auto& filter : c.list("networking.istio.io/EnvoyFilter")) {
    if (json::object(filter->json, {"spec", "workloadSelector", "labels"}).empty() ||
        !has_services(c, filter->ns))
      continue;
    c.report(filter, Path{"spec", "workloadSelector"},
             "a filter on the pods of a service does not hold while it is scaled to zero");
  }
}

void empty_allow(Context& c) {
  for (const auto& policy : c.list(kPolicy)) {
    if (!allow(policy->json) || !json::array(policy->json, {"spec", "rules"}).empty()) continue;
    if (json::find(policy->json, {"spec", "selector"}) == nullptr) continue;  // the usual deny-all
    c.report(policy, Path{"spec"}, "ALLOW without rules denies everything to what it selects");
  }
}

}  // namespace

void add_policy_rules(std::vector<Rule>& out) {
  out.push_back(
      {"K801",
       {"AP-01"},
       {},
       Severity::Error,
       Offline::Yes,
       "policies admit knative-serving",
       "認可ポリシーは knative-serving からの呼び出しを許可する",
       "403 RBAC: access denied, through the activator only",
       "From zero, requests come from the activator: its identity is in knative-serving, not the "
       "caller's.",
       "add namespaces: [knative-serving] to a rule; any caller of the activator passes it",
       {},
       {},
       admits_serving});
  out.push_back({"K802",
                 {},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "policies admit probes and metrics",
                 "認可ポリシーはプローブとメトリクスを許可する",
                 "never ready; the autoscaler is blind",
                 "knative-serving reads /healthz and /metrics of every pod.",
                 "admit both paths",
                 {},
                 {},
                 admits_probes});
  out.push_back({"K803",
                 {},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "a deny-all in Knative's namespaces has its allow set",
                 "Knative の namespace の全拒否には許可ポリシーがある",
                 "blocked websockets; nothing scales",
                 "Activator, autoscaler, receivers and probes call each other there.",
                 "apply the allow policies too, once KnativeServing is Ready",
                 {},
                 {},
                 system_allow_set});
  out.push_back({"K804",
                 {},
                 {"KIA0101", "KIA0106"},
                 Severity::Warning,
                 Offline::Partly,
                 "namespaces in policies exist",
                 "ポリシーに書かれた namespace が存在する",
                 "silent denial",
                 "A name that does not exist matches nobody.",
                 "correct the name, or create what it names",
                 {"Namespace"},
                 {},
                 known_sources});
  out.push_back({"K805",
                 {},
                 {},
                 Severity::Warning,
                 Offline::Yes,
                 "tenants are isolated behind the activator",
                 "テナントは activator の背後でも分離されている",
                 "a tenant reaches another's services",
                 "A rule that admits knative-serving admits whoever the activator forwards for, "
                 "unless it is bound to "
                 "hosts or the Kn-Namespace header.",
                 "add hosts, or a when condition",
                 {},
                 {},
                 tenants});
  out.push_back(
      {"K806",
       {},
       {},
       Severity::Warning,
       Offline::Yes,
       "external authorization is attached to the gateway",
       "外部認可はゲートウェイに設定されている",
       "works until scale to zero, then timeouts",
       "Without pods there is nothing the selector could match; the activator is reached instead.",
       "attach it to the ingress gateway's workload, in the namespace of the mesh",
       {},
       {},
       by_label});
  out.push_back({"K807",
                 {"AP-02"},
                 {"IST0167"},
                 Severity::Warning,
                 Offline::Yes,
                 "ALLOW policies have rules",
                 "ALLOW ポリシーにはルールがある",
                 "403 for everything",
                 "ALLOW without rules admits nobody.",
                 "add rules, or use it without selector as a deny-all",
                 {},
                 {},
                 empty_allow});
}

}  // namespace knit::check
