// The API over memory streams. Sections are those of the API specification.
#include "apiserver/test_api.h"

#include "apiserver/discovery.h"

namespace knit::apiserver {
namespace {

using namespace test;

class ApiTest : public ApiFixture {
 protected:
  std::string put_config(std::string name, std::string data = R"({"k":"v"})") {
    const auto r = call("POST", "/api/v1/namespaces/default/configmaps",
                        R"({"metadata":{"name":")" + name + R"("},"data":)" + data + "}");
    EXPECT_EQ(r.status, 201) << r.body;
    return std::string(json::str(parse(r.body), {"metadata", "resourceVersion"}));
  }
  static constexpr const char* kConfigs = "/api/v1/namespaces/default/configmaps";
  static std::string config(std::string name) { return std::string(kConfigs) + "/" + name; }
  static void expect_status(const http::Response& r, int code, std::string_view reason,
                            std::string_view message) {
    EXPECT_EQ(r.status, code) << r.body;
    const Json s = parse(r.body);
    EXPECT_EQ(json::str(s, {"kind"}), "Status");
    EXPECT_EQ(json::str(s, {"status"}), "Failure");
    EXPECT_EQ(json::str(s, {"reason"}), reason);
    EXPECT_EQ(json::str(s, {"message"}), message);
    EXPECT_EQ(json::i64(s, {"code"}), code);
  }
};

TEST_F(ApiTest, LifeOfAnObject) {  // 1.5
  const auto created = call("POST", kConfigs, R"({"metadata":{"name":"a"},"data":{"k":"v"}})");
  EXPECT_EQ(created.status, 201);
  EXPECT_EQ(created.headers.get("Content-Type"), "application/json");
  EXPECT_EQ(created.headers.get("Cache-Control"), "no-cache, private");
  EXPECT_FALSE(created.headers.get("Audit-Id").empty());
  Json object = ok(call("GET", config("a")));
  EXPECT_EQ(json::str(object, {"kind"}), "ConfigMap");
  json::set(object, {"data", "k"}, "w");
  object = ok(call("PUT", config("a"), json::print(object)));
  EXPECT_EQ(json::str(object, {"data", "k"}), "w");
  object = ok(call("PATCH", config("a"), R"({"data":{"n":"1"}})", "application/merge-patch+json"));
  EXPECT_EQ(json::str(object, {"data", "n"}), "1");
  const Json gone = ok(call("DELETE", config("a"), R"({"propagationPolicy":"Background"})"));
  EXPECT_EQ(json::str(gone, {"status"}), "Success");
  EXPECT_EQ(json::str(gone, {"details", "name"}), "a");
  EXPECT_EQ(json::str(gone, {"details", "kind"}), "configmaps");
  EXPECT_EQ(json::str(gone, {"details", "uid"}), json::str(object, {"metadata", "uid"}));
  expect_status(call("GET", config("a")), 404, "NotFound", "configmaps \"a\" not found");
}

TEST_F(ApiTest, RefusalsAreStatusObjects) {  // 1.3, 1.4
  put_config("a");
  expect_status(call("GET", "/api/v1/configmaps?fieldSelector=spec.foo%3D1"), 400, "BadRequest",
                "field label not supported: spec.foo");
  EXPECT_EQ(call("GET", "/api/v1/nosuch").body, "404 page not found\n");
  EXPECT_EQ(call("GET", "/apis/nosuch.example.com").status, 404);
  EXPECT_EQ(call("GET", "/nosuch").status, 403) << "as upstream: only masters may look";
  EXPECT_EQ(call("DELETE", "/api/v1/nodes").status, 405);
  EXPECT_EQ(call("POST", kConfigs, "x", "text/plain").status, 415);
  EXPECT_EQ(call("PATCH", config("a"), "{}", "text/plain").status, 415);
  expect_status(call("PATCH", config("a"), "{}", "application/apply-patch+yaml"), 415,
                "UnsupportedMediaType",
                "server-side apply is not supported yet by knit; use client-side apply (kubectl "
                "apply --server-side=false, helm --server-side=false)");
  EXPECT_EQ(call("PATCH", "/apis/serving.knative.dev/v1/namespaces/default/services/x", "{}",
                 "application/strategic-merge-patch+json")
                .status,
            415);
  EXPECT_EQ(call("POST", std::string(kConfigs) + "?dryRun=Some", "{}").status, 422);
  EXPECT_EQ(call("POST", std::string(kConfigs) + "?fieldValidation=Odd", "{}").status, 422);
  http::Request accept;
  accept.path = kConfigs;
  accept.headers.add("Accept", "application/xml");
  EXPECT_EQ(send(accept).status, 406);
  EXPECT_EQ(call("GET", "/api/v1/namespaces/default/pods/p/exec?command=x").status, 501);
  const auto too_large =
      call("POST", "/api/v1/namespaces/default/pods",
           R"({"metadata":{"name":"big"},"spec":{"containers":[{"name":"c","image":"i","args":[")" +
               std::string(1'600'000, 'x') + "\"]}]}}");
  EXPECT_EQ(too_large.status, 413) << too_large.body.substr(0, 200);
  EXPECT_EQ(call("POST", kConfigs, std::string(4 << 20, ' ')).status, 413);
}

TEST_F(ApiTest, AnonymousReadsHealthAndVersionOnly) {  // 1.16
  const auto as = [&](std::string user, std::string path) {
    http::Request r;
    r.path = std::move(path);
    auto [a, b] = io::memory_streams(loop);
    (void)user;
    r.headers.add("Accept", "application/json");
    return r;
  };
  // serve_as() names a user; a stream without one has no identity.
  http::Server plain(loop, {}, server->api().handler(), Api::error_answer());
  http::Client client(
      loop,
      [&]() -> io::Task<Result<std::unique_ptr<io::Stream>>> {
        struct Make {
          static io::Task<Result<std::unique_ptr<io::Stream>>> run(io::Loop* l, http::Server* s) {
            auto [a, b] = io::memory_streams(*l);
            s->serve(std::move(a));
            co_return std::move(b);
          }
        };
        return Make::run(&loop, &plain);
      },
      {.host = "api"});
  EXPECT_EQ(wait(client.send(as("", "/healthz")))->body, "ok");
  EXPECT_EQ(wait(client.send(as("", "/version")))->status, 200);
  expect_status(*wait(client.send(as("", "/api/v1/namespaces/default/pods"))), 403, "Forbidden",
                "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API "
                "group \"\" in the namespace \"default\"");
  http::Request bad = as("", "/api/v1/pods");
  bad.headers.add("Authorization", "Bearer nonsense");
  expect_status(*wait(client.send(bad)), 401, "Unauthorized", "Unauthorized");
}

TEST_F(ApiTest, ListsPageConsistently) {  // 1.6
  for (const char* name : {"a", "b", "c", "d", "e"}) put_config(name);
  const Json first = ok(call("GET", std::string(kConfigs) + "?limit=2"));
  EXPECT_EQ(json::str(first, {"kind"}), "ConfigMapList");
  EXPECT_EQ(json::array(first, {"items"}).size(), 2u);
  EXPECT_EQ(json::find(first.at("items").at(0), "kind"), nullptr) << "items of built-ins are bare";
  EXPECT_EQ(json::i64(first, {"metadata", "remainingItemCount"}), 3);
  const std::string version(json::str(first, {"metadata", "resourceVersion"}));
  const std::string token(json::str(first, {"metadata", "continue"}));
  ok(call("DELETE", config("c")));
  put_config("bb");
  const Json second = ok(call("GET", std::string(kConfigs) + "?limit=2&continue=" + token));
  EXPECT_EQ(json::str(second, {"metadata", "resourceVersion"}), version);
  EXPECT_EQ(json::str(second.at("items").at(0), {"metadata", "name"}), "c");
  EXPECT_EQ(json::str(second.at("items").at(1), {"metadata", "name"}), "d");
  const Json exact = ok(call(
      "GET", std::string(kConfigs) + "?resourceVersionMatch=Exact&resourceVersion=" + version));
  EXPECT_EQ(json::array(exact, {"items"}).size(), 5u);
  const Json selected = ok(call("GET", std::string(kConfigs) + "?fieldSelector=metadata.name%3Da"));
  EXPECT_EQ(json::array(selected, {"items"}).size(), 1u);
}

TEST_F(ApiTest, ListOptionsThatContradict) {  // 1.6
  const std::string at(json::str(ok(call("GET", kConfigs)), {"metadata", "resourceVersion"}));
  const struct {
    const char* query;
    int code;
    const char* message;
  } rows[] = {
      {"resourceVersionMatch=Exact", 422,
       "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: "
       "resourceVersionMatch is forbidden unless resourceVersion is provided"},
      {"resourceVersionMatch=Exact&resourceVersion=0", 422,
       "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: "
       "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""},
      {"resourceVersion=x", 400,
       "resourceVersion: Invalid value: \"x\": must be an unsigned integer"},
      {"sendInitialEvents=true&watch=1", 422,
       "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: "
       "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"},
      {"continue=x", 400, "continue key is not valid: not decodable"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.query);
    const auto r = call("GET", std::string(kConfigs) + "?" + row.query);
    EXPECT_EQ(r.status, row.code);
    EXPECT_EQ(json::str(parse(r.body), {"message"}), row.message);
  }
  const auto future = call("GET", std::string(kConfigs) + "?resourceVersion=9999999");
  EXPECT_EQ(future.status, 504);
  EXPECT_EQ(json::str(parse(future.body), {"message"}),
            "Timeout: Too large resource version: 9999999, current: " + at);
  EXPECT_EQ(json::i64(parse(future.body), {"details", "retryAfterSeconds"}), 1);
}

TEST_F(ApiTest, TablesAndMetadata) {  // 1.3, 1.13
  put_config("a");
  http::Request r;
  r.path = kConfigs;
  r.headers.add("Accept",
                "application/json;as=Table;v=v1;g=meta.k8s.io,"
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json");
  const Json table = ok(send(r));
  EXPECT_EQ(json::str(table, {"kind"}), "Table");
  EXPECT_EQ(json::str(table, {"apiVersion"}), "meta.k8s.io/v1");
  std::string columns;
  for (const Json& c : json::array(table, {"columnDefinitions"})) {
    columns += std::string(json::str(c, {"name"})) + " ";
  }
  EXPECT_EQ(columns, "Name Data Age ");
  const Json& row = table.at("rows").at(0);
  EXPECT_EQ(row.at("cells").at(0).as_string(), "a");
  EXPECT_EQ(json::str(row, {"object", "kind"}), "PartialObjectMetadata");
  EXPECT_EQ(json::find(row, {"object", "data"}), nullptr);
  r.query.add("includeObject", "Object");
  EXPECT_EQ(json::str(ok(send(r)).at("rows").at(0), {"object", "data", "k"}), "v");
  r.headers.set("Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
  const Json metadata = ok(send(r));
  EXPECT_EQ(json::str(metadata, {"kind"}), "PartialObjectMetadataList");
  EXPECT_EQ(json::find(metadata.at("items").at(0), "data"), nullptr);
}

TEST_F(ApiTest, DryRunsStoreNothing) {  // 1.11
  const Json dry =
      ok(call("POST", std::string(kConfigs) + "?dryRun=All", R"({"metadata":{"name":"d"}})"), 201);
  EXPECT_EQ(json::str(dry, {"metadata", "uid"}), "");
  EXPECT_EQ(json::str(dry, {"metadata", "resourceVersion"}), "");
  EXPECT_EQ(call("GET", config("d")).status, 404);
  put_config("e");
  ok(call("DELETE", config("e"), R"({"dryRun":["All"]})"));
  ok(call("GET", config("e")));
}

TEST_F(ApiTest, DeleteCollectionReturnsWhatItDeleted) {  // 1.5
  for (const char* name : {"a", "b", "c"}) put_config(name);
  ok(call("PATCH", config("b"), R"({"metadata":{"labels":{"x":"1"}}})",
          "application/merge-patch+json"));
  const Json gone = ok(call("DELETE", std::string(kConfigs) + "?labelSelector=x%3D1"));
  ASSERT_EQ(json::array(gone, {"items"}).size(), 1u);
  EXPECT_EQ(json::array(ok(call("GET", kConfigs)), {"items"}).size(), 2u);
}

TEST_F(ApiTest, ScaleAndVersions) {  // 1.12
  ok(call("POST", "/apis/apps/v1/namespaces/default/deployments",
          R"({"metadata":{"name":"d"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},
              "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"),
     201);
  const std::string scale = "/apis/apps/v1/namespaces/default/deployments/d/scale";
  EXPECT_EQ(json::str(ok(call("GET", scale)), {"kind"}), "Scale");
  const Json scaled =
      ok(call("PATCH", scale, R"({"spec":{"replicas":3}})", "application/merge-patch+json"));
  EXPECT_EQ(json::str(scaled, {"apiVersion"}), "autoscaling/v1");
  EXPECT_EQ(json::i64(scaled, {"spec", "replicas"}), 3);
  EXPECT_EQ(json::str(scaled, {"status", "selector"}), "a=b");
  ok(call("POST", "/apis/networking.istio.io/v1beta1/namespaces/default/gateways",
          R"({"apiVersion":"networking.istio.io/v1beta1","kind":"Gateway","metadata":{"name":"g"},
              "spec":{"selector":{"a":"b"},"servers":[{"port":{"number":80,"name":"http","protocol":"HTTP"},"hosts":["*"]}]}})"),
     201);
  for (const char* version : {"v1", "v1beta1", "v1alpha3"}) {
    const std::string base = std::string("/apis/networking.istio.io/") + version;
    EXPECT_EQ(json::str(ok(call("GET", base + "/namespaces/default/gateways/g")), {"apiVersion"}),
              std::string("networking.istio.io/") + version);
    EXPECT_EQ(json::str(ok(call("GET", base + "/gateways")).at("items").at(0), {"apiVersion"}),
              std::string("networking.istio.io/") + version);
  }
}

TEST_F(ApiTest, Discovery) {  // 1.15
  const std::string openapi = openapi_v2_stub();
  EXPECT_TRUE(
      openapi.starts_with("\x0a\x03"
                          "2.0"));
  // An old kubectl asks it whether dry-run and field validation are there for a kind.
  for (const char* part :
       {"group: \"\"\nkind: Pod\nversion: v1\n", "group: \"serving.knative.dev\"\nkind: Service\n",
        "x-kubernetes-group-version-kind", "dryRun", "fieldValidation"}) {
    EXPECT_NE(openapi.find(part), std::string::npos) << part;
  }
  const Json groups = ok(call("GET", "/apis"));
  std::size_t istio = 0, at = 0;
  for (const Json& g : json::array(groups, {"groups"})) {
    ++at;
    if (json::str(g, {"name"}) == "networking.istio.io") {
      istio = at;
      EXPECT_EQ(json::str(g, {"preferredVersion", "version"}), "v1");
    }
    EXPECT_NE(json::str(g, {"name"}), "meta.k8s.io") << "options are no resources";
  }
  EXPECT_GT(istio, 0u);
  // "pa" is a PodAutoscaler, as upstream: groups of custom resources come by name.
  const auto position = [&](std::string_view name) {
    const JsonArray& list = json::array(groups, {"groups"});
    const auto it = std::find_if(list.begin(), list.end(),
                                 [&](const Json& g) { return json::str(g, {"name"}) == name; });
    return it - list.begin();
  };
  EXPECT_LT(position("autoscaling.internal.knative.dev"), position("security.istio.io"));
  EXPECT_LT(position("route.openshift.io"), position("serving.knative.dev"));
  EXPECT_LT(position("networking.k8s.io"), position("config.openshift.io"));
  const Json core = ok(call("GET", "/api/v1"));
  std::set<std::string> names;
  for (const Json& r : json::array(core, {"resources"})) {
    names.insert(std::string(json::str(r, {"name"})));
  }
  for (const char* want : {"pods", "pods/log", "pods/status", "namespaces/finalize",
                           "serviceaccounts/token", "configmaps"}) {
    EXPECT_TRUE(names.count(want)) << want;
  }
  EXPECT_FALSE(names.count("pods/exec"));
  http::Request r;
  r.path = "/apis";
  r.headers.add("Accept",
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
                "application/json");
  const auto aggregated = send(r);
  EXPECT_EQ(aggregated.headers.get("Content-Type"), kAggregatedType);
  EXPECT_EQ(json::str(parse(aggregated.body), {"kind"}), "APIGroupDiscoveryList");
  r.headers.add("If-None-Match", std::string(aggregated.headers.get("ETag")));
  EXPECT_EQ(send(r).status, 304);
}

TEST_F(ApiTest, EventsAreTwoViewsOfOneStorage) {  // 1.18
  if (schema::Registry::get().by_plural("events.k8s.io", "v1", "events") == nullptr) GTEST_SKIP();
  ok(call(
         "POST", "/apis/events.k8s.io/v1/namespaces/default/events",
         R"({"metadata":{"name":"e","namespace":"default"},"eventTime":"2026-01-01T00:00:00.000000Z",
              "reportingController":"c","reportingInstance":"i","action":"a","reason":"r","note":"text",
              "type":"Normal","regarding":{"kind":"Pod","name":"p","namespace":"default"}})"),
     201);
  const Json core = ok(call("GET", "/api/v1/namespaces/default/events/e"));
  EXPECT_EQ(json::str(core, {"message"}), "text");
  EXPECT_EQ(json::str(core, {"involvedObject", "name"}), "p");
  const Json back = ok(call("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e"));
  EXPECT_EQ(json::str(back, {"note"}), "text");
}

TEST_F(ApiTest, Reviews) {  // 1.16
  const Json self =
      ok(call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}"), 201);
  EXPECT_EQ(json::str(self, {"status", "userInfo", "username"}), "system:knit:controller:test");
  const auto review = [&](std::string user) {
    const Json r = ok(call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                           R"({"spec":{"user":")" + user +
                               R"(","resourceAttributes":{"verb":"list","resource":"pods"}}})"),
                      201);
    return json::boolean(r, {"status", "allowed"});
  };
  EXPECT_TRUE(review("system:knit:node"));
  EXPECT_FALSE(review("system:serviceaccount:default:default"));
}

