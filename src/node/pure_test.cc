// Decisions of the node that need no machine.
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "base/hash.h"
#include "node/container_spec.h"
#include "node/env.h"
#include "node/ipam.h"
#include "node/pod.h"
#include "node/status.h"
#include "node/volumes.h"

namespace knit::node {
namespace {

using namespace std::chrono_literals;

Json parse(std::string_view text) { return json::parse(text).value(); }
const WallTime kNow = parse_rfc3339("2026-11-25T01:02:03Z").value();

// Source: k8s third_party/forked/golang/expansion/expand_test.go
TEST(Env, ExpansionTable) {
  const std::map<std::string, std::string> values = {{"A", "1"}, {"B", "$(A)"}, {"EMPTY", ""}};
  const struct {
    const char* in;
    const char* want;
  } rows[] = {{"$(A)", "1"},        {"$(B)", "$(A)"},     {"$$(A)", "$(A)"}, {"$(C)", "$(C)"},
              {"x$(EMPTY)y", "xy"}, {"$", "$"},           {"$(A", "$(A"},    {"$A", "$A"},
              {"$$$(A)", "$1"},     {"a$(A)$(A)", "a11"}, {"$$", "$"}};
  for (const auto& row : rows) EXPECT_EQ(expand(row.in, values), row.want) << row.in;
}

TEST(Env, SourcesInOrderAndErrorsAsKubelet) {
  const Json pod = parse(R"j({"metadata":{"name":"p","namespace":"ns","uid":"u","labels":{"k":"v"}},
    "spec":{"serviceAccountName":"sa","containers":[{"name":"c","image":"i",
      "resources":{"limits":{"cpu":"1500m","memory":"64Mi"}},
      "envFrom":[{"prefix":"P_","configMapRef":{"name":"cm"}}],
      "env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)$(P_x)"},
        {"name":"POD","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['k']"}}},
        {"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
        {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},
        {"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
        {"name":"S","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},
        {"name":"O","valueFrom":{"secretKeyRef":{"name":"s","key":"none","optional":true}}}]}]}})j");
  const Json& c = json::array(pod, {"spec", "containers"})[0];
  Objects objects;
  objects.configmaps["cm"] = parse(R"({"kind":"ConfigMap","data":{"x":"X"}})");
  objects.secrets["s"] =
      parse(R"({"kind":"Secret","data":{"k":")" + hash::base64("secret") + "\"}}");
  PodFacts facts;
  facts.ip = "10.128.0.5";
  const auto got = container_env(pod, c, {"PATH=/bin", "A=image"}, objects, facts);
  ASSERT_TRUE(got.has_value()) << got.error().message();
  EXPECT_EQ(*got,
            (std::vector<std::string>{"PATH=/bin", "A=1", "HOSTNAME=p", "P_x=X", "B=1X", "POD=v",
                                      "IP=10.128.0.5", "CPU=2", "MEM=64", "S=secret"}));
  objects.secrets.clear();
  EXPECT_EQ(container_env(pod, c, {}, objects, facts).error().message(), "secret \"s\" not found");
  objects.secrets["s"] = parse(R"({"kind":"Secret","data":{}})");
  EXPECT_EQ(container_env(pod, c, {}, objects, facts).error().message(),
            "couldn't find key k in Secret ns/s");
  objects.configmaps.clear();
  EXPECT_EQ(container_env(pod, c, {}, objects, facts).error().message(),
            "configmap \"cm\" not found");
}

// Source: kubernetes docs "Define a Command and Arguments for a Container"
TEST(Env, CommandAndArgsTable) {
  const std::vector<std::string> entry = {"/e"}, cmd = {"c1"}, env = {"A=1"};
  const struct {
    const char* container;
    std::vector<std::string> want;
  } rows[] = {{"{}", {"/e", "c1"}},
              {R"j({"args":["x","$(A)"]})j", {"/e", "x", "1"}},
              {R"({"command":["/c"]})", {"/c"}},
              {R"({"command":["/c"],"args":["x"]})", {"/c", "x"}}};
  for (const auto& row : rows) {
    EXPECT_EQ(container_args(parse(row.container), entry, cmd, env), row.want) << row.container;
  }
}

