"""Done when 1: `make run` with a changed seed walks to that seed's own curl; without `mtls: true` the
strict step fails, with exit status 1."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from knit_platform import KNIT, ROOT, SEED, run

DOMAIN = "x.test"


class Walk(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        run("ip", "link", "set", "lo", "up", check=False)
        self.scratch = tempfile.mkdtemp(prefix="knit-walk-test-")
        os.chmod(self.scratch, 0o755)
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def walk(self, **edits):
        """Copies the seed, replaces per file (old, new) pairs, walks it; returns (status, output)."""
        seed = os.path.join(self.scratch, "seed")
        shutil.copytree(SEED, seed)
        for name, pairs in edits.items():
            path = os.path.join(seed, name.replace("__", "-") + ".yaml")
            with open(path, encoding="utf-8") as f:
                text = f.read()
            for old, new in pairs:
                self.assertIn(old, text, path)
                text = text.replace(old, new)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("KNIT_")}
        done = subprocess.run(
            [sys.executable, os.path.join(ROOT, "tools", "walk"), "--seed", seed, "--domain", DOMAIN,
             "--data", os.path.join(self.scratch, "data"), "--run", os.path.join(self.scratch, "run"),
             "--knit", KNIT, "--stop"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, env=clean)
        return done.returncode, done.stdout

    def test_a_changed_seed_walks_to_its_own_curl(self):
        status, output = self.walk(
            knative__service=[("name: hello\n", "name: hallo\n")],
            smcp=[("name: basic", "name: grund")])
        self.assertEqual(status, 0, output)
        self.assertRegex(output, re.escape(f"$ curl --cacert root.crt https://hallo-default.{DOMAIN}")
                         + r"\nHello Openshift!")
        self.assertEqual(output.count("zero pods after"), 2, output)
        self.assertRegex(output, r"accepted by broker default/default, on disk as number 0\n"
                                 r" +trigger to-hallo -> http://hallo.default.svc.cluster.local: "
                                 r"finished\n(?s:.*?)attempt 1: status 202\n[^\n]*  delivered")
        # 1.4.1, on the files and on what runs.
        self.assertRegex(output, r"\$ knit check --quiet [^\n]*smcp.yaml")
        self.assertRegex(output, r"\$ knit check --quiet --kubeconfig [^\n]*\n(?s:.)*?"
                                 r"\(\d+ checks passed, \d+ had nothing to look at, "
                                 r"\d+ objects, profile ossm2\)")

    def test_without_mtls_the_strict_step_fails(self):
        status, output = self.walk(smcp=[("      mtls: true", "      mtls: false")])
        self.assertEqual(status, 1, output)
        self.assertIn("FAILED: plaintext reached the pod: the mesh is not strict", output)
        self.assertIn("Hello Openshift!", output)  # all before worked


if __name__ == "__main__":
    unittest.main(verbosity=2)
