// Eventing's kinds at admission (eventing.md 1.2 to 1.8): defaults and validation in upstream's
// words.
#include <gtest/gtest.h>

#include "base/yaml.h"
#include "kube/schema/eventing_config.h"
#include "kube/schema/schema.h"

namespace knit::schema {
namespace {

Json Y(std::string_view text) {
  auto parsed = yaml::parse_one(text);
  KNIT_CHECK(parsed.has_value());
  return std::move(*parsed);
}
const Kind& kind_of(const Json& object) {
  const Kind* k = Registry::get().by_api_version(json::str(object, {"apiVersion"}),
                                                 json::str(object, {"kind"}));
  KNIT_CHECK(k != nullptr);
  return *k;
}
/// The object as YAML: kind, name x, namespace d, and what is given.
Json make(std::string_view kind, std::string_view rest) {
  const std::string name(kind);
  const std::string group = name == "Broker" || name == "Trigger" ? "eventing.knative.dev/v1"
                            : name == "EventType"                 ? "eventing.knative.dev/v1beta2"
                            : name == "Sequence" || name == "Parallel" ? "flows.knative.dev/v1"
                            : name.ends_with("Source") || name == "SinkBinding"
                                ? "sources.knative.dev/v1"
                                : "messaging.knative.dev/v1";
  Json object = Y(rest);
  json::set(object, {"apiVersion"}, Json(group));
  json::set(object, {"kind"}, Json(name));
  json::set(object, {"metadata", "name"}, Json("x"));
  json::set(object, {"metadata", "namespace"}, Json("d"));
  json::set(object, {"metadata", "resourceVersion"}, Json("1"));  // as a PUT has it
  return object;
}
/// The webhook's sentence after "validation failed: ", or "" when the object is valid.
std::string verdict(Json object, const Json* old = nullptr, Context context = {}) {
  const Kind& kind = kind_of(object);
  if (old != nullptr) context.operation = Operation::Update;
  context.old = old;
  apply_defaults(kind, object, context);
  const Verdict v = validate(kind, object, old, context);
  if (!v.failure) return {};
  const auto at = v.failure->message.find("validation failed: ");
  return at == std::string::npos ? v.failure->message : v.failure->message.substr(at + 19);
}

constexpr const char* kUri = "{uri: 'http://sink.example/'}";

TEST(EventingKinds, Validation) {
  const std::string uri = kUri;
  const struct {
    const char *name, *kind;
    std::string object;
    const char* want;
  } rows[] = {
      // 1.2 Destination
      {"neither ref nor uri", "Trigger", "{spec: {broker: b}}",
       "expected at least one, got none: spec.subscriber.ref, spec.subscriber.uri"},
      {"relative uri alone", "Trigger", "{spec: {broker: b, subscriber: {uri: /x}}}",
       "invalid value: Relative URI is not allowed when Ref and [apiVersion, kind, name] is "
       "absent: "
       "spec.subscriber.uri"},
      {"ref and absolute uri", "Trigger",
       "{spec: {broker: b, subscriber: {ref: {apiVersion: v1, kind: Service, name: s}, uri: "
       "'http://x/'}}}",
       "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present: "
       "spec.subscriber.[apiVersion, kind, name], spec.subscriber.ref, spec.subscriber.uri"},
      {"ref and relative uri", "Trigger",
       "{spec: {broker: b, subscriber: {ref: {apiVersion: v1, kind: Service, name: s}, uri: /x}}}",
       ""},
      {"ref without name", "Trigger",
       "{spec: {broker: b, subscriber: {ref: {apiVersion: v1, kind: Service}}}}",
       "missing field(s): spec.subscriber.ref.name"},
      {"group", "Trigger",
       "{spec: {broker: b, subscriber: {ref: {apiVersion: v1, kind: Service, name: s, group: g}}}}",
       "must not set the field(s): spec.subscriber.ref.group"},
      // 1.2 DeliverySpec
      {"negative retry", "Broker", "{spec: {delivery: {retry: -1}}}",
       "invalid value: -1: spec.delivery.retry"},
      {"timeout zero", "Broker", "{spec: {delivery: {timeout: PT0S}}}",
       "invalid value: PT0S: spec.delivery.timeout"},
      {"timeout is no duration", "Broker", "{spec: {delivery: {timeout: 5s}}}",
       "invalid value: 5s: spec.delivery.timeout"},
      {"retryAfterMax needs its feature", "Broker", "{spec: {delivery: {retryAfterMax: PT1S}}}",
       "must not set the field(s): spec.delivery.retryAfterMax"},
      {"policy and format", "Broker",
       "{spec: {delivery: {backoffPolicy: quadratic, format: JSON, backoffDelay: P}}}",
       "invalid value: JSON: spec.delivery.format\ninvalid value: P: spec.delivery.backoffDelay\n"
       "invalid value: quadratic: spec.delivery.backoffPolicy"},
      {"whole delivery", "Broker",
       "{spec: {delivery: {retry: 3, backoffPolicy: linear, backoffDelay: PT0.2S, timeout: PT5S, "
       "format: json, deadLetterSink: " +
           uri + "}}}",
       ""},
      // 1.3
      {"config without a name", "Broker", "{spec: {config: {apiVersion: v1, kind: ConfigMap}}}",
       "missing field(s): spec.config.name"},
      // 1.4, 4.2.3
      {"no broker", "Trigger", "{spec: {subscriber: " + uri + "}}",
       "missing field(s): spec.broker"},
      {"broker twice", "Trigger",
       "{spec: {broker: b, brokerRef: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: "
       "b}, "
       "subscriber: " +
           uri + "}}",
       "expected exactly one, got both: spec.broker, spec.brokerRef"},
      {"attribute names", "Trigger",
       "{spec: {broker: b, filter: {attributes: {Type: a, 0x: b, my-ext: c, ok1: d}}, "
       "subscriber: " +
           uri + "}}",
       "invalid key name \"0x\": spec.filter.attributes[0x]\nAttribute name must start with a "
       "letter and can only contain lowercase alphanumeric\n"
       "invalid key name \"Type\": spec.filter.attributes[Type]\nAttribute name must start with a "
       "letter and can only contain lowercase alphanumeric\n"
       "invalid key name \"my-ext\": spec.filter.attributes[my-ext]\nAttribute name must start "
       "with "
       "a letter and can only contain lowercase alphanumeric"},
      {"two dialects", "Trigger",
       "{spec: {broker: b, filters: [{exact: {type: a}, prefix: {type: b}}], subscriber: " + uri +
           "}}",
       "multiple dialects found, filters can have only one dialect set: spec.filters[0]"},
      {"deep inside", "Trigger",
       "{spec: {broker: b, filters: [{all: [{not: {any: [{suffix: {Bad: x}}]}}]}], subscriber: " +
           uri + "}}",
       "invalid key name \"Bad\": spec.filters[0].all[0].not.any[0].suffix[Bad]\nAttribute name "
       "must start with a letter and can only contain lowercase alphanumeric"},
      {"unknown dialect inside", "Trigger",
       "{spec: {broker: b, filters: [{all: [{regex: {type: x}}]}], subscriber: " + uri + "}}",
       "must not set the field(s): spec.filters[0].all[0].regex"},
      {"an expression that does not parse", "Trigger",
       "{spec: {broker: b, filters: [{not: {cesql: 'type = '}}], subscriber: " + uri + "}}",
       "invalid value: type = : spec.filters[0].not.cesql\nsyntax error at offset 7: expected an "
       "expression, found the end"},
      {"dependency", "Trigger",
       "{metadata: {annotations: {knative.dev/dependency: '{\"kind\":\"PingSource\"}'}}, spec: "
       "{broker: b, subscriber: " +
           uri + "}}",
       "missing field(s): metadata.annotations[knative.dev/dependency].apiVersion, "
       "metadata.annotations[knative.dev/dependency].name"},
      {"injection", "Trigger",
       "{metadata: {annotations: {eventing.knative.dev/injection: enabled}}, spec: {broker: b, "
       "subscriber: " +
           uri + "}}",
       "The provided injection annotation is only used for default broker, but non-default broker "
       "specified here: \"b\": metadata.annotations[eventing.knative.dev/injection]"},
      // 1.5
      {"subscribers of a Channel", "Channel",
       "{spec: {subscribers: [{subscriberUri: 'http://x/'}]}}",
       "must not set the field(s): spec.subscribable.subscribers"},
      {"other namespace", "Channel",
       "{spec: {delivery: {deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: s, "
       "namespace: "
       "e}}}}}",
       "mismatched namespaces: spec.delivery.deadLetterSink.ref.namespace\nparent namespace: \"d\" "
       "does not match ref: \"e\""},
      {"scope", "InMemoryChannel", "{metadata: {annotations: {eventing.knative.dev/scope: pod}}}",
       "invalid value: pod: metadata.annotations[eventing.knative.dev/scope]\nexpected either "
       "'cluster' or 'namespace'"},
      {"no channel", "Subscription", "{spec: {subscriber: " + uri + "}}",
       "missing field(s): spec.channel\nthe Subscription must reference a channel"},
      {"neither subscriber nor reply", "Subscription",
       "{spec: {channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: c}}}",
       "missing field(s): spec.reply, spec.subscriber\nthe Subscription must reference at least "
       "one "
       "of (reply or a subscriber)"},
      {"channel elsewhere", "Subscription",
       "{spec: {channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: c, namespace: "
       "e}, subscriber: " +
           uri + "}}",
       "must not set the field(s): spec.channel.namespace\nonly name, apiVersion and kind are "
       "supported fields when feature.CrossNamespaceEventLinks is disabled"},
      // 1.6
      {"no steps", "Sequence", "{spec: {channelTemplate: {kind: InMemoryChannel}}}",
       "missing field(s): spec.channelTemplate.apiVersion, spec.steps"},
      {"no branches", "Parallel", "{spec: {}}", "missing field(s): spec.branches"},
      {"branch without subscriber", "Parallel", "{spec: {branches: [{filter: " + uri + "}]}}",
       "expected at least one, got none: spec.branches[0].subscriber.ref, "
       "spec.branches[0].subscriber.uri"},
      // 1.7
      {"every", "PingSource", "{spec: {schedule: '@every 5s', sink: " + uri + "}}",
       "invalid value: unsupported descriptor @every: spec.schedule"},
      {"zone", "PingSource", "{spec: {timezone: Mars/Olympus, sink: " + uri + "}}",
       "invalid value: provided bad location Mars/Olympus: unknown time zone Mars/Olympus: "
       "spec.timezone"},
      {"data twice", "PingSource", "{spec: {data: a, dataBase64: YQ==, sink: " + uri + "}}",
       "expected exactly one, got both: spec.data, spec.dataBase64"},
      {"data too long", "PingSource", "{spec: {data: '12345678901', sink: " + uri + "}}",
       "invalid value: the data length of 11 bytes exceeds limit set at 10.: spec.data"},
      {"data is no JSON object", "PingSource",
       "{spec: {data: '[1]', contentType: application/json, sink: " + uri + "}}",
       "invalid value: json: cannot unmarshal into Go value of type map[string]interface {}: "
       "spec.data"},
      {"seconds and a zone", "PingSource",
       "{spec: {schedule: '*/5 * * * * *', timezone: Europe/Berlin, dataBase64: e30=, contentType: "
       "application/json, sink: " +
           uri + "}}",
       ""},
      {"no container", "ContainerSource", "{spec: {sink: " + uri + "}}",
       "missing field(s): spec.containers"},
      {"container without image", "ContainerSource",
       "{spec: {template: {spec: {containers: [{}]}}, sink: " + uri + "}}",
       "missing field(s): spec.containers[0].image"},
      {"subject elsewhere", "SinkBinding",
       "{spec: {subject: {apiVersion: apps/v1, kind: Deployment, name: a, namespace: e}, sink: " +
           uri + "}}",
       "invalid value: e: spec.subject.namespace"},
      {"subject without a name", "SinkBinding",
       "{spec: {subject: {apiVersion: apps/v1, kind: Deployment}, sink: " + uri + "}}",
       "expected exactly one, got neither: spec.subject.name, spec.subject.selector"},
      // 1.8
      {"type", "EventType", "{spec: {source: x}}", "missing field(s): spec.type"},
  };
  const Json config = Y("{config-ping-defaults: {data-max-size: '10'}}");
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Context context;
    if (row.name == std::string_view("data too long")) context.knative_config = &config;
    EXPECT_EQ(verdict(make(row.kind, row.object), nullptr, context), row.want);
  }
}

TEST(EventingKinds, ImmutableFields) {  // 1.3, 1.4, 1.5, 4.2.1, 4.2.2
  const std::string uri = kUri;
  const std::string channel = "channel: {apiVersion: m/v1, kind: Channel, name: ";
  const struct {
    const char *name, *kind;
    std::string before, after;
    const char* want;  // its beginning
  } rows[] = {
      {"Broker's config", "Broker", "{spec: {config: {apiVersion: v1, kind: ConfigMap, name: a}}}",
       "{spec: {config: {apiVersion: v1, kind: ConfigMap, name: b}}}",
       "Immutable fields changed (-old +new): spec\n"},
      {"Broker's class", "Broker", "{spec: {}}",
       "{metadata: {annotations: {eventing.knative.dev/broker.class: Kafka}}, spec: {}}",
       "Immutable fields changed (-old +new): annotations\n\t-: \"MTChannelBasedBroker\"\n\t+: "
       "\"Kafka\"\n"},
      {"Broker's delivery is free", "Broker", "{spec: {}}", "{spec: {delivery: {retry: 3}}}", ""},
      {"Trigger's broker", "Trigger", "{spec: {broker: a, subscriber: " + uri + "}}",
       "{spec: {broker: b, subscriber: " + uri + "}}",
       "Immutable fields changed (-old +new): spec.broker\n"},
      {"Trigger's filter is free", "Trigger", "{spec: {broker: a, subscriber: " + uri + "}}",
       "{spec: {broker: a, filters: [{exact: {type: x}}], subscriber: " + uri + "}}", ""},
      {"Channel's delivery", "Channel", "{spec: {}}", "{spec: {delivery: {retry: 3}}}",
       "Immutable fields changed (-old +new): spec\n"},
      {"subscribers by a user", "InMemoryChannel", "{spec: {}}",
       "{spec: {subscribers: [{subscriberUri: 'http://x/'}]}}",
       "Channel.Spec.Subscribers changed by user eve which was not the "
       "system:serviceaccount:knative-eventing:eventing-controller service account: "
       "spec.subscribers"},
      {"Subscription's channel", "Subscription",
       "{spec: {" + channel + "a}, subscriber: " + uri + "}}",
       "{spec: {" + channel + "b}, subscriber: " + uri + "}}",
       "Immutable fields changed (-old +new): spec\n"},
      {"Subscription's reply is free", "Subscription",
       "{spec: {" + channel + "a}, subscriber: " + uri + "}}",
       "{spec: {" + channel + "a}, subscriber: " + uri + ", reply: " + uri + "}}", ""},
      {"SinkBinding's subject", "SinkBinding",
       "{spec: {subject: {apiVersion: apps/v1, kind: Deployment, name: a}, sink: " + uri + "}}",
       "{spec: {subject: {apiVersion: apps/v1, kind: Deployment, name: b}, sink: " + uri + "}}",
       "Immutable fields changed (-old +new): spec.subject\n"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Json old = make(row.kind, row.before);
    apply_defaults(kind_of(old), old, {});
    Context context;
    context.user = "eve";
    const auto got = verdict(make(row.kind, row.after), &old, context);
    EXPECT_EQ(got.substr(0, std::string_view(row.want).size()), row.want);
    if (*row.want == '\0') EXPECT_EQ(got, "");
    context.internal = true;
    EXPECT_EQ(verdict(make(row.kind, row.after), &old, context), "") << "controllers may";
  }
}

TEST(EventingKinds, Defaults) {
  Json config = JsonObject();
  json::set(config, {"config-br-defaults", "default-br-config"}, Json(R"(
clusterDefault:
  brokerClass: MTChannelBasedBroker
  apiVersion: v1
  kind: ConfigMap
  name: config-br-default-channel
  namespace: knative-eventing
  delivery: {retry: 10, backoffPolicy: exponential, backoffDelay: PT0.2S, timeout: PT9S}
  brokerClasses:
    Other: {apiVersion: v1, kind: ConfigMap, name: other}
)"));
  json::set(config, {"default-ch-webhook", "default-ch-config"}, Json(R"(
clusterDefault:
  apiVersion: messaging.knative.dev/v1
  kind: InMemoryChannel
  spec: {delivery: {retry: 1}}
)"));
  const struct {
    const char *name, *kind, *object, *want;
  } rows[] = {
      {"Broker (1.3: timeout of the map is lost)", "Broker", "{}",
       R"({"metadata":{"annotations":{"eventing.knative.dev/broker.class":"MTChannelBasedBroker"},"name":"x","namespace":"d"},"spec":{"config":{"apiVersion":"v1","kind":"ConfigMap","name":"config-br-default-channel","namespace":"knative-eventing"},"delivery":{"backoffDelay":"PT0.2S","backoffPolicy":"exponential","retry":10}}})"},
      {"Broker of a class", "Broker",
       "{metadata: {annotations: {eventing.knative.dev/broker.class: Other}}}",
       R"({"metadata":{"annotations":{"eventing.knative.dev/broker.class":"Other"},"name":"x","namespace":"d"},"spec":{"config":{"apiVersion":"v1","kind":"ConfigMap","name":"other","namespace":"d"}}})"},
      {"own delivery stays whole", "Broker", "{spec: {delivery: {retry: 1}}}",
       R"({"metadata":{"annotations":{"eventing.knative.dev/broker.class":"MTChannelBasedBroker"},"name":"x","namespace":"d"},"spec":{"config":{"apiVersion":"v1","kind":"ConfigMap","name":"config-br-default-channel","namespace":"knative-eventing"},"delivery":{"retry":1}}})"},
      {"Trigger", "Trigger",
       "{spec: {broker: b, subscriber: {ref: {apiVersion: v1, kind: Service, name: s}}}}",
       R"({"metadata":{"labels":{"eventing.knative.dev/broker":"b"},"name":"x","namespace":"d"},"spec":{"broker":"b","filter":{},"subscriber":{"ref":{"apiVersion":"v1","kind":"Service","name":"s","namespace":"d"}}}})"},
      {"Channel", "Channel", "{}",
       R"({"metadata":{"annotations":{"messaging.knative.dev/subscribable":"v1"},"name":"x","namespace":"d"},"spec":{"channelTemplate":{"apiVersion":"messaging.knative.dev/v1","kind":"InMemoryChannel","spec":{"delivery":{"retry":1}}}}})"},
      {"Sequence", "Sequence",
       "{spec: {channelTemplate: {apiVersion: a/v1, kind: K}, steps: [{ref: {apiVersion: v1, kind: "
       "Service, name: s}}]}}",
       R"({"metadata":{"name":"x","namespace":"d"},"spec":{"channelTemplate":{"apiVersion":"a/v1","kind":"K"},"steps":[{"ref":{"apiVersion":"v1","kind":"Service","name":"s","namespace":"d"}}]}})"},
      {"PingSource", "PingSource", "{spec: {sink: {uri: 'http://x/'}}}",
       R"({"metadata":{"name":"x","namespace":"d"},"spec":{"schedule":"* * * * *","sink":{"uri":"http://x/"}}})"},
      {"ContainerSource", "ContainerSource",
       "{spec: {template: {spec: {containers: [{image: i}, {image: j, name: two}]}}}}",
       R"({"metadata":{"name":"x","namespace":"d"},"spec":{"template":{"spec":{"containers":[{"image":"i","name":"x-0"},{"image":"j","name":"two"}]}}}})"},
      {"SinkBinding", "SinkBinding",
       "{spec: {subject: {apiVersion: apps/v1, kind: Deployment, name: a}}}",
       R"({"metadata":{"name":"x","namespace":"d"},"spec":{"subject":{"apiVersion":"apps/v1","kind":"Deployment","name":"a","namespace":"d"}}})"},
  };
  Context context;
  context.knative_config = &config;
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Json object = make(row.kind, row.object);
    apply_defaults(kind_of(object), object, context);
    const std::string once = json::canonical(object);
    apply_defaults(kind_of(object), object, context);
    EXPECT_EQ(json::canonical(object), once) << "idempotent";
    json::erase(object, {"apiVersion"});
    json::erase(object, {"kind"});
    json::erase(object, {"metadata", "resourceVersion"});
    EXPECT_EQ(json::canonical(object), row.want);
  }
}

TEST(EventingConfig, BrokerDefaults) {  // 1.3
  constexpr std::string_view kDocument = R"(
clusterDefault: {brokerClass: A, apiVersion: v1, kind: ConfigMap, name: all, brokerClasses: {B: {name: all-b, kind: ConfigMap, apiVersion: v1}}}
namespaceDefaults:
  one: {brokerClass: B}
  two: {brokerClass: B, name: two, kind: ConfigMap, apiVersion: v1, disallowDifferentNamespaceConfig: true}
)";
  const struct {
    const char *name, *ns, *klass, *want_class, *want_config;
  } rows[] = {
      {"cluster", "x", "", "A", "all"},
      {"class of the cluster", "x", "B", "A", "all-b"},
      {"class that nobody knows", "x", "C", "A", "all"},
      {"namespace without a config", "one", "", "B", "all-b"},
      {"namespace", "two", "", "B", "two"},
      {"other class in the namespace", "two", "A", "B", "all"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = broker_defaults(kDocument, row.ns, row.klass);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->broker_class, row.want_class);
    EXPECT_EQ(json::str(got->config, {"name"}), row.want_config);
    EXPECT_EQ(got->same_namespace_only, row.ns == std::string_view("two"));
  }
  EXPECT_TRUE(broker_defaults("", "x", "")->config.is_null());
  EXPECT_FALSE(broker_defaults("{a: ", "x", ""));
}

}  // namespace
}  // namespace knit::schema
