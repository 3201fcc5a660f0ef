#include "check/objects.h"

#include "kube/schema/schema.h"

namespace knit::check {
namespace {

std::string key_of(const KindName& type, std::string_view ns, std::string_view name) {
  std::string key = type.group;
  key += '/';
  key += type.kind;
  key += '/';
  key += ns;
  key += '/';
  key += name;
  return key;
}

KindName type_of(std::string_view api_version, std::string_view kind) {
  const auto slash = api_version.find('/');
  return {slash == std::string_view::npos ? "" : std::string(api_version.substr(0, slash)),
          std::string(kind)};
}

const schema::Kind* kind_of(const Item& item) {
  const auto& registry = schema::Registry::get();
  if (const auto* kind = registry.by_api_version(item.api_version, item.kind)) return kind;
  for (const auto& kind : registry.kinds()) {  // another version of a group that we know
    if (kind.group == item.type.group && kind.kind == item.kind) return &kind;
  }
  return nullptr;
}

std::shared_ptr<Item> make_item(Json json) {
  auto item = std::make_shared<Item>();
  item->api_version = json::str(json, {"apiVersion"});
  item->kind = json::str(json, {"kind"});
  item->name = json::str(json, {"metadata", "name"});
  if (item->name.empty()) item->name = json::str(json, {"metadata", "generateName"});
  item->ns = json::str(json, {"metadata", "namespace"});
  item->type = type_of(item->api_version, item->kind);
  item->json = std::move(json);
  return item;
}

}  // namespace

KindName kind_name(std::string_view group_slash_kind) {
  const auto slash = group_slash_kind.find('/');
  if (slash == std::string_view::npos) return {"", std::string(group_slash_kind)};
  return {std::string(group_slash_kind.substr(0, slash)),
          std::string(group_slash_kind.substr(slash + 1))};
}

std::string to_string(const KindName& k) {
  return k.group.empty() ? k.kind : k.group + "/" + k.kind;
}

std::string Item::ref() const { return kind + " " + (ns.empty() ? name : ns + "/" + name); }

Place Item::place(const yaml::Path& path) const {
  Place out{file, 0, 0};
  yaml::NodePtr root = node;
  if (!root && !text.empty()) {
    const auto parsed = yaml::parse(text);
    if (!parsed.documents.empty()) root = parsed.documents.front().root;
    out.line = first_line;
  }
  if (!root) return out;
  const std::uint32_t before = node ? 0 : first_line - 1;
  const yaml::Node* at = root.get();
  out.line = at->start.line + before;
  out.column = at->start.column;
  for (const auto& step : path.steps()) {
    const yaml::Node* next = nullptr;
    const yaml::Node* shown = nullptr;
    if (const auto* key = std::get_if<std::string>(&step)) {
      for (const auto& [k, v] : at->members) {
        if (k->text == *key) {
          next = v.get();
          shown = v->kind == yaml::Node::Kind::Scalar && !v->text.empty() ? v.get() : k.get();
        }
      }
    } else if (std::get<std::size_t>(step) < at->items.size()) {
      next = shown = at->items[std::get<std::size_t>(step)].get();
    }
    if (next == nullptr) break;
    at = next;
    out.line = shown->start.line + before;
    out.column = shown->start.column;
  }
  return out;
}

void ObjectSet::add(ItemPtr item) {
  const std::string key = key_of(item->type, item->ns, item->name);
  if (const auto it = by_key_.find(key); it != by_key_.end()) {
    const auto& before = *items_[it->second];
    if (!item->recorded && !before.recorded) {
      // kubectl would apply both, the later one wins.
      errors_.push_back({item->place({}), item->ref() + " is also in " + before.file + ":" +
                                              std::to_string(before.place({}).line) +
                                              "; the later one counts"});
    }
    items_[it->second] = std::move(item);
    return;
  }
  if (items_.size() >= kMaxObjects) {
    if (items_.size() == kMaxObjects && errors_.size() < 1000) {
      errors_.push_back(
          {{item->file, 0, 0},
           "more than " + std::to_string(kMaxObjects) + " objects; the rest is not checked"});
    }
    return;
  }
  by_key_[key] = items_.size();
  by_kind_[item->type].push_back(items_.size());
  items_.push_back(std::move(item));
}

void ObjectSet::add_document(std::string_view file, std::string_view text, std::size_t document,
                             const yaml::NodePtr& node) {
  const Place at{std::string(file), node->start.line, node->start.column};
  auto value = yaml::to_json(*node);
  if (!value) {
    errors_.push_back({at, value.error().message()});
    return;
  }
  const bool version = !json::str(*value, {"apiVersion"}).empty();
  const bool kind_given = !json::str(*value, {"kind"}).empty();
  if (!dump && version != kind_given && json::find(*value, {"metadata", "name"}) != nullptr) {
    errors_.push_back({at, version ? "an object without kind" : "an object without apiVersion"});
    return;
  }
  if (!value->is_object() || json::str(*value, {"kind"}).empty()) {
    // Values files, kustomizations and the like stand beside manifests: no error, but counted.
    ++unknown_kinds_["(no apiVersion and kind)"];
    return;
  }
  const auto add_one = [&](Json json, yaml::NodePtr where, std::size_t index) {
    auto item = make_item(std::move(json));
    item->file = file;
    item->document = document;
    item->list_index = index;
    item->recorded = dump;
    if (index == SIZE_MAX && items_.size() >= kMaxTrees) {
      // From the start of its line, so that columns stay.
      const std::size_t start = std::min(node->start.offset, text.size());
      const std::size_t newline = start == 0 ? std::string_view::npos : text.rfind('\n', start - 1);
      const std::size_t from = newline == std::string_view::npos ? 0 : newline + 1;
      item->text = text.substr(from, std::max(node->end.offset, from) - from);
      item->first_line = node->start.line;
    } else {
      item->node = std::move(where);
    }
    const auto* kind = kind_of(*item);
    if (kind == nullptr) {
      ++unknown_kinds_[item->api_version + " " + item->kind];
    } else if (kind->namespaced && item->ns.empty()) {
      item->ns = "default";
    } else if (!kind->namespaced) {
      item->ns.clear();
    }
    if (item->name.empty()) {
      errors_.push_back({item->place({"metadata"}), item->kind + " without metadata.name"});
      return;
    }
    add(std::move(item));
  };
  const auto is_list = [](const Json& json) {
    return json::str(json, {"kind"}).ends_with("List") && json::find(json, "items") != nullptr;
  };
  // Lists of Lists are flattened, as kubectl does; how deep they are the parser bounds.
  const std::function<void(const Json&, const yaml::Node&, bool)> add_list =
      [&](const Json& list, const yaml::Node& at_list, bool nested) {
        const std::string_view kind = json::str(list, {"kind"});
        const std::string_view element = kind.substr(0, kind.size() - 4);
        const std::string_view list_version = json::str(list, {"apiVersion"});
        if (!element.empty()) listed_.insert(type_of(list_version, element));
        const yaml::Node* items = at_list.find("items");
        std::size_t i = 0;
        for (const auto& item : json::array(list, {"items"})) {
          if (is_list(item) && items != nullptr && i < items->items.size()) {
            add_list(item, *items->items[i++], true);
            continue;
          }
          if (item.is_object() && items != nullptr && i < items->items.size()) {
            Json whole = item;  // what an API server lists carries neither
            if (!element.empty() && !whole.as_object().contains("apiVersion")) {
              whole.as_object()["apiVersion"] = list_version;
            }
            if (!element.empty() && !whole.as_object().contains("kind")) {
              whole.as_object()["kind"] = element;
            }
            add_one(std::move(whole), items->items[i], nested ? Item::kNested : i);
          }
          ++i;
        }
      };
  if (is_list(*value)) return add_list(*value, *node, false);
  add_one(std::move(*value), node, SIZE_MAX);
}

void ObjectSet::add_text(std::string_view file, std::string_view text) {
  std::size_t document = 0;
  yaml::Limits limits;
  limits.max_documents = kMaxObjects + 1;
  const auto problems = yaml::parse_each(text, limits, [&](yaml::Document d) {
    for (const auto& duplicate : d.duplicate_keys) {
      errors_.push_back(
          {{std::string(file), duplicate.mark.line, duplicate.mark.column}, duplicate.message});
    }
    if (d.root) add_document(file, text, document, d.root);
    ++document;
  });
  for (const auto& error : problems) {
    errors_.push_back({{std::string(file), error.mark.line, error.mark.column}, error.message});
  }
}

void ObjectSet::add_live(Json object) {
  auto item = make_item(std::move(object));
  item->recorded = true;
  if (item->name.empty() || item->kind.empty()) return;
  if (kind_of(*item) == nullptr) ++unknown_kinds_[item->api_version + " " + item->kind];
  add(std::move(item));
}

void ObjectSet::overlay(const ObjectSet& files) {
  for (const auto& item : files.items_) add(item);
  errors_.insert(errors_.end(), files.errors_.begin(), files.errors_.end());
  for (const auto& [kind, count] : files.unknown_kinds_) unknown_kinds_[kind] += count;
}

std::vector<ItemPtr> ObjectSet::list(std::string_view group_slash_kind, std::string_view ns) const {
  std::vector<ItemPtr> out;
  const KindName kind = kind_name(group_slash_kind);
  note(kind);
  const auto it = by_kind_.find(kind);
  if (it == by_kind_.end()) return out;
  for (const std::size_t i : it->second) {
    if (ns.empty() || items_[i]->ns == ns) out.push_back(items_[i]);
  }
  seen_ |= !out.empty();
  return out;
}

ItemPtr ObjectSet::find(std::string_view group_slash_kind, std::string_view ns,
                        std::string_view name) const {
  const KindName kind = kind_name(group_slash_kind);
  const auto it = by_key_.find(key_of(kind, ns, name));
  if (it == by_key_.end()) note(kind);
  seen_ |= it != by_key_.end();
  return it == by_key_.end() ? nullptr : items_[it->second];
}

bool ObjectSet::knows(std::string_view group_slash_kind) const {
  if (dump && !held(kind_name(group_slash_kind))) return false;
  if (live) return !unreadable.contains(kind_name(group_slash_kind));
  return complete;
}

}  // namespace knit::check