/// A log of three lines that stays open while somebody follows.
class FakeLogs final : public LogSource {
 public:
  class FakeReader final : public Reader {
   public:
    FakeReader(FakeLogs* logs, bool follow) : logs_(logs), follow_(follow) { ++logs_->open_; }
    ~FakeReader() override { --logs_->open_; }
    io::Task<Result<std::string>> read() override {
      if (++reads_ <= 3) co_return "line" + std::to_string(reads_) + "\n";
      if (follow_) co_await logs_->never_;
      co_return std::string();
    }

   private:
    FakeLogs* logs_;
    bool follow_;
    int reads_ = 0;
  };
  io::Task<Result<std::unique_ptr<Reader>>> open(Request request) override {
    asked_ = request;
    co_return std::unique_ptr<Reader>(std::make_unique<FakeReader>(this, request.follow));
  }
  Request asked_;
  int open_ = 0;
  io::Event never_;
};

class LogTest : public ApiTest {
 protected:
  LogSource* logs() override { return &logs_; }
  void make_pod(std::string_view status) {
    ok(call(
           "POST", "/api/v1/namespaces/default/pods",
           R"({"metadata":{"name":"p"},"spec":{"nodeName":"knit","containers":[{"name":"c","image":"i"},
                {"name":"d","image":"i"}]}})"),
       201);
    ok(call("PATCH", "/api/v1/namespaces/default/pods/p/status",
            R"({"status":{"containerStatuses":[{"name":"c","image":"i","imageID":"","ready":false,
                "restartCount":0,)" +
                std::string(status) + "}]}}",
            "application/merge-patch+json"));
  }
  static constexpr const char* kLog = "/api/v1/namespaces/default/pods/p/log";
  FakeLogs logs_;
};

