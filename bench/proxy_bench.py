"""CPU per request of Knit's proxy beside HAProxy and nginx: P1 plain, P2 TLS in, P3 mTLS in and out."""
import json
import os
import shutil
import subprocess
import tempfile

from machine import DOMAIN, HELLO, children, core_count, cpu_seconds, free_port, load, pin, platform, wait_port
from results import median, p25

ORDER = 60
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
SECONDS = 1.5
CONNECTIONS = 64
BODY = "x" * 1023  # hello adds the line's end: 1 KiB
CASES = {  # name: (what, must and stretch beside HAProxy)
    "p1_plain": ("plain in, plain out", 0.80, 0.70),
    "p2_tls": ("TLS in, plain out", 0.85, 0.75),
    "p3_mtls": ("mTLS in and out", 0.85, 0.75),
}
NAMES = 1000  # entries of the table that routes by Host, in every proxy


def certificates(directory):
    """A CA, a server and a client of it: ECDSA P-256."""
    def openssl(*argv):
        subprocess.run(["openssl", *argv], cwd=directory, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-days", "2", "-subj", "/CN=bench")
    with open(f"{directory}/ext", "w", encoding="utf-8") as f:
        f.write("subjectAltName=DNS:bench.test,DNS:localhost\n")
    for name in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                "2", "-extfile", "ext", "-out", f"{name}.crt")
        with open(f"{directory}/{name}.pem", "w", encoding="utf-8") as out:
            for part in ("crt", "key"):
                with open(f"{directory}/{name}.{part}", encoding="utf-8") as f:
                    out.write(f.read())


