// `knit up`, `status` and `down` with the real supervisor and fake processes, in namespaces of
// their own (mount with a copy of /etc, network, pids): the host sees nothing of it.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace knit::cli {
namespace {

class UpTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "knit up needs root";
    char name[] = "/tmp/knit-up-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir = name;
  }
  void TearDown() override {
    if (!dir.empty()) std::filesystem::remove_all(dir);
  }
  /// Runs the script with $KNIT and $T; everything it starts ends with it. Its output.
  std::string run(const std::string& script) {
    std::ofstream(dir + "/script")
        << "set -e\nT=" << dir << "\nKNIT=" << TEST_KNIT
        << "\nOPTS=\"--data $T/data --run $T/run --router-address 127.0.0.1\"\n"
           "mount -t tmpfs -o mode=0755 knit $T; mkdir $T/etc; cd /etc; ip link set lo up\n"
           "cp -a passwd group shadow gshadow login.defs nsswitch.conf ld.so.cache $T/etc\n"
           "cd /; mount --bind $T/etc /etc\n"
           "sed -i '/^knit-/d' /etc/passwd /etc/group /etc/shadow /etc/gshadow\n"
        << script;
    const std::string command =
        "unshare --mount --net --pid --fork --kill-child --mount-proc "
        "sh " +
        dir + "/script 2>&1 </dev/null";
    FILE* pipe = popen(command.c_str(), "r");
    std::string out;
    char chunk[4'096];
    for (std::size_t n; (n = fread(chunk, 1, sizeof chunk, pipe)) > 0;) out.append(chunk, n);
    const int status = pclose(pipe);
    exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return out;
  }
  static bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }
  std::string dir;
  int exit_status = 0;
};

TEST_F(UpTest, StartsShowsStopsAndPurges) {
  const std::string out = run(R"sh(
    cp /etc/passwd $T/passwd.before; ls -A /run > $T/run.before
    $KNIT up $OPTS; echo "up=$?"
    $KNIT status --run $T/run; echo "status=$?"
    stat -c '%a %U %n' $T/data/admin.kubeconfig; cat $T/data/admin.kubeconfig
    stat -c '%a %U %n' $T/data/store $T/data/pki $T/data/events $T/run/control.sock
    stat -c '%a %G %n' $T/run/roles/in $T/run/roles/out
    $KNIT up $OPTS --pod-cidr 10.200.0.0/20 || echo "second=$?"
    $KNIT up $OPTS --run $T/run2 --data $T/data2 || echo "range=$?"
    $KNIT up $OPTS --run $T/run2 --pod-cidr 10.200.0.0/20 || echo "data=$?"
    $KNIT down --run $T/run; echo "down=$?"
    cat $T/run.cleaned; echo
    $KNIT status --run $T/run || echo "status=$?"
    $KNIT down --run $T/run --data $T/data --purge; echo "purge=$?"
    diff $T/passwd.before /etc/passwd && echo "users as before"
    test ! -e $T/data && test ! -e $T/run && echo "directories gone"
    pgrep -a knit-supervisor || echo "no process left"
  )sh");
  SCOPED_TRACE(out);
  EXPECT_EQ(exit_status, 0);
  EXPECT_TRUE(has(out, "Knit 0."));
  EXPECT_TRUE(has(out, "system users made: knit-server, knit-proxy, knit-events"));
  EXPECT_TRUE(has(out, "node ready: uid 0"));
  EXPECT_FALSE(has(out, "server ready: uid 0"));
  EXPECT_FALSE(has(out, "proxy ready: uid 0"));
  EXPECT_TRUE(has(out, "up=0"));
  EXPECT_TRUE(has(out, "export KUBECONFIG="));
  EXPECT_TRUE(has(out, "  memory "));
  EXPECT_TRUE(has(out, "status=0"));
  EXPECT_TRUE(has(out, "700 knit-server " + dir + "/data/store"));
  EXPECT_TRUE(has(out, "700 knit-server " + dir + "/data/pki"));
  EXPECT_TRUE(has(out, "700 knit-events " + dir + "/data/events"));
  EXPECT_TRUE(has(out, "710 knit-proxy " + dir + "/run/roles/in"));
  EXPECT_TRUE(has(out, "710 knit-events " + dir + "/run/roles/out"));
  EXPECT_FALSE(has(out, "events ready")) << "nobody needs it";
  EXPECT_TRUE(has(out, "600 root " + dir + "/run/control.sock"));
  EXPECT_TRUE(has(out, "600 root " + dir + "/data/admin.kubeconfig\nkind: Config"));
  EXPECT_TRUE(has(out, "Knit is already running with data directory " + dir + "/data"));
  EXPECT_TRUE(has(out, "second=1"));
  EXPECT_TRUE(has(out, "pod range 10.128.0.0/20 is in use by another running Knit"));
  EXPECT_TRUE(has(out, "range=1"));
  EXPECT_TRUE(has(out, "another Knit runs on this host (data directory " + dir +
                           "/data, run directory " + dir + "/run): stop it with `knit down`"));
  EXPECT_TRUE(has(out, "data=1"));
  EXPECT_TRUE(has(out, "down=0"));
  EXPECT_TRUE(has(out, "10.128.0.0/20\n"));
  EXPECT_TRUE(has(out, "Knit is not running"));
  EXPECT_TRUE(has(out, "purge=0"));
  EXPECT_TRUE(has(out, "users as before"));
  EXPECT_TRUE(has(out, "directories gone"));
  EXPECT_TRUE(has(out, "no process left"));
}

