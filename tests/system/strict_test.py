"""Done when 3: strict mTLS is real, from outside and inside the mesh."""
import os
import unittest

from knit_platform import SystemTest, eventually, run

PLAIN_POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s%s}
spec:
  containers:
  - {name: shell, image: knit.local/hello}
"""


class Strict(SystemTest):
    def pod_ip(self):
        self.platform.hello()
        pods = self.platform.pods("hello")
        self.assertTrue(pods)
        return pods[0]["status"]["podIP"]

    def cert(self, account, *more):
        directory = os.path.join(self.platform.data, "cert-" + account.replace("/", "-"))
        os.makedirs(directory, exist_ok=True)
        self.platform.knit("cert", "issue", "--sa", account, "--out", directory, *more)
        return ["--cert", f"{directory}/cert-chain.pem", "--key", f"{directory}/key.pem"]

    def test_plaintext_from_the_host_gets_no_byte(self):
        done = run("curl", "-sS", "-i", "-m", "3", f"http://{self.pod_ip()}:8012/", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")

    def test_mesh_certificate_is_answered_and_strangers_are_refused(self):
        address = self.pod_ip()
        url = f"https://{address}:8012/"
        good = run("curl", "-sSk", "-m", "5", *self.cert("default/default"), url, check=False)
        self.assertEqual(good.stdout, "Hello Openshift!\n", good.stderr)
        none = run("curl", "-sSk", "-m", "5", url, check=False)
        self.assertNotEqual(none.returncode, 0)
        self.assertEqual(none.stdout, "")
        stranger = os.path.join(self.platform.data, "stranger")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", stranger + ".key", "-out", stranger + ".crt", "-subj", "/CN=x",
            "-days", "1", "-addext",
            "subjectAltName=URI:spiffe://cluster.local/ns/default/sa/default")
        other = run("curl", "-sSk", "-m", "5", "--cert", stranger + ".crt", "--key",
                    stranger + ".key", url, check=False)
        self.assertNotEqual(other.returncode, 0)
        self.assertEqual(other.stdout, "")

    def test_excluded_ports_answer_plaintext(self):
        done = run("curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}",
                   f"http://{self.pod_ip()}:8022/", check=False)
        self.assertRegex(done.stdout, r"^[2-5]\d\d$")

    def test_calls_inside_the_mesh_carry_identities(self):
        platform = self.platform
        platform.apply(PLAIN_POD % ("caller", "default", ', annotations: {sidecar.istio.io/inject: "true"}'))
        platform.kubectl("wait", "pod/caller", "--for=condition=Ready", "--timeout=30s")
        platform.apply("""
apiVersion: v1
kind: Pod
metadata: {name: ask, namespace: default, annotations: {sidecar.istio.io/inject: "true"}}
spec:
  restartPolicy: Never
  containers:
  - name: ask
    image: knit.local/hello
    command: [/hello, get, -H, "K-Network-Hash: forged", -H,
              "X-Forwarded-Client-Cert: By=spiffe://cluster.local/ns/forged/sa/forged",
              -H, "Kn-Namespace: forged", "http://hello.default.svc.cluster.local/headers"]
""")
        eventually("the pod ends", lambda: platform.path(
            "pod", "ask", "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed"), 30)
        output = platform.kubectl("logs", "ask", "-c", "ask").stdout
        self.assertNotIn("forged", output)
        self.assertIn("spiffe://cluster.local/ns/default/sa/default", output)

    def test_a_pod_outside_the_mesh_gets_no_byte(self):
        platform = self.platform
        address = self.pod_ip()
        platform.kubectl("create", "namespace", "outside")
        platform.apply("""
apiVersion: v1
kind: Pod
metadata: {name: ask, namespace: outside}
spec:
  restartPolicy: Never
  containers:
  - {name: ask, image: knit.local/hello, command: [/hello, get, "http://%s:8012/"]}
""" % address)
        phase = eventually("the pod ends", lambda: (lambda p: p if p in ("Succeeded", "Failed") else "")(
            platform.path("pod", "ask", "-n", "outside", "-o", "jsonpath={.status.phase}")), 30)
        self.assertEqual(phase, "Failed")
        self.assertNotIn("Hello", platform.kubectl("logs", "ask", "-n", "outside").stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
