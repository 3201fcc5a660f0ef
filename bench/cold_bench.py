"""Cold requests (0 → 1, nothing prepared) beside `crun run` and `podman run` of the same image."""
import json
import os
import shutil
import subprocess
import tempfile
import time

from machine import DOMAIN, HELLO, client_context, eventually, first_byte, platform
from results import median, p25, percentile

ORDER = 20
ROUNDS = int(os.environ.get("BENCH_COLD", "15"))


def until_output(argv, cwd, stop):
    """Seconds from exec to the program's first line; then stops it."""
    began = time.perf_counter()
    with subprocess.Popen(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        took = time.perf_counter() - began
        subprocess.run(stop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        process.wait(20)
        if not line.startswith("hello: ready"):
            raise AssertionError(f"{argv[0]}: {line}{process.stderr.read()}")
    return took


class Crun:
    """`crun run` of the image's one file, host network: what any engine below Knit costs at least."""
    name = "crun run"

    def __init__(self, directory):
        if shutil.which("crun") is None:
            raise AssertionError("crun is not installed")
        self.bundle = os.path.join(directory, "crun")
        os.makedirs(f"{self.bundle}/rootfs")
        shutil.copy(HELLO, f"{self.bundle}/rootfs/hello")
        subprocess.run(["crun", "spec"], cwd=self.bundle, check=True)
        path = f"{self.bundle}/config.json"
        with open(path, encoding="utf-8") as f:
            spec = json.load(f)
        spec["process"].update({"terminal": False, "args": ["/hello", "--never-listen"]})
        spec["process"].pop("rlimits", None)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(spec, f)
        self.n = 0

    def close(self):
        pass

    def once(self):
        self.n += 1
        name = f"bench-{os.getpid()}-{self.n}"
        return until_output(["crun", "--cgroup-manager=disabled", "run", name], self.bundle,
                            ["crun", "--cgroup-manager=disabled", "kill", name, "TERM"])


class Podman:
    """`podman run` of the image, --net=none: with conmon, storage and journald as it comes."""
    name = "podman run"

    def __init__(self, directory):
        if shutil.which("podman") is None:
            raise AssertionError("podman is not installed")
        context = os.path.join(directory, "podman")
        os.makedirs(context)
        self.base = ["podman", "--root", f"{directory}/storage", "--runroot", f"{directory}/run",
                     "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
        shutil.copy(HELLO, f"{context}/hello")
        subprocess.run(["tar", "-C", context, "-cf", f"{context}/image.tar", "hello"], check=True)
        done = subprocess.run([*self.base, "import", f"{context}/image.tar", "bench-hello"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"podman import: {done.stderr.strip()[-200:]}")
        self.n = 0
        self.hugetlb = f"{directory}/hugetlb"
        try:
            self.once()
        except AssertionError as error:
            if "hybrid" not in str(error):
                raise
            # crun refuses machines where a controller of cgroup2 is left over beside cgroup1; as Knit does, it is
            # mounted as cgroup1 inside the benchmark's own mount namespace.
            os.makedirs(self.hugetlb, exist_ok=True)
            subprocess.run(["mount", "-t", "cgroup", "-o", "hugetlb", "none", self.hugetlb], check=True)
            self.once()

    def once(self):
        self.n += 1
        name = f"bench-{self.n}"
        return until_output([*self.base, "run", "--rm", "--net=none", "--ulimit=nofile=1024:1024",
                             "--ulimit=nproc=1024:1024", "--cgroups=disabled", "--name", name, "bench-hello", "/hello",
                             "--never-listen"], None, [*self.base, "kill", "--signal", "TERM", name])

    def close(self):
        subprocess.run(["umount", self.hugetlb], stderr=subprocess.DEVNULL, check=False)


def run(results):
    with tempfile.TemporaryDirectory(prefix="knit-bench-") as directory, platform() as p:
        peers = []
        for kind in (Crun, Podman):
            try:
                peers.append(kind(directory))
                peers[-1].once()
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                results.skip(f"cold.beside_{kind.name.split()[0]}", str(error))
                peers = [x for x in peers if not isinstance(x, kind)]
        p.apply(p.service("cold", annotations={"autoscaling.knative.dev/window": "6s"}))
        p.wait_ready("ksvc/cold")
        context, router, host = client_context(p), p.router_ip(), f"cold-default.{DOMAIN}"
        times = {"knit": [], **{peer.name: [] for peer in peers}}
        for _ in range(ROUNDS):
            eventually("zero pods", lambda: not p.pods("cold"), 90, 0.2)
            time.sleep(0.3)
            times["knit"].append(first_byte(context, router, host) * 1000)
            for peer in peers:
                times[peer.name].append(peer.once() * 1000)
        for peer in peers:
            peer.close()
        warm = [first_byte(context, router, host) * 1000 for _ in range(100)]
    knit = median(times["knit"])
    results.add("cold.p50", knit, "ms", must=6, stretch=3,
                note=f"unprepared: every container is created on demand; the bound is for prepared ones; p25 "
                     f"{p25(times['knit']):.1f} ms, {ROUNDS} rounds")
    results.add("cold.p95", percentile(times["knit"], 0.95), "ms", must=15, stretch=8)
    for peer in peers:
        beside = median(times[peer.name])
        results.add(f"cold.beside_{peer.name.split()[0]}", knit, "ms", ratio=knit / beside,
                    peer=f"{peer.name} to first line: {beside:.1f} ms (p25 {p25(times[peer.name]):.1f})")
    results.add("cold.warm_p50", median(warm), "ms", note="TLS kept out: from the request's last byte")
