#include "reconcile/overlay.h"

#include <algorithm>

namespace knit::reconcile {
namespace {
bool has_owner(const ObjectPtr& object, std::string_view uid) {
  return std::any_of(object->owners().begin(), object->owners().end(),
                     [&](const auto& owner) { return owner.uid == uid; });
}
bool by_key(const ObjectPtr& a, const ObjectPtr& b) { return a->key() < b->key(); }
}  // namespace

ObjectPtr Overlay::get(const Key& key) const {
  const auto it = laid_.find(key);
  return it == laid_.end() ? base_->get(key) : it->second;
}

template <class Keep>
std::vector<ObjectPtr> Overlay::merge(std::vector<ObjectPtr> base, Resource resource,
                                      std::string_view ns, const Keep& keep) const {
  const auto first = laid_.lower_bound(Key{resource, std::string(ns), {}});
  const auto in_range = [&](const Key& key) {
    return key.resource == resource && (ns.empty() || key.ns == ns);
  };
  if (first == laid_.end() || !in_range(first->first)) return base;
  std::erase_if(base, [&](const ObjectPtr& object) { return laid_.contains(object->key()); });
  for (auto it = first; it != laid_.end() && in_range(it->first); ++it) {
    if (it->second != nullptr && keep(it->second)) base.push_back(it->second);
  }
  std::sort(base.begin(), base.end(), by_key);
  return base;
}

std::vector<ObjectPtr> Overlay::list(Resource resource, std::string_view ns) const {
  return merge(base_->list(resource, ns), resource, ns, [](const ObjectPtr&) { return true; });
}
std::vector<ObjectPtr> Overlay::labelled(Resource resource, std::string_view ns,
                                         std::string_view key, std::string_view value) const {
  return merge(
      base_->labelled(resource, ns, key, value), resource, ns, [&](const ObjectPtr& object) {
        return std::any_of(object->labels().begin(), object->labels().end(),
                           [&](const auto& kv) { return kv.first == key && kv.second == value; });
      });
}
std::vector<ObjectPtr> Overlay::owned(Resource resource, std::string_view ns,
                                      std::string_view uid) const {
  return merge(base_->owned(resource, ns, uid), resource, ns,
               [&](const ObjectPtr& object) { return has_owner(object, uid); });
}

std::vector<Resource> Overlay::resources() const {
  auto out = base_->resources();
  for (const auto& [key, object] : laid_) {
    if (std::find(out.begin(), out.end(), key.resource) == out.end()) out.push_back(key.resource);
  }
  return out;
}

ObjectPtr Overlay::by_uid(std::string_view uid) const {
  for (const auto& [key, object] : laid_) {
    if (object != nullptr && object->uid() == uid) return object;
  }
  auto object = base_->by_uid(uid);
  if (object != nullptr && laid_.contains(object->key())) return nullptr;
  return object;
}

std::vector<ObjectPtr> Overlay::dependents(std::string_view uid) const {
  auto out = base_->dependents(uid);
  std::erase_if(out, [&](const ObjectPtr& object) { return laid_.contains(object->key()); });
  for (const auto& [key, object] : laid_) {
    if (object != nullptr && has_owner(object, uid)) out.push_back(object);
  }
  std::sort(out.begin(), out.end(), by_key);
  return out;
}

void Overlay::put(const Key& key, ObjectPtr object) { laid_[key] = std::move(object); }

bool Overlay::removed(const Key& key) const {
  const auto it = laid_.find(key);
  return it != laid_.end() && it->second == nullptr && base_->has(key);
}

Overlay::Saved Overlay::save(const Key& key) const {
  const auto it = laid_.find(key);
  return it == laid_.end() ? Saved{key, false, nullptr} : Saved{key, true, it->second};
}
void Overlay::restore(Saved saved) {
  if (saved.had) {
    laid_[saved.key] = std::move(saved.object);
  } else {
    laid_.erase(saved.key);
  }
}

std::vector<Change> Overlay::changes() const {
  std::vector<Change> out;
  for (const auto& [key, object] : laid_) {
    auto before = base_->get(key);
    if (before == nullptr && object == nullptr) continue;  // made and removed again
    if (before != nullptr && object != nullptr && before->bytes() == object->bytes()) continue;
    out.push_back({std::move(before), object});
  }
  return out;
}

}  // namespace knit::reconcile
