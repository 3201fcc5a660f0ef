#include "node/env.h"

#include <algorithm>

#include "base/hash.h"
#include "base/quantity.h"
#include "node/pod.h"

namespace knit::node {

namespace {

void add_unique(std::vector<std::string>& list, std::string_view name) {
  if (name.empty() || std::find(list.begin(), list.end(), name) != list.end()) return;
  list.emplace_back(name);
}

bool valid_env_name(std::string_view name) {
  if (name.empty()) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return c > ' ' && c != '=' && c < 127; });
}

class Environment {
 public:
  void set(std::string name, std::string value) {
    const auto [it, fresh] = values_.insert_or_assign(name, std::move(value));
    static_cast<void>(it);
    if (fresh) order_.push_back(std::move(name));
  }
  const std::map<std::string, std::string>& values() const { return values_; }
  std::vector<std::string> take() const {
    std::vector<std::string> out;
    for (const std::string& name : order_) out.push_back(name + "=" + values_.at(name));
    return out;
  }

 private:
  std::map<std::string, std::string> values_;
  std::vector<std::string> order_;
};

Error missing_object(const char* kind, std::string_view name) {
  return Error(Code::NotFound, std::string(kind) + " \"" + std::string(name) + "\" not found");
}

/// The value that a {configMap,secret}KeyRef names; nullopt when optional and absent.
Result<std::optional<std::string>> key_ref(const Json& ref, const char* kind,
                                           const std::map<std::string, Json>& objects,
                                           std::string_view ns) {
  const std::string name(json::str(ref, {"name"})), key(json::str(ref, {"key"}));
  const bool optional = json::boolean(ref, {"optional"});
  const auto it = objects.find(name);
  if (it == objects.end()) {
    if (optional) return std::optional<std::string>();
    return missing_object(std::string_view(kind) == "Secret" ? "secret" : "configmap", name);
  }
  auto content = content_of(it->second);
  const auto value = content.find(key);
  if (value == content.end()) {
    if (optional) return std::optional<std::string>();
    return Error(Code::NotFound,
                 "couldn't find key " + key + " in " + kind + " " + std::string(ns) + "/" + name);
  }
  return std::optional<std::string>(value->second);
}

}  // namespace

std::map<std::string, std::string> content_of(const Json& object) {
  std::map<std::string, std::string> out;
  const bool secret = json::str(object, {"kind"}) == "Secret";
  for (auto& [key, value] : json::string_map(object, {"data"})) {
    if (!secret) {
      out.emplace(std::move(key), std::move(value));
    } else if (auto raw = hash::decode_base64(value)) {
      out.emplace(std::move(key), std::move(*raw));
    }
  }
  for (auto& [key, value] : json::string_map(object, {"binaryData"})) {
    if (auto raw = hash::decode_base64(value)) out.emplace(std::move(key), std::move(*raw));
  }
  return out;
}

std::string expand(std::string_view text, const std::map<std::string, std::string>& values) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char next = text[i + 1];
    if (next == '$') {
      out += '$';
      ++i;
      continue;
    }
    const auto end = next == '(' ? text.find(')', i + 2) : std::string_view::npos;
    if (end == std::string_view::npos) {
      out += '$';
      out += next;
      ++i;
      continue;
    }
    const std::string name(text.substr(i + 2, end - i - 2));
    const auto it = values.find(name);
    out += it == values.end() ? "$(" + name + ")" : it->second;
    i = end;
  }
  return out;
}