TEST(Pod, QosTable) {
  const struct {
    const char* resources;
    const char* want;
  } rows[] = {
      {"{}", "BestEffort"},
      {R"({"requests":{"cpu":"1"}})", "Burstable"},
      {R"({"limits":{"cpu":"1","memory":"1Gi"}})", "Guaranteed"},
      {R"({"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1000m"}})", "Guaranteed"},
      {R"({"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}})", "Burstable"},
      {R"({"limits":{"memory":"1Gi"}})", "Burstable"},
  };
  for (const auto& row : rows) {
    const Json pod = parse(R"({"spec":{"containers":[{"name":"a","resources":)" +
                           std::string(row.resources) + "}]}}");
    EXPECT_EQ(qos_class(pod), row.want) << row.resources;
  }
}

TEST(Pod, RefusesByName) {
  const struct {
    const char* spec;
    const char* want;
  } rows[] = {
      {R"({"hostNetwork":true})", "spec.hostNetwork"},
      {R"({"volumes":[{"name":"v","hostPath":{"path":"/"}}]})", "spec.volumes[0].hostPath"},
      {R"({"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"x"}}]})",
       "persistentVolumeClaim"},
      {R"({"runtimeClassName":"kata"})", "runtimeClassName \"kata\""},
      {R"({"containers":[{"name":"a","tty":true}]})", "container \"a\": tty"},
  };
  for (const auto& row : rows) {
    const Json pod = parse(R"({"spec":)" + std::string(row.spec) + "}");
    EXPECT_NE(unsupported(pod).find(row.want), std::string::npos) << unsupported(pod);
  }
  EXPECT_EQ(unsupported(parse(R"({"spec":{"containers":[{"name":"a"}],
      "volumes":[{"name":"v","emptyDir":{}},{"name":"p","projected":{}}]}})")),
            "");
}

TEST(Pod, ProbesForTheProxy) {
  const Json pod = parse(R"({"spec":{"containers":[{"name":"a","image":"i",
    "ports":[{"name":"web","containerPort":8080}],
    "readinessProbe":{"httpGet":{"port":"web","path":"ok","httpHeaders":[{"name":"X","value":"1"}]},
                      "periodSeconds":3},
    "livenessProbe":{"exec":{"command":["x"]}},
    "startupProbe":{"tcpSocket":{"port":"nope"}}}]}})");
  const auto views = containers_of(pod);
  const auto ready = proxy_probe(views[0], "readinessProbe");
  ASSERT_TRUE(ready && *ready);
  EXPECT_EQ((*ready)->id, "a/readiness");
  EXPECT_EQ((*ready)->port, 8080);
  EXPECT_EQ((*ready)->path, "/ok");
  EXPECT_EQ((*ready)->period_s, 3U);
  EXPECT_EQ((*ready)->failure, 3U);
  EXPECT_EQ((*ready)->headers.at("X"), "1");
  EXPECT_FALSE(proxy_probe(views[0], "livenessProbe")->has_value());
  EXPECT_FALSE(proxy_probe(views[0], "startupProbe").has_value());
}

TEST(Ipam, NextFitClaimAndExhaustion) {
  Ipam ipam(net::parse_prefix("10.0.0.0/29").value(), {net::parse_address("10.0.0.3").value()});
  const auto take = [&](const char* owner) {
    auto r = ipam.take(owner);
    return r ? net::to_string(*r) : "none: " + r.error().message();
  };
  EXPECT_EQ(take("a"), "10.0.0.2");
  EXPECT_EQ(take("a"), "10.0.0.2");
  EXPECT_EQ(take("b"), "10.0.0.4");
  ipam.release("a");
  EXPECT_EQ(take("c"), "10.0.0.5");  // a freed address rests
  EXPECT_TRUE(ipam.claim("d", net::parse_address("10.0.0.6").value()));
  EXPECT_EQ(ipam.claim("e", net::parse_address("10.0.0.6").value()).error().code(), Code::Conflict);
  EXPECT_EQ(take("f"), "10.0.0.2");
  EXPECT_EQ(take("g"), "none: no free pod address is left in 10.0.0.0/29");
}

