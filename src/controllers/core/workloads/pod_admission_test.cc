#include "controllers/core/workloads/pod_admission.h"

#include <gtest/gtest.h>

#include "controllers/core/test_world.h"

namespace knit::controllers::core {
namespace {

class PodAdmissionTest : public testing::Test {
 protected:
  CoreWorld world;
  void SetUp() override {
    world.begin();
    world.make_namespace("team", R"({"maistra.io/member-of":"istio-system"})");
    world.make_namespace("istio-system");
    ASSERT_TRUE(
        world.apply(res::smcps(), R"({"metadata":{"name":"basic","namespace":"istio-system"},
      "spec":{"proxy":{"networking":{"trafficControl":{"inbound":{"excludedPorts":[8444,8022]}}}}}})"));
  }
  Json admitted(std::string_view manifest, std::string_view ns = "team") {
    Json pod = literal(manifest);
    json::set(pod, {"metadata", "namespace"}, Json(ns));
    const auto done = admit_pod(*world.backend.snapshot(), pod, {});
    EXPECT_TRUE(done) << done.error().message();
    return pod;
  }
};

TEST_F(PodAdmissionTest, AccountTokenTolerationsAndClass) {
  const Json pod = admitted(R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}]}})");
  EXPECT_EQ(json::str(pod, {"spec", "serviceAccountName"}), "default");
  ASSERT_EQ(json::array(pod, {"spec", "volumes"}).size(), 1U);
  const Json volume = json::array(pod, {"spec", "volumes"})[0];
  EXPECT_TRUE(json::str(volume, {"name"}).starts_with("kube-api-access-"));
  // kubeapi.md 1.16: token of 3607 s, ca.crt of kube-root-ca.crt, namespace
  EXPECT_EQ(json::i64(json::array(volume, {"projected", "sources"})[0],
                      {"serviceAccountToken", "expirationSeconds"}),
            3607);
  const Json mount = json::array(json::array(pod, {"spec", "containers"})[0], {"volumeMounts"})[0];
  EXPECT_EQ(json::str(mount, {"mountPath"}), "/var/run/secrets/kubernetes.io/serviceaccount");
  EXPECT_EQ(json::array(pod, {"spec", "tolerations"}).size(), 2U);
  EXPECT_EQ(json::i64(pod, {"spec", "priority"}, -1), 0);
  EXPECT_EQ(json::str(pod, {"status", "qosClass"}), "BestEffort");
  // Doing it twice changes nothing.
  Json twice = pod;
  ASSERT_TRUE(admit_pod(*world.backend.snapshot(), twice, {}));
  EXPECT_EQ(json::canonical(twice), json::canonical(pod));
}

TEST_F(PodAdmissionTest, NoTokenWhenNotWanted) {
  const Json pod =
      admitted(R"({"metadata":{"name":"p"},"spec":{"automountServiceAccountToken":false,
    "containers":[{"name":"c"}]}})");
  EXPECT_TRUE(json::array(pod, {"spec", "volumes"}).empty());
}

// mesh.md 1.6: hostNetwork → no; ignored namespaces → no; label beats annotation; the namespace
// must be a member.
TEST_F(PodAdmissionTest, InjectionTable) {
  const struct {
    const char* name;
    const char* ns;
    const char* pod;
    bool inject;
  } rows[] = {
      {"nothing asked", "team", R"({"metadata":{}})", false},
      {"annotation", "team", R"({"metadata":{"annotations":{"sidecar.istio.io/inject":"true"}}})",
       true},
      {"label", "team", R"({"metadata":{"labels":{"sidecar.istio.io/inject":"true"}}})", true},
      {"label beats annotation", "team",
       R"({"metadata":{"labels":{"sidecar.istio.io/inject":"false"},"annotations":{"sidecar.istio.io/inject":"true"}}})",
       false},
      {"host network", "team",
       R"({"metadata":{"labels":{"sidecar.istio.io/inject":"true"}},"spec":{"hostNetwork":true}})",
       false},
      {"no member", "default", R"({"metadata":{"labels":{"sidecar.istio.io/inject":"true"}}})",
       false},
      {"system", "kube-system", R"({"metadata":{"labels":{"sidecar.istio.io/inject":"true"}}})",
       false},
      {"nonsense", "team", R"({"metadata":{"labels":{"sidecar.istio.io/inject":"maybe"}}})", false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto how = injection_of(*world.backend.snapshot(), row.ns, literal(row.pod));
    EXPECT_EQ(how.inject, row.inject);
    EXPECT_FALSE(how.reason.empty());
  }
}

TEST_F(PodAdmissionTest, TheSidecarIsThere) {
  const Json pod = admitted(R"({"metadata":{"name":"p","labels":{"app":"shop","version":"v2"},
    "annotations":{"sidecar.istio.io/inject":"true"}},"spec":{"containers":[{"name":"c"}]}})");
  const auto& containers = json::array(pod, {"spec", "containers"});
  ASSERT_EQ(containers.size(), 2U);
  EXPECT_EQ(json::str(containers[1], {"name"}), "istio-proxy");
  EXPECT_EQ(json::str(containers[1], {"image"}), "knit.local/role/istio-proxy");
  EXPECT_EQ(json::str(pod, {"metadata", "labels", "security.istio.io/tlsMode"}), "istio");
  EXPECT_EQ(json::str(pod, {"metadata", "labels", "service.istio.io/canonical-name"}), "shop");
  EXPECT_EQ(json::str(pod, {"metadata", "labels", "service.istio.io/canonical-revision"}), "v2");
  EXPECT_EQ(json::str(pod, {"metadata", "labels", "istio.io/rev"}), "basic");
  EXPECT_EQ(
      json::str(pod, {"metadata", "annotations", "traffic.sidecar.istio.io/excludeInboundPorts"}),
      "15090,15020,8444,8022");
  const auto status =
      json::parse(json::str(pod, {"metadata", "annotations", "sidecar.istio.io/status"}));
  ASSERT_TRUE(status);
  EXPECT_EQ(json::str(*status, {"revision"}), "basic");
}

TEST(QosClass, Table) {
  const struct {
    const char* name;
    const char* resources;
    const char* want;
  } rows[] = {
      {"none", "{}", "BestEffort"},
      {"requests", R"({"requests":{"cpu":"1"}})", "Burstable"},
      {"limits only", R"({"limits":{"cpu":"1","memory":"1Gi"}})", "Guaranteed"},
      {"equal in other words",
       R"({"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1000m","memory":"1024Mi"}})",
       "Guaranteed"},
      {"less", R"({"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}})", "Burstable"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Json pod = literal(R"({"spec":{"containers":[{"name":"c"}]}})");
    json::set(pod.at("spec").at("containers").at(0), {"resources"}, literal(row.resources));
    EXPECT_EQ(qos_class(pod), row.want);
  }
}

TEST(Quantity, Table) {
  const struct {
    const char* text;
    std::int64_t milli;  // -1 = error
  } rows[] = {{"100m", 100},     {"1.5", 1500}, {"1Ki", 1'024'000}, {"2e3", 2'000'000},
              {"1E", INT64_MAX}, {"0", 0},      {"1n", 1},          {"", -1},
              {"x", -1},         {"1Q", -1},    {"1e", -1},         {".5", 500}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    const Json v(row.text);
    const auto parsed = quantity_milli(&v);
    EXPECT_EQ(parsed.has_value(), row.milli >= 0);
    if (parsed) {
      EXPECT_EQ(*parsed, row.milli);
    }
  }
}

}  // namespace
}  // namespace knit::controllers::core
