"""Records tests/check/cluster from a Knit that carries the procedure's manifests: the lists that
`knit check` asks a cluster for. Run it where it may make a platform:
    KNIT_BUILD=build/release unshare --net --mount --fork python3 tests/check/record.py"""
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from knit_platform import Platform, run  # noqa: E402

KINDS = """namespaces nodes pods services configmaps deployments.apps networkpolicies.networking.k8s.io
servicemeshcontrolplanes.maistra.io servicemeshmemberrolls.maistra.io gateways.networking.istio.io
virtualservices.networking.istio.io serviceentries.networking.istio.io
destinationrules.networking.istio.io envoyfilters.networking.istio.io
peerauthentications.security.istio.io authorizationpolicies.security.istio.io
knativeservings.operator.knative.dev knativeeventings.operator.knative.dev
knativekafkas.operator.serverless.openshift.io services.serving.knative.dev
routes.route.openshift.io ingresses.config.openshift.io
customresourcedefinitions.apiextensions.k8s.io""".split()
OUT = os.path.join(ROOT, "tests", "check", "cluster")


def pruned(item):
    item["metadata"].pop("managedFields", None)
    annotations = item["metadata"].get("annotations", {})
    annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)
    item.pop("apiVersion", None)  # as a list carries neither
    item.pop("kind", None)
    return item


def main():
    run("ip", "link", "set", "lo", "up")
    platform = Platform()
    try:
        platform.up()
        platform.wildcard_secret()
        files = sorted(f for f in os.listdir(os.path.join(ROOT, "tests", "seed"))
                       if f.endswith(".yaml"))
        for name in files:
            done = platform.kubectl("apply", "-f", os.path.join(ROOT, "tests", "seed", name),
                                    check=False)
            print(done.stdout + done.stderr, end="")
        platform.wait_ready("ksvc/hello")
        groups = json.loads(platform.kubectl("get", "--raw", "/apis").stdout)
        with open(os.path.join(OUT, "apis.json"), "w", encoding="utf-8") as out:
            out.write(json.dumps(groups, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")
        for kind in KINDS:
            group = kind.partition(".")[2]
            versions = [g for g in groups["groups"] if g["name"] == group]
            bases = [f"/apis/{v['groupVersion']}" for g in versions for v in g["versions"]]
            for base in bases if group else ["/api/v1"]:
                done = platform.kubectl("get", "--raw", f"{base}/{kind.partition('.')[0]}",
                                        check=False)
                if done.returncode == 0:
                    break
            else:
                print(f"{kind} is not served")
                continue
            whole = json.loads(done.stdout)
            items = [pruned(i) for i in whole.pop("items") or []]
            whole["metadata"] = {"resourceVersion": whole["metadata"].get("resourceVersion", "1")}
            if kind == "customresourcedefinitions.apiextensions.k8s.io":
                items = [{"metadata": i["metadata"], "spec": {}} for i in items
                         if i["metadata"]["name"].startswith("gateways.")]
            with open(os.path.join(OUT, kind + ".json"), "w", encoding="utf-8") as out:
                out.write(json.dumps({**whole, "items": []}, separators=(",", ":"))[:-2] + "\n"
                          + ",\n".join(json.dumps(i, separators=(",", ":")) for i in items) + "]}\n")
    finally:
        platform.down()


if __name__ == "__main__":
    main()
