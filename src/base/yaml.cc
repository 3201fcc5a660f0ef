#include "base/yaml.h"

#include <yaml.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace knit::yaml {
namespace {

Mark mark_of(const yaml_mark_t& m, std::size_t base_offset, std::uint32_t base_line) {
  return {static_cast<std::uint32_t>(m.line) + base_line, static_cast<std::uint32_t>(m.column) + 1,
          m.index + base_offset};
}

std::string place(const Mark& m) {
  return "line " + std::to_string(m.line) + ", column " + std::to_string(m.column);
}

/// libyaml counts characters, not bytes; offsets are made exact for texts that are not ASCII.
class Offsets {
 public:
  Offsets(std::string_view text, bool ascii) : text_(text), ascii_(ascii) {}
  std::size_t bytes(std::size_t characters) {
    if (ascii_) return characters;
    if (characters < at_character_) at_character_ = at_byte_ = 0;
    while (at_character_ < characters && at_byte_ < text_.size()) {
      ++at_byte_;
      while (at_byte_ < text_.size() &&
             (static_cast<unsigned char>(text_[at_byte_]) & 0xC0) == 0x80) {
        ++at_byte_;
      }
      ++at_character_;
    }
    return at_byte_;
  }

 private:
  std::string_view text_;
  bool ascii_;
  std::size_t at_character_ = 0;
  std::size_t at_byte_ = 0;
};

class Builder {
 public:
  Builder(std::string_view text, bool ascii, std::size_t base_offset, std::uint32_t base_line,
          const Limits& limits)
      : text_(text),
        offsets_(text, ascii),
        base_offset_(base_offset),
        base_line_(base_line),
        limits_(limits) {
    yaml_parser_initialize(&parser_);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                 text.size());
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
  }
  ~Builder() { yaml_parser_delete(&parser_); }
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  /// Parses all documents; false after the first error, which is then in `problem`.
  bool run(const std::function<void(Document)>& out, std::size_t& count, Problem& problem) {
    while (true) {
      yaml_event_t event;
      if (!next(event, problem)) return false;
      const yaml_event_type_t type = event.type;
      const Mark start = mark(event.start_mark);
      yaml_event_delete(&event);
      if (type == YAML_STREAM_END_EVENT) return true;
      if (type != YAML_DOCUMENT_START_EVENT) continue;
      if (count >= limits_.max_documents) {
        problem = {start, "more than " + std::to_string(limits_.max_documents) + " documents"};
        return false;
      }
      Document document;
      document.start = start;
      anchors_.clear();
      nodes_ = 0;
      duplicates_ = &document.duplicate_keys;
      NodePtr root;
      if (!next(event, problem)) return false;
      if (!node(event, 0, root, problem)) return false;
      const bool empty = root->kind == Node::Kind::Scalar && root->text.empty() &&
                         root->style == Node::Style::Plain && root->tag.empty();
      if (!empty) document.root = std::move(root);
      ++count;
      anchors_.clear();
      out(std::move(document));
    }
  }

 private:
  Mark mark(const yaml_mark_t& m) {
    Mark out = mark_of(m, 0, base_line_);
    out.offset = offsets_.bytes(m.index) + base_offset_;
    return out;
  }
  bool next(yaml_event_t& event, Problem& problem) {
    if (yaml_parser_parse(&parser_, &event) != 0) return true;
    std::string text = parser_.problem != nullptr ? parser_.problem : "invalid YAML";
    if (parser_.context != nullptr) text += std::string(" ") + parser_.context;
    if (parser_.error == YAML_READER_ERROR) {
      // The reader is ahead of the marks: its place is a byte of the text.
      const std::size_t byte = std::min(parser_.problem_offset, text_.size());
      const std::string_view before = text_.substr(0, byte);
      const std::size_t newline = before.rfind('\n');
      Mark at;
      at.line =
          base_line_ + static_cast<std::uint32_t>(std::count(before.begin(), before.end(), '\n'));
      at.column = static_cast<std::uint32_t>(1 + byte -
                                             (newline == std::string_view::npos ? 0 : newline + 1));
      at.offset = base_offset_ + byte;
      problem = {at, text + " (byte " + std::to_string(at.offset) + ")"};
      return false;
    }
    const Mark at = mark(parser_.problem_mark);
    if (text.starts_with("found character that cannot start any token") &&
        at.offset - base_offset_ < text_.size() && text_[at.offset - base_offset_] == '\t') {
      text += " (a tab: YAML is indented with spaces)";
    }
    problem = {at, std::move(text)};
    return false;
  }

