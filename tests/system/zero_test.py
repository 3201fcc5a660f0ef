"""Done when 4: scale to zero on time, and back under a burst."""
import os
import re
import subprocess
import threading
import time
import unittest

from knit_platform import SystemTest, eventually, run
from load import Load, https

HELLO = "Hello Openshift!\n"


class PodWatch:
    """Follows the pods of a service by `kubectl get -w`; knows how many there were at most."""

    def __init__(self, platform, service):
        self._process = subprocess.Popen(
            [platform.kubectl_binary, "--kubeconfig", platform.kubeconfig, "get", "pods", "-l",
             f"serving.knative.dev/service={service}", "-w", "--output-watch-events", "-o",
             'jsonpath={.type} {.object.metadata.name}{"\\n"}'],
            stdout=subprocess.PIPE, text=True)
        self.most = 0
        self._alive = set()
        self._thread = threading.Thread(target=self._read)

    def _read(self):
        for line in self._process.stdout:
            event, name = line.split()
            if event == "DELETED":
                self._alive.discard(name)
            else:
                self._alive.add(name)
            self.most = max(self.most, len(self._alive))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._thread.join()
        self._process.communicate()


class Zero(SystemTest):
    def replicas(self, service):
        items = self.platform.get("deployments", "-l", f"serving.knative.dev/service={service}")["items"]
        return items[0]["spec"].get("replicas", 1)

    def burst(self, service, requests, connections, *flags):
        """`requests` through `connections` at once; every one must be answered 200 with the right body."""
        with Load(*https(self.platform, service), "--requests", requests, "--connections", connections,
                  "--duration", 90, "--timeout", 60, "--expect", HELLO, *flags) as load:
            load.wait()
            if load.failures():
                state = self.platform.kubectl("get", "pods,deployments,podautoscalers,sks").stdout
                self.fail(f"{load.report['errors']}, first: {load.failures()[0]}\n{state}\n{self.platform.log_tail()}")
            self.assertEqual(load.report["good"], requests)
            return load.report

    def test_default_service_goes_to_zero_within_60_to_64_seconds(self):
        self.assertEqual(self.platform.hello().stdout, HELLO)
        last = time.monotonic()
        eventually("Deployment at 0", lambda: self.replicas("hello") == 0, 90, 0.1)
        took = time.monotonic() - last
        print(f"\nat 0 after {took:.1f} s", flush=True)
        self.assertGreaterEqual(took, 60)
        self.assertLessEqual(took, 64.5)  # half a second for kubectl
        eventually("no Pod", lambda: not self.platform.pods("hello"), 3, 0.1)
        report = self.burst("hello", 200, 200)
        self.assertEqual(report["connections"], 200)  # all at once: each has its own
        print(f"\n200 at zero: p50 {report['latency_ms']['p50']:.0f} ms, max {report['latency_ms']['max']:.0f} ms")

    def waiting(self, service):
        """How many requests are held for the newest revision, as an activator's metrics say."""
        activator = self.platform.get("pods", "-n", "knative-serving", "-l", "app=activator")["items"][0]
        directory = os.path.join(self.platform.data, "scrape")
        if not os.path.exists(directory):
            os.makedirs(directory)
            self.platform.knit("cert", "issue", "--sa", "default/default", "--out", directory)
        text = run("curl", "-sSk", "-m", 5, "--cert", f"{directory}/cert-chain.pem", "--key",
                   f"{directory}/key.pem", f"https://{activator['status']['podIP']}:9090/metrics").stdout
        revision = self.platform.path("ksvc", service, "-o", "jsonpath={.status.latestReadyRevisionName}")
        found = re.search(r'^kn_revision_request_queued\{[^}]*kn_revision_name="%s"[^}]*\} (\d+)$' %
                          re.escape(revision), text, re.M)
        self.assertIsNotNone(found, text)
        return int(found.group(1))

    def test_concurrency_one_with_five_pods_at_most(self):
        platform = self.platform
        platform.apply(platform.service(
            "narrow", annotations={"autoscaling.knative.dev/max-scale": "5",
                                   "autoscaling.knative.dev/window": "6s"},
            spec={"containerConcurrency": 1}))
        platform.wait_ready("ksvc/narrow")
        eventually("no Pod", lambda: not platform.pods("narrow"), 30, 0.2)
        with PodWatch(platform, "narrow") as watch:
            self.burst("narrow", 20_000, 100)
            self.burst("narrow", 1_000, 100, "--new")
            self.assertEqual(self.waiting("narrow"), 0)
            eventually("no Pod", lambda: not platform.pods("narrow"), 40, 0.2)
        self.assertLessEqual(watch.most, 5)
        self.assertGreaterEqual(watch.most, 2)  # the burst was one


if __name__ == "__main__":
    unittest.main(verbosity=2)
