// The fuzzers' properties on seeded mutations of the vectors, so that every test run has some of
// them: decoding never crashes and round-trips, admission is idempotent.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/random.h"
#include "kube/schema/strategic.h"

namespace knit::schema {
namespace {

std::vector<std::pair<std::string, std::string>> vectors(std::string_view extension) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& entry : std::filesystem::directory_iterator("tests/vectors")) {
    if (entry.path().extension() != extension || entry.file_size() > 6000) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    out.emplace_back(entry.path().filename().string(), text.str());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string mutate(std::string s, Random& random) {
  for (std::uint64_t n = 1 + random.below(4); n > 0 && !s.empty(); --n) {
    const std::size_t at = random.below(s.size());
    switch (random.below(4)) {
      case 0:
        s[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        s.erase(at, 1 + random.below(8));
        break;
      case 2:
        s.insert(at, s.substr(random.below(s.size()), random.below(16)));
        break;
      default:
        s[at] = static_cast<char>(static_cast<unsigned char>(s[at]) ^ (1u << random.below(8)));
    }
  }
  return s;
}

TEST(Mutation, ProtobufDecodesAndRoundTrips) {
  const auto random = seeded_random(7);
  int decoded = 0;
  for (const auto& [name, body] : vectors(".bin")) {
    const auto type = protobuf_type(body);
    ASSERT_TRUE(type) << name;
    const Kind* k = Registry::get().by_api_version(type->api_version, type->kind);
    if (k == nullptr || k->group == "meta.k8s.io") continue;
    for (int i = 0; i < 60; ++i) {
      const std::string bytes = mutate(body, *random);
      const Decoded d =
          decode(*k, k->versions[0], bytes, ContentType::Protobuf, FieldValidation::Warn);
      (void)decode_options("DeleteOptions", bytes, ContentType::Protobuf);
      if (d.failure) continue;
      ++decoded;
      const auto encoded = encode_protobuf(*k, d.object);
      ASSERT_TRUE(encoded) << name << " " << i;
      const Decoded again =
          decode(*k, k->versions[0], *encoded, ContentType::Protobuf, FieldValidation::Warn);
      ASSERT_FALSE(again.failure) << name << " " << i;
      EXPECT_EQ(json::canonical(again.object), json::canonical(d.object)) << name << " " << i;
    }
  }
  EXPECT_GT(decoded, 100);
}

/// Replaces a random leaf or subtree by something of another shape.
void mutate(Json& v, Random& random, int depth = 0) {
  static const Json kValues[] = {nullptr,
                                 0,
                                 -1,
                                 1.5,
                                 true,
                                 "",
                                 "x",
                                 "1",
                                 JsonArray(),
                                 JsonObject(),
                                 JsonArray{nullptr},
                                 JsonArray{1},
                                 JsonObject{{"name", "x"}}};
  if (depth > 0 && random.below(6) == 0) {
    v = kValues[random.below(std::size(kValues))];
    return;
  }
  if (auto* o = v.if_object(); o != nullptr && !o->empty()) {
    auto it = o->begin() + static_cast<std::ptrdiff_t>(random.below(o->size()));
    mutate(it->value(), random, depth + 1);
  } else if (auto* a = v.if_array(); a != nullptr && !a->empty()) {
    mutate((*a)[random.below(a->size())], random, depth + 1);
  } else if (depth > 0) {
    v = kValues[random.below(std::size(kValues))];
  }
}

void admit_twice(const Kind& k, Json object, const std::string& what) {
  Decoded d =
      decode(k, k.versions[0], json::print(object), ContentType::Json, FieldValidation::Warn);
  if (d.failure) return;
  (void)table_row(k, d.object, {});
  (void)strategic_merge(k, JsonObject(), d.object);
  prepare_create(k, d.object);
  (void)check_support(k, d.object, nullptr, {});
  Json admitted = d.object;
  apply_defaults(k, admitted, {});
  (void)validate(k, admitted, nullptr, {});
  Json again = admitted;
  apply_defaults(k, again, {});
  EXPECT_EQ(json::canonical(again), json::canonical(admitted)) << what;
  (void)validate(k, again, &admitted, {.operation = Operation::Update});
  (void)scale_of(k, admitted);
  (void)table_row(k, admitted, {});
}

TEST(Mutation, AdmissionTakesAnyShape) {
  const auto random = seeded_random(11);
  std::vector<Json> documents;
  for (const auto& [name, text] : vectors(".json")) documents.push_back(*json::parse(text));
  // Custom resources that the seed has.
  for (
      const char* text : {
          R"({"apiVersion":"serving.knative.dev/v1","kind":"Service","metadata":{"name":"a",
              "namespace":"d"},"spec":{"template":{"metadata":{"name":"a-x","annotations":
              {"autoscaling.knative.dev/min-scale":"1"}},"spec":{"volumes":[{"name":"v","secret":
              {"secretName":"s"}}],"containers":[{"image":"i","env":[{"name":"E"}],"ports":
              [{"containerPort":1}],"volumeMounts":[{"name":"v","mountPath":"/v"}],"readinessProbe":
              {"httpGet":{"port":1}}}]}},"traffic":[{"percent":100,"tag":"t"}]}})",
          R"({"apiVersion":"networking.istio.io/v1","kind":"Gateway","metadata":{"name":"a",
              "namespace":"d"},"spec":{"servers":[{"port":{"number":1,"name":"n","protocol":"HTTPS"},
              "hosts":["*"],"tls":{"mode":"SIMPLE","credentialName":"c"}}]}})",
          R"({"apiVersion":"maistra.io/v2","kind":"ServiceMeshControlPlane","metadata":{"name":"a",
              "namespace":"d"},"spec":{"profiles":["default"],"gateways":{"ingress":{"service":
              {"metadata":{"labels":{"a":"b"}}}}},"proxy":{"networking":{"trafficControl":{"inbound":
              {"excludedPorts":[1]}}}}}})",
          R"({"apiVersion":"maistra.io/v1","kind":"ServiceMeshMemberRoll","metadata":{"name":
              "default","namespace":"d"},"spec":{"members":["a"]}})",
          R"({"apiVersion":"networking.internal.knative.dev/v1alpha1","kind":"Ingress","metadata":
              {"name":"a","namespace":"d"},"spec":{"rules":[{"hosts":["h"],"http":{"paths":[{"splits":
              [{"serviceName":"s","serviceNamespace":"d","servicePort":80}]}]}}]}})",
          R"({"apiVersion":"route.openshift.io/v1","kind":"Route","metadata":{"name":"a",
              "namespace":"d"},"spec":{"host":"h","to":{"name":"s"},"alternateBackends":[{"name":"t"}],
              "tls":{"termination":"edge"}}})",
          R"({"apiVersion":"operator.knative.dev/v1beta1","kind":"KnativeServing","metadata":{"name":
              "a","namespace":"d"},"spec":{"config":{"x":{"y":"z"}},"deployments":[{"name":"n"}]}})",
      }) {
    documents.push_back(*json::parse(text));
  }
  int known = 0;
  for (const Json& document : documents) {
    const Kind* k = Registry::get().by_api_version(json::str(document, {"apiVersion"}),
                                                   json::str(document, {"kind"}));
    if (k == nullptr || k->group == "meta.k8s.io") continue;
    ++known;
    for (int i = 0; i < 150; ++i) {
      Json mutated = document;
      for (std::uint64_t n = random->below(3); n-- > 0;) mutate(mutated, *random);
      admit_twice(*k, mutated, json::print(mutated));
    }
  }
  EXPECT_GT(known, 20);
}

}  // namespace
}  // namespace knit::schema
