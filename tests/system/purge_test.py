"""`knit down --purge` leaves links, rules, routes, nft, mounts, cgroups, users and BPF programs as
they were, also after everything was killed."""
import ctypes
import glob
import os
import shutil
import signal
import struct
import tempfile
import unittest

from knit_platform import KNIT, Platform, SERVING_FILES, eventually, run

BPF_PROG_QUERY, BPF_SK_LOOKUP, SYS_BPF = 16, 36, 321


def bpf_programs_of_this_netns():
    """How many sk_lookup programs are attached to this network namespace."""
    netns = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        # target_fd, attach_type, query_flags, attach_flags, prog_ids, prog_cnt
        attr = ctypes.create_string_buffer(struct.pack("=IIIIQI", netns, BPF_SK_LOOKUP, 0, 0, 0, 0), 64)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall(SYS_BPF, BPF_PROG_QUERY, attr, 64)  # ENOSPC: there are some
        return struct.unpack_from("=I", attr.raw, 24)[0]
    finally:
        os.close(netns)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def mounts():
    """Without the ids, which count up."""
    return sorted(" ".join(line.split()[3:]) for line in read("/proc/self/mountinfo").splitlines())


def inventory():
    commands = {
        "links": ("ip", "-o", "link"), "addresses": ("ip", "-o", "addr"),
        "rules": ("ip", "rule"), "rules6": ("ip", "-6", "rule"),
        "routes": ("ip", "route", "show", "table", "all"),
        "routes6": ("ip", "-6", "route", "show", "table", "all"),
        "table 200": ("ip", "route", "show", "table", "200"),
        "nft": ("nft", "list", "ruleset"),
        "namespaces": ("ip", "netns", "list"),
    }
    found = {what: run(*argv, check=False).stdout for what, argv in commands.items()}
    found["mounts"] = mounts()
    for file in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid"):
        path = "/etc/" + file
        found[file] = read(path) if os.path.exists(path) else None
    found["pins"] = sorted(glob.glob("/sys/fs/bpf/*"))
    found["sk_lookup"] = bpf_programs_of_this_netns()
    found["listeners"] = run("ss", "-Hltnu", check=False).stdout
    # Another Knit of this machine may have made the root they share.
    found["cgroups"] = sorted(d for d in cgroups("knit") if os.path.basename(d) == "knit")
    found["run"] = sorted(n for n in os.listdir("/run") if "knit" in n)
    found["lib"] = sorted(n for n in os.listdir("/var/lib") if "knit" in n)
    return found


def cgroups(part):
    """Directories of all hierarchies with `part` in their name."""
    return [d for root in glob.glob("/sys/fs/cgroup") for d, _, _ in os.walk(root)
            if part in os.path.basename(d)]


def leaf_of(run_dir):
    """The cgroup of a Knit's runtimes: src/node/runtime/engine.cc."""
    digest = 2166136261
    for byte in run_dir.encode():
        digest = (digest ^ byte) * 16777619 % (1 << 32)
    return f"run-{digest}"


def state_pids(platform):
    """Supervisor first, from its state file."""
    rows = [line.split("\t") for line in read(platform.run_dir + "/state").splitlines()]
    pids = {row[0]: int(row[1]) for row in rows if len(row) >= 7 and row[0] != "port"}
    return [pids.pop("supervisor")] + [pid for pid in pids.values() if pid > 1]


class Purge(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root")
        run("ip", "link", "set", "lo", "up", check=False)
        # Other Knits of this machine make and remove the same users: an /etc of our own.
        cls.etc = tempfile.mkdtemp(prefix="knit-etc-")
        run("cp", "-a", "/etc/.", cls.etc)
        run("mount", "--bind", cls.etc, "/etc")
        for file in ("passwd", "group", "shadow", "gshadow"):
            run("sed", "-i", "/^knit-/d", "/etc/" + file)

    @classmethod
    def tearDownClass(cls):
        run("umount", "/etc")
        shutil.rmtree(cls.etc)

    def run_something(self, platform):
        platform.up()
        self.assertIn("knit-server", read("/etc/passwd"))
        platform.wildcard_secret()
        platform.seed(SERVING_FILES)
        platform.wait_ready("ksvc/hello")
        self.assertEqual(platform.hello().stdout, "Hello Openshift!\n")
        self.assertGreater(bpf_programs_of_this_netns(), 0)
        self.assertIn("local 10.128.0.0/20", run("ip", "route", "show", "table", "200").stdout)
        pods = [p["metadata"]["uid"] for p in platform.get("pods", "-A")["items"]]
        self.assertTrue(any(cgroups("pod" + uid) for uid in pods))
        self.assertTrue(cgroups(leaf_of(platform.run_dir)))
        return pods

    def processes(self, platform):
        """Of this Knit: those whose command line or cgroup says so."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                text = read(f"/proc/{pid}/cmdline")
            except OSError:
                continue
            if platform.run_dir in text or platform.data in text:
                found.append((int(pid), text.replace("\0", " ")))
        return found

    def check_gone(self, platform, before, pods):
        after = inventory()
        self.assertEqual(cgroups(leaf_of(platform.run_dir)), [])
        if cgroups("run-"):  # another Knit of this machine runs meanwhile and holds the root
            before["cgroups"] = after["cgroups"] = []
        for what, value in before.items():
            self.assertEqual(after[what], value, what)
        for uid in pods:
            self.assertEqual(cgroups("pod" + uid), [])
        self.assertFalse(os.path.exists(platform.data))
        self.assertFalse(os.path.exists(platform.run_dir))
        self.assertEqual(self.processes(platform), [])

    def test_after_an_ordered_stop(self):
        platform = Platform()
        try:
            os.rmdir(platform.run_dir)
            before = inventory()
            pods = self.run_something(platform)
            done = run(KNIT, "down", "--purge", "--run", platform.run_dir)
            self.assertIn("Knit is gone.", done.stdout)
            self.check_gone(platform, before, pods)
        finally:
            platform.down()

    def test_after_everything_was_killed(self):
        platform = Platform()
        try:
            os.rmdir(platform.run_dir)
            before = inventory()
            pods = self.run_something(platform)
            victims = state_pids(platform)
            for uid in pods:
                for directory in cgroups("pod" + uid):
                    for d, _, files in os.walk(directory):
                        if "cgroup.procs" in files:
                            victims += [int(p) for p in read(d + "/cgroup.procs").split()]
            for pid in dict.fromkeys(victims):  # the supervisor first: nobody is started again
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            eventually("all are dead", lambda: not any(
                os.path.exists(f"/proc/{pid}") and "State:\tZ" not in read(f"/proc/{pid}/status")
                for pid in victims), 10)
            done = run(KNIT, "down", "--purge", "--run", platform.run_dir)
            self.assertIn("Knit is gone.", done.stdout)
            self.check_gone(platform, before, pods)
        finally:
            platform.down()

    def test_up_after_everything_was_killed(self):
        """Not purged: the next `up` finds what was left and serves."""
        platform = Platform()
        try:
            self.run_something(platform)
            for pid in state_pids(platform):
                os.kill(pid, signal.SIGKILL)
            platform.up()
            eventually("the service answers",
                       lambda: platform.hello().stdout == "Hello Openshift!\n", 90)
        finally:
            platform.down()


if __name__ == "__main__":
    unittest.main(verbosity=2)
