#include "events/model/json_format.h"

#include <charconv>
#include <set>

#include "base/hash.h"
#include "base/json.h"

namespace knit::events {
namespace {

constexpr std::size_t kMaxDepth = 64;

Error bad(std::string message) { return Error(Code::InvalidArgument, std::move(message)); }

// Walks text that json::parse() has accepted, so only nesting and strings need care.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}
  void space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
  }
  char peek() {
    space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  std::string_view string() {
    space();
    const std::size_t begin = at_++;
    while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
    return text_.substr(begin, ++at_ - begin);
  }
  std::string_view value() {
    space();
    const std::size_t begin = at_;
    if (peek() == '"') return string();
    int depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        string();
        continue;
      }
      if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      ++at_;
      if (depth == 0 && (c == '}' || c == ']')) break;
    }
    auto out = text_.substr(begin, at_ - begin);
    while (!out.empty() && std::string_view(" \t\r\n").find(out.back()) != out.npos) {
      out.remove_suffix(1);
    }
    return out;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

// A JSON string literal that has been accepted, decoded.
Result<std::string> unquote(std::string_view literal) {
  KNIT_TRY(const Json value, json::parse(literal, {.max_bytes = literal.size()}));
  return std::string(value.get_string());
}

struct Member {
  std::string_view raw;  // the value as written
  bool seen = false;
};

Result<Extension> extension(std::string name, std::string_view raw) {
  for (char& c : name) {  // as the Go SDK: names are folded, other characters refused by validate()
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  Extension out{std::move(name), ValueType::String, {}};
  if (raw.front() == '"') {
    KNIT_TRY(out.value, unquote(raw));
    return out;
  }
  if (raw == "true" || raw == "false") {
    out.type = ValueType::Boolean;
    out.value = raw;
    return out;
  }
  std::int32_t number = 0;
  const auto [end, ec] = std::from_chars(raw.data(), raw.data() + raw.size(), number);
  if (ec == std::errc() && end == raw.data() + raw.size()) {
    out.type = ValueType::Integer;
    out.value = std::to_string(number);
    return out;
  }
  return bad("extension " + out.name.substr(0, 64) +
             ": the value is not a string, a boolean or a 32-bit integer");
}

// `text` is the text of one JSON object.
Result<Event> read_event(std::string_view text, const Limits& limits) {
  Scanner scan(text);
  if (!scan.take('{')) return bad("the event is not a JSON object");
  Event event;
  event.specversion.clear();
  Member data, base64;
  std::set<std::string, std::less<>> seen;
  // The version decides what "schemaurl" means, so it is looked up before the rest is judged.
  struct Pending {
    std::string name;
    std::string_view raw;
  };
  std::vector<Pending> members;
  while (scan.peek() != '}') {
    KNIT_TRY(std::string name, unquote(scan.string()));
    scan.take(':');
    const std::string_view raw = scan.value();
    scan.take(',');
    if (!seen.insert(name).second)
      return bad("the member \"" + name.substr(0, 64) + "\" occurs twice");
    if (members.size() > limits.max_extensions + 16) {
      return Error(
          Code::ResourceExhausted,
          "the event has more than " + std::to_string(limits.max_extensions) + " extensions");
    }
    if (name == "specversion" && raw.front() == '"') {
      KNIT_TRY(event.specversion, unquote(raw));
    }
    members.push_back({std::move(name), raw});
  }
  const bool old = event.specversion == "0.3";
  for (auto& [name, raw] : members) {
    if (name == "data") {
      data = {raw, true};
      continue;
    }
    if (name == "data_base64" && !old) {
      base64 = {raw, true};
      continue;
    }
    if (raw == "null") continue;  // "an unset attribute MAY be encoded as null"
    std::string* target = nullptr;
    if (name == "specversion") target = &event.specversion;
    if (name == "id") target = &event.id;
    if (name == "source") target = &event.source;
    if (name == "type") target = &event.type;
    if (name == "datacontenttype") target = &event.datacontenttype;
    if (name == (old ? "schemaurl" : "dataschema")) target = &event.dataschema;
    if (name == "datacontentencoding" && old) target = &event.datacontentencoding;
    if (name == "subject") target = &event.subject;
    if (name == "time") target = &event.time;
    if (target != nullptr) {
      if (raw.front() != '"') return bad(name + ": the attribute is not a JSON string");
      KNIT_TRY(*target, unquote(raw));
      continue;
    }
    KNIT_TRY(Extension e, extension(std::move(name), raw));
    if (event.extension(e.name) != nullptr) {
      return bad("the extension " + e.name.substr(0, 64) + " occurs twice");
    }
    event.set_extension(e.name, std::move(e.value), e.type);
  }
  if (data.seen && base64.seen) return bad("the event has both data and data_base64");
  if (base64.seen && base64.raw != "null") {
    if (base64.raw.front() != '"') return bad("data_base64: is not a JSON string");
    KNIT_TRY(const std::string coded, unquote(base64.raw));
    auto bytes = hash::decode_base64(coded);
    if (!bytes) return bad("data_base64: is not base64");
    event.data = std::move(*bytes);
  } else if (data.seen) {
    const bool text_form = data.raw.front() == '"';
    if (event.datacontentencoding == "base64") {
      if (!text_form) return bad("data: datacontentencoding is base64, the data is no string");
      KNIT_TRY(const std::string coded, unquote(data.raw));
      auto bytes = hash::decode_base64(coded);
      if (!bytes) return bad("data: is not base64");
      event.data = std::move(*bytes);
    } else if (text_form && !is_json_type(event.datacontenttype)) {
      KNIT_TRY(event.data, unquote(data.raw));
    } else {
      event.data = std::string(data.raw);
      // "Without datacontenttype ... exactly equivalent to application/json."
      if (event.datacontenttype.empty()) event.datacontenttype = "application/json";
    }
  }
  KNIT_TRY_VOID(validate(event, limits));
  return event;
}

Result<void> check(std::string_view text, std::size_t limit, std::size_t depth = kMaxDepth) {
  if (text.size() > limit) {
    return Error(Code::ResourceExhausted, "the body takes " + std::to_string(text.size()) +
                                              " bytes, the limit is " + std::to_string(limit));
  }
  if (!valid_utf8(text)) return bad("the body is not UTF-8");
  KNIT_TRY([[maybe_unused]] const Json whole,
           json::parse(text, {.max_bytes = limit, .max_depth = depth}));
  return {};
}

void put_string(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20) {
      out += "\\u00";
      out += kHex[u >> 4];
      out += kHex[u & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

bool textual(std::string_view media) {
  return media.starts_with("text/") || media == "application/xml" || media.ends_with("+xml");
}

void print(std::string& out, const Event& e) {
  const bool old = e.specversion == "0.3";
  const auto member = [&](std::string_view name, const std::string& value) {
    if (value.empty()) return;
    if (out.back() != '{') out += ',';
    put_string(out, name);
    out += ':';
    put_string(out, value);
  };
  out += '{';
  member("specversion", e.specversion);
  member("id", e.id);
  member("source", e.source);
  member("type", e.type);
  member("subject", e.subject);
  member("datacontenttype", e.datacontenttype);
  member(old ? "schemaurl" : "dataschema", e.dataschema);
  member("datacontentencoding", e.datacontentencoding);
  member("time", e.time);
  for (const auto& x : e.extensions) {
    out += ',';
    put_string(out, x.name);
    out += ':';
    if (x.type == ValueType::String) {
      put_string(out, x.value);
    } else {
      out += x.value;
    }
  }
  if (e.data) {
    const bool json_type = is_json_type(e.datacontenttype);
    if (e.datacontentencoding == "base64") {
      out += ",\"data\":";
      put_string(out, hash::base64(*e.data));
    } else if (json_type && !e.datacontenttype.empty() &&
               check(*e.data, e.data->size(), kMaxDepth - 2).has_value()) {
      out += ",\"data\":";
      out += *e.data;
    } else if (textual(media_type(e.datacontenttype)) && valid_utf8(*e.data)) {
      out += ",\"data\":";
      put_string(out, *e.data);
    } else if (old) {  // 0.3 has no data_base64
      out += ",\"datacontentencoding\":\"base64\",\"data\":";
      put_string(out, hash::base64(*e.data));
    } else {
      out += ",\"data_base64\":";
      put_string(out, hash::base64(*e.data));
    }
  }
  out += '}';
}

}  // namespace

Result<Event> from_json(std::string_view text, const Limits& limits) {
  KNIT_TRY_VOID(check(text, limits.max_data_bytes / 3 * 4 + 2 * limits.max_attribute_bytes));
  return read_event(text, limits);
}

Result<std::vector<Event>> from_json_batch(std::string_view text, const Limits& limits) {
  KNIT_TRY_VOID(check(text, limits.max_batch_bytes));
  Scanner scan(text);
  if (!scan.take('[')) return bad("the batch is not a JSON array");
  std::vector<Event> out;
  while (scan.peek() != ']') {
    if (out.size() >= limits.max_batch_events) {
      return Error(
          Code::ResourceExhausted,
          "the batch has more than " + std::to_string(limits.max_batch_events) + " events");
    }
    auto event = read_event(scan.value(), limits);
    if (!event) {
      return std::move(event).error().within("event " + std::to_string(out.size()) +
                                             " of the batch");
    }
    out.push_back(std::move(*event));
    scan.take(',');
  }
  return out;
}

std::string to_json(const Event& event) {
  std::string out;
  print(out, event);
  return out;
}

std::string to_json_batch(std::span<const Event> events) {
  std::string out = "[";
  for (const Event& e : events) {
    if (out.size() > 1) out += ',';
    print(out, e);
  }
  return out + "]";
}

}  // namespace knit::events
