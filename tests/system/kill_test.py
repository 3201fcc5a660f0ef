"""Done when 5 and 6: processes die and come back; none can do what is another's."""
import os
import signal
import threading
import time
import unittest

from knit_platform import SystemTest, eventually, run


class Kill(SystemTest):
    def pid(self, name):
        return self.platform.processes().get(name, 0)

    def load_while(self, action):
        """Runs curl in a loop in the background while action() runs; returns the failures."""
        stop = threading.Event()
        failures = []
        count = [0]

        def loop():
            while not stop.is_set():
                began = time.monotonic()
                done = self.platform.hello(timeout=10)
                count[0] += 1
                if done.stdout != "Hello Openshift!\n":
                    failures.append((done.returncode, done.stderr, time.monotonic() - began))

        threads = [threading.Thread(target=loop) for _ in range(4)]
        for t in threads:
            t.start()
        try:
            action()
        finally:
            stop.set()
            for t in threads:
                t.join()
        self.assertGreater(count[0], 10)
        return failures

    def kill(self, name):
        before = self.pid(name)
        os.kill(before, signal.SIGKILL)
        eventually(f"{name} restarted", lambda: self.pid(name) not in (0, before), 10)
        time.sleep(1)

    def test_server_and_node_die_unnoticed(self):
        self.assertEqual(self.platform.hello().stdout, "Hello Openshift!\n")
        router = self.platform.router_ip()
        self.platform.router_ip = lambda: router
        for name in ("server", "node"):
            with self.subTest(process=name):
                self.assertEqual(self.load_while(lambda: self.kill(name)), [])
        del self.platform.router_ip
        eventually("API is back", lambda: self.platform.get("ksvc", "hello"), 10)
        self.assertEqual(self.platform.hello().stdout, "Hello Openshift!\n")

    def test_proxy_dies_and_only_requests_in_flight_fail(self):
        self.assertEqual(self.platform.hello().stdout, "Hello Openshift!\n")
        router = self.platform.router_ip()
        self.platform.router_ip = lambda: router
        failures = self.load_while(lambda: self.kill("proxy"))
        del self.platform.router_ip
        self.assertLessEqual(len(failures), 4, failures)
        self.assertEqual(self.platform.hello().stdout, "Hello Openshift!\n")

    def test_pods_survive_the_node(self):
        self.platform.hello()
        pod = self.platform.pods("hello")[0]
        self.kill("node")
        self.assertEqual(self.platform.hello().stdout, "Hello Openshift!\n")
        again = self.platform.pods("hello")[0]
        self.assertEqual(pod["metadata"]["uid"], again["metadata"]["uid"])
        statuses = {c["name"]: c["restartCount"] for c in again["status"]["containerStatuses"]}
        self.assertEqual(statuses["user-container"], 0)

    def test_the_proxy_can_neither_read_secrets_nor_trace(self):
        pid = self.pid("proxy")
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            status = f.read()
        uid = next(l for l in status.splitlines() if l.startswith("Uid:")).split()[1]
        self.assertNotEqual(uid, "0")
        self.assertIn("NoNewPrivs:\t1", status)
        self.assertIn("Seccomp:\t2", status)
        effective = next(l for l in status.splitlines() if l.startswith("CapEff:")).split()[1]
        self.assertEqual(int(effective, 16), 0)
        script = f"""
import os, sys, glob
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
bad = []
for root, dirs, files in os.walk({self.platform.data!r}):
    for f in files:
        path = os.path.join(root, f)
        try:
            data = open(path, 'rb').read(64)
            if b'PRIVATE KEY' in open(path, 'rb').read() or path.endswith('.db'): bad.append(path)
        except OSError: pass
print(bad)
sys.exit(1 if bad else 0)
"""
        run("python3", "-c", script)
        for name in ("server", "node"):
            other = self.pid(name)
            done = run("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "cat",
                       f"/proc/{other}/environ", check=False)
            self.assertNotEqual(done.returncode, 0)
            done = run("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "strace",
                       "-p", other, "-o", "/dev/null", check=False, timeout=5)
            self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
