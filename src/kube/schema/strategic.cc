#include "kube/schema/strategic.h"

#include <algorithm>

namespace knit::schema {

namespace {
constexpr std::string_view kPatch = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kOrder = "$setElementOrder/";
constexpr std::string_view kDelete = "$deleteFromPrimitiveList/";

std::string_view sv(boost::json::string_view s) { return {s.data(), s.size()}; }

const Field* find(const Message* m, std::string_view key) {
  if (m == nullptr) return nullptr;
  if (const Field* f = m->find(key); f != nullptr && !f->inlined) return f;
  for (const Field& f : m->fields) {
    if (f.inlined) {
      if (const Field* inner = find(f.message, key)) return inner;
    }
  }
  return nullptr;
}

bool contains(const JsonArray& list, const Json& v) {
  return std::find(list.begin(), list.end(), v) != list.end();
}

Error malformed(std::string_view what) {
  return Error(Code::InvalidArgument, "invalid strategic merge patch: " + std::string(what));
}

class Merger {
 public:
  Result<void> object(const Message* m, JsonObject& target, const JsonObject& patch, int depth) {
    if (depth > 64) return malformed("nested too deep");
    if (const Json* directive = patch.if_contains(kPatch)) {
      const std::string_view d =
          directive->is_string()
              ? std::string_view(directive->get_string().data(), directive->get_string().size())
              : std::string_view();
      if (d == "replace") {
        target = patch;
        target.erase(kPatch);
        return {};
      }
      if (d == "delete") {
        target.clear();
        return {};
      }
      if (d != "merge") return malformed("unknown patch type found: " + std::string(d));
    }
    if (const Json* retain = patch.if_contains(kRetainKeys)) {
      if (!retain->is_array()) return malformed("$retainKeys is no list");
      for (const auto& member : patch) {
        const std::string_view key = sv(member.key());
        if (key.starts_with('$')) continue;
        if (!contains(retain->get_array(), Json(key))) {
          return malformed("in $retainKeys directives, element \"" + std::string(key) +
                           "\" is missing");
        }
      }
      std::vector<std::string> gone;
      for (const auto& member : target) {
        if (!contains(retain->get_array(), Json(sv(member.key())))) {
          gone.emplace_back(sv(member.key()));
        }
      }
      for (const auto& key : gone) target.erase(key);
    }
    for (const auto& member : patch) {
      const std::string_view key = sv(member.key());
      if (key.starts_with(kDelete)) {
        KNIT_TRY_VOID(delete_primitives(target, key.substr(kDelete.size()), member.value()));
      }
    }
    for (const auto& member : patch) {
      const std::string_view key = sv(member.key());
      if (key.starts_with('$')) continue;
      KNIT_TRY_VOID(field(find(m, key), target, key, patch, member.value(), depth));
    }
    // An order without elements still sorts what is there.
    for (const auto& member : patch) {
      const std::string_view key = sv(member.key());
      if (!key.starts_with(kOrder)) continue;
      const std::string_view name = key.substr(kOrder.size());
      if (patch.contains(name)) continue;
      Json* list = target.if_contains(name);
      if (list == nullptr || !list->is_array() || !member.value().is_array()) continue;
      sort(find(m, name), list->get_array(), member.value().get_array());
    }
    return {};
  }

 private:
  static Result<void> delete_primitives(JsonObject& target, std::string_view name,
                                        const Json& values) {
    if (!values.is_array()) return malformed("$deleteFromPrimitiveList is no list");
    Json* list = target.if_contains(name);
    if (list == nullptr || !list->is_array()) return {};
    auto& array = list->get_array();
    array.erase(std::remove_if(array.begin(), array.end(),
                               [&](const Json& v) { return contains(values.get_array(), v); }),
                array.end());
    return {};
  }

  Result<void> field(const Field* f, JsonObject& target, std::string_view key,
                     const JsonObject& patch, const Json& value, int depth) {
    if (value.is_null()) {
      target.erase(key);
      return {};
    }
    const bool replace = f != nullptr && f->replace;
    if (value.is_object() && !replace) {
      // Absent targets are merged into too, so that directives and nulls inside do not survive.
      Json& slot = target[key];
      if (!slot.is_object()) slot = JsonObject();
      const Message* inner = f == nullptr || f->shape != Shape::One ? nullptr : f->message;
      if (f != nullptr && f->shape == Shape::Map && f->type == Type::Message) {
        return map(*f, slot.get_object(), value.get_object(), depth);
      }
      const Json* directive = value.get_object().if_contains(kPatch);
      const bool deleting = directive != nullptr && *directive == "delete";
      KNIT_TRY_VOID(object(inner, slot.get_object(), value.get_object(), depth + 1));
      if (deleting) target.erase(key);
      return {};
    }
    if (value.is_array() && f != nullptr && f->merge && f->shape == Shape::List) {
      const Json* order = patch.if_contains(std::string(kOrder) + std::string(key));
      Json& slot = target[key];
      if (!slot.is_array()) slot = JsonArray();
      return list(*f, slot.get_array(), value.get_array(),
                  order != nullptr && order->is_array() ? &order->get_array() : nullptr, depth);
    }
    target[key] = value;
    strip(target[key]);
    return {};
  }

