"""Unmodified kubectl 1.20 and 1.35 against store and API over TLS (kubeapi.md 0 to 2).

Skipped (77) where a kubectl cannot be fetched. Needs knit-api-test-server in KNIT_BUILD.
"""
import base64
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("KNIT_BUILD", os.path.join(ROOT, "build", "dev"))
VERSIONS = ("1.20", "1.35")

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "knit.local/hello:1", ports: [{containerPort: 8080}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: p1, labels: {app: p}}
spec:
  containers: [{name: c, image: "knit.local/hello:1"}]
"""
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: cm}
data: {a: "1", b: "2"}
"""


def fetch(version):
    done = subprocess.run([os.path.join(ROOT, "tools", "kubectl"), version],
                          capture_output=True, text=True)
    if done.returncode == 77:
        print(done.stderr, end="", file=sys.stderr)
        sys.exit(77)
    done.check_returncode()
    return done.stdout.strip()


class Server:
    """knit-api-test-server with a directory of its own."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="knit-api-")
        self.start()

    def start(self):
        config = os.path.join(self.dir.name, "admin.kubeconfig")
        if os.path.exists(config):
            os.unlink(config)
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "tests", "knit-api-test-server"), self.dir.name])
        deadline = time.monotonic() + 10
        while not os.path.exists(config):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the test server did not start")
            time.sleep(0.01)
        self.config = config

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(10)


class KubectlCase(unittest.TestCase):
    version = None

    @classmethod
    def setUpClass(cls):
        cls.kubectl = fetch(cls.version)
        cls.server = Server()
        cls.home = tempfile.TemporaryDirectory(prefix="knit-home-")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.dir.cleanup()
        cls.home.cleanup()

    def env(self, **more):
        env = dict(os.environ, KUBECONFIG=self.server.config, HOME=self.home.name, **more)
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
            env.pop(name, None)
        return env

    def run_kubectl(self, *args, stdin=None, **env):
        return subprocess.run([self.kubectl, *args], input=stdin, capture_output=True, text=True,
                              env=self.env(**env), timeout=60)

    def k(self, *args, stdin=None, **env):
        done = self.run_kubectl(*args, stdin=stdin, **env)
        self.assertEqual(done.returncode, 0, f"{args}: {done.stdout}{done.stderr}")
        return done.stdout

    def fails(self, *args, stdin=None):
        done = self.run_kubectl(*args, stdin=stdin)
        self.assertNotEqual(done.returncode, 0, f"{args}: {done.stdout}")
        return done.stderr

    def get(self, *args):
        return json.loads(self.k("get", *args, "-o", "json"))

    def namespace(self, name):
        self.k("create", "namespace", name)
        return name

    # ---- reading

    def test_get_forms(self):
        ns = self.namespace("forms")
        self.k("apply", "-n", ns, "-f", "-", stdin=DEPLOYMENT)
        table = self.k("get", "deploy", "-n", ns).splitlines()
        self.assertEqual(table[0].split(), ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"])
        self.assertEqual(table[1].split()[:4], ["web", "0/2", "0", "0"])
        wide = self.k("get", "deploy", "-n", ns, "-o", "wide").splitlines()
        self.assertIn("SELECTOR", wide[0])
        self.assertIn("app=web", wide[1])
        self.assertEqual(self.k("get", "deploy", "web", "-n", ns, "-o", "name").strip(),
                         "deployment.apps/web")
        self.assertEqual(
            self.k("get", "deploy", "web", "-n", ns, "-o", "jsonpath={.spec.replicas}"), "2")
        self.assertIn("image: knit.local/hello:1",
                      self.k("get", "deploy", "web", "-n", ns, "-o", "yaml"))
        columns = self.k("get", "deploy", "-n", ns, "-o", "custom-columns=N:.metadata.name")
        self.assertEqual(columns.split(), ["N", "web"])
        self.assertIn(ns, self.k("get", "deploy", "-A"))
        self.assertIn("web", self.k("get", "all", "-n", ns))
        self.assertIn("web", self.k("get", "deploy", "-n", ns, "-l", "app=web"))
        self.assertNotIn("web", self.k("get", "deploy", "-n", ns, "-l", "app!=web"))
        self.assertIn("web", self.k("get", "deploy", "-n", ns, "--sort-by=.metadata.name"))
        self.assertIn('deployments.apps "no" not found', self.fails("get", "deploy", "no", "-n", ns))
        self.assertIn("doesn't have a resource type", self.fails("get", "nosuchkind"))
        described = self.k("describe", "deploy", "web", "-n", ns)
        self.assertIn("Replicas:", described)
        self.assertIn("knit.local/hello:1", described)

    def test_paging(self):
        ns = self.namespace("paging")
        items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{i:03}"}}
                 for i in range(23)]
        self.k("create", "-n", ns, "-f", "-",
               stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        names = self.k("get", "cm", "-n", ns, "--chunk-size=5", "-o", "name").split()
        self.assertEqual(names, [f"configmap/c{i:03}" for i in range(23)])

    def test_discovery(self):
        resources = self.k("api-resources")
        for line in ("deployments", "configmaps", "gateways", "customresourcedefinitions"):
            self.assertIn(line, resources)
        self.assertIn("apps/v1", self.k("api-versions"))
        self.assertIn("ok", self.k("get", "--raw", "/readyz"))
        version = json.loads(self.k("version", "-o", "json"))
        self.assertEqual(version["serverVersion"]["gitVersion"], "v1.35.0+knit")
        self.assertIn("services.serving.knative.dev", self.k("get", "crd"))
        # The seed's command must mean Istio's Gateway.
        self.assertEqual(self.get("gateway", "-A")["items"], [])

    def test_access(self):
        self.assertEqual(self.k("auth", "can-i", "create", "pods").strip(), "yes")
        self.k("auth", "can-i", "--list")
        if self.version == "1.35":
            self.assertIn("system:masters", self.k("auth", "whoami"))
        # A wrong token is told so; nobody sees health and version only.
        cluster = json.loads(self.k("config", "view", "--raw", "-o", "json"))["clusters"][0]
        trust = ssl.create_default_context(
            cadata=base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode())
        host = cluster["cluster"]["server"].removeprefix("https://")
        for headers, path, status, words in (
                ({"Authorization": "Bearer x"}, "/api/v1/pods", 401, "Unauthorized"),
                ({}, "/api/v1/pods", 403,
                 'User \\"system:anonymous\\" cannot list resource \\"pods\\"'),
                ({}, "/version", 200, "v1.35.0+knit"),
                ({}, "/healthz", 200, "ok")):
            connection = http.client.HTTPSConnection(host, context=trust, timeout=10)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read().decode()
            connection.close()
            self.assertEqual(answer.status, status, body)
            self.assertIn(words, body)

    # ---- writing

    def test_apply(self):
        ns = self.namespace("apply")
        self.assertIn("created", self.k("apply", "-n", ns, "-f", "-", stdin=DEPLOYMENT))
        before = self.get("deploy", "web", "-n", ns)
        self.assertIn("unchanged", self.k("apply", "-n", ns, "-f", "-", stdin=DEPLOYMENT))
        same = self.get("deploy", "web", "-n", ns)
        self.assertEqual(same["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"])
        changed = DEPLOYMENT.replace("replicas: 2", "replicas: 3")
        self.assertIn("configured", self.k("apply", "-n", ns, "-f", "-", stdin=changed))
        after = self.get("deploy", "web", "-n", ns)
        self.assertEqual(after["spec"]["replicas"], 3)
        self.assertEqual(after["metadata"]["generation"], 2)
        self.assertEqual(after["metadata"]["uid"], before["metadata"]["uid"])
        self.assertIn("configured", self.k("apply", "-n", ns, "-f", "-", "--dry-run=client",
                                           stdin=DEPLOYMENT))
        if self.version == "1.35":
            self.k("apply", "-n", ns, "-f", "-", "--dry-run=server", stdin=DEPLOYMENT)
            self.assertEqual(self.get("deploy", "web", "-n", ns)["spec"]["replicas"], 3)
        refused = self.fails("apply", "-n", ns, "--server-side", "-f", "-", stdin=DEPLOYMENT)
        self.assertIn("server-side apply is not supported yet", refused.lower())

    def test_create_and_conflicts(self):
        ns = self.namespace("create")
        self.k("create", "-n", ns, "-f", "-", stdin=CONFIG)
        self.assertIn('configmaps "cm" already exists',
                      self.fails("create", "-n", ns, "-f", "-", stdin=CONFIG))
        self.assertIn('namespaces "nowhere" not found',
                      self.fails("create", "-n", "nowhere", "-f", "-", stdin=CONFIG))
        generated = CONFIG.replace("name: cm", "generateName: gen-")
        out = self.k("create", "-n", ns, "-o", "name", "-f", "-", stdin=generated).strip()
        self.assertRegex(out, r"^configmap/gen-[bcdfghjklmnpqrstvwxz2456789]{5}$")
        self.k("create", "secret", "generic", "s", "-n", ns, "--from-literal=k=v")
        self.assertEqual(self.get("secret", "s", "-n", ns)["data"], {"k": "dg=="})
        self.k("create", "deployment", "d", "-n", ns, "--image=knit.local/hello:1")
        self.k("create", "serviceaccount", "sa", "-n", ns)
        stale = self.get("cm", "cm", "-n", ns)
        self.k("annotate", "cm", "cm", "-n", ns, "x=y")
        stale["data"]["a"] = "stale"
        self.assertIn("the object has been modified",
                      self.fails("replace", "-n", ns, "-f", "-", stdin=json.dumps(stale)))

    def test_patch_label_annotate_edit(self):
        ns = self.namespace("patch")
        self.k("apply", "-n", ns, "-f", "-", stdin=DEPLOYMENT)
        self.k("patch", "deploy", "web", "-n", ns, "-p",
               '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":'
               '[{"name":"A","value":"1"}]}]}}}}')
        container = self.get("deploy", "web", "-n", ns)["spec"]["template"]["spec"]["containers"]
        self.assertEqual(len(container), 1, "a strategic patch merges containers by name")
        self.assertEqual(container[0]["image"], "knit.local/hello:1")
        self.assertEqual(container[0]["env"], [{"name": "A", "value": "1"}])
        self.k("patch", "deploy", "web", "-n", ns, "--type=json", "-p",
               '[{"op":"replace","path":"/spec/replicas","value":5}]')
        self.k("patch", "deploy", "web", "-n", ns, "--type=merge", "-p",
               '{"metadata":{"labels":{"m":"1"}}}')
        self.k("label", "deploy", "web", "-n", ns, "l=2")
        self.k("annotate", "deploy", "web", "-n", ns, "n=3")
        self.k("set", "image", "deploy/web", "-n", ns, "web=knit.local/hello:2")
        now = self.get("deploy", "web", "-n", ns)
        self.assertEqual(now["spec"]["replicas"], 5)
        self.assertEqual(now["metadata"]["labels"], {"app": "web", "m": "1", "l": "2"})
        self.assertEqual(now["metadata"]["annotations"]["n"], "3")
        self.assertEqual(now["spec"]["template"]["spec"]["containers"][0]["image"],
                         "knit.local/hello:2")
        self.k("label", "deploy", "web", "-n", ns, "l-")
        self.assertNotIn("l", self.get("deploy", "web", "-n", ns)["metadata"]["labels"])
        self.k("edit", "deploy", "web", "-n", ns, EDITOR="sed -i s/hello:2/hello:3/")
        self.assertEqual(
            self.k("get", "deploy", "web", "-n", ns, "-o",
                   "jsonpath={.spec.template.spec.containers[0].image}"), "knit.local/hello:3")
        failed = self.fails("patch", "deploy", "web", "-n", ns, "--type=json", "-p",
                            '[{"op":"test","path":"/spec/replicas","value":9}]')
        self.assertTrue(failed)

    def test_scale(self):
        ns = self.namespace("scale")
        self.k("apply", "-n", ns, "-f", "-", stdin=DEPLOYMENT)
        self.k("scale", "deploy/web", "-n", ns, "--replicas=7")
        self.assertEqual(self.get("deploy", "web", "-n", ns)["spec"]["replicas"], 7)
        self.assertIn("Expected replicas to be 2",
                      self.fails("scale", "deploy/web", "-n", ns, "--replicas=1",
                                 "--current-replicas=2").replace("expected", "Expected"))

    def test_delete(self):
        ns = self.namespace("delete")
        self.k("create", "-n", ns, "-f", "-", stdin=CONFIG)
        self.assertIn("deleted", self.k("delete", "cm", "cm", "-n", ns))
        self.assertIn("not found", self.fails("get", "cm", "cm", "-n", ns))
        self.k("delete", "cm", "cm", "-n", ns, "--ignore-not-found")
        self.k("create", "-n", ns, "-f", "-", stdin=CONFIG)
        self.k("label", "cm", "cm", "-n", ns, "x=1")
        self.assertIn("deleted", self.k("delete", "cm", "-n", ns, "-l", "x=1"))
        # A finalizer holds the object until it is taken away.
        held = CONFIG.replace("name: cm", 'name: held, finalizers: ["knit.dev/test"]')
        self.k("create", "-n", ns, "-f", "-", stdin=held)
        deleting = self.watch("delete", "cm", "held", "-n", ns)
        deadline = time.monotonic() + 10
        while "deletionTimestamp" not in self.get("cm", "held", "-n", ns)["metadata"]:
            self.assertLess(time.monotonic(), deadline)
        self.assertIn("no new finalizers can be added",
                      self.fails("patch", "cm", "held", "-n", ns, "--type=merge", "-p",
                                 '{"metadata":{"finalizers":["knit.dev/test","knit.dev/b"]}}'))
        self.assertIsNone(deleting.poll(), "kubectl waits while the finalizer is there")
        self.k("patch", "cm", "held", "-n", ns, "--type=merge", "-p",
               '{"metadata":{"finalizers":null}}')
        self.assertEqual(deleting.wait(20), 0)
        deleting.stdout.close()

    # ---- watching

    def watch(self, *args):
        return subprocess.Popen([self.kubectl, *args], stdout=subprocess.PIPE, text=True,
                                env=self.env())

    def test_watch(self):
        ns = self.namespace("watch")
        self.k("create", "-n", ns, "-f", "-", stdin=CONFIG)
        process = self.watch("get", "cm", "-n", ns, "-w", "--output-watch-events")
        try:
            self.assertEqual(process.stdout.readline().split()[0], "EVENT")
            self.assertEqual(process.stdout.readline().split()[:2], ["ADDED", "cm"])
            self.k("label", "cm", "cm", "-n", ns, "x=1")
            self.assertEqual(process.stdout.readline().split()[:2], ["MODIFIED", "cm"])
            self.k("delete", "cm", "cm", "-n", ns)
            self.assertEqual(process.stdout.readline().split()[:2], ["DELETED", "cm"])
        finally:
            process.kill()
            process.stdout.close()
            process.wait()

    def test_wait(self):
        ns = self.namespace("wait")
        self.k("apply", "-n", ns, "-f", "-", stdin=DEPLOYMENT)
        process = self.watch("wait", "deploy/web", "-n", ns, "--for=condition=Available",
                             "--timeout=20s")
        status = json.dumps({"status": {"conditions": [{"type": "Available", "status": "True"}]}})
        path = f"/apis/apps/v1/namespaces/{ns}/deployments/web/status"
        live = self.get("deploy", "web", "-n", ns)
        live["status"] = json.loads(status)["status"]
        self.k("replace", "--raw", path, "-f", "-", stdin=json.dumps(live))
        self.assertEqual(process.wait(25), 0)
        process.stdout.close()
        self.assertTrue(self.fails("wait", "deploy/web", "-n", ns, "--for=condition=Other",
                                   "--timeout=1s"))

    # ---- pods, refusals

    def test_pods(self):
        ns = self.namespace("pods")
        self.k("apply", "-n", ns, "-f", "-", stdin=POD)
        line = self.k("get", "pods", "-n", ns).splitlines()[1].split()
        self.assertEqual(line[:4], ["p1", "0/1", "Pending", "0"])
        self.assertIn("p1", self.k("get", "pods", "-A", "--field-selector=status.phase=Pending"))
        self.assertIn("Node:", self.k("describe", "pod", "p1", "-n", ns))
        self.assertIn("not supported yet", self.fails("exec", "p1", "-n", ns, "--", "true"))
        self.k("delete", "pod", "p1", "-n", ns)

    def test_refused_by_name(self):
        crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
               "metadata": {"name": "foos.example.com"},
               "spec": {"group": "example.com", "scope": "Namespaced",
                        "names": {"plural": "foos", "kind": "Foo"},
                        "versions": [{"name": "v1", "served": True, "storage": True, "schema":
                                      {"openAPIV3Schema": {"type": "object"}}}]}}
        self.assertIn("foos.example.com", self.fails("create", "-f", "-", stdin=json.dumps(crd)))
        own = dict(crd, metadata={"name": "services.serving.knative.dev"})
        before = self.get("crd", "services.serving.knative.dev")
        self.k("apply", "-f", "-", stdin=json.dumps(own))
        after = self.get("crd", "services.serving.knative.dev")
        self.assertEqual(after, before, "applying a built-in kind's definition is a no-op")

    def test_restart_keeps_everything(self):
        ns = self.namespace("restart")
        self.k("create", "-n", ns, "-f", "-", stdin=CONFIG)
        before = self.get("cm", "cm", "-n", ns)
        self.server.stop(signal.SIGKILL)
        self.server.start()
        self.assertEqual(self.get("cm", "cm", "-n", ns), before)
        self.k("label", "cm", "cm", "-n", ns, "x=1")
        after = self.get("cm", "cm", "-n", ns)
        self.assertGreater(int(after["metadata"]["resourceVersion"]),
                           int(before["metadata"]["resourceVersion"]))


class Kubectl120(KubectlCase):
    version = "1.20"


class Kubectl135(KubectlCase):
    version = "1.35"


del KubectlCase

if __name__ == "__main__":
    for wanted in VERSIONS:
        fetch(wanted)
    unittest.main(verbosity=2)
