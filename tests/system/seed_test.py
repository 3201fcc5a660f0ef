"""Done when 2: the seed's serving files in any order, by two kubectls, end in the curl."""
import os
import random
import unittest

from knit_platform import Platform, SERVING_FILES, kubectl_path, run

ROUNDS = int(os.environ.get("KNIT_ROUNDS", "2"))


class Seed(unittest.TestCase):
    def test_any_order_by_both_kubectls(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        run("ip", "link", "set", "lo", "up", check=False)
        seed = int(os.environ.get("KNIT_SEED", random.SystemRandom().randrange(1 << 30)))
        print(f"KNIT_SEED={seed}")
        shuffle = random.Random(seed)
        for number in range(ROUNDS):
            files = SERVING_FILES[:]
            shuffle.shuffle(files)
            version = ("1.20", "1.35")[number % 2]
            with self.subTest(order=files, kubectl=version):
                try:
                    kubectl_path(version)
                except unittest.SkipTest as why:
                    print(f"using kubectl 1.20 instead: {why}")
                    version = "1.20"
                platform = Platform(kubectl=version)
                try:
                    platform.up()
                    platform.wildcard_secret()
                    platform.seed(files)
                    platform.wait_ready("ksvc/hello")
                    answer = platform.hello()
                    self.assertEqual(answer.stdout, "Hello Openshift!\n", answer.stderr)
                    gateways = platform.kubectl(
                        "get", "gateway", "-A", "-o",
                        'jsonpath={range .items[*]}{@.metadata.namespace}{"/"}{@.metadata.name}'
                        '{" "}{@.spec.servers}{"\\n"}{end}').stdout
                    self.assertIn('knative-serving/knative-ingress-gateway [{"hosts":["*"],'
                                  '"port":{"name":"https","number":443,"protocol":"HTTPS"},'
                                  '"tls":{"credentialName":"wildcard-certs","mode":"SIMPLE"}}]',
                                  gateways)
                    services = platform.kubectl("get", "svc", "-A").stdout
                    line = next(l for l in services.splitlines() if " istio-ingressgateway " in l)
                    self.assertRegex(line, r"ClusterIP +172\.30\.\d+\.\d+ +<none> +"
                                           r"15021/TCP,80/TCP,443/TCP")
                finally:
                    platform.down()


if __name__ == "__main__":
    unittest.main(verbosity=2)
