// kube/client and kube/informer against the real API.
#include "kube/informer.h"

#include "apiserver/test_api.h"

namespace knit::apiserver {
namespace {

using namespace test;
using namespace std::chrono_literals;

class InformerTest : public ApiFixture {
 protected:
  kube::Client client{loop, connector("system:knit:controller:test")};
  const kube::Resource configs = kube::res::configmaps();
  static Key key(std::string name) { return {kube::res::configmaps(), "default", std::move(name)}; }
  void make(const std::string& name, std::string_view data = R"({"v":"1"})") {
    Json body =
        parse(R"({"metadata":{"name":")" + name + R"("},"data":)" + std::string(data) + "}");
    const auto made = wait(client.create(configs, "default", std::move(body)));
    ASSERT_TRUE(made) << made.error().message();
  }
};

TEST_F(InformerTest, ClientVerbs) {
  make("a");
  auto got = wait(client.get(key("a")));
  ASSERT_TRUE(got);
  EXPECT_EQ((*got)->key(), key("a"));
  Json dom = (*got)->parse();
  json::set(dom, {"data", "v"}, "2");
  auto updated = wait(client.update(key("a"), dom));
  ASSERT_TRUE(updated);
  EXPECT_GT((*updated)->version(), (*got)->version());
  const auto stale = wait(client.update(key("a"), dom));
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code(), Code::Conflict);
  auto patched =
      wait(client.patch(key("a"), kube::PatchKind::Merge, parse(R"({"data":{"n":"1"}})")));
  ASSERT_TRUE(patched);
  for (int i = 0; i < 12; ++i) make("n" + std::to_string(i));
  const auto listed = wait(client.list(configs, {.ns = "default", .page = 5}));
  ASSERT_TRUE(listed);
  EXPECT_EQ(listed->objects.size(), 13u);
  EXPECT_TRUE(wait(client.remove(key("a"), parse(R"({"gracePeriodSeconds":0})"))));
  EXPECT_EQ(wait(client.get(key("a"))).error().code(), Code::NotFound);
  // A group whose version is not known is looked up.
  const auto gateways = wait(client.list(kube::res::gateways()));
  EXPECT_TRUE(gateways) << gateways.error().message();
  EXPECT_EQ(wait(client.list(kube::Resource::of("foos.example.com"))).error().code(),
            Code::NotFound);
}

TEST_F(InformerTest, FollowsAndSurvivesBrokenConnections) {
  make("a");
  std::vector<std::string> seen;
  int failures = 0;
  kube::Informer informer(
      loop, client, configs, {.ns = "default"},
      {.added = [&](const kube::ObjectPtr& o) { seen.push_back("+" + o->key().name); },
       .updated = [&](const kube::ObjectPtr&,
                      const kube::ObjectPtr& o) { seen.push_back("~" + o->key().name); },
       .deleted = [&](const kube::ObjectPtr& o) { seen.push_back("-" + o->key().name); },
       .synced = [&] { seen.push_back("synced"); },
       .failed = [&](const Error&) { ++failures; }});
  informer.start();
  loop.settle();
  EXPECT_EQ(seen, (std::vector<std::string>{"+a", "synced"}));
  make("b");
  (void)wait(client.patch(key("a"), kube::PatchKind::Merge, parse(R"({"data":{"v":"2"}})")));
  (void)wait(client.remove(key("b")));
  loop.settle();
  EXPECT_EQ(seen, (std::vector<std::string>{"+a", "synced", "+b", "~a", "-b"}));
  // The server goes; what happens meanwhile is told once it is back.
  server.reset();
  ApiDependencies dependencies;
  dependencies.random = random.get();
  server = std::make_unique<ApiServer>(loop, *store, registry, dependencies);
  kube::Client other(loop, connector("system:knit:controller:other"));
  ASSERT_TRUE(wait(other.create(configs, "default", parse(R"({"metadata":{"name":"c"}})"))));
  ASSERT_TRUE(wait(other.remove(key("a"))));
  seen.clear();
  loop.advance(40s);
  EXPECT_EQ(seen, (std::vector<std::string>{"-a", "+c"}));
  EXPECT_GE(failures, 1);
  EXPECT_NE(informer.get("default", "c"), nullptr);
  EXPECT_EQ(informer.list().size(), 1u);
}

}  // namespace
}  // namespace knit::apiserver
