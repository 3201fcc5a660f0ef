"""Every verb that kubectl 1.20 and 1.35 have for a running platform, as a stranger types them."""
import json
import os
import subprocess
import time
import unittest

from knit_platform import SystemTest, eventually, kubectl_path, run

VERSIONS = ("1.20", "1.35")


def by_both_kubectls(test):
    """Runs the test once a version; it gets the version and a name of its own."""
    def both(self):
        for version in VERSIONS:
            with self.subTest(kubectl=version):
                test(self, version, f"v{version.replace('.', '')}")
    return both


class Verbs(SystemTest):
    def k(self, version, *arguments, check=True, **more):
        return self.platform.kubectl(*arguments, binary=kubectl_path(version), check=check, **more)

    def stream(self, version, *arguments):
        platform = self.platform
        return subprocess.Popen(
            [kubectl_path(version), "--kubeconfig", platform.kubeconfig, "--cache-dir",
             os.path.join(platform.data, "kubectl-cache"), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @by_both_kubectls
    def test_life_of_a_config_map(self, version, name):
        def k(*arguments, **more):
            return self.k(version, *arguments, **more).stdout
        self.assertEqual(k("create", "configmap", name, "--from-literal=a=b"),
                         f"configmap/{name} created\n")
        forms = {
            "name": f"configmap/{name}\n", "jsonpath={.data.a}": "b",
            "go-template={{.data.a}}": "b", "custom-columns=N:.metadata.name": f"N\n{name}\n",
        }
        for form, want in forms.items():
            self.assertEqual(k("get", "cm", name, "-o", form), want)
        self.assertEqual(json.loads(k("get", "cm", name, "-o", "json"))["data"], {"a": "b"})
        self.assertIn("\ndata:\n  a: b\n", "\n" + k("get", "cm", name, "-o", "yaml"))
        self.assertRegex(k("get", "cm", name, "-o", "wide"), rf"{name} +1 +\d+s")
        k("label", "cm", name, "x=y")
        k("annotate", "cm", name, "x=y")
        self.assertIn("--overwrite is false", self.k(version, "label", "cm", name, "x=z",
                                                     check=False).stderr)
        self.assertIn(name, k("get", "cm", "-l", "x=y", "--show-labels"))
        k("label", "cm", name, "x-")
        k("patch", "cm", name, "-p", '{"data":{"c":"d"}}')
        k("patch", "cm", name, "--type=json", "-p", '[{"op":"remove","path":"/data/a"}]')
        k("patch", "cm", name, "--type=merge", "-p", '{"data":{"e":"f"}}')
        editor = os.path.join(self.platform.data, "editor")
        with open(editor, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\nsed -i 's/^  c: d/  c: changed/' \"$1\"\n")
        os.chmod(editor, 0o755)
        self.assertIn("edited", k("edit", "cm", name, env={"EDITOR": editor}))
        described = k("describe", "cm", name)
        self.assertIn("changed", described)
        self.assertRegex(described, r"Annotations: +x: y")
        self.assertIn(f'configmap "{name}" deleted', k("delete", "cm", name))
        self.assertIn("NotFound", self.k(version, "get", "cm", name, check=False).stderr)

    @by_both_kubectls
    def test_a_deployment_scales_logs_and_goes(self, version, name):
        def k(*arguments, **more):
            return self.k(version, *arguments, **more).stdout
        k("create", "deployment", name, "--image=knit.local/hello")
        k("wait", f"deployment/{name}", "--for=condition=Available", "--timeout=60s")
        k("scale", "deployment", name, "--replicas=2")
        self.assertIn("successfully rolled out",
                      k("rollout", "status", f"deployment/{name}", "--timeout=60s"))
        self.assertRegex(k("get", "deployment", name), rf"{name} +2/2 +2 +2 ")
        pods = k("get", "pods", "-l", f"app={name}", "-o", "name").split()
        self.assertEqual(len(pods), 2)
        self.assertRegex(k("get", pods[0], "-o", "wide"), r"1/1 +Running +0 +\d+s +10\.128\.")
        self.assertEqual(k("logs", pods[0]), "hello: ready\n")
        self.assertRegex(k("logs", pods[0], "--timestamps"), r"^\d{4}-\d\d-\d\dT\S+Z hello: ready")
        follow = self.stream(version, "logs", "-f", pods[0])
        try:
            self.assertEqual(follow.stdout.readline(), "hello: ready\n")
            k("delete", pods[0])
            follow.wait(60)  # the stream ends with its container
            self.assertEqual(follow.returncode, 0)
        finally:
            follow.kill()
            follow.stdout.close()
        described = k("describe", "deployment", name)
        self.assertIn("Replicas:               2 desired", described)
        self.assertIn("ScalingReplicaSet", described)
        pod = eventually("another pod", lambda: [
            p for p in k("get", "pods", "-l", f"app={name}", "-o", "name").split()
            if p != pods[0]], 60)[0]
        described = k("describe", pod)
        for part in ("Scheduled", "Pulled", "Created", "Started", "Container ID:", "QoS Class:"):
            self.assertIn(part, described)
        k("expose", "deployment", name, "--port=80", "--target-port=8080")
        described = eventually("endpoints", lambda: (
            ":8080" in k("describe", "svc", name) and k("describe", "svc", name)), 60)
        self.assertRegex(described, r"Endpoints: +10\.128\.\d+\.\d+:8080")
        self.assertRegex(k("get", "endpoints", name), r"10\.128\.\d+\.\d+:8080")
        self.assertIn("10.128.", k("get", "endpointslices", "-l",
                                   f"kubernetes.io/service-name={name}"))
        ip = k("get", "svc", name, "-o", "jsonpath={.spec.clusterIP}")
        self.assertEqual(run("curl", "-sS", "-m5", f"http://{ip}/").stdout, "Hello Openshift!\n")
        k("delete", "deployment,svc", name)
        eventually("no pods", lambda: not k("get", "pods", "-l", f"app={name}", "-o",
                                            "name").strip(), 60)

    @by_both_kubectls
    def test_watching(self, version, name):
        watch = self.stream(version, "get", "configmaps", "-A", "-w")
        try:
            lines = [watch.stdout.readline()]
            self.k(version, "create", "configmap", name + "-seen", "--from-literal=a=b")
            end = time.monotonic() + 10
            while time.monotonic() < end and not any(name + "-seen" in l for l in lines):
                lines.append(watch.stdout.readline())
            self.assertRegex(lines[0], r"^NAMESPACE +NAME +DATA +AGE")
            self.assertRegex(lines[-1], rf"^default +{name}-seen +1 +\d+s")
        finally:
            watch.kill()
            watch.wait()
            watch.stdout.close()

    @by_both_kubectls
    def test_lists_that_a_stranger_looks_at(self, version, name):
        self.assertEqual(self.platform.hello().stdout, "Hello Openshift!\n")

        def k(*arguments, **more):
            return self.k(version, *arguments, **more).stdout
        self.assertRegex(k("get", "nodes"), r"knit +Ready +control-plane,worker +\S+ +v1\.35\.0\+knit")
        self.assertRegex(k("get", "ksvc"), r"hello +https://hello-default\S+ +hello-00001 +"
                                           r"hello-00001 +True")
        self.assertRegex(k("get", "pa"), r"hello-00001 +\d+ +\d+ +True")
        self.assertRegex(k("get", "sks"), r"hello-00001 +(Serve|Proxy) +\d+ +hello-00001 +"
                                          r"hello-00001-private +True")
        self.assertRegex(k("get", "pods", "-n", "knative-serving"), r"activator-\S+ +2/2 +Running")
        self.assertRegex(k("get", "smcp", "-n", "istio-system"), r"basic ")
        self.assertRegex(k("get", "knativeserving", "-A"), r"knative-serving +\S+ +True")
        for kind in ("all", "knative", "crd", "ns", "svc", "ep", "endpointslices", "events",
                     "leases", "sa", "secrets", "deploy,rs,po", "vs", "routes.route.openshift.io",
                     "clusterroles", "networkpolicies", "pdb", "images.caching.internal."
                     "knative.dev"):
            shown = k("get", kind, "-A")
            self.assertNotIn("<invalid>", shown, kind)
            self.assertNotIn("<unknown>", shown, kind)
        described = k("describe", "ksvc", "hello")
        self.assertIn("Latest Ready Revision Name:", described)
        self.assertIn("Created", described)
        resources = k("api-resources")
        for line in (r"podautoscalers +kpa,pa ", r"services +kservice,ksvc +serving.knative.dev/v1 ",
                     r"servicemeshcontrolplanes +smcp +maistra.io/v2 "):
            self.assertRegex(resources, line)
        self.assertIn("serving.knative.dev/v1\n", k("api-versions"))
        self.assertEqual(k("auth", "can-i", "create", "pods"), "yes\n")

    def test_auth_whoami(self):
        self.assertRegex(self.k("1.35", "auth", "whoami").stdout, r"Username +admin")


if __name__ == "__main__":
    unittest.main(verbosity=2)
