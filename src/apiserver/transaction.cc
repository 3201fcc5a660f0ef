#include "apiserver/registry.h"

namespace knit::apiserver {

ObjectPtr Transaction::materialise(const Key& key, const Written& w) {
  if (!w.dom) return nullptr;
  if (!w.object) {
    Json dom = *w.dom;
    if (json::find(dom, {"metadata", "resourceVersion"}) == nullptr) {
      json::set(dom, {"metadata", "resourceVersion"}, "0");
    }
    w.object = std::make_shared<const kube::Object>(key, w.version, dom);
  }
  return w.object;
}

StageResult Transaction::stage(const Write& write, const WriteOptions& options) {
  StageResult r = registry_.stage(*this, write, options);
  if (!r.ok() || r.staged.effect == Staged::Effect::None) return r;
  Written w;
  w.version = r.staged.before ? r.staged.before->version() : 0;
  if (r.staged.effect == Staged::Effect::Put) w.dom = r.staged.object;
  written_[r.staged.key] = std::move(w);
  return r;
}

ObjectPtr Transaction::get(const Key& key) const {
  const auto it = written_.find(key);
  return it == written_.end() ? base_.get(key) : materialise(key, it->second);
}

std::vector<ObjectPtr> Transaction::list(Resource resource, std::string_view ns) const {
  std::vector<ObjectPtr> out;
  for (const ObjectPtr& o : base_.list(resource, ns)) {
    if (written_.find(o->key()) == written_.end()) out.push_back(o);
  }
  bool added = false;
  for (const auto& [key, w] : written_) {
    if (key.resource != resource || (!ns.empty() && key.ns != ns) || !w.dom) continue;
    out.push_back(materialise(key, w));
    added = true;
  }
  if (added) {
    std::sort(out.begin(), out.end(),
              [](const ObjectPtr& a, const ObjectPtr& b) { return a->key() < b->key(); });
  }
  return out;
}

std::vector<store::Mutation> Transaction::take() {
  std::vector<store::Mutation> out;
  for (auto& [key, w] : written_) {
    const ObjectPtr base = base_.get(key);
    if (!base && !w.dom) continue;  // made and removed
    out.push_back({key, base ? base->version() : 0, std::move(w.dom)});
  }
  written_.clear();
  return out;
}

}  // namespace knit::apiserver