  Result<void> map(const Field& f, JsonObject& target, const JsonObject& patch, int depth) {
    for (const auto& member : patch) {
      const std::string_view key = sv(member.key());
      if (member.value().is_null()) {
        target.erase(key);
      } else if (member.value().is_object()) {
        Json& slot = target[key];
        if (!slot.is_object()) slot = JsonObject();
        KNIT_TRY_VOID(object(f.message, slot.get_object(), member.value().get_object(), depth + 1));
      } else {
        target[key] = member.value();
      }
    }
    return {};
  }

  Result<void> list(const Field& f, JsonArray& target, const JsonArray& patch,
                    const JsonArray* order, int depth) {
    if (f.merge_key.empty()) {  // a set of primitives
      for (const Json& v : patch) {
        if (!contains(target, v)) target.push_back(v);
      }
      if (order != nullptr) sort(&f, target, *order);
      return {};
    }
    // "- $patch: replace" makes the rest of the patch the whole list.
    const bool replace = std::any_of(patch.begin(), patch.end(), [](const Json& v) {
      const Json* d = json::find(v, kPatch);
      return d != nullptr && *d == "replace" && v.is_object() && v.get_object().size() == 1;
    });
    if (replace) target.clear();
    std::vector<Json> added;
    for (const Json& item : patch) {
      const auto* o = item.if_object();
      if (o == nullptr) return malformed("an element of " + std::string(f.name) + " is no object");
      const Json* directive = o->if_contains(kPatch);
      if (directive != nullptr && *directive == "replace" && o->size() == 1) continue;
      const Json* key = o->if_contains(f.merge_key);
      if (key == nullptr) {
        return malformed("map: " + json::print(item) +
                         " does not contain declared merge key: " + std::string(f.merge_key));
      }
      const auto same = [&](const Json& v) {
        const Json* k = json::find(v, f.merge_key);
        return k != nullptr && *k == *key;
      };
      if (directive != nullptr && *directive == "delete") {
        target.erase(std::remove_if(target.begin(), target.end(), same), target.end());
        continue;
      }
      auto it = std::find_if(target.begin(), target.end(), same);
      Json* into = nullptr;
      if (it != target.end()) {
        into = &*it;
      } else {
        added.emplace_back(JsonObject());
        into = &added.back();
      }
      KNIT_TRY_VOID(object(f.message, into->get_object(), *o, depth + 1));
    }
    for (Json& item : added) target.push_back(std::move(item));
    if (order != nullptr) sort(&f, target, *order);
    return {};
  }

  /// Elements named in `order` come in that order; the others keep their place relative to their
  /// neighbours as upstream's mergeSortPatchOrder leaves them: behind the ones before them.
  static void sort(const Field* f, JsonArray& target, const JsonArray& order) {
    const auto rank = [&](const Json& v) -> std::size_t {
      const Json* key = &v;
      if (f != nullptr && !f->merge_key.empty()) key = json::find(v, f->merge_key);
      for (std::size_t i = 0; key != nullptr && i < order.size(); ++i) {
        const Json* wanted = &order[i];
        if (f != nullptr && !f->merge_key.empty() && wanted->is_object()) {
          wanted = json::find(*wanted, f->merge_key);
        }
        if (wanted != nullptr && *wanted == *key) return i;
      }
      return SIZE_MAX;
    };
    std::vector<std::pair<std::size_t, Json>> ordered;
    std::vector<std::pair<std::size_t, Json>> others;  // original index
    for (std::size_t i = 0; i < target.size(); ++i) {
      const std::size_t r = rank(target[i]);
      if (r == SIZE_MAX) {
        others.emplace_back(i, target[i]);
      } else {
        ordered.emplace_back(r, target[i]);
      }
    }
    std::sort(ordered.begin(), ordered.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    JsonArray out;
    std::size_t next = 0;
    for (auto& [r, v] : ordered) {
      while (next < others.size() && others[next].first <= out.size()) {
        out.push_back(std::move(others[next++].second));
      }
      out.push_back(std::move(v));
    }
    for (; next < others.size(); ++next) out.push_back(std::move(others[next].second));
    target = std::move(out);
  }

  /// Nothing of a directive or a null may reach the object from a value that is new as a whole.
  static void strip(Json& v) {
    if (auto* array = v.if_array()) {
      for (Json& item : *array) strip(item);
    } else if (auto* object = v.if_object()) {
      std::vector<std::string> gone;
      for (auto& member : *object) {
        const std::string_view key = sv(member.key());
        if (key == kPatch || key == kRetainKeys || key.starts_with(kOrder) ||
            key.starts_with(kDelete)) {
          gone.emplace_back(key);
        } else {
          strip(member.value());
        }
      }
      for (const auto& key : gone) object->erase(key);
    }
  }
};
}  // namespace

Result<Json> strategic_merge(const Kind& kind, Json target, const Json& patch) {
  if (kind.custom) {
    return Error(Code::Unsupported,
                 "the body of the request was in an unknown format - accepted media types include: "
                 "application/json-patch+json, application/merge-patch+json");
  }
  if (!patch.is_object()) return malformed("the patch is no object");
  if (!target.is_object()) target = JsonObject();
  KNIT_TRY_VOID(Merger().object(kind.message, target.get_object(), patch.get_object(), 0));
  return target;
}

}  // namespace knit::schema
