#include "kube/patch.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace knit::kube {

namespace {
constexpr std::size_t kMaxCopied = 3 << 20;  // copies may double a document each time

using Segments = std::vector<std::string>;

/// RFC 6901.
std::optional<Segments> pointer(std::string_view text) {
  Segments out;
  if (text.empty()) return out;
  if (text[0] != '/') return std::nullopt;
  text.remove_prefix(1);
  while (true) {
    const auto slash = text.find('/');
    std::string segment;
    const std::string_view raw = text.substr(0, slash);
    for (std::size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == '~' && i + 1 < raw.size() && (raw[i + 1] == '0' || raw[i + 1] == '1')) {
        segment += raw[++i] == '0' ? '~' : '/';
      } else {
        segment += raw[i];
      }
    }
    out.push_back(std::move(segment));
    if (slash == std::string_view::npos) return out;
    text.remove_prefix(slash + 1);
  }
}

std::optional<std::size_t> array_index(std::string_view s, std::size_t limit) {
  std::size_t n = 0;
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (ec != std::errc() || end != s.data() + s.size() || n > limit) return std::nullopt;
  if (s.size() > 1 && s[0] == '0') return std::nullopt;
  return n;
}

Json* child(Json& at, const std::string& segment) {
  if (auto* object = at.if_object()) return object->if_contains(segment);
  if (auto* array = at.if_array(); array != nullptr && !array->empty()) {
    const auto i = array_index(segment, array->size() - 1);
    return i ? &(*array)[*i] : nullptr;
  }
  return nullptr;
}

Json* resolve(Json& root, const Segments& path, std::size_t count) {
  Json* at = &root;
  for (std::size_t i = 0; i < count && at != nullptr; ++i) at = child(*at, path[i]);
  return at;
}

Error missing(std::string_view op, std::string_view path) {
  return Error(Code::Conflict, std::string(op) +
                                   " operation does not apply: doc is missing path: \"" +
                                   std::string(path) + "\": missing value");
}

Result<void> add(Json& root, const Segments& path, std::string_view text, Json value) {
  if (path.empty()) {
    root = std::move(value);
    return {};
  }
  Json* parent = resolve(root, path, path.size() - 1);
  if (parent != nullptr && parent->is_object()) {
    parent->get_object()[path.back()] = std::move(value);
    return {};
  }
  if (parent != nullptr && parent->is_array()) {
    auto& array = parent->get_array();
    const auto i = path.back() == "-" ? array.size() : array_index(path.back(), array.size());
    if (i) {
      array.insert(array.begin() + static_cast<std::ptrdiff_t>(*i), std::move(value));
      return {};
    }
  }
  return missing("add", text);
}

Result<Json> take(Json& root, const Segments& path, std::string_view op, std::string_view text) {
  Json* parent = path.empty() ? nullptr : resolve(root, path, path.size() - 1);
  Json* target = parent == nullptr ? nullptr : child(*parent, path.back());
  if (target == nullptr) return missing(op, text);
  Json out = std::move(*target);
  if (auto* object = parent->if_object()) {
    object->erase(path.back());
  } else {
    auto& array = parent->get_array();
    array.erase(array.begin() +
                static_cast<std::ptrdiff_t>(*array_index(path.back(), array.size())));
  }
  return out;
}
}  // namespace

Result<Json> json_patch(const Json& target, const Json& patch) {
  const auto* operations = patch.if_array();
  if (operations == nullptr) {
    return Error(Code::InvalidArgument,
                 "json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  }
  if (operations->size() > kMaxPatchOperations) {
    return Error(Code::ResourceExhausted, "The allowed maximum operations in a JSON patch is " +
                                              std::to_string(kMaxPatchOperations) + ", got " +
                                              std::to_string(operations->size()));
  }
  Json doc = target;
  std::size_t copied = 0;
  for (const Json& operation : *operations) {
    const std::string op(json::str(operation, {"op"}));
    const std::string text(json::str(operation, {"path"}));
    const auto path = pointer(text);
    const Json* value = json::find(operation, {"value"});
    if (!operation.is_object() || !path || json::find(operation, {"path"}) == nullptr) {
      return Error(Code::InvalidArgument, "jsonpatch: operation has no valid path");
    }
    if (op == "add" || op == "replace" || op == "test") {
      if (op == "add") {
        KNIT_TRY_VOID(add(doc, *path, text, value == nullptr ? Json() : *value));
        continue;
      }
      Json* at = resolve(doc, *path, path->size());
      if (op == "replace") {
        if (at == nullptr) return missing("replace", text);
        *at = value == nullptr ? Json() : *value;
      } else {
        const Json null;
        const Json& got = at == nullptr ? null : *at;
        if (!(got == (value == nullptr ? null : *value))) {
          return Error(Code::Conflict, "testing value " + text + " failed: test failed");
        }
      }
    } else if (op == "remove") {
      KNIT_TRY([[maybe_unused]] const Json gone, take(doc, *path, "remove", text));
    } else if (op == "move" || op == "copy") {
      const std::string from_text(json::str(operation, {"from"}));
      const auto from = pointer(from_text);
      if (!from) return Error(Code::InvalidArgument, "jsonpatch: operation has no valid from");
      Json moved;
      if (op == "move") {
        if (text.starts_with(from_text + "/")) {
          return Error(Code::InvalidArgument, "jsonpatch: cannot move a value into itself");
        }
        KNIT_TRY(moved, take(doc, *from, "move", from_text));
      } else {
        const Json* at = resolve(doc, *from, from->size());
        if (at == nullptr) return missing("copy", from_text);
        moved = *at;
        copied += json::print(moved).size();
        if (copied > kMaxCopied) {
          return Error(Code::ResourceExhausted,
                       "Unable to complete the copy, the accumulated size increase of copy is " +
                           std::to_string(copied) + ", exceeding the limit " +
                           std::to_string(kMaxCopied));
        }
      }
      KNIT_TRY_VOID(add(doc, *path, text, std::move(moved)));
    } else {
      return Error(Code::InvalidArgument, "Unexpected kind: " + op);
    }
  }
  return doc;
}

bool merges_nothing(const Json& target, const Json& patch) {
  const auto* changes = patch.if_object();
  if (changes == nullptr) return target == patch;
  const auto* object = target.if_object();
  if (object == nullptr) return false;
  return std::all_of(changes->begin(), changes->end(), [&](const auto& kv) {
    const Json* old = object->if_contains(kv.key());
    if (kv.value().is_null()) return old == nullptr;
    return old != nullptr && merges_nothing(*old, kv.value());
  });
}

}  // namespace knit::kube
