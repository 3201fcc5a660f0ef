"""Done when 6: who runs as whom, with what rights, and what the credentials of those who meet
strangers cannot do."""
import glob
import json
import os
import pwd
import unittest

from knit_platform import SERVING_FILES, SystemTest, eventually, run

with open("/proc/self/status", encoding="utf-8") as own:  # what whoever types `knit up` has
    ALL = int(next(line for line in own if line.startswith("CapBnd:")).split()[1], 16)
DOCKER_DEFAULT = 0xA80425FB  # spec/runtime.md 2: what CRI runtimes leave a container

# What each role needs. The supervisor starts processes as other users and adopts containers; the
# node makes namespaces, mounts and cgroups and is every container's ancestor, so it may not set what
# a container would inherit; the others need nothing at all.
ROLES = {
    "supervisor": {"user": "root", "NoNewPrivs": 0, "Seccomp": 0, "CapEff": ALL, "CapBnd": ALL},
    "node": {"user": "root", "NoNewPrivs": 0, "Seccomp": 2, "CapEff": ALL, "CapBnd": ALL},
    "server": {"user": "knit-server", "NoNewPrivs": 1, "Seccomp": 2, "CapEff": 0, "CapBnd": 0},
    "events": {"user": "knit-events", "NoNewPrivs": 1, "Seccomp": 2, "CapEff": 0, "CapBnd": 0},
    "proxy": {"user": "knit-proxy", "NoNewPrivs": 1, "Seccomp": 2, "CapEff": 0, "CapBnd": 0},
}

# Each attempt must fail; a line "name: what happened" for every one that did not.
ATTEMPTS = r"""
import ctypes, http.client, json, os, socket, ssl, sys
data, run_dir, port, others = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
closed = sys.argv[5]  # the roles' sockets at which somebody else connects
libc = ctypes.CDLL(None, use_errno=True)
secrets = (b"PRIVATE KEY", b"SQLite format 3")

for top in (data, run_dir):
    for root, dirs, files in os.walk(top):
        for name in files:
            path = os.path.join(root, name)
            try:
                with open(path, "rb") as f:
                    text = f.read(1 << 20)
            except OSError:
                continue
            if any(s in text for s in secrets) or name.endswith((".key", ".db", ".kubeconfig")):
                print("read", path)
for root in (data, data + "/store", data + "/pki", run_dir):
    try:
        with open(root + "/planted", "w") as f:
            f.write("x")
        print("wrote below", root)
    except OSError:
        pass
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
    try:
        s.connect(run_dir + "/control.sock")
        print("the supervisor's control socket is open")
    except OSError:
        pass
for role in sys.argv[6:]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        try:
            s.connect(f"{run_dir}/roles/{closed}/{role}")
            print("connected to", closed, role)
        except OSError:
            pass
for name, pid in others.items():
    for file in ("mem", "environ", "maps", "auxv", "fd/3", "exe", "root", "cwd"):
        path = f"/proc/{pid}/{file}"
        try:
            if file in ("exe", "root", "cwd", "fd/3"):
                os.readlink(path)
            else:
                with open(path, "rb") as f:
                    f.read(1)
            print("opened", name, path)
        except OSError:
            pass
    for what, number, arguments in (("ptrace", 101, (16, pid, 0, 0)),
                                    ("process_vm_readv", 310, (pid, 0, 0, 0, 0, 0)),
                                    ("kill", 62, (pid, 0))):
        if what == "process_vm_readv":
            here = ctypes.create_string_buffer(8)
            vector = (ctypes.c_size_t * 2)(ctypes.addressof(here), 8)
            arguments = (pid, vector, 1, vector, 1, 0)
        if libc.syscall(number, *arguments) == 0:
            print(what, "of", name, "worked")
    fd = libc.syscall(434, pid, 0)
    if fd >= 0 and libc.syscall(438, fd, 3, 0) >= 0:
        print("took a descriptor of", name)
context = ssl._create_unverified_context()
for headers in ({}, {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"},
                {"Impersonate-User": "admin", "Impersonate-Group": "system:masters"},
                {"Authorization": "Bearer x"}, {"Authorization": "Basic YWRtaW46YWRtaW4="}):
    for path in ("/api/v1/secrets", "/api/v1/namespaces", "/apis/apps/v1/deployments"):
        c = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
        c.request("GET", path, headers=headers)
        if c.getresponse().status not in (401, 403):
            print("the API answered", path, headers)
print("done")
"""


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        rows = dict(line.rstrip("\n").split(":", 1) for line in f if ":" in line)
    return {k: v.strip() for k, v in rows.items()}


