#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "kube/schema/schema.h"

namespace knit::schema {
namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}
const Kind& kind(std::string_view api_version, std::string_view name) {
  const Kind* k = Registry::get().by_api_version(api_version, name);
  KNIT_CHECK(k != nullptr);
  return *k;
}
Json J(std::string_view text) { return *json::parse(text); }

// encoding/json prints nil lists, maps and times without omitempty as null; Knit leaves them out.
void drop_nulls(Json& v) {
  if (auto* object = v.if_object()) {
    std::vector<std::string> gone;
    for (auto& m : *object) {
      if (m.value().is_null()) {
        gone.emplace_back(m.key());
      } else {
        drop_nulls(m.value());
      }
    }
    for (const auto& key : gone) object->erase(key);
  } else if (auto* array = v.if_array()) {
    for (auto& item : *array) drop_nulls(item);
  }
}

// tests/vectors: bodies encoded by client-go's serializer, and what Go prints for the same object.
TEST(Decode, ReadsWhatClientGoWrites) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("tests/vectors")) {
    if (entry.path().extension() != ".bin") continue;
    SCOPED_TRACE(entry.path().filename().string());
    const std::string body = read(entry.path());
    Json want = J(read(std::filesystem::path(entry.path()).replace_extension(".json")));
    drop_nulls(want);
    const auto type = protobuf_type(body);
    ASSERT_TRUE(type);
    EXPECT_EQ(type->kind, json::str(want, {"kind"}));
    ++count;
    Json got;
    const Kind* k = nullptr;
    if (type->api_version == "meta.k8s.io/v1") {
      const Decoded d = decode_options(type->kind, body, ContentType::Protobuf);
      ASSERT_FALSE(d.failure) << d.failure->message;
      got = d.object;
      want.get_object().erase("apiVersion");
    } else {
      k = Registry::get().by_api_version(type->api_version, type->kind);
      if (k == nullptr) continue;  // a kind that is only reached through others
      const Decoded d =
          decode(*k, k->versions[0], body, ContentType::Protobuf, FieldValidation::Strict);
      ASSERT_FALSE(d.failure) << d.failure->message;
      got = d.object;
    }
    drop_nulls(got);  // inside of raw extensions
    EXPECT_EQ(json::canonical(got), json::canonical(want));
    if (k == nullptr) continue;
    // JSON of the same object decodes to the same, and what we encode is read back.
    const Decoded from_json =
        decode(*k, k->versions[0], json::print(want), ContentType::Json, FieldValidation::Strict);
    ASSERT_FALSE(from_json.failure) << from_json.failure->message;
    EXPECT_EQ(json::canonical(from_json.object), json::canonical(want));
    const auto encoded = encode_protobuf(*k, got);
    ASSERT_TRUE(encoded);
    const Decoded again =
        decode(*k, k->versions[0], *encoded, ContentType::Protobuf, FieldValidation::Strict);
    ASSERT_FALSE(again.failure);
    EXPECT_EQ(json::canonical(again.object), json::canonical(got));
  }
  EXPECT_GT(count, 40);
}

TEST(Decode, BoundsMalformedProtobuf) {
  const Kind& pod = kind("v1", "Pod");
  const std::string good = read("tests/vectors/pod.full.bin");
  for (std::size_t n = 0; n < good.size(); n += 97) {  // every prefix: no crash
    (void)decode(pod, "v1", good.substr(0, n), ContentType::Protobuf, FieldValidation::Warn);
  }
  for (const char* bad : {"", "k8s", "{}", "k8s\x01"}) {
    EXPECT_TRUE(decode(pod, "v1", bad, ContentType::Protobuf, FieldValidation::Warn).failure);
  }
  std::string flipped = good;
  for (std::size_t i = 4; i < flipped.size(); i += 13) flipped[i] = static_cast<char>(~flipped[i]);
  (void)decode(pod, "v1", flipped, ContentType::Protobuf, FieldValidation::Warn);
}

