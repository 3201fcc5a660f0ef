#include <gtest/gtest.h>

#include "config_stream/client.h"
#include "config_stream/server.h"
#include "io/sim_loop.h"

namespace knit::config_stream {
namespace {

namespace pc = proxy_config;

pc::Resource mesh(std::string name, std::string domain) {
  pc::Mesh m;
  m.trust_domain = std::move(domain);
  return resource(pc::Type::Mesh, std::move(name), m);
}
pc::Resource service(std::string name) {
  pc::Service s;
  s.cluster_ips = {"172.30.0.9"};
  return resource(pc::Type::Service, std::move(name), s);
}

class ConfigStreamTest : public testing::Test {
 protected:
  void join() {
    server.disconnect();
    client.disconnect();
    auto [a, b] =
        ipc::memory_channels(loop, {[this](ipc::Received r) { server.on_message(r); }, [] {}},
                             {[this](ipc::Received r) { client.on_message(r); }, [] {}});
    server_end = std::move(a);
    client_end = std::move(b);
    server.connect(*server_end);
    client.connect(*client_end);
    loop.settle();
  }
  io::SimLoop loop;
  std::vector<std::string> applied;  // "+type/name" and "-type/name", in the order of arrival
  std::vector<std::string> refused;
  std::string refuse_name;
  std::vector<std::function<void()>> held;
  bool hold = false;
  Server server{
      {[this](const pc::Refusal& r) { refused.push_back(r.ref.name + ": " + r.reason); }, nullptr}};
  Client client{{[this](const std::vector<pc::Resource>& set, const std::vector<pc::Ref>& removed,
                        Client::Applied done) {
                   std::vector<pc::Refusal> bad;
                   for (const auto& r : set) {
                     if (r.name == refuse_name) {
                       bad.push_back({{r.type, r.name}, "no"});
                     } else {
                       applied.push_back("+" + std::string(to_string(r.type)) + "/" + r.name);
                     }
                   }
                   for (const auto& r : removed) {
                     applied.push_back("-" + std::string(to_string(r.type)) + "/" + r.name);
                   }
                   auto finish = [done, bad] { done(bad); };
                   if (hold) {
                     held.push_back(finish);
                   } else {
                     finish();
                   }
                 },
                 nullptr}};
  std::unique_ptr<ipc::Channel> server_end, client_end;
};

TEST_F(ConfigStreamTest, MakesBeforeItBreaks) {
  server.set(service("a/b"));
  server.set(mesh("m", "x"));
  join();
  EXPECT_EQ(applied, (std::vector<std::string>{"+Mesh/m", "+Service/a/b"}));
  EXPECT_TRUE(server.synced());
  applied.clear();
  server.remove({pc::Type::Mesh, "m"});
  server.remove({pc::Type::Service, "a/b"});
  server.set(service("a/c"));
  server.flush();
  loop.settle();
  EXPECT_EQ(applied, (std::vector<std::string>{"+Service/a/c", "-Service/a/b", "-Mesh/m"}));
}

TEST_F(ConfigStreamTest, OneInFlightAndTheNewestWins) {
  hold = true;
  server.set(mesh("m", "one"));
  join();
  ASSERT_EQ(held.size(), 1U);
  server.set(mesh("m", "two"));
  server.flush();
  server.set(mesh("m", "three"));
  server.flush();
  loop.settle();
  EXPECT_EQ(held.size(), 1U) << "nothing is sent before the first is acknowledged";
  held[0]();
  loop.settle();
  ASSERT_EQ(held.size(), 2U);
  EXPECT_FALSE(server.synced());
  held[1]();
  loop.settle();
  EXPECT_TRUE(server.synced());
  EXPECT_EQ(codec::decode<pc::Mesh>(client.snapshot()[0].body)->trust_domain, "three");
}

TEST_F(ConfigStreamTest, ResumesByHash) {
  server.set(mesh("m", "x"));
  server.set(mesh("n", "x"));
  join();
  applied.clear();
  server.set(mesh("n", "y"));
  server.remove({pc::Type::Mesh, "m"});
  join();
  EXPECT_EQ(applied, (std::vector<std::string>{"+Mesh/n", "-Mesh/m"}));
  applied.clear();
  join();
  EXPECT_TRUE(applied.empty()) << "nothing differs, nothing travels";
}

TEST_F(ConfigStreamTest, RefusedResourceAloneIsLeftOut) {
  refuse_name = "bad";
  server.set(mesh("bad", "x"));
  server.set(mesh("good", "x"));
  join();
  EXPECT_EQ(applied, (std::vector<std::string>{"+Mesh/good"}));
  EXPECT_EQ(refused, (std::vector<std::string>{"bad: no"}));
  EXPECT_TRUE(server.synced());
  server.flush();
  loop.settle();
  EXPECT_EQ(refused.size(), 1U) << "not sent again until it changes";
  refuse_name = "";
  server.set(mesh("bad", "repaired"));
  server.flush();
  loop.settle();
  EXPECT_EQ(applied.back(), "+Mesh/bad");
}

TEST_F(ConfigStreamTest, AServerThatHasNotMadeItsSetYetTakesNothingAway) {
  server.set(mesh("m", "x"));
  join();
  Server next{{nullptr, nullptr}};
  next.begin();
  auto [a, b] =
      ipc::memory_channels(loop, {[&](ipc::Received r) { next.on_message(r); }, [] {}},
                           {[this](ipc::Received r) { client.on_message(r); }, [] {}});
  next.connect(*a);
  client.connect(*b);
  loop.settle();
  EXPECT_EQ(client.snapshot().size(), 1U);
  next.set(service("a/b"));
  next.complete();
  next.flush();
  loop.settle();
  ASSERT_EQ(client.snapshot().size(), 1U);
  EXPECT_EQ(client.snapshot()[0].name, "a/b");
  EXPECT_TRUE(next.synced());
}

TEST_F(ConfigStreamTest, HaveWaitsForWhatIsRestored) {
  hold = true;
  client.restore({mesh("old", "x"), mesh("m", "x")}, [] {});
  ASSERT_EQ(held.size(), 1U);
  server.set(mesh("m", "x"));
  join();  // before the workers run the restored set
  EXPECT_EQ(held.size(), 1U) << "the server does not know yet what is there";
  hold = false;
  applied.clear();
  held[0]();
  loop.settle();
  EXPECT_EQ(applied, (std::vector<std::string>{"-Mesh/old"}));
  EXPECT_TRUE(server.synced());
}

TEST_F(ConfigStreamTest, AnAckOfAnOldChannelChangesNothing) {
  hold = true;
  server.set(mesh("m", "one"));
  join();
  ASSERT_EQ(held.size(), 1U);
  join();  // both sides start over while the delta is being applied
  ASSERT_EQ(held.size(), 2U) << "asked again, because nothing is known to run";
  held[0]();
  loop.settle();
  EXPECT_FALSE(server.synced());
  held[1]();
  loop.settle();
  EXPECT_TRUE(server.synced());
}

}  // namespace
}  // namespace knit::config_stream
