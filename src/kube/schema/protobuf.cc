#include <bit>
#include <cstring>

#include "base/quantity.h"
#include "kube/schema/walk.h"

namespace knit::schema {

namespace {
constexpr std::string_view kMagic("k8s\0", 4);
using Wire = unsigned;
constexpr Wire kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  bool done() const { return in_.empty() || failed_; }
  bool failed() const { return failed_; }
  bool fail() {
    failed_ = true;
    return false;
  }

  std::uint64_t varint() {
    std::uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (in_.empty()) break;
      const auto byte = static_cast<unsigned char>(in_.front());
      in_.remove_prefix(1);
      v |= std::uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80u) == 0) return v;
    }
    failed_ = true;
    return 0;
  }
  std::string_view bytes() {
    const std::uint64_t n = varint();
    if (failed_ || n > in_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view out = in_.substr(0, n);
    in_.remove_prefix(n);
    return out;
  }
  std::uint64_t fixed64() {
    if (in_.size() < 8) {
      failed_ = true;
      return 0;
    }
    std::uint64_t v = 0;
    for (unsigned i = 0; i < 8; ++i) {
      v |= std::uint64_t{static_cast<unsigned char>(in_[i])} << (8 * i);
    }
    in_.remove_prefix(8);
    return v;
  }
  void skip(Wire wire) {
    if (wire == kVarint) {
      varint();
    } else if (wire == kFixed64) {
      fixed64();
    } else if (wire == kBytes) {
      bytes();
    } else if (wire == kFixed32 && in_.size() >= 4) {
      in_.remove_prefix(4);
    } else {
      failed_ = true;
    }
  }
  /// The next field; false at the end or on malformed input.
  bool field(std::uint32_t* number, Wire* wire) {
    if (done()) return false;
    const std::uint64_t tag = varint();
    if (failed_ || (tag >> 3) == 0 || (tag >> 3) > 0x1fffffff) return fail();
    *number = static_cast<std::uint32_t>(tag >> 3);
    *wire = static_cast<Wire>(tag & 7);
    return true;
  }

 private:
  std::string_view in_;
  bool failed_ = false;
};

/// The fields 1, 2, 3 of a small well-known message.
struct Small {
  std::uint64_t number[4] = {};
  std::string_view text[4];
  bool has[4] = {};
  bool good = true;
  explicit Small(std::string_view in) {
    Reader r(in);
    std::uint32_t n = 0;
    Wire wire = 0;
    while (r.field(&n, &wire)) {
      if (n > 3 || (wire != kVarint && wire != kBytes)) {
        r.skip(wire);
        continue;
      }
      has[n] = true;
      if (wire == kVarint) {
        number[n] = r.varint();
      } else {
        text[n] = r.bytes();
      }
    }
    good = !r.failed();
  }
};

bool embedded_json(std::string_view text, Json& out) {
  if (text.empty()) {
    out = nullptr;
    return true;
  }
  auto parsed = json::parse(text, {.max_bytes = kMaxBodyBytes, .max_depth = kMaxDepth});
  if (!parsed) return false;
  out = std::move(*parsed);
  return true;
}

const Message& schema_props() {
  static const Message& m = *Registry::get().message("apiextensions.v1.JSONSchemaProps");
  return m;
}

/// apiextensions' unions: {1: one of them, 2: the other}.
bool decode_union(Type type, std::string_view in, Json& out, int depth) {
  Reader r(in);
  std::uint32_t n = 0;
  Wire wire = 0;
  const std::uint32_t schema_number = type == Type::SchemaOrBool ? 2 : 1;
  JsonArray list;
  std::optional<Json> schema;
  bool allows = false;
  while (r.field(&n, &wire)) {
    if (wire == kBytes && n == schema_number) {
      JsonObject object;
      if (!decode_message(schema_props(), r.bytes(), object, depth + 1)) return false;
      schema = Json(std::move(object));
    } else if (wire == kBytes && n == 2 && type == Type::SchemaOrArray) {
      JsonObject object;
      if (!decode_message(schema_props(), r.bytes(), object, depth + 1)) return false;
      list.emplace_back(std::move(object));
    } else if (wire == kBytes && n == 2) {
      const std::string_view s = r.bytes();
      if (!valid_utf8(s)) return false;
      list.emplace_back(s);
    } else if (wire == kVarint && n == 1 && type == Type::SchemaOrBool) {
      allows = r.varint() != 0;
    } else {
      r.skip(wire);
    }
  }
  if (r.failed()) return false;
  if (schema) {
    out = std::move(*schema);
  } else if (type == Type::SchemaOrBool) {
    out = allows;
  } else {
    out = std::move(list);
  }
  return true;
}