// kubeapi.md 1.11: Strict is 400, Warn the server's default.
TEST(Decode, FieldValidation) {
  const Kind& deployment = kind("apps/v1", "Deployment");
  const std::string body = R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},
      "spec":{"foo":1,"replicas":2,"replicas":3,
      "template":{"spec":{"containers":[{"name":"c","imag":"x"}]}}}})";
  const Decoded warned = decode(deployment, "v1", body, ContentType::Json, FieldValidation::Warn);
  ASSERT_FALSE(warned.failure);
  const std::vector<std::string> want = {"duplicate field \"spec.replicas\"",
                                         "unknown field \"spec.foo\"",
                                         "unknown field \"spec.template.spec.containers[0].imag\""};
  EXPECT_EQ(warned.warnings, want);
  EXPECT_EQ(json::i64(warned.object, {"spec", "replicas"}), 3);
  EXPECT_EQ(json::find(warned.object, {"spec", "foo"}), nullptr);
  EXPECT_TRUE(
      decode(deployment, "v1", body, ContentType::Json, FieldValidation::Ignore).warnings.empty());
  const Decoded strict = decode(deployment, "v1", body, ContentType::Json, FieldValidation::Strict);
  ASSERT_TRUE(strict.failure);
  EXPECT_EQ(strict.failure->code, 400);
  EXPECT_EQ(
      strict.failure->message,
      "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: "
      "duplicate field \"spec.replicas\", unknown field \"spec.foo\", unknown field "
      "\"spec.template.spec.containers[0].imag\"");
}

TEST(Decode, RefusesWrongTypes) {
  const struct {
    const char *api_version, *kind, *body;
    int code;
    const char* part;
  } rows[] = {
      {"apps/v1", "Deployment", R"({"spec":{"replicas":"3"}})", 400,
       "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type "
       "int32"},
      {"apps/v1", "Deployment", R"({"spec":{"replicas":3.5}})", 400,
       "json: cannot unmarshal number 3.5 into Go struct field DeploymentSpec.spec.replicas of "
       "type "
       "int32"},
      {"v1", "Pod", R"({"spec":{"containers":[{"name":5}]}})", 400,
       "json: cannot unmarshal number 5 into Go struct field Container.spec.containers.name of "
       "type "
       "string"},
      {"v1", "Pod", R"({"spec":{"containers":[{"resources":{"limits":{"cpu":"x"}}}]}})", 400,
       "quantities must match the regular expression"},
      {"v1", "Secret", R"({"data":{"a":"%%"}})", 400, "illegal base64 data"},
      {"v1", "ConfigMap", R"({"data":{"a":true}})", 400,
       "json: cannot unmarshal bool into Go struct field ConfigMap.data.a of type string"},
      {"v1", "ConfigMap", R"({"kind":"Secret"})", 400,
       "Secret in version \"v1\" cannot be handled as a ConfigMap"},
      {"v1", "ConfigMap", R"({"apiVersion":"v2"})", 400,
       "the API version in the data (v2) does not match the expected API version (v1)"},
      {"v1", "ConfigMap", R"([])", 400, "json: cannot unmarshal array"},
      {"v1", "ConfigMap", R"({"data":)", 400, "invalid JSON"},
      {"maistra.io/v1", "ServiceMeshMemberRoll",
       R"({"metadata":{"name":"default"},"spec":{"members":["a",7]}})", 422,
       "ServiceMeshMemberRoll.maistra.io \"default\" is invalid: spec.members[1]: Invalid value: "
       "\"integer\": spec.members[1] in body must be of type string: \"integer\""},
      {"serving.knative.dev/v1", "Service",
       R"({"metadata":{"name":"x"},"spec":{"template":{"spec":{"timeoutSeconds":"5"}}}})", 422,
       "spec.template.spec.timeoutSeconds in body must be of type integer: \"string\""},
      {"networking.istio.io/v1", "Gateway", R"({"spec":{"servers":[{"tls":{"mode":"TLS"}}]}})", 422,
       "spec.servers[0].tls.mode: Unsupported value: \"TLS\": supported values: \"PASSTHROUGH\""},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.body);
    const Kind& k = kind(row.api_version, row.kind);
    const Decoded d = decode(k, k.versions[0], row.body, ContentType::Json, FieldValidation::Warn);
    ASSERT_TRUE(d.failure);
    EXPECT_EQ(d.failure->code, row.code);
    EXPECT_NE(d.failure->message.find(row.part), std::string::npos) << d.failure->message;
  }
}