TEST(Status, BackoffDoublesToFiveMinutesAndForgets) {
  Backoff b;
  std::vector<std::int64_t> got;
  for (int i = 0; i < 7; ++i)
    got.push_back(std::chrono::duration_cast<std::chrono::seconds>(b.next(1s)).count());
  EXPECT_EQ(got, (std::vector<std::int64_t>{10, 20, 40, 80, 160, 300, 300}));
  EXPECT_EQ(b.next(10min), Duration(10s));
}

TEST(Status, ExitTable) {
  const struct {
    int status;
    bool oom;
    int code, signal;
    const char* reason;
  } rows[] = {{0, false, 0, 0, "Completed"},      {42 << 8, false, 42, 0, "Error"},
              {SIGKILL, false, 137, 9, "Error"},  {SIGKILL, true, 137, 9, "OOMKilled"},
              {SIGTERM, false, 143, 15, "Error"}, {0, true, 0, 0, "Completed"}};
  for (const auto& row : rows) {
    const Terminated t = terminated(row.status, row.oom);
    EXPECT_EQ(t.exit_code, row.code);
    EXPECT_EQ(t.signal, row.signal);
    EXPECT_EQ(t.reason, row.reason);
  }
}

std::string condition(const Json& status, std::string_view type) {
  for (const Json& c : json::array(status, {"conditions"})) {
    if (json::str(c, {"type"}) == type) {
      const auto reason = json::str(c, {"reason"});
      return std::string(json::str(c, {"status"})) + (reason.empty() ? "" : " ") +
             std::string(reason);
    }
  }
  return "absent";
}

// Source: kubernetes pkg/kubelet/kubelet_pods_test.go (TestPodPhaseWithRestart*)
TEST(Status, PhaseTable) {
  using S = ContainerStatus::State;
  const auto c = [](S state, int code = 0, bool crashed = false) {
    ContainerStatus s{.name = "c", .state = state};
    s.started = s.ready = state == S::Running;
    if (state == S::Terminated) s.ended = Terminated{.exit_code = code, .reason = "x"};
    if (crashed) s.last = Terminated{.exit_code = code, .reason = "x"};
    return s;
  };
  const struct {
    const char* policy;
    std::vector<ContainerStatus> containers;
    const char* phase;
    const char* ready;
  } rows[] = {
      {"Always", {c(S::Waiting)}, "Pending", "False ContainersNotReady"},
      {"Always", {c(S::Running)}, "Running", "True"},
      {"Always", {c(S::Running), c(S::Waiting)}, "Pending", "False ContainersNotReady"},
      {"Always", {c(S::Terminated, 0)}, "Running", "False ContainersNotReady"},
      {"Always", {c(S::Waiting, 1, true)}, "Running", "False ContainersNotReady"},
      {"Never", {c(S::Terminated, 0)}, "Succeeded", "False PodCompleted"},
      {"Never", {c(S::Terminated, 1)}, "Failed", "False PodFailed"},
      {"Never", {c(S::Terminated, 0), c(S::Terminated, 1)}, "Failed", "False PodFailed"},
      {"OnFailure", {c(S::Terminated, 0)}, "Succeeded", "False PodCompleted"},
      {"OnFailure", {c(S::Terminated, 1)}, "Running", "False ContainersNotReady"},
      {"Never", {c(S::Running), c(S::Terminated, 0)}, "Running", "False ContainersNotReady"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.policy) + " " + row.phase);
    PodStatus s;
    s.containers = row.containers;
    s.network = true;
    const Json pod = parse(R"({"spec":{"restartPolicy":")" + std::string(row.policy) + "\"}}");
    const Json got = compute_status(pod, s, kNow);
    EXPECT_EQ(json::str(got, {"phase"}), row.phase);
    EXPECT_EQ(condition(got, "Ready"), row.ready);
    EXPECT_EQ(condition(got, "PodScheduled"), "True");
  }
}

