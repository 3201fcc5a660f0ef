#include "base/yaml_edit.h"

#include "base/yaml.h"

namespace knit::yaml {
namespace {

bool is_plain_key(std::string_view key) {
  if (key.empty()) return false;
  for (const char c : key) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '-';
    if (!plain) return false;
  }
  return true;
}

/// `value` as YAML text whose first line starts in `column` (from 0) and whose other lines are
/// indented to it.
std::string block(const Json& value, std::size_t column) {
  std::string text = print(value);
  if (!text.empty() && text.back() == '\n') text.pop_back();
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '\n') out.append(column, ' ');
  }
  return out;
}

bool is_leaf(const Json& v) {
  return !(v.is_object() && !v.get_object().empty()) && !(v.is_array() && !v.get_array().empty());
}

/// One line of flow style.
std::string flow(const Json& value) {
  if (const auto* object = value.if_object()) {
    std::string out = "{";
    for (const auto& kv : *object) {
      if (out.size() > 1) out += ", ";
      out += block(Json(kv.key()), 0) + ": " + flow(kv.value());
    }
    return out + "}";
  }
  if (const auto* array = value.if_array()) {
    std::string out = "[";
    for (const auto& item : *array) {
      if (out.size() > 1) out += ", ";
      out += flow(item);
    }
    return out + "]";
  }
  const auto* s = value.if_string();
  if (s != nullptr && s->find_first_of(",[]{}") != boost::json::string::npos) {
    return json::print(value);
  }
  return block(value, 0);
}

/// Keeps a scalar's quotes when it had some.
std::string scalar_like(const Node& old, const Json& value) {
  const auto* s = value.if_string();
  if (s != nullptr) {
    const std::string text(s->data(), s->size());
    if (old.style == Node::Style::DoubleQuoted) return json::print(value);
    if (old.style == Node::Style::SingleQuoted && text.find('\'') == std::string::npos &&
        text.find('\n') == std::string::npos) {
      return "'" + text + "'";
    }
  }
  return block(value, 0);
}

std::size_t line_start(std::string_view text, std::size_t at) {
  const auto newline = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
  return newline == std::string_view::npos ? 0 : newline + 1;
}
std::size_t line_end(std::string_view text, std::size_t at) {  // behind the newline
  const auto newline = text.find('\n', at);
  return newline == std::string_view::npos ? text.size() : newline + 1;
}

/// Where the content of a node really ends: libyaml's end mark of a block collection lies at the
/// next token, behind blank lines and comments.
std::size_t content_end(const Node& node) {
  if (node.style == Node::Style::Block) {
    if (node.kind == Node::Kind::Sequence && !node.items.empty()) {
      return content_end(*node.items.back());
    }
    if (node.kind == Node::Kind::Mapping && !node.members.empty()) {
      return std::max(content_end(*node.members.back().second),
                      node.members.back().first->end.offset);
    }
  }
  return node.end.offset;
}

struct Found {
  const Node* parent = nullptr;
  std::size_t index = 0;  // of the member or item in the parent
  const Node* node = nullptr;
};

struct Target {
  Parsed parsed;
  Found at;          // the deepest node that exists
  std::size_t taken = 0;  // steps that led there
};

Result<Target> locate(std::string_view text, std::size_t document, const Path& path) {
  Target t;
  t.parsed = parse(text);
  if (!t.parsed.errors.empty()) {
    return Error(Code::InvalidArgument,
                 "line " + std::to_string(t.parsed.errors[0].mark.line) + ": " +
                     t.parsed.errors[0].message);
  }
  if (document >= t.parsed.documents.size() || !t.parsed.documents[document].root) {
    return Error(Code::NotFound, "no document number " + std::to_string(document + 1));
  }
  t.at.node = t.parsed.documents[document].root.get();
  for (const auto& step : path.steps()) {
    if (t.at.node->aliased) {
      return Error(Code::InvalidArgument, to_string(path) + " leads through an alias");
    }
    Found next;
    next.parent = t.at.node;
    if (const auto* key = std::get_if<std::string>(&step)) {
      for (std::size_t i = 0; i < t.at.node->members.size(); ++i) {
        if (t.at.node->members[i].first->text == *key) {
          next.index = i;
          next.node = t.at.node->members[i].second.get();
        }
      }
    } else if (std::get<std::size_t>(step) < t.at.node->items.size()) {
      next.index = std::get<std::size_t>(step);
      next.node = t.at.node->items[next.index].get();
    }
    if (next.node == nullptr) break;
    t.at = next;
    ++t.taken;
  }
  if (t.at.node->aliased) {
    return Error(Code::InvalidArgument, to_string(path) + " leads through an alias");
  }
  return t;
}

/// The value of steps [from, end) around `value`: {"b": [value]} for b[0].
Result<Json> wrap(const Path& path, std::size_t from, const Json& value) {
  Json out = value;
  for (std::size_t i = path.steps().size(); i > from; --i) {
    const auto& step = path.steps()[i - 1];
    if (const auto* key = std::get_if<std::string>(&step)) {
      JsonObject object;
      object[*key] = std::move(out);
      out = std::move(object);
    } else {
      if (std::get<std::size_t>(step) != 0) {
        return Error(Code::NotFound, to_string(path) + ": index is past the end");
      }
      JsonArray array;
      array.push_back(std::move(out));
      out = std::move(array);
    }
  }
  return out;
}

