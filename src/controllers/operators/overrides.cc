#include "controllers/operators/overrides.h"

#include <algorithm>

namespace knit::controllers::operators {
namespace {

Json* container_of(Json& deployment, std::string_view name) {
  Json* list = json::find(deployment, {"spec", "template", "spec", "containers"});
  if (list == nullptr || !list->is_array()) return nullptr;
  for (auto& c : list->get_array()) {
    if (json::str(c, {"name"}) == name) return &c;
  }
  return nullptr;
}

void copy_map(const Json& from, std::string_view field, Json& to, json::Path path) {
  Json* target = json::find(to, path);
  if (target == nullptr) {
    json::set(to, path, JsonObject());
    target = json::find(to, path);
  }
  for (const auto& [k, v] : json::string_map(from, {field})) json::set(*target, {k}, Json(v));
}

void override_env(const Json& entry, Json& container) {
  Json* env = json::find(container, "env");
  if (env == nullptr) {
    json::set(container, {"env"}, JsonArray());
    env = json::find(container, "env");
  }
  for (const auto& variable : json::array(entry, {"envVars"})) {
    auto& list = env->get_array();
    const auto same = std::find_if(list.begin(), list.end(), [&](const Json& v) {
      return json::str(v, {"name"}) == json::str(variable, {"name"});
    });
    if (same != list.end()) {
      *same = variable;
    } else {
      list.push_back(variable);
    }
  }
}

void override_workload(const Json& o, Json& workload) {
  for (const auto field : {"labels", "annotations"}) {
    copy_map(o, field, workload, {"metadata", field});
    copy_map(o, field, workload, {"spec", "template", "metadata", field});
  }
  if (const auto replicas = json::opt_i64(o, {"replicas"})) {
    json::set(workload, {"spec", "replicas"}, Json(*replicas));
  }
  for (const auto field :
       {"nodeSelector", "tolerations", "topologySpreadConstraints", "affinity", "hostNetwork"}) {
    if (const Json* v = json::find(o, field)) {
      json::set(workload, {"spec", "template", "spec", field}, *v);
    }
  }
  for (const auto& entry : json::array(o, {"resources"})) {
    Json* c = container_of(workload, json::str(entry, {"container"}));
    if (c == nullptr) continue;
    for (const auto field : {"limits", "requests"}) {
      for (const auto& kv : json::object(entry, {field})) {
        json::set(*c, {"resources", field, std::string_view(kv.key())}, kv.value());
      }
    }
  }
  for (const auto& entry : json::array(o, {"env"})) {
    if (Json* c = container_of(workload, json::str(entry, {"container"}))) override_env(entry, *c);
  }
  for (const auto& [list, field] : {std::pair{"livenessProbes", "livenessProbe"},
                                    std::pair{"readinessProbes", "readinessProbe"}}) {
    for (const auto& entry : json::array(o, {list})) {
      Json* c = container_of(workload, json::str(entry, {"container"}));
      if (c == nullptr) continue;
      for (const auto& kv : entry.get_object()) {
        if (kv.key() != "container") {
          json::set(*c, {field, std::string_view(kv.key())}, kv.value());
        }
      }
    }
  }
}

bool is_workload(const Key& key) {
  return key.resource == res::deployments() || key.resource.name() == "statefulsets.apps";
}

}  // namespace

std::vector<std::string> apply_overrides(const Json& spec, Manifest& manifest) {
  std::vector<std::string> unknown;
  if (const auto replicas = json::opt_i64(spec, {"high-availability", "replicas"})) {
    for (auto& [key, item] : manifest) {
      if (is_workload(key) && json::i64(item.object, {"spec", "replicas"}, 1) > 0) {
        json::set(item.object, {"spec", "replicas"}, Json(*replicas));
        item.replicas_set = true;
      }
    }
  }
  const auto each = [&](std::string_view list, std::string_view what, const auto& wanted,
                        const auto& change) {
    const auto& entries = json::array(spec, {list});
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto name = json::str(entries[i], {"name"});
      bool found = false;
      for (auto& [key, item] : manifest) {
        if (key.name != name || !wanted(key)) continue;
        change(entries[i], item);
        found = true;
      }
      if (!found) {
        unknown.push_back("spec." + std::string(list) + "[" + std::to_string(i) + "].name: \"" +
                          std::string(name) + "\" is no " + std::string(what) +
                          " of this installation");
      }
    }
  };
  for (const auto list : {"deployments", "workloads"}) {
    each(list, "workload", is_workload, [](const Json& o, Item& item) {
      override_workload(o, item.object);
      item.replicas_set = item.replicas_set || json::find(o, "replicas") != nullptr;
    });
  }
  each(
      "services", "Service", [](const Key& key) { return key.resource == res::services(); },
      [](const Json& o, Item& item) {
        Json& object = item.object;
        copy_map(o, "labels", object, {"metadata", "labels"});
        copy_map(o, "annotations", object, {"metadata", "annotations"});
        if (json::find(o, "selector") != nullptr) {
          json::set(object, {"spec", "selector"}, *json::find(o, "selector"));
        }
      });
  each(
      "podDisruptionBudgets", "PodDisruptionBudget",
      [](const Key& key) { return key.resource == res::poddisruptionbudgets(); },
      [](const Json& o, Item& item) {
        Json& object = item.object;
        for (const auto& [field, other] : {std::pair{"minAvailable", "maxUnavailable"},
                                           std::pair{"maxUnavailable", "minAvailable"}}) {
          if (const Json* v = json::find(o, field)) {
            json::set(object, {"spec", field}, *v);
            json::set(object, {"spec", other}, Json());
          }
        }
      });
  return unknown;
}

