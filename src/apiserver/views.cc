#include "apiserver/views.h"

#include "http/h1.h"
#include "kube/resources.h"

namespace knit::apiserver {
namespace {

using kube::Object;

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

/// Splits at `separator`; calls `f(part)` until it returns false.
template <class F>
void split(std::string_view s, char separator, F f) {
  while (true) {
    const std::size_t end = s.find(separator);
    if (!f(trim(s.substr(0, end))) || end == std::string_view::npos) return;
    s.remove_prefix(end + 1);
  }
}

struct MediaRange {
  std::string_view type;
  std::vector<std::pair<std::string_view, std::string_view>> parameters;
  std::string_view get(std::string_view name) const {
    for (const auto& [n, v] : parameters) {
      if (n == name) return v;
    }
    return {};
  }
};

MediaRange parse_range(std::string_view text) {
  MediaRange out;
  bool first = true;
  split(text, ';', [&](std::string_view part) {
    if (first) {
      out.type = part;
      first = false;
      return true;
    }
    const std::size_t equals = part.find('=');
    out.parameters.emplace_back(part.substr(0, equals), equals == std::string_view::npos
                                                            ? std::string_view()
                                                            : part.substr(equals + 1));
    return true;
  });
  return out;
}

std::optional<Accepted> accept_range(const MediaRange& range) {
  Accepted out;
  if (range.type == "*/*" || range.type == "application/*") return out;
  if (range.type != "application/json") return std::nullopt;
  const std::string_view as = range.get("as");
  if (as.empty()) return out;
  if (as == "APIGroupDiscoveryList") {
    if (range.get("g") != "apidiscovery.k8s.io" || range.get("v") != "v2") return std::nullopt;
    out.form = Form::Discovery;
    return out;
  }
  if (range.get("g") != "meta.k8s.io") return std::nullopt;
  out.version = range.get("v");
  if (out.version != "v1" && out.version != "v1beta1") return std::nullopt;
  if (as == "Table") {
    out.form = Form::Table;
  } else if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") {
    out.form = Form::Metadata;
  } else {
    return std::nullopt;
  }
  return out;
}

/// The end of the JSON value that starts at `at` in canonical text.
std::size_t value_end(std::string_view s, std::size_t at) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = at; i < s.size(); ++i) {
    const char c = s[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
        if (depth == 0) return i + 1;
      }
      continue;
    }
    if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return i;
      if (--depth == 0) return i + 1;
    } else if (c == ',' && depth == 0) {
      return i;
    }
  }
  return s.size();
}

/// Copies an object's canonical text without its apiVersion and kind (list items of built-ins).
void append_item(std::string& out, std::string_view bytes) {
  out += '{';
  bool first = true;
  std::size_t at = 1;
  while (at < bytes.size() && bytes[at] != '}') {
    const std::size_t key_end = value_end(bytes, at);
    const std::string_view key = bytes.substr(at, key_end - at);
    const std::size_t end = value_end(bytes, key_end + 1);
    if (key != "\"apiVersion\"" && key != "\"kind\"") {
      if (!first) out += ',';
      first = false;
      out += bytes.substr(at, end - at);
    }
    at = end;
    if (at < bytes.size() && bytes[at] == ',') ++at;
  }
  out += '}';
}

bool is_foreign_event(const schema::Kind& kind) {
  return kind.group == "events.k8s.io" && kind.plural == "events";
}

JsonObject partial(const View& view, const Json& object) {
  JsonObject out{{"kind", "PartialObjectMetadata"},
                 {"apiVersion", text("meta.k8s.io/" + view.accepted.version)}};
  const Json* metadata = json::find(object, "metadata");
  out["metadata"] = metadata == nullptr ? Json(JsonObject()) : *metadata;
  return out;
}

JsonObject table_row(const View& view, const Object& object) {
  Json dom = object.parse();
  if (is_foreign_event(*view.kind)) dom = event_from_core(std::move(dom));
  schema::Row row = schema::table_row(*view.kind, dom, view.now);
  JsonObject out{{"cells", std::move(row.cells)}};
  if (!row.conditions.empty()) out["conditions"] = std::move(row.conditions);
  if (view.include == View::Include::Object) {
    out["object"] = full_dom(view, std::move(dom));
  } else if (view.include == View::Include::Metadata) {
    out["object"] = partial(view, dom);
  }
  return out;
}

JsonObject table(const View& view, JsonArray rows, bool columns, JsonObject meta) {
  JsonObject out{{"kind", "Table"},
                 {"apiVersion", text("meta.k8s.io/" + view.accepted.version)},
                 {"metadata", std::move(meta)}};
  out["columnDefinitions"] = columns ? Json(schema::column_definitions(*view.kind)) : Json();
  out["rows"] = std::move(rows);
  return out;
}