TEST(Status, ConditionsKeepTimesGatesAndForeignOnes) {
  PodStatus s;
  ContainerStatus init{.name = "i", .kind = Kind::Init};
  s.containers = {init, ContainerStatus{.name = "c"}};
  Json pod =
      parse(R"({"spec":{"readinessGates":[{"conditionType":"x.y/z"}]},"status":{"conditions":[
    {"type":"PodScheduled","status":"True","lastTransitionTime":"2020-01-01T00:00:00Z"},
    {"type":"x.y/z","status":"False"}]}})");
  Json got = compute_status(pod, s, kNow);
  EXPECT_EQ(condition(got, "Initialized"), "False ContainersNotInitialized");
  EXPECT_EQ(json::str(json::array(got, {"containerStatuses"})[0], {"state", "waiting", "reason"}),
            "PodInitializing");
  EXPECT_EQ(condition(got, "x.y/z"), "False");
  for (const Json& one : json::array(got, {"conditions"})) {
    if (json::str(one, {"type"}) == "PodScheduled") {
      EXPECT_EQ(json::str(one, {"lastTransitionTime"}), "2020-01-01T00:00:00Z");
    }
  }
  s.containers = {ContainerStatus{.name = "c", .state = ContainerStatus::State::Running}};
  s.containers[0].ready = s.containers[0].started = true;
  got = compute_status(pod, s, kNow);
  EXPECT_EQ(condition(got, "ContainersReady"), "True");
  EXPECT_EQ(condition(got, "Ready"), "False ReadinessGatesNotReady");
}

TEST(ContainerSpec, FromPodAndImage) {
  const Json pod = parse(R"({"metadata":{"name":"p","namespace":"ns","uid":"u"},
    "spec":{"securityContext":{"runAsUser":5,"fsGroup":77},"volumes":[{"name":"e","emptyDir":{}},
       {"name":"cm","configMap":{"name":"x"}}],
     "containers":[{"name":"c","image":"i","workingDir":"/w",
      "resources":{"limits":{"cpu":"500m","memory":"64Mi"},"requests":{"cpu":"100m"}},
      "securityContext":{"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,
        "capabilities":{"drop":["ALL"],"add":["NET_BIND_SERVICE"]}},
      "volumeMounts":[{"name":"e","mountPath":"/data","subPath":"sub"},
                      {"name":"cm","mountPath":"/etc/cm"}]}]}})");
  const auto views = containers_of(pod);
  image::Config image;
  image.entrypoint = {"/hello"};
  const Objects objects;
  ContainerInput in{.pod = &pod,
                    .container = views[0],
                    .id = "id",
                    .image = &image,
                    .objects = &objects,
                    .facts = {},
                    .volumes = {{"e", "/v/e"}, {"cm", "/v/cm"}},
                    .files = "/f",
                    .termination_log = "/t",
                    .netns_path = "/proc/1/fd/3"};
  const auto got = container_spec(in);
  ASSERT_TRUE(got.has_value()) << got.error().message();
  EXPECT_EQ(got->args, std::vector<std::string>{"/hello"});
  EXPECT_EQ(got->cwd, "/w");
  EXPECT_EQ(got->run_as_user, 5U);
  EXPECT_EQ(got->supplemental_groups, std::vector<std::uint32_t>{77});
  EXPECT_EQ(got->capabilities, std::vector<std::string>{"CAP_NET_BIND_SERVICE"});
  EXPECT_TRUE(got->no_new_privileges);
  EXPECT_TRUE(got->read_only_root);
  EXPECT_EQ(got->resources.cpu_quota_us, 50'000);
  EXPECT_EQ(got->resources.cpu_shares, 102U);
  EXPECT_EQ(got->resources.memory_limit, 64 << 20);
  EXPECT_EQ(got->cgroup, "/knit/podu/id");
  ASSERT_EQ(got->mounts.size(), 6U);
  EXPECT_EQ(got->mounts[0].beneath, "sub");
  EXPECT_EQ(got->mounts[0].options.back(), "rw");
  EXPECT_EQ(got->mounts[1].options.back(), "ro");
  EXPECT_EQ(got->mounts[2].destination, "/etc/hosts");
  EXPECT_EQ(got->mounts[5].destination, "/dev/termination-log");
}

