#include "kube/object.h"

#include <algorithm>
#include <functional>
#include <mutex>
#include <set>

namespace knit::kube {

Resource Resource::of(std::string_view plural_dot_group) {
  static std::mutex mutex;
  static std::set<std::string, std::less<>>& names = *new std::set<std::string, std::less<>>;
  const std::lock_guard lock(mutex);
  auto it = names.find(plural_dot_group);
  if (it == names.end()) it = names.emplace(plural_dot_group).first;
  Resource r;
  r.name_ = &*it;
  return r;
}

std::string to_string(const Key& key) {
  std::string out(key.resource.name());
  out += ' ';
  if (!key.ns.empty()) out += key.ns + "/";
  return out + key.name;
}

std::size_t KeyHash::operator()(const Key& k) const {
  const std::hash<std::string_view> h;
  std::size_t seed = h(k.resource.name());
  seed ^= h(k.ns) + 0x9e3779b97f4a7c15u + (seed << 6) + (seed >> 2);
  seed ^= h(k.name) + 0x9e3779b97f4a7c15u + (seed << 6) + (seed >> 2);
  return seed;
}

Object::Object(Key key, std::uint64_t version, const Json& dom)
    : key_(std::move(key)), version_(version), bytes_(json::canonical(dom)) {
  index(dom);
}

Result<std::shared_ptr<const Object>> Object::load(Key key, std::uint64_t version,
                                                   std::string bytes) {
  auto dom = json::parse(bytes);
  if (!dom) return std::move(dom).error().within(to_string(key));
  if (!dom->is_object()) {
    return Error(Code::InvalidArgument, to_string(key) + ": stored value is not an object");
  }
  std::shared_ptr<Object> object(new Object);
  object->key_ = std::move(key);
  object->version_ = version;
  object->bytes_ = std::move(bytes);
  object->index(*dom);
  return std::shared_ptr<const Object>(std::move(object));
}

void Object::index(const Json& dom) {
  uid_ = json::str(dom, {"metadata", "uid"});
  labels_ = json::string_map(dom, {"metadata", "labels"});
  std::sort(labels_.begin(), labels_.end());
  labels_.shrink_to_fit();
  for (const Json& ref : json::array(dom, {"metadata", "ownerReferences"})) {
    owners_.push_back({std::string(json::str(ref, {"apiVersion"})),
                       std::string(json::str(ref, {"kind"})), std::string(json::str(ref, {"name"})),
                       std::string(json::str(ref, {"uid"})), json::boolean(ref, {"controller"}),
                       json::boolean(ref, {"blockOwnerDeletion"})});
  }
  const Json* deleted = json::find(dom, {"metadata", "deletionTimestamp"});
  deleting_ = deleted != nullptr && !deleted->is_null();
}

std::string_view Object::label(std::string_view key) const {
  for (const auto& [k, v] : labels_) {
    if (k == key) return v;
  }
  return {};
}

const OwnerRef* Object::controller() const {
  for (const auto& owner : owners_) {
    if (owner.controller) return &owner;
  }
  return nullptr;
}

Json Object::parse() const {
  auto dom = json::parse(bytes_, {.max_bytes = SIZE_MAX});
  KNIT_CHECK(dom.has_value());  // the bytes are our own
  return std::move(*dom);
}

}  // namespace knit::kube
