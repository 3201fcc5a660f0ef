"""Bad input: upstream's error where there is one, else one sentence with object, field and fix, in
the condition as well as in the answer. One platform for most of it."""
import json
import os
import shutil
import socket
import tempfile
import unittest

from knit_platform import KNIT, ROOT, Platform, SystemTest, eventually, kubectl_path, run

SEED = os.path.join(ROOT, "tests", "seed")


def ksvc(name="bad", **changes):
    container = {"image": "knit.local/hello", **changes.pop("container", {})}
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Service",
            "metadata": {"name": name, **changes.pop("metadata", {})},
            "spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "true"}},
                                  "spec": {"containers": [container], **changes.pop("spec", {})}}}}


def deployment(**spec):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bad"},
            "spec": {"selector": {"matchLabels": {"a": "b"}},
                     "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
                         {"name": "c", "image": "knit.local/hello"}]}}, **spec}}


def config_map(name="bad", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class Refused(SystemTest):
    """What the API says no to, by both kubectls."""

    def answer(self, manifest, *arguments, version="1.35", code=1):
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        done = self.platform.kubectl(*(arguments or ("apply", "-f", "-")), stdin=text, check=False,
                                     binary=kubectl_path(version))
        if code is not None:
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_refusals_name_object_field_and_fix(self):
        rows = [
            # spec/kubeapi.md 1: strict decoding, json.Unmarshal's messages
            ("unknown field", ksvc(container={"imagge": "x"}),
             'strict decoding error: unknown field "spec.template.spec.containers[0].imagge"'),
            ("misspelt field", deployment(replica=2),
             'strict decoding error: unknown field "spec.replica"'),
            ("wrong type, built-in kind", deployment(replicas="two"),
             "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of "
             "type int32"),
            ("wrong type, custom resource", ksvc(spec={"containerConcurrency": "three"}),
             'The Service "bad" is invalid: spec.template.spec.containerConcurrency: Invalid value: '
             '"string": spec.template.spec.containerConcurrency in body must be of type integer: '
             '"string"'),
            ("wrong type, map value", config_map(a=1),
             "json: cannot unmarshal number 1 into Go struct field ConfigMap.data.a of type string"),
            ("required field", {"apiVersion": "serving.knative.dev/v1", "kind": "Service",
                                "metadata": {"name": "bad"}, "spec": {"template": {"spec": {}}}},
             'The Service "bad" is invalid: spec.template.spec.containers: Required value'),
            ("invalid name", config_map("Bad_Name"),
             'The ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a '
             "lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters"),
            ("invalid name, DNS label", ksvc("bad.name"),
             "validation failed: not a DNS 1035 label: [a DNS-1035 label must consist of"),
            ("missing namespace", {**config_map(), "metadata": {"name": "bad", "namespace": "no"}},
             'namespaces "no" not found'),
            ("unknown kind", {"apiVersion": "v1", "kind": "Frobnicator",
                              "metadata": {"name": "bad"}}, 'no matches for kind "Frobnicator"'),
            ("image that is no image", ksvc(container={"image": "not an image"}),
             "validation failed: Failed to parse image reference: "
             "spec.template.spec.containers[0].image"),
            ("no YAML", "a: [1", "error converting YAML to JSON"),
            ("second control plane", {
                "apiVersion": "maistra.io/v2", "kind": "ServiceMeshControlPlane",
                "metadata": {"name": "second", "namespace": "istio-system"},
                "spec": {"version": "v2.6"}},
             "only one service mesh may be installed per project/namespace: istio-system has basic"),
        ]
        for name, manifest, want in rows:
            with self.subTest(name):
                got = self.answer(manifest)
                self.assertIn(want, got)
                self.assertLess(len(got), 2000)

    def test_placeholders_of_the_procedure_are_named(self):
        rows = [
            ("gateway", "istio-knative-gateways.yaml", ("wildcard-certs", "<wildcard_certs>"),
             'credentialName: "<wildcard_certs>" is not the name of a Secret; fill the placeholder'),
            ("service name", "knative-service.yaml", ("name: hello", "name: <service_name>"),
             'The Service "<service_name>" is invalid: metadata.name: Invalid value'),
            ("image", "knative-service.yaml", ("knit.local/hello", "<image_url>"),
             "Failed to parse image reference: spec.template.spec.containers[0].image"),
            ("member", "servicemesh-member-roll.yaml", ("- default", "- your-OpenShift-projects"),
             'ServiceMeshMemberRoll contains invalid namespace name "your-OpenShift-projects"'),
        ]
        for name, file, (old, new), want in rows:
            with self.subTest(name):
                with open(os.path.join(SEED, file), encoding="utf-8") as f:
                    text = f.read()
                self.assertIn(old, text)
                self.assertIn(want, self.answer(text.replace(old, new)))

    def test_settings_of_serving_that_cannot_be(self):
        serving = self.platform.get("knativeserving", "knative-serving", "-n", "knative-serving")
        config = serving["spec"]["config"]["istio"]
        key = next(k for k in config if k.startswith("gateway."))
        config[key] = "istio-ingressgateway.<your-istio-namespace>.svc.cluster.local"
        self.assertIn('spec.config.istio: gateway knative-serving/knative-ingress-gateway: '
                      '"istio-ingressgateway.<your-istio-namespace>.svc.cluster.local" is not a host '
                      "name; fill the placeholder", self.answer(serving, "replace", "-f", "-"))
        self.assertIn("validation failed: ", self.answer(
            "", "patch", "configmap", "config-autoscaler", "-n", "knative-serving", "-p",
            '{"data":{"scale-to-zero-grace-period":"soon"}}'))

    def test_fields_are_refused_or_warned_about_by_name(self):
        """docs/support.md, seen through kubectl: what the unit test walks for every field."""
        def pod(container=None, **spec):
            return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": {
                "containers": [{"name": "c", "image": "knit.local/hello", **(container or {})}],
                **spec}}

        def thing(api_version, kind, spec, namespace="default", name="bad"):
            return {"apiVersion": api_version, "kind": kind, "spec": spec,
                    "metadata": {"name": name, "namespace": namespace}}
        refused = [
            (pod(hostNetwork=True), "spec.hostNetwork: Forbidden: Knit gives every pod its own"),
            (pod({"securityContext": {"privileged": True}}),
             "spec.containers[0].securityContext.privileged: Forbidden: Knit runs no privileged"),
            (pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
             "spec.volumes[0].hostPath: Forbidden: use emptyDir"),
            (pod({"securityContext": {"seccompProfile": {"type": "Localhost",
                                                         "localhostProfile": "x"}}}),
             "securityContext.seccompProfile.type: Forbidden: Knit knows the profiles"),
            (thing("security.istio.io/v1beta1", "PeerAuthentication", {
                "selector": {"matchLabels": {"a": "b"}}, "mtls": {"mode": "STRICT"}}),
             "spec.selector: Forbidden: Knit enforces mesh- and namespace-wide"),
            (thing("security.istio.io/v1beta1", "AuthorizationPolicy", {}), "is forbidden: "),
            (thing("networking.k8s.io/v1", "NetworkPolicy", {"podSelector": {}}), "is forbidden: "),
            (thing("networking.istio.io/v1beta1", "VirtualService", {"hosts": ["a"]}),
             "is forbidden: "),
            (thing("route.openshift.io/v1", "Route", {
                "to": {"kind": "Service", "name": "x"}, "tls": {"termination": "reencrypt"}}),
             "spec.tls.termination: Forbidden: Knit's router does edge and passthrough"),
        ]
        warned = [
            (thing("v1", "Service", {"sessionAffinity": "ClientIP", "ports": [{"port": 80}]}),
             "Warning: spec.sessionAffinity is stored but has no effect on Knit"),
            (pod({"livenessProbe": {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 9}}),
             "Warning: spec.containers[0].livenessProbe.terminationGracePeriodSeconds is stored but "
             "has no effect on Knit"),
            (thing("operator.knative.dev/v1beta1", "KnativeEventing", {},
                   namespace="knative-eventing"), "Warning: "),
        ]
        for version in ("1.20", "1.35"):
            for manifest, want in refused:
                with self.subTest(want, kubectl=version):
                    self.assertIn(want, self.answer(manifest, version=version))
            for manifest, want in warned:
                with self.subTest(want, kubectl=version):
                    self.assertIn(want, self.answer(
                        manifest, "apply", "--dry-run=server", "-f", "-", version=version, code=0))

    def test_verbs_that_are_not_there_say_so(self):
        platform = self.platform
        platform.hello()
        pod = platform.pods("hello")[0]["metadata"]["name"]
        rows = [
            (("exec", pod, "--", "ls"), "not supported yet by knit"),
            (("port-forward", pod, "8080:8080"), "not supported yet by knit"),
            (("attach", pod), "not supported yet by knit"),
            (("create", "role", "r", "--verb=get", "--resource=pods"),
             "Knit does not evaluate users' RBAC objects yet"),
            (("create", "quota", "q", "--hard=pods=1"), "Knit does not enforce quotas"),
            (("create", "job", "j", "--image=knit.local/hello"), "Knit does not run Jobs"),
        ]
        for version in ("1.20", "1.35"):
            for arguments, want in rows:
                with self.subTest(arguments, kubectl=version):
                    self.assertIn(want, self.answer("", *arguments, version=version))
            crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                   "metadata": {"name": "foos.x.y"}, "spec": {
                       "group": "x.y", "names": {"plural": "foos", "kind": "Foo"},
                       "scope": "Namespaced", "versions": [{
                           "name": "v1", "served": True, "storage": True,
                           "schema": {"openAPIV3Schema": {"type": "object"}}}]}}
            self.assertIn("CustomResourceDefinitions of other kinds are not supported yet",
                          self.answer(crd, version=version))
            self.assertIn("server-side apply is not supported yet by knit", self.answer(
                config_map(a="b"), "apply", "--server-side", "-f", "-", version=version))

    def test_short_names_mean_what_they_mean_upstream(self):
        for version in ("1.20", "1.35"):
            binary = kubectl_path(version)
            for short, kind in (("pa", "PodAutoscaler"), ("svc", "Service"), ("gw", "Gateway"),
                                ("ksvc", "Service"), ("ev", "Event"), ("crd",
                                                                        "CustomResourceDefinition")):
                with self.subTest(short, kubectl=version):
                    done = self.platform.kubectl("get", short, "-A", "-o", "json", binary=binary)
                    kinds = {i["kind"] for i in json.loads(done.stdout)["items"]}
                    self.assertEqual(kinds, {kind})

    def test_sizes(self):
        """spec/kubeapi.md 1: a body of at most 3 MiB, a stored object of at most 1.5 MiB."""
        rows = [
            ("more than a ConfigMap may hold", config_map(a="x" * 1_600_000),
             "Too long: may not be more than 1048576 bytes"),
            ("more than is stored", ksvc(container={"env": [
                {"name": "A", "value": "x" * 1_700_000}]}),
             "services.serving.knative.dev default/bad is "),
            ("more than a body may have", config_map(a="x" * 4_000_000), "too large"),
        ]
        with tempfile.TemporaryDirectory() as at:
            for name, manifest, want in rows:
                with self.subTest(name):
                    path = os.path.join(at, "big.json")
                    with open(path, "w", encoding="utf-8") as f:
                        json.dump(manifest, f)
                    self.assertIn(want, self.answer("", "create", "-f", path))

    def test_conflicts(self):
        """spec/kubeapi.md 1.4: an update of an old version is refused, a second create too."""
        self.answer(config_map("conflict", a="1"), "create", "-f", "-", code=0)
        self.assertIn('configmaps "conflict" already exists',
                      self.answer(config_map("conflict", a="1"), "create", "-f", "-"))
        old = self.platform.get("configmap", "conflict")
        self.platform.kubectl("patch", "configmap", "conflict", "-p", '{"data":{"a":"2"}}')
        old["data"]["a"] = "3"
        self.assertIn('Operation cannot be fulfilled on configmaps "conflict": the object has been '
                      "modified; please apply your changes to the latest version and try again",
                      self.answer(old, "replace", "-f", "-"))

    def test_a_second_gateway_on_the_same_port_and_host(self):
        got = self.answer({
            "apiVersion": "networking.istio.io/v1beta1", "kind": "Gateway",
            "metadata": {"name": "twin", "namespace": "knative-serving"},
            "spec": {"selector": {"knative": "ingressgateway"}, "servers": [{
                "port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"],
                "tls": {"mode": "SIMPLE", "credentialName": "wildcard-certs"}}]}}, code=0)
        want = ("host * is claimed by the older Gateway knative-serving/knative-ingress-gateway")
        self.assertIn("Warning: ", got)
        self.assertIn(want, got)
        try:
            def dropped():
                conditions = self.platform.get("gateway.networking.istio.io", "twin", "-n",
                                               "knative-serving")["status"]["conditions"]
                return [c for c in conditions if c["status"] == "False" and want in c["message"]]
            self.assertEqual(eventually("a condition", dropped, 30)[0]["reason"], "ServerDropped")
            self.assertEqual(self.platform.hello().stdout, "Hello Openshift!\n")
        finally:
            self.platform.kubectl("delete", "gateway.networking.istio.io", "twin", "-n",
                                  "knative-serving")

    def test_the_certificate_that_is_missing_is_named(self):
        platform = self.platform
        secret = platform.get("secret", "wildcard-certs", "-n", "istio-system")
        platform.kubectl("delete", "secret", "wildcard-certs", "-n", "istio-system")
        try:
            def named():
                conditions = platform.get("gateway.networking.istio.io", "knative-ingress-gateway",
                                          "-n", "knative-serving")["status"]["conditions"]
                return [c["message"] for c in conditions
                        if c["status"] == "False" and "wildcard-certs" in c["message"]]
            self.assertIn("istio-system", eventually("a condition", named, 30)[0])
        finally:
            for field in ("resourceVersion", "uid", "creationTimestamp"):
                secret["metadata"].pop(field)
            platform.apply(json.dumps(secret))
        eventually("the service is reached again",
                   lambda: platform.hello().stdout == "Hello Openshift!\n", 40)

    def test_what_keeps_a_service_from_ready_is_said(self):
        """Done when 2: it does not become Ready, and says so."""
        platform = self.platform
        rows = [
            ("noimage", {"image": "docker.io/nobody/nothing:1"}, "False", "RevisionFailed",
             'Unable to fetch image "docker.io/nobody/nothing:1": '),
            ("crashes", {"args": ["--exit", "3"]}, "False", "RevisionFailed",
             "Container failed with: "),
            ("badcommand", {"command": ["/nope"]}, "Unknown", "RunContainerError", "/nope"),
            ("nosecret", {"envFrom": [{"secretRef": {"name": "missing"}}]}, "Unknown",
             "CreateContainerConfigError", 'secret "missing" not found'),
            ("neverlistens", {"args": ["--never-listen"]}, "Unknown", "ContainersNotReady",
             "must listen on port 8080 ($PORT) of every address"),
            ("onlylocal", {"args": ["--listen6", "8080"]}, "Unknown", "ContainersNotReady",
             "must listen on port 8080 ($PORT) of every address, not only of localhost"),
        ]
        try:
            for name, container, *_ in rows:
                platform.apply(json.dumps(ksvc(name, container=container)))

            def condition(name):
                conditions = platform.get("ksvc", name).get("status", {}).get("conditions", [])
                return {c["type"]: c for c in conditions}
            for name, _, status, reason, message in rows:
                with self.subTest(name):
                    got = eventually(f"{name} says why", lambda n=name, r=reason: (
                        condition(n).get("ConfigurationsReady", {}).get("reason") == r and
                        condition(n)), 90)
                    self.assertEqual(got["ConfigurationsReady"]["status"], status)
                    self.assertIn(message, got["ConfigurationsReady"]["message"])
                    self.assertNotEqual(got["Ready"]["status"], "True")
            done = platform.kubectl("wait", "ksvc/neverlistens", "--for=condition=Ready",
                                    "--timeout=2s", check=False)
            self.assertNotEqual(done.returncode, 0)
        finally:
            platform.kubectl("delete", "ksvc", *[row[0] for row in rows], check=False)