Json config_of(const Json& spec, std::string_view name) {
  const std::string prefixed = "config-" + std::string(name);
  if (const Json* v = json::find(spec, {"config", prefixed})) return *v;
  if (const Json* v = json::find(spec, {"config", name})) return *v;
  return nullptr;
}

std::vector<std::string> apply_config(const Json& spec, const std::string& ns, Manifest& manifest) {
  std::vector<std::string> unknown;
  for (const auto& kv : json::object(spec, {"config"})) {
    // The ConfigMap's own name (default-ch-webhook), or what follows "config-" in it.
    std::string name(kv.key());
    auto it = manifest.find({res::configmaps(), ns, name});
    if (it == manifest.end()) {
      if (!name.starts_with("config-")) name = "config-" + name;
      it = manifest.find({res::configmaps(), ns, name});
    }
    if (it == manifest.end()) {
      unknown.push_back("spec.config." + std::string(kv.key()) + ": there is no ConfigMap " + name);
      continue;
    }
    for (const auto& [k, v] : json::string_map(kv.value(), {})) {
      json::set(it->second.object, {"data", k}, Json(v));
    }
  }
  return unknown;
}

std::vector<std::string> waiting_for(const World& world, const Manifest& manifest) {
  std::vector<std::string> out;
  for (const auto& [key, item] : manifest) {
    if (key.resource != res::deployments()) continue;
    const Json have = world.view(key);
    const bool current = json::i64(have, {"status", "observedGeneration"}) >=
                         json::i64(have, {"metadata", "generation"});
    if (have.is_null() || !current ||
        controllers::core::condition_status(have, "Available") != "True") {
      out.push_back(key.name);
    }
  }
  return out;
}

void ensure_manifest(Plan& plan, const World& world, const Json& owner, const Manifest& manifest) {
  for (const auto& [key, item] : manifest) {
    Json want = item.object;
    if (!key.ns.empty() && key.ns == json::str(owner, {"metadata", "namespace"})) {
      json::set(want, {"metadata", "ownerReferences"},
                JsonArray{controllers::core::controller_ref(owner)});
    }
    if (is_workload(key) && !item.replicas_set && world.has(key)) {
      json::erase(want, {"spec", "replicas"});
    }
    plan.ensure(world, key, want);
  }
}

Conditions::Conditions(const Json& object) : object_(object) {}
void Conditions::yes(std::string_view type) { entries_[std::string(type)] = {"True", "", ""}; }
void Conditions::no(std::string_view type, std::string_view reason, std::string message) {
  entries_[std::string(type)] = {"False", std::string(reason), std::move(message)};
}
void Conditions::unknown(std::string_view type, std::string_view reason, std::string message) {
  entries_[std::string(type)] = {"Unknown", std::string(reason), std::move(message)};
}

Json Conditions::status(std::initializer_list<std::string_view> types, std::string_view version,
                        WallTime now) const {
  auto entries = entries_;
  // Ready is the first False, else the first Unknown, else True (knative.dev/pkg condition sets).
  Entry ready{"True", "", ""};
  for (const auto type : types) {
    const auto it = entries_.find(type);
    const Entry entry = it == entries_.end() ? Entry{"Unknown", "", ""} : it->second;
    entries[std::string(type)] = entry;
    if (entry.status == "False" && ready.status != "False") ready = entry;
    if (entry.status == "Unknown" && ready.status == "True") ready = entry;
  }
  entries["Ready"] = ready;
  JsonArray have = json::array(object_, {"status", "conditions"});
  JsonArray conditions;
  for (const auto& [type, entry] : entries) {  // sorted by type, as upstream writes them
    for (const auto& old : have) {
      if (json::str(old, {"type"}) == type) conditions.push_back(old);
    }
    controllers::core::set_condition(conditions, {type, entry.status, entry.reason, entry.message},
                                     now);
  }
  JsonObject status;
  status["conditions"] = std::move(conditions);
  status["observedGeneration"] = json::i64(object_, {"metadata", "generation"});
  status["version"] = version.empty() ? Json() : Json(version);
  return status;
}

}  // namespace knit::controllers::operators
