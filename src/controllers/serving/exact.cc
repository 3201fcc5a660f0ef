#include "controllers/serving/exact.h"

namespace knit::serving {

void ensure_exact(Subject& subject, const Key& key, Json want) {
  const auto object = subject.world().get(key);
  if (object == nullptr) {
    subject.ensure_child(key, std::move(want));
    return;
  }
  if (object->deleting()) return;
  const Json have = object->parse();
  JsonObject patch;
  for (const auto field : {"labels", "annotations"}) {
    const Json* old = json::find(have, {"metadata", field});
    const Json* wanted = json::find(want, {"metadata", field});
    const Json empty = JsonObject();
    const Json diff =
        json::merge_diff(old != nullptr ? *old : empty, wanted != nullptr ? *wanted : empty);
    if (!diff.get_object().empty()) {
      if (!patch.contains("metadata")) patch["metadata"] = JsonObject();
      patch["metadata"].get_object()[field] = diff;
    }
  }
  if (const Json* spec = json::find(want, "spec")) {
    const Json* old = json::find(have, "spec");
    if (old == nullptr) {
      patch["spec"] = *spec;
    } else if (*old != *spec) {
      patch["spec"] = json::merge_diff(*old, *spec);
    }
  }
  if (!patch.empty()) subject.plan().merge(key, std::move(patch));
}

}  // namespace knit::serving