class Machine(unittest.TestCase):
    """What `knit up` says no to, and what it does when the machine fails under it."""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        run("ip", "link", "set", "lo", "up", check=False)
        self.at = tempfile.mkdtemp(prefix="knit-bad-")

    def tearDown(self):
        run("umount", self.at, check=False)
        shutil.rmtree(self.at, ignore_errors=True)

    def refused(self, *arguments, env=None):
        done = run(KNIT, "up", *arguments, check=False, env=env)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(lines), 1, done.stderr)
        return lines[0]

    def test_directories_that_cannot_be_used(self):
        read_only = self.at + "/ro"
        os.mkdir(read_only)
        run("mount", "-t", "tmpfs", "-o", "ro", "none", read_only)
        try:
            self.assertIn(read_only, self.refused("--data", read_only + "/data", "--run",
                                                  self.at + "/run"))
            self.assertIn("Read-only file system", self.refused(
                "--data", read_only + "/data", "--run", self.at + "/run"))
            self.assertIn(read_only, self.refused("--data", self.at + "/data", "--run",
                                                  read_only + "/run"))
        finally:
            run("umount", read_only)
        with open(self.at + "/file", "w", encoding="utf-8"):
            pass
        self.assertIn(self.at + "/file", self.refused("--data", self.at + "/file"))
        os.mkdir(self.at + "/private", 0o700)
        self.assertIn(f"its user cannot enter {self.at}", self.refused("--data", self.at +
                                                                       "/private/data"))
        os.mkdir(self.at + "/mine")
        with open(self.at + "/mine/letter", "w", encoding="utf-8"):
            pass
        self.assertIn("holds files that are not Knit's: give --data an empty or absent directory",
                      self.refused("--data", self.at + "/mine"))

    def test_settings_that_cannot_be(self):
        """Flags > KNIT_* > config file > default; an unknown key gets a did-you-mean."""
        config = self.at + "/knit.conf"
        rows = [
            (("--api-prot", "1"), {}, "", "--api-prot", "--api-port"),
            ((), {"KNIT_API_PROT": "1"}, "", "environment: unknown setting KNIT_API_PROT",
             "did you mean KNIT_API_PORT?"),
            ((), {}, "api-prot: 1\n", config + ':1: unknown setting "api-prot"',
             'did you mean "api-port"?'),
            (("--api-port", "70000"), {}, "", 'flag --api-port: api-port is "70000"',
             "must be a number in 1..65535"),
            ((), {"KNIT_API_PORT": "x"}, "", 'environment KNIT_API_PORT: api-port is "x"',
             "must be a number"),
            ((), {}, "# mine\n\nlog-level: loud\n", config + ':3: log-level is "loud"',
             "must be one of debug, info, warn, error"),
            (("--pod-cidr", "10.0.0.0/33"), {}, "", "pod-cidr", "10.0.0.0/33"),
            (("--pod-cidr", "172.30.0.0/20"), {}, "", "pod-cidr and service-cidr overlap", ""),
            (("--apps-domain", "<your-domain>"), {}, "", 'apps-domain "<your-domain>" is no DNS name',
             ""),
        ]
        for flags, env, text, *wanted in rows:
            with self.subTest(wanted[0]):
                with open(config, "w", encoding="utf-8") as f:
                    f.write(text)
                done = run(KNIT, "up", "--config", config, "--data", self.at + "/data", *flags,
                           check=False, env=env)
                self.assertNotEqual(done.returncode, 0)
                for want in wanted:
                    self.assertIn(want, done.stderr)
        self.assertFalse(os.path.exists(self.at + "/data"))

    def test_a_second_knit_and_addresses_in_use(self):
        platform = Platform()
        other = ("--data", self.at + "/data", "--run", self.at + "/run")
        try:
            platform.up()
            mine = f"data directory {platform.data}"
            self.assertIn(mine, self.refused("--data", platform.data, "--run", platform.run_dir))
            self.assertIn("pod range 10.128.0.0/20 is in use by another running Knit",
                          self.refused(*other))
            got = self.refused(*other, "--pod-cidr", "10.200.0.0/20", "--service-cidr",
                               "172.31.0.0/16", "--dns-ip", "172.31.0.10")
            self.assertIn(mine, got)
            self.assertIn(f"run directory {platform.run_dir}", got)
            self.assertIn("stop it with `knit down`", got)
            # The first is none the worse for it.
            platform.kubectl("get", "namespaces")
        finally:
            platform.down()
        run("ip", "route", "add", "10.128.4.0/24", "dev", "lo")
        try:
            got = self.refused(*other)
            self.assertIn('address range 10.128.0.0/20: the host has the route "10.128.4.0/24', got)
            self.assertIn("choose another with --pod-cidr or --service-cidr", got)
        finally:
            run("ip", "route", "del", "10.128.4.0/24", "dev", "lo")

    def test_ports_in_use_are_named_and_others_taken(self):
        held = []
        for port in (6443, 443, 80):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("0.0.0.0", port))
            s.listen(1)
            held.append(s)
        platform = Platform()
        try:
            said = platform.up().stdout
            self.assertIn("https://127.0.0.1:6444 (6443 is in use)", said)
            self.assertIn("0.0.0.0:8443 router-https (443 is in use)", said)
            self.assertIn("0.0.0.0:8080 router-http (80 is in use)", said)
            platform.kubectl("get", "namespaces")
            # A line per step with its time, memory, the next commands to type.
            for step in ("checks: ", "supervisor started", "proxy ready", "node ready",
                         "server ready: API at 127.0.0.1:6444", "ready"):
                self.assertRegex(said, r"(?m)^ +\d+\.\d{3} s  " + step)
            self.assertRegex(said, r"(?m)^  memory   \d+\.\d MiB \(PSS; RSS \d+\.\d MiB\): supervisor "
                                   r"\d+\.\d, server \d+\.\d, node \d+\.\d, proxy \d+\.\d$")
            for command in (f"export KUBECONFIG={platform.kubeconfig}", "kubectl get namespaces",
                            f"knit status --run {platform.run_dir}",
                            f"knit down --run {platform.run_dir}"):
                self.assertIn("\n  " + command, said)
            status = run(KNIT, "status", "--run", platform.run_dir).stdout
            for process in ("supervisor", "server", "node", "proxy"):
                self.assertRegex(status, rf"(?m)^{process} +(ready|running) +\d+ +0 ")
            self.assertIn("0.0.0.0:8443 router-https", status)
            self.assertIn("  memory ", status)
            self.assertRegex(run(KNIT, "version").stdout, r"^knit \d+\.\d+\.\d+\n$")
        finally:
            platform.down()
            for s in held:
                s.close()

    def test_a_full_disk_loses_nothing_and_recovers(self):
        disk = self.at
        run("mount", "-t", "tmpfs", "-o", "size=48m,mode=0755", "none", disk)
        platform = Platform()
        shutil.rmtree(platform.data)
        platform.data = disk + "/data"
        platform.kubeconfig = platform.data + "/admin.kubeconfig"
        platform.root_crt = "/dev/null"
        cache = tempfile.mkdtemp(prefix="knit-kube-")
        try:
            run(KNIT, "up", "--data", platform.data, "--run", platform.run_dir)

            def kubectl(*arguments, **more):
                return run(platform.kubectl_binary, "--kubeconfig", platform.kubeconfig,
                           "--cache-dir", cache, *arguments, **more)
            kubectl("create", "configmap", "before", "--from-literal=a=b")
            with open(disk + "/ballast", "wb") as f:
                try:
                    while True:
                        f.write(b"x" * 65536)
                        f.flush()
                except OSError:
                    pass
            accepted, refused = ["before"], ""
            for i in range(200):
                done = kubectl("create", "-f", "-", check=False, stdin=json.dumps(
                    config_map(f"full-{i}", a="x" * 200_000)))
                if done.returncode == 0:
                    accepted.append(f"full-{i}")
                else:
                    refused = done.stderr
                    break
            self.assertIn("disk", refused)
            self.assertRegex(refused, "full|space")
            self.assertLess(len(refused), 1000)
            # Reads go on, what was refused is not there.
            names = {c["metadata"]["name"] for c in json.loads(
                kubectl("get", "configmaps", "-o", "json").stdout)["items"]}
            self.assertEqual(names - {"kube-root-ca.crt"}, set(accepted))
            os.unlink(disk + "/ballast")

            def works():
                done = kubectl("create", "configmap", "after", "--from-literal=a=b", check=False)
                return done.returncode == 0 or "already exists" in done.stderr
            eventually("a create works again", works, 40, 0.5)
            # All of it is there after a restart too.
            run(KNIT, "down", "--run", platform.run_dir)
            run(KNIT, "up", "--data", platform.data, "--run", platform.run_dir)
            names = {c["metadata"]["name"] for c in json.loads(
                kubectl("get", "configmaps", "-o", "json").stdout)["items"]}
            self.assertEqual(names - {"kube-root-ca.crt"}, {*accepted, "after"})
        finally:
            run(KNIT, "down", "--purge", "--run", platform.run_dir, check=False)
            shutil.rmtree(cache)
            platform.down()


if __name__ == "__main__":
    unittest.main(verbosity=2)
