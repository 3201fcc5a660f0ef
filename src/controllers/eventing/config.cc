#include "controllers/eventing/config.h"

#include "base/yaml.h"
#include "kube/schema/eventing_config.h"
#include "kube/selector.h"

namespace knit::eventing {
namespace {
/// A YAML document inside a ConfigMap; null JSON when the key is absent.
Result<Json> document(const serving::StringMap& data, std::string_view map, std::string_view key) {
  const auto text = serving::value_of(data, key);
  if (text.empty()) return Json();
  auto parsed = yaml::parse_one(text);
  if (!parsed) {
    return Error(Code::InvalidArgument, "ConfigMap " + std::string(kNamespace) + "/" +
                                            std::string(map) + ", key " + std::string(key) + ": " +
                                            parsed.error().message());
  }
  return parsed;
}

}  // namespace

serving::StringMap config_data(const World& world, std::string_view name) {
  serving::StringMap out;
  const Json map = world.view({res::configmaps(), std::string(kNamespace), std::string(name)});
  for (auto& [k, v] : json::string_map(map, {"data"})) out[k] = v;
  return out;
}

bool feature(const World& world, std::string_view name) {
  const auto data = config_data(world, "config-features");
  const auto it = data.find(name);
  if (it == data.end()) return name == "delivery-timeout";
  std::string value;
  for (const char c : it->second) {
    if (c != ' ' && c != '\n') value += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  }
  return value == "enabled";
}

Result<Json> broker_channel_template(const World& world, const Json& config_reference,
                                     std::string_view broker_namespace) {
  if (json::str(config_reference, {"kind"}) != "ConfigMap" ||
      json::str(config_reference, {"apiVersion"}) != "v1") {
    return Error(Code::InvalidArgument,
                 "Broker.Spec.Config configuration not supported, only [kind: ConfigMap, "
                 "apiVersion: v1]");
  }
  std::string ns(json::str(config_reference, {"namespace"}, broker_namespace));
  const std::string name(json::str(config_reference, {"name"}));
  const Json map = world.view({res::configmaps(), ns, name});
  if (map.is_null()) {
    return Error(Code::NotFound, "configmap \"" + name + "\" not found");
  }
  auto parsed = yaml::parse_one(json::str(map, {"data", "channel-template-spec"}));
  if (!parsed || json::str(*parsed, {"kind"}).empty()) {
    return Error(Code::InvalidArgument, "ConfigMap " + ns + "/" + name +
                                            ", key channel-template-spec: apiVersion and kind of "
                                            "a channel are needed");
  }
  return parsed;
}

Result<Json> default_channel_template(const World& world, std::string_view ns) {
  const auto data = config_data(world, "default-ch-webhook");
  return schema::default_channel(serving::value_of(data, "default-ch-config"), ns);
}

bool sugar_selects(const World& world, std::string_view key, const Json& object) {
  const auto data = config_data(world, "config-sugar");
  const auto selector = document(data, "config-sugar", key);
  return selector && selects(&*selector, object);
}

bool selects(const Json* selector, const Json& object) {
  const auto parsed = kube::LabelSelector::from_object(selector);
  return parsed && parsed->matches_object(object);
}

}  // namespace knit::eventing