Result<std::string> field_value(const Json& pod, std::string_view path, const PodFacts& facts) {
  for (const char* map : {"labels", "annotations"}) {
    const std::string prefix = "metadata." + std::string(map);
    if (path == prefix) {  // volumes only: every pair, quoted, one per line
      auto pairs = json::string_map(pod, {"metadata", map});
      std::sort(pairs.begin(), pairs.end());
      std::string out;
      for (const auto& [key, value] : pairs) {
        if (!out.empty()) out += '\n';
        out += key + "=" + json::print(Json(value));
      }
      return out;
    }
    if (path.starts_with(prefix + "['") && path.ends_with("']")) {
      const auto key = path.substr(prefix.size() + 2, path.size() - prefix.size() - 4);
      return std::string(json::str(pod, {"metadata", map, key}));
    }
  }
  if (path == "metadata.name") return std::string(name_of(pod));
  if (path == "metadata.namespace") return std::string(namespace_of(pod));
  if (path == "metadata.uid") return uid_of(pod);
  if (path == "spec.nodeName") return facts.node_name;
  if (path == "spec.serviceAccountName") {
    return std::string(json::str(pod, {"spec", "serviceAccountName"}, "default"));
  }
  if (path == "status.hostIP" || path == "status.hostIPs") return facts.host_ip;
  if (path == "status.podIP") return facts.ip;
  if (path == "status.podIPs") return facts.ip6.empty() ? facts.ip : facts.ip + "," + facts.ip6;
  return Error(Code::InvalidArgument, "unsupported fieldPath: " + std::string(path));
}

Result<std::string> resource_value(const Json& pod, const Json& container, const Json& ref,
                                   const PodFacts& facts) {
  const std::string_view what = json::str(ref, {"resource"});
  const std::string_view name = json::str(ref, {"containerName"});
  const Json* of = &container;
  for (const ContainerView& c : containers_of(pod)) {
    if (!name.empty() && c.name == name) of = c.json;
  }
  const auto dot = what.find('.');
  if (dot == std::string_view::npos) {
    return Error(Code::InvalidArgument, "unsupported resource: " + std::string(what));
  }
  const std::string_view kind = what.substr(0, dot), resource = what.substr(dot + 1);
  if ((kind != "limits" && kind != "requests") ||
      (resource != "cpu" && resource != "memory" && resource != "ephemeral-storage")) {
    return Error(Code::InvalidArgument, "unsupported resource: " + std::string(what));
  }
  auto amount = resource_of(*of, kind, resource);
  if (!amount && kind == "requests") amount = resource_of(*of, "limits", resource);
  if (!amount) {
    amount = kind == "requests" ? 0 : resource == "cpu" ? facts.node_cpu_milli : facts.node_memory;
  }
  const Json* given = json::find(ref, "divisor");
  std::int64_t divisor = resource == "cpu" ? 1000 : 1;
  if (given != nullptr) {
    const auto q =
        Quantity::parse(given->is_string() ? std::string(given->as_string()) : json::print(*given));
    if (!q) return q.error();
    if (!q->zero()) divisor = resource == "cpu" ? q->milli() : q->value();
  }
  if (divisor <= 0) return Error(Code::InvalidArgument, "the divisor is not positive");
  return std::to_string(*amount / divisor + (*amount % divisor > 0 ? 1 : 0));
}

