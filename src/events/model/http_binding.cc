#include "events/model/http_binding.h"

#include "base/hash.h"
#include "events/model/json_format.h"

namespace knit::events {
namespace {

constexpr std::string_view kEventType = "application/cloudevents";
constexpr std::string_view kBatchType = "application/cloudevents-batch";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "application/cloudevents+json", "application/cloudevents-batch+json"; the suffix may be absent.
Result<void> json_format(std::string_view media, std::string_view prefix) {
  media.remove_prefix(prefix.size());
  if (media.empty() || media == "+json") return {};
  return Error(Code::Unsupported, "content type " + std::string(prefix) + std::string(media) +
                                      ": only the JSON event format (+json) is known");
}

Result<Event> from_binary(const http::Headers& headers, std::string body, const Limits& limits) {
  Event event;
  event.specversion.clear();
  std::size_t attributes = 0;
  const auto bad = [](std::string message) {
    return Error(Code::InvalidArgument, std::move(message));
  };
  // The version decides what ce-schemaurl means.
  const bool old = trim(headers.get("ce-specversion")) == "0.3";
  for (const auto& [field, raw] : headers.fields()) {
    const std::string name = lower(field);
    if (name == "content-type") {
      if (!event.datacontenttype.empty()) return bad("the content-type header occurs twice");
      event.datacontenttype = trim(raw);
      continue;
    }
    if (!name.starts_with("ce-")) continue;
    const std::string attribute = name.substr(3);
    attributes += attribute.size() + raw.size();
    // Percent-encoding takes up to three bytes for one.
    if (attributes > 3 * limits.max_attribute_bytes) {
      return Error(Code::ResourceExhausted, "the event's attributes take more than " +
                                                std::to_string(limits.max_attribute_bytes) +
                                                " bytes, which is the limit");
    }
    if (attribute == "datacontenttype") {
      return bad("ce-datacontenttype: the content type belongs into the content-type header");
    }
    auto value = decode_header_value(trim(raw));
    if (!value) return std::move(value).error().within(name.substr(0, 64));
    std::string* target = nullptr;
    if (attribute == "specversion") target = &event.specversion;
    if (attribute == "id") target = &event.id;
    if (attribute == "source") target = &event.source;
    if (attribute == "type") target = &event.type;
    if (attribute == (old ? "schemaurl" : "dataschema")) target = &event.dataschema;
    if (attribute == "datacontentencoding" && old) target = &event.datacontentencoding;
    if (attribute == "subject") target = &event.subject;
    if (attribute == "time") target = &event.time;
    if (target != nullptr) {
      if (!target->empty()) return bad("the header " + name + " occurs twice");
      *target = std::move(*value);
      continue;
    }
    if (event.extension(attribute) != nullptr) {
      return bad("the header " + name.substr(0, 64) + " occurs twice");
    }
    if (event.extensions.size() >= limits.max_extensions) {
      return Error(
          Code::ResourceExhausted,
          "the event has more than " + std::to_string(limits.max_extensions) + " extensions");
    }
    event.set_extension(attribute, std::move(*value));
  }
  if (event.specversion.empty()) {
    return bad(
        "not a CloudEvent: no ce-specversion header, and the content type is not "
        "application/cloudevents+json");
  }
  if (event.datacontentencoding == "base64") {
    auto bytes = hash::decode_base64(body);
    if (!bytes) return bad("ce-datacontentencoding is base64, the body is not");
    body = std::move(*bytes);
    event.data = std::move(body);
  } else if (!body.empty()) {
    event.data = std::move(body);
  }
  KNIT_TRY_VOID(validate(event, limits));
  return event;
}

}  // namespace

Mode mode_of(const http::Headers& headers) {
  const std::string media = media_type(headers.get("content-type"));
  if (media.starts_with(kBatchType)) return Mode::Batch;
  if (media.starts_with(kEventType)) return Mode::Structured;
  return Mode::Binary;
}

bool carries_event(const http::Headers& headers) {
  return mode_of(headers) != Mode::Binary || headers.has("ce-specversion");
}

Result<std::vector<Event>> from_http(const http::Headers& headers, std::string body,
                                     const Limits& limits) {
  std::vector<Event> out;
  const std::string media = media_type(headers.get("content-type"));
  switch (mode_of(headers)) {
    case Mode::Batch:
      KNIT_TRY_VOID(json_format(media, kBatchType));
      return from_json_batch(body, limits);
    case Mode::Structured: {
      KNIT_TRY_VOID(json_format(media, kEventType));
      KNIT_TRY(Event event, from_json(body, limits));
      out.push_back(std::move(event));
      return out;
    }
    case Mode::Binary: {
      KNIT_TRY(Event event, from_binary(headers, std::move(body), limits));
      out.push_back(std::move(event));
      return out;
    }
  }
  return out;
}

HttpMessage to_binary(const Event& e) {
  // Such a content type would make a structured message of it.
  if (media_type(e.datacontenttype).starts_with(kEventType)) return to_structured(e);
  HttpMessage out;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) out.headers.add("ce-" + std::string(name), encode_header_value(value));
  };
  add("specversion", e.specversion);
  add("id", e.id);
  add("source", e.source);
  add("type", e.type);
  add(e.specversion == "0.3" ? "schemaurl" : "dataschema", e.dataschema);
  add("datacontentencoding", e.datacontentencoding);
  add("subject", e.subject);
  add("time", e.time);
  for (const auto& x : e.extensions) {
    out.headers.add("ce-" + x.name, encode_header_value(x.value));
  }
  if (!e.datacontenttype.empty()) out.headers.add("content-type", e.datacontenttype);
  if (e.data) out.body = e.datacontentencoding == "base64" ? hash::base64(*e.data) : *e.data;
  return out;
}

HttpMessage to_structured(const Event& event) {
  return {{{"content-type", "application/cloudevents+json; charset=UTF-8"}}, to_json(event)};
}

HttpMessage to_batch(std::span<const Event> events) {
  return {{{"content-type", "application/cloudevents-batch+json; charset=UTF-8"}},
          to_json_batch(events)};
}

std::string encode_header_value(std::string_view value) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  out.reserve(value.size());
  for (const char c : value) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x21 || u > 0x7e || c == '"' || c == '%') {
      out += '%';
      out += kHex[u >> 4];
      out += kHex[u & 15];
    } else {
      out += c;
    }
  }
  return out;
}

Result<std::string> decode_header_value(std::string_view value) {
  std::string plain;
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    for (std::size_t i = 1; i + 1 < value.size(); ++i) {
      if (value[i] == '\\' && i + 2 < value.size()) ++i;
      plain += value[i];
    }
    value = plain;
  }
  std::string out;
  out.reserve(value.size());
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '%' && i + 2 < value.size() && hex_digit(value[i + 1]) >= 0 &&
        hex_digit(value[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(value[i + 1]) * 16 + hex_digit(value[i + 2]));
      i += 2;
    } else {
      out += value[i];
    }
  }
  if (!valid_utf8(out)) return Error(Code::InvalidArgument, "the value is not UTF-8");
  return out;
}

}  // namespace knit::events