std::string replace(std::string_view text, std::size_t from, std::size_t to, std::string_view with) {
  std::string out(text.substr(0, from));
  out += with;
  out += text.substr(to);
  return out;
}

std::string member_text(const std::string& key, const Json& value, std::size_t column) {
  std::string out = block(Json(key), 0) + ":";
  if (is_leaf(value)) return out + " " + block(value, 0);
  const std::size_t inner = value.is_array() ? column : column + 2;
  return out + "\n" + std::string(inner, ' ') + block(value, inner);
}

}  // namespace

std::string to_string(const Path& path) {
  std::string out;
  for (const auto& step : path.steps()) {
    if (const auto* key = std::get_if<std::string>(&step)) {
      if (is_plain_key(*key)) {
        if (!out.empty()) out += '.';
        out += *key;
      } else {
        out += "[" + json::print(Json(*key)) + "]";
      }
    } else {
      out += "[" + std::to_string(std::get<std::size_t>(step)) + "]";
    }
  }
  return out;
}

std::string json_pointer(const Path& path) {
  std::string out;
  for (const auto& step : path.steps()) {
    out += '/';
    if (const auto* key = std::get_if<std::string>(&step)) {
      for (const char c : *key) {
        if (c == '~') {
          out += "~0";
        } else if (c == '/') {
          out += "~1";
        } else {
          out += c;
        }
      }
    } else {
      out += std::to_string(std::get<std::size_t>(step));
    }
  }
  return out;
}

Result<std::string> set(std::string_view text, std::size_t document, const Path& path,
                        const Json& value) {
  KNIT_TRY(const Target t, locate(text, document, path));
  const Node& node = *t.at.node;
  if (t.taken == path.steps().size()) {  // it exists: replace its bytes
    const std::size_t from = node.start.offset;
    if (node.kind == Node::Kind::Scalar && is_leaf(value) && node.style != Node::Style::Literal &&
        node.style != Node::Style::Folded) {
      const bool empty = node.end.offset == from;
      const std::string with = scalar_like(node, value);
      const bool needs_space = empty && from > 0 && text[from - 1] != ' ';
      return replace(text, from, node.end.offset, needs_space ? " " + with : with);
    }
    if (node.style == Node::Style::Flow) return replace(text, from, node.end.offset, flow(value));
    if (t.at.parent != nullptr && t.at.parent->kind == Node::Kind::Mapping &&
        t.at.parent->style == Node::Style::Block) {
      const Node& key = *t.at.parent->members[t.at.index].first;
      std::size_t end = content_end(node);
      while (end > 0 && text[end - 1] == '\n') --end;
      return replace(text, key.start.offset, end,
                     member_text(key.text, value, key.start.column - 1));
    }
    return replace(text, from, content_end(node), block(value, node.start.column - 1));
  }
  KNIT_TRY(const Json rest, wrap(path, t.taken + 1, value));
  const auto& step = path.steps()[t.taken];
  if (node.kind == Node::Kind::Scalar && node.text.empty() && node.style == Node::Style::Plain &&
      t.at.parent != nullptr) {  // "spec:" with nothing behind it
    KNIT_TRY(const Json whole, wrap(path, t.taken, value));
    const auto steps = path.steps();
    Path parent;
    for (std::size_t i = 0; i < t.taken; ++i) {
      parent = std::holds_alternative<std::string>(steps[i])
                   ? parent / std::get<std::string>(steps[i])
                   : parent / std::get<std::size_t>(steps[i]);
    }
    const Node& key = *t.at.parent->members[t.at.index].first;
    return replace(text, key.start.offset, node.end.offset,
                   member_text(key.text, whole, key.start.column - 1));
  }
  if (const auto* key = std::get_if<std::string>(&step)) {
    if (node.kind != Node::Kind::Mapping) {
      return Error(Code::InvalidArgument, to_string(path) + " leads through a value that is no mapping");
    }
    if (node.style == Node::Style::Flow || node.members.empty()) {
      const std::string member = block(Json(*key), 0) + ": " + flow(rest);
      const std::size_t close = node.end.offset - 1;
      return replace(text, close, close, (node.members.empty() ? "" : ", ") + member);
    }
    const std::size_t column = node.members.front().first->start.column - 1;
    const std::size_t at = line_end(text, content_end(node) > 0 ? content_end(node) - 1 : 0);
    std::string with = std::string(column, ' ') + member_text(*key, rest, column) + "\n";
    if (at > 0 && text[at - 1] != '\n') with = "\n" + with;
    return replace(text, at, at, with);
  }
  const std::size_t index = std::get<std::size_t>(step);
  if (node.kind != Node::Kind::Sequence) {
    return Error(Code::InvalidArgument, to_string(path) + " leads through a value that is no list");
  }
  if (index != node.items.size()) {
    return Error(Code::NotFound, to_string(path) + ": index is past the end");
  }
  if (node.style == Node::Style::Flow || node.items.empty()) {
    const std::size_t close = node.end.offset - 1;
    return replace(text, close, close, (node.items.empty() ? "" : ", ") + flow(rest));
  }
  const std::size_t first = node.items.front()->start.offset;
  const std::size_t line = line_start(text, first);
  const std::size_t dash = text.rfind('-', first) - line;
  const std::size_t at = line_end(text, content_end(node) > 0 ? content_end(node) - 1 : 0);
  std::string with = std::string(dash, ' ') + "- " + block(rest, dash + 2) + "\n";
  if (at > 0 && text[at - 1] != '\n') with = "\n" + with;
  return replace(text, at, at, with);
}

