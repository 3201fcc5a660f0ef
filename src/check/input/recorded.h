// Tests: an API server that answers from a recorded cluster (tests/check/cluster), by its rules for
// lists, pages and refusals, over streams in memory.
#pragma once

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/json.h"
#include "http/server.h"
#include "io/sim_loop.h"

namespace knit::check::input {

inline std::string text_of(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// plural.group ("pods", "gateways.networking.istio.io") → the list, as the API answered.
inline std::map<std::string, Json> recorded_lists() {
  std::map<std::string, Json> out;
  for (const auto& file : std::filesystem::directory_iterator("tests/check/cluster")) {
    const auto name = file.path().stem().string();
    if (file.path().extension() == ".json" && name != "apis") {
      out[name] = json::parse(text_of(file.path())).value();
    }
  }
  return out;
}

struct RecordedServer {
  std::map<std::string, Json> lists = recorded_lists();
  std::map<std::string, Json> secrets;  // "ns/name" → object
  std::set<std::string> forbidden;      // "pods", "pods/istio-system": one namespace
  std::vector<std::string> requests;    // "GET /api/v1/pods"
  std::function<std::optional<http::Response>(const http::Request&)> before;

  static http::Response status(int code, const std::string& reason, const std::string& message) {
    return {code,
            {{"Content-Type", "application/json"}},
            json::print(Json{{"kind", "Status"},
                             {"apiVersion", "v1"},
                             {"status", "Failure"},
                             {"message", message},
                             {"reason", reason},
                             {"code", code}})};
  }
  static http::Response ok(const Json& body) {
    return {200, {{"Content-Type", "application/json"}}, json::print(body)};
  }

  http::Response answer(const http::Request& request) {
    requests.push_back(request.method + " " + request.path);
    if (before) {
      if (auto special = before(request)) return *special;
    }
    if (request.path == "/apis") {
      return ok(json::parse(text_of("tests/check/cluster/apis.json")).value());
    }
    std::vector<std::string> parts;
    std::istringstream split(request.path.substr(1));
    for (std::string part; std::getline(split, part, '/');) parts.push_back(part);
    std::size_t at = parts[0] == "api" ? 2 : 3;
    const std::string group = parts[0] == "api" ? "" : parts[1];
    const auto full = [&](const std::string& plural) {
      return group.empty() ? plural : plural + "." + group;
    };
    if (parts.size() == at) {  // resources of a version
      JsonArray resources;
      for (const auto& [name, list] : lists) {
        const auto dot = name.find('.');
        if ((dot == std::string::npos ? "" : name.substr(dot + 1)) != group) continue;
        std::string kind(json::str(list, {"kind"}));
        kind.resize(kind.size() - 4);
        resources.push_back({{"name", name.substr(0, dot)}, {"kind", kind}});
        resources.push_back({{"name", name.substr(0, dot) + "/status"}, {"kind", kind}});
      }
      return ok(Json{{"kind", "APIResourceList"}, {"resources", std::move(resources)}});
    }
    std::string ns;
    if (parts[at] == "namespaces" && parts.size() > at + 2) {
      ns = parts[at + 1];
      at += 2;
    }
    const std::string name = full(parts[at]);
    if (forbidden.contains(name) && (ns.empty() || !forbidden.contains(name + "/!" + ns))) {
      return status(403, "Forbidden",
                    name + " is forbidden: User \"viewer\" cannot list resource \"" + parts[at] +
                        "\" in API group \"" + group + "\" " +
                        (ns.empty() ? "at the cluster scope" : "in the namespace \"" + ns + "\""));
    }
    if (name == "secrets" && parts.size() == at + 2) {
      const auto it = secrets.find(ns + "/" + parts[at + 1]);
      if (it == secrets.end()) return status(404, "NotFound", "secrets not found");
      return ok(it->second);
    }
    const auto list = lists.find(name);
    if (list == lists.end()) return status(404, "NotFound", "the server could not find it");
    std::vector<Json> items;
    for (const auto& item : json::array(list->second, {"items"})) {
      if (!ns.empty() && json::str(item, {"metadata", "namespace"}) != ns) continue;
      if (parts.size() == at + 2 && json::str(item, {"metadata", "name"}) != parts[at + 1])
        continue;
      items.push_back(item);
    }
    if (parts.size() == at + 2) {
      return items.empty() ? status(404, "NotFound", name + " not found") : ok(items.front());
    }
    std::size_t from = 0;
    if (const auto token = request.query.get("continue"); !token.empty())
      from = std::stoul(std::string(token));
    const std::size_t limit = std::stoul(std::string(request.query.get("limit")));
    JsonArray page;
    for (std::size_t i = from; i < items.size() && i < from + limit; ++i) page.push_back(items[i]);
    Json out{{"kind", list->second.at("kind")},
             {"apiVersion", list->second.at("apiVersion")},
             {"metadata", {{"resourceVersion", "1"}}},
             {"items", std::move(page)}};
    if (from + limit < items.size())
      out.at("metadata").as_object()["continue"] = std::to_string(from + limit);
    return ok(out);
  }
};

}  // namespace knit::check::input
