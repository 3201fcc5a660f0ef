// Live reading against a recorded cluster: a Knit that runs the procedure's manifests.
#include "check/input/cluster.h"

#include <gtest/gtest.h>

#include "check/engine.h"
#include "check/input/dump.h"
#include "check/input/recorded.h"

namespace knit::check::input {
namespace {

struct Outcome {
  Result<void> result;
  ObjectSet set;
};

Outcome read(RecordedServer& recorded, ClusterOptions options = {}, Access access = {}) {
  io::SimLoop loop;
  http::Server server(
      loop, {},
      [&recorded](http::Request request, http::Peer, http::Responder& responder) -> io::Task<void> {
        auto sending = responder.send(recorded.answer(request));
        (void)co_await sending;
      },
      [](int status, std::string_view text) {
        return http::Response{status, {}, std::string(text)};
      });
  const auto connector = [&loop, &server]() -> io::Task<Result<std::unique_ptr<io::Stream>>> {
    auto [client, far] = io::memory_streams(loop);
    server.serve(std::move(far));
    co_return std::move(client);
  };
  Outcome out{Error(Code::DeadlineExceeded, "the loop came to rest"), {}};
  access.host = "recorded";
  const auto carry_out = [](io::Loop* l, http::Connector c, Access a, ClusterOptions o,
                            Outcome* to) -> io::Task<void> {
    auto reading = read_cluster(*l, std::move(c), std::move(a), o, to->set);
    to->result = co_await reading;
  };
  auto task = loop.spawn_scoped(carry_out(&loop, connector, access, options, &out));
  loop.settle();
  task.cancel();
  return out;
}

Report check(const ObjectSet& set, std::vector<std::string> only = {}) {
  Options options;
  options.only = std::move(only);
  options.settings.now_unix = 1'764'000'000;
  return run(set, options);
}
const Finding* finding(const Report& report, std::string_view code) {
  for (const auto& f : report.findings) {
    if (f.code == code) return &f;
  }
  return nullptr;
}
bool passes(const Report& report, std::string_view code) {
  return std::any_of(report.passed.begin(), report.passed.end(),
                     [&](const Rule* r) { return r->code == code; });
}

TEST(Cluster, IsReadByGetAndListOnly) {
  RecordedServer recorded;
  const auto got = read(recorded);
  ASSERT_TRUE(got.result) << got.result.error().message();
  EXPECT_TRUE(got.set.live);
  EXPECT_TRUE(got.set.unreadable.empty());
  EXPECT_NE(
      got.set.find("networking.istio.io/Gateway", "knative-serving", "knative-ingress-gateway"),
      nullptr);
  EXPECT_NE(got.set.find("serving.knative.dev/Service", "default", "hello"), nullptr);
  EXPECT_GT(got.set.list("Pod").size(), 10U);
  EXPECT_EQ(got.set.all().front()->file, "");
  for (const auto& r : recorded.requests) EXPECT_TRUE(r.starts_with("GET ")) << r;
  // Secrets by name, never listed.
  for (const auto& r : recorded.requests) EXPECT_FALSE(r.ends_with("/secrets")) << r;
}

TEST(Cluster, WhatRulesReadIsAskedFor) {
  const auto kinds = cluster_kinds();
  for (const auto& rule : rules()) {
    for (const auto kind : rule.reads)
      EXPECT_NE(std::find(kinds.begin(), kinds.end(), kind), kinds.end())
          << rule.code << " " << kind;
  }
}

TEST(Cluster, PagesAreFollowed) {
  RecordedServer recorded;
  ClusterOptions options;
  options.page = 3;
  const auto paged = read(recorded, options);
  ASSERT_TRUE(paged.result) << paged.result.error().message();
  RecordedServer again;
  EXPECT_EQ(paged.set.size(), read(again).set.size());
  EXPECT_GT(recorded.requests.size(), again.requests.size() + 10);
}

TEST(Cluster, APageThatExpiredStartsTheListAgain) {
  RecordedServer recorded;
  int expired = 0;
  recorded.before = [&](const http::Request& r) -> std::optional<http::Response> {
    if (r.path == "/api/v1/pods" && r.query.has("continue") && expired++ == 0)
      return RecordedServer::status(410, "Expired", "the continue token is too old");
    return std::nullopt;
  };
  ClusterOptions options;
  options.page = 3;
  const auto got = read(recorded, options);
  ASSERT_TRUE(got.result);
  EXPECT_GT(expired, 1);
  RecordedServer again;
  EXPECT_EQ(got.set.size(), read(again).set.size());
}

// users.md A4: what a restricted token may not read is said once, as `unknown`.
TEST(Cluster, RestrictedTokensMakeRulesUnknown) {
  RecordedServer recorded;
  recorded.forbidden = {"secrets", "pods"};
  const auto got = read(recorded);
  ASSERT_TRUE(got.result);
  EXPECT_TRUE(got.set.unreadable.contains(kind_name("Pod")));
  EXPECT_TRUE(got.set.unreadable.contains(kind_name("Secret")));
  const auto report = check(got.set);
  for (const char* code : {"K301", "K302", "K410"}) {
    const auto* f = finding(report, code);
    ASSERT_NE(f, nullptr) << code;
    EXPECT_TRUE(f->unknown()) << code << f->message;
    EXPECT_NE(f->message.find("forbidden"), std::string::npos) << f->message;
  }
  EXPECT_EQ(std::count_if(report.findings.begin(), report.findings.end(),
                          [](const Finding& f) { return f.code == "K301"; }),
            1);
  EXPECT_TRUE(passes(report, "K207"));
}

TEST(Cluster, ATokenOfOneNamespaceReadsThatOne) {
  RecordedServer recorded;
  recorded.forbidden = {"pods", "pods/!istio-system", "namespaces"};
  const auto got = read(recorded);
  ASSERT_TRUE(got.result);
  EXPECT_FALSE(got.set.list("Pod", "istio-system").empty());
  const auto it = got.set.unreadable.find(kind_name("Pod"));
  ASSERT_NE(it, got.set.unreadable.end());
  EXPECT_NE(it->second.find("read in istio-system only"), std::string::npos) << it->second;
}

TEST(Cluster, SecretsCanBeLeftOut) {
  RecordedServer recorded;
  ClusterOptions options;
  options.secrets = false;
  const auto got = read(recorded, options);
  ASSERT_TRUE(got.result);
  for (const auto& r : recorded.requests) EXPECT_EQ(r.find("secrets"), std::string::npos) << r;
  const auto report = check(got.set, {"K301"});
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_TRUE(report.findings[0].unknown());
}

TEST(Cluster, MissingSecretIsAnErrorOnceItMayBeRead) {
  RecordedServer recorded;
  auto got = read(recorded);
  ASSERT_TRUE(got.result);
  const auto missing = check(got.set, {"K301"});
  ASSERT_EQ(missing.findings.size(), 1U);
  EXPECT_FALSE(missing.findings[0].unknown());
  recorded.secrets["istio-system/wildcard-certs"] =
      Json{{"apiVersion", "v1"},
           {"kind", "Secret"},
           {"metadata", {{"name", "wildcard-certs"}, {"namespace", "istio-system"}}}};
  got = read(recorded);
  EXPECT_TRUE(passes(check(got.set, {"K301"}), "K301"));
}

TEST(Cluster, HostileAnswersEnd) {
  struct Case {
    const char* name;
    std::function<std::optional<http::Response>(const http::Request&)> before;
    Code code;
  };
  const auto everything = [](http::Response r) {
    return [r](const http::Request&) -> std::optional<http::Response> { return r; };
  };
  std::string deep(5000, '[');
  int pages = 0;
  const Case cases[] = {
      {"401", everything(RecordedServer::status(401, "Unauthorized", "Unauthorized")),
       Code::Unauthenticated},
      {"html", everything({200, {}, "<html>log in</html>"}), Code::InvalidArgument},
      {"another API", everything({200, {}, "{}"}), Code::InvalidArgument},
      {"redirect", everything({302, {{"Location", "http://169.254.169.254/"}}, ""}),
       Code::InvalidArgument},
      {"deep", everything({200, {}, deep}), Code::InvalidArgument},
      {"list without end",
       [&](const http::Request& r) -> std::optional<http::Response> {
         if (r.path != "/api/v1/pods") return std::nullopt;
         return RecordedServer::ok(
             Json{{"items", JsonArray{Json{{"metadata", {{"name", "same"}}}}}},
                  {"metadata", {{"continue", "x" + std::to_string(++pages)}}}});
       },
       Code::ResourceExhausted},
      {"empty pages",
       [](const http::Request& r) -> std::optional<http::Response> {
         if (r.path != "/api/v1/pods") return std::nullopt;
         return RecordedServer::ok(
             Json{{"items", JsonArray{}}, {"metadata", {{"continue", "again"}}}});
       },
       Code::ResourceExhausted},
  };
  for (const auto& c : cases) {
    RecordedServer recorded;
    recorded.before = c.before;
    ClusterOptions options;
    options.max_requests = 500;
    options.max_answer = 2 << 20;
    const auto got = read(recorded, options);
    ASSERT_FALSE(got.result) << c.name;
    EXPECT_EQ(got.result.error().code(), c.code) << c.name << ": " << got.result.error().message();
  }
}

TEST(Cluster, PagesThatAreTooLargeBecomeSmaller) {
  RecordedServer recorded;
  const auto large = [](std::size_t most) {
    return [most](const http::Request& r) -> std::optional<http::Response> {
      if (r.path != "/api/v1/pods" || std::stoul(std::string(r.query.get("limit"))) <= most)
        return std::nullopt;
      return http::Response{200, {}, std::string(3 << 20, ' ')};
    };
  };
  ClusterOptions options;
  options.max_answer = 2 << 20;
  recorded.before = large(5);
  const auto smaller = read(recorded, options);
  ASSERT_TRUE(smaller.result) << smaller.result.error().message();
  RecordedServer again;
  EXPECT_EQ(smaller.set.size(), read(again).set.size());
  // One object alone is too large: the kind is not read, the others are.
  recorded.before = large(0);
  const auto never = read(recorded, options);
  ASSERT_TRUE(never.result) << never.result.error().message();
  EXPECT_TRUE(never.set.unreadable.contains(kind_name("Pod")));
  EXPECT_FALSE(never.set.list("Service").empty());
}

TEST(Cluster, ItemsThatAreNoObjectsArePassedOver) {
  RecordedServer recorded;
  recorded.lists["pods"].as_object()["items"] = JsonArray{nullptr,
                                                          7,
                                                          "x",
                                                          JsonArray{},
                                                          JsonObject{},
                                                          Json{{"metadata", 3}},
                                                          Json{{"metadata", {{"name", 5}}}},
                                                          Json{{"metadata", {{"name", "real"}}}}};
  const auto got = read(recorded);
  ASSERT_TRUE(got.result);
  EXPECT_EQ(got.set.list("Pod").size(), 1U);
  check(got.set);
}

// Issue: rules that need a cluster, against a recorded one, passing and failing.
struct LiveCase {
  const char* code;
  const char* list;
  const char* objects;    // join the list's
  const char* good = "";  // where the recorded cluster alone says nothing: these join it
};
const LiveCase kLive[] = {
    {"K106", "infrastructures.config.openshift.io",
     R"({"metadata":{"name":"cluster"},"status":{"platformStatus":{"aws":{"resourceTags":
        [{"key":"red-hat-clustertype","value":"rosa"}]}}}})",
     R"({"metadata":{"name":"cluster"},"status":{"platformStatus":{"type":"BareMetal"}}})"},
    {"K131", "pods",
     R"({"metadata":{"name":"old","namespace":"istio-system","labels":{"app":"istiod"}},
        "spec":{"containers":[{"name":"istio-proxy","image":"x/proxyv2:1.2.3"}]}},
        {"metadata":{"name":"new","namespace":"istio-system","labels":{"app":"istiod"}},
        "spec":{"containers":[{"name":"istio-proxy","image":"x/proxyv2:1.3.1"}]}})"},
    {"K200", "gateways.gateway.networking.k8s.io",
     R"({"metadata":{"name":"other","namespace":"default"}})"},
    {"K410", "pods",
     R"({"metadata":{"name":"activator-5d4f-x2x","namespace":"knative-serving",
        "labels":{"app":"activator"}},"spec":{"containers":[{"name":"activator"}]}})"},
    {"K505", "inmemorychannels.messaging.knative.dev",
     R"({"metadata":{"name":"c","namespace":"default"},
        "status":{"address":{"url":"http://c-kn-channel.default.svc.cluster.local"}}})"},
    {"K127", "pods",
     R"({"metadata":{"name":"activator-1","namespace":"knative-serving"},"spec":{"containers":
        [{"name":"istio-proxy","env":[{"name":"CA_ADDR","value":"istiod-old.old-mesh.svc:15012"}]}]}})"},
    {"K614", "kafkasources.sources.knative.dev",
     R"({"metadata":{"name":"s","namespace":"default"},"status":{"conditions":
        [{"type":"InitialOffsetsCommitted","status":"False","reason":"OffsetsNotCommitted",
          "message":"kafka: client has run out of available brokers"}]}})",
     R"({"metadata":{"name":"s","namespace":"default"},"status":{"conditions":
        [{"type":"InitialOffsetsCommitted","status":"True"}]}})"},
    {"K903", "services.serving.knative.dev",
     R"({"metadata":{"name":"lost","namespace":"default"},"status":{"url":
        "https://lost-default.apps.openshift.example.com","conditions":
        [{"type":"Ready","status":"True"}]}})"},
    {"K905", "triggers.eventing.knative.dev",
     R"({"metadata":{"name":"t","namespace":"default"},"spec":{"broker":"none"},
        "status":{"conditions":[{"type":"Ready","status":"False"}]}})",
     R"({"metadata":{"name":"t","namespace":"default"},"spec":{},
        "status":{"conditions":[{"type":"Ready","status":"True"}]}})"},
};
/// `objects` join the list `list` of the server, also of a kind that it did not serve.
void join(RecordedServer& server, const char* list, const char* objects) {
  const std::string name = list;
  const std::string group = name.substr(std::min(name.find('.'), name.size() - 1) + 1);
  if (!server.lists.contains(name)) {  // a kind that the recorded cluster does not serve
    const std::map<std::string, std::string> kinds{
        {"infrastructures.config.openshift.io", "InfrastructureList"},
        {"gateways.gateway.networking.k8s.io", "GatewayList"},
        {"inmemorychannels.messaging.knative.dev", "InMemoryChannelList"},
        {"kafkasources.sources.knative.dev", "KafkaSourceList"},
        {"triggers.eventing.knative.dev", "TriggerList"}};
    server.lists[name] =
        Json{{"kind", kinds.at(name)}, {"apiVersion", group + "/v1"}, {"items", JsonArray{}}};
    server.before = [group](const http::Request& r) -> std::optional<http::Response> {
      if (r.path != "/apis") return std::nullopt;
      auto groups = json::parse(text_of("tests/check/cluster/apis.json")).value();
      auto& list = groups.as_object()["groups"].as_array();
      for (const auto& g : list) {
        if (json::str(g, {"name"}) == group) return std::nullopt;
      }
      list.push_back({{"name", group},
                      {"versions", JsonArray{Json{{"version", "v1"}}}},
                      {"preferredVersion", {{"version", "v1"}}}});
      return RecordedServer::ok(groups);
    };
  }
  const auto more = json::parse("[" + std::string(objects) + "]").value();
  for (const auto& object : more.as_array())
    server.lists[name].as_object()["items"].as_array().push_back(object);
}