Result<std::string> erase(std::string_view text, std::size_t document, const Path& path) {
  KNIT_TRY(const Target t, locate(text, document, path));
  if (t.taken != path.steps().size() || t.at.parent == nullptr) {
    return Error(Code::NotFound, to_string(path) + " is not there");
  }
  const Node& parent = *t.at.parent;
  const bool mapping = parent.kind == Node::Kind::Mapping;
  const std::size_t count = mapping ? parent.members.size() : parent.items.size();
  const Node& first = mapping ? *parent.members[t.at.index].first : *t.at.node;
  if (parent.style == Node::Style::Flow) {
    std::size_t from = first.start.offset;
    std::size_t to = t.at.node->end.offset;
    if (t.at.index + 1 < count) {
      to = (mapping ? parent.members[t.at.index + 1].first : parent.items[t.at.index + 1])
               ->start.offset;
    } else if (t.at.index > 0) {
      from = (mapping ? parent.members[t.at.index - 1].second : parent.items[t.at.index - 1])
                 ->end.offset;
    }
    return replace(text, from, to, "");
  }
  if (count == 1) {  // an emptied block collection becomes {} or []
    return replace(text, parent.start.offset, content_end(parent), mapping ? "{}" : "[]");
  }
  std::size_t from = first.start.offset;
  if (!mapping) from = text.rfind('-', from);
  const std::size_t end = content_end(*t.at.node);
  const std::size_t to = line_end(text, end > from ? end - 1 : end);
  const std::size_t line = line_start(text, from);
  const bool own_line = text.substr(line, from - line).find_first_not_of(' ') == std::string_view::npos;
  if (own_line) return replace(text, line, to, "");
  // "- a: 1" with more members below: the next one moves up behind the dash.
  const std::size_t next = mapping ? parent.members[t.at.index + 1].first->start.offset
                                   : parent.items[t.at.index + 1]->start.offset;
  return replace(text, from, next, "");
}

const Json* find(const Json& root, const Path& path) {
  const Json* at = &root;
  for (const auto& step : path.steps()) {
    if (const auto* key = std::get_if<std::string>(&step)) {
      at = json::find(*at, *key);
    } else {
      const auto* array = at->if_array();
      const std::size_t index = std::get<std::size_t>(step);
      at = array != nullptr && index < array->size() ? &(*array)[index] : nullptr;
    }
    if (at == nullptr) return nullptr;
  }
  return at;
}

Result<void> set(Json& root, const Path& path, const Json& value) {
  Json* at = &root;
  for (const auto& step : path.steps()) {
    if (const auto* key = std::get_if<std::string>(&step)) {
      if (at->is_null()) *at = JsonObject();
      auto* object = at->if_object();
      if (object == nullptr) {
        return Error(Code::InvalidArgument, to_string(path) + " leads through a value that is no mapping");
      }
      at = &(*object)[*key];
    } else {
      const std::size_t index = std::get<std::size_t>(step);
      if (at->is_null()) *at = JsonArray();
      auto* array = at->if_array();
      if (array == nullptr || index > array->size()) {
        return Error(Code::NotFound, to_string(path) + ": index is past the end");
      }
      if (index == array->size()) array->emplace_back(nullptr);
      at = &(*array)[index];
    }
  }
  *at = value;
  return {};
}

Result<void> erase(Json& root, const Path& path) {
  if (path.empty()) return Error(Code::InvalidArgument, "the root cannot be removed");
  Path parent;
  for (std::size_t i = 0; i + 1 < path.steps().size(); ++i) {
    const auto& step = path.steps()[i];
    parent = std::holds_alternative<std::string>(step) ? parent / std::get<std::string>(step)
                                                       : parent / std::get<std::size_t>(step);
  }
  Json* at = const_cast<Json*>(find(root, parent));
  const auto& last = path.steps().back();
  if (at != nullptr) {
    if (const auto* key = std::get_if<std::string>(&last)) {
      if (auto* object = at->if_object(); object != nullptr && object->erase(*key) != 0) return {};
    } else if (auto* array = at->if_array();
               array != nullptr && std::get<std::size_t>(last) < array->size()) {
      array->erase(array->begin() + static_cast<std::ptrdiff_t>(std::get<std::size_t>(last)));
      return {};
    }
  }
  return Error(Code::NotFound, to_string(path) + " is not there");
}

}  // namespace knit::yaml