TEST_F(UpTest, SaysWhyPortsAreOthers) {
  const std::string out = run(R"sh(
    python3 -c "
import socket, time
held = []
for port in (6443, 443):
    s = socket.socket(); s.bind(('127.0.0.1', port)); s.listen(1); held.append(s)
open('$T/held', 'w').close(); time.sleep(60)" &
    while [ ! -e $T/held ]; do sleep 0.02; done
    $KNIT up $OPTS; echo "up=$?"
    $KNIT down --run $T/run
  )sh");
  SCOPED_TRACE(out);
  EXPECT_TRUE(has(out, "https://127.0.0.1:6444 (6443 is in use)"));
  EXPECT_TRUE(has(out, "router-https: 127.0.0.1 443 cannot listen: Address already in use"));
  EXPECT_TRUE(has(out, "127.0.0.1:8443 router-https (443 is in use)"));
  EXPECT_TRUE(has(out, "up=0"));
}

TEST_F(UpTest, AdoptsAfterTheSupervisorWasKilled) {
  const std::string out = run(R"sh(
    $KNIT up $OPTS >/dev/null
    pid_of() { grep "^$1" $T/run/state | cut -f2; }
    old=$(pid_of server)
    kill -9 $(pid_of supervisor)
    kill -0 $old && echo "server goes on"
    $KNIT up $OPTS; echo "up=$?"
    $KNIT status --run $T/run; echo "status=$?"
    $KNIT down --run $T/run
  )sh");
  SCOPED_TRACE(out);
  EXPECT_TRUE(has(out, "server goes on"));
  EXPECT_TRUE(has(out, "killed what a former supervisor left: server"));
  EXPECT_TRUE(has(out, "up=0"));
  EXPECT_TRUE(has(out, "status=0"));
}

TEST_F(UpTest, ForegroundStopsInOrderAtASignal) {
  const std::string out = run(R"sh(
    $KNIT up $OPTS --foreground > $T/out 2>&1 & up=$!
    while ! grep -q 'knit down' $T/out; do sleep 0.02; done
    kill -INT $up; wait $up; echo "up=$?"
    grep -E 'exited' $T/out
    pgrep -a knit-supervisor || echo "no process left"
  )sh");
  SCOPED_TRACE(out);
  EXPECT_TRUE(has(out, "up=0"));
  const auto server = out.find("server exited"), proxy = out.find("proxy exited"),
             node = out.find("node exited");
  EXPECT_LT(server, proxy);
  EXPECT_LT(proxy, node);
  EXPECT_NE(node, std::string::npos);
  EXPECT_TRUE(has(out, "no process left"));
}

TEST_F(UpTest, RefusesByName) {
  const std::string out = run(R"sh(
    ip route add 10.128.4.0/24 dev lo
    $KNIT up $OPTS || echo "route=$?"
    ip route del 10.128.4.0/24 dev lo
    mkdir -p $T/other; echo x > $T/other/file
    $KNIT up $OPTS --data $T/other || echo "other=$?"
    $KNIT down --run $T/run --data $T/other --purge || echo "purge=$?"
    test -e $T/other/file && echo "nothing removed"
    $KNIT up $OPTS --node-name fail-node || echo "crash=$?"
    mkdir -m 0700 $T/private
    $KNIT up $OPTS --data $T/private/data || echo "reach=$?"
    cp $KNIT $(dirname $KNIT)/knit-supervisor $(dirname $KNIT)/knit-events $T/private
    $T/private/$(basename $KNIT) up $OPTS --data $T/data3 --run $T/run3 >/dev/null && echo "from a private directory"
    $T/private/$(basename $KNIT) down --run $T/run3 > /dev/null
    pgrep -a knit-supervisor || echo "no process left"
  )sh");
  SCOPED_TRACE(out);
  EXPECT_TRUE(has(out, "address range 10.128.0.0/20: the host has the route \"10.128.4.0/24"));
  EXPECT_TRUE(has(out, "route=1"));
  EXPECT_TRUE(has(out, "/other holds files that are not Knit's"));
  EXPECT_TRUE(has(out, "other=1"));
  EXPECT_TRUE(has(out, "/other holds no data of Knit: nothing was removed"));
  EXPECT_TRUE(has(out, "nothing removed"));
  EXPECT_TRUE(has(out, "node exited (status 3), started again"));
  EXPECT_TRUE(has(out, "error: node does not stay up"));
  EXPECT_TRUE(has(out, "crash=1"));
  EXPECT_TRUE(has(out, "/private/data/store: its user cannot enter " + dir +
                           "/private: `chmod o+x " + dir + "/private`"));
  EXPECT_TRUE(has(out, "reach=1"));
  EXPECT_TRUE(has(out, "from a private directory"));
  EXPECT_TRUE(has(out, "no process left"));
}

}  // namespace
}  // namespace knit::cli
