#include "base/json.h"

#include <cmath>
#include <cstdio>

namespace knit::json {
namespace bj = boost::json;

namespace {
const JsonArray kEmptyArray;
const JsonObject kEmptyObject;

void write_string(std::string& out, std::string_view s) {
  out += bj::serialize(bj::string_view(s.data(), s.size()));
}

void write_scalar(std::string& out, const Json& v) {
  // Doubles print as Go's encoding/json does, so that 1.5 stays 1.5 and not 1.5E0.
  if (v.is_double()) {
    const double d = v.get_double();
    if (d == 0) {  // also -0, which would be read back as an integer
      out += '0';
      return;
    }
    char buffer[40];
    for (int precision : {15, 16, 17}) {
      std::snprintf(buffer, sizeof buffer, "%.*g", precision, d);
      if (std::strtod(buffer, nullptr) == d) break;
    }
    out += buffer;
    return;
  }
  out += bj::serialize(v);
}

template <bool kSorted>
void write(std::string& out, const Json& v, int indent, int depth) {
  const auto newline = [&](int level) {
    if (indent == 0) return;
    out += '\n';
    out.append(static_cast<std::size_t>(indent * level), ' ');
  };
  if (const auto* object = v.if_object()) {
    out += '{';
    bool first = true;
    const auto member = [&](bj::string_view key, const Json& value) {
      if (!first) out += ',';
      first = false;
      newline(depth + 1);
      write_string(out, {key.data(), key.size()});
      out += indent != 0 ? ": " : ":";
      write<kSorted>(out, value, indent, depth + 1);
    };
    if constexpr (kSorted) {
      std::vector<const bj::key_value_pair*> members;
      members.reserve(object->size());
      for (const auto& kv : *object) members.push_back(&kv);
      std::sort(members.begin(), members.end(),
                [](const auto* a, const auto* b) { return a->key() < b->key(); });
      for (const auto* kv : members) member(kv->key(), kv->value());
    } else {
      for (const auto& kv : *object) member(kv.key(), kv.value());
    }
    if (!first) newline(depth);
    out += '}';
  } else if (const auto* array = v.if_array()) {
    out += '[';
    bool first = true;
    for (const auto& item : *array) {
      if (!first) out += ',';
      first = false;
      newline(depth + 1);
      write<kSorted>(out, item, indent, depth + 1);
    }
    if (!first) newline(depth);
    out += ']';
  } else if (const auto* s = v.if_string()) {
    write_string(out, {s->data(), s->size()});
  } else {
    write_scalar(out, v);
  }
}

bool finite(const Json& v) {
  if (const auto* d = v.if_double()) return std::isfinite(*d);
  if (const auto* object = v.if_object()) {
    return std::all_of(object->begin(), object->end(),
                       [](const auto& kv) { return finite(kv.value()); });
  }
  if (const auto* array = v.if_array()) return std::all_of(array->begin(), array->end(), finite);
  return true;
}
}  // namespace

Result<Json> parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.max_bytes) {
    return Error(Code::ResourceExhausted, "JSON of " + std::to_string(text.size()) +
                                              " bytes is larger than the limit of " +
                                              std::to_string(limits.max_bytes));
  }
  bj::parse_options options;
  options.max_depth = limits.max_depth;
  bj::stream_parser parser({}, options);
  bj::error_code ec;
  const std::size_t used = parser.write_some(text.data(), text.size(), ec);
  if (!ec && used < text.size()) {
    for (std::size_t i = used; i < text.size(); ++i) {
      if (std::strchr(" \t\r\n", text[i]) == nullptr) {
        return Error(Code::InvalidArgument,
                     "invalid JSON at byte " + std::to_string(i) + ": text after the value");
      }
    }
  }
  if (!ec) parser.finish(ec);
  if (ec) {
    return Error(Code::InvalidArgument,
                 "invalid JSON at byte " + std::to_string(used) + ": " + ec.message());
  }
  Json value = parser.release();
  // A number past the range of doubles: JSON has no infinity to print it as.
  if (!finite(value)) {
    return Error(Code::InvalidArgument, "invalid JSON: a number is out of range");
  }
  return value;
}

