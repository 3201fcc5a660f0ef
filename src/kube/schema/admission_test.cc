#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/yaml.h"
#include "kube/schema/schema.h"

namespace knit::schema {
namespace {

const Kind& kind(std::string_view api_version, std::string_view name) {
  const Kind* k = Registry::get().by_api_version(api_version, name);
  KNIT_CHECK(k != nullptr);
  return *k;
}
Json J(std::string_view text) {
  auto v = json::parse(text);
  KNIT_CHECK(v.has_value());
  return std::move(*v);
}
/// Decodes and admits; the verdict, and the object in `out`.
Verdict admit_text(const Kind& k, std::string_view body, Json* out = nullptr,
                   const Json* old = nullptr, Context context = {}) {
  Decoded d = decode(k, k.versions[0], body, ContentType::Yaml, FieldValidation::Strict);
  if (d.failure) return {std::move(d.failure), {}};
  if (old != nullptr) context.operation = Operation::Update;
  if (old == nullptr) prepare_create(k, d.object);
  if (old != nullptr) prepare_update(k, d.object, *old);
  Verdict v = admit(k, d.object, old, context);
  if (out != nullptr) *out = std::move(d.object);
  return v;
}
std::string message(const Verdict& v) { return v.failure ? v.failure->message : "accepted"; }

// kubeapi.md 1.7: the defaults seen on a real API server.
TEST(Defaults, Builtin) {
  const struct {
    const char *name, *api_version, *kind, *body, *want;  // merged over what was sent
  } rows[] = {
      {"pod", "v1", "Pod",
       "{metadata: {name: a, namespace: d}, spec: {containers: [{name: c, image: i, ports: "
       "[{containerPort: 80}], readinessProbe: {httpGet: {port: 80}}, resources: {limits: {cpu: "
       "1}}}]}}",
       R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"d"},"spec":{
        "containers":[{"name":"c","image":"i","imagePullPolicy":"Always","ports":[
        {"containerPort":80,"protocol":"TCP"}],"readinessProbe":{"failureThreshold":3,"httpGet":
        {"path":"/","port":80,"scheme":"HTTP"},"periodSeconds":10,"successThreshold":1,
        "timeoutSeconds":1},"resources":{"limits":{"cpu":"1"},"requests":{"cpu":"1"}},
        "terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],
        "dnsPolicy":"ClusterFirst","enableServiceLinks":true,"preemptionPolicy":
        "PreemptLowerPriority","priority":0,"restartPolicy":"Always","schedulerName":
        "default-scheduler","securityContext":{},"serviceAccount":"default","serviceAccountName":
        "default","terminationGracePeriodSeconds":30,"tolerations":[{"effect":"NoExecute","key":
        "node.kubernetes.io/not-ready","operator":"Exists","tolerationSeconds":300},{"effect":
        "NoExecute","key":"node.kubernetes.io/unreachable","operator":"Exists",
        "tolerationSeconds":300}]},"status":{"phase":"Pending","qosClass":"Burstable"}})"},
      {"deployment", "apps/v1", "Deployment",
       "{metadata: {name: a, namespace: d}, spec: {selector: {matchLabels: {a: b}}, template: "
       "{metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'r/i:v1'}], volumes: "
       "[{name: e}, {name: s, secret: {secretName: x}}]}}}}",
       R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","namespace":"d"},
        "spec":{"progressDeadlineSeconds":600,"replicas":1,"revisionHistoryLimit":10,"selector":
        {"matchLabels":{"a":"b"}},"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":
        "25%"},"type":"RollingUpdate"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{
        "containers":[{"image":"r/i:v1","imagePullPolicy":"IfNotPresent","name":"c","resources":{},
        "terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],
        "dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler",
        "securityContext":{},"terminationGracePeriodSeconds":30,"volumes":[{"emptyDir":{},"name":
        "e"},{"name":"s","secret":{"defaultMode":420,"secretName":"x"}}]}}},"status":{}})"},
      {"service", "v1", "Service",
       "{metadata: {name: a, namespace: d}, spec: {selector: {a: b}, ports: [{port: 80}]}}",
       R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"d"},"spec":{
        "internalTrafficPolicy":"Cluster","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack",
        "ports":[{"port":80,"protocol":"TCP","targetPort":80}],"selector":{"a":"b"},
        "sessionAffinity":"None","type":"ClusterIP"},"status":{"loadBalancer":{}}})"},
      {"namespace", "v1", "Namespace", "{metadata: {name: a}}",
       R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a","labels":
        {"kubernetes.io/metadata.name":"a"}},"spec":{"finalizers":["kubernetes"]},"status":
        {"phase":"Active"}})"},
      {"secret", "v1", "Secret",
       "{metadata: {name: a, namespace: d}, stringData: {x: hello}, data: {x: eA==, z: eQ==}}",
       R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"d"},"data":
        {"x":"aGVsbG8=","z":"eQ=="},"type":"Opaque"})"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Kind& k = kind(row.api_version, row.kind);
    Json got;
    const Verdict v = admit_text(k, row.body, &got);
    EXPECT_EQ(message(v), "accepted");
    EXPECT_EQ(v.warnings, std::vector<std::string>{});
    EXPECT_EQ(json::canonical(got), json::canonical(J(row.want)));
    Json again = got;
    apply_defaults(k, again, {});
    EXPECT_EQ(json::canonical(again), json::canonical(got)) << "defaults are not idempotent";
  }
}