class Privileges(SystemTest):
    files = SERVING_FILES + ["knative-eventing-config.yaml"]

    def setUp(self):
        eventually("events runs", lambda: self.everyone().get("events"))

    def everyone(self):
        with open(self.platform.run_dir + "/state", encoding="utf-8") as f:
            rows = [line.rstrip("\n").split("\t") for line in f]
        return {row[0]: int(row[1]) for row in rows if len(row) >= 7 and row[0] != "port"}

    def container_pids(self, service):
        found = []
        for pod in self.platform.pods(service):
            for root in glob.glob("/sys/fs/cgroup/*") + ["/sys/fs/cgroup"]:
                for path in glob.glob(f"{root}/knit/pod{pod['metadata']['uid']}/*/cgroup.procs"):
                    with open(path, encoding="utf-8") as f:
                        found += [int(p) for p in f.read().split()]
        return sorted(set(found))

    def test_every_process_has_the_rights_of_its_role_and_no_more(self):
        processes = self.everyone()
        self.assertEqual(set(processes), set(ROLES), "a new role: say in the table what it needs")
        for role, want in ROLES.items():
            with self.subTest(role=role):
                status = status_of(processes[role])
                uid = pwd.getpwnam(want["user"]).pw_uid
                self.assertEqual(set(map(int, status["Uid"].split())), {uid})
                for field in ("NoNewPrivs", "Seccomp"):
                    self.assertEqual(int(status[field]), want[field], field)
                for field in ("CapEff", "CapBnd", "CapPrm"):
                    self.assertEqual(int(status[field], 16),
                                     want["CapEff" if field == "CapPrm" else field], field)
                for field in ("CapInh", "CapAmb"):
                    self.assertEqual(int(status[field], 16), 0, field)
                if uid != 0:
                    self.assertEqual(status["Groups"], "")

    def test_containers_run_confined(self):
        """spec/runtime.md 2: Docker's capability set, a default seccomp profile."""
        platform = self.platform
        self.assertEqual(platform.hello().stdout, "Hello Openshift!\n")
        pids = self.container_pids("hello")
        self.assertTrue(pids)
        node_filters = int(status_of(self.everyone()["node"])["Seccomp_filters"])
        for pid in pids:
            status = status_of(pid)
            self.assertEqual(int(status["Seccomp"]), 2)
            self.assertEqual(int(status["Seccomp_filters"]), node_filters + 1)
            self.assertEqual(int(status["CapBnd"], 16) & ~DOCKER_DEFAULT, 0)
            if int(status["Uid"].split()[0]) != 0:
                self.assertEqual(int(status["CapEff"], 16), 0)

    def test_a_security_context_is_carried_out(self):
        platform = self.platform
        platform.apply(platform.service("tight", container={"securityContext": {
            "runAsUser": 4711, "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}}))
        platform.apply(json.dumps({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loose", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "knit.local/hello", "securityContext": {
                "seccompProfile": {"type": "Unconfined"}}}]}}))
        try:
            platform.wait_ready("ksvc/tight")
            status = status_of(self.container_pids("tight")[0])
            self.assertEqual(set(status["Uid"].split()), {"4711"})
            self.assertEqual(int(status["NoNewPrivs"]), 1)
            self.assertEqual(int(status["CapBnd"], 16), 0)
            platform.wait_ready("pod/loose")
            uid = platform.get("pod", "loose")["metadata"]["uid"]
            paths = glob.glob(f"/sys/fs/cgroup/**/knit/pod{uid}/*/cgroup.procs", recursive=True)
            with open(paths[0], encoding="utf-8") as f:
                pid = int(f.read().split()[0])
            node = int(status_of(self.everyone()["node"])["Seccomp_filters"])
            self.assertEqual(int(status_of(pid)["Seccomp_filters"]), node)
        finally:
            platform.kubectl("delete", "ksvc/tight", "pod/loose", check=False)

    def test_the_proxys_credentials_open_nothing(self):
        self.opens_nothing("proxy", "out")

    def test_the_credentials_of_events_open_nothing(self):
        self.opens_nothing("events", "in")

    def opens_nothing(self, who, closed):
        platform = self.platform
        uid = pwd.getpwnam(f"knit-{who}").pw_uid
        gid = pwd.getpwnam(f"knit-{who}").pw_gid
        others = {name: pid for name, pid in self.everyone().items() if name != who}
        roles = os.listdir(f"{platform.run_dir}/roles/{closed}")
        self.assertTrue(roles)
        port = int(platform.kubectl("config", "view", "--minify", "-o",
                                    "jsonpath={.clusters[0].cluster.server}").stdout.split(":")[-1])
        done = run("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
                   "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "python3", "-c",
                   ATTEMPTS, platform.data, platform.run_dir, port, json.dumps(others), closed, *roles)
        self.assertEqual(done.stdout, "done\n", done.stderr)
        self.assertEqual(platform.hello().stdout, "Hello Openshift!\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
