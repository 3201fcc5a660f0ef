// An API server of a few objects in memory: list, watch, merge patch.
#pragma once

#include <map>

#include "http/server.h"
#include "kube/client.h"

namespace knit::events {

class TestApi {
 public:
  explicit TestApi(io::Loop& loop)
      : loop_(loop),
        server_(
            loop, {},
            [this](http::Request request, http::Peer, http::Responder& responder) {
              return handle(this, std::move(request), &responder);
            },
            [](int status, std::string_view text) {
              return http::Response{status, {}, std::string(text)};
            }),
        client_(loop, [this] { return connect(this); }) {}
  kube::Client& client() { return client_; }

  /// `path` as in "/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME".
  void put(const std::string& path, std::string_view text) {
    auto dom = json::parse(text);
    KNIT_CHECK(dom.has_value());
    store(path, std::move(*dom));
  }
  void remove(const std::string& path) {
    log_.push_back({collection(path), "DELETED", objects_.at(path)});
    stamp(log_.back().object);
    objects_.erase(path);
    changed();
  }
  const Json& get(const std::string& path) const { return objects_.at(path); }
  void merge(const std::string& path, std::string_view text) {
    auto patch = json::parse(text);
    KNIT_CHECK(patch.has_value());
    Json dom = objects_.at(path);
    json::merge_patch(dom, *patch);
    store(path, std::move(dom));
  }
  std::size_t patches = 0;
  int refuse = 0;  // patches, with this status

 private:
  struct Change {
    std::string collection, type;
    Json object;
  };
  static std::string collection(const std::string& path) {  // without the namespace
    const auto ns = path.find("/namespaces/");
    const auto after = path.find('/', ns + 12);
    return path.substr(0, ns) + path.substr(after, path.rfind('/') - after);
  }
  void stamp(Json& dom) {
    json::set(dom, {"metadata", "resourceVersion"}, Json(std::to_string(++version_)));
  }
  void store(const std::string& path, Json dom) {
    const bool there = objects_.contains(path);
    const auto ns = path.find("/namespaces/") + 12;
    json::set(dom, {"metadata", "namespace"}, Json(path.substr(ns, path.find('/', ns) - ns)));
    json::set(dom, {"metadata", "name"}, Json(path.substr(path.rfind('/') + 1)));
    json::set(dom, {"kind"}, Json("K"));
    json::set(dom, {"apiVersion"}, Json("v1"));
    stamp(dom);
    objects_[path] = dom;
    log_.push_back({collection(path), there ? "MODIFIED" : "ADDED", std::move(dom)});
    changed();
  }
  void changed() {
    for (io::Event* e : watchers_)
      loop_.post([this, e] {
        if (watchers_.contains(e)) e->set();
      });
  }
  static io::Task<Result<std::unique_ptr<io::Stream>>> connect(TestApi* api) {
    auto [a, b] = io::memory_streams(api->loop_);
    api->server_.serve(std::move(a));
    co_return std::move(b);
  }
  struct Watching {
    TestApi* api;
    io::Event event;
    explicit Watching(TestApi* a) : api(a) { api->watchers_.insert(&event); }
    ~Watching() { api->watchers_.erase(&event); }
  };
  static io::Task<void> watch(TestApi* api, std::string path, std::uint64_t after,
                              http::Responder* responder) {
    Watching watching(api);
    http::Headers headers{{"Content-Type", "application/json"}};
    (void)co_await responder->begin(200, std::move(headers));
    std::size_t next = 0;
    while (true) {
      for (; next < api->log_.size(); ++next) {
        const Change& c = api->log_[next];
        const auto version =
            std::stoull(std::string(json::str(c.object, {"metadata", "resourceVersion"})));
        if (c.collection != path || version <= after) continue;
        Json event = JsonObject();
        json::set(event, {"type"}, Json(c.type));
        json::set(event, {"object"}, c.object);
        std::string line = json::print(event) + "\n";
        if (!co_await responder->write(std::move(line))) co_return;
      }
      co_await watching.event;
      watching.event.reset();
    }
  }
  static io::Task<void> handle(TestApi* api, http::Request request, http::Responder* responder) {
    http::Response response;
    response.headers.add("Content-Type", "application/json");
    if (request.query.has("watch")) {
      const auto version = std::string(request.query.get("resourceVersion"));
      co_await watch(api, request.path, version.empty() ? 0 : std::stoull(version), responder);
      co_return;
    }
    if (request.method == "PATCH") {
      ++api->patches;
      const std::string path = request.path.substr(0, request.path.rfind("/status"));
      if (api->refuse != 0) {
        response.status = api->refuse;
      } else if (!api->objects_.contains(path)) {
        response.status = 404;
      } else {
        api->merge(path, request.body);
        response.body = json::print(api->get(path));
      }
    } else {
      Json list = JsonObject();
      JsonArray items;
      for (const auto& [path, dom] : api->objects_) {
        if (collection(path) == request.path) items.push_back(dom);
      }
      json::set(list, {"kind"}, Json("KList"));
      json::set(list, {"items"}, std::move(items));
      json::set(list, {"metadata", "resourceVersion"}, Json(std::to_string(api->version_)));
      response.body = json::print(list);
    }
    (void)co_await responder->send(std::move(response));
  }

  io::Loop& loop_;
  std::map<std::string, Json> objects_;
  std::vector<Change> log_;
  std::set<io::Event*> watchers_;
  std::uint64_t version_ = 0;
  http::Server server_;
  kube::Client client_;
};

}  // namespace knit::events