// serving.md 1.9.
TEST(Defaults, Knative) {
  Json got;
  const Verdict v = admit_text(
      kind("serving.knative.dev/v1", "Service"),
      "{metadata: {name: hello, namespace: d}, spec: {template: {spec: {containers: [{image: "
      "'knit.local/hello'}]}}}}",
      &got, nullptr, {.user = "kubernetes-admin"});
  EXPECT_EQ(message(v), "accepted");
  EXPECT_EQ(json::canonical(got), json::canonical(J(R"({
    "apiVersion":"serving.knative.dev/v1","kind":"Service","metadata":{"annotations":{
    "serving.knative.dev/creator":"kubernetes-admin",
    "serving.knative.dev/lastModifier":"kubernetes-admin"},"name":"hello","namespace":"d"},
    "spec":{"template":{"spec":{"containerConcurrency":0,"containers":[{"image":"knit.local/hello",
    "name":"user-container","readinessProbe":{"successThreshold":1,"tcpSocket":{}},
    "resources":{}}],"enableServiceLinks":false,"timeoutSeconds":300}},
    "traffic":[{"latestRevision":true,"percent":100}]}})")));
}

// Messages of upstream for what users get wrong; kubeapi.md 1.4, serving.md 1.9, mesh.md 1.2, 2.2.
TEST(Validate, Refuses) {
  const struct {
    const char *name, *api_version, *kind, *body;
    int code;
    const char* want;  // the whole message, or its beginning when it ends in "…"
  } rows[] = {
      {"no name", "v1", "ConfigMap", "{metadata: {namespace: d}}", 422,
       "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is "
       "required"},
      {"bad name", "v1", "ConfigMap", "{metadata: {name: A_b, namespace: d}}", 422,
       "ConfigMap \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 "
       "subdomain must consist of…"},
      {"bad label", "v1", "ConfigMap", "{metadata: {name: a, namespace: d, labels: {x: 'a b'}}}",
       422,
       "ConfigMap \"a\" is invalid: metadata.labels: Invalid value: \"a b\": a valid label must…"},
      {"bad key", "v1", "ConfigMap", "{metadata: {name: a, namespace: d}, data: {a/b: x}}", 422,
       "ConfigMap \"a\" is invalid: data[a/b]: Invalid value: \"a/b\": a valid config key must…"},
      {"no image", "v1", "Pod",
       "{metadata: {name: a, namespace: d}, spec: {containers: [{name: c}]}}", 422,
       "Pod \"a\" is invalid: spec.containers[0].image: Required value"},
      {"two errors", "v1", "Pod",
       "{metadata: {name: a, namespace: d}, spec: {containers: [{name: C, image: i}, {name: d}]}}",
       422,
       "Pod \"a\" is invalid: [spec.containers[0].name: Invalid value: \"C\": a lowercase RFC 1123 "
       "label…"},
      {"no containers", "v1", "Pod", "{metadata: {name: a, namespace: d}, spec: {}}", 422,
       "Pod \"a\" is invalid: spec.containers: Required value"},
      {"missing volume", "v1", "Pod",
       "{metadata: {name: a, namespace: d}, spec: {containers: [{name: c, image: i, volumeMounts: "
       "[{name: v, mountPath: /v}]}]}}",
       422, "Pod \"a\" is invalid: spec.containers[0].volumeMounts[0].name: Not found: \"v\""},
      {"enumeration", "v1", "Pod",
       "{metadata: {name: a, namespace: d}, spec: {restartPolicy: Sometimes, containers: [{name: "
       "c, "
       "image: i}]}}",
       422,
       "Pod \"a\" is invalid: spec.restartPolicy: Unsupported value: \"Sometimes\": supported "
       "values: \"Always\", \"Never\", \"OnFailure\""},
      {"request above limit", "v1", "Pod",
       "{metadata: {name: a, namespace: d}, spec: {containers: [{name: c, image: i, resources: "
       "{limits: {cpu: 1}, requests: {cpu: 2}}}]}}",
       422,
       "Pod \"a\" is invalid: spec.containers[0].resources.requests: Invalid value: \"2\": must be "
       "less than or equal to cpu limit of 1"},
      {"no ports", "v1", "Service", "{metadata: {name: a, namespace: d}, spec: {}}", 422,
       "Service \"a\" is invalid: spec.ports: Required value"},
      {"port range", "v1", "Service",
       "{metadata: {name: a, namespace: d}, spec: {ports: [{port: 70000}]}}", 422,
       "Service \"a\" is invalid: [spec.ports[0].port: Invalid value: 70000: must be between 1 and "
       "65535, inclusive, spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and "
       "65535, inclusive]"},
      {"no selector", "apps/v1", "Deployment",
       "{metadata: {name: a, namespace: d}, spec: {template: {spec: {containers: [{name: c, image: "
       "i}]}}}}",
       422, "Deployment.apps \"a\" is invalid: spec.selector: Required value"},
      {"selector mismatch", "apps/v1", "Deployment",
       "{metadata: {name: a, namespace: d}, spec: {selector: {matchLabels: {a: b}}, template: "
       "{metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}}",
       422,
       "Deployment.apps \"a\" is invalid: spec.template.metadata.labels: Invalid value: "
       "{\"a\":\"c\"}: `selector` does not match template `labels`"},
      {"tls secret", "v1", "Secret",
       "{metadata: {name: a, namespace: d}, type: kubernetes.io/tls, data: {tls.crt: eA==}}", 422,
       "Secret \"a\" is invalid: data[tls.key]: Required value"},
      {"traffic sum", "serving.knative.dev/v1", "Service",
       "{metadata: {name: a, namespace: d}, spec: {template: {spec: {containers: [{image: i}]}}, "
       "traffic: [{latestRevision: true, percent: 90}]}}",
       400,
       "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: "
       "validation "
       "failed: Traffic targets sum to 90, want 100: spec.traffic"},
      {"no image in a ksvc", "serving.knative.dev/v1", "Service",
       "{metadata: {name: a, namespace: d}, spec: {template: {spec: {containers: [{name: c}]}}}}",
       400,
       "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: "
       "validation "
       "failed: missing field(s): spec.template.spec.containers[0].image"},
      {"placeholder image", "serving.knative.dev/v1", "Service",
       "{metadata: {name: a, namespace: d}, spec: {template: {spec: {containers: [{image: "
       "<image_url>}]}}}}",
       400,
       "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: "
       "validation "
       "failed: Failed to parse image reference: spec.template.spec.containers[0].image\nimage: "
       "\"<image_url>\", error: could not parse reference: <image_url>"},
      {"reserved port", "serving.knative.dev/v1", "Service",
       "{metadata: {name: a, namespace: d}, spec: {template: {spec: {containers: [{image: i, "
       "ports: "
       "[{containerPort: 8012}]}]}}}}",
       400,
       "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: "
       "validation "
       "failed: invalid value: 8012: spec.template.spec.containers[0].ports.containerPort\n8012 is "
       "a reserved port"},
      {"scale order", "serving.knative.dev/v1", "Service",
       "{metadata: {name: a, namespace: d}, spec: {template: {metadata: {annotations: "
       "{autoscaling.knative.dev/min-scale: '5', autoscaling.knative.dev/max-scale: '2'}}, spec: "
       "{containers: [{image: i}]}}}}",
       400,
       "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: "
       "validation "
       "failed: max-scale=2 is less than min-scale=5: "
       "spec.template.metadata.annotations.autoscaling.knative.dev/max-scale, "
       "spec.template.metadata.annotations.autoscaling.knative.dev/min-scale"},
      {"annotation in the wrong place", "serving.knative.dev/v1", "Service",
       "{metadata: {name: a, namespace: d, annotations: {autoscaling.knative.dev/min-scale: '1'}}, "
       "spec: {template: {spec: {containers: [{image: i}]}}}}",
       400,
       "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: "
       "validation "
       "failed: invalid key name \"autoscaling.knative.dev/min-scale\": metadata.annotations\n"
       "autoscaling annotations must be put under \"spec.template.metadata.annotations\" to work"},
      {"gated field", "serving.knative.dev/v1", "Service",
       "{metadata: {name: a, namespace: d}, spec: {template: {spec: {nodeSelector: {a: b}, "
       "containers: [{image: i}]}}}}",
       400,
       "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: "
       "validation "
       "failed: must not set the field(s): spec.template.spec.nodeSelector"},
      {"lifecycle is pruned", "serving.knative.dev/v1", "Service",
       "{metadata: {name: a, namespace: d}, spec: {template: {spec: {containers: [{image: i, "
       "lifecycle: {}}]}}}}",
       400,
       "Service in version \"v1\" cannot be handled as a Service: strict decoding error: unknown "
       "field \"spec.template.spec.containers[0].lifecycle\""},
      {"roll's name", "maistra.io/v1", "ServiceMeshMemberRoll",
       "{metadata: {name: other, namespace: istio-system}, spec: {members: [a]}}", 400,
       "admission webhook \"smmr.validation.maistra.io\" denied the request: ServiceMeshMemberRoll "
       "must be named \"default\""},
      {"roll with placeholder", "maistra.io/v1", "ServiceMeshMemberRoll",
       "{metadata: {name: default, namespace: istio-system}, spec: {members: ['<a>']}}", 400,
       "admission webhook \"smmr.validation.maistra.io\" denied the request: ServiceMeshMemberRoll "
       "contains invalid namespace name \"<a>\"…"},
      {"control plane version", "maistra.io/v2", "ServiceMeshControlPlane",
       "{metadata: {name: basic, namespace: istio-system}, spec: {version: v9}}", 400,
       "admission webhook \"smcp.validation.maistra.io\" denied the request: invalid Version…"},
      {"unknown tech preview", "maistra.io/v2", "ServiceMeshControlPlane",
       "{metadata: {name: basic, namespace: istio-system}, spec: {techPreview: {meshConfig: "
       "{pathNormalization: {normalization: BASE}}}}}",
       422,
       "ServiceMeshControlPlane.maistra.io \"basic\" is invalid: "
       "spec.techPreview.meshConfig.pathNormalization: Forbidden: Knit does not know…"},
      {"gateway without TLS", "networking.istio.io/v1", "Gateway",
       "{metadata: {name: g, namespace: d}, spec: {servers: [{port: {number: 443, name: https, "
       "protocol: HTTPS}, hosts: ['*']}]}}",
       400,
       "admission webhook \"validation.istio.io\" denied the request: configuration is invalid: "
       "server must have TLS settings for HTTPS/TLS protocols"},
      {"gateway's port names", "networking.istio.io/v1", "Gateway",
       "{metadata: {name: g, namespace: d}, spec: {servers: [{port: {number: 80, name: a, "
       "protocol: "
       "HTTP}, hosts: ['*']}, {port: {number: 81, name: a, protocol: HTTP}, hosts: ['*']}]}}",
       400,
       "admission webhook \"validation.istio.io\" denied the request: configuration is invalid: "
       "port "
       "names in servers must be unique: duplicate name a"},
      {"operator's namespace", "operator.knative.dev/v1beta1", "KnativeServing",
       "{metadata: {name: knative-serving, namespace: other}}", 400,
       "admission webhook \"knativeservings.operator.serverless.openshift.io\" denied the request: "
       "KnativeServing may only be created in knative-serving namespace"},
      {"passthrough with a path", "route.openshift.io/v1", "Route",
       "{metadata: {name: r, namespace: d}, spec: {path: /x, to: {name: s}, tls: {termination: "
       "passthrough}}}",
       422,
       "Route.route.openshift.io \"r\" is invalid: spec.path: Invalid value: \"/x\": passthrough "
       "termination does not support paths"},
      {"workload's PeerAuthentication", "security.istio.io/v1", "PeerAuthentication",
       "{metadata: {name: p, namespace: d}, spec: {selector: {matchLabels: {a: b}}, mtls: {mode: "
       "STRICT}}}",
       422,
       "PeerAuthentication.security.istio.io \"p\" is invalid: spec.selector: Forbidden: Knit "
       "enforces mesh- and namespace-wide…"},
      {"refused kind", "apps/v1", "DaemonSet", "{metadata: {name: a, namespace: d}}", 403,
       "daemonsets.apps \"a\" is forbidden: Knit does not run DaemonSets; use a Deployment"},
      {"refused field", "v1", "Pod",
       "{metadata: {name: a, namespace: d}, spec: {hostNetwork: true, containers: [{name: c, "
       "image: "
       "i}]}}",
       422, "Pod \"a\" is invalid: spec.hostNetwork: Forbidden: Knit gives every pod its own…"},
      {"foreign CRD", "apiextensions.k8s.io/v1", "CustomResourceDefinition",
       "{metadata: {name: foos.example.com}, spec: {group: example.com, scope: Namespaced, names: "
       "{plural: foos, kind: Foo}, versions: [{name: v1, served: true, storage: true}]}}",
       403,
       "customresourcedefinitions.apiextensions.k8s.io \"foos.example.com\" is forbidden: Knit "
       "serves the kinds it has built in…"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Verdict v = admit_text(kind(row.api_version, row.kind), row.body);
    ASSERT_TRUE(v.failure);
    EXPECT_EQ(v.failure->code, row.code);
    const std::string want = row.want;
    constexpr std::string_view kEllipsis = "…";
    if (want.ends_with(kEllipsis)) {
      const std::string begin = want.substr(0, want.size() - kEllipsis.size());
      EXPECT_EQ(v.failure->message.substr(0, begin.size()), begin);
    } else {
      EXPECT_EQ(v.failure->message, want);
    }
  }
}

TEST(Validate, Updates) {
  const Kind& pod = kind("v1", "Pod");
  Json old;
  ASSERT_EQ(message(admit_text(pod,
                               "{metadata: {name: a, namespace: d, uid: u}, spec: {containers: "
                               "[{name: c, image: i}]}}",
                               &old)),
            "accepted");
  Json changed = old;
  changed.at("spec").at("containers").get_array()[0].get_object()["image"] = "j";
  EXPECT_TRUE(validate(pod, changed, &old, {.operation = Operation::Update}).ok());
  json::set(changed, {"spec", "restartPolicy"}, "Never");
  EXPECT_EQ(message(validate(pod, changed, &old, {.operation = Operation::Update})).substr(0, 70),
            "Pod \"a\" is invalid: spec: Forbidden: pod updates may not change fields");

  const Kind& ksvc = kind("serving.knative.dev/v1", "Service");
  const char* body =
      "{metadata: {name: a, namespace: d, resourceVersion: '1'}, spec: {template: {metadata: "
      "{name: "
      "a-x}, spec: {containers: [{image: i}]}}}}";
  ASSERT_EQ(message(admit_text(ksvc, body, &old)), "accepted");
  Json next = old;
  json::set(next, {"metadata", "resourceVersion"}, "1");
  json::set(next, {"spec", "template", "spec", "timeoutSeconds"}, 10);
  EXPECT_NE(message(admit(ksvc, next, &old, {.operation = Operation::Update}))
                .find("Saw the following changes without a name change"),
            std::string::npos);

  const Kind& deleting = kind("v1", "ConfigMap");
  const Json before = J(R"({"metadata":{"name":"a","namespace":"d","deletionTimestamp":
      "2026-11-25T00:00:00Z","finalizers":["x/y"]}})");
  Json after = before;
  after.at("metadata").at("finalizers").get_array().emplace_back("x/z");
  EXPECT_NE(message(validate(deleting, after, &before, {.operation = Operation::Update}))
                .find("no new finalizers can be added if the object is being deleted"),
            std::string::npos);
}