TEST(Cluster, LiveRulesFailAndPassOnTheRecordedOne) {
  for (const auto& rule : rules()) {
    if (rule.offline != Offline::Live) continue;
    EXPECT_TRUE(std::any_of(std::begin(kLive), std::end(kLive),
                            [&](const LiveCase& c) { return c.code == rule.code; }))
        << rule.code << " has no case";
  }
  for (const auto& c : kLive) {
    const auto* rule = find_rule(c.code);
    ASSERT_NE(rule, nullptr);
    EXPECT_EQ(rule->offline, Offline::Live) << c.code;
    RecordedServer good;
    join(good, c.list, c.good);
    const auto passing = read(good);
    ASSERT_TRUE(passing.result);
    EXPECT_TRUE(passes(check(passing.set, {c.code}), c.code)) << c.code;
    RecordedServer bad;
    join(bad, c.list, c.objects);
    const auto failing = read(bad);
    ASSERT_TRUE(failing.result) << failing.result.error().message();
    const auto report = check(failing.set, {c.code});
    const auto* f = finding(report, c.code);
    ASSERT_NE(f, nullptr) << c.code;
    EXPECT_FALSE(f->unknown()) << c.code << ": " << f->message;
  }
}

/// The recorded cluster as `oc adm must-gather` lays it out.
std::map<std::string, std::string> must_gather() {
  std::map<std::string, std::string> out;
  for (const auto& [name, list] : recorded_lists()) {
    const auto dot = name.find('.');
    const std::string group = dot == std::string::npos ? "core" : name.substr(dot + 1);
    const std::string plural = name.substr(0, dot);
    std::map<std::string, JsonArray> by_ns;
    for (const auto& item : json::array(list, {"items"}))
      by_ns[std::string(json::str(item, {"metadata", "namespace"}))].push_back(item);
    if (by_ns.empty()) by_ns[""];
    for (auto& [ns, items] : by_ns) {
      Json part = list;
      part.as_object()["items"] = std::move(items);
      out["must-gather.local.1/quay-io-sha256-1/" +
          (ns.empty() ? "cluster-scoped-resources/" + group : "namespaces/" + ns + "/" + group) +
          "/" + plural + ".yaml"] = json::print(part);
    }
  }
  return out;
}