  /// Consumes `event` and, for collections, what follows up to their end.
  bool node(yaml_event_t& event, std::size_t depth, NodePtr& out, Problem& problem) {
    const Mark start = mark(event.start_mark);
    const auto fail = [&](std::string message) {
      yaml_event_delete(&event);
      problem = {start, std::move(message)};
      return false;
    };
    if (depth > limits_.max_depth) {
      return fail("nested deeper than " + std::to_string(limits_.max_depth));
    }
    if (++nodes_ > limits_.max_nodes) {
      return fail("document has more than " + std::to_string(limits_.max_nodes) + " nodes");
    }
    auto made = std::make_shared<Node>();
    made->start = start;
    made->end = mark(event.end_mark);
    switch (event.type) {
      case YAML_ALIAS_EVENT: {
        const std::string name = reinterpret_cast<const char*>(event.data.alias.anchor);
        const auto it = anchors_.find(name);
        if (it == anchors_.end()) return fail("unknown anchor '" + name + "' referenced");
        nodes_ += it->second.second;
        if (nodes_ > limits_.max_nodes) {
          return fail("document contains excessive aliasing");
        }
        auto copy = std::make_shared<Node>(*it->second.first);
        copy->aliased = true;
        out = std::move(copy);
        yaml_event_delete(&event);
        return true;
      }
      case YAML_SCALAR_EVENT: {
        const auto& s = event.data.scalar;
        made->kind = Node::Kind::Scalar;
        made->text.assign(reinterpret_cast<const char*>(s.value), s.length);
        if (s.tag != nullptr) made->tag = reinterpret_cast<const char*>(s.tag);
        switch (s.style) {
          case YAML_SINGLE_QUOTED_SCALAR_STYLE:
            made->style = Node::Style::SingleQuoted;
            break;
          case YAML_DOUBLE_QUOTED_SCALAR_STYLE:
            made->style = Node::Style::DoubleQuoted;
            break;
          case YAML_LITERAL_SCALAR_STYLE:
            made->style = Node::Style::Literal;
            break;
          case YAML_FOLDED_SCALAR_STYLE:
            made->style = Node::Style::Folded;
            break;
          default:
            made->style = Node::Style::Plain;
        }
        finish(event.data.scalar.anchor, made, 1);
        yaml_event_delete(&event);
        out = std::move(made);
        return true;
      }
      case YAML_SEQUENCE_START_EVENT: {
        made->kind = Node::Kind::Sequence;
        made->style = event.data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE
                          ? Node::Style::Flow
                          : Node::Style::Block;
        const std::string anchor = anchor_of(event.data.sequence_start.anchor);
        yaml_event_delete(&event);
        const std::size_t before = nodes_;
        while (true) {
          yaml_event_t inner;
          if (!next(inner, problem)) return false;
          if (inner.type == YAML_SEQUENCE_END_EVENT) {
            made->end = mark(inner.end_mark);
            yaml_event_delete(&inner);
            break;
          }
          NodePtr item;
          if (!node(inner, depth + 1, item, problem)) return false;
          made->items.push_back(std::move(item));
        }
        finish(anchor, made, nodes_ - before + 1);
        out = std::move(made);
        return true;
      }
      case YAML_MAPPING_START_EVENT: {
        made->kind = Node::Kind::Mapping;
        made->style = event.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
                          ? Node::Style::Flow
                          : Node::Style::Block;
        const std::string anchor = anchor_of(event.data.mapping_start.anchor);
        yaml_event_delete(&event);
        const std::size_t before = nodes_;
        std::map<std::string, Mark, std::less<>> seen;
        while (true) {
          yaml_event_t inner;
          if (!next(inner, problem)) return false;
          if (inner.type == YAML_MAPPING_END_EVENT) {
            made->end = mark(inner.end_mark);
            yaml_event_delete(&inner);
            break;
          }
          NodePtr key;
          NodePtr value;
          if (!node(inner, depth + 1, key, problem)) return false;
          if (!next(inner, problem)) return false;
          if (!node(inner, depth + 1, value, problem)) return false;
          if (key->kind == Node::Kind::Scalar && key->text != "<<") {
            const auto [it, fresh] = seen.emplace(key->text, key->start);
            if (!fresh && duplicates_->size() < 100) {
              duplicates_->push_back({key->start, "mapping key \"" + key->text +
                                                      "\" already defined at line " +
                                                      std::to_string(it->second.line)});
            }
          }
          made->members.emplace_back(std::move(key), std::move(value));
        }
        if (!merge(*made, problem)) return false;
        finish(anchor, made, nodes_ - before + 1);
        out = std::move(made);
        return true;
      }
      default:
        return fail("unexpected YAML event");
    }
  }

