// What an object is: an immutable, shared {key, resourceVersion, canonical JSON bytes}. A DOM
// exists only while somebody decodes or patches.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace knit::kube {

/// A kind's collection, "pods" or "deployments.apps": interned, compared by identity.
class Resource {
 public:
  Resource() = default;
  /// Interns; thread-safe. Known ones stand in kube/resources.h.
  static Resource of(std::string_view plural_dot_group);
  std::string_view name() const { return name_ == nullptr ? std::string_view() : *name_; }
  std::string_view plural() const { return name().substr(0, name().find('.')); }
  std::string_view group() const {
    const auto dot = name().find('.');
    return dot == std::string_view::npos ? std::string_view() : name().substr(dot + 1);
  }
  bool operator==(const Resource& o) const { return name_ == o.name_; }
  std::strong_ordering operator<=>(const Resource& o) const {
    return name_ == o.name_ ? std::strong_ordering::equal : name() <=> o.name();
  }

 private:
  const std::string* name_ = nullptr;
};

struct Key {
  Resource resource;
  std::string ns;  // empty for cluster-scoped kinds
  std::string name;
  bool operator==(const Key&) const = default;
  auto operator<=>(const Key&) const = default;
};
std::string to_string(const Key& key);  // "deployments.apps default/hello"
struct KeyHash {
  std::size_t operator()(const Key& k) const;
};

struct OwnerRef {
  std::string api_version, kind, name, uid;
  bool controller = false;
  bool block_owner_deletion = false;
};

/// Only metadata that indexes need is decoded; everything else is in `bytes`.
class Object {
 public:
  /// `dom` has apiVersion, kind and metadata.{name,namespace,uid,resourceVersion}.
  Object(Key key, std::uint64_t version, const Json& dom);
  /// From stored bytes (store recovery). Errors: InvalidArgument.
  static Result<std::shared_ptr<const Object>> load(Key key, std::uint64_t version,
                                                    std::string bytes);

  const Key& key() const { return key_; }
  std::uint64_t version() const { return version_; }
  const std::string& bytes() const { return bytes_; }
  const std::string& uid() const { return uid_; }
  const std::vector<std::pair<std::string, std::string>>& labels() const { return labels_; }
  std::string_view label(std::string_view key) const;
  const std::vector<OwnerRef>& owners() const { return owners_; }
  /// The owner with controller: true, or nullptr.
  const OwnerRef* controller() const;
  bool deleting() const { return deleting_; }
  /// A fresh DOM.
  Json parse() const;

 private:
  Object() = default;
  void index(const Json& dom);
  Key key_;
  std::uint64_t version_ = 0;
  std::string bytes_;
  std::string uid_;
  std::vector<std::pair<std::string, std::string>> labels_;
  std::vector<OwnerRef> owners_;
  bool deleting_ = false;
};
using ObjectPtr = std::shared_ptr<const Object>;

}  // namespace knit::kube