class Peer:
    """A proxy in front of `backend` (plain) and `secure` (mTLS); one port per case."""

    def __init__(self, directory, backend, secure):
        if shutil.which(self.program) is None:
            raise AssertionError(f"{self.program} is not installed")
        self.directory, self.ports = directory, {case: free_port() for case in CASES}
        path = os.path.join(directory, f"{self.program}.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.config(backend, secure))
        self.process = subprocess.Popen(self.argv(path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_port(self.ports["p1_plain"])
        except AssertionError:
            self.process.kill()
            raise AssertionError(f"{self.program}: {self.process.stderr.read()[-400:]}") from None

    def pids(self):
        return children(self.process.pid)

    def target(self, case):
        d = self.directory
        if case == "p1_plain":
            return [f"http://bench.test/", "--connect", f"127.0.0.1:{self.ports[case]}"]
        flags = ["https://bench.test/", "--connect", f"127.0.0.1:{self.ports[case]}", "--cacert", f"{d}/ca.pem"]
        return flags + (["--cert", f"{d}/client.crt", "--key", f"{d}/client.key"] if case == "p3_mtls" else [])

    def stop(self):
        self.process.terminate()
        self.process.communicate()


class HAProxy(Peer):
    program = "haproxy"

    def argv(self, path):
        return ["haproxy", "-db", "-f", path]

    def config(self, backend, secure):
        d = self.directory
        with open(f"{d}/hosts.map", "w", encoding="utf-8") as f:
            f.writelines(f"host{i}.test plain\n" for i in range(NAMES))
            f.write("bench.test plain\n")
        text = """global
  nbthread 1
  maxconn 4096
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  option http-keep-alive
  http-reuse always
"""
        for case, tls in (("p1_plain", ""), ("p2_tls", f" ssl crt {d}/server.pem alpn http/1.1"),
                          ("p3_mtls", f" ssl crt {d}/server.pem ca-file {d}/ca.pem verify required alpn http/1.1")):
            chosen = "secure" if case == "p3_mtls" else "%[req.hdr(host),lower,map(" + f"{d}/hosts.map,plain)]"
            look = "  http-request set-var(txn.b) req.hdr(host),lower,map(" + f"{d}/hosts.map)\n" \
                if case == "p3_mtls" else ""
            text += f"""frontend {case}
  bind 127.0.0.1:{self.ports[case]}{tls}
  option forwardfor
  unique-id-format %{{+X}}o%ci%cp%Ts%rt%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto {'http' if case == 'p1_plain' else 'https'}
  http-response set-header Server haproxy
{look}  use_backend {chosen}
"""
        return text + f"""backend plain
  server s 127.0.0.1:{backend} pool-max-conn 1000
backend secure
  server s 127.0.0.1:{secure} pool-max-conn 1000 ssl verify required ca-file {d}/ca.pem crt {d}/client.pem sni str(localhost)
"""


def nginx_main(directory, name):
    paths = "".join(f"  {kind}_temp_path {directory}/{name}-{kind};\n"
                    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""daemon off;
worker_processes 1;
pid {directory}/{name}.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
{paths}  keepalive_requests 100000000;
  ssl_protocols TLSv1.3;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
"""


class Nginx(Peer):
    program = "nginx"

    def argv(self, path):
        return ["nginx", "-e", "stderr", "-p", self.directory, "-c", path]

    def config(self, backend, secure):
        d = self.directory
        text = nginx_main(d, "nginx") + f"""  upstream plain {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 100000000; }}
  upstream secure {{ server 127.0.0.1:{secure}; keepalive 512; keepalive_requests 100000000; }}
"""
        for case in CASES:
            tls = "" if case == "p1_plain" else " ssl"
            verify = f"ssl_client_certificate {d}/ca.pem; ssl_verify_client on;" if case == "p3_mtls" else ""
            pair = "" if case == "p1_plain" else f"ssl_certificate {d}/server.crt; ssl_certificate_key {d}/server.key;"
            out = "http://plain" if case != "p3_mtls" else "https://secure"
            mutual = "" if case != "p3_mtls" else (
                f"proxy_ssl_certificate {d}/client.crt; proxy_ssl_certificate_key {d}/client.key; "
                f"proxy_ssl_trusted_certificate {d}/ca.pem; proxy_ssl_verify on; proxy_ssl_name localhost; "
                "proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3; "
                "proxy_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;")
            text += f"""  server {{
    listen 127.0.0.1:{self.ports[case]}{tls};
    server_name bench.test;
    {pair} {verify}
    location / {{
      proxy_pass {out}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;
      {mutual}
    }}
  }}
"""
        return text + "}\n"


class Secure:
    """The backend that wants mTLS: nginx that answers 1 KiB."""

    def __init__(self, directory):
        self.port = free_port()
        path = f"{directory}/secure.conf"
        with open(path, "w", encoding="utf-8") as f:
            f.write(nginx_main(directory, "secure") + f"""  server {{
    listen 127.0.0.1:{self.port} ssl;
    ssl_certificate {directory}/server.crt; ssl_certificate_key {directory}/server.key;
    ssl_client_certificate {directory}/ca.pem; ssl_verify_client on;
    location / {{ default_type text/plain; return 200 "{BODY}y"; }}
  }}
}}
""")
        self.process = subprocess.Popen(["nginx", "-e", "stderr", "-p", directory, "-c", path])
        wait_port(self.port)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Knit:
    """The platform itself: gateway or router → route → revision → the app's socket, in one process."""
    program = "knit"

    def __init__(self, p):
        self.p = p
        self.pid = p.processes()["proxy"]
        self.host = f"bench-default.{DOMAIN}"
        self.router = p.router_ip()
        self.gateway = self.cluster_ip("istio-ingressgateway")
        self.local = self.cluster_ip("knative-local-gateway")
        directory = os.path.join(p.data, "bench-cert")
        os.makedirs(directory)
        p.knit("cert", "issue", "--sa", "default/default", "--out", directory)
        self.pair = ["--cert", f"{directory}/cert-chain.pem", "--key", f"{directory}/key.pem"]

    def cluster_ip(self, service):
        return self.p.path("service", "-n", "istio-system", service, "-o", "jsonpath={.spec.clusterIP}")

    def pids(self):
        return [self.pid]

    def target(self, case):
        if case == "p1_plain":
            return [f"http://{self.host}/", "--connect", f"{self.gateway}:80"]
        if case == "p2_tls":
            return [f"https://{self.host}/", "--connect", self.router, "--cacert", self.p.root_crt]
        return ["https://bench.default.svc.cluster.local/", "--connect", f"{self.local}:80", "--insecure",
                *self.pair]

    def stop(self):
        pass


def measure(proxy, case, client_core):
    """(µs of CPU per request, share of its core that the proxy was busy) of one round."""
    began = cpu_seconds(proxy.pids())
    report = load(*proxy.target(case), "--connections", CONNECTIONS, "--duration", SECONDS, cpu=client_core)
    used = cpu_seconds(proxy.pids()) - began
    if report["errors"] or report["good"] == 0:
        raise AssertionError(f"{proxy.program} {case}: {report['errors']}")
    return used / report["good"] * 1e6, used / (report["ended"] - report["began"]), report["rps"]


def plain_gateway():
    """The seed's gateway with a server for plain HTTP beside its TLS one: what P1 measures."""
    servers = [{"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"],
                "tls": {"mode": "SIMPLE", "credentialName": "wildcard-certs"}},
               {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]
    return json.dumps({"apiVersion": "networking.istio.io/v1alpha3", "kind": "Gateway",
                       "metadata": {"name": "knative-ingress-gateway", "namespace": "knative-serving"},
                       "spec": {"selector": {"knative": "ingressgateway"}, "servers": servers}})


def app_pids(uid):
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cgroup", encoding="utf-8") as f:
                if entry.isdigit() and uid in f.read():
                    found.append(int(entry))
        except OSError:
            continue
    return found


def run(results):
    cores = core_count()
    proxy_core, other_core = 0, 1 if cores > 1 else 0
    with tempfile.TemporaryDirectory(prefix="knit-bench-") as directory, platform("--workers", "1") as p:
        certificates(directory)
        p.apply(plain_gateway())
        os.chmod(directory, 0o755)
        p.apply(p.service("bench", annotations={"autoscaling.knative.dev/min-scale": "1"},
                          container={"env": [{"name": "RESPONSE", "value": BODY}]}))
        p.wait_ready("ksvc/bench")
        pin(app_pids(p.pods("bench")[0]["metadata"]["uid"]), other_core)
        port = free_port()
        backend = subprocess.Popen([HELLO], env={"PORT": str(port), "RESPONSE": BODY}, stdout=subprocess.DEVNULL)
        wait_port(port)
        secure, proxies = Secure(directory) if shutil.which("nginx") else None, [Knit(p)]
        try:
            pin([backend.pid], other_core)
            if secure:
                pin(children(secure.process.pid), other_core)
            for kind in (HAProxy, Nginx):
                try:
                    proxies.append(kind(directory, port, secure.port if secure else port))
                except AssertionError as error:
                    results.skip(f"proxy.beside_{kind.program}", str(error))
            for proxy in proxies:
                pin(proxy.pids(), proxy_core)
            for case, (what, must, stretch) in CASES.items():
                rounds(results, proxies, case, what, must, stretch, other_core)
        finally:
            for each in [*proxies, *([secure] if secure else [])]:
                each.stop()
            backend.kill()
            backend.wait()


def rounds(results, proxies, case, what, must, stretch, client_core):
    samples = {proxy.program: [] for proxy in proxies}
    for proxy in proxies:
        measure(proxy, case, client_core)  # connections and pools are warm
    for i in range(ROUNDS):
        for k in range(len(proxies)):
            proxy = proxies[(i + k) % len(proxies)]
            samples[proxy.program].append(measure(proxy, case, client_core))
    cpu = {name: p25([s[0] for s in rows]) for name, rows in samples.items()}
    notes = [what] + [f"{name}: median {median([s[0] for s in rows]):.1f} µs, busy {median([s[1] for s in rows]):.0%}, "
                      f"{median([s[2] for s in rows]):.0f}/s" for name, rows in samples.items()]
    if case == "p3_mtls":
        notes.append("Knit's second hop is inside the process: the caller's identity is handed over, not encrypted")
    for peer in ("haproxy", "nginx"):
        if peer not in cpu:
            continue
        bound = {"must": must, "stretch": stretch, "judge": "ratio"} if peer == "haproxy" else {}
        results.add(f"proxy.{case}.vs_{peer}", cpu["knit"], "µs/request", ratio=cpu["knit"] / cpu[peer],
                    peer=f"{peer} {cpu[peer]:.1f} µs", note="; ".join(notes) if peer == "haproxy" else None, **bound)
    if len(cpu) == 1:
        results.add(f"proxy.{case}", cpu["knit"], "µs/request", note="; ".join(notes))
