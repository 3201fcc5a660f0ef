// Update rules, scale, strategic merge, tables and field selectors.
#include <gtest/gtest.h>

#include "kube/schema/strategic.h"

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

// kubeapi.md 1.9. Most rows: apimachinery pkg/util/strategicpatch/patch_test.go.
TEST(StrategicMerge, Table) {
  const Kind& pod = kind("v1", "Pod");
  const Kind& deployment = kind("apps/v1", "Deployment");
  const Kind& service = kind("v1", "Service");
  const struct {
    const char* name;
    const Kind& kind;
    const char *target, *patch, *want;
  } rows[] = {
      {"by merge key", pod, R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b"}]}})",
       R"({"spec":{"containers":[{"name":"a","image":"2"}]}})",
       R"({"spec":{"containers":[{"name":"a","image":"2"},{"name":"b"}]}})"},
      {"new element", pod, R"({"spec":{"containers":[{"name":"a"}]}})",
       R"({"spec":{"containers":[{"name":"b","env":[{"name":"E","value":"1"}]}]}})",
       R"({"spec":{"containers":[{"name":"a"},{"name":"b","env":[{"name":"E","value":"1"}]}]}})"},
      {"delete element", pod, R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
       R"({"spec":{"containers":[{"name":"a","$patch":"delete"}]}})",
       R"({"spec":{"containers":[{"name":"b"}]}})"},
      {"order (set image)", pod,
       R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}]}})",
       R"({"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],
          "containers":[{"name":"b","image":"2"}]}})",
       R"({"spec":{"containers":[{"name":"b","image":"2"},{"name":"a","image":"1"}]}})"},
      {"atomic list", pod, R"({"spec":{"tolerations":[{"key":"a"}]}})",
       R"({"spec":{"tolerations":[{"key":"b"}]}})", R"({"spec":{"tolerations":[{"key":"b"}]}})"},
      {"null deletes", pod, R"({"metadata":{"labels":{"a":"1","b":"2"}}})",
       R"({"metadata":{"labels":{"a":null}}})", R"({"metadata":{"labels":{"b":"2"}}})"},
      {"replace a map", pod, R"({"metadata":{"labels":{"a":"1"}}})",
       R"({"metadata":{"labels":{"$patch":"replace","b":"2"}}})",
       R"({"metadata":{"labels":{"b":"2"}}})"},
      {"replace a list", pod, R"({"spec":{"containers":[{"name":"a"}]}})",
       R"({"spec":{"containers":[{"name":"b"},{"$patch":"replace"}]}})",
       R"({"spec":{"containers":[{"name":"b"}]}})"},
      {"set of primitives", pod, R"({"metadata":{"finalizers":["a/x","b/x"]}})",
       R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a/x"],"finalizers":["c/x"]}})",
       R"({"metadata":{"finalizers":["b/x","c/x"]}})"},
      {"retain keys", deployment,
       R"({"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}})",
       R"({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}})",
       R"({"spec":{"strategy":{"type":"Recreate"}}})"},
      {"container ports by number", pod,
       R"({"spec":{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"x"}]}]}})",
       R"({"spec":{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"y"}]}]}})",
       R"({"spec":{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"y"}]}]}})"},
      {"service ports by port", service, R"({"spec":{"ports":[{"port":80,"targetPort":1}]}})",
       R"({"spec":{"ports":[{"port":81}]}})",
       R"({"spec":{"ports":[{"port":80,"targetPort":1},{"port":81}]}})"},
      {"inlined union", pod, R"({"spec":{"volumes":[{"name":"v","emptyDir":{}}]}})",
       R"({"spec":{"volumes":[{"name":"v","$retainKeys":["name","secret"],
          "secret":{"secretName":"s"}}]}})",
       R"({"spec":{"volumes":[{"name":"v","secret":{"secretName":"s"}}]}})"},
      {"conditions by type", pod,
       R"({"status":{"conditions":[{"type":"Ready","status":"False"}]}})",
       R"({"status":{"conditions":[{"type":"Ready","status":"True"}]}})",
       R"({"status":{"conditions":[{"type":"Ready","status":"True"}]}})"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = strategic_merge(row.kind, J(row.target), J(row.patch));
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(json::canonical(*got), json::canonical(J(row.want)));
  }
}

