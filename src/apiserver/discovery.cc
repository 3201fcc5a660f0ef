#include "apiserver/discovery.h"

#include "apiserver/request_info.h"
#include "apiserver/status.h"

namespace knit::apiserver {
namespace {

using schema::Kind;

/// "v1" before "v2beta1" before "v1beta1" before "v1alpha1"; GA first, larger numbers first.
/// Source: apimachinery pkg/version/helpers.go CompareKubeAwareVersionStrings
struct VersionRank {
  int stability = 0, major = 0, minor = 0;
  auto operator<=>(const VersionRank&) const = default;
};
VersionRank rank(std::string_view v) {
  VersionRank r;
  std::size_t i = 1;
  const auto number = [&] {
    int n = 0;
    while (i < v.size() && v[i] >= '0' && v[i] <= '9') n = n * 10 + (v[i++] - '0');
    return n;
  };
  r.major = number();
  if (i == v.size()) {
    r.stability = 3;
  } else if (v.substr(i).starts_with("beta")) {
    r.stability = 2;
    i += 4;
    r.minor = number();
  } else {
    r.stability = 1;
    i += 5;
    r.minor = number();
  }
  return r;
}

struct Group {
  std::string_view name;
  bool custom = false;
  std::size_t number = 0;                  // in the tables
  std::vector<std::string_view> versions;  // preferred first
};

bool listed(const Kind& kind) { return kind.stored || !kind.verbs.empty(); }

std::vector<Group> groups(bool core) {
  std::vector<Group> out;
  for (const Kind& kind : schema::Registry::get().kinds()) {
    if (kind.group.empty() != core || !listed(kind)) continue;
    auto it =
        std::find_if(out.begin(), out.end(), [&](const Group& g) { return g.name == kind.group; });
    if (it == out.end()) {
      out.push_back({kind.group, kind.custom, out.size(), {}});
      it = std::prev(out.end());
    }
    for (const auto v : kind.versions) {
      if (std::find(it->versions.begin(), it->versions.end(), v) == it->versions.end()) {
        it->versions.push_back(v);
      }
    }
  }
  // A short name that several groups have (pa, routes) means the first group's kind: built-in
  // groups in their own order, OpenShift's aggregated API (priority 9900), then custom resources
  // (1000), by name. Source: kube-aggregator pkg/controllers/autoregister, apiserver
  // pkg/endpoints/discovery DIFFERS: networking.istio.io before gateway.networking.k8s.io: `oc get
  // gateway` means Istio's.
  const auto order = [](const Group& g) {
    const int rank = !g.custom ? 0 : g.name == "route.openshift.io" ? 1 : 2;
    const bool gateway_api = g.name == "gateway.networking.k8s.io";
    return std::tuple(rank, rank == 0 ? g.number : 0, gateway_api, g.name);
  };
  std::sort(out.begin(), out.end(),
            [&](const Group& a, const Group& b) { return order(a) < order(b); });
  for (Group& g : out) {
    std::sort(g.versions.begin(), g.versions.end(),
              [](std::string_view a, std::string_view b) { return rank(a) > rank(b); });
  }
  return out;
}

JsonArray texts(const std::vector<std::string_view>& list) {
  JsonArray out;
  for (const auto s : list) out.push_back(text(s));
  return out;
}

struct Sub {
  std::string_view name, group, version, kind;
  std::vector<std::string_view> verbs;
};
/// An empty kind is the parent's.
std::optional<Sub> subresource(std::string_view name) {
  if (name == "status") return Sub{name, {}, {}, {}, {"get", "patch", "update"}};
  if (name == "scale") return Sub{name, "autoscaling", "v1", "Scale", {"get", "patch", "update"}};
  if (name == "log") return Sub{name, {}, {}, {}, {"get"}};
  if (name == "finalize") return Sub{name, {}, {}, {}, {"update"}};
  if (name == "eviction") return Sub{name, "policy", "v1", "Eviction", {"create"}};
  if (name == "token") {
    return Sub{name, "authentication.k8s.io", "v1", "TokenRequest", {"create"}};
  }
  return std::nullopt;
}

JsonArray resource_list(std::string_view group, std::string_view version) {
  JsonArray out;
  for (const Kind& kind : schema::Registry::get().kinds()) {
    if (kind.group != group || !kind.serves(version) || !listed(kind)) continue;
    JsonObject r{{"name", text(kind.plural)},
                 {"singularName", text(kind.singular)},
                 {"namespaced", kind.namespaced},
                 {"kind", text(kind.kind)},
                 {"verbs", texts(kind.verbs)}};
    if (!kind.short_names.empty()) r["shortNames"] = texts(kind.short_names);
    if (!kind.categories.empty()) r["categories"] = texts(kind.categories);
    out.push_back(std::move(r));
    for (const auto name : kind.subresources) {
      const auto sub = subresource(name);
      if (!sub) continue;
      JsonObject s{{"name", text(std::string(kind.plural) + "/" + std::string(name))},
                   {"singularName", ""},
                   {"namespaced", kind.namespaced}};
      if (!sub->kind.empty()) {
        s["group"] = text(sub->group);
        s["version"] = text(sub->version);
      }
      s["kind"] = text(sub->kind.empty() ? kind.kind : sub->kind);
      s["verbs"] = texts(sub->verbs);
      out.push_back(std::move(s));
    }
  }
  return out;
}

JsonObject group_document(const Group& g) {
  JsonArray versions;
  for (const auto v : g.versions) {
    versions.push_back(JsonObject{
        {"groupVersion", text(std::string(g.name) + "/" + std::string(v))}, {"version", text(v)}});
  }
  JsonObject out{{"name", text(g.name)}, {"versions", versions}};
  out["preferredVersion"] = versions.front();
  return out;
}

JsonObject response_kind(std::string_view group, std::string_view version, std::string_view kind) {
  return {{"group", text(group)}, {"version", text(version)}, {"kind", text(kind)}};
}

JsonArray aggregated_resources(std::string_view group, std::string_view version) {
  JsonArray out;
  for (const Kind& kind : schema::Registry::get().kinds()) {
    if (kind.group != group || !kind.serves(version) || !listed(kind)) continue;
    JsonObject r{{"resource", text(kind.plural)},
                 {"responseKind", response_kind(group, version, kind.kind)},
                 {"scope", kind.namespaced ? "Namespaced" : "Cluster"},
                 {"singularResource", text(kind.singular)},
                 {"verbs", texts(kind.verbs)}};
    if (!kind.short_names.empty()) r["shortNames"] = texts(kind.short_names);
    if (!kind.categories.empty()) r["categories"] = texts(kind.categories);
    JsonArray subs;
    for (const auto name : kind.subresources) {
      const auto sub = subresource(name);
      if (!sub) continue;
      subs.push_back(JsonObject{
          {"subresource", text(name)},
          {"responseKind", sub->kind.empty() ? response_kind(group, version, kind.kind)
                                             : response_kind(sub->group, sub->version, sub->kind)},
          {"verbs", texts(sub->verbs)}});
    }
    if (!subs.empty()) r["subresources"] = std::move(subs);
    out.push_back(std::move(r));
  }
  return out;
}

}  // namespace

std::optional<Json> legacy_discovery(std::string_view path, std::string_view server_address) {
  const auto parts = path_parts(path);
  if (parts.size() == 1 && parts[0] == "api") {
    JsonArray addresses{
        JsonObject{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", text(server_address)}}};
    return JsonObject{{"kind", "APIVersions"},
                      {"versions", JsonArray{"v1"}},
                      {"serverAddressByClientCIDRs", std::move(addresses)}};
  }
  if (parts.size() == 1 && parts[0] == "apis") {
    JsonArray list;
    for (const Group& g : groups(false)) list.push_back(group_document(g));
    return JsonObject{{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(list)}};
  }
  if (parts.size() == 2 && parts[0] == "api") {
    if (parts[1] != "v1") return std::nullopt;
    return JsonObject{{"kind", "APIResourceList"},
                      {"groupVersion", "v1"},
                      {"resources", resource_list("", "v1")}};
  }
  if (parts.size() < 2 || parts[0] != "apis") return std::nullopt;
  for (const Group& g : groups(false)) {
    if (g.name != parts[1]) continue;
    if (parts.size() == 2) {
      JsonObject out{{"kind", "APIGroup"}, {"apiVersion", "v1"}};
      JsonObject document = group_document(g);
      for (auto& [key, value] : document) out[key] = value;
      return out;
    }
    if (parts.size() != 3 ||
        std::find(g.versions.begin(), g.versions.end(), parts[2]) == g.versions.end()) {
      return std::nullopt;
    }
    return JsonObject{{"kind", "APIResourceList"},
                      {"apiVersion", "v1"},
                      {"groupVersion", text(parts[1] + "/" + parts[2])},
                      {"resources", resource_list(g.name, parts[2])}};
  }
  return std::nullopt;
}

Json aggregated_discovery(bool core) {
  JsonArray items;
  for (const Group& g : groups(core)) {
    JsonArray versions;
    for (const auto v : g.versions) {
      versions.push_back(JsonObject{{"version", text(v)},
                                    {"resources", aggregated_resources(g.name, v)},
                                    {"freshness", "Current"}});
    }
    JsonObject meta;
    if (!g.name.empty()) meta["name"] = text(g.name);
    meta["creationTimestamp"] = nullptr;
    items.push_back(JsonObject{{"metadata", std::move(meta)}, {"versions", std::move(versions)}});
  }
  return JsonObject{{"kind", "APIGroupDiscoveryList"},
                    {"apiVersion", "apidiscovery.k8s.io/v2"},
                    {"metadata", JsonObject()},
                    {"items", std::move(items)}};
}

Json version_document(std::string_view git_version) {
  return JsonObject{{"major", "1"},
                    {"minor", "35"},
                    {"emulationMajor", "1"},
                    {"emulationMinor", "35"},
                    {"minCompatibilityMajor", "1"},
                    {"minCompatibilityMinor", "34"},
                    {"gitVersion", text(git_version)},
                    {"gitCommit", ""},
                    {"gitTreeState", "clean"},
                    {"buildDate", "1970-01-01T00:00:00Z"},
                    {"goVersion", ""},
                    {"compiler", "clang"},
                    {"platform", "linux/amd64"}};
}

namespace {

/// A protobuf field of wire type 2.
std::string field(unsigned number, std::string_view value) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  for (std::size_t n = value.size();; n >>= 7) {
    out += static_cast<char>((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
    if (n <= 0x7f) break;
  }
  return out + std::string(value);
}

/// ParametersItem{1 parameter: Parameter{2 non_body: {3 query: {2 in, 4 name}}}}
std::string query_parameter(std::string_view name) {
  return field(1, field(2, field(3, field(2, "query") + field(4, name))));
}

std::string openapi_v2_document() {
  // Source: google/gnostic openapiv2/OpenAPIv2.proto; what kubectl reads of it is in
  // kubectl pkg/util/openapi/dryrun.go and apimachinery's query_param_verifier.go.
  std::string paths;
  const std::string parameters =
      field(8, query_parameter("dryRun")) + field(8, query_parameter("fieldValidation"));
  for (const Kind& kind : schema::Registry::get().kinds()) {
    if (!kind.stored) continue;
    for (const auto version : kind.versions) {
      // NamedAny{1 name, 2 value: Any{2 yaml}}
      const std::string gvk = field(1, "x-kubernetes-group-version-kind") +
                              field(2, field(2, "group: \"" + std::string(kind.group) +
                                                    "\"\nkind: " + std::string(kind.kind) +
                                                    "\nversion: " + std::string(version) + "\n"));
      const std::string patch = parameters + field(13, gvk);  // Operation
      std::string path = kind.group.empty() ? "/api/" : "/apis/" + std::string(kind.group) + "/";
      path += std::string(version) + (kind.namespaced ? "/namespaces/{namespace}/" : "/") +
              std::string(kind.plural) + "/{name}";
      paths += field(2, field(1, path) + field(2, field(8, patch)));  // NamedPathItem{PathItem}
    }
  }
  // Document{1 swagger, 2 info{1 title, 2 version}, 8 paths}
  return field(1, "2.0") + field(2, field(1, "k") + field(2, "1")) + field(8, paths);
}

}  // namespace

std::string openapi_v2_stub() {
  static const std::string document = openapi_v2_document();
  return document;
}

}  // namespace knit::apiserver