bool decode_value(const Field& f, Wire wire, Reader& r, Json& out, int depth) {
  switch (f.type) {
    case Type::Int32:
      if (wire != kVarint) return false;
      out = static_cast<std::int64_t>(static_cast<std::int32_t>(r.varint()));
      return !r.failed();
    case Type::Int64:
      if (wire != kVarint) return false;
      out = static_cast<std::int64_t>(r.varint());
      return !r.failed();
    case Type::Bool:
      if (wire != kVarint) return false;
      out = r.varint() != 0;
      return !r.failed();
    case Type::Double:
      if (wire != kFixed64) return false;
      out = std::bit_cast<double>(r.fixed64());
      return !r.failed();
    default:
      break;
  }
  if (wire != kBytes) return false;
  const std::string_view in = r.bytes();
  if (r.failed()) return false;
  switch (f.type) {
    case Type::String:
      if (!valid_utf8(in)) return false;
      out = in;
      return true;
    case Type::Bytes:
      out = base64(in);
      return true;
    case Type::Quantity: {
      const Small m(in);
      if (!m.good || !valid_utf8(m.text[1])) return false;
      out = m.text[1].empty() ? std::string_view("0") : m.text[1];
      return true;
    }
    case Type::Time:
    case Type::MicroTime: {
      const Small m(in);
      if (!m.good) return false;
      if (in.empty()) {
        out = nullptr;
        return true;
      }
      const auto seconds = static_cast<std::int64_t>(m.number[1]);
      const auto nanos = static_cast<std::int32_t>(m.number[2]);
      // What WallTime holds: 1678 to 2262.
      if (seconds < -9'000'000'000 || seconds > 9'000'000'000 || nanos < 0 || nanos > 999'999'999) {
        return false;
      }
      const WallTime t{seconds * 1'000'000'000 + nanos};
      out = f.type == Type::Time ? rfc3339(t) : rfc3339_fraction(t, 6);
      return true;
    }
    case Type::Duration: {
      const Small m(in);
      out = go_duration(Duration(static_cast<std::int64_t>(m.number[1])));
      return m.good;
    }
    case Type::IntOrString: {
      const Small m(in);
      if (!m.good || !valid_utf8(m.text[3])) return false;
      if (m.number[1] == 1) {
        out = m.text[3];
      } else {
        out = static_cast<std::int64_t>(static_cast<std::int32_t>(m.number[2]));
      }
      return true;
    }
    case Type::Raw:
    case Type::FieldsV1:
    case Type::Any: {
      const Small m(in);
      return m.good && embedded_json(m.text[1], out);
    }
    case Type::Strings: {
      Reader inner(in);
      std::uint32_t n = 0;
      Wire w = 0;
      JsonArray list;
      while (inner.field(&n, &w)) {
        if (n == 1 && w == kBytes) {
          const std::string_view s = inner.bytes();
          if (!valid_utf8(s)) return false;
          list.emplace_back(s);
        } else {
          inner.skip(w);
        }
      }
      out = std::move(list);
      return !inner.failed();
    }
    case Type::SchemaOrArray:
    case Type::SchemaOrBool:
    case Type::SchemaOrStrings:
      return decode_union(f.type, in, out, depth);
    case Type::Message: {
      if (!out.is_object()) out = JsonObject();
      return decode_message(*f.message, in, out.get_object(), depth + 1);
    }
    default:
      return false;
  }
}

bool decode_entry(const Field& f, std::string_view in, JsonObject& map, int depth) {
  Reader r(in);
  std::uint32_t n = 0;
  Wire wire = 0;
  std::string_view key;
  Json value;
  while (r.field(&n, &wire)) {
    if (n == 1 && wire == kBytes) {
      key = r.bytes();
    } else if (n == 2) {
      if (!decode_value(f, wire, r, value, depth)) return false;
    } else {
      r.skip(wire);
    }
  }
  if (r.failed() || !valid_utf8(key)) return false;
  map[key] = std::move(value);
  return true;
}

bool decode_field(const Field& f, Wire wire, Reader& r, JsonObject& into, int depth) {
  if (f.inlined) {
    return wire == kBytes && decode_message(*f.message, r.bytes(), into, depth + 1);
  }
  if (f.shape == Shape::One) return decode_value(f, wire, r, into[f.name], depth);
  Json& slot = into[f.name];
  if (f.shape == Shape::Map) {
    if (wire != kBytes) return false;
    if (!slot.is_object()) slot = JsonObject();
    return decode_entry(f, r.bytes(), slot.get_object(), depth);
  }
  if (!slot.is_array()) slot = JsonArray();
  const bool scalar = f.type == Type::Int32 || f.type == Type::Int64 || f.type == Type::Bool;
  if (scalar && wire == kBytes) {  // packed
    Reader packed(r.bytes());
    while (!packed.done()) {
      Json item;
      if (!decode_value(f, kVarint, packed, item, depth)) return false;
      slot.get_array().push_back(std::move(item));
    }
    return !packed.failed();
  }
  Json item;
  if (!decode_value(f, wire, r, item, depth)) return false;
  slot.get_array().push_back(std::move(item));
  return true;
}
}  // namespace