std::string print(const Json& value) {
  std::string out;
  write<false>(out, value, 0, 0);
  return out;
}
std::string canonical(const Json& value) {
  std::string out;
  write<true>(out, value, 0, 0);
  return out;
}
std::string pretty(const Json& value) {
  std::string out;
  write<false>(out, value, 2, 0);
  out += '\n';
  return out;
}

const Json* find(const Json& root, Path path) {
  const Json* at = &root;
  for (const auto key : path) {
    at = find(*at, key);
    if (at == nullptr) return nullptr;
  }
  return at;
}
Json* find(Json& root, Path path) {
  return const_cast<Json*>(find(static_cast<const Json&>(root), path));
}
const Json* find(const Json& root, std::string_view key) {
  const auto* object = root.if_object();
  return object == nullptr ? nullptr : object->if_contains(key);
}
Json* find(Json& root, std::string_view key) {
  auto* object = root.if_object();
  return object == nullptr ? nullptr : object->if_contains(key);
}
std::string_view str(const Json& root, Path path, std::string_view otherwise) {
  const Json* v = find(root, path);
  const auto* s = v == nullptr ? nullptr : v->if_string();
  return s == nullptr ? otherwise : std::string_view(s->data(), s->size());
}
std::optional<std::int64_t> opt_i64(const Json& root, Path path) {
  const Json* v = find(root, path);
  if (v == nullptr) return std::nullopt;
  if (const auto* i = v->if_int64()) return *i;
  if (const auto* u = v->if_uint64(); u != nullptr && *u <= INT64_MAX) {
    return static_cast<std::int64_t>(*u);
  }
  if (const auto* d = v->if_double();
      d != nullptr && std::floor(*d) == *d && std::fabs(*d) < 9e15) {
    return static_cast<std::int64_t>(*d);
  }
  return std::nullopt;
}
std::int64_t i64(const Json& root, Path path, std::int64_t otherwise) {
  return opt_i64(root, path).value_or(otherwise);
}
bool boolean(const Json& root, Path path, bool otherwise) {
  const Json* v = find(root, path);
  const bool* b = v == nullptr ? nullptr : v->if_bool();
  return b == nullptr ? otherwise : *b;
}
std::optional<double> opt_number(const Json& root, Path path) {
  const Json* v = find(root, path);
  if (v == nullptr) return std::nullopt;
  if (const auto* d = v->if_double()) return *d;
  if (const auto i = opt_i64(root, path)) return static_cast<double>(*i);
  return std::nullopt;
}
const JsonArray& array(const Json& root, Path path) {
  const Json* v = find(root, path);
  const auto* a = v == nullptr ? nullptr : v->if_array();
  return a == nullptr ? kEmptyArray : *a;
}
const JsonObject& object(const Json& root, Path path) {
  const Json* v = find(root, path);
  const auto* o = v == nullptr ? nullptr : v->if_object();
  return o == nullptr ? kEmptyObject : *o;
}
void set(Json& root, Path path, Json value) {
  Json* at = &root;
  for (const auto key : path) {
    if (!at->is_object()) *at = JsonObject();
    at = &at->get_object()[key];
  }
  *at = std::move(value);
}
bool erase(Json& root, Path path) {
  Json* at = &root;
  std::size_t left = path.size();
  for (const auto key : path) {
    auto* object = at->if_object();
    if (object == nullptr) return false;
    if (--left == 0) return object->erase(key) != 0;
    at = object->if_contains(key);
    if (at == nullptr) return false;
  }
  return false;
}
std::vector<std::pair<std::string, std::string>> string_map(const Json& root, Path path) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& kv : object(root, path)) {
    if (const auto* s = kv.value().if_string()) {
      out.emplace_back(std::string(kv.key()), std::string(s->data(), s->size()));
    }
  }
  return out;
}

void merge_patch(Json& target, const Json& patch) {
  const auto* changes = patch.if_object();
  if (changes == nullptr) {
    target = patch;
    return;
  }
  if (!target.is_object()) target = JsonObject();
  auto& object = target.get_object();
  for (const auto& kv : *changes) {
    if (kv.value().is_null()) {
      object.erase(kv.key());
    } else {
      merge_patch(object[kv.key()], kv.value());
    }
  }
}

