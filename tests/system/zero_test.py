"""Done when 4: scale to zero on time, and back under a burst."""
import concurrent.futures
import time
import unittest

from knit_platform import SystemTest, eventually


class Zero(SystemTest):
    def replicas(self, service):
        items = self.platform.get("deployments", "-l", f"serving.knative.dev/service={service}")["items"]
        return items[0]["spec"].get("replicas", 1)

    def test_default_service_goes_to_zero_within_60_to_64_seconds(self):
        self.assertEqual(self.platform.hello().stdout, "Hello Openshift!\n")
        last = time.monotonic()
        eventually("Deployment at 0", lambda: self.replicas("hello") == 0, 90, 0.2)
        took = time.monotonic() - last
        self.assertGreaterEqual(took, 58)
        self.assertLessEqual(took, 66)
        eventually("no Pod", lambda: not self.platform.pods("hello"), 5, 0.2)
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: self.platform.hello().stdout, range(200)))
        self.assertEqual(set(answers), {"Hello Openshift!\n"})

    def test_concurrency_one_with_five_pods_at_most(self):
        platform = self.platform
        platform.apply(platform.service(
            "narrow", annotations={"autoscaling.knative.dev/max-scale": "5",
                                   "autoscaling.knative.dev/window": "6s"},
            spec={"containerConcurrency": 1}))
        platform.wait_ready("ksvc/narrow")
        most = 0
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = [pool.submit(platform.hello, "narrow") for _ in range(100)]
            while not all(a.done() for a in answers):
                most = max(most, len(platform.pods("narrow")))
                time.sleep(0.2)
        self.assertEqual({a.result().stdout for a in answers}, {"Hello Openshift!\n"})
        self.assertLessEqual(most, 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