Result<std::vector<std::string>> container_env(const Json& pod, const Json& container,
                                               const std::vector<std::string>& image_env,
                                               const Objects& objects, const PodFacts& facts) {
  Environment image, own;
  const std::string_view ns = namespace_of(pod);
  if (!facts.kubernetes_host.empty()) {
    const std::string& host = facts.kubernetes_host;
    own.set("KUBERNETES_SERVICE_HOST", host);
    own.set("KUBERNETES_SERVICE_PORT", "443");
    own.set("KUBERNETES_SERVICE_PORT_HTTPS", "443");
    own.set("KUBERNETES_PORT", "tcp://" + host + ":443");
    own.set("KUBERNETES_PORT_443_TCP", "tcp://" + host + ":443");
    own.set("KUBERNETES_PORT_443_TCP_PROTO", "tcp");
    own.set("KUBERNETES_PORT_443_TCP_PORT", "443");
    own.set("KUBERNETES_PORT_443_TCP_ADDR", host);
  }
  for (const Json& from : json::array(container, {"envFrom"})) {
    const std::string prefix(json::str(from, {"prefix"}));
    const bool secret = json::find(from, "secretRef") != nullptr;
    const Json* ref = json::find(from, secret ? "secretRef" : "configMapRef");
    if (ref == nullptr) continue;
    const auto& map = secret ? objects.secrets : objects.configmaps;
    const std::string name(json::str(*ref, {"name"}));
    const auto it = map.find(name);
    if (it == map.end()) {
      if (json::boolean(*ref, {"optional"})) continue;
      return missing_object(secret ? "secret" : "configmap", name);
    }
    for (const auto& [key, value] : content_of(it->second)) {
      if (valid_env_name(prefix + key)) own.set(prefix + key, value);
    }
  }
  for (const Json& e : json::array(container, {"env"})) {
    const std::string name(json::str(e, {"name"}));
    if (!valid_env_name(name)) continue;
    const Json* from = json::find(e, "valueFrom");
    if (from == nullptr || from->is_null()) {
      own.set(name, expand(json::str(e, {"value"}), own.values()));
      continue;
    }
    if (const Json* ref = json::find(*from, "fieldRef")) {
      KNIT_TRY(std::string value, field_value(pod, json::str(*ref, {"fieldPath"}), facts));
      own.set(name, std::move(value));
    } else if (const Json* res = json::find(*from, "resourceFieldRef")) {
      KNIT_TRY(std::string value, resource_value(pod, container, *res, facts));
      own.set(name, std::move(value));
    } else if (const Json* cm = json::find(*from, "configMapKeyRef")) {
      KNIT_TRY(auto value, key_ref(*cm, "ConfigMap", objects.configmaps, ns));
      if (value) own.set(name, std::move(*value));
    } else if (const Json* sec = json::find(*from, "secretKeyRef")) {
      KNIT_TRY(auto value, key_ref(*sec, "Secret", objects.secrets, ns));
      if (value) own.set(name, std::move(*value));
    } else {
      return Error(Code::InvalidArgument, "env " + name + " has an unsupported valueFrom");
    }
  }
  for (const std::string& e : image_env) {
    const auto equals = e.find('=');
    if (equals != std::string::npos) image.set(e.substr(0, equals), e.substr(equals + 1));
  }
  if (!image.values().contains("PATH")) {
    image.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  }
  image.set("HOSTNAME", hostname_of(pod));
  for (const std::string& e : own.take()) {
    const auto equals = e.find('=');
    image.set(e.substr(0, equals), e.substr(equals + 1));
  }
  return image.take();
}

std::vector<std::string> container_args(const Json& container,
                                        const std::vector<std::string>& image_entrypoint,
                                        const std::vector<std::string>& image_cmd,
                                        const std::vector<std::string>& env) {
  std::map<std::string, std::string> values;
  for (const std::string& e : env) {
    const auto equals = e.find('=');
    values.emplace(e.substr(0, equals), e.substr(equals + 1));
  }
  std::vector<std::string> command, args;
  for (const Json& v : json::array(container, {"command"})) {
    if (v.is_string()) command.push_back(expand(std::string_view(v.as_string()), values));
  }
  for (const Json& v : json::array(container, {"args"})) {
    if (v.is_string()) args.push_back(expand(std::string_view(v.as_string()), values));
  }
  // Source: kubernetes docs, "command and arguments": command replaces both of the image's.
  std::vector<std::string> out = command.empty() ? image_entrypoint : command;
  const std::vector<std::string>& rest = !args.empty()     ? args
                                         : command.empty() ? image_cmd
                                                           : std::vector<std::string>();
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

Needs needs_of(const Json& pod) {
  Needs out;
  for (const ContainerView& c : containers_of(pod)) {
    if (!c.role.empty()) continue;
    for (const Json& from : json::array(*c.json, {"envFrom"})) {
      add_unique(out.configmaps, json::str(from, {"configMapRef", "name"}));
      add_unique(out.secrets, json::str(from, {"secretRef", "name"}));
    }
    for (const Json& e : json::array(*c.json, {"env"})) {
      add_unique(out.configmaps, json::str(e, {"valueFrom", "configMapKeyRef", "name"}));
      add_unique(out.secrets, json::str(e, {"valueFrom", "secretKeyRef", "name"}));
    }
  }
  const auto source = [&](const Json& s) {
    add_unique(out.configmaps, json::str(s, {"configMap", "name"}));
    add_unique(out.secrets, json::str(s, {"secret", "secretName"}));
    add_unique(out.secrets, json::str(s, {"secret", "name"}));
  };
  for (const Json& v : json::array(pod, {"spec", "volumes"})) {
    source(v);
    for (const Json& s : json::array(v, {"projected", "sources"})) source(s);
  }
  return out;
}

}  // namespace knit::node
