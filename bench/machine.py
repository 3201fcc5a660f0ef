"""What the subjects share: a platform, the load generator, CPU clocks of processes, TLS material."""
import contextlib
import glob
import json
import os
import socket
import ssl
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from knit_platform import BUILD, DOMAIN, KNIT, SERVING_FILES, Platform, eventually, run  # noqa: E402,F401

LOAD = os.path.join(BUILD, "bench", "load", "knit-load")
HELLO = os.path.join(BUILD, "generated", "knit-hello")  # the program of knit.local/hello


@contextlib.contextmanager
def platform(*arguments, files=SERVING_FILES[:-1]):
    """A running Knit with the seed's mesh and Serving, without its service; the time of `knit up` is in
    `up_seconds`."""
    p = Platform(*arguments)
    try:
        began = time.perf_counter()
        p.up_output = p.up().stdout
        p.up_seconds = time.perf_counter() - began
        p.wildcard_secret()
        p.seed(files)
        p.wait_ready("knativeserving/knative-serving", "knative-serving")
        yield p
    finally:
        p.down()


def client_context(p):
    return ssl.create_default_context(cafile=p.root_crt)


def first_byte(context, address, host, timeout=30):
    """One HTTPS request on a new connection; seconds from the request's last byte to the answer's first."""
    with socket.create_connection((address, 443), timeout=timeout) as raw:
        with context.wrap_socket(raw, server_hostname=host) as tls:
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            sent = time.perf_counter()
            first = tls.recv(65536)
            took = time.perf_counter() - sent
    if b" 200 " not in first.split(b"\r\n", 1)[0]:
        raise AssertionError(first[:200])
    return took


def load(url, *flags, cpu=None, timeout=300):
    """Runs knit-load to its end, on one core if asked; its report."""
    argv = [LOAD, url, *map(str, flags)]
    if cpu is not None:
        argv = ["taskset", "-c", str(cpu), *argv]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


def children(pid):
    """The process and all below it."""
    found = [pid]
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8") as f:
            for child in f.read().split():
                found += children(int(child))
    return found


def cpu_seconds(pids):
    """Time on a CPU of all threads of the processes, exact (schedstat), user and system together."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with contextlib.suppress(OSError), open(path, encoding="utf-8") as f:
                total += int(f.read().split()[0])
    return total / 1e9


def pin(pids, cpu):
    for pid in pids:
        subprocess.run(["taskset", "-a", "-p", "-c", str(cpu), str(pid)], stdout=subprocess.DEVNULL, check=True)


def memory_kib(pid):
    """(PSS, RSS) of a process."""
    values = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        for line in f:
            name, _, rest = line.partition(":")
            if name in ("Pss", "Rss"):
                values[name] = int(rest.split()[0])
    return values["Pss"], values["Rss"]


def wait_port(port, address="127.0.0.1", timeout=10):
    def probe():
        try:
            socket.create_connection((address, port), 1).close()
            return True
        except OSError:
            return None
    eventually(f"port {port}", probe, timeout, 0.02)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def core_count():
    return len(os.sched_getaffinity(0))