JsonObject list_meta(const ListMeta& meta) {
  JsonObject out{{"resourceVersion", text(std::to_string(meta.version))}};
  if (!meta.next.empty()) out["continue"] = text(meta.next);
  if (meta.remaining) out["remainingItemCount"] = *meta.remaining;
  return out;
}

}  // namespace

std::optional<Accepted> negotiate(const http::Request& request) {
  std::optional<Accepted> out;
  const std::string_view accept = request.headers.get("Accept");
  if (trim(accept).empty()) {
    out = Accepted{};
  } else {
    split(accept, ',', [&](std::string_view part) {
      out = accept_range(parse_range(part));
      return !out;
    });
  }
  if (!out) return out;
  const std::string_view agent = request.headers.get("User-Agent");
  if (request.query.has("pretty")) {
    const std::string_view v = request.query.get("pretty");
    out->pretty = v != "0" && v != "false";
  } else {
    out->pretty =
        agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla/5.0");
  }
  return out;
}

Status not_acceptable() {
  return {
      406, "NotAcceptable", "only the following media types are accepted: application/json", {}};
}

kube::Resource stored_resource(const schema::Kind& kind) {
  return is_foreign_event(kind) ? kube::res::events() : kind.resource;
}

std::string full_bytes(const View& view, const Object& object) {
  const schema::Kind& kind = *view.kind;
  if (is_foreign_event(kind)) return json::canonical(event_from_core(object.parse()));
  if (view.version == kind.storage_version) return object.bytes();
  // Versions of one kind differ in their name only; canonical text starts with it.
  const std::string stored = "{\"apiVersion\":\"" + kind.api_version(kind.storage_version) + "\"";
  if (object.bytes().compare(0, stored.size(), stored) != 0) {
    return json::canonical(full_dom(view, object.parse()));
  }
  return "{\"apiVersion\":\"" + kind.api_version(view.version) + "\"" +
         object.bytes().substr(stored.size());
}

Json full_dom(const View& view, Json object) {
  if (is_foreign_event(*view.kind)) return event_from_core(std::move(object));
  json::set(object, {"apiVersion"}, text(view.kind->api_version(view.version)));
  return object;
}

std::string encode_object(const View& view, const Object& object) {
  switch (view.accepted.form) {
    case Form::Table: {
      JsonObject meta{{"resourceVersion", text(std::to_string(object.version()))}};
      return json::print(table(view, JsonArray{table_row(view, object)}, true, std::move(meta)));
    }
    case Form::Metadata:
      return json::print(partial(view, object.parse()));
    default:
      return full_bytes(view, object);
  }
}

std::string encode_list(const View& view, const std::vector<kube::ObjectPtr>& objects,
                        const ListMeta& meta) {
  if (view.accepted.form == Form::Table) {
    JsonArray rows;
    rows.reserve(objects.size());
    for (const auto& o : objects) rows.push_back(table_row(view, *o));
    return json::print(table(view, std::move(rows), true, list_meta(meta)));
  }
  const bool metadata = view.accepted.form == Form::Metadata;
  std::string out = "{\"kind\":\"";
  out += metadata ? "PartialObjectMetadataList" : std::string(view.kind->list_kind);
  out += "\",\"apiVersion\":\"";
  out += metadata ? "meta.k8s.io/" + view.accepted.version : view.kind->api_version(view.version);
  out += "\",\"metadata\":" + json::print(list_meta(meta)) + ",\"items\":[";
  bool first = true;
  for (const auto& o : objects) {
    if (!first) out += ',';
    first = false;
    if (metadata) {
      out += json::print(partial(view, o->parse()));
    } else if (view.kind->custom) {
      out += full_bytes(view, *o);
    } else if (is_foreign_event(*view.kind)) {
      append_item(out, full_bytes(view, *o));
    } else {
      append_item(out, o->bytes());
    }
  }
  return out + "]}";
}

std::string encode_event(const View& view, std::string_view type, const Object& object,
                         bool columns) {
  std::string out = "{\"type\":\"" + std::string(type) + "\",\"object\":";
  switch (view.accepted.form) {
    case Form::Table: {
      JsonObject meta{{"resourceVersion", text(std::to_string(object.version()))}};
      out += json::print(table(view, JsonArray{table_row(view, object)}, columns, std::move(meta)));
      break;
    }
    case Form::Metadata:
      out += json::print(partial(view, object.parse()));
      break;
    default:
      out += full_bytes(view, object);
  }
  return out + "}\n";
}

