"""How long `knit up` takes, and a service from its apply to its first 200."""
import time

from machine import DOMAIN, client_context, eventually, first_byte, platform
from results import median, p25

ORDER = 10
STARTS = 3
SERVICES = 7


def run(results):
    ready = []
    for i in range(STARTS):
        with platform() as p:
            ready.append(p.up_seconds * 1000)
            if i + 1 < STARTS:
                continue
            # The apply's own time (a kubectl process) is not counted: from when it has returned.
            context, router, first = client_context(p), p.router_ip(), []
            for n in range(SERVICES):
                name = f"first{n}"
                p.apply(p.service(name))
                began = time.perf_counter()

                def answered():
                    try:
                        return first_byte(context, router, f"{name}-default.{DOMAIN}")
                    except (OSError, AssertionError):
                        return None
                eventually("first 200", answered, 20, 0.002)
                first.append((time.perf_counter() - began) * 1000)
    results.add("start.up", median(ready), "ms", must=500, stretch=300,
                note=f"p25 {p25(ready):.0f} ms of {STARTS}; the whole command: processes, store, certificates, the API, every listener")
    results.add("start.ksvc_to_200", median(first), "ms", must=50, stretch=25,
                note=f"p25 {p25(first):.0f} ms of {SERVICES}; from the return of `kubectl apply` to the first 200 over TLS "
                     "through the router")