  static std::string anchor_of(const unsigned char* a) {
    return a == nullptr ? std::string() : reinterpret_cast<const char*>(a);
  }
  void finish(const unsigned char* anchor, const std::shared_ptr<Node>& n, std::size_t size) {
    finish(anchor_of(anchor), n, size);
  }
  void finish(const std::string& anchor, const std::shared_ptr<Node>& n, std::size_t size) {
    if (!anchor.empty()) anchors_[anchor] = {n, size};
  }

  /// Resolves `<<`: explicit keys win, earlier merged mappings win over later ones.
  bool merge(Node& mapping, Problem& problem) {
    std::vector<std::pair<NodePtr, NodePtr>> merged;
    std::vector<std::pair<NodePtr, NodePtr>> kept;
    for (auto& member : mapping.members) {
      if (member.first->kind != Node::Kind::Scalar || member.first->text != "<<" ||
          member.first->style != Node::Style::Plain) {
        kept.push_back(std::move(member));
        continue;
      }
      std::vector<NodePtr> sources;
      if (member.second->kind == Node::Kind::Mapping) {
        sources.push_back(member.second);
      } else if (member.second->kind == Node::Kind::Sequence) {
        sources = member.second->items;
      }
      for (const auto& source : sources) {
        if (source->kind != Node::Kind::Mapping) sources.clear();
      }
      if (sources.empty()) {
        problem = {member.second->start, "map merge requires map or sequence of maps as the value"};
        return false;
      }
      for (const auto& source : sources) {
        for (const auto& m : source->members) merged.push_back(m);
      }
    }
    if (merged.empty()) {
      mapping.members = std::move(kept);
      return true;
    }
    std::set<std::string, std::less<>> have;
    for (const auto& m : kept) have.insert(m.first->text);
    for (auto& m : merged) {
      if (have.insert(m.first->text).second) kept.push_back(std::move(m));
    }
    mapping.members = std::move(kept);
    return true;
  }

  yaml_parser_t parser_{};
  std::string_view text_;
  Offsets offsets_;
  std::size_t base_offset_;
  std::uint32_t base_line_;
  const Limits& limits_;
  std::size_t nodes_ = 0;
  std::map<std::string, std::pair<NodePtr, std::size_t>> anchors_;
  std::vector<Problem>* duplicates_ = nullptr;
};

