"""The event engine alone: durable ingest, delivery, filters, memory with a backlog (no HTTP, no proxy)."""
import os
import subprocess

from results import ROOT

ORDER = 70
# id: must, stretch, at_least
BOUNDS = {
    "events.ingest": (60_000, 120_000, True),
    "events.end_to_end": (25_000, 50_000, True),
    "events.p99_64_clients": (5, None, False),
    "events.filter.attributes": (200, None, False),
    "events.cesql": (1000, None, False),
    "events.trigger_bytes": (2048, None, False),
}


def run(results):
    build = os.environ.get("KNIT_BUILD", os.path.join(ROOT, "build", "release"))
    # On a disk, not on tmpfs: an fsync must cost what it costs.
    where = os.path.join(ROOT, "build")
    out = subprocess.run([os.path.join(build, "bench", "events", "knit-events-bench"), where], check=True,
                         capture_output=True, text=True, timeout=300).stdout
    for line in out.splitlines():
        name, value, unit = line.split()
        must, stretch, at_least = BOUNDS.get(name, (None, None, False))
        results.add(name, float(value), unit, must=must, stretch=stretch, at_least=at_least)
