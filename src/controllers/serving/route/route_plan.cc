// Route → KIngress and placeholder Services.
// Source: knative/serving pkg/reconciler/route/{route,reconcile_resources}.go,
// pkg/apis/serving/v1/route_lifecycle.go
#include <algorithm>
#include <set>

#include "controllers/serving/exact.h"
#include "controllers/serving/route/traffic.h"
#include "controllers/serving/serving.h"

namespace knit::serving {
namespace {
constexpr std::string_view kAssigned = "AllTrafficAssigned";
constexpr std::string_view kIngressReady = "IngressReady";
constexpr std::string_view kCertificate = "CertificateProvisioned";
constexpr std::string_view kComponent = "route-controller";

void domain_error(Subject& s, const Error& error) {
  s.conditions().mark_unknown(kAssigned, "ErrorConfig", error.message());
}

std::string url(std::string_view scheme, std::string_view host) {
  return std::string(scheme) + "://" + std::string(host);
}

JsonArray status_traffic(const Json& route, const Traffic& traffic,
                         const std::map<std::string, bool>& local, const ServingConfig& config,
                         std::string_view cluster_domain, std::optional<Error>& error) {
  JsonArray out;
  for (const auto& target : traffic.targets) {
    JsonObject item;
    item["latestRevision"] = target.latest;
    item["percent"] = target.percent;
    item["revisionName"] = target.revision;
    if (!target.tag.empty()) {
      item["tag"] = target.tag;
      const auto hostname = hostname_of(route, target.tag, config.network);
      if (!hostname) {
        error = hostname.error();
        return out;
      }
      const auto it = local.find(target.tag);
      if (it != local.end() && it->second) {
        item["url"] = url("http", local_host(route, *hostname, cluster_domain));
      } else {
        const auto host = external_host(route, *hostname, config);
        if (!host) {
          error = host.error();
          return out;
        }
        item["url"] = url(config.network.external_scheme, *host);
      }
    }
    out.push_back(std::move(item));
  }
  return out;
}

/// Creates or updates one placeholder; false when it belongs to somebody else.
bool ensure_placeholder(Subject& s, const std::string& hostname, Placeholder placeholder) {
  const Key key = s.sibling(res::services(), hostname);
  const auto object = s.world().get(key);
  if (object != nullptr && !controlled_by(object, s.dom())) {
    s.conditions().mark_false(
        kIngressReady, "NotOwned",
        "There is an existing placeholder Service \"" + hostname + "\" that we do not own.");
    return false;
  }
  if (object != nullptr) {
    const Json have = object->parse();
    const auto type = json::str(have, {"spec", "type"}, "ClusterIP");
    if (type != json::str(placeholder.service, {"spec", "type"}) && type == "ClusterIP") {
      s.plan().remove(object);  // the type cannot be changed; the next plan makes it anew
      return true;
    }
    // Users may set the visibility label on the Service itself: labels are added, never removed.
  } else {
    s.event("Normal", "Created", "Created placeholder service \"" + hostname + "\"");
  }
  s.ensure_child(key, std::move(placeholder.service));
  if (!placeholder.endpoints.is_null()) {
    const Key endpoints = s.sibling(res::endpoints(), hostname);
    const auto existing = s.world().get(endpoints);
    if (existing != nullptr && !controlled_by(existing, s.dom())) {
      s.conditions().mark_false(
          kIngressReady, "NotOwned",
          "There is an existing placeholder Endpoint \"" + hostname + "\" that we do not own.");
      return false;
    }
    s.ensure_child(endpoints, std::move(placeholder.endpoints));
  }
  return true;
}

void remove_unused_placeholders(Subject& s, const std::set<std::string>& used) {
  for (const auto resource : {res::services(), res::endpoints()}) {
    for (const auto& object :
         s.world().labelled(resource, s.key().ns, label::kRoute, s.key().name)) {
      if (!used.contains(object->key().name) && controlled_by(object, s.dom()) &&
          !object->deleting()) {
        s.plan().remove(object);
      }
    }
  }
}

void note_rollout(Subject& s, const ServingConfig& config) {
  const StringMap annotations = annotations_of(s.dom());
  Duration wanted = config.network.rollout_duration;
  if (const auto text =
          first_of(annotations, {annotation::kRolloutDuration, annotation::kRolloutDurationOld})) {
    const auto value = parse_go_duration(*text);
    if (value) wanted = *value;
  }
  constexpr std::string_view kType = "GradualRollout";
  if (wanted > Duration::zero()) {
    s.conditions().set({std::string(kType),
                        "False",
                        "Info",
                        "Unsupported",
                        "rollout-duration " + go_duration(wanted) +
                            " is not supported yet: a new Revision gets its traffic at once. "
                            "Remove the annotation serving.knative.dev/rollout-duration (or the "
                            "key rollout-duration of config-network), or split traffic by hand.",
                        {}});
  } else if (s.conditions().get(kType) != nullptr) {
    s.conditions().set({std::string(kType), "True", "Info", "NotRequested", "", {}});
  }
}

void reconcile_route(Subject& s, Context& context) {
  const World& world = s.world();
  const ServingConfig& config = context.configs.get(world);
  const std::string& cluster_domain = context.settings.cluster_domain;
  auto& c = s.conditions();
  const std::string& name = s.key().name;
  if (!observed(s.dom())) {
    c.mark_unknown(kIngressReady, "IngressNotConfigured", "Ingress has not yet been reconciled.");
  }
  note_rollout(s, config);

  const Traffic traffic = resolve_traffic(world, s.dom());
  const auto local = cluster_local_tags(world, s.dom(), traffic, config, cluster_domain);
  const std::string local_name = local_host(s.dom(), name, cluster_domain);
  std::string main_host = local_name;
  if (!local.at("")) {
    const auto host = external_host(s.dom(), name, config);
    if (!host) return domain_error(s, host.error());
    main_host = *host;
  }
  json::set(s.status(), {"url"},
            Json(url(local.at("") ? "http" : config.network.external_scheme, main_host)));

  if (traffic.problem) {
    if (traffic.problem->failed) {
      c.mark_false(kAssigned, traffic.problem->reason, traffic.problem->message);
    } else {
      c.mark_unknown(kAssigned, traffic.problem->reason, traffic.problem->message);
    }
    return;
  }
  std::optional<Error> error;
  JsonArray shown = status_traffic(s.dom(), traffic, local, config, cluster_domain, error);
  if (error) return domain_error(s, *error);
  json::set(s.status(), {"traffic"}, std::move(shown));
  c.mark_true(kAssigned);
  json::set(s.status(), {"address", "url"}, Json(url("http", local_name)));

  if (config.network.external_domain_tls && !local.at("")) {
    c.mark_false(kCertificate, "CertificateProvisionFailed",
                 "external-domain-tls is not supported yet: set it to Disabled in config-network "
                 "and terminate TLS at the Gateway (credentialName).");
  } else {
    c.mark_true(kCertificate, "TLSNotEnabled",
                local.at("") ? "TLS is not enabled for cluster-local"
                             : "external-domain-tls is not enabled");
  }

  // Placeholders first, then the Ingress, then the placeholders again with its load balancer.
  const Key ingress_key = s.sibling(res::kingresses(), child_name(name, ""));
  const auto ingress_object = world.get(ingress_key);
  if (ingress_object != nullptr && !controlled_by(ingress_object, s.dom())) {
    c.mark_false(kIngressReady, "NotOwned",
                 "There is an existing Ingress \"" + ingress_key.name + "\" that we do not own.");
    return;
  }
  auto want = make_ingress(s.dom(), traffic, local, config, cluster_domain);
  if (!want) return domain_error(s, want.error());
  const Json ingress = world.view(ingress_key);
  std::set<std::string> used;
  for (const auto& [tag, targets] : traffic.by_tag) {
    const auto hostname = hostname_of(s.dom(), tag, config.network);
    if (!hostname) return domain_error(s, hostname.error());
    used.insert(*hostname);
    const auto domain = local.at(tag)
                            ? Result<std::string>(local_host(s.dom(), *hostname, cluster_domain))
                            : external_host(s.dom(), *hostname, config);
    if (!domain) return domain_error(s, domain.error());
    auto placeholder =
        make_placeholder(s.dom(), *hostname, *domain, ingress.is_null() ? nullptr : &ingress);
    if (!placeholder) {
      // No load balancer yet: an existing placeholder stays as it is.
      if (world.has(s.sibling(res::services(), *hostname))) continue;
      placeholder = make_placeholder(s.dom(), *hostname, *domain, nullptr);
      if (!placeholder) continue;
    }
    if (!ensure_placeholder(s, *hostname, std::move(*placeholder))) return;
  }
  remove_unused_placeholders(s, used);

  if (ingress_object == nullptr) {
    s.event("Normal", "Created", "Created Ingress \"" + ingress_key.name + "\"");
  }
  const std::size_t writes = s.plan().writes.size();
  ensure_exact(s, ingress_key, std::move(*want));
  const bool spec_changes = s.plan().writes.size() != writes &&
                            json::find(s.plan().writes.back().body, "spec") != nullptr;
  const auto ready = find_condition(ingress, "Ready");
  if (ingress.is_null() || spec_changes || !observed(ingress) || !ready) {
    c.mark_unknown(kIngressReady, "IngressNotConfigured", "Ingress has not yet been reconciled.");
  } else if (ready->is_true()) {
    c.mark_true(kIngressReady);
  } else if (ready->is_false()) {
    c.mark_false(kIngressReady, ready->reason, ready->message);
  } else {
    c.mark_unknown(kIngressReady, ready->reason, ready->message);
  }
}

}  // namespace

reconcile::Planner route_planner(ContextPtr context) {
  reconcile::Planner planner;
  planner.name = "route";
  planner.owns = res::kroutes();
  planner.plan = [context](const World& world, const Key& key, Instant) {
    const auto object = world.get(key);
    if (object == nullptr || object->deleting() || !installed(world)) return Plan{};
    Subject s(world, object,
              {std::string(kAssigned), std::string(kIngressReady), std::string(kCertificate)});
    reconcile_route(s, *context);
    return s.finish(kComponent);
  };
  // Configurations and Revisions that traffic names.
  const auto by_reference = [](const World& world, const ObjectPtr& before,
                               const ObjectPtr& after) {
    std::vector<Key> keys;
    const auto& changed = (after != nullptr ? after : before);
    const std::string& name = changed->key().name;
    const auto configuration = changed->label(label::kConfiguration);
    for (const auto& object : world.list(res::kroutes(), changed->key().ns)) {
      // Most Routes do not mention it at all.
      if (object->bytes().find(name) == std::string::npos &&
          (configuration.empty() || object->bytes().find(configuration) == std::string::npos)) {
        continue;
      }
      const Json route = object->parse();
      const auto& traffic = json::array(route, {"spec", "traffic"});
      if (std::any_of(traffic.begin(), traffic.end(), [&](const Json& target) {
            const auto c = json::str(target, {"configurationName"});
            return json::str(target, {"revisionName"}) == name || c == name ||
                   (!c.empty() && c == configuration);
          })) {
        keys.push_back(object->key());
      }
    }
    return keys;
  };
  planner.triggers = {reconcile::by_owner(res::kingresses(), res::kroutes()),
                      reconcile::by_owner(res::services(), res::kroutes()),
                      {res::configurations(), by_reference},
                      {res::revisions(), by_reference}};
  add_config_triggers(planner);
  return planner;
}

}  // namespace knit::serving
