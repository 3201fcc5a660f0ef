#include "reconcile/plan.h"

#include <algorithm>

namespace knit::reconcile {
namespace {

bool is_exact_map(std::string_view name) {
  return name == "labels" || name == "annotations" || name == "matchLabels" || name == "selector" ||
         name == "nodeSelector";
}
bool is_string_map(const Json& v) {
  const auto* object = v.if_object();
  if (object == nullptr) return false;
  return std::all_of(object->begin(), object->end(),
                     [](const auto& kv) { return kv.value().is_string(); });
}

// True when `have` has everything that `want` names.
bool covers(const Json& have, const Json& want, std::string_view name) {
  if (const auto* wanted = want.if_object()) {
    const auto* object = have.if_object();
    if (object == nullptr) return false;
    if (is_exact_map(name) && is_string_map(want) && is_string_map(have)) return have == want;
    for (const auto& kv : *wanted) {
      const Json* field = object->if_contains(kv.key());
      if (kv.value().is_null()) {
        if (field != nullptr && !field->is_null()) return false;
      } else if (field == nullptr) {
        return false;
      } else if (!covers(*field, kv.value(), {kv.key().data(), kv.key().size()})) {
        return false;
      }
    }
    return true;
  }
  if (const auto* wanted = want.if_array()) {
    const auto* array = have.if_array();
    if (array == nullptr || array->size() != wanted->size()) return false;
    for (std::size_t i = 0; i < wanted->size(); ++i) {
      if (!covers((*array)[i], (*wanted)[i], {})) return false;
    }
    return true;
  }
  return have == want;
}

// The patch of the fields of `want` that `have` does not cover.
JsonObject difference(const JsonObject& have, const JsonObject& want) {
  JsonObject patch;
  for (const auto& kv : want) {
    const std::string_view name(kv.key().data(), kv.key().size());
    const Json* field = have.if_contains(kv.key());
    if (kv.value().is_null()) {
      if (field != nullptr) patch[kv.key()] = nullptr;
    } else if (field == nullptr) {
      patch[kv.key()] = kv.value();
    } else if (!covers(*field, kv.value(), name)) {
      if (is_exact_map(name) && is_string_map(*field) && is_string_map(kv.value())) {
        patch[kv.key()] = json::merge_diff(*field, kv.value());
      } else if (field->is_object() && kv.value().is_object()) {
        patch[kv.key()] = difference(field->get_object(), kv.value().get_object());
      } else {
        patch[kv.key()] = kv.value();
      }
    }
  }
  return patch;
}

// Of metadata only what `want` names, key by key; owners by uid are added, none is taken away.
JsonObject metadata_difference(const Json& have, const Json& want) {
  JsonObject patch;
  for (const auto& kv : json::object(want, {"metadata"})) {
    const std::string_view name(kv.key().data(), kv.key().size());
    if (name == "name" || name == "namespace" || name == "uid" || name == "generateName") continue;
    const Json* field = json::find(have, {"metadata", name});
    if (name == "ownerReferences" || name == "finalizers") {
      JsonArray merged = field != nullptr && field->is_array() ? field->get_array() : JsonArray();
      bool changed = false;
      if (!kv.value().is_array()) continue;
      for (const auto& item : kv.value().get_array()) {
        const bool by_uid = name == "ownerReferences";
        const auto same = [&](const Json& other) {
          return by_uid ? json::str(other, {"uid"}) == json::str(item, {"uid"}) : other == item;
        };
        const auto it = std::find_if(merged.begin(), merged.end(), same);
        if (it == merged.end()) {
          merged.push_back(item);
          changed = true;
        } else if (*it != item) {
          *it = item;
          changed = true;
        }
      }
      if (changed) patch[kv.key()] = std::move(merged);
      continue;
    }
    if (kv.value().is_object()) {
      JsonObject sub;
      for (const auto& item : kv.value().get_object()) {
        const Json* old = field == nullptr ? nullptr : json::find(*field, item.key());
        if (item.value().is_null() ? old != nullptr : (old == nullptr || *old != item.value())) {
          sub[item.key()] = item.value();
        }
      }
      if (!sub.empty()) patch[kv.key()] = std::move(sub);
    } else if (field == nullptr ? !kv.value().is_null() : *field != kv.value()) {
      patch[kv.key()] = kv.value();
    }
  }
  return patch;
}

std::string_view op_name(Write::Op op) {
  switch (op) {
    case Write::Op::Create:
      return "create";
    case Write::Op::Merge:
      return "merge";
    case Write::Op::Status:
      return "status";
    case Write::Op::Delete:
      return "delete";
  }
  return "?";
}

void strip_nulls(Json& value) {
  if (auto* object = value.if_object()) {
    for (auto it = object->begin(); it != object->end();) {
      if (it->value().is_null()) {
        it = object->erase(it);
      } else {
        strip_nulls(it->value());
        ++it;
      }
    }
  } else if (auto* array = value.if_array()) {
    for (auto& item : *array) strip_nulls(item);
  }
}

}  // namespace

void Plan::create(const Key& key, Json object) {
  strip_nulls(object);
  json::set(object, {"metadata", "name"}, Json(key.name));
  if (!key.ns.empty()) json::set(object, {"metadata", "namespace"}, Json(key.ns));
  writes.push_back({Write::Op::Create, key, std::move(object), {}, -1});
}
void Plan::merge(const Key& key, Json patch) {
  writes.push_back({Write::Op::Merge, key, std::move(patch), {}, -1});
}
void Plan::status(const Key& key, Json status) {
  JsonObject body;
  body["status"] = std::move(status);
  writes.push_back({Write::Op::Status, key, std::move(body), {}, -1});
}
void Plan::remove(const ObjectPtr& object, std::int64_t grace) {
  if (object == nullptr) return;
  writes.push_back({Write::Op::Delete, object->key(), nullptr, object->uid(), grace});
}
void Plan::event(const Key& about, std::string type, std::string reason, std::string message,
                 std::string component) {
  events.push_back(
      {about, std::move(type), std::move(reason), std::move(message), std::move(component)});
}
void Plan::again_in(Duration d) {
  if (d < Duration::zero()) d = Duration::zero();
  if (!again || d < *again) again = d;
}

void Plan::ensure(const World& world, const Key& key, const Json& want) {
  const auto object = world.get(key);
  if (object == nullptr) {
    Json body = want;
    if (body.is_object()) body.get_object().erase("status");
    create(key, std::move(body));
    return;
  }
  if (object->deleting()) return;
  const Json have = object->parse();
  JsonObject patch;
  for (const auto& kv : want.is_object() ? want.get_object() : JsonObject()) {
    const std::string_view name(kv.key().data(), kv.key().size());
    if (name == "apiVersion" || name == "kind" || name == "status") continue;
    if (name == "metadata") {
      auto metadata = metadata_difference(have, want);
      if (!metadata.empty()) patch["metadata"] = std::move(metadata);
      continue;
    }
    const Json* field = json::find(have, name);
    if (kv.value().is_null()) {
      if (field != nullptr) patch[kv.key()] = nullptr;
    } else if (field == nullptr) {
      patch[kv.key()] = kv.value();
    } else if (name == "spec" && field->is_object() && kv.value().is_object()) {
      auto spec = difference(field->get_object(), kv.value().get_object());
      if (!spec.empty()) patch["spec"] = std::move(spec);
    } else if (*field != kv.value()) {
      patch[kv.key()] = field->is_object() && kv.value().is_object()
                            ? json::merge_diff(*field, kv.value())
                            : kv.value();
    }
  }
  if (!patch.empty()) merge(key, std::move(patch));
}

std::string to_string(const Plan& plan) {
  std::string out;
  for (const auto& write : plan.writes) {
    out += std::string(op_name(write.op)) + " " + kube::to_string(write.key);
    if (!write.body.is_null()) out += " " + json::canonical(write.body);
    out += '\n';
  }
  for (const auto& event : plan.events) {
    out += "event " + kube::to_string(event.about) + " " + event.type + " " + event.reason + ": " +
           event.message + '\n';
  }
  if (plan.again) out += "again in " + go_duration(*plan.again) + '\n';
  return out;
}

Planner::Trigger by_owner(Resource child, Resource owner) {
  return {child, [owner](const World&, const ObjectPtr& before, const ObjectPtr& after) {
            std::vector<Key> keys;
            for (const auto& object : {before, after}) {
              if (object == nullptr) continue;
              // The reference names a kind; its namespace and name are enough for a key, and a
              // key that is none is planned as absent.
              for (const auto& ref : object->owners()) {
                if (!ref.controller) continue;
                Key key{owner, object->key().ns, ref.name};
                if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
                  keys.push_back(std::move(key));
                }
              }
            }
            return keys;
          }};
}

Planner::Trigger by_any(Resource changed, Resource owns) {
  return {changed, [owns](const World& world, const ObjectPtr&, const ObjectPtr&) {
            std::vector<Key> keys;
            for (const auto& object : world.list(owns)) keys.push_back(object->key());
            return keys;
          }};
}

}  // namespace knit::reconcile
