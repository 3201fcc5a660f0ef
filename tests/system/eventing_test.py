"""Eventing's control plane on a running Knit: SinkBindings and admission. events_test.py carries events."""
import json
import os
import unittest

from knit_platform import SEED, SystemTest, eventually

SINK = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello"}}


def manifest(api, kind, name, spec, namespace="default"):
    return json.dumps({"apiVersion": api, "kind": kind,
                       "metadata": {"name": name, "namespace": namespace}, "spec": spec})


class Eventing(SystemTest):
    def condition(self, what, kind, namespace="default"):
        items = self.platform.get(what, "-n", namespace).get("status", {}).get("conditions", [])
        found = next((c for c in items if c["type"] == kind), {})
        return found.get("status"), found.get("reason"), found.get("message", "")

    def setUp(self):
        self.platform.kubectl("apply", "-f", os.path.join(SEED, "knative-eventing-config.yaml"))

    def test_admission_answers_as_the_webhook(self):
        platform = self.platform
        for text, want in (
                (manifest("eventing.knative.dev/v1", "Trigger", "t",
                          {"broker": "b", "filter": {"attributes": {"Bad": "x"}}, "subscriber": SINK}),
                 "validation.webhook.eventing.knative.dev\" denied the request: validation failed: "
                 "invalid key name \"Bad\": spec.filter.attributes[Bad]"),
                (manifest("sources.knative.dev/v1", "PingSource", "p",
                          {"schedule": "@every 1s", "sink": SINK}),
                 "invalid value: unsupported descriptor @every: spec.schedule"),
                (manifest("eventing.knative.dev/v1", "Trigger", "t",
                          {"broker": "b", "filters": [{"cesql": "type = "}], "subscriber": SINK}),
                 "invalid value: type = : spec.filters[0].cesql"),
                (manifest("sinks.knative.dev/v1alpha1", "JobSink", "j", {}),
                 "Knit runs no Jobs from events yet"),
                (manifest("eventing.knative.dev/v1alpha1", "EventPolicy", "e", {}),
                 "No event policy is enforced")):
            done = platform.kubectl("apply", "-f", "-", stdin=text, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(want, done.stderr)

    def test_a_sink_binding_injects_and_takes_back(self):
        platform = self.platform
        binding = manifest("sources.knative.dev/v1", "SinkBinding", "bind", {
            "sink": SINK, "subject": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}})
        deployment = json.dumps({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "app", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "app"}}, "template": {
                "metadata": {"labels": {"app": "app"}},
                "spec": {"containers": [{"name": "main", "image": "knit.local/hello"}]}}}})
        sink = lambda: platform.path("deployment/app", "-o", "jsonpath={.spec.template.spec."
                                     "containers[0].env[?(@.name=='K_SINK')].value}")
        platform.apply(binding)
        eventually("the sink is known", lambda: self.condition(
            "sinkbinding/bind", "SinkProvided")[0] == "True")
        platform.apply(deployment)
        self.assertEqual(sink(), "http://hello.default.svc.cluster.local")
        platform.wait_ready("sinkbinding/bind")
        platform.apply(deployment)
        self.assertEqual(sink(), "http://hello.default.svc.cluster.local")
        self.assertEqual(platform.path("deployment/app", "-o", "jsonpath={.metadata.generation}"), "1")
        platform.kubectl("delete", "sinkbinding/bind")
        self.assertEqual(sink(), "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