std::string encode_bookmark(const View& view, std::uint64_t version, bool initial_end) {
  JsonObject meta{{"resourceVersion", text(std::to_string(version))},
                  {"creationTimestamp", nullptr}};
  if (initial_end) meta["annotations"] = JsonObject{{"k8s.io/initial-events-end", "true"}};
  JsonObject object;
  if (view.accepted.form == Form::Table) {
    JsonObject inner{{"kind", "PartialObjectMetadata"},
                     {"apiVersion", text("meta.k8s.io/" + view.accepted.version)},
                     {"metadata", meta}};
    JsonArray cells;
    JsonArray rows{JsonObject{{"cells", std::move(cells)}, {"object", std::move(inner)}}};
    object = table(view, std::move(rows), false,
                   JsonObject{{"resourceVersion", text(std::to_string(version))}});
  } else if (view.accepted.form == Form::Metadata) {
    object = {{"kind", "PartialObjectMetadata"},
              {"apiVersion", text("meta.k8s.io/" + view.accepted.version)},
              {"metadata", std::move(meta)}};
  } else {
    object = {{"kind", text(view.kind->kind)},
              {"apiVersion", text(view.kind->api_version(view.version))},
              {"metadata", std::move(meta)}};
  }
  return json::print(JsonObject{{"type", "BOOKMARK"}, {"object", std::move(object)}}) + "\n";
}

std::string encode_error_event(const Status& status) {
  return json::print(JsonObject{{"type", "ERROR"}, {"object", to_json(status)}}) + "\n";
}

// ---------------------------------------------------------------- events.k8s.io

namespace {
void move_field(Json& object, std::string_view from, std::string_view to) {
  auto* o = object.if_object();
  if (o == nullptr) return;
  const auto it = o->find(from);
  if (it == o->end()) return;
  Json value = std::move(it->value());
  o->erase(from);
  (*o)[to] = std::move(value);
}
}  // namespace

/// Source: kubernetes pkg/apis/events/v1/conversion.go
Json event_to_core(Json event) {
  json::set(event, {"apiVersion"}, "v1");
  move_field(event, "regarding", "involvedObject");
  move_field(event, "note", "message");
  move_field(event, "reportingController", "reportingComponent");
  move_field(event, "deprecatedSource", "source");
  move_field(event, "deprecatedFirstTimestamp", "firstTimestamp");
  move_field(event, "deprecatedLastTimestamp", "lastTimestamp");
  move_field(event, "deprecatedCount", "count");
  return event;
}
Json event_from_core(Json event) {
  json::set(event, {"apiVersion"}, "events.k8s.io/v1");
  move_field(event, "involvedObject", "regarding");
  move_field(event, "message", "note");
  move_field(event, "reportingComponent", "reportingController");
  move_field(event, "source", "deprecatedSource");
  move_field(event, "firstTimestamp", "deprecatedFirstTimestamp");
  move_field(event, "lastTimestamp", "deprecatedLastTimestamp");
  move_field(event, "count", "deprecatedCount");
  return event;
}

// ---------------------------------------------------------------- filters

bool Filter::matches(const Object& object) const {
  if (never) return false;
  if (!ns.empty() && object.key().ns != ns) return false;
  if (!name.empty() && object.key().name != name) return false;
  if (!labels.matches(object.labels())) return false;
  if (fields.empty()) return true;
  const Json dom = object.parse();
  for (const kube::FieldTerm& term : fields) {
    std::string value;
    if (term.label == "metadata.name") {
      value = object.key().name;
    } else if (term.label == "metadata.namespace") {
      value = object.key().ns;
    } else {
      value = schema::field_value(*kind, dom, term.label).value_or(std::string());
    }
    if ((value == term.value) != term.equal) return false;
  }
  return true;
}

FilterResult make_filter(const schema::Kind& kind, std::string_view ns, std::string_view label,
                         std::string_view field) {
  FilterResult out;
  Filter& filter = out.filter;
  filter.kind = &kind;
  filter.ns = ns;
  auto labels = kube::LabelSelector::parse(label);
  if (!labels) {
    out.failure = bad_request_status(labels.error().message());
    return out;
  }
  filter.labels = std::move(*labels);
  auto terms = kube::parse_field_selector(field);
  if (!terms) {
    out.failure = bad_request_status(terms.error().message());
    return out;
  }
  const auto supported = schema::field_labels(kind);
  for (kube::FieldTerm& term : *terms) {
    const bool general = term.label == "metadata.name" || term.label == "metadata.namespace";
    if (!general && std::find(supported.begin(), supported.end(), term.label) == supported.end()) {
      out.failure = bad_request_status("field label not supported: " + term.label);
      return out;
    }
    std::string* slot = !term.equal                          ? nullptr
                        : term.label == "metadata.name"      ? &filter.name
                        : term.label == "metadata.namespace" ? &filter.ns
                                                             : nullptr;
    if (slot == nullptr || term.value.empty()) {
      filter.fields.push_back(std::move(term));
    } else if (slot->empty() || *slot == term.value) {
      *slot = term.value;
    } else {
      filter.never = true;
    }
  }
  return out;
}

}  // namespace knit::apiserver