bool is_number_start(char c) { return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.'; }

/// go-yaml v2's resolve() for plain scalars. Source: sigs.k8s.io/yaml goyaml.v2/resolve.go.
Json resolve_plain(const std::string& s) {
  static const std::map<std::string, Json, std::less<>> kWords = [] {
    std::map<std::string, Json, std::less<>> m;
    for (const char* w : {"", "~", "null", "Null", "NULL"}) m[w] = nullptr;
    for (const char* w :
         {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}) {
      m[w] = true;
    }
    for (const char* w :
         {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}) {
      m[w] = false;
    }
    return m;
  }();
  if (const auto it = kWords.find(s); it != kWords.end()) return it->second;
  if (!is_number_start(s[0])) return Json(s);
  std::string plain;
  for (const char c : s) {
    if (c != '_') plain += c;
  }
  // Integers: decimal, 0x, 0 (octal), 0b, 0o.
  const bool negative = plain[0] == '-';
  std::size_t at = negative || plain[0] == '+' ? 1 : 0;
  int base = 10;
  if (plain.compare(at, 2, "0x") == 0 || plain.compare(at, 2, "0X") == 0) {
    base = 16;
    at += 2;
  } else if (plain.compare(at, 2, "0b") == 0 || plain.compare(at, 2, "0B") == 0) {
    base = 2;
    at += 2;
  } else if (plain.compare(at, 2, "0o") == 0 || plain.compare(at, 2, "0O") == 0) {
    base = 8;
    at += 2;
  } else if (plain.size() > at + 1 && plain[at] == '0') {
    base = 8;
    at += 1;
  }
  if (at < plain.size() && std::isxdigit(static_cast<unsigned char>(plain[at])) != 0) {
    errno = 0;
    char* end = nullptr;
    const unsigned long long v = std::strtoull(plain.c_str() + at, &end, base);
    if (*end == '\0' && errno == 0) {
      if (negative) {
        if (v <= 9223372036854775808ULL)
          return Json(static_cast<std::int64_t>(-static_cast<__int128>(v)));
      } else if (v <= static_cast<unsigned long long>(INT64_MAX)) {
        return Json(static_cast<std::int64_t>(v));
      } else {
        return Json(static_cast<std::uint64_t>(v));
      }
    }
  }
  // Floats: ^[-+]?[0-9]*\.?[0-9]+([eE][-+][0-9]+)?$ and "1."
  std::size_t i = plain[0] == '-' || plain[0] == '+' ? 1 : 0;
  const std::size_t first = i;
  std::size_t digits = 0;
  while (i < plain.size() && std::isdigit(static_cast<unsigned char>(plain[i])) != 0) ++i, ++digits;
  if (i < plain.size() && plain[i] == '.') {
    ++i;
    while (i < plain.size() && std::isdigit(static_cast<unsigned char>(plain[i])) != 0) {
      ++i, ++digits;
    }
  }
  bool ok = digits > 0 && i > first;
  if (ok && i < plain.size() && (plain[i] == 'e' || plain[i] == 'E')) {
    ++i;
    if (i < plain.size() && (plain[i] == '-' || plain[i] == '+')) ++i;
    const std::size_t exponent = i;
    while (i < plain.size() && std::isdigit(static_cast<unsigned char>(plain[i])) != 0) ++i;
    ok = i > exponent;
  }
  if (ok && i == plain.size()) {
    const double d = std::strtod(plain.c_str(), nullptr);
    if (std::isfinite(d)) {
      // JSON has one number type: 1.0 and 1e3 arrive at the API server as integers.
      if (std::floor(d) == d && std::fabs(d) < 9e15) return Json(static_cast<std::int64_t>(d));
      return Json(d);
    }
  }
  return Json(s);
}

std::string key_text(const Node& key) {
  // sigs.k8s.io/yaml turns scalar keys into strings by their resolved value.
  if (key.style != Node::Style::Plain) return key.text;
  const Json v = resolve_plain(key.text);
  if (v.is_string() || v.is_null()) return key.text;
  if (v.is_bool()) return v.get_bool() ? "true" : "false";
  return json::print(v);
}

}  // namespace

const Node* Node::find(std::string_view key) const {
  for (auto it = members.rbegin(); it != members.rend(); ++it) {
    if (it->first->kind == Kind::Scalar && it->first->text == key) return it->second.get();
  }
  return nullptr;
}

Parsed parse(std::string_view text, const Limits& limits) {
  Parsed out;
  out.errors = parse_each(text, limits,
                          [&](Document document) { out.documents.push_back(std::move(document)); });
  return out;
}

namespace {
/// JSON objects one after another, as `kubectl get -o json` of several prints them and kubectl
/// reads them: no error, the next document.
bool is_next_json(std::string_view text, const Problem& problem) {
  const std::size_t at = problem.mark.offset;
  if (!problem.message.starts_with("did not find expected <document start>") || at >= text.size() ||
      text[at] != '{') {
    return false;
  }
  const auto before = text.find_last_not_of(" \t\r\n", at - 1);
  return before != std::string_view::npos && text[before] == '}';
}
}  // namespace

