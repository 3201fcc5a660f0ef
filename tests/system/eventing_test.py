"""Eventing's control plane on a running Knit: what works (SinkBindings, admission, the objects of the
seed's file) and that nothing claims to carry events while no role of the data plane runs."""
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
        done = self.platform.kubectl("apply", "-f", os.path.join(SEED, "knative-eventing-config.yaml"))
        if "created" in done.stdout:
            self.assertIn("Warning: Knit does not carry events yet", done.stderr)
        eventually("the control plane runs", lambda: self.condition(
            "knativeeventing/knative-eventing", "DeploymentsAvailable", "knative-eventing")[2].startswith(
                "Waiting on deployments: imc-dispatcher, mt-broker-filter, mt-broker-ingress. "))

    def test_nothing_claims_to_carry_events(self):
        platform = self.platform
        status, reason, _ = self.condition("knativeeventing/knative-eventing", "Ready",
                                           "knative-eventing")
        self.assertEqual((status, reason), ("False", "RoleNotBuiltIn"))
        pods = platform.kubectl("get", "pods", "-n", "knative-eventing").stdout
        self.assertRegex(pods, r"mt-broker-ingress-\S+ +1/2 +RoleNotBuiltIn ")
        self.assertRegex(pods, r"eventing-controller-\S+ +1/1 +Running ")

        done = platform.apply(manifest("eventing.knative.dev/v1", "Broker", "b", {}))
        self.assertIn("Warning: Knit does not carry events yet", done.stderr)
        platform.apply(manifest("eventing.knative.dev/v1", "Trigger", "t",
                                {"broker": "b", "subscriber": SINK}))
        eventually("the Broker says what is missing", lambda: self.condition(
            "broker/b", "IngressReady")[:2] == ("False", "EndpointsUnavailable"))
        self.assertEqual(self.condition("broker/b", "TriggerChannelReady")[:2],
                         ("False", "DispatcherEndpointsNotReady"))
        self.assertEqual(self.condition("broker/b", "Ready")[0], "False")
        eventually("the Trigger follows", lambda: self.condition(
            "trigger/t", "BrokerReady")[0] == "False")
        broker = platform.get("broker/b")  # defaults from config-br-defaults
        self.assertEqual(broker["spec"]["config"]["name"], "config-br-default-channel")
        self.assertEqual(broker["spec"]["delivery"]["retry"], 10)
        rule = platform.get("destinationrule/b-kne-trigger-kn-channel")
        self.assertEqual(rule["spec"]["trafficPolicy"]["tls"]["mode"], "ISTIO_MUTUAL")

        platform.apply(manifest("sources.knative.dev/v1", "PingSource", "p",
                                {"schedule": "*/5 * * * * *", "timezone": "Europe/Berlin",
                                 "sink": SINK}))
        eventually("its adapter was asked for", lambda: platform.path(
            "deployment/pingsource-mt-adapter", "-n", "knative-eventing", "-o",
            "jsonpath={.spec.replicas}") == "1")
        eventually("the PingSource waits", lambda: self.condition(
            "pingsource/p", "Deployed")[0] in ("False", "Unknown"))
        self.assertNotEqual(self.condition("pingsource/p", "Ready")[0], "True")

        platform.kubectl("delete", "knativeeventing", "knative-eventing", "-n", "knative-eventing")
        eventually("everything is gone", lambda: not platform.get(
            "deployments,services,pods", "-n", "knative-eventing")["items"])
        eventually("the rule too", lambda: platform.kubectl(
            "get", "destinationrule/b-kne-trigger-kn-channel", check=False).returncode != 0)

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
