#include "reconcile/stage.h"

namespace knit::reconcile {
namespace {
namespace res = kube::res;

bool has_finalizers(const Key& key, const Json& object) {
  if (!json::array(object, {"metadata", "finalizers"}).empty()) return true;
  return key.resource == res::namespaces() && !json::array(object, {"spec", "finalizers"}).empty();
}
// The kinds of the core, RBAC, coordination and discovery groups count no generations.
bool has_generation(const Key& key) {
  const auto group = key.resource.group();
  return !group.empty() && group != "rbac.authorization.k8s.io" && group != "coordination.k8s.io" &&
         group != "discovery.k8s.io";
}
bool deleting(const Json& object) {
  return json::find(object, {"metadata", "deletionTimestamp"}) != nullptr;
}

// The grace period that a pod has left when it is deleted now; other kinds have none.
std::int64_t grace_of(const Key& key, const Json& object, std::int64_t asked) {
  if (key.resource != res::pods()) return 0;
  if (json::str(object, {"spec", "nodeName"}).empty()) return 0;
  const auto phase = json::str(object, {"status", "phase"});
  if (phase == "Succeeded" || phase == "Failed") return 0;
  if (asked >= 0) return asked;
  return json::i64(object, {"spec", "terminationGracePeriodSeconds"}, 30);
}

bool generation_counts(const Json& before, const Json& after) {
  const auto* a = before.if_object();
  const auto* b = after.if_object();
  if (a == nullptr || b == nullptr) return true;
  const auto differs = [](const JsonObject& x, const JsonObject& y) {
    for (const auto& kv : x) {
      if (kv.key() == "metadata" || kv.key() == "status") continue;
      const Json* other = y.if_contains(kv.key());
      if (other == nullptr || *other != kv.value()) return true;
    }
    return false;
  };
  return differs(*a, *b) || differs(*b, *a);
}

Effect put(const Key& key, std::uint64_t version, const Json& object) {
  return {Effect::Kind::Put, std::make_shared<const kube::Object>(key, version, object)};
}

Result<Effect> create(const World& seen, const Write& write, const StageRules& rules) {
  if (seen.has(write.key)) {
    return Error(Code::AlreadyExists, kube::to_string(write.key) + " already exists");
  }
  if (!write.body.is_object()) {
    return Error(Code::InvalidArgument, kube::to_string(write.key) + ": the body is no object");
  }
  Json object = write.body;
  object.get_object().erase("status");
  if (const Json* status = json::find(write.body, "status");
      status != nullptr && write.key.resource == res::events()) {
    json::set(object, {"status"}, *status);
  }
  json::set(object, {"metadata", "name"}, Json(write.key.name));
  if (!write.key.ns.empty()) json::set(object, {"metadata", "namespace"}, Json(write.key.ns));
  json::set(object, {"metadata", "uid"}, Json(rules.uid()));
  json::set(object, {"metadata", "creationTimestamp"}, Json(rfc3339(rules.now)));
  if (write.key.resource == res::namespaces()) {
    json::set(object, {"spec", "finalizers"}, JsonArray{"kubernetes"});
    json::set(object, {"status", "phase"}, Json("Active"));
  }
  if (has_generation(write.key)) json::set(object, {"metadata", "generation"}, Json(1));
  if (rules.admit) {
    KNIT_TRY_VOID(rules.admit(seen, write.key, object, nullptr));
  }
  return put(write.key, 0, object);
}

Result<Effect> update(const World& seen, const Write& write, const StageRules& rules) {
  const auto stored = seen.get(write.key);
  if (stored == nullptr) {
    return Error(Code::NotFound, kube::to_string(write.key) + " not found");
  }
  if (!write.uid.empty() && write.uid != stored->uid()) {
    return Error(Code::Conflict, kube::to_string(write.key) + " was deleted and made again");
  }
  const Json before = stored->parse();
  Json after = before;
  if (write.op == Write::Op::Status) {
    const Json* status = json::find(write.body, "status");
    if (status == nullptr) return Effect{};
    Json target = after.get_object().contains("status") ? after.at("status") : Json(JsonObject());
    json::merge_patch(target, *status);
    json::set(after, {"status"}, std::move(target));
  } else {
    json::merge_patch(after, write.body);
    // What a write of the main resource may not change keeps its value.
    const auto keep = [&](json::Path path) {
      const Json* value = json::find(before, path);
      if (value != nullptr) {
        json::set(after, path, *value);
      } else {
        json::erase(after, path);
      }
    };
    keep({"status"});
    keep({"apiVersion"});
    keep({"kind"});
    for (const auto field : {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp",
                             "deletionGracePeriodSeconds", "generation", "resourceVersion"}) {
      keep({"metadata", field});
    }
    if (rules.admit) {
      KNIT_TRY_VOID(rules.admit(seen, write.key, after, &before));
    }
    if (has_generation(write.key) && generation_counts(before, after)) {
      json::set(after, {"metadata", "generation"},
                Json(json::i64(before, {"metadata", "generation"}) + 1));
    }
  }
  if (after == before) return Effect{};
  if (deleting(after) && !has_finalizers(write.key, after) &&
      json::i64(after, {"metadata", "deletionGracePeriodSeconds"}) == 0) {
    return Effect{Effect::Kind::Removed, nullptr};
  }
  return put(write.key, stored->version(), after);
}

Result<Effect> remove(const World& seen, const Write& write, const StageRules& rules) {
  const auto stored = seen.get(write.key);
  if (stored == nullptr) return Effect{};
  if (!write.uid.empty() && write.uid != stored->uid()) {
    return Error(Code::Conflict, kube::to_string(write.key) + " was deleted and made again");
  }
  const Json before = stored->parse();
  std::int64_t grace = grace_of(write.key, before, write.grace);
  const bool finalizers = has_finalizers(write.key, before);
  if (deleting(before)) {
    const auto left = json::i64(before, {"metadata", "deletionGracePeriodSeconds"});
    if (write.grace < 0 || grace >= left) {
      if (!(grace == 0 && !finalizers)) return Effect{};  // repeated: can only shorten
    }
  }
  if (grace == 0 && !finalizers) return Effect{Effect::Kind::Removed, nullptr};
  Json after = before;
  json::set(after, {"metadata", "deletionTimestamp"},
            Json(rfc3339(rules.now + std::chrono::seconds(grace))));
  json::set(after, {"metadata", "deletionGracePeriodSeconds"}, Json(grace));
  if (write.key.resource == res::namespaces()) {
    json::set(after, {"status", "phase"}, Json("Terminating"));
  }
  if (after == before) return Effect{};
  return put(write.key, stored->version(), after);
}

}  // namespace

Result<Effect> stage_write(const World& seen, const Write& write, const StageRules& rules) {
  switch (write.op) {
    case Write::Op::Create:
      return create(seen, write, rules);
    case Write::Op::Merge:
    case Write::Op::Status:
      return update(seen, write, rules);
    case Write::Op::Delete:
      return remove(seen, write, rules);
  }
  return Error(Code::Internal, "unknown write");
}

}  // namespace knit::reconcile
