"""bench/load's knit-load beside a test: starts it against a platform's service, stops it, reads its report
and its trace. Times are seconds of time.monotonic(), as knit-load's are."""
import collections
import json
import os
import select
import signal
import subprocess
import tempfile

from knit_platform import BUILD

LOAD = os.environ.get("KNIT_LOAD", os.path.join(BUILD, "bench", "load", "knit-load"))
Row = collections.namedtuple("Row", "n due begun sent done status fresh result")


class Load:
    """`with Load(url, "--rate", 200) as load: …; load.stop()`."""

    def __init__(self, url, *flags):
        self._trace = tempfile.NamedTemporaryFile(prefix="knit-load-", mode="r")
        self._process = subprocess.Popen([LOAD, url, *map(str, flags), "--trace", self._trace.name],
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.report = None
        self.rows = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._trace.close()

    def answered(self, timeout=30):
        """Waits for the first good answer."""
        ready, _, _ = select.select([self._process.stderr], [], [], timeout)
        line = self._process.stderr.readline() if ready else ""
        if not line.startswith("first answer"):
            raise AssertionError(f"knit-load: no answer within {timeout} s: {line}")
        return self

    def stop(self, timeout=60):
        """Ends the schedule, waits for what is under way."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout=120):
        out, errors = self._process.communicate(timeout=timeout)
        if self._process.returncode != 0:
            raise AssertionError(f"knit-load ended with {self._process.returncode}: {errors}")
        self.report = json.loads(out)
        for line in self._trace.read().splitlines():
            n, due, begun, sent, done, status, fresh, result = line.split("\t")
            self.rows.append(Row(int(n), float(due), float(begun), float(sent), float(done), int(status),
                                 fresh == "1", result))
        return self

    def failures(self):
        return [row for row in self.rows if row.result != "ok"]


def https(platform, service="hello", namespace="default", path="/", router=None):
    """URL and flags for a service of the platform, through its router."""
    from knit_platform import DOMAIN
    return [f"https://{service}-{namespace}.{DOMAIN}{path}", "--connect", router or platform.router_ip(),
            "--cacert", platform.root_crt]
