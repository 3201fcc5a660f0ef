"""Logs of the containers that Knit plays."""
import os
import signal
import unittest

from knit_platform import DOMAIN, SystemTest, eventually

HELLO = "Hello Openshift!\n"


class Logs(SystemTest):
    def logs(self, *arguments):
        return self.platform.kubectl("logs", *arguments).stdout

    def pod(self):
        eventually("an answer", lambda: self.platform.hello().stdout == HELLO)
        return eventually("a running pod", lambda: [
            p["metadata"]["name"] for p in self.platform.pods("hello")
            if "deletionTimestamp" not in p["metadata"]])[0]

    def test_sidecar_and_gateway_log_each_request_also_after_a_restart_of_the_proxy(self):
        pod = self.pod()
        self.platform.hello(path="/logged-once")
        line = eventually("a line of the sidecar", lambda: [
            l for l in self.logs(pod, "-c", "istio-proxy").splitlines() if "/logged-once" in l])
        self.assertEqual(len(line), 1)
        self.assertRegex(line[0], r'^\[\d{4}-\d\d-\d\dT[\d:.]+Z\] "GET /logged-once HTTP/1\.1" 200 - '
                                  r'via_upstream - "-" 0 \d+ \d+ \d+ .* inbound\|\d+\|\| .* default$')
        gateway = self.platform.path("pods", "-n", "istio-system", "-l", "knative=ingressgateway",
                                     "-o", "jsonpath={.items[0].metadata.name}")
        eventually("a line of the gateway", lambda: f'"hello-default.{DOMAIN}"' in "".join(
            l for l in self.logs("-n", "istio-system", gateway).splitlines() if "/logged-once" in l))
        before = self.platform.processes()["proxy"]
        os.kill(before, signal.SIGKILL)
        eventually("a new proxy", lambda: self.platform.processes().get("proxy", before) != before)
        pod = self.pod()
        self.platform.hello(path="/after-the-restart")
        text = eventually("the new line", lambda: (
            lambda t: t if "/after-the-restart" in t else "")(self.logs(pod, "-c", "istio-proxy")))
        self.assertIn("/logged-once", text)


if __name__ == "__main__":
    unittest.main()
