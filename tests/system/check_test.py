"""`knit check` as people call it: the real program on files, archives, dumps, servers that do not
answer, and a running Knit."""
import http.server
import io
import json
import os
import resource
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
import unittest
import urllib.parse

from knit_platform import KNIT, ROOT, SystemTest, run

AS_WRITTEN = os.path.join(ROOT, "tests", "check", "seed")
FILLED = os.path.join(ROOT, "tests", "seed")
RECORDED = os.path.join(ROOT, "tests", "check", "cluster")
VALUES = {
    "wildcard_certs": "wildcard-certs",
    "bootstrap_servers_without_port": "my-cluster-kafka-bootstrap.kafka",
    "bootstrap_servers": "my-cluster-kafka-bootstrap.kafka:9092", "num_partitions": "10",
    "replication_factor": "1", "service_name": "hello", "namespace": "default",
    "image_url": "knit.local/hello", "your-istio-namespace": "istio-system",
    "your-OpenShift-projects": "default"}
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"


def check(*arguments, cwd=ROOT, env=None, stdin=None, timeout=60, limit=None):
    """`limit`: bytes of address space."""
    clean = {k: v for k, v in os.environ.items()
             if not k.startswith(("KNIT_", "LC_", "LANG")) and k not in ("NO_COLOR", "KUBECONFIG")}
    return subprocess.run([KNIT, "check", *map(str, arguments)], cwd=cwd, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, input=stdin,
                          preexec_fn=None if limit is None else lambda: resource.setrlimit(
                              resource.RLIMIT_AS, (limit, limit)),
                          env={**clean, "LC_ALL": "C.UTF-8", **(env or {})})


def told(done, at_least=("error", "warning")):
    report = json.loads(done.stdout)
    return {f["code"] for f in report["findings"]
            if f["severity"] in at_least and f["confidence"] != "unknown" and "suppressed" not in f}


def setUpModule():
    if os.geteuid() == 0:  # in a network namespace of the test's own, it is down
        run("ip", "link", "set", "lo", "up", check=False)


