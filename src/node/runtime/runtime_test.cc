#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "node/runtime/cgroups.h"
#include "node/runtime/logs.h"
#include "node/runtime/oci_config.h"
#include "node/runtime/spawn.h"

namespace knit::node::runtime {
namespace {

constexpr std::string_view kPasswd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n";
constexpr std::string_view kGroup = "root:x:0:\nstaff:x:50:app,other\nwheel:x:10:root\n";

// Source: kubernetes pkg/kubelet/kuberuntime/security_context_others.go; containerd pkg/oci
TEST(ResolveUser, Table) {
  const auto spec = [](std::string user) { return ContainerSpec{.user = std::move(user)}; };
  auto non_root = spec("");
  non_root.run_as_non_root = true;
  auto named_non_root = spec("app");
  named_non_root.run_as_non_root = true;
  auto run_as = spec("app:staff");
  run_as.run_as_user = 7;
  run_as.supplemental_groups = {99, 5, 99};
  auto run_as_root = spec("7");
  run_as_root.run_as_user = 0;
  run_as_root.run_as_non_root = true;
  const struct {
    const char* name;
    ContainerSpec spec;
    User want;
    const char* error;
  } rows[] = {
      {"nothing", spec(""), {0, 0, {10}}, nullptr},
      {"number", spec("65532:65532"), {65532, 65532, {}}, nullptr},
      {"name", spec("app"), {1000, 1001, {50}}, nullptr},
      {"name and group", spec("app:staff"), {1000, 50, {50}}, nullptr},
      {"number of a known user", spec("1000"), {1000, 1001, {50}}, nullptr},
      {"unknown name", spec("ghost"), {}, "no matching entries in passwd file"},
      {"unknown group", spec("0:ghost"), {}, "no matching entries in group file"},
      {"runAsUser wins", run_as, {7, 0, {5, 99}}, nullptr},
      {"runAsNonRoot and root", non_root, {}, "image will run as root"},
      {"runAsNonRoot and name", named_non_root, {}, "non-numeric user (app)"},
      {"runAsNonRoot and runAsUser 0", run_as_root, {}, "breaks non-root policy"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = resolve_user(row.spec, kPasswd, kGroup);
    if (row.error != nullptr) {
      ASSERT_FALSE(got.has_value());
      EXPECT_NE(got.error().message().find(row.error), std::string::npos) << got.error().message();
    } else {
      ASSERT_TRUE(got.has_value()) << got.error().message();
      EXPECT_EQ(*got, row.want);
    }
  }
}

TEST(OciConfig, LimitsNamespacesAndHardening) {
  ContainerSpec spec{.id = "c", .hostname = "web", .args = {"/a", "b"}, .env = {"A=1"}};
  spec.capabilities = default_capabilities();
  spec.no_new_privileges = true;
  spec.read_only_root = true;
  spec.cgroup = "/knit/pod/c";
  spec.netns_path = "/proc/1/fd/9";
  spec.resources = {.memory_limit = 64 << 20,
                    .cpu_shares = 102,
                    .cpu_quota_us = 50'000,
                    .pids_limit = 64,
                    .oom_score_adj = 1000};
  spec.mounts = {{"/src", "/data", "bind", {"rbind", "ro"}, {}}};
  const Json got = oci_config(spec, {1000, 1001, {50}});
  EXPECT_EQ(json::i64(got, {"process", "user", "uid"}), 1000);
  EXPECT_EQ(json::i64(got, {"linux", "resources", "memory", "limit"}), 64 << 20);
  EXPECT_EQ(json::i64(got, {"linux", "resources", "cpu", "quota"}), 50'000);
  EXPECT_EQ(json::i64(got, {"linux", "resources", "pids", "limit"}), 64);
  EXPECT_EQ(json::i64(got, {"process", "oomScoreAdj"}), 1000);
  EXPECT_TRUE(json::boolean(got, {"process", "noNewPrivileges"}));
  EXPECT_TRUE(json::boolean(got, {"root", "readonly"}));
  EXPECT_EQ(json::str(got, {"linux", "cgroupsPath"}), "/knit/pod/c");
  EXPECT_EQ(json::array(got, {"linux", "maskedPaths"}).size(), 11U);
  EXPECT_EQ(json::array(got, {"process", "capabilities", "bounding"}).size(), 14U);
  EXPECT_EQ(json::array(got, {"process", "capabilities", "effective"}).size(), 0U);
  const Json root = oci_config(spec, {});
  EXPECT_EQ(json::array(root, {"process", "capabilities", "effective"}).size(), 14U);
  bool network = false;
  for (const Json& ns : json::array(got, {"linux", "namespaces"})) {
    if (json::str(ns, {"type"}) == "network") {
      network = true;
      EXPECT_EQ(json::str(ns, {"path"}), "/proc/1/fd/9");
    }
  }
  EXPECT_TRUE(network);
  EXPECT_EQ(json::str(json::array(got, {"mounts"}).back(), {"destination"}), "/data");
  EXPECT_EQ(json::str(got, {"linux", "seccomp", "defaultAction"}), "SCMP_ACT_ERRNO");
  spec.seccomp = Seccomp::Unconfined;
  EXPECT_EQ(json::find(oci_config(spec, {}), {"linux", "seccomp"}), nullptr);
  spec.privileged = true;
  EXPECT_TRUE(json::array(oci_config(spec, {}), {"linux", "maskedPaths"}).empty());
}

// Source: kubernetes pkg/kubelet/kuberuntime/logs (the CRI log format)
TEST(Logs, FormatsLinesAndPartials) {
  LogFormatter f("stdout");
  const WallTime now = parse_rfc3339("2026-11-25T01:02:03.5Z").value();
  EXPECT_EQ(f.feed("one\ntw", now), "2026-11-25T01:02:03.500000000Z stdout F one\n");
  EXPECT_EQ(
      f.feed("o\n\n", now),
      "2026-11-25T01:02:03.500000000Z stdout F two\n2026-11-25T01:02:03.500000000Z stdout F \n");
  const std::string big(kMaxLogLine + 3, 'x');
  const std::string out = f.feed(big + "\n", now);
  EXPECT_NE(out.find(" stdout P " + std::string(kMaxLogLine, 'x') + "\n"), std::string::npos);
  EXPECT_NE(out.find(" stdout F xxx\n"), std::string::npos);
  EXPECT_EQ(f.feed("tail", now), "");
  EXPECT_EQ(f.finish(now), "2026-11-25T01:02:03.500000000Z stdout P tail\n");
  EXPECT_EQ(f.finish(now), "");
}

TEST(Logs, Rotates) {
  std::string dir = "/tmp/knit-logs-XXXXXX";
  ASSERT_NE(::mkdtemp(dir.data()), nullptr);
  auto log = LogFile::open(dir + "/0.log", {.max_bytes = 10, .max_files = 3});
  ASSERT_TRUE(log.has_value());
  for (const char* line : {"aaaaaaa\n", "bbbbbbb\n", "ccccccc\n", "ddddddd\n"}) {
    ASSERT_TRUE((*log)->append(line));
  }
  const auto read = [&](const std::string& name) {
    std::ifstream in(dir + name);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(read("/0.log"), "ddddddd\n");
  EXPECT_EQ(read("/0.log.1"), "ccccccc\n");
  EXPECT_EQ(read("/0.log.2"), "bbbbbbb\n");
  EXPECT_FALSE(std::filesystem::exists(dir + "/0.log.3"));
  std::filesystem::remove_all(dir);
}

TEST(Cgroups, LayoutTable) {
  const struct {
    const char* name;
    const char* mounts;
    const char* controllers;
    const char* cgroups;
    const char* unified;
    const char* memory;
    bool hybrid;
  } rows[] = {
      {"pure v2 (Debian 12)", "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n",
       "cpuset cpu io memory pids\n", "memory\t0\t59\t1\nhugetlb\t0\t6\t1\n", "/sys/fs/cgroup",
       "/sys/fs/cgroup", false},
      {"hybrid with a stray controller",
       "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
       "cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n"
       "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
       "hugetlb\n", "hugetlb\t0\t6\t1\n", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", true},
      {"hybrid, systemd's",
       "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
       "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
       "\n", "hugetlb\t0\t1\t1\n", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", false},
      {"hybrid, another Knit holds hugetlb",
       "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
       "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
       "\n", "memory\t4\t59\t1\nhugetlb\t9\t1\t1\n", "/sys/fs/cgroup/unified",
       "/sys/fs/cgroup/memory", true},
      {"hybrid, hugetlb mounted for all",
       "cgroup /sys/fs/cgroup/hugetlb cgroup rw,hugetlb 0 0\n"
       "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
       "\n", "hugetlb\t9\t1\t1\n", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified", false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto got = cgroup_layout(row.mounts, row.controllers, row.cgroups);
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->unified, row.unified);
    EXPECT_EQ(got->memory, row.memory);
    EXPECT_EQ(got->hybrid_with_controllers, row.hybrid);
  }
  EXPECT_FALSE(cgroup_layout("proc /proc proc rw 0 0\n", "", "").has_value());
}

TEST(Spawn, StatusOutputAndTimeout) {
  auto ok = run({.argv = {"/bin/sh", "-c", "echo hi; echo there >&2; exit 3"}});
  ASSERT_TRUE(ok.has_value()) << ok.error().message();
  EXPECT_EQ(WEXITSTATUS(ok->status), 3);
  EXPECT_EQ(ok->output, "hi\nthere\n");
  const auto late = run({.argv = {"/bin/sh", "-c", "while :; do read x </dev/zero; done"},
                         .timeout = std::chrono::milliseconds(50)});
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code(), Code::DeadlineExceeded);
  EXPECT_EQ(run({.argv = {"/no/such"}}).error().code(), Code::NotFound);
  EXPECT_GT(start_time(::getpid()), 0U);
}

}  // namespace
}  // namespace knit::node::runtime
