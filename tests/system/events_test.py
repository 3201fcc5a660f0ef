"""Eventing on a running Knit: the seed's file installs it, a pod of the mesh sends an event to a Broker,
a Trigger delivers it to a service that had scaled to zero; kill -9 of events loses nothing accepted; a
role outside the mesh fails under STRICT and says so; without KnativeEventing the process ends."""
import json
import os
import signal
import unittest

from knit_platform import SEED, SystemTest, eventually, run

BROKER = "http://broker-ingress.knative-eventing.svc.cluster.local/default/b"


def manifest(api, kind, name, spec, namespace="default", **metadata):
    return json.dumps({"apiVersion": api, "kind": kind, "spec": spec,
                       "metadata": {"name": name, "namespace": namespace, **metadata}})


def trigger(name, subscriber, **spec):
    return manifest("eventing.knative.dev/v1", "Trigger", name, {
        "broker": "b", "subscriber": {"ref": {"apiVersion": "serving.knative.dev/v1",
                                              "kind": "Service", "name": subscriber}}, **spec})


class Events(SystemTest):
    def condition(self, what, kind, namespace="default"):
        items = self.platform.get(what, "-n", namespace).get("status", {}).get("conditions", [])
        found = next((c for c in items if c["type"] == kind), {})
        return found.get("status"), found.get("reason"), found.get("message", "")

    def install(self):
        self.platform.kubectl("apply", "-f", os.path.join(SEED, "knative-eventing-config.yaml"))
        self.platform.wait_ready("knativeeventing/knative-eventing", "knative-eventing")

    def uninstall(self):
        self.platform.kubectl("delete", "knativeeventing", "knative-eventing", "-n",
                              "knative-eventing", check=False)
        eventually("the process ends", lambda: "events" not in self.platform.processes())

    def tearDown(self):
        self.platform.kubectl("delete", "pingsource,subscription,trigger,broker,channel", "--all", check=False)
        self.uninstall()

    def subscriber(self, name, **annotations):
        """A service that answers 200 without a body: what upstream asks of a subscriber."""
        self.platform.apply(self.platform.service(
            name, annotations=annotations,
            container={"env": [{"name": "RESPONSE", "value": ""}]}))
        self.platform.wait_ready(f"ksvc/{name}")

    def broker(self):
        self.platform.apply(manifest("eventing.knative.dev/v1", "Broker", "b", {}))
        self.platform.wait_ready("broker/b")

    def credentials(self):
        directory = os.path.join(self.platform.data, "sender")
        if not os.path.isdir(directory):
            os.makedirs(directory)
            self.platform.knit("cert", "issue", "--sa", "default/default", "--out", directory)
        return ["--cert", f"{directory}/cert-chain.pem", "--key", f"{directory}/key.pem"]

    def ingress_ip(self):
        return self.platform.path("pods", "-n", "knative-eventing", "-l",
                                  "eventing.knative.dev/brokerRole=ingress", "-o",
                                  "jsonpath={.items[0].status.podIP}")

    def send(self, *ids, version="1.0"):
        """As a workload of the mesh, on one connection. The status of each; 0 without an answer."""
        url = f"https://{self.ingress_ip()}:8080/default/b"
        words = []
        for i in ids:  # --next forgets everything
            words += ["--next", "-sk", "-m", "10", *self.credentials(), "-w", "%{http_code} ", "-o", "/dev/null",
                      "-H", "Host: broker-ingress.knative-eventing.svc.cluster.local",
                      "-H", f"Ce-Specversion: {version}", "-H", "Ce-Type: t", "-H", "Ce-Source: test",
                      "-H", f"Ce-Id: {i}", "-H", "Content-Type: application/json", "-d", "{}", url]
        return [int(word) for word in run("curl", *words[1:], check=False, timeout=120).stdout.split()]

    def trace(self, event):
        return self.platform.knit("event", "trace", event, check=False).stdout

    def delivered(self, service):
        """Deliveries in the access log of the service's pods."""
        count = 0
        for pod in self.platform.pods(service):
            log = self.platform.kubectl("logs", pod["metadata"]["name"], "-c", "istio-proxy",
                                        check=False).stdout
            count += sum(1 for line in log.splitlines() if '"POST / HTTP/1.1" 20' in line
                         and " inbound|" in line)
        return count

    def test_an_event_wakes_a_service_at_zero(self):
        platform = self.platform
        self.install()
        self.subscriber("asleep", **{"autoscaling.knative.dev/window": "6s"})
        self.broker()
        platform.apply(trigger("t", "asleep"))
        platform.wait_ready("trigger/t")
        eventually("it sleeps", lambda: not platform.pods("asleep"), 60)
        self.assertEqual(self.send("one"), [202])
        eventually("it was woken", lambda: self.delivered("asleep") == 1)
        self.assertRegex(self.trace("one"), r"attempt 1: status 20\d\n +\S+ +delivered")

    def test_nothing_that_was_accepted_is_lost(self):
        platform = self.platform
        self.install()
        self.subscriber("awake", **{"autoscaling.knative.dev/min-scale": "1"})
        self.broker()
        platform.apply(trigger("t", "awake"))
        platform.wait_ready("trigger/t")
        accepted = 0
        for kill in range(3):
            sent = self.send(*(f"{kill}-{i}" for i in range(20)))
            accepted += sent.count(202)
            self.assertEqual(sent.count(202), 20, sent)
            before = platform.processes()["events"]
            os.kill(before, signal.SIGKILL)
            # Who comes now is told to come again, or waits.
            for status in self.send(*(f"again-{kill}-{i}" for i in range(5))):
                self.assertIn(status, (202, 503))
                accepted += status == 202
            eventually("it accepts again", lambda: self.send("probe") == [202])
            accepted += 1
        eventually("all of it arrives", lambda: self.delivered("awake") >= accepted)

    def test_a_ping_source_and_a_channel_reach_their_sinks(self):
        platform = self.platform
        self.install()
        self.subscriber("rung", **{"autoscaling.knative.dev/min-scale": "1"})
        self.subscriber("heard", **{"autoscaling.knative.dev/min-scale": "1"})
        ref = lambda name: {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": name}}
        platform.apply(manifest("messaging.knative.dev/v1", "Channel", "c", {}))
        platform.apply(manifest("messaging.knative.dev/v1", "Subscription", "s", {
            "channel": {"apiVersion": "messaging.knative.dev/v1", "kind": "Channel", "name": "c"},
            "subscriber": ref("heard")}))
        platform.apply(manifest("sources.knative.dev/v1", "PingSource", "p", {
            "schedule": "*/2 * * * * *", "data": "{}", "contentType": "application/json",
            "sink": ref("rung")}))
        platform.apply(manifest("sources.knative.dev/v1", "PingSource", "q", {
            "schedule": "*/2 * * * * *", "data": "{}", "contentType": "application/json",
            "sink": {"ref": {"apiVersion": "messaging.knative.dev/v1", "kind": "Channel", "name": "c"}}}))
        for what in ("channel/c", "subscription/s", "pingsource/p", "pingsource/q"):
            platform.wait_ready(what)
        eventually("it ticks", lambda: self.delivered("rung") >= 2)
        eventually("through the channel too", lambda: self.delivered("heard") >= 2)

    def test_a_role_outside_the_mesh_delivers_nothing_under_strict(self):
        platform = self.platform
        self.install()
        self.subscriber("strict", **{"autoscaling.knative.dev/min-scale": "1"})
        self.broker()
        platform.apply(trigger("t", "strict"))
        platform.wait_ready("trigger/t")
        self.assertEqual(self.send("in"), [202])
        eventually("it arrives", lambda: self.delivered("strict") == 1)
        # The seed's line that injects the filter is taken away.
        eventing = platform.get("knativeeventing", "knative-eventing", "-n", "knative-eventing")
        for row in eventing["spec"]["workloads"]:
            if row["name"] == "mt-broker-filter":
                row["labels"] = {"sidecar.istio.io/inject": "false"}
        platform.apply(json.dumps({k: eventing[k] for k in ("apiVersion", "kind", "spec")} | {
            "metadata": {"name": "knative-eventing", "namespace": "knative-eventing"}}))
        role = lambda: [p for p in platform.get(
            "pods", "-n", "knative-eventing", "-l", "eventing.knative.dev/brokerRole=filter")["items"]
            if "deletionTimestamp" not in p["metadata"]]
        eventually("it runs without a sidecar", lambda: [
            len(p["status"].get("containerStatuses", [])) for p in role()] == [1])
        platform.wait_ready("knativeeventing/knative-eventing", "knative-eventing")
        self.assertEqual(self.send("out"), [202])
        eventually("the trace names the cause", lambda: "has no mesh identity: it is not injected "
                   "(sidecar.istio.io/inject)" in self.trace("out"))
        self.assertEqual(self.delivered("strict"), 1)
        # With its identity back, what waited is delivered.
        self.install()
        eventually("it arrives at last", lambda: self.delivered("strict") == 2, 60)

    def test_what_is_no_event_is_refused(self):
        self.install()
        self.broker()
        self.assertEqual(self.send("a", version="9"), [400])

    def test_the_process_runs_while_eventing_is_installed(self):
        platform = self.platform
        self.assertNotIn("events", platform.processes())
        self.install()
        pid = eventually("it runs", lambda: platform.processes().get("events"))
        status = run(os.path.join(os.environ.get("KNIT_BUILD", "build/release"), "knit"), "status",
                     "--run", platform.run_dir).stdout
        self.assertRegex(status, r"\nevents +ready +\d+ .* \d roles")
        pods = platform.kubectl("get", "pods", "-n", "knative-eventing").stdout
        for role in ("mt-broker-ingress", "mt-broker-filter", "imc-dispatcher"):
            self.assertRegex(pods, role + r"-\S+ +2/2 +Running ")
        os.kill(pid, signal.SIGKILL)
        eventually("another takes over", lambda: platform.processes().get("events") not in (None, 0, pid))
        platform.wait_ready("knativeeventing/knative-eventing", "knative-eventing")
        self.uninstall()
        self.assertFalse(os.listdir(platform.run_dir + "/roles/in"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
