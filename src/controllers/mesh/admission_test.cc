#include "controllers/mesh/admission.h"

#include "controllers/mesh/test_world.h"

namespace knit::mesh {
namespace {
namespace res = kube::res;

TEST(Admission, TheSeedIsAdmitted) {
  MeshWorld world;
  const auto errors = [&](kube::Resource resource, const Json& object) {
    return admit_mesh_object(*world.backend.snapshot(),
                             key_of(resource, text(object, {"metadata", "namespace"}),
                                    text(object, {"metadata", "name"})),
                             object, nullptr);
  };
  EXPECT_TRUE(errors(res::smcps(), MeshWorld::seed("smcp.yaml")[0]).errors.empty());
  EXPECT_TRUE(
      errors(res::smmrs(), MeshWorld::seed("servicemesh-member-roll.yaml")[0]).errors.empty());
  for (const int i : {0, 1}) {
    EXPECT_TRUE(errors(res::gateways(),
                       MeshWorld::seed("istio-knative-gateways.yaml")[static_cast<std::size_t>(i)])
                    .errors.empty());
  }
  const auto entry =
      errors(res::serviceentries(), MeshWorld::seed("kafka-cluster-serviceentry.yaml")[0]);
  EXPECT_TRUE(entry.errors.empty());
  ASSERT_EQ(entry.warnings.size(), 2u);  // spec mesh.md 1.7
  EXPECT_EQ(entry.warnings[0],
            "spec.ports[3].name: service entry port name \"tcp-sasl-tls\" already defined; Istio "
            "refuses it");
}

TEST(Admission, RefusalTable) {
  MeshWorld world;
  world.begin();
  world.apply_ok(res::smcps(), MeshWorld::seed("smcp.yaml")[0]);
  world.apply_ok(res::smmrs(), MeshWorld::seed("servicemesh-member-roll.yaml")[0]);
  const auto server = [](const char* text) { return std::string(R"({"servers":[)") + text + "]}"; };
  const struct {
    const char* name;
    kube::Resource resource;
    const char *ns, *object_name;
    std::string spec;
    const char* message;
  } rows[] = {
      {"placeholder left in", res::gateways(), "a", "g",
       server(R"({"port":{"number":443,"name":"h","protocol":"HTTPS"},"hosts":["*"],
                  "tls":{"mode":"SIMPLE","credentialName":"<wildcard_certs>"}})"),
       "fill the placeholder"},
      {"HTTPS without tls", res::gateways(), "a", "g",
       server(R"({"port":{"number":443,"name":"h","protocol":"HTTPS"},"hosts":["*"]})"),
       "must have TLS settings"},
      {"HTTP with certificate", res::gateways(), "a", "g",
       server(R"({"port":{"number":80,"name":"h","protocol":"HTTP"},"hosts":["*"],
                  "tls":{"mode":"SIMPLE","credentialName":"c"}})"),
       "cannot have TLS settings"},
      {"SIMPLE without certificate", res::gateways(), "a", "g",
       server(R"({"port":{"number":443,"name":"h","protocol":"HTTPS"},"hosts":["*"],
                  "tls":{"mode":"SIMPLE"}})"),
       "requires a server certificate"},
      {"ISTIO_MUTUAL with certificate", res::gateways(), "a", "g",
       server(R"({"port":{"number":443,"name":"h","protocol":"HTTPS"},"hosts":["*"],
                  "tls":{"mode":"ISTIO_MUTUAL","credentialName":"c"}})"),
       "cannot have associated"},
      {"mode", res::gateways(), "a", "g",
       server(R"({"port":{"number":443,"name":"h","protocol":"TLS"},"hosts":["*"],
                  "tls":{"mode":"AUTO_PASSTHROUGH"}})"),
       "AUTO_PASSTHROUGH is not supported"},
      {"mode without effect", res::gateways(), "a", "g",
       server(R"({"port":{"number":443,"name":"h","protocol":"TLS"},"hosts":["*"],
                  "tls":{"mode":"PASSTHROUGH"}})"),
       ".tls.mode: PASSTHROUGH is not supported"},
      {"the default mode", res::gateways(), "a", "g",
       server(R"({"port":{"number":443,"name":"h","protocol":"HTTPS"},"hosts":["*"],"tls":{}})"),
       ".tls.mode: PASSTHROUGH is not supported"},
      {"no host", res::gateways(), "a", "g",
       server(R"({"port":{"number":80,"name":"h","protocol":"HTTP"},"hosts":[]})"),
       "at least one host"},
      {"no name", res::gateways(), "a", "g",
       server(R"({"port":{"number":80,"protocol":"HTTP"},"hosts":["*"]})"),
       "port name must be set"},
      {"same name twice (GW-12)", res::gateways(), "a", "g",
       server(R"({"port":{"number":80,"name":"h","protocol":"HTTP"},"hosts":["*"]},
                 {"port":{"number":81,"name":"h","protocol":"HTTP"},"hosts":["*"]})"),
       "must be unique"},
      {"protocol", res::gateways(), "a", "g",
       server(R"({"port":{"number":80,"name":"h","protocol":"QUIC"},"hosts":["*"]})"),
       "unsupported protocol"},
      {"port", res::gateways(), "a", "g",
       server(R"({"port":{"number":0,"name":"h","protocol":"HTTP"},"hosts":["*"]})"),
       "range 1..65535"},
      {"no servers", res::gateways(), "a", "g", "{}", "at least one server"},
      {"policy", res::peerauthentications(), "a", "p", R"({"mtls":{"mode":"DISABLE"}})",
       "not DISABLE"},
      {"roll name", res::smmrs(), "b", "mine", "{}", "must be \"default\""},
      {"roll of itself", res::smmrs(), "b", "default", R"({"members":["b"]})",
       "cannot be listed as a member"},
      {"roll twice", res::smmrs(), "b", "default", R"({"members":["c","c"]})", "listed twice"},
      {"roll star", res::smmrs(), "b", "default", R"({"members":["*"]})", "not supported"},
      {"roll placeholder", res::smmrs(), "b", "default",
       R"({"members":["your-OpenShift-projects"]})", "fill the placeholder"},
      {"taken", res::smmrs(), "b", "default", R"({"members":["default"]})",
       "already a member of the mesh istio-system"},
      {"second SMCP", res::smcps(), "istio-system", "another", "{}", "only one service mesh"},
      {"SMCP profile", res::smcps(), "b", "x", R"({"profiles":["big"]})", "does not exist"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Json object =
        JsonObject{{"metadata", JsonObject{{"namespace", row.ns}, {"name", row.object_name}}},
                   {"spec", json::parse(row.spec).value()}};
    const auto got = admit_mesh_object(
        *world.backend.snapshot(), key_of(row.resource, row.ns, row.object_name), object, nullptr);
    ASSERT_FALSE(got.errors.empty());
    EXPECT_NE(got.errors[0].find(row.message), std::string::npos) << got.errors[0];
  }
}

}  // namespace
}  // namespace knit::mesh
