"""Idle memory of every process, Serving and mesh installed."""
import time

from machine import memory_kib, platform

ORDER = 30


def run(results):
    with platform() as p:
        time.sleep(5)  # what the start allocated and freed has settled
        total = [0, 0]
        supervisor = None
        for name, pid in p.processes().items():
            pss, rss = memory_kib(pid)
            total[0] += pss
            total[1] += rss
            results.add(f"memory.{name}.pss", pss / 1024, "MiB", note=f"RSS {rss / 1024:.1f} MiB")
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            supervisor = supervisor or parent
        if "supervisor" not in p.processes() and supervisor:
            pss, rss = memory_kib(supervisor)
            total[0] += pss
            total[1] += rss
            results.add("memory.supervisor.pss", pss / 1024, "MiB", note=f"RSS {rss / 1024:.1f} MiB")
        results.add("memory.idle_serving_mesh", total[0] / 1024, "MiB", must=48, stretch=32,
                    note=f"sum of PSS; sum of RSS {total[1] / 1024:.1f} MiB")
