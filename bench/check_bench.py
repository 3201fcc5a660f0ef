"""`knit check` as a command: wall time and peak memory of the process, on 100 and on 1,000 objects."""
import os
import shutil
import subprocess
import tempfile
import time

from results import ROOT, median, p25

ORDER = 60
ROUNDS = 11
KNIT = os.path.join(os.environ.get("KNIT_BUILD", os.path.join(ROOT, "build", "release")), "knit")
GOOD = os.path.join(ROOT, "tests", "check", "good")


def manifests(folder, objects):
    """The procedure's good set, and Knative Services beside its own until there are `objects`."""
    shutil.copytree(GOOD, folder)
    with open(os.path.join(GOOD, "knative-service.yaml"), encoding="utf-8") as f:
        service = f.read().rstrip("\n")
    with open(os.path.join(folder, "more.yaml"), "w", encoding="utf-8") as f:
        for i in range(objects - 10):
            f.write(service.replace("name: hello\n", f"name: hello-{i}\n") + "\n---\n")


def one(folder):
    """Seconds and KiB of one run: ru_maxrss of the child, as /usr/bin/time -v prints it."""
    with open(os.devnull, "wb") as nothing:
        began = time.perf_counter()
        child = subprocess.Popen([KNIT, "check", folder, "--quiet"], stdout=subprocess.PIPE, stderr=nothing)
        text = child.stdout.read().decode()
        child.stdout.close()
        _, status, usage = os.wait4(child.pid, 0)
        took = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    return took, usage.ru_maxrss, child.returncode, text


def run(results):
    scratch = tempfile.mkdtemp(prefix="knit-bench-check-")
    try:
        for objects, must, stretch, memory in ((100, 50, 20, None), (1000, 300, 100, 64)):
            folder = os.path.join(scratch, str(objects))
            manifests(folder, objects)
            times, peaks = [], []
            for _ in range(ROUNDS):
                took, peak, status, text = one(folder)
                if status != 0 or f"{objects} objects" not in text:
                    raise AssertionError(f"knit check ended with {status}: {text[-300:]}")
                times.append(took * 1000)
                peaks.append(peak / 1024)
            results.add(f"check.{objects}_objects", p25(times), "ms", must=must, stretch=stretch,
                        note=f"the 25th percentile of {ROUNDS}, median {median(times):.0f} ms; the whole command, start of the process included")
            results.add(f"check.{objects}_objects_rss", max(peaks), "MiB", must=memory,
                        note="the largest ru_maxrss of all rounds, as /usr/bin/time -v counts it")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