class Scratch(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="knit-check-test-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def path(self, name, text=None):
        path = os.path.join(self.dir, name)
        if text is not None:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(text if isinstance(text, bytes) else text.encode())
        return path


class Files(Scratch):
    def test_the_seed_gives_the_golden_report(self):
        done = check("-o", "json", "--profile", "ossm2", ".", cwd=AS_WRITTEN)
        self.assertEqual(done.returncode, 1, done.stderr)
        with open(os.path.join(ROOT, "tests", "check", "golden.json"), encoding="utf-8") as f:
            self.assertEqual(done.stdout.decode().strip(), f.read().strip())

    def test_set_and_fix_leave_nothing_above_info(self):
        folder = self.path("seed")
        shutil.copytree(AS_WRITTEN, folder)
        values = [a for k, v in VALUES.items() for a in ("--set", f"{k}={v}")]
        # --fix=patch says what --fix will do: patch(1)'s result is the same.
        patches = check(folder, *values, "--fix=patch", "--profile", "ossm2")
        self.assertNotEqual(patches.stdout, b"")
        copy = self.path("copy")
        shutil.copytree(AS_WRITTEN, copy)
        text = patches.stdout.replace(folder[1:].encode(), b"seed")
        applied = subprocess.run(["git", "apply", "-p2", "-"], cwd=copy, input=text,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(applied.returncode, 0, applied.stdout)
        fixed = check(folder, *values, "--fix", "--profile", "ossm2", "-o", "json")
        self.assertEqual(fixed.returncode, 0, fixed.stderr.decode() + fixed.stdout.decode())
        done = check(folder, "-o", "json", "--profile", "ossm2")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(told(done), set(), done.stdout.decode())
        report = json.loads(done.stdout)
        unknown = {f["code"] for f in report["findings"] if f["confidence"] == "unknown"}
        self.assertLessEqual(unknown, {"K301", "K302", "K303", "K306", "K122", "K604", "K606"})
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as a, open(os.path.join(copy, name), "rb") as b:
                self.assertEqual(a.read(), b.read(), name)
        with open(os.path.join(folder, "smcp.yaml"), encoding="utf-8") as f:
            self.assertIn("# serving: wait-for-drain", f.read())

    def test_a_value_for_no_placeholder_is_said(self):
        done = check(AS_WRITTEN, "--set", "num_partitions=1", "--set", "num_partition=1")
        self.assertIn(b"note: --set num_partition: ", done.stderr)
        self.assertNotIn(b"num_partitions", done.stderr)

    def test_the_readme_shows_what_is_printed(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
            blocks = [b for b in f.read().split("```")[1::2] if "\n$ knit check broken" in b]
        self.assertEqual(len(blocks), 2)
        shutil.copytree(os.path.join(ROOT, "tests", "check", "broken"), self.path("broken"))
        for block in blocks:
            for text in block.strip("\n").removeprefix("$ ").split("\n$ "):
                command, _, output = text.partition("\n")
                done = check(*command.split()[2:], cwd=self.dir)
                self.assertEqual((done.stderr + done.stdout).decode().strip(), output.strip())

    def test_exit_codes(self):
        good = self.path("good.yaml", NAMESPACE)
        self.assertEqual(check(good).returncode, 0)
        self.assertEqual(check(AS_WRITTEN).returncode, 1)
        self.assertEqual(check(AS_WRITTEN, "--fail-on", "never").returncode, 0)
        seven02 = ("--only", "K702", AS_WRITTEN)
        self.assertEqual(check(*seven02, "--profile", "ossm2").returncode, 0)  # a warning
        self.assertEqual(check(*seven02, "--profile", "ossm2", "--fail-on", "warning").returncode, 1)
        for usage in ([], ["--nonsense"], [good, "-o", "html"], [good, "--profile", "x"],
                      [good, "--only", "K999"], [good, "--set", "novalue"], [good, "--fail-on", "x"],
                      [good, "--live"], ["--live", "--fix"], [good, "--fix=x"],
                      ["explain", "K999"], [good, "--overlay", good, "--fix"],
                      ["--live", "--timeout", "0", "--kubeconfig", self.kubeconfig("http://h")]):
            done = check(*usage)
            self.assertEqual(done.returncode, 2, f"{usage}: {done.stderr}")
            self.assertNotEqual(done.stderr, b"")
        for unreadable in ([self.path("absent.yaml")], [self.path("broken.yaml", "a: [\n")],
                           ["--kubeconfig", self.path("no-config")], [self.dir + "/empty"],
                           ["--kubeconfig", self.kubeconfig("http://127.0.0.1:1")]):
            done = check(*unreadable)
            self.assertEqual(done.returncode, 3, f"{unreadable}: {done.stdout}{done.stderr}")
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            began = time.monotonic()
            done = check("--timeout", "1", "--kubeconfig",
                         self.kubeconfig(f"http://127.0.0.1:{silent.getsockname()[1]}"))
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertRegex(done.stderr, rb"127\.0\.0\.1:\d+: .*(within 1 s|after 1s)")
            self.assertLess(time.monotonic() - began, 10)

    def kubeconfig(self, server, token="t"):
        return self.path("kubeconfig", json.dumps({
            "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}))

    def test_every_way_of_giving_manifests(self):
        with open(os.path.join(FILLED, "knative-service.yaml"), "rb") as f:
            service = f.read()
        only = ("-o", "json", "--only", "K702", "--profile", "ossm2")
        self.assertEqual(told(check("-", *only, stdin=service)), {"K702"})
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [json.loads(
            json.dumps({"apiVersion": "serving.knative.dev/v1", "kind": "Service",
                        "metadata": {"name": "x", "namespace": "d"},
                        "spec": {"template": {"metadata": {"annotations": {
                            "sidecar.istio.io/inject": "true"}}, "spec": {}}}}))]})
        self.assertEqual(told(check(self.path("list.json", listed), *only)), {"K702"})
        # As `helm template` and `kustomize build` print it.
        rendered = b"---\n# Source: chart/templates/a.yaml\n\n---\n# Source: chart/templates/b.yaml\n" \
            + service + b"---\n"
        self.assertEqual(told(check("-", *only, stdin=rendered)), {"K702"})
        for mode in ("w", "w:gz"):
            path = self.path("manifests.tar")
            with tarfile.open(path, mode) as tar:
                tar.add(FILLED, arcname="seed")
            self.assertEqual(told(check(path, *only)), {"K702"})
            with open(path, "rb") as f:
                self.assertEqual(told(check("-", *only, stdin=f.read())), {"K702"})

    def test_hostile_archives(self):
        path = self.path("evil.tar.gz")
        with tarfile.open(path, "w:gz") as tar:
            def add(name, kind=tarfile.REGTYPE, link="", data=NAMESPACE.encode()):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, link
                info.size = len(data) if kind == tarfile.REGTYPE else 0
                tar.addfile(info, io.BytesIO(data))
            add("../../up.yaml")
            add("/abs.yaml")
            add("link.yaml", tarfile.SYMTYPE, "/etc/passwd")
            add("hard.yaml", tarfile.LNKTYPE, "good.yaml")
            add("device.yaml", tarfile.CHRTYPE)
            add("good.yaml")
        before = sorted(os.listdir(self.dir))
        done = check(path, "-o", "json")
        self.assertEqual(done.returncode, 3)
        self.assertEqual(json.loads(done.stdout)["objects"], 1)
        for text in (b"\"..\"", b"absolute", b"a symbolic link", b"a hard link", b"a device"):
            self.assertIn(text, done.stderr)
        self.assertEqual(sorted(os.listdir(self.dir)), before)
        self.assertFalse(os.path.exists("/abs.yaml"))

    def test_cut_and_garbage_input_of_any_length(self):
        with open(os.path.join(FILLED, "smcp.yaml"), "rb") as f:
            whole = f.read()
        blob = bytes((i * 131 + 7) % 256 for i in range(4096))
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            tar.add(FILLED, arcname="seed")
        packed = packed.getvalue()
        cases = [whole[:n] for n in range(0, len(whole), 37)]
        cases += [blob[:n] for n in (1, 2, 3, 7, 100, 511, 512, 513, 4096)]
        cases += [packed[:n] for n in (1, 2, 3, 10, 20, 100, len(packed) // 2, len(packed) - 1)]
        for data in cases:
            done = check("-", stdin=data)
            self.assertIn(done.returncode, (0, 1, 3), data[:40])
            if done.returncode == 3:
                self.assertRegex((done.stderr + done.stdout).decode(errors="replace"),
                                 r"(?m)^(error: |× ).{10,}", data[:40])

    def test_large_inputs_stay_bounded(self):
        deep = "a: " + "[" * 100_000
        bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [" + ",".join([f"*{chr(97 + i)}"] * 9) + "]\n"
            for i in range(12))
        for text in (deep, bomb, "\xff\xfe\x00", "a: 1\na: 2\n", "x: " + "y" * (50 << 20)):
            done = check(self.path("x.yaml", text.encode("latin-1")), timeout=60)
            self.assertIn(done.returncode, (0, 3), text[:20])
        service = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: s%d, " \
            "namespace: n}\nspec: {template: {spec: {containers: [{image: x}]}}}\n---\n"
        many = self.path("many.yaml", "".join(service % i for i in range(100_000)))
        done = check(many, "--quiet", timeout=300, limit=2 << 30)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        self.assertIn(b"100000 objects", done.stdout)
        huge = self.path("huge.yaml")
        with open(huge, "wb") as f:
            f.truncate(65 << 20)
        done = check(huge)
        self.assertEqual(done.returncode, 3)
        self.assertIn(b"larger than 64 MiB", done.stderr)

    def test_languages_colours_and_quiet(self):
        english = check(AS_WRITTEN).stdout.decode()
        self.assertIn("× no placeholder is left", english)
        self.assertNotIn("\033", english)
        japanese = check(AS_WRITTEN, env={"LC_ALL": "", "LANG": "ja_JP.UTF-8"}).stdout.decode()
        for text in ("プレースホルダー", "対処: ", "症状: ", "K413"):
            self.assertIn(text, japanese)
        self.assertEqual(check(AS_WRITTEN, "-o", "json", env={"LC_ALL": "", "LANG": "ja_JP.UTF-8"})
                         .stdout, check(AS_WRITTEN, "-o", "json").stdout)
        # On a terminal there are colours, unless NO_COLOR says otherwise.
        for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
            main, terminal = os.openpty()
            child = subprocess.Popen([KNIT, "check", FILLED, "--quiet"], stdout=terminal,
                                     stderr=subprocess.DEVNULL,
                                     env={"LC_ALL": "C.UTF-8", "TERM": "xterm", **env})
            os.close(terminal)
            shown = b""
            while True:
                try:
                    piece = os.read(main, 65536)
                except OSError:  # the other end is gone
                    break
                if not piece:
                    break
                shown += piece
            os.close(main)
            self.assertEqual(child.wait(), 1)
            self.assertEqual(b"\033[" in shown, coloured, env)
        ascii_only = check(AS_WRITTEN, env={"LC_ALL": "C"}).stdout
        self.assertNotIn("×".encode(), ascii_only)
        self.assertLess(len(check(AS_WRITTEN, "--quiet").stdout), len(english))

    def test_suppressions_need_a_reason(self):
        ignore = self.path("ignore", "K702 Service default/hello until the move to Mesh 3\n")
        done = check(FILLED, "--only", "K702", "--fail-on", "warning", "--ignore-file", ignore)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn(b"until the move to Mesh 3", done.stdout)
        bad = self.path("ignore", "K702 Service default/hello\n")
        self.assertEqual(check(FILLED, "--ignore-file", bad).returncode, 2)

    def test_every_code_is_explained(self):
        for code in ("K201", "gw-01", "K127", "K614", "K903", "K905", "IST0145", "KIA0301"):
            done = check("explain", code)
            self.assertEqual(done.returncode, 0, code)
            self.assertGreater(len(done.stdout), 80, code)


class Recorded(Scratch):
    """A cluster that was recorded, behind a real socket, and as a dump."""
    forbidden = ()
    requests = []

    def setUp(self):
        super().setUp()
        test = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                test.requests.append((self.command, self.path))
                status, body = test.answer(urllib.parse.urlsplit(self.path).path)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def refuse(self):
                test.requests.append((self.command, self.path))
                self.send_error(405)
            do_POST = do_PUT = do_PATCH = do_DELETE = refuse

        self.requests = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.config = Files.kubeconfig(self, f"http://127.0.0.1:{self.server.server_port}")

    @staticmethod
    def recorded(name):
        path = os.path.join(RECORDED, name + ".json")
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8") as f:
            return json.load(f)

    def answer(self, path):
        parts = path.strip("/").split("/")
        if parts == ["apis"]:
            return 200, self.recorded("apis")
        core = parts[0] == "api"
        group, rest = ("", parts[2:]) if core else (parts[1], parts[3:])
        if not rest:
            names = [n[:-5] for n in os.listdir(RECORDED) if n.partition(".")[2] == group + ".json"]
            return 200, {"resources": [
                {"name": n.partition(".")[0], "kind": self.recorded(n)["kind"][:-4]} for n in names]}
        if rest[0] == "namespaces" and len(rest) > 2:
            rest = rest[2:]
        name = rest[0] + ("." + group if group else "")
        if name in self.forbidden:
            return 403, {"kind": "Status", "code": 403, "reason": "Forbidden",
                         "message": f'{name} is forbidden: User "viewer" cannot list'}
        whole = self.recorded(name)
        if whole is None or len(rest) > 1:
            return 404, {"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}
        return 200, whole

    def test_it_is_only_read(self):
        done = check("--kubeconfig", self.config, "-o", "json")
        self.assertIn(done.returncode, (0, 1), done.stderr)
        self.assertGreater(json.loads(done.stdout)["objects"], 80)
        self.assertEqual({m for m, _ in self.requests}, {"GET"})
        self.assertFalse([p for _, p in self.requests if p.endswith("/secrets")])

    def test_what_a_token_may_not_read_is_unknown(self):
        self.forbidden = ("secrets", "pods")
        done = check("--kubeconfig", self.config, "-o", "json")
        report = json.loads(done.stdout)
        unknown = {f["code"]: f["message"] for f in report["findings"]
                   if f["confidence"] == "unknown"}
        self.assertIn("forbidden", unknown["K301"])
        self.assertIn("forbidden", unknown["K410"])
        text = check("--kubeconfig", self.config).stdout.decode()
        self.assertIn("could not read Secret", text)

    def test_a_token_that_may_read_nothing_checks_nothing(self):
        self.forbidden = {n[:-5] for n in os.listdir(RECORDED)} | {"secrets"}
        done = check("--kubeconfig", self.config, "-o", "json")
        self.assertEqual(done.returncode, 3, done.stdout[:500])

    def test_an_overlay_answers_what_if(self):
        bad = self.path("new.yaml", """
apiVersion: operator.knative.dev/v1beta1
kind: KnativeServing
metadata: {name: knative-serving, namespace: knative-serving}
spec:
  ingress: {istio: {enabled: true}, kourier: {enabled: true}}
""")
        only = ("--kubeconfig", self.config, "-o", "json", "--only", "K402")
        self.assertEqual(told(check(*only)), set())
        self.assertEqual(told(check(*only, "--overlay", bad)), {"K402"})

    def test_a_must_gather_is_the_cluster_it_was_taken_from(self):
        root = self.path("must-gather.local.1/image-1")
        for file in os.listdir(RECORDED):
            name = file[:-5]
            if name == "apis":
                continue
            whole = self.recorded(name)
            plural, _, group = name.partition(".")
            spaces = {}
            for item in whole["items"]:
                spaces.setdefault(item["metadata"].get("namespace", ""), []).append(item)
            for ns, items in (spaces or {"": []}).items():
                where = f"namespaces/{ns}" if ns else "cluster-scoped-resources"
                self.path(f"must-gather.local.1/image-1/{where}/{group or 'core'}/{plural}.yaml",
                          json.dumps({**whole, "items": items}))
        only = ("-o", "json", "--only", "K101,K102,K103,K201,K203,K402,K403,K701,K702")
        live = check("--kubeconfig", self.config, *only)
        folder = check(os.path.dirname(root), *only)
        self.assertEqual(told(folder, ("error", "warning", "info")),
                         told(live, ("error", "warning", "info")))
        packed = self.path("must-gather.tar.gz")
        with tarfile.open(packed, "w:gz") as tar:
            tar.add(os.path.dirname(root), arcname="must-gather.local.1")
        archived = check(packed, *only)
        self.assertEqual(json.loads(archived.stdout)["objects"], json.loads(folder.stdout)["objects"])
        self.assertEqual(told(archived), told(folder))


class Running(SystemTest):
    def test_knits_own_cluster(self):
        p = self.platform
        done = check("--kubeconfig", p.kubeconfig, "--cacert", p.root_crt, "-o", "json")
        self.assertEqual(done.returncode, 0, done.stdout.decode() + done.stderr.decode())
        report = json.loads(done.stdout)
        self.assertGreater(report["objects"], 80)
        self.assertNotIn("K301", {f["code"] for f in report["findings"]})  # the Secret was parsed

    def test_status_counts_and_apply_warns(self):
        p = self.platform
        status = run(KNIT, "status", "--run", p.run_dir, check=False).stdout
        self.assertRegex(status, r"findings +0 errors, \d+ warnings?, \d+ notes?")
        done = p.apply(p.service("warned", annotations={}))
        self.assertIn("Warning: K702: ", done.stderr)
        p.kubectl("delete", "ksvc", "warned")
        # kubectl 1.20 prints what the server sends; what is in order has none.
        good = json.loads(p.service("quiet"))
        good["spec"]["template"]["metadata"]["labels"] = {"sidecar.istio.io/inject": "true"}
        done = p.apply(json.dumps(good))
        self.assertNotIn("Warning", done.stderr)
        p.kubectl("delete", "ksvc", "quiet")

    def test_a_token_without_rights(self):
        p = self.platform
        made = p.kubectl("get", "--raw", "/version", check=False)
        self.assertEqual(made.returncode, 0)
        with open(p.kubeconfig, encoding="utf-8") as f:
            text = f.read()
        path = os.path.join(p.data, "nobody.kubeconfig")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(l for l in text.splitlines()
                              if "client-certificate" not in l and "client-key" not in l
                              and "token:" not in l) + "\n")
        done = check("--kubeconfig", path, "-o", "json")
        self.assertEqual(done.returncode, 3, done.stdout)
        self.assertRegex(done.stderr, rb"(?i)unauthorized|forbidden|user")

    def test_a_conflict_appears_and_goes(self):
        p = self.platform
        p.apply(json.dumps({
            "apiVersion": "networking.istio.io/v1beta1", "kind": "Gateway",
            "metadata": {"name": "other", "namespace": "default"},
            "spec": {"selector": {"istio": "ingressgateway"}, "servers": [
                {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"],
                 "tls": {"mode": "SIMPLE", "credentialName": "wildcard-certs"}}]}}))
        try:
            done = check("--kubeconfig", p.kubeconfig, "-o", "json", "--only", "K201")
            self.assertEqual(told(done), {"K201"})
        finally:
            p.kubectl("delete", "gateways.networking.istio.io", "other")
        self.assertEqual(told(check("--kubeconfig", p.kubeconfig, "-o", "json", "--only", "K201")),
                         set())


if __name__ == "__main__":
    unittest.main(verbosity=2)