TEST(StrategicMerge, Refuses) {
  const Kind& pod = kind("v1", "Pod");
  for (const char* patch :
       {R"([])", R"({"spec":{"containers":[{"image":"x"}]}})", R"({"spec":{"$patch":"banana"}})",
        R"({"spec":{"containers":["x"]}})"}) {
    EXPECT_FALSE(strategic_merge(pod, J("{}"), J(patch))) << patch;
  }
  const auto custom = strategic_merge(kind("serving.knative.dev/v1", "Service"), J("{}"), J("{}"));
  ASSERT_FALSE(custom);
  EXPECT_EQ(custom.error().code(), Code::Unsupported);
}

TEST(Update, SpecAndStatusAreApart) {
  const Kind& k = kind("serving.knative.dev/v1", "Service");
  const Json old = J(R"({"metadata":{"name":"a","uid":"u","generation":2},"spec":{"x":1},
      "status":{"url":"http://a"}})");
  Json main =
      J(R"({"metadata":{"name":"a","labels":{"l":"1"}},"spec":{"x":2},"status":{"url":"no"}})");
  prepare_update(k, main, old);
  EXPECT_EQ(json::canonical(main),
            json::canonical(J(R"({"metadata":{"name":"a","uid":"u","generation":2,
      "labels":{"l":"1"}},"spec":{"x":2},"status":{"url":"http://a"}})")));
  EXPECT_TRUE(generation_changes(k, old, main));
  Json status = J(R"({"metadata":{"name":"a","resourceVersion":"7","labels":{"l":"1"}},
      "spec":{"x":9},"status":{"url":"new"}})");
  prepare_status_update(k, status, old);
  EXPECT_EQ(json::canonical(status),
            json::canonical(J(R"({"metadata":{"name":"a","uid":"u","generation":2,
      "resourceVersion":"7"},"spec":{"x":1},"status":{"url":"new"}})")));
  EXPECT_FALSE(generation_changes(k, old, status));
  Json created = J(R"({"metadata":{"uid":"mine","resourceVersion":"3"},"status":{"url":"no"}})");
  prepare_create(k, created);
  EXPECT_EQ(json::canonical(created), R"({"metadata":{}})");
  EXPECT_FALSE(generation_changes(kind("v1", "ConfigMap"), J(R"({"data":{"a":"1"}})"),
                                  J(R"({"data":{"a":"2"}})")));
}

TEST(Scale, ReadsAndWrites) {
  const Kind& k = kind("apps/v1", "Deployment");
  Json o = J(R"({"metadata":{"name":"a","namespace":"d","uid":"u","resourceVersion":"5",
      "labels":{"x":"y"}},"spec":{"replicas":2,"selector":{"matchLabels":{"b":"2","a":"1"}}},
      "status":{"replicas":1}})");
  EXPECT_EQ(json::canonical(*scale_of(k, o)), json::canonical(J(R"({"apiVersion":"autoscaling/v1",
      "kind":"Scale","metadata":{"name":"a","namespace":"d","uid":"u","resourceVersion":"5"},
      "spec":{"replicas":2},"status":{"replicas":1,"selector":"a=1,b=2"}})")));
  apply_scale(k, o, J(R"({"spec":{"replicas":5}})"));
  EXPECT_EQ(json::i64(o, {"spec", "replicas"}), 5);
  apply_scale(k, o, J(R"({"spec":{}})"));
  EXPECT_EQ(json::opt_i64(o, {"spec", "replicas"}), 0);
  EXPECT_FALSE(scale_of(kind("v1", "Pod"), o));
}