TEST(Dump, IsTheClusterThatItWasTakenFrom) {
  const auto files = must_gather();
  ASSERT_TRUE(looks_like_dump(files));
  EXPECT_FALSE(looks_like_dump({{"a/namespaces.yaml", ""}, {"namespaces/ns.yaml", ""}}));
  ObjectSet dump;
  add_dump(files, dump);
  EXPECT_TRUE(dump.errors().empty());
  RecordedServer recorded;
  ClusterOptions options;
  options.secrets = false;
  const auto live = read(recorded, options);
  EXPECT_EQ(dump.size(), live.set.size());
  const auto told = [](const Report& report) {
    std::set<std::string> out;
    for (const auto& f : report.findings) {
      if (!f.unknown()) out.insert(f.code + (f.object ? f.object->ref() : "") + f.message);
    }
    return out;
  };
  EXPECT_EQ(told(check(dump)), told(check(live.set)));
  // A dump holds no Secrets and, here, no channels: unknown, and a place in a file.
  const auto report = check(dump, {"K301", "K505"});
  ASSERT_EQ(report.findings.size(), 2U);
  for (const auto& f : report.findings) EXPECT_TRUE(f.unknown()) << f.code << f.message;
  EXPECT_NE(dump.find("serving.knative.dev/Service", "default", "hello")->place({}).file, "");
}

TEST(Dump, FilesLaidOverIt) {
  ObjectSet dump;
  add_dump(must_gather(), dump);
  ASSERT_TRUE(passes(check(dump, {"K402"}), "K402"));
  ObjectSet files;
  files.add_text("new.yaml",
                 "apiVersion: operator.knative.dev/v1beta1\nkind: KnativeServing\nmetadata: {name: "
                 "knative-serving, namespace: knative-serving}\nspec:\n  ingress:\n    istio: "
                 "{enabled: true}\n    kourier: {enabled: true}\n");
  dump.overlay(files);
  EXPECT_TRUE(dump.errors().empty());
  const auto report = check(dump, {"K402"});
  const auto* f = finding(report, "K402");
  ASSERT_NE(f, nullptr);
  EXPECT_EQ(f->place.file, "new.yaml");
}

}  // namespace
}  // namespace knit::check::input
