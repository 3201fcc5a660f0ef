"""The API server over TLS as users see it: durable creates, gets, lists of 5 MB per second."""
import base64
import json
import os
import tempfile
import time

import re

from machine import cpu_seconds, load, platform
from results import median, p25

ORDER = 40
IN_FLIGHT = 64
ROUNDS = 3
SECONDS = 3


def credentials(p):
    """Files of the admin's certificate, key and root, and the server's URL."""
    with open(p.kubeconfig, encoding="utf-8") as f:
        text = f.read()
    files = {}
    for name in ("certificate-authority-data", "client-certificate-data", "client-key-data"):
        data = re.search(rf"{name}: *\"?([A-Za-z0-9+/=]+)", text).group(1)
        files[name] = os.path.join(p.data, name)
        with open(files[name], "wb") as f:
            f.write(base64.b64decode(data))
    server = re.search(r"server: *\"?(https://[^\"\s]+)", text).group(1)
    return server, ["--cacert", files["certificate-authority-data"], "--cert", files["client-certificate-data"],
                    "--key", files["client-key-data"]]


def fsync_ms(directory):
    """The disk under the store: median of 100 fsyncs of 4 KiB appends."""
    times = []
    with tempfile.NamedTemporaryFile(dir=directory) as f:
        for _ in range(100):
            f.write(b"x" * 4096)
            f.flush()
            began = time.perf_counter()
            os.fsync(f.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return median(times)


def config_map(name, size):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v" * size}})


def rates(p, url, flags, *more):
    """Answers a second, and the server's CPU per answer in µs, of each round."""
    server = p.processes()["server"]
    per_second, cpu = [], []
    for i in range(ROUNDS):
        before = cpu_seconds([server])
        report = load(url.replace("{round}", str(i)), *flags, "--connections", IN_FLIGHT, "--duration", SECONDS,
                      *[str(m).replace("{round}", str(i)) for m in more])
        if report["errors"]:
            raise AssertionError(report["errors"])
        per_second.append(report["rps"])
        cpu.append((cpu_seconds([server]) - before) / report["good"] * 1e6)
    return per_second, cpu


def run(results):
    with platform() as p:
        server, flags = credentials(p)
        at = f"{server}/api/v1/namespaces"
        disk = fsync_ms(p.data)
        p.kubectl("create", "namespace", "bench")
        p.kubectl("create", "namespace", "big")
        creates, cpu = rates(p, f"{at}/bench/configmaps", flags, "--method", "POST", "--header",
                             "Content-Type: application/json", "--body", config_map("c{round}-{n}", 100))
        results.add("api.creates_per_second", max(creates), "1/s", must=8000, stretch=12000, at_least=True,
                    note=f"{IN_FLIGHT} in flight over TLS, each on disk before its answer; best of {ROUNDS}; "
                         f"{p25(cpu):.0f} µs of server CPU each; an fsync of this disk takes {disk:.2f} ms")
        gets, cpu = rates(p, f"{at}/bench/configmaps/c0-0", flags)
        results.add("api.gets_per_second", max(gets), "1/s", must=50_000, stretch=100_000, at_least=True,
                    note=f"{p25(cpu):.1f} µs of server CPU each; client and server share {os.cpu_count()} cores")
        with tempfile.NamedTemporaryFile("w") as body:
            body.write(config_map("big-{n}", 100_000))
            body.flush()
            report = load(f"{at}/big/configmaps", *flags, "--method", "POST", "--header",
                          "Content-Type: application/json", "--body-file", body.name, "--requests", 50,
                          "--connections", 8)
            if report["good"] != 50:
                raise AssertionError(report["errors"])
        lists, cpu = rates(p, f"{at}/big/configmaps", [*flags, "--header", "Accept: application/json"],
                           "--connections", 4)
        results.add("api.lists_5mb_per_second", max(lists), "1/s", must=300, stretch=600, at_least=True,
                    note=f"50 objects of 100 KB over TLS, not compressed; {p25(cpu):.0f} µs of server CPU each")