Json merge_diff(const Json& from, const Json& to) {
  JsonObject out;
  const auto* a = from.if_object();
  const auto* b = to.if_object();
  if (a == nullptr || b == nullptr) return to;
  for (const auto& kv : *a) {
    if (!b->contains(kv.key())) out[kv.key()] = nullptr;
  }
  for (const auto& kv : *b) {
    const Json* old = a->if_contains(kv.key());
    if (old == nullptr) {
      out[kv.key()] = kv.value();
    } else if (*old != kv.value()) {
      out[kv.key()] = old->is_object() && kv.value().is_object() ? merge_diff(*old, kv.value())
                                                                 : kv.value();
    }
  }
  return out;
}

namespace {
/// Walks the text with a SAX parser and notes repeated keys.
struct DuplicateHandler {
  static constexpr std::size_t max_object_size = SIZE_MAX;
  static constexpr std::size_t max_array_size = SIZE_MAX;
  static constexpr std::size_t max_key_size = SIZE_MAX;
  static constexpr std::size_t max_string_size = SIZE_MAX;
  struct Level {
    bool is_object;
    std::set<std::string, std::less<>> keys;
    std::string key;
    std::size_t index = 0;
  };
  std::vector<Level> levels;
  std::string key;
  std::vector<std::string> found;

  std::string path() const {
    std::string out;
    for (const auto& level : levels) {
      if (level.is_object) {
        if (!out.empty()) out += '.';
        out += level.key;
      } else {
        out += '[' + std::to_string(level.index) + ']';
      }
    }
    return out;
  }
  void value_done() {
    if (!levels.empty() && !levels.back().is_object) ++levels.back().index;
  }
  bool on_document_begin(bj::error_code&) { return true; }
  bool on_document_end(bj::error_code&) { return true; }
  bool on_object_begin(bj::error_code&) {
    levels.push_back({true, {}, {}});
    return true;
  }
  bool on_object_end(std::size_t, bj::error_code&) {
    levels.pop_back();
    value_done();
    return true;
  }
  bool on_array_begin(bj::error_code&) {
    levels.push_back({false, {}, {}});
    return true;
  }
  bool on_array_end(std::size_t, bj::error_code&) {
    levels.pop_back();
    value_done();
    return true;
  }
  bool on_key_part(bj::string_view s, std::size_t, bj::error_code&) {
    key.append(s.data(), s.size());
    return true;
  }
  bool on_key(bj::string_view s, std::size_t, bj::error_code&) {
    key.append(s.data(), s.size());
    levels.back().key = key;
    if (!levels.back().keys.insert(key).second) found.push_back(path());
    key.clear();
    return true;
  }
  bool on_string_part(bj::string_view, std::size_t, bj::error_code&) { return true; }
  bool on_string(bj::string_view, std::size_t, bj::error_code&) {
    value_done();
    return true;
  }
  bool on_number_part(bj::string_view, bj::error_code&) { return true; }
  bool on_int64(std::int64_t, bj::string_view, bj::error_code&) {
    value_done();
    return true;
  }
  bool on_uint64(std::uint64_t, bj::string_view, bj::error_code&) {
    value_done();
    return true;
  }
  bool on_double(double, bj::string_view, bj::error_code&) {
    value_done();
    return true;
  }
  bool on_bool(bool, bj::error_code&) {
    value_done();
    return true;
  }
  bool on_null(bj::error_code&) {
    value_done();
    return true;
  }
  bool on_comment_part(bj::string_view, bj::error_code&) { return true; }
  bool on_comment(bj::string_view, bj::error_code&) { return true; }
};
}  // namespace
}  // namespace knit::json

#include <boost/json/basic_parser_impl.hpp>

namespace knit::json {
std::vector<std::string> duplicate_keys(std::string_view text) {
  bj::parse_options options;
  options.max_depth = 64;
  bj::basic_parser<DuplicateHandler> parser(options);
  bj::error_code ec;
  parser.write_some(false, text.data(), text.size(), ec);
  return std::move(parser.handler().found);
}
}  // namespace knit::json