TEST_F(LogTest, TextOfARunningContainer) {  // 1.19
  make_pod(R"("state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}})");
  const auto r = call("GET", std::string(kLog) + "?container=c&tailLines=5&timestamps=true");
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.headers.get("Content-Type"), "text/plain");
  EXPECT_EQ(r.body, "line1\nline2\nline3\n");
  EXPECT_EQ(logs_.asked_.container, "c");
  EXPECT_EQ(logs_.asked_.tail_lines, 5);
  EXPECT_TRUE(logs_.asked_.timestamps);
  expect_status(call("GET", kLog), 400, "BadRequest",
                "a container name must be specified for pod p, choose one of: [c d]");
  expect_status(call("GET", std::string(kLog) + "?container=x"), 400, "BadRequest",
                "container x is not valid for pod p");
  expect_status(call("GET", std::string(kLog) + "?container=d"), 400, "BadRequest",
                "container \"d\" in pod \"p\" is not available");
  expect_status(call("GET", std::string(kLog) + "?container=c&previous=true"), 400, "BadRequest",
                "previous terminated container \"c\" in pod \"p\" not found");
}

TEST_F(LogTest, AFollowerThatLeavesLetsTheReaderGo) {
  make_pod(R"("state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}})");
  http::Client client(loop, connector("system:knit:controller:test"), {.host = "api"});
  http::Request request;
  request.path = kLog;
  request.query.add("container", "c");
  request.query.add("follow", "true");
  {
    auto opened = wait(client.open(std::move(request)));
    ASSERT_TRUE(opened);
    EXPECT_EQ(logs_.open_, 1);
  }
  loop.settle();
  EXPECT_EQ(logs_.open_, 0);
}