std::vector<Problem> parse_each(std::string_view text, const Limits& limits,
                                const std::function<void(Document)>& on_document) {
  std::vector<Problem> errors;
  std::size_t count = 0;
  if (text.size() > limits.max_bytes) {
    errors.push_back({{},
                      "YAML of " + std::to_string(text.size()) +
                          " bytes is larger than the limit of " +
                          std::to_string(limits.max_bytes)});
    return errors;
  }
  constexpr std::string_view kUtf8Mark = "\xef\xbb\xbf";
  const bool nul = text.size() > 1 && (text[0] == '\0' || text[1] == '\0');
  if (nul || text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    errors.push_back({{}, "the text is UTF-16, not UTF-8: save it as UTF-8"});
    return errors;
  }
  const bool ascii = std::all_of(text.begin(), text.end(),
                                 [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  std::size_t offset = text.starts_with(kUtf8Mark) ? kUtf8Mark.size() : 0;
  std::uint32_t line = 1;
  while (offset <= text.size()) {
    Problem problem;
    Builder builder(text.substr(offset), ascii, offset, line, limits);
    if (builder.run(on_document, count, problem)) return errors;
    if (problem.mark.offset > offset && is_next_json(text, problem)) {
      offset = problem.mark.offset;
      line = problem.mark.line;
      continue;
    }
    errors.push_back(problem);
    if (errors.size() >= 100) return errors;
    // Go on behind the next document marker after the error.
    // (which may be where the error was noticed).
    const std::size_t from = std::max(problem.mark.offset, offset + 1) - 1;
    const std::size_t marker = text.find("\n---", std::min(from, text.size()));
    if (marker == std::string_view::npos) return errors;
    const auto newlines = std::count(text.begin() + static_cast<std::ptrdiff_t>(offset),
                                     text.begin() + static_cast<std::ptrdiff_t>(marker + 1), '\n');
    line += static_cast<std::uint32_t>(newlines);
    offset = marker + 1;
  }
  return errors;
}

namespace {
/// A plain scalar that YAML reads as a number JSON does not have (`.inf`, `-.Inf`, `.NaN`).
bool infinite_or_nan(std::string_view text) {
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
    text.remove_prefix(1);
    return text == ".inf" || text == ".Inf" || text == ".INF";
  }
  return text == ".inf" || text == ".Inf" || text == ".INF" || text == ".nan" || text == ".NaN" ||
         text == ".NAN";
}
}  // namespace

Result<Json> to_json(const Node& node) {
  switch (node.kind) {
    case Node::Kind::Null:
      return Json();
    case Node::Kind::Scalar: {
      if (node.tag == "tag:yaml.org,2002:str" || node.tag == "!!str" || node.tag == "!") {
        return Json(node.text);
      }
      if (node.tag == "tag:yaml.org,2002:binary" || node.tag == "!!binary") return Json(node.text);
      if (node.style != Node::Style::Plain) return Json(node.text);
      if (infinite_or_nan(node.text)) {
        return Error(Code::InvalidArgument,
                     place(node.start) + ": " + node.text + " is not a JSON number");
      }
      return resolve_plain(node.text);
    }
    case Node::Kind::Sequence: {
      JsonArray out;
      out.reserve(node.items.size());
      for (const auto& item : node.items) {
        KNIT_TRY(Json v, to_json(*item));
        out.push_back(std::move(v));
      }
      return Json(std::move(out));
    }
    case Node::Kind::Mapping: {
      JsonObject out;
      for (const auto& [key, value] : node.members) {
        if (key->kind != Node::Kind::Scalar) {
          return Error(Code::InvalidArgument,
                       place(key->start) + ": a mapping key must be a scalar");
        }
        KNIT_TRY(Json v, to_json(*value));
        out[key_text(*key)] = std::move(v);
      }
      return Json(std::move(out));
    }
  }
  return Json();
}

Result<Json> parse_one(std::string_view text, const Limits& limits) {
  const Parsed parsed = parse(text, limits);
  if (!parsed.errors.empty()) {
    const auto& e = parsed.errors.front();
    return Error(Code::InvalidArgument, "invalid YAML at " + place(e.mark) + ": " + e.message);
  }
  const Node* root = nullptr;
  for (const auto& d : parsed.documents) {
    if (!d.root) continue;
    if (root != nullptr) {
      return Error(Code::InvalidArgument,
                   place(d.root->start) + ": a second document where one is expected");
    }
    root = d.root.get();
  }
  if (root == nullptr) return Json();
  return to_json(*root);
}

namespace {
/// The length of what YAML takes for a line break or does not take unescaped, but JSON prints as it
/// is: NEL and the other C1 controls, U+2028, U+2029 and the byte order mark. 0: none begins at
/// `at`.
std::size_t unprintable(std::string_view s, std::size_t at) {
  const std::string_view rest = s.substr(at);
  if (rest.size() >= 2 && rest[0] == '\xc2' && static_cast<unsigned char>(rest[1]) < 0xa0) return 2;
  if (rest.starts_with("\xe2\x80\xa8") || rest.starts_with("\xe2\x80\xa9") ||
      rest.starts_with("\xef\xbb\xbf") || rest.starts_with("\xef\xbf\xbe") ||
      rest.starts_with("\xef\xbf\xbf")) {
    return 3;
  }
  return rest.starts_with('\x7f') ? 1 : 0;
}
bool needs_quotes(const std::string& s) {
  if (s.empty() || !resolve_plain(s).is_string() || infinite_or_nan(s)) return true;
  if (s.starts_with("...")) return true;  // alone on a line it ends the document
  if (s.front() == ' ' || s.back() == ' ' || s.back() == ':') return true;
  if (std::strchr("-?:,[]{}#&*!|>'\"%@`=<", s.front()) != nullptr) return true;
  if (s.find(": ") != std::string::npos || s.find(" #") != std::string::npos) return true;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (static_cast<unsigned char>(s[i]) < 0x20 || unprintable(s, i) != 0) return true;
  }
  return false;
}
/// A JSON string is a YAML double-quoted scalar once these few characters are escaped too.
std::string escaped(std::string_view quoted) {
  std::string out;
  for (std::size_t i = 0; i < quoted.size();) {
    const std::size_t n = unprintable(quoted, i);
    if (n == 0) {
      out += quoted[i++];
      continue;
    }
    unsigned point = static_cast<unsigned char>(quoted[i]);
    if (n == 2) point = static_cast<unsigned char>(quoted[i + 1]);
    if (n == 3) {
      point = (point & 0x0fU) << 12U | (static_cast<unsigned char>(quoted[i + 1]) & 0x3fU) << 6U |
              (static_cast<unsigned char>(quoted[i + 2]) & 0x3fU);
    }
    std::array<char, 8> text{};
    std::snprintf(text.data(), text.size(), "\\u%04x", point);
    out += text.data();
    i += n;
  }
  return out;
}
void print_scalar(std::string& out, const Json& v) {
  const auto* s = v.if_string();
  if (s != nullptr && !needs_quotes(std::string(s->data(), s->size()))) {
    out.append(s->data(), s->size());
  } else {
    out += escaped(json::print(v));
  }
}
void print_value(std::string& out, const Json& v, std::size_t indent, bool in_sequence) {
  const std::string pad(indent, ' ');
  if (const auto* object = v.if_object(); object != nullptr && !object->empty()) {
    bool first = true;
    for (const auto& kv : *object) {
      if (!first || !in_sequence) out += pad;
      first = false;
      print_scalar(out, Json(kv.key()));
      out += ':';
      const bool nested = (kv.value().is_object() && !kv.value().get_object().empty()) ||
                          (kv.value().is_array() && !kv.value().get_array().empty());
      if (nested) {
        out += '\n';
        print_value(out, kv.value(), kv.value().is_array() ? indent : indent + 2, false);
      } else {
        out += ' ';
        print_value(out, kv.value(), 0, true);
      }
    }
  } else if (const auto* array = v.if_array(); array != nullptr && !array->empty()) {
    bool first = true;
    for (const auto& item : *array) {
      if (!first || !in_sequence) out += pad;
      first = false;
      out += "- ";
      print_value(out, item, indent + 2, true);
    }
  } else {
    if (!in_sequence) out += pad;
    print_scalar(out, v);
    out += '\n';
  }
}
}  // namespace

std::string print(const Json& value) {
  std::string out;
  print_value(out, value, 0, false);
  return out;
}

}  // namespace knit::yaml
