#include "events/model/event.h"

#include <algorithm>

#include "base/time.h"

namespace knit::events {
namespace {

auto lower_bound(std::vector<Extension>& all, std::string_view name) {
  return std::lower_bound(all.begin(), all.end(), name,
                          [](const Extension& e, std::string_view n) { return e.name < n; });
}

Error bad(std::string_view name, std::string_view why) {
  return Error(Code::InvalidArgument, std::string(name) + ": " + std::string(why));
}

bool token(std::string_view text) {
  if (text.empty()) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c > 0x20 && c < 0x7f &&
           std::string_view("()<>@,;:\\\"/[]?=").find(c) == std::string_view::npos;
  });
}

// What Go's url.Parse refuses: control characters, broken escapes, a scheme without a name.
bool uri_reference(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    if (c == '%') {
      const auto hex = [&](std::size_t at) {
        return at < text.size() &&
               std::string_view("0123456789abcdefABCDEF").find(text[at]) != std::string_view::npos;
      };
      if (!hex(i + 1) || !hex(i + 2)) return false;
    }
  }
  return !text.starts_with(':');
}

}  // namespace

const Extension* Event::extension(std::string_view name) const {
  const auto it =
      std::lower_bound(extensions.begin(), extensions.end(), name,
                       [](const Extension& e, std::string_view n) { return e.name < n; });
  return it != extensions.end() && it->name == name ? &*it : nullptr;
}

void Event::set_extension(std::string_view name, std::string value, ValueType value_type) {
  const auto it = lower_bound(extensions, name);
  if (it != extensions.end() && it->name == name) {
    it->value = std::move(value);
    it->type = value_type;
    return;
  }
  extensions.insert(it, Extension{std::string(name), value_type, std::move(value)});
}

void Event::erase_extension(std::string_view name) {
  const auto it = lower_bound(extensions, name);
  if (it != extensions.end() && it->name == name) extensions.erase(it);
}

std::optional<std::string_view> Event::attribute(std::string_view name) const {
  const auto some = [](const std::string& s) {
    return s.empty() ? std::nullopt : std::optional<std::string_view>(s);
  };
  if (name == "type") return some(type);
  if (name == "source") return some(source);
  if (name == "subject") return some(subject);
  if (name == "id") return some(id);
  if (name == "specversion") return some(specversion);
  if (name == "time") return some(time);
  if (name == (specversion == "0.3" ? "schemaurl" : "dataschema")) return some(dataschema);
  if (name == "datacontenttype") return some(datacontenttype);
  if (name == "datacontentencoding" && specversion == "0.3") return some(datacontentencoding);
  if (name == "datamediatype") {
    auto media = std::string_view(datacontenttype).substr(0, datacontenttype.find(';'));
    while (media.ends_with(' ') || media.ends_with('\t')) media.remove_suffix(1);
    return media.empty() ? std::nullopt : std::optional(media);
  }
  const Extension* found = extension(name);
  return found != nullptr ? std::optional<std::string_view>(found->value) : std::nullopt;
}

std::size_t Event::attribute_bytes() const {
  std::size_t n = 0;
  const auto add = [&](std::size_t name, const std::string& value) {
    if (!value.empty()) n += name + value.size();
  };
  add(11, specversion);
  add(2, id);
  add(6, source);
  add(4, type);
  add(15, datacontenttype);
  add(10, dataschema);
  add(19, datacontentencoding);
  add(7, subject);
  add(4, time);
  for (const auto& e : extensions) n += e.name.size() + e.value.size();
  return n;
}

bool valid_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  });
}

bool reserved_name(std::string_view name, std::string_view specversion) {
  for (const std::string_view known :
       {"specversion", "id", "source", "type", "datacontenttype", "subject", "time", "data"}) {
    if (name == known) return true;
  }
  if (specversion == "0.3") return name == "schemaurl" || name == "datacontentencoding";
  return name == "dataschema" || name == "data_base64";
}

bool valid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || i + length > text.size()) return false;
    std::uint32_t point = c & (0xffu >> (length + 1));
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = (point << 6) | (next & 0x3fu);
    }
    if ((length == 3 && point < 0x800) || (length == 4 && point < 0x10000) || point > 0x10ffff ||
        (point >= 0xd800 && point <= 0xdfff)) {
      return false;
    }
    i += length;
  }
  return true;
}

