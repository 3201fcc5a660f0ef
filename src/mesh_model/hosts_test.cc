#include "mesh_model/hosts.h"

namespace knit::mesh_model {
namespace {

TEST(Hosts, MatchAndSubsetTable) {  // istio pkg/config/host/name_test.go
  const struct {
    const char *a, *b;
    bool match, a_in_b;
  } rows[] = {
      {"a.test", "a.test", true, true},
      {"a.test", "b.test", false, false},
      {"a.test", "*", true, true},
      {"*", "a.test", true, false},
      {"*", "*", true, true},
      {"a.b.test", "*.test", true, true},
      {"*.b.test", "*.test", true, true},
      {"*.test", "*.b.test", true, false},
      {"test", "*.test", false, false},
      {"*.a.test", "*.b.test", false, false},
      {"*.test", "a.test", true, false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(hosts_match(row.a, row.b), row.match) << row.a << " " << row.b;
    EXPECT_EQ(hosts_match(row.b, row.a), row.match) << row.b << " " << row.a;
    EXPECT_EQ(host_subset(row.a, row.b), row.a_in_b) << row.a << " " << row.b;
  }
}

TEST(Hosts, OnServerTable) {  // spec mesh.md 2.2
  using List = std::vector<std::string>;
  const struct {
    const char* name;
    List server, vs;
    List want;
  } rows[] = {
      {"star serves all", {"*"}, {"a.test", "b.test"}, {"a.test", "b.test"}},
      {"wildcard", {"*.apps.test"}, {"a.apps.test", "a.test"}, {"a.apps.test"}},
      {"the narrower side", {"a.test"}, {"*.test"}, {"a.test"}},
      {"own namespace", {"default/a.test"}, {"a.test"}, {"a.test"}},
      {"another namespace", {"other/a.test"}, {"a.test"}, {}},
      {"any namespace", {"*/a.test"}, {"a.test"}, {"a.test"}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(hosts_on_server(row.server, row.vs, "default"), row.want);
  }
}

TEST(Hosts, ServiceNames) {
  EXPECT_EQ(full_host("hello", "default", "cluster.local"), "hello.default.svc.cluster.local");
  EXPECT_EQ(full_host("a.test", "default", "cluster.local"), "a.test");
  EXPECT_EQ(service_of_host("hello.default.svc.cluster.local", "cluster.local"), "default/hello");
  EXPECT_EQ(service_of_host("hello.default.svc", "cluster.local"), "default/hello");
  for (const char* other : {"hello", "a.test", "a.b.svc.other", ".x.svc.cluster.local",
                            "a.b.c.svc.cluster.local", "a..svc.cluster.local"}) {
    EXPECT_EQ(service_of_host(other, "cluster.local"), "") << other;
  }
}

}  // namespace
}  // namespace knit::mesh_model
