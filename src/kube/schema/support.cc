// Warnings and refusals by the tables' column `support` (design: "never a silent difference").
#include <algorithm>

#include "kube/schema/validation.h"

namespace knit::schema {

namespace {
using json::find;
using json::str;

std::string_view sv(boost::json::string_view s) { return {s.data(), s.size()}; }

bool is_empty(const Json& v) {
  if (v.is_null()) return true;
  if (const auto* s = v.if_string()) return s->empty();
  if (const auto* a = v.if_array()) return a->empty();
  if (const auto* o = v.if_object()) return o->empty();
  if (const bool* b = v.if_bool()) return !*b;
  return false;
}

/// One of the values that mean nothing here: "false", "ClusterFirst", "0".
bool is_harmless(const Field& f, const Json& v) {
  if (is_empty(v) && !f.pointer) return true;
  if (f.harmless.empty()) return false;
  const auto* s = v.if_string();
  const std::string text = s == nullptr ? json::canonical(v) : std::string(s->data(), s->size());
  std::string_view rest = f.harmless;
  while (!rest.empty()) {
    const auto bar = std::min(rest.find('|'), rest.size());
    if (rest.substr(0, bar) == text) return true;
    rest.remove_prefix(std::min(bar + 1, rest.size()));
  }
  return false;
}

const Field* find_field(const Message& m, std::string_view key) {
  if (const Field* f = m.find(key); f != nullptr && !f->inlined) return f;
  for (const Field& f : m.fields) {
    if (!f.inlined) continue;
    if (const Field* inner = find_field(*f.message, key)) return inner;
  }
  return nullptr;
}

class SupportWalk {
 public:
  std::vector<std::string> warnings;
  Errors errors;

  void message(const Message& m, const Json& value, const Json* old, const std::string& path,
               int depth) {
    const auto* object = value.if_object();
    if (object == nullptr || depth > 64) return;
    for (const auto& member : *object) {
      const std::string_view key = sv(member.key());
      if (path.empty() && (key == "status" || key == "apiVersion" || key == "kind")) continue;
      const Json* before = old == nullptr ? nullptr : find(*old, key);
      if (before != nullptr && *before == member.value()) continue;
      const Field* f = find_field(m, key);
      const std::string here = at(path, key);
      if (f != nullptr) {
        field(*f, member.value(), before, here, depth);
      } else if (m.open && m.unknown == Support::Refuse && !is_empty(member.value())) {
        errors.forbidden(here, "Knit does not know this field and would not carry it out");
      }
    }
  }

 private:
  void field(const Field& f, const Json& value, const Json* before, const std::string& path,
             int depth) {
    if (f.support == Support::Inert || is_harmless(f, value)) return;
    if (f.support == Support::Warn) {
      std::string text = path + " is stored but has no effect on Knit";
      if (!f.note.empty()) text += ": " + std::string(f.note);
      if (warnings.size() < 50) warnings.push_back(std::move(text));
      return;
    }
    if (f.support == Support::Refuse) {
      errors.forbidden(
          path, f.note.empty() ? std::string_view("Knit does not carry this out yet") : f.note);
      return;
    }
    if (f.type != Type::Message) return;
    if (f.shape == Shape::One) {
      message(*f.message, value, before, path, depth + 1);
    } else if (f.shape == Shape::List && value.is_array()) {
      list(f, value.get_array(), before, path, depth);
    } else if (f.shape == Shape::Map && value.is_object()) {
      for (const auto& member : value.get_object()) {
        const std::string_view key = sv(member.key());
        message(*f.message, member.value(), before == nullptr ? nullptr : find(*before, key),
                at(path, key), depth + 1);
      }
    }
  }

  /// Elements are compared with the old one of the same merge key, else of the same index.
  void list(const Field& f, const JsonArray& items, const Json* before, const std::string& path,
            int depth) {
    const auto* old = before == nullptr ? nullptr : before->if_array();
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Json* match = nullptr;
      if (old != nullptr && !f.merge_key.empty()) {
        const Json* key = find(items[i], f.merge_key);
        for (const Json& candidate : *old) {
          const Json* k = find(candidate, f.merge_key);
          if (key != nullptr && k != nullptr && *k == *key) match = &candidate;
        }
      } else if (old != nullptr && i < old->size()) {
        match = &(*old)[i];
      }
      message(*f.message, items[i], match, at(path, i), depth + 1);
    }
  }
};

bool builtin_crd(const Json& crd) {
  const std::string_view name = str(crd, {"metadata", "name"});
  for (const Kind& k : Registry::get().kinds()) {
    if (k.custom && k.group_resource() == name) return true;
  }
  return false;
}
}  // namespace

Verdict check_support(const Kind& kind, const Json& object, const Json* old,
                      const Context& context) {
  Verdict v;
  if (context.internal || context.operation == Operation::Delete ||
      context.operation == Operation::UpdateStatus) {
    return v;
  }
  const std::string_view name = str(object, {"metadata", "name"});
  if (kind.support == Support::Refuse) {
    v.failure = forbidden(kind, name, kind.note);
    return v;
  }
  if (kind.kind == "CustomResourceDefinition" && !builtin_crd(object)) {
    v.failure = forbidden(
        kind, name, "Knit serves the kinds it has built in and no other custom resources yet");
    return v;
  }
  if (kind.kind == "CustomResourceDefinition") return v;  // its schema is upstream's, not judged
  if (kind.support == Support::Warn && old == nullptr) v.warnings.emplace_back(kind.note);
  SupportWalk walk;
  walk.message(*kind.message, object, old, {}, 0);
  for (auto& w : walk.warnings) v.warnings.push_back(std::move(w));
  if (!walk.errors.list.empty()) v.failure = invalid(kind, name, std::move(walk.errors.list));
  return v;
}

}  // namespace knit::schema
