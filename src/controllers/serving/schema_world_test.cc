// What Serving writes, judged by the schema: every object decodes strictly, is admitted, and the
// server's defaults leave nothing to plan again.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "base/yaml.h"
#include "controllers/serving/test_world.h"
#include "kube/schema/schema.h"

namespace knit::serving {
namespace {
namespace schema = knit::schema;

class SchemaWorldTest : public ::testing::Test {
 protected:
  SchemaWorldTest() {
    world.backend.set_admit([this](const World& seen, const Key& key, Json& object,
                                   const Json* before) -> Result<void> {
      KNIT_TRY_VOID(controllers::core::admit_core(seen, key, object, before, world.settings));
      const auto* kind = schema::Registry::get().by_resource(key.resource);
      if (kind == nullptr) {
        return Error(Code::NotFound,
                     "the schema does not know " + std::string(key.resource.name()));
      }
      const std::string api_version(json::str(object, {"apiVersion"}));
      const auto slash = api_version.find('/');
      const std::string version =
          slash == std::string::npos ? api_version : api_version.substr(slash + 1);
      Json status;
      if (const Json* s = json::find(object, "status")) status = *s;
      auto decoded = schema::decode_dom(*kind, version, object, schema::FieldValidation::Strict);
      if (decoded.failure) {
        refused.push_back(kube::to_string(key) + ": " + decoded.failure->message);
        return Error(Code::InvalidArgument, decoded.failure->message);
      }
      object = std::move(decoded.object);
      if (!status.is_null()) json::set(object, {"status"}, std::move(status));
      schema::Context context;
      context.internal = true;
      context.user = "system:knit:controller";
      context.operation = before == nullptr ? schema::Operation::Create : schema::Operation::Update;
      context.old = before;
      context.now = seen.wall_now();
      const auto verdict = schema::admit(*kind, object, before, context);
      if (verdict.failure) {
        refused.push_back(kube::to_string(key) + ": " + verdict.failure->message);
        return Error(Code::InvalidArgument, verdict.failure->message);
      }
      return {};
    });
  }
  void quiet() {
    EXPECT_EQ(refused, std::vector<std::string>());
    EXPECT_EQ(world.pending(), std::vector<std::string>());
  }
  ServingWorld world;
  std::vector<std::string> refused;
};

TEST_F(SchemaWorldTest, TheSeedsService) {
  world.begin_serving();
  std::ifstream file("tests/seed/knative-service.yaml");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto service = yaml::parse_one(text);
  ASSERT_TRUE(service.has_value()) << service.error().message();
  ASSERT_TRUE(world.apply(res::ksvcs(), *service));
  world.live(6);
  const Key key{res::ksvcs(), "default", "hello"};
  EXPECT_EQ(world.status_of(key, "Ready"), "True") << world.message_of(key, "Ready");
  quiet();
  world.live(70);
  EXPECT_EQ(json::i64(world.view({res::deployments(), "default", "hello-00001-deployment"}),
                      {"spec", "replicas"}, -1),
            0);
  quiet();
}

TEST_F(SchemaWorldTest, ServicesThatUseMore) {
  world.begin_serving();
  const char* const templates[] = {
      R"({"spec":{"containerConcurrency":5,"timeoutSeconds":30,"containers":[{
          "image":"knit.local/hello","args":["a"],"env":[{"name":"A","value":"b"}],
          "ports":[{"containerPort":8080,"name":"h2c"}],
          "readinessProbe":{"httpGet":{"path":"/"},"periodSeconds":3},
          "livenessProbe":{"httpGet":{"path":"/"}},
          "resources":{"limits":{"memory":"64Mi","cpu":"500m"}},
          "securityContext":{"runAsUser":1000,"allowPrivilegeEscalation":false}}]}})",
      R"({"metadata":{"annotations":{"autoscaling.knative.dev/min-scale":"2",
          "autoscaling.knative.dev/target-burst-capacity":"-1",
          "autoscaling.knative.dev/metric":"rps"}},
          "spec":{"containers":[{"image":"knit.local/hello","ports":[{"containerPort":80}]},
            {"name":"side","image":"knit.local/side"}],
          "volumes":[]}})",
  };
  int n = 0;
  for (const auto* t : templates) {
    SCOPED_TRACE(t);
    const std::string name = "s" + std::to_string(n++);
    Json service = JsonObject();
    json::set(service, {"apiVersion"}, Json("serving.knative.dev/v1"));
    json::set(service, {"kind"}, Json("Service"));
    json::set(service, {"metadata", "name"}, Json(name));
    json::set(service, {"metadata", "namespace"}, Json("default"));
    json::set(service, {"spec", "template"}, *json::parse(t));
    const auto made = world.apply(res::ksvcs(), service);
    ASSERT_TRUE(made.has_value()) << made.error().message();
    world.live(8);
    const Key key{res::ksvcs(), "default", name};
    EXPECT_EQ(world.status_of(key, "Ready"), "True") << world.message_of(key, "Ready");
    quiet();
  }
}

}  // namespace
}  // namespace knit::serving