// Source: apimachinery pkg/util/duration/duration_test.go.
TEST(Table, HumanDuration) {
  const struct {
    std::int64_t seconds;
    const char* want;
  } rows[] = {{-5, "<invalid>"},
              {0, "0s"},
              {70, "70s"},
              {119, "119s"},
              {190, "3m10s"},
              {600, "10m"},
              {3 * 3600 - 1, "179m"},
              {3 * 3600, "3h"},
              {4 * 3600 + 1800, "4h30m"},
              {47 * 3600, "47h"},
              {49 * 3600, "2d1h"},
              {8 * 86400, "8d"},
              {700 * 86400, "700d"},
              {731 * 86400, "2y1d"},
              {3650LL * 86400, "10y"}};
  for (const auto& row : rows) {
    EXPECT_EQ(human_duration(Duration(row.seconds * 1'000'000'000)), row.want) << row.seconds;
  }
}

TEST(Table, Rows) {
  const auto now = *parse_rfc3339("2026-11-25T00:10:00Z");
  const struct {
    const char *name, *api_version, *kind, *object, *cells;
  } rows[] = {
      {"running pod", "v1", "Pod",
       R"({"metadata":{"name":"p","creationTimestamp":"2026-11-25T00:00:00Z"},"spec":{"nodeName":"n",
        "containers":[{"name":"a"},{"name":"b"}]},"status":{"phase":"Running","podIP":"10.0.0.1",
        "containerStatuses":[{"ready":true,"restartCount":2,"state":{"running":{}},"lastState":
        {"terminated":{"finishedAt":"2026-11-25T00:05:00Z"}}},
        {"ready":false,"restartCount":1,"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}})",
       R"~(["p","1/2","CrashLoopBackOff","3 (5m ago)","10m","10.0.0.1","n","<none>","<none>"])~"},
      {"pending pod", "v1", "Pod",
       R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"}]},"status":
        {"phase":"Pending"}})",
       R"(["p","0/1","Pending","0","<unknown>","<none>","<none>","<none>","<none>"])"},
      {"terminating pod", "v1", "Pod",
       R"({"metadata":{"name":"p","deletionTimestamp":"2026-11-25T00:00:00Z"},"spec":{"containers":
        [{"name":"a"}]},"status":{"phase":"Running","containerStatuses":[{"ready":true,"state":
        {"running":{}}}]}})",
       R"(["p","1/1","Terminating","0","<unknown>","<none>","<none>","<none>","<none>"])"},
      {"init", "v1", "Pod",
       R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"}],"initContainers":[{"name":"i"},
        {"name":"j"}]},"status":{"phase":"Pending","initContainerStatuses":[{"name":"i","state":
        {"terminated":{"exitCode":0}}},{"name":"j","state":{"running":{}}}]}})",
       R"(["p","0/1","Init:1/2","0","<unknown>","<none>","<none>","<none>","<none>"])"},
      {"completed pod", "v1", "Pod",
       R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"}]},"status":{"phase":
        "Succeeded","containerStatuses":[{"state":{"terminated":{"exitCode":0,"reason":
        "Completed"}}}]}})",
       R"(["p","0/1","Completed","0","<unknown>","<none>","<none>","<none>","<none>"])"},
      {"failed by exit code", "v1", "Pod",
       R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"}]},"status":{"phase":"Failed",
        "containerStatuses":[{"state":{"terminated":{"exitCode":3}}}]}})",
       R"(["p","0/1","ExitCode:3","0","<unknown>","<none>","<none>","<none>","<none>"])"},
      {"service", "v1", "Service",
       R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","clusterIP":"172.30.0.1","ports":
        [{"port":80,"nodePort":30080,"protocol":"TCP"},{"port":53,"protocol":"UDP"}],"selector":
        {"b":"2","a":"1"}}})",
       R"(["s","NodePort","172.30.0.1","<none>","80:30080/TCP,53/UDP","<unknown>","a=1,b=2"])"},
      {"deployment", "apps/v1", "Deployment",
       R"({"metadata":{"name":"d"},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"1"}},
        "template":{"spec":{"containers":[{"name":"x","image":"i"},{"name":"y","image":"j"}]}}},
        "status":{"readyReplicas":1,"updatedReplicas":2}})",
       R"(["d","1/3","2","0","<unknown>","x,y","i,j","a=1"])"},
      {"endpoints", "v1", "Endpoints",
       R"({"metadata":{"name":"e"},"subsets":[{"addresses":[{"ip":"1"},{"ip":"2"},{"ip":"3"},
        {"ip":"4"}],"ports":[{"port":80}]}]})",
       R"(["e","1:80,2:80,3:80 + 1 more...","<unknown>"])"},
      {"event", "v1", "Event",
       R"({"metadata":{"name":"x"},"lastTimestamp":"2026-11-25T00:09:50Z","type":"Normal","reason":
        "Pulled","involvedObject":{"kind":"Pod","name":"p"},"message":"done ","count":2,"source":
        {"component":"knit"},"firstTimestamp":"2026-11-25T00:08:00Z"})",
       R"(["10s","Normal","Pulled","pod/p","","knit","done","2m",2,"x"])"},
      {"ksvc", "serving.knative.dev/v1", "Service",
       R"({"metadata":{"name":"hello"},"status":{"url":"http://h","latestCreatedRevisionName":"h-1",
        "conditions":[{"type":"Other","status":"True"},{"type":"Ready","status":"False","reason":
        "RevisionFailed"}]}})",
       R"(["hello","http://h","h-1",null,"False","RevisionFailed"])"},
      {"revision", "serving.knative.dev/v1", "Revision",
       R"({"metadata":{"name":"h-1","labels":{"serving.knative.dev/configuration":"h",
        "serving.knative.dev/configurationGeneration":"1"}},"status":{"actualReplicas":0}})",
       R"(["h-1","h","1",null,null,0,null])"},
      {"gateway without columns", "networking.istio.io/v1", "Gateway",
       R"({"metadata":{"name":"g","creationTimestamp":"2026-11-24T00:00:00Z"}})", R"(["g","24h"])"},
      {"virtual service", "networking.istio.io/v1", "VirtualService",
       R"({"metadata":{"name":"v"},"spec":{"hosts":["a","b"],"gateways":["g"]}})",
       R"(["v","[\"g\"]","[\"a\",\"b\"]",null])"},
      {"roll", "maistra.io/v1", "ServiceMeshMemberRoll",
       R"({"metadata":{"name":"default"},"status":{"members":["a"],"annotations":
        {"configuredMemberCount":"1/1"},"conditions":[{"type":"Ready","reason":"Configured"}]}})",
       R"(["default","1/1","Configured",null,"[\"a\"]"])"},
      {"route", "route.openshift.io/v1", "Route",
       R"({"metadata":{"name":"r"},"spec":{"host":"h","to":{"name":"s"},"port":{"targetPort":"https"},
        "tls":{"termination":"passthrough","insecureEdgeTerminationPolicy":"Redirect"}}})",
       R"(["r","h","","s","https","passthrough/Redirect","None"])"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Kind& k = kind(row.api_version, row.kind);
    const Row got = table_row(k, J(row.object), now);
    EXPECT_EQ(json::print(Json(got.cells)), json::print(J(row.cells)));
    EXPECT_EQ(got.cells.size(), column_definitions(k).size());
  }
}