bool decode_message(const Message& message, std::string_view in, JsonObject& into, int depth) {
  if (depth > static_cast<int>(kMaxDepth)) return false;
  Reader r(in);
  std::uint32_t number = 0;
  Wire wire = 0;
  while (r.field(&number, &wire)) {
    const Field* f = message.by_number(number);
    if (f == nullptr) {
      r.skip(wire);
    } else if (!decode_field(*f, wire, r, into, depth)) {
      return false;
    }
  }
  return !r.failed();
}

bool open_envelope(std::string_view body, std::string* api_version, std::string* kind,
                   std::string_view* raw) {
  if (!body.starts_with(kMagic)) return false;
  Reader r(body.substr(kMagic.size()));
  std::uint32_t n = 0;
  Wire wire = 0;
  while (r.field(&n, &wire)) {
    if (wire != kBytes || n > 2) {
      r.skip(wire);
    } else if (n == 1) {
      const Small meta(r.bytes());
      if (!meta.good || !valid_utf8(meta.text[1]) || !valid_utf8(meta.text[2])) return false;
      *api_version = meta.text[1];
      *kind = meta.text[2];
    } else {
      *raw = r.bytes();
    }
  }
  return !r.failed();
}

// ------------------------------------------------------------------ encoding

namespace {
void put_varint(std::string& out, std::uint64_t v) {
  while (v >= 0x80) {
    out += static_cast<char>((v & 0x7f) | 0x80);
    v >>= 7;
  }
  out += static_cast<char>(v);
}
void put_tag(std::string& out, std::uint32_t number, Wire wire) {
  put_varint(out, (std::uint64_t{number} << 3) | wire);
}
void put_bytes(std::string& out, std::uint32_t number, std::string_view s) {
  put_tag(out, number, kBytes);
  put_varint(out, s.size());
  out += s;
}
void put_number(std::string& out, std::uint32_t number, std::int64_t v) {
  put_tag(out, number, kVarint);
  put_varint(out, static_cast<std::uint64_t>(v));
}
std::string_view text(const Json& v) {
  const auto* s = v.if_string();
  return s == nullptr ? std::string_view() : std::string_view(s->data(), s->size());
}

bool encode_message(const Message& m, const JsonObject& object, std::string& out);

bool encode_union(Type type, const Json& v, std::string& out) {
  std::string inner;
  if (const auto* object = v.if_object()) {
    if (!encode_message(schema_props(), *object, inner)) return false;
    if (type == Type::SchemaOrBool) put_number(out, 1, 1);
    put_bytes(out, type == Type::SchemaOrBool ? 2 : 1, inner);
    return true;
  }
  if (const bool* b = v.if_bool()) {
    put_number(out, 1, *b ? 1 : 0);
    return true;
  }
  if (!v.is_array()) return false;
  for (const Json& item : v.get_array()) {
    if (const auto* object = item.if_object()) {
      inner.clear();
      if (!encode_message(schema_props(), *object, inner)) return false;
      put_bytes(out, 2, inner);
    } else {
      put_bytes(out, 2, text(item));
    }
  }
  return true;
}

bool encode_value(const Field& f, std::uint32_t number, const Json& v, std::string& out) {
  std::string body;
  switch (f.type) {
    case Type::Int32:
    case Type::Int64:
      if (!v.is_int64() && !v.is_uint64()) return false;
      put_number(out, number,
                 v.is_int64() ? v.get_int64() : static_cast<std::int64_t>(v.get_uint64()));
      return true;
    case Type::Bool:
      if (!v.is_bool()) return false;
      put_number(out, number, v.get_bool() ? 1 : 0);
      return true;
    case Type::Double: {
      if (!v.is_number()) return false;
      put_tag(out, number, kFixed64);
      const auto bits = std::bit_cast<std::uint64_t>(v.to_number<double>());
      for (unsigned i = 0; i < 8; ++i) out += static_cast<char>((bits >> (8 * i)) & 0xff);
      return true;
    }
    case Type::String:
      if (!v.is_string()) return false;
      body = text(v);
      break;
    case Type::Bytes: {
      auto bytes = unbase64(text(v));
      if (!bytes) return false;
      body = std::move(*bytes);
      break;
    }
    case Type::Quantity:
      put_bytes(body, 1, text(v));
      break;
    case Type::Time:
    case Type::MicroTime: {
      const auto t = parse_rfc3339(text(v));
      if (!t) return false;
      put_number(body, 1, t->ns / 1'000'000'000);
      put_number(body, 2, t->ns % 1'000'000'000);
      break;
    }
    case Type::Duration: {
      const auto d = parse_go_duration(text(v));
      if (!d) return false;
      put_number(body, 1, d->count());
      break;
    }
    case Type::IntOrString:
      put_number(body, 1, v.is_string() ? 1 : 0);
      put_number(body, 2, v.is_int64() ? v.get_int64() : 0);
      put_bytes(body, 3, text(v));
      break;
    case Type::Raw:
    case Type::FieldsV1:
    case Type::Any:
      put_bytes(body, 1, json::print(v));
      break;
    case Type::Strings:
      if (!v.is_array()) return false;
      for (const Json& item : v.get_array()) put_bytes(body, 1, text(item));
      break;
    case Type::SchemaOrArray:
    case Type::SchemaOrBool:
    case Type::SchemaOrStrings:
      if (!encode_union(f.type, v, body)) return false;
      break;
    case Type::Message:
      if (!v.is_object() || !encode_message(*f.message, v.get_object(), body)) return false;
      break;
    case Type::StringMap:
      return false;
  }
  put_bytes(out, number, body);
  return true;
}

bool encode_message(const Message& m, const JsonObject& object, std::string& out) {
  for (const Field& f : m.fields) {
    if (f.number == 0) continue;
    if (f.inlined) {
      std::string body;
      if (!encode_message(*f.message, object, body)) return false;
      if (!body.empty()) put_bytes(out, f.number, body);
      continue;
    }
    const Json* v = object.if_contains(f.name);
    if (v == nullptr || v->is_null()) continue;
    if (f.shape == Shape::One) {
      if (!encode_value(f, f.number, *v, out)) return false;
    } else if (f.shape == Shape::List) {
      if (!v->is_array()) return false;
      for (const Json& item : v->get_array()) {
        if (!encode_value(f, f.number, item, out)) return false;
      }
    } else {
      if (!v->is_object()) return false;
      for (const auto& member : v->get_object()) {
        std::string entry;
        put_bytes(entry, 1, std::string_view(member.key().data(), member.key().size()));
        if (!encode_value(f, 2, member.value(), entry)) return false;
        put_bytes(out, f.number, entry);
      }
    }
  }
  return true;
}
}  // namespace

Result<std::string> encode_protobuf(const Kind& kind, const Json& object) {
  std::string body;
  if (!object.is_object() || !encode_message(*kind.message, object.get_object(), body)) {
    return Error(Code::InvalidArgument,
                 std::string(kind.kind) + " has a value that its protobuf message cannot hold");
  }
  std::string meta, out(kMagic);
  put_bytes(meta, 1, kind.api_version());
  put_bytes(meta, 2, kind.kind);
  put_bytes(out, 1, meta);
  put_bytes(out, 2, body);
  put_bytes(out, 3, {});
  put_bytes(out, 4, {});
  return out;
}

// ------------------------------------------------------------------ text helpers

bool valid_utf8(std::string_view s) {
  std::size_t i = 0;
  while (i < s.size()) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c < 0x80) {
      ++i;
      continue;
    }
    const std::size_t n = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    if (c < 0xc2 || c > 0xf4 || i + n >= s.size()) return false;
    std::uint32_t code = c & (0x3fu >> n);
    for (std::size_t k = 1; k <= n; ++k) {
      const auto t = static_cast<unsigned char>(s[i + k]);
      if ((t & 0xc0u) != 0x80u) return false;
      code = (code << 6) | (t & 0x3fu);
    }
    if ((n == 2 && code < 0x800) || (n == 3 && code < 0x10000) || code > 0x10ffff ||
        (code >= 0xd800 && code <= 0xdfff)) {
      return false;
    }
    i += n + 1;
  }
  return true;
}

namespace {
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

std::string base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t v = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      v = (v << 8) | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += k <= n ? kAlphabet[(v >> (18 - 6 * k)) & 0x3f] : '=';
    }
  }
  return out;
}

std::optional<std::string> unbase64(std::string_view in) {
  std::string out;
  std::uint32_t v = 0;
  std::size_t count = 0, padding = 0;
  for (const char c : in) {
    if (c == '\n' || c == '\r') continue;
    if (c == '=') {
      ++padding;
      ++count;
      v <<= 6;
    } else {
      const auto at = kAlphabet.find(c);
      if (at == std::string_view::npos || padding != 0) return std::nullopt;
      v = (v << 6) | static_cast<std::uint32_t>(at);
      ++count;
    }
    if (count % 4 == 0) {
      if (padding > 2) return std::nullopt;
      for (std::size_t k = 0; k < 3 - padding; ++k) {
        out += static_cast<char>((v >> (16 - 8 * k)) & 0xff);
      }
      v = 0;
    }
  }
  if (count % 4 != 0) return std::nullopt;
  return out;
}

}  // namespace knit::schema