// The seed's files (tests/seed): what each answers, word for word.
TEST(Seed, DecodesWithExactlyTheExpectedWarnings) {
  const struct {
    const char *file, *kind, *failure;
    std::vector<std::string> warnings;
  } rows[] = {
      {"smcp.yaml", "ServiceMeshControlPlane", "", {}},
      {"servicemesh-member-roll.yaml", "ServiceMeshMemberRoll", "", {}},
      {"istio-knative-gateways.yaml", "Gateway", "", {}},
      {"istio-knative-gateways.yaml", "Gateway", "", {}},
      {"istio-knative-gateways.yaml", "Service", "", {}},
      {"knative-serving-config.yaml", "KnativeServing", "", {}},
      {"knative-service.yaml", "Service", "", {}},
      {"knative-eventing-config.yaml", "KnativeEventing", "", {}},
      {"knative-kafka-config.yaml",
       "KnativeKafka",
       "",
       {"Knit does not run the Kafka components yet; the object is stored and nothing is "
        "installed"}},
      {"kafka-cluster-serviceentry.yaml",
       "ServiceEntry",
       "serviceentries.networking.istio.io \"kafka-cluster\" is forbidden: Knit does not carry out "
       "users' own ServiceEntries yet; its controllers write those that Knative needs",
       {"spec.ports: service entry port name \"tcp-sasl-tls\" already defined; Istio refuses this "
        "ServiceEntry, Knit takes it and tells the ports apart by number",
        "spec.ports: service entry port name \"tcp-tls\" already defined; Istio refuses this "
        "ServiceEntry, Knit takes it and tells the ports apart by number"}},
  };
  std::map<std::string, std::size_t> next;
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.file) + " " + row.kind);
    std::ifstream in(std::string("tests/seed/") + row.file);
    std::stringstream text;
    text << in.rdbuf();
    const yaml::Parsed parsed = yaml::parse(text.str());
    ASSERT_TRUE(parsed.errors.empty());
    const auto dom = yaml::to_json(*parsed.documents.at(next[row.file]++).root);
    ASSERT_TRUE(dom);
    const std::string version(json::str(*dom, {"apiVersion"}));
    const Kind& k = kind(version, row.kind);
    const auto slash = version.find('/');
    const std::string short_version =
        slash == std::string::npos ? version : version.substr(slash + 1);
    Decoded d =
        decode(k, short_version, json::print(*dom), ContentType::Json, FieldValidation::Strict);
    Verdict v;
    if (d.failure) {
      v.failure = std::move(d.failure);
    } else {
      prepare_create(k, d.object);
      v = admit(k, d.object, nullptr, {.user = "admin"});
    }
    const std::string got = v.failure ? v.failure->message : "";
    EXPECT_EQ(got.substr(0, std::string(row.failure).size()), row.failure);
    if (std::string(row.failure).empty()) EXPECT_EQ(got, "");
    EXPECT_EQ(v.warnings, row.warnings);
  }
}

}  // namespace
}  // namespace knit::schema
