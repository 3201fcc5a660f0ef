#include "controllers/serving/names.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/hash.h"

namespace knit::serving {
namespace {
constexpr std::size_t kLongest = 63;
constexpr std::size_t kMd5 = 32;
constexpr std::size_t kHead = kLongest - kMd5;

bool alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
}
}  // namespace

std::string child_name(std::string_view parent, std::string_view suffix) {
  if (parent.size() + suffix.size() <= kLongest) return std::string(parent) + std::string(suffix);
  if (suffix.size() < kHead) {
    return std::string(parent.substr(0, kHead - suffix.size())) + hash::md5_hex(parent) +
           std::string(suffix);
  }
  std::string name(parent.substr(0, kHead));
  name += hash::md5_hex(std::string(parent) + std::string(suffix));
  name += suffix.substr(0, kLongest - name.size());
  while (!name.empty() && !alphanumeric(name.back())) name.pop_back();
  return name;
}

StringMap labels_of(const Json& object) {
  StringMap out;
  for (auto& [k, v] : json::string_map(object, {"metadata", "labels"})) out[k] = v;
  return out;
}
StringMap annotations_of(const Json& object) {
  StringMap out;
  for (auto& [k, v] : json::string_map(object, {"metadata", "annotations"})) out[k] = v;
  return out;
}
Json to_json(const StringMap& map) {
  JsonObject out;
  for (const auto& [k, v] : map) out[k] = v;
  return out;
}
std::string_view value_of(const StringMap& map, std::string_view key) {
  const auto it = map.find(key);
  return it == map.end() ? std::string_view() : std::string_view(it->second);
}
std::optional<std::string> first_of(const StringMap& map,
                                    std::initializer_list<std::string_view> keys) {
  for (const auto key : keys) {
    if (const auto it = map.find(key); it != map.end()) return it->second;
  }
  return std::nullopt;
}

std::string_view name_of(const Json& object) { return json::str(object, {"metadata", "name"}); }
std::string_view namespace_of(const Json& object) {
  return json::str(object, {"metadata", "namespace"});
}
std::string_view uid_of(const Json& object) { return json::str(object, {"metadata", "uid"}); }
std::int64_t generation_of(const Json& object) {
  return json::i64(object, {"metadata", "generation"});
}

JsonArray controller_ref(const Json& owner) {
  JsonObject ref;
  ref["apiVersion"] = json::str(owner, {"apiVersion"});
  ref["kind"] = json::str(owner, {"kind"});
  ref["name"] = name_of(owner);
  ref["uid"] = uid_of(owner);
  ref["controller"] = true;
  ref["blockOwnerDeletion"] = true;
  return JsonArray{std::move(ref)};
}
bool controlled_by(const ObjectPtr& child, const Json& owner) {
  const auto* ref = child == nullptr ? nullptr : child->controller();
  return ref != nullptr && ref->uid == uid_of(owner);
}
bool controlled_by(const ObjectPtr& child, const ObjectPtr& owner) {
  const auto* ref = child == nullptr ? nullptr : child->controller();
  return ref != nullptr && owner != nullptr && ref->uid == owner->uid();
}

std::optional<int> to_int(std::string_view text) {
  int value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}
std::optional<double> to_double(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (copy.empty() || end != copy.c_str() + copy.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

}  // namespace knit::serving
