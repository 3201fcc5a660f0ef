"""A Knit of its own for each test: fresh data directory, own network and mount namespace (made by
CTest's command), stopped and purged at the end. Standard library only."""
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("KNIT_BUILD", os.path.join(ROOT, "build", "release"))
KNIT = os.path.join(BUILD, "knit")
SEED = os.path.join(ROOT, "tests", "seed")
DOMAIN = "apps.openshift.example.com"
SERVING_FILES = ["smcp.yaml", "servicemesh-member-roll.yaml", "istio-knative-gateways.yaml",
                 "knative-serving-config.yaml", "knative-service.yaml"]


def run(*argv, check=True, timeout=90, stdin=None, env=None):
    # KNIT_* are settings of the product: the tests' own do not go to it.
    clean = {k: v for k, v in os.environ.items() if not k.startswith("KNIT_")}
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=timeout, input=stdin, env={**clean, **(env or {})})
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n"
                             f"{done.stdout}{done.stderr}")
    return done


def kubectl_path(version):
    done = run(os.path.join(ROOT, "tools", "kubectl"), version, check=False, timeout=400)
    if done.returncode == 77:
        raise unittest.SkipTest(f"kubectl {version}: {done.stdout.strip()} {done.stderr.strip()}")
    if done.returncode != 0:
        raise AssertionError(f"tools/kubectl {version}: {done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


def eventually(what, probe, timeout=30.0, pause=0.1):
    """Returns the first true value of probe()."""
    end = time.monotonic() + timeout
    last = None
    while time.monotonic() < end:
        try:
            last = probe()
            if last:
                return last
        except AssertionError as error:
            last = error
        time.sleep(pause)
    raise AssertionError(f"{what}: not within {timeout} s (last: {last})")


class Platform:
    def __init__(self, *up_arguments, kubectl="1.20"):
        self.data = tempfile.mkdtemp(prefix="knit-test-")
        os.chmod(self.data, 0o755)
        self.run_dir = tempfile.mkdtemp(prefix="knit-test-run-")
        self.kubeconfig = os.path.join(self.data, "admin.kubeconfig")
        self.kubectl_binary = kubectl_path(kubectl)
        self.up_arguments = up_arguments
        self.root_crt = os.path.join(self.data, "apps-root.crt")

    def up(self):
        done = run(KNIT, "up", "--data", self.data, "--run", self.run_dir, "--apps-domain", DOMAIN,
                   *self.up_arguments, timeout=90)
        with open(self.root_crt, "w", encoding="utf-8") as f:
            f.write(self.knit("cert", "root").stdout)
        return done

    def knit(self, *arguments, **more):
        """cert and image: commands on the data directory."""
        return run(KNIT, *arguments, "--data", self.data, **more)

    def down(self):
        run(KNIT, "down", "--purge", "--run", self.run_dir, check=False, timeout=120)
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def kubectl(self, *arguments, binary=None, **more):
        return run(binary or self.kubectl_binary, "--kubeconfig", self.kubeconfig,
                   "--cache-dir", os.path.join(self.data, "kubectl-cache"), *arguments, **more)

    def get(self, *arguments):
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def path(self, *arguments):
        return self.kubectl("get", *arguments).stdout.strip()

    def apply(self, manifest):
        return self.kubectl("apply", "-f", "-", stdin=manifest)

    def wildcard_secret(self):
        self.kubectl("apply", "-f", "-", stdin=self.knit("cert", "wildcard").stdout)

    def seed(self, files=SERVING_FILES, directory=SEED, binary=None):
        for name in files:
            self.kubectl("apply", "-f", os.path.join(directory, name), binary=binary)

    def wait_ready(self, what, namespace="default", timeout=60):
        done = self.kubectl("wait", what, "-n", namespace, "--for=condition=Ready",
                            f"--timeout={timeout}s", check=False, timeout=timeout + 30)
        if done.returncode != 0:
            state = self.kubectl("get", what, "-n", namespace, "-o", "yaml", check=False)
            raise AssertionError(f"{what} is not Ready: {done.stdout}{done.stderr}\n{state.stdout}"
                                 f"\n{self.log_tail()}")

    def service(self, name, namespace="default", image="knit.local/hello", annotations=None,
                spec=None, container=None):
        template = {"sidecar.istio.io/inject": "true",
                    "sidecar.istio.io/rewriteAppHTTPProbers": "true", **(annotations or {})}
        return json.dumps({
            "apiVersion": "serving.knative.dev/v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace, "annotations": {
                "serving.knative.openshift.io/enablePassthrough": "true"}},
            "spec": {"template": {"metadata": {"annotations": template},
                                  "spec": {"containers": [{"image": image, **(container or {})}],
                                           **(spec or {})}}}})

    def router_ip(self):
        return self.path("service", "-n", "openshift-ingress", "router-default", "-o",
                         "jsonpath={.spec.clusterIP}")

    def curl(self, url, *arguments, timeout=30):
        host = url.split("/")[2].split(":")[0]
        return run("curl", "-sS", "-m", timeout, "--cacert", self.root_crt, "--resolve",
                   f"{host}:443:{self.router_ip()}", "--resolve", f"{host}:80:{self.router_ip()}",
                   *arguments, url, check=False, timeout=timeout + 10)

    def hello(self, name="hello", namespace="default", path="", **more):
        return self.curl(f"https://{name}-{namespace}.{DOMAIN}{path}", **more)

    def pods(self, service, namespace="default"):
        return self.get("pods", "-n", namespace, "-l", f"serving.knative.dev/service={service}")["items"]

    def log_tail(self, lines=80):
        text = ""
        path = os.path.join(self.data, "log", "knit.log")
        if os.path.exists(path):
            text += run("tail", "-n", lines, path, check=False).stdout
        return text

    def processes(self):
        """{"server": pid, …} of what runs."""
        lines = run(KNIT, "status", "--run", self.run_dir).stdout.splitlines()
        rows = [line.split() for line in lines[1:]]
        return {row[0]: int(row[2]) for row in rows if len(row) > 3 and row[2].isdigit()}


class SystemTest(unittest.TestCase):
    """Starts one platform for the class; `files` are applied first."""
    up_arguments = ()
    files = SERVING_FILES

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root")
        run("ip", "link", "set", "lo", "up", check=False)
        cls.platform = Platform(*cls.up_arguments)
        try:
            cls.platform.up()
            cls.platform.wildcard_secret()
            cls.platform.seed(cls.files)
            if "knative-service.yaml" in cls.files:
                cls.platform.wait_ready("ksvc/hello")
        except BaseException:
            sys.stderr.write(cls.platform.log_tail())
            cls.platform.down()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.platform.down()


def secret_text(secret, key):
    return base64.b64decode(secret["data"][key]).decode()