TEST_F(LogTest, AContainerThatWaits) {
  make_pod(R"("state":{"waiting":{"reason":"ContainerCreating"}})");
  expect_status(call("GET", std::string(kLog) + "?container=c"), 400, "BadRequest",
                "container \"c\" in pod \"p\" is waiting to start: ContainerCreating");
}

TEST_F(ApiTest, BigAnswersAreCompressedAndPeopleSeeIndentedJson) {  // 1.1
  put_config("big", R"({"k":")" + std::string(200'000, 'x') + "\"}");
  http::Request r;
  r.path = config("big");
  r.headers.add("Accept-Encoding", "gzip");
  const auto small = send(r);
  EXPECT_EQ(small.headers.get("Content-Encoding"), "gzip");
  EXPECT_LT(small.body.size(), 10'000u);
  http::Request curl;
  curl.path = "/version";
  curl.headers.add("User-Agent", "curl/7.88.1");
  EXPECT_NE(send(curl).body.find("{\n  \"major\""), std::string::npos);
}

TEST_F(ApiTest, DefinitionsOfBuiltInKinds) {  // 1.14
  const std::string crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  const Json before = ok(call("GET", crds + "/services.serving.knative.dev"));
  const Json after = ok(call("PATCH", crds + "/services.serving.knative.dev",
                             R"({"spec":{"scope":"Cluster"}})", "application/merge-patch+json"));
  EXPECT_EQ(before, after);
  const auto foreign =
      call("POST", crds, R"({"metadata":{"name":"foos.example.com"},"spec":{"group":"example.com",
          "scope":"Namespaced","names":{"plural":"foos","kind":"Foo"},"versions":[]}})");
  EXPECT_EQ(foreign.status, 403);
  EXPECT_NE(foreign.body.find("foos.example.com"), std::string::npos);
}

}  // namespace
}  // namespace knit::apiserver
