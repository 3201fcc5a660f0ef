"""`knit event` on a running Knit: sends, and tells where events went: through Broker, Trigger and mesh to
a service at zero, through a channel to a dead letter sink."""
import json
import os
import unittest

from knit_platform import SEED, SystemTest, eventually

HELLO = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello"}}


def manifest(api, kind, name, spec, namespace="default"):
    return json.dumps({"apiVersion": api, "kind": kind,
                       "metadata": {"name": name, "namespace": namespace}, "spec": spec})


def subscriber(name):
    return {"ref": {**HELLO["ref"], "name": name}}


class KnitEvent(SystemTest):
    def condition(self, what, kind, namespace="default"):
        items = self.platform.get(what, "-n", namespace).get("status", {}).get("conditions", [])
        found = next((c for c in items if c["type"] == kind), {})
        return found.get("status"), found.get("reason"), found.get("message", "")

    def setUp(self):
        done = self.platform.kubectl("apply", "-f", os.path.join(SEED, "knative-eventing-config.yaml"))
        self.assertNotIn("Knit does not", done.stderr)
        self.platform.wait_ready("knativeeventing/knative-eventing", "knative-eventing")

    def event(self, *arguments, check=True):
        done = self.platform.knit("event", *arguments, check=check)
        return done.stdout if check else done

    def trace(self, id):
        """Steps per subscriber, {label: ["attempt 503", "delivered", …]}, of all its streams."""
        found = json.loads(self.event("trace", id, "-o", "json"))["events"]
        return {s["label"]: [" ".join([t["what"], *([str(t["status"])] if "status" in t else [])])
                             for t in s["steps"]] if s["filter"] else "no"
                for e in found for s in e["subscribers"]}

    def broker(self, name="b", delivery=None):
        self.platform.apply(manifest("eventing.knative.dev/v1", "Broker", name,
                                     {"delivery": delivery} if delivery else {}))
        self.platform.wait_ready(f"broker/{name}")

    def trigger(self, name, spec, broker="b"):
        self.platform.apply(manifest("eventing.knative.dev/v1", "Trigger", name,
                                     {"broker": broker, **spec}))
        self.platform.wait_ready(f"trigger/{name}")

    def sink(self, name="sink"):
        self.platform.apply(self.platform.service(
            name, annotations={"autoscaling.knative.dev/window": "6s"}))
        self.platform.wait_ready(f"ksvc/{name}")

    def pods(self, name="sink"):
        return self.platform.get("pods", "-l", f"serving.knative.dev/service={name}")["items"]

    def test_an_event_wakes_a_service_at_zero(self):
        platform = self.platform
        pods = platform.kubectl("get", "pods", "-n", "knative-eventing").stdout
        for role in ("mt-broker-ingress", "mt-broker-filter", "imc-dispatcher"):
            self.assertRegex(pods, role + r"-\S+ +2/2 +Running ")
        self.sink()
        self.broker()
        self.trigger("t", {"filter": {"attributes": {"type": "x"}}, "subscriber": subscriber("sink")})
        self.trigger("u", {"filters": [{"cesql": "type = 'y'"}], "subscriber": subscriber("sink")})
        self.assertEqual(platform.get("broker/b")["status"]["address"]["url"],
                         "http://broker-ingress.knative-eventing.svc.cluster.local/default/b")
        eventually("the service is at zero", lambda: not self.pods(), timeout=60)
        self.event("send", "default/b", "--type", "x", "--id", "one", "--body", "{}")
        eventually("delivered", lambda: self.trace("one") == {
            "trigger t": ["attempt 202", "delivered"], "trigger u": "no"})
        pod = self.pods()[0]["metadata"]["name"]
        eventually("its log has it", lambda: "event id=one type=x source=knit/event/send" in
                   platform.kubectl("logs", pod, "-c", "user-container").stdout)
        self.assertIn("accepted by broker default/b, on disk as number 0", self.event("trace", "one"))
        self.assertRegex(self.event("stat"), r"broker default/b +trigger t +0 +1 ")
        self.assertIn("  one  [trigger t: finished]", self.event("tail", "default/b"))
        missing = self.event("send", "default/none", check=False)
        self.assertNotEqual(missing.returncode, 0)
        self.assertIn("404: no such broker or channel", missing.stderr)

        # A tick goes through the mesh to the ingress, and on.
        platform.apply(manifest("sources.knative.dev/v1", "PingSource", "p", {
            "schedule": "*/2 * * * * *", "data": "tick", "contentType": "text/plain",
            "ceOverrides": {"extensions": {"mark": "m"}},
            "sink": {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "b"}}}))
        platform.wait_ready("pingsource/p")
        eventually("ticks arrive", lambda: "dev.knative.sources.ping  "
                   "/apis/v1/namespaces/default/pingsources/p" in self.event("tail", "default/b"))

    def test_a_channel_and_a_dead_letter_sink(self):
        self.sink()
        self.platform.apply(manifest("messaging.knative.dev/v1", "InMemoryChannel", "c", {}))
        self.platform.wait_ready("inmemorychannel/c")
        self.platform.apply(manifest("messaging.knative.dev/v1", "Subscription", "s", {
            "channel": {"apiVersion": "messaging.knative.dev/v1", "kind": "InMemoryChannel", "name": "c"},
            "subscriber": {"uri": "http://nowhere.default.svc.cluster.local"},
            "delivery": {"retry": 1, "backoffPolicy": "linear", "backoffDelay": "PT0.1S",
                         "deadLetterSink": subscriber("sink")}}))
        self.platform.wait_ready("subscription/s")
        self.event("send", "channel/default/c", "--id", "two")
        steps = eventually("dead-lettered", lambda: (lambda s: s if "dead-lettered" in s else None)(
            self.trace("two").get("subscription s", [])))
        self.assertEqual(len([s for s in steps if s.startswith("attempt")]), 2, steps)
        self.assertIn("dead letter 202", steps)


if __name__ == "__main__":
    unittest.main(verbosity=2)
