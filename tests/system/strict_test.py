"""Done when 3: strict mTLS is real, from outside and inside the mesh."""
import os
import re
import unittest

from knit_platform import DOMAIN, SystemTest, eventually, run

HELLO = "Hello Openshift!\n"
LOCAL = "hello.default.svc.cluster.local"


class Strict(SystemTest):
    def pod_ip(self, service="hello"):
        self.platform.hello(service)
        pods = [p for p in self.platform.pods(service) if "deletionTimestamp" not in p["metadata"]]
        self.assertTrue(pods)
        return pods[0]["status"]["podIP"]

    def cert(self, account="default/default"):
        directory = os.path.join(self.platform.data, "cert-" + account.replace("/", "-"))
        os.makedirs(directory, exist_ok=True)
        self.platform.knit("cert", "issue", "--sa", account, "--out", directory)
        return ["--cert", f"{directory}/cert-chain.pem", "--key", f"{directory}/key.pem"]

    def forge(self, name, uri, authority, days=1):
        """A leaf with that SPIFFE id: signed by the key pair `authority`, or by itself."""
        base = os.path.join(self.platform.data, "forged-" + name)
        san = f"subjectAltName=URI:{uri}"
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", base + ".key")
        if authority is None:
            run("openssl", "req", "-x509", "-key", base + ".key", "-out", base + ".crt", "-subj", "/CN=x",
                "-days", days, "-addext", san)
        else:
            run("openssl", "req", "-new", "-key", base + ".key", "-subj", "/CN=x", "-addext", san, "-out",
                base + ".csr")
            run("openssl", "x509", "-req", "-in", base + ".csr", "-CA", authority + ".crt", "-CAkey",
                authority + ".key", "-days", days, "-copy_extensions", "copy", "-out", base + ".leaf")
            with open(base + ".crt", "w", encoding="utf-8") as out:
                for part in (base + ".leaf", authority + ".crt"):
                    with open(part, encoding="utf-8") as f:
                        out.write(f.read())
        return ["--cert", base + ".crt", "--key", base + ".key"]

    def refused_in_the_handshake(self, url, *credentials):
        # TLS 1.2 ends its handshake only after the server has judged the certificate (curl has a status of
        # its own for the alert "certificate expired"); with 1.3 the client is done before, so that it hears
        # of it with its first write or read.
        old = run("curl", "-sSk", "-m", "5", "--tls-max", "1.2", *credentials, url, check=False)
        self.assertIn(old.returncode, (35, 60), old.stderr)
        new = run("curl", "-sSk", "-m", "5", *credentials, url, check=False)
        self.assertIn(new.returncode, (35, 55, 56), new.stderr)
        self.assertEqual((old.stdout, new.stdout), ("", ""))

    def plaintext(self, url, *more):
        return run("curl", "-sS", "-i", "-m", "3", *more, url, check=False)

    def no_http_byte(self, url):
        done = self.plaintext(url)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")

    def run_pod(self, name, namespace, command, injected=True, account="default"):
        """Runs it to its end: phase and output."""
        annotation = ', annotations: {sidecar.istio.io/inject: "true"}' if injected else ""
        self.platform.apply(f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}{annotation}}}
spec:
  restartPolicy: Never
  serviceAccountName: {account}
  containers:
  - name: ask
    image: knit.local/hello
    command: [{", ".join(f"'{word}'" for word in command)}]
