#include "kube/schema/eventing_config.h"

#include "base/yaml.h"

namespace knit::schema {
namespace {
using json::find;
using json::str;

Result<Json> parse_document(std::string_view text, std::string_view key) {
  if (text.empty()) return Json();
  auto parsed = yaml::parse_one(text);
  if (!parsed) {
    return Error(Code::InvalidArgument,
                 "key " + std::string(key) + ": " + parsed.error().message());
  }
  return parsed;
}

bool names_config(const Json* scope) { return scope != nullptr && !str(*scope, {"name"}).empty(); }

/// The scope that holds config and delivery for a class ("": the default one), or nullptr.
const Json* broker_scope(const Json& root, std::string_view ns, std::string_view klass) {
  const Json* own = find(root, {"namespaceDefaults", ns});
  if (own != nullptr && own->is_object()) {
    const auto default_class = str(*own, {"brokerClass"});
    const auto wanted = klass.empty() ? default_class : klass;
    if (!wanted.empty()) {
      if (default_class == wanted && names_config(own)) return own;
      if (const Json* c = find(*own, {"brokerClasses", wanted}); default_class != wanted && c) {
        return c;
      }
      klass = wanted;
    }
  }
  const Json* all = find(root, "clusterDefault");
  if (!names_config(all)) return nullptr;
  if (!klass.empty() && str(*all, {"brokerClass"}) != klass) {
    if (const Json* c = find(*all, {"brokerClasses", klass})) return c;
  }
  return all;
}
}  // namespace

Result<BrokerDefaults> broker_defaults(std::string_view document, std::string_view ns,
                                       std::string_view broker_class) {
  BrokerDefaults out;
  KNIT_TRY(const Json root, parse_document(document, "default-br-config"));
  const Json* own = find(root, {"namespaceDefaults", ns});
  const Json* all = find(root, "clusterDefault");
  for (const Json* scope : {own, all}) {
    if (scope == nullptr) continue;
    if (const auto c = str(*scope, {"brokerClass"}); !c.empty()) {
      out.broker_class = c;
      break;
    }
  }
  const Json* limits = own != nullptr ? own : all;
  out.same_namespace_only =
      limits != nullptr && json::boolean(*limits, {"disallowDifferentNamespaceConfig"});
  const Json* source = broker_scope(root, ns, broker_class);
  if (source == nullptr) return out;
  if (names_config(source)) {
    out.config = JsonObject();
    for (const auto field : {"apiVersion", "kind", "name", "namespace"}) {
      if (const auto v = str(*source, {field}); !v.empty()) json::set(out.config, {field}, Json(v));
    }
  }
  // Upstream copies these four only; timeout, retryAfterMax and format of the map are lost.
  if (const Json* delivery = find(*source, "delivery"); delivery != nullptr) {
    out.delivery = JsonObject();
    for (const auto field : {"deadLetterSink", "retry", "backoffPolicy", "backoffDelay"}) {
      if (const Json* v = find(*delivery, field)) json::set(out.delivery, {field}, *v);
    }
  }
  return out;
}

Result<Json> default_channel(std::string_view document, std::string_view ns) {
  KNIT_TRY(const Json root, parse_document(document, "default-ch-config"));
  const Json* chosen = find(root, {"namespaceDefaults", ns});
  if (chosen == nullptr) chosen = find(root, "clusterDefault");
  Json out = JsonObject();
  const bool named = chosen != nullptr && !str(*chosen, {"kind"}).empty();
  json::set(out, {"apiVersion"},
            Json(named ? str(*chosen, {"apiVersion"}) : "messaging.knative.dev/v1"));
  json::set(out, {"kind"}, Json(named ? str(*chosen, {"kind"}) : "InMemoryChannel"));
  if (const Json* spec = named ? find(*chosen, "spec") : nullptr; spec && spec->is_object()) {
    json::set(out, {"spec"}, *spec);
  }
  return out;
}

}  // namespace knit::schema
