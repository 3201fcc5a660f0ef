// What a write may change: the rules of main resource, status and scale.
#include <algorithm>

#include "kube/schema/defaults.h"
#include "kube/schema/walk.h"
#include "kube/selector.h"

namespace knit::schema {

namespace {
constexpr std::string_view kServerOwned[] = {
    "uid",        "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "generation", "selfLink"};

JsonObject& metadata_of(Json& object) {
  Json& m = object.get_object()["metadata"];
  if (!m.is_object()) m = JsonObject();
  return m.get_object();
}

void keep(JsonObject& to, const Json& from, std::string_view key) {
  if (const Json* old = json::find(from, key)) {
    to[key] = *old;
  } else {
    to.erase(key);
  }
}

/// ".spec.replicas" → the value, or nullptr.
const Json* at_path(const Json& object, std::string_view path) {
  const Json* at = &object;
  while (!path.empty() && at != nullptr) {
    path.remove_prefix(1);
    const auto dot = std::min(path.find('.'), path.size());
    at = json::find(*at, path.substr(0, dot));
    path.remove_prefix(dot);
  }
  return at;
}
}  // namespace

bool has_generation(const Kind& kind) {
  if (!kind.stored) return false;
  if (kind.custom) return true;
  if (kind.group.empty()) return kind.kind == "Pod";
  return kind.message->find("spec") != nullptr && kind.kind != "Lease";
}

void prepare_create(const Kind& kind, Json& object) {
  JsonObject& metadata = metadata_of(object);
  for (const auto key : kServerOwned) metadata.erase(key);
  metadata.erase("resourceVersion");
  JsonObject& o = object.get_object();
  if (kind.has_status()) o.erase("status");
  if (kind.kind == "Pod" && kind.group.empty()) {
    json::set(object, {"status"}, Json{{"phase", "Pending"}, {"qosClass", qos_class(object)}});
    return;
  }
  if (const Field* f = kind.message->find("status");
      kind.has_status() && f != nullptr && f->always) {
    Findings ignored;
    normalize_go(*kind.message, object, ignored);  // puts back what is always printed
  }
}

void prepare_update(const Kind& kind, Json& object, const Json& old) {
  JsonObject& metadata = metadata_of(object);
  const Json* before = json::find(old, "metadata");
  const Json none = JsonObject();
  for (const auto key : kServerOwned) keep(metadata, before == nullptr ? none : *before, key);
  keep(metadata, before == nullptr ? none : *before, "generateName");
  if (kind.has_status()) keep(object.get_object(), old, "status");
  if (kind.kind == "Namespace" && kind.group.empty()) {
    // Finalizers of a namespace's spec change through /finalize only.
    json::set(object, {"spec"},
              json::find(old, "spec") == nullptr ? Json(JsonObject()) : *json::find(old, "spec"));
  }
}

void prepare_status_update(const Kind& kind, Json& object, const Json& old) {
  Json out = old;
  keep(out.get_object(), object, "status");
  JsonObject& metadata = metadata_of(out);
  const Json* sent = json::find(object, "metadata");
  const Json none = JsonObject();
  keep(metadata, sent == nullptr ? none : *sent, "resourceVersion");
  if (!kind.custom) {
    // Built-in kinds take labels and annotations through /status too.
    for (const std::string_view key : {"labels", "annotations"}) {
      keep(metadata, sent == nullptr ? none : *sent, key);
    }
  }
  if (sent != nullptr && json::find(*sent, "managedFields") != nullptr) {
    keep(metadata, *sent, "managedFields");
  }
  object = std::move(out);
}

bool generation_changes(const Kind& kind, const Json& before, const Json& after) {
  if (!has_generation(kind)) return false;
  const auto* a = before.if_object();
  const auto* b = after.if_object();
  if (a == nullptr || b == nullptr) return false;
  const auto skipped = [&](std::string_view key) {
    return key == "metadata" || key == "apiVersion" || key == "kind" ||
           (key == "status" && kind.has_status());
  };
  const auto differs = [&](const JsonObject& x, const JsonObject& y) {
    return std::any_of(x.begin(), x.end(), [&](const auto& member) {
      const std::string_view key(member.key().data(), member.key().size());
      if (skipped(key)) return false;
      const Json* other = y.if_contains(key);
      return other == nullptr || !(*other == member.value());
    });
  };
  return differs(*a, *b) || differs(*b, *a);
}

std::optional<Json> scale_of(const Kind& kind, const Json& object) {
  if (!kind.has("scale")) return std::nullopt;
  Json metadata = JsonObject();
  for (const std::string_view key :
       {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"}) {
    if (const Json* v = json::find(object, {"metadata", key})) metadata.get_object()[key] = *v;
  }
  const Json* wanted = at_path(object, kind.replicas_path);
  const Json* actual = at_path(object, kind.status_replicas_path);
  JsonObject spec, status;
  if (wanted != nullptr && *wanted != 0) spec["replicas"] = *wanted;
  status["replicas"] = actual == nullptr ? Json(0) : *actual;
  const Json* selector = at_path(object, kind.selector_path);
  if (selector != nullptr && selector->is_string()) {
    status["selector"] = *selector;
  } else if (auto parsed = kube::LabelSelector::from_object(selector); parsed && selector) {
    const std::string text = parsed->print();
    if (!text.empty()) status["selector"] = text;
  }
  return Json{{"kind", "Scale"},
              {"apiVersion", "autoscaling/v1"},
              {"metadata", std::move(metadata)},
              {"spec", std::move(spec)},
              {"status", std::move(status)}};
}

void apply_scale(const Kind& kind, Json& object, const Json& scale) {
  std::string_view path = kind.replicas_path;
  Json* at = &object;
  while (!path.empty()) {
    path.remove_prefix(1);
    const auto dot = std::min(path.find('.'), path.size());
    if (!at->is_object()) *at = JsonObject();
    at = &at->get_object()[path.substr(0, dot)];
    path.remove_prefix(dot);
  }
  *at = json::i64(scale, {"spec", "replicas"});
}

}  // namespace knit::schema