""")
        phase = eventually("the pod ends", lambda: (lambda p: p if p in ("Succeeded", "Failed") else "")(
            self.platform.path("pod", name, "-n", namespace, "-o", "jsonpath={.status.phase}")), 30)
        return phase, self.platform.kubectl("logs", name, "-n", namespace, "-c", "ask").stdout

    def test_plaintext_from_the_host_gets_no_byte(self):
        self.no_http_byte(f"http://{self.pod_ip()}:8012/")

    def test_a_pod_outside_the_mesh_gets_no_byte(self):
        address = self.pod_ip()
        self.platform.kubectl("create", "namespace", "outside")
        phase, output = self.run_pod("ask", "outside", ["/hello", "get", "-i", f"http://{address}:8012/"],
                                     injected=False)
        self.assertEqual(phase, "Failed")
        self.assertNotIn("HTTP/", output)
        self.assertNotIn("Hello", output)

    def test_mesh_certificate_is_answered_and_strangers_are_refused(self):
        url = f"https://{self.pod_ip()}:8012/"
        good = run("curl", "-sSk", "-m", "5", *self.cert(), url, check=False)
        self.assertEqual(good.stdout, HELLO, good.stderr)
        mesh = os.path.join(self.platform.data, "pki/mesh/istio-system/intermediate")
        me = "spiffe://cluster.local/ns/default/sa/default"
        # Made the same way as the strangers: what is refused below is refused for the reason in its name.
        twin = run("curl", "-sSk", "-m", "5", *self.forge("twin", me, mesh), url, check=False)
        self.assertEqual(twin.stdout, HELLO, twin.stderr)
        api = os.path.join(self.platform.data, "pki/api/intermediate")
        for name, credentials in (
                ("no certificate", []),
                ("expired", self.forge("expired", me, mesh, days=0)),
                ("another trust domain", self.forge(
                    "domain", "spiffe://other.example/ns/default/sa/default", mesh)),
                ("another CA of Knit's", self.forge("api", me, api)),
                ("its own CA", self.forge("stranger", me, None)),
                ("no SPIFFE id", self.forge("https", "https://cluster.local/ns/default/sa/default", mesh))):
            with self.subTest(name):
                self.refused_in_the_handshake(url, *credentials)

    def test_excluded_ports_answer_plaintext(self):
        self.assertRegex(self.plaintext(f"http://{self.pod_ip()}:8022/").stdout, r"^HTTP/1.1 404 ")
        platform = self.platform
        platform.apply(platform.service("ports", container={
            "args": ["--listen", "8444", "--listen", "8445"]}))
        platform.wait_ready("ksvc/ports")
        address = self.pod_ip("ports")
        self.assertTrue(self.plaintext(f"http://{address}:8444/").stdout.endswith(HELLO))
        self.no_http_byte(f"http://{address}:8445/")  # the same app, at a port that is not excluded

    def test_the_local_gateway_wants_a_mesh_certificate(self):
        self.pod_ip()
        gateway = self.platform.path("service", "-n", "istio-system", "knative-local-gateway", "-o",
                                     "jsonpath={.spec.clusterIP}")
        pods = self.platform.get("pods", "-n", "istio-system", "-l", "istio=ingressgateway")["items"]
        for address, port in ((pods[0]["status"]["podIP"], 8081), (gateway, 80)):
            with self.subTest(f"{address}:{port}"):
                to = ["--connect-to", f"{LOCAL}:443:{address}:{port}"]
                done = run("curl", "-sSk", "-m", "5", *to, *self.cert(), "-w", "%{http_code}",
                           f"https://{LOCAL}/", check=False)
                self.assertEqual(done.stdout, HELLO + "200", done.stderr)
                self.refused_in_the_handshake(f"https://{LOCAL}/", *to)
                done = self.plaintext(f"http://{LOCAL}/", "--connect-to", f"{LOCAL}:80:{address}:{port}")
                self.assertNotEqual(done.returncode, 0)
                self.assertEqual(done.stdout, "")

    def test_calls_inside_the_mesh_carry_identities(self):
        self.pod_ip()
        self.platform.kubectl("create", "serviceaccount", "caller")
        phase, output = self.run_pod("ask", "default", [
            "/hello", "get", "-i", "-H", "K-Network-Hash: forged", "-H", "K-Anything: forged",
            "-H", "X-Forwarded-Client-Cert: By=spiffe://cluster.local/ns/forged/sa/forged",
            "-H", "Kn-Namespace: forged", "-H", "X-Kept: kept", f"http://{LOCAL}/headers"], account="caller")
        self.assertEqual(phase, "Succeeded", output)
        self.assertIn("HTTP/1.1 200 ", output)
        self.assertNotIn("forged", output)
        self.assertIn("X-Kept: kept", output)
        lines = re.findall(r"^X-Forwarded-Client-Cert: (.*)$", output, re.M | re.I)
        self.assertEqual(len(lines), 1, output)
        # Each element: who received (By) and who called (URI); the oldest caller first.
        hops = [dict(pair.split("=", 1) for pair in element.strip().split(";"))
                for element in lines[0].split(",")]
        self.assertEqual(hops[0]["URI"], "spiffe://cluster.local/ns/default/sa/caller")
        self.assertEqual(hops[-1]["By"], "spiffe://cluster.local/ns/default/sa/default")
        for before, after in zip(hops, hops[1:]):
            self.assertEqual(before["By"], after["URI"], lines)
        # The Service's mesh VirtualService leads there without a gateway; an activator is in between while
        # the revision has no burst capacity to spare (the default). Source: spec/mesh.md 3, serving.md 4.
        self.assertEqual([hop["By"] for hop in hops[:-1]],
                         ["spiffe://cluster.local/ns/knative-serving/sa/activator"])

    def test_what_a_client_outside_sends_does_not_arrive(self):
        answer = self.platform.curl(
            f"https://hello-default.{DOMAIN}/headers", "-H", "K-Network-Hash: forged", "-H",
            "K-Anything: forged", "-H", "Kn-Namespace: forged", "-H", "X-Kept: kept", "-H",
            "X-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/forged/sa/forged").stdout
        self.assertIn("X-Kept: kept", answer)
        self.assertNotIn("forged", answer)

    def test_the_switch_is_real(self):
        """Without `mtls: true` plaintext works, with it again it does not."""
        platform = self.platform
        url = f"http://{self.pod_ip()}:8012/"

        def switch(value):
            platform.kubectl("patch", "smcp", "basic", "-n", "istio-system", "--type", "merge", "-p",
                             '{"spec":{"security":{"dataPlane":{"mtls":%s}}}}' % value)
        self.no_http_byte(url)
        try:
            switch("null")
            eventually("plaintext works", lambda: self.plaintext(url).stdout.endswith(HELLO))
        finally:
            switch("true")
        eventually("strict again", lambda: self.plaintext(url).stdout == "")
        self.no_http_byte(url)


if __name__ == "__main__":
    unittest.main(verbosity=2)