TEST(Decode, NormalizesAsGoDoes) {
  const struct {
    const char *api_version, *kind, *body, *want;
  } rows[] = {
      {"v1", "ConfigMap",
       R"({"metadata":{"name":"a","creationTimestamp":null,"labels":{}},"data":{}})",
       R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}})"},
      {"v1", "Pod",
       R"({"spec":{"hostNetwork":false,"terminationGracePeriodSeconds":0,"containers":[
          {"name":"c","resources":{"limits":{"cpu":1,"memory":"1024Mi"}},"env":[{"name":"E","value":""}]}]}})",
       R"({"apiVersion":"v1","kind":"Pod","metadata":{},"spec":{"containers":[{"env":[{"name":"E"}],
          "name":"c","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}],
          "terminationGracePeriodSeconds":0},"status":{}})"},
      {"v1", "Service", R"({"spec":{"ports":[{"port":80}]}})",
       R"({"apiVersion":"v1","kind":"Service","metadata":{},"spec":{"ports":[{"port":80,
          "targetPort":0}]},"status":{"loadBalancer":{}}})"},
      {"networking.istio.io/v1", "Gateway",
       R"({"apiVersion":"networking.istio.io/v1","metadata":{"name":"g","creationTimestamp":null},
          "spec":{"selector":{},"servers":[{"hosts":[],"bind":"","port":null}]}})",
       R"({"apiVersion":"networking.istio.io/v1","kind":"Gateway","metadata":{"name":"g"},
          "spec":{"selector":{},"servers":[{"hosts":[],"bind":""}]}})"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.body);
    const Kind& k = kind(row.api_version, row.kind);
    const Decoded d =
        decode(k, k.versions[0], row.body, ContentType::Json, FieldValidation::Strict);
    ASSERT_FALSE(d.failure) << d.failure->message;
    EXPECT_EQ(json::canonical(d.object), json::canonical(J(row.want)));
  }
}

TEST(Decode, ReadsYaml) {
  const Kind& k = kind("v1", "ConfigMap");
  const Decoded d = decode(k, "v1", "metadata:\n  name: a\ndata:\n  x: \"1\"\n", ContentType::Yaml,
                           FieldValidation::Strict);
  ASSERT_FALSE(d.failure) << d.failure->message;
  EXPECT_EQ(json::str(d.object, {"data", "x"}), "1");
  EXPECT_TRUE(decode(k, "v1", "a: [", ContentType::Yaml, FieldValidation::Warn).failure);
  EXPECT_TRUE(decode(k, "v1", "", ContentType::Yaml, FieldValidation::Warn).failure);
}

TEST(Decode, Options) {
  const Decoded d = decode_options("DeleteOptions",
                                   R"({"propagationPolicy":"Background","gracePeriodSeconds":0})",
                                   ContentType::Json);
  ASSERT_FALSE(d.failure);
  EXPECT_EQ(json::opt_i64(d.object, {"gracePeriodSeconds"}), 0);
  EXPECT_TRUE(decode_options("DeleteOptions", "", ContentType::Json).object.is_object());
  EXPECT_TRUE(
      decode_options("DeleteOptions", R"({"gracePeriodSeconds":"x"})", ContentType::Json).failure);
}

TEST(Decode, ContentTypes) {
  EXPECT_EQ(content_type(""), ContentType::Json);
  EXPECT_EQ(content_type("application/json; charset=utf-8"), ContentType::Json);
  EXPECT_EQ(content_type("application/vnd.kubernetes.protobuf"), ContentType::Protobuf);
  EXPECT_EQ(content_type("Application/YAML"), ContentType::Yaml);
  EXPECT_EQ(content_type("application/cbor"), std::nullopt);
  EXPECT_EQ(field_validation(""), FieldValidation::Warn);
  EXPECT_EQ(field_validation("strict"), std::nullopt);
}

}  // namespace
}  // namespace knit::schema