bool valid_string(std::string_view text) {
  if (!valid_utf8(text)) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f) return false;
    if (c == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0) return false;  // C1
  }
  return true;
}

std::string media_type(std::string_view content_type) {
  content_type = content_type.substr(0, content_type.find(';'));
  while (content_type.starts_with(' ') || content_type.starts_with('\t')) {
    content_type.remove_prefix(1);
  }
  while (content_type.ends_with(' ') || content_type.ends_with('\t')) content_type.remove_suffix(1);
  std::string out(content_type);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool is_json_type(std::string_view content_type) {
  const std::string media = media_type(content_type);
  return media.empty() || media == "application/json" || media == "text/json" ||
         media.ends_with("+json");
}

Result<void> validate(const Event& event, const Limits& limits) {
  if (event.specversion.empty()) return bad("specversion", "REQUIRED attribute is missing");
  if (event.specversion != "1.0" && event.specversion != "0.3") {
    return bad("specversion",
               "unknown version \"" + event.specversion.substr(0, 32) + "\", want 1.0 or 0.3");
  }
  if (event.extensions.size() > limits.max_extensions) {
    return Error(Code::ResourceExhausted,
                 "the event has " + std::to_string(event.extensions.size()) +
                     " extensions, the limit is " + std::to_string(limits.max_extensions));
  }
  if (const auto n = event.attribute_bytes(); n > limits.max_attribute_bytes) {
    return Error(Code::ResourceExhausted, "the event's attributes take " + std::to_string(n) +
                                              " bytes, the limit is " +
                                              std::to_string(limits.max_attribute_bytes));
  }
  if (event.data && event.data->size() > limits.max_data_bytes) {
    return Error(Code::ResourceExhausted,
                 "the event's data takes " + std::to_string(event.data->size()) +
                     " bytes, the limit is " + std::to_string(limits.max_data_bytes));
  }
  const struct {
    const char* name;
    const std::string& value;
    bool required;
  } attributes[] = {
      {"id", event.id, true},
      {"source", event.source, true},
      {"type", event.type, true},
      {"datacontenttype", event.datacontenttype, false},
      {event.specversion == "0.3" ? "schemaurl" : "dataschema", event.dataschema, false},
      {"subject", event.subject, false}};
  for (const auto& a : attributes) {
    if (a.required && a.value.empty()) return bad(a.name, "REQUIRED attribute is missing or empty");
    if (!valid_string(a.value)) {
      return bad(a.name, "is not UTF-8 text without control characters");
    }
  }
  if (!uri_reference(event.source)) return bad("source", "is not a URI-reference");
  if (!event.dataschema.empty() && !uri_reference(event.dataschema)) {
    return bad(attributes[4].name, "is not a URI");
  }
  if (!event.datacontenttype.empty()) {
    const std::string media = media_type(event.datacontenttype);
    const auto slash = media.find('/');
    const bool ascii = std::all_of(event.datacontenttype.begin(), event.datacontenttype.end(),
                                   [](char c) { return c >= 0x20 && c < 0x7f; });
    if (!ascii || !token(std::string_view(media).substr(0, slash)) ||
        (slash != std::string::npos && !token(std::string_view(media).substr(slash + 1)))) {
      return bad("datacontenttype", "is not a media type (RFC 2046)");
    }
  }
  if (!event.time.empty() && !parse_rfc3339(event.time)) {
    return bad("time", "is not an RFC 3339 timestamp");
  }
  if (!event.datacontentencoding.empty() &&
      (event.specversion != "0.3" || event.datacontentencoding != "base64")) {
    return bad("datacontentencoding", "only \"base64\" of specversion 0.3 is known");
  }
  for (const auto& e : event.extensions) {
    if (!valid_name(e.name)) {
      return bad("extension \"" + e.name.substr(0, 64) + "\"",
                 "attribute names consist of lower-case letters and digits");
    }
    if (reserved_name(e.name, event.specversion)) {
      return bad(e.name, "is a context attribute, not an extension");
    }
    if (!valid_string(e.value)) {
      return bad("extension " + e.name, "is not UTF-8 text without control characters");
    }
  }
  return {};
}

}  // namespace knit::events