TEST(Table, EveryKindHasAsManyCellsAsColumns) {
  for (const Kind& k : Registry::get().kinds()) {
    if (!k.stored) continue;
    const Row row = table_row(k, J(R"({"metadata":{"name":"x"}})"), {});
    EXPECT_EQ(row.cells.size(), column_definitions(k).size()) << k.group_resource();
  }
}

TEST(FieldSelectors, Values) {
  const Kind& pod = kind("v1", "Pod");
  const Json o = J(R"({"metadata":{"name":"p","namespace":"d"},"spec":{"nodeName":"n"},
      "status":{"phase":"Running"}})");
  EXPECT_EQ(field_value(pod, o, "metadata.name"), "p");
  EXPECT_EQ(field_value(pod, o, "spec.nodeName"), "n");
  EXPECT_EQ(field_value(pod, o, "spec.hostNetwork"), "false");
  EXPECT_EQ(field_value(pod, o, "status.podIP"), "");
  EXPECT_EQ(field_value(pod, o, "spec.foo"), std::nullopt);
  EXPECT_EQ(field_value(kind("serving.knative.dev/v1", "Service"), o, "status.phase"),
            std::nullopt);
}

TEST(Documents, CrdObject) {
  const Json crd = crd_object(kind("serving.knative.dev/v1", "Service"));
  EXPECT_EQ(json::str(crd, {"metadata", "name"}), "services.serving.knative.dev");
  EXPECT_EQ(json::str(crd, {"spec", "names", "kind"}), "Service");
  // It is a CustomResourceDefinition by our own tables.
  const Decoded d = decode(kind("apiextensions.k8s.io/v1", "CustomResourceDefinition"), "v1",
                           json::print(crd), ContentType::Json, FieldValidation::Strict);
  EXPECT_FALSE(d.failure) << d.failure->message;
}

}  // namespace
}  // namespace knit::schema