TEST(Volumes, ContentAndAtomicSwap) {
  const Json pod = parse(R"({"metadata":{"name":"p","namespace":"ns","uid":"u"},"spec":{}})");
  const Json volume = parse(R"({"name":"v","projected":{"defaultMode":256,"sources":[
    {"serviceAccountToken":{"path":"token"}},
    {"configMap":{"name":"cm","items":[{"key":"a","path":"sub/a","mode":420}]}},
    {"downwardAPI":{"items":[{"path":"ns","fieldRef":{"fieldPath":"metadata.namespace"}}]}}]}})");
  Objects objects;
  objects.configmaps["cm"] = parse(R"({"kind":"ConfigMap","data":{"a":"A"}})");
  const auto content = volume_content(pod, volume, objects, {}, {{"v/token", "T"}});
  ASSERT_TRUE(content.has_value()) << content.error().message();
  EXPECT_EQ(*content,
            (VolumeContent{{"token", {"T", 0400}}, {"sub/a", {"A", 0644}}, {"ns", {"ns", 0400}}}));
  objects.configmaps.clear();
  EXPECT_EQ(volume_content(pod, volume, objects, {}, {{"v/token", "T"}}).error().message(),
            "configmap \"cm\" not found");

  std::string dir = "/tmp/knit-volume-XXXXXX";
  ASSERT_NE(::mkdtemp(dir.data()), nullptr);
  const auto read = [&](const std::string& name) {
    std::ifstream in(dir + "/v/" + name);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  ASSERT_TRUE(write_volume(dir + "/v", *content, {}, "1"));
  EXPECT_EQ(read("sub/a"), "A");
  EXPECT_EQ(read("token"), "T");
  ASSERT_TRUE(write_volume(dir + "/v", {{"token", {"T2", 0400}}}, {}, "2"));
  EXPECT_EQ(read("token"), "T2");
  EXPECT_FALSE(std::filesystem::exists(dir + "/v/sub"));
  EXPECT_FALSE(std::filesystem::exists(dir + "/v/..v1"));
  std::filesystem::remove_all(dir);
}

TEST(Volumes, PathsCannotLeave) {
  const Json pod = parse(R"({"metadata":{"name":"p"},"spec":{}})");
  Objects objects;
  objects.configmaps["cm"] = parse(R"({"kind":"ConfigMap","data":{"a":"A"}})");
  for (const char* path : {"../x", "/x", "a/../../x", "..data", ""}) {
    Json volume = parse(R"({"name":"v","configMap":{"name":"cm","items":[{"key":"a"}]}})");
    json::array(volume, {"configMap", "items"});
    volume.at("configMap").at("items").at(0).as_object()["path"] = path;
    EXPECT_FALSE(volume_content(pod, volume, objects, {}, {}).has_value()) << path;
  }
}

// Source: kubernetes pkg/kubelet/kubelet_pods_test.go (TestHostsFileContent),
// network/dns/dns_test.go
TEST(Volumes, HostsAndResolvConf) {
  const Json pod = parse(R"({"metadata":{"name":"web-0","namespace":"ns"},"spec":{
    "subdomain":"web","hostAliases":[{"ip":"1.2.3.4","hostnames":["a","b"]}],
    "dnsConfig":{"options":[{"name":"ndots","value":"2"},{"name":"edns0"}],"searches":["x.y"]}}})");
  PodFacts facts;
  facts.ip = "10.128.0.5";
  EXPECT_NE(hosts_file(pod, facts, "cluster.local")
                .find("10.128.0.5\tweb-0.web.ns.svc.cluster.local\tweb-0\n"
                      "\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"),
            std::string::npos);
  EXPECT_EQ(resolv_conf(pod, {"172.30.0.10", "cluster.local"}),
            "search ns.svc.cluster.local svc.cluster.local cluster.local x.y\n"
            "nameserver 172.30.0.10\noptions ndots:2 edns0\n");
}

}  // namespace
}  // namespace knit::node
