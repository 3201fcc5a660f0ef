// The whole road over real sockets: router, gateway, activation, queue-proxy, app.
#include "proxy/road_fixture.h"

namespace knit::proxy::test {
namespace {

TEST_F(RoadTest, AWarmRequestPassesEveryHop) {
  App& app = start_app();
  const Answer a =
      get("K-Network-Hash: forged\r\nX-Forwarded-Client-Cert: forged\r\n"
          "Kn-Namespace: forged\r\nKnative-Serving-Revision: forged\r\n"
          "X-Envoy-Attempt-Count: 7\r\nX-Forwarded-For: 8.8.8.8\r\nX-Forwarded-For:\r\n"
          "X-Forwarded-For: 7.7.7.7, 9.9.9.9\r\nVia: 1.1 a\r\nVia: 1.1 b\r\n"
          "X-Request-Id: mine\r\nConnection: x-forwarded-for\r\nX-Kept: yes\r\n");
  ASSERT_EQ(a.status(), 200) << a.bytes;
  const std::string seen = a.body();
  EXPECT_EQ(seen.find("forged"), std::string::npos) << seen;
  EXPECT_EQ(seen.find("Attempt-Count"), std::string::npos);
  EXPECT_EQ(seen.find("mine"), std::string::npos) << "the edge makes its own x-request-id";
  EXPECT_NE(seen.find("X-Kept: yes"), std::string::npos);
  EXPECT_NE(seen.find("X-Forwarded-For: 8.8.8.8, 7.7.7.7, 9.9.9.9, 127.0.0.1"), std::string::npos)
      << seen;
  EXPECT_NE(seen.find("Via: 1.1 a\r\nVia: 1.1 b\r\n"), std::string::npos) << seen;
  EXPECT_NE(seen.find("Forwarded: for=8.8.8.8;"), std::string::npos) << seen;
  EXPECT_NE(seen.find("X-Forwarded-Proto: https"), std::string::npos);
  // One XFCC element per logical hop, the oldest caller first.
  const auto first = seen.find("By=spiffe://cluster.local/ns/knative-serving/sa/controller;");
  const auto second = seen.find("By=spiffe://cluster.local/ns/default/sa/hello;");
  EXPECT_NE(first, std::string::npos) << seen;
  EXPECT_NE(second, std::string::npos);
  EXPECT_LT(first, second);
  EXPECT_NE(a.bytes.find("Server: istio-envoy"), std::string::npos);
  EXPECT_EQ(app.requests, 1);
  EXPECT_EQ(rig.engine->in_flight(), 0U);
  // Each sidecar and gateway of the road has its line. Source: design.md 4, spec/mesh.md 2.10.
  ASSERT_TRUE(rig.until([&] { return rig.access_log.size() == 4; }));
  ASSERT_EQ(rig.access_log["gw/istio-proxy"].size(), 1U);
  const std::string at_gateway = rig.access_log["gw/istio-proxy"][0];
  EXPECT_NE(at_gateway.find("] \"GET / HTTP/1.1\" 200 - via_upstream - \"-\" 0 "),
            std::string::npos)
      << at_gateway;
  EXPECT_NE(at_gateway.find(" outbound|"), std::string::npos) << at_gateway;
  EXPECT_EQ(rig.access_log["act/istio-proxy"].size(), 1U);
  EXPECT_EQ(rig.access_log["pod1/queue-proxy"],
            std::vector<std::string>{"GET / 200 hello-00001 [yes]"});
  ASSERT_EQ(rig.access_log["pod1/istio-proxy"].size(), 1U);
  const std::string at_pod = rig.access_log["pod1/istio-proxy"][0];
  EXPECT_NE(at_pod.find(" inbound|"), std::string::npos) << at_pod;
  EXPECT_TRUE(at_pod.ends_with(" default")) << at_pod;
}

// spec/mesh.md 2.10, spec/serving.md 5.4 and 5.5: names and labels; each side reports its own.
TEST_F(RoadTest, EachHopReportsItsMetrics) {
  start_app(3);
  ASSERT_EQ(get().status(), 200);
  const auto has = [](const std::string& text, const std::string& name,
                      const std::vector<std::string>& labels, const std::string& value) {
    for (std::size_t at = 0; at < text.size();) {
      const auto end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      at = end + 1;
      if (!line.starts_with(name + "{") || !line.ends_with("} " + value)) continue;
      if (std::all_of(labels.begin(), labels.end(), [&](const std::string& l) {
            return line.find("{" + l) != std::string::npos ||
                   line.find("," + l) != std::string::npos;
          })) {
        return true;
      }
    }
    return false;
  };
  const std::vector<std::string> edges[] = {
      {"reporter=\"source\"", "source_workload=\"istio-ingressgateway\"",
       "destination_workload=\"activator\"", "connection_security_policy=\"unknown\""},
      {"reporter=\"destination\"", "source_workload=\"istio-ingressgateway\"",
       "destination_workload=\"activator\""},
      {"reporter=\"source\"", "source_workload=\"activator\"", "destination_workload=\"hello\""},
      {"reporter=\"destination\"", "source_workload=\"activator\"",
       "destination_workload=\"hello\"", "connection_security_policy=\"mutual_tls\"",
       "source_principal=\"spiffe://cluster.local/ns/knative-serving/sa/controller\"",
       "destination_principal=\"spiffe://cluster.local/ns/default/sa/hello\"",
       "destination_service=\"hello-00001.default.svc.cluster.local\"",
       "destination_service_name=\"hello-00001\"", "destination_service_namespace=\"default\"",
       "request_protocol=\"http\"", "response_code=\"200\"", "response_flags=\"-\"",
       "source_canonical_service=\"activator\"", "destination_canonical_revision=\"latest\"",
       "destination_cluster=\"Kubernetes\"", "destination_app=\"unknown\""},
  };
  const std::string all = rig.engine->metrics_text();
  for (const auto& labels : edges) {
    EXPECT_TRUE(has(all, "istio_requests_total", labels, "1")) << labels[1] << "\n" << all;
    EXPECT_TRUE(has(all, "istio_request_duration_milliseconds_count", labels, "1"));
    EXPECT_TRUE(has(all, "istio_request_bytes_count", labels, "1"));
    EXPECT_TRUE(has(all, "istio_response_bytes_count", labels, "1"));
  }
  const std::vector<std::string> revision = {
      "k8s_namespace_name=\"default\"", "kn_service_name=\"hello\"",
      "kn_configuration_name=\"hello\"", "kn_revision_name=\"hello-00001\""};
  EXPECT_TRUE(has(all, "kn_revision_request_queued", revision, "0")) << all;
  // The pages of the containers that play them: a pod's own numbers only.
  const auto page = [&](const std::string& ip, std::uint16_t port, const std::string& path,
                        ClientOptions o = {}) {
    rig.listen("host-capture", ip, port);
    return rig.one([=] {
      return ask(ip, port, "GET " + path + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", o);
    });
  };
  const Answer sidecar = page(pod.ip, 15090, "/stats/prometheus");
  EXPECT_TRUE(has(sidecar.body(), "istio_requests_total", edges[3], "1")) << sidecar.bytes;
  EXPECT_EQ(sidecar.body().find("reporter=\"source\""), std::string::npos);
  EXPECT_EQ(page(pod.ip, 15021, "/healthz/ready").status(), 200);
  EXPECT_EQ(page(pod.ip, 15020, "/nothing").status(), 404);
  const auto credential = rig.leaf(*rig.mesh_ca, "spiffe://cluster.local/ns/monitoring/sa/p");
  ClientOptions mesh;
  mesh.tls = true;
  mesh.ca_pem = rig.mesh_ca->root_pem();
  mesh.chain_pem = credential.chain_pem;
  mesh.key_pem = credential.key_pem;
  auto of_pod = revision;
  of_pod.emplace_back("k8s_pod_name=\"hello\"");
  const std::string queue = page(pod.ip, 9091, "/metrics", mesh).body();
  EXPECT_TRUE(has(queue, "kn_serving_queue_depth", of_pod, "0")) << queue;
  of_pod.emplace_back("http_response_status_code=\"200\"");
  EXPECT_TRUE(has(queue, "kn_serving_invocation_duration_seconds_count", of_pod, "1")) << queue;
  EXPECT_EQ(queue.find("istio_"), std::string::npos);
  const std::string held = page(activator.ip, 9090, "/metrics").body();
  EXPECT_TRUE(has(held, "kn_revision_request_queued", revision, "0")) << held;
  EXPECT_EQ(page(activator.ip, 15090, "/stats/prometheus").status(), 200);
  // What a pod's sidecar reported stays in the sum when the pod is gone.
  rig.node_end->send(ipc::Gone{"pod1"});
  ASSERT_TRUE(
      rig.until([&] { return rig.engine->pages_for_test("pod1").find('{') == std::string::npos; }));
  EXPECT_TRUE(has(rig.engine->metrics_text(), "istio_requests_total", edges[3], "1"));
}

TEST_F(RoadTest, PipelinedAndKeptAlive) {
  App& app = start_app();
  const std::string one = std::string("GET /a HTTP/1.1\r\nHost: ") + kHost + "\r\n\r\n";
  const std::string last =
      std::string("POST /b HTTP/1.1\r\nHost: ") + kHost +
      "\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
  const Answer a = rig.one([&] { return ask("127.0.0.1", https, one + one + last, tls()); });
  EXPECT_NE(a.bytes.find("GET /a"), a.bytes.rfind("GET /a"));
  EXPECT_NE(a.bytes.find("POST /b"), std::string::npos) << a.bytes;
  EXPECT_EQ(app.requests, 3);
  EXPECT_LE(app.connections, 3) << "two were probes or reused";
  EXPECT_EQ(rig.engine->in_flight(), 0U);
}

TEST_F(RoadTest, HoldsRequestsAtZeroAndAsksForAPod) {
  // A free port for the app that comes later.
  listen_on(rig.ip(5), 0, &user_port);
  set_revision(0, 300s);
  ASSERT_TRUE(rig.apply().empty());
  std::vector<std::function<Answer()>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back([this] {
      return ask("127.0.0.1", https,
                 std::string("GET / HTTP/1.1\r\nHost: ") + kHost + "\r\nConnection: close\r\n\r\n",
                 tls());
    });
  }
  // The demand is what starts the pod; its app listens a little later still.
  io::Loop::Timer look, app_later;
  std::function<void()> start = [&] {
    if (rig.demands.empty()) {
      look = rig.loop->after(1ms, start);
      return;
    }
    rig.engine->apply({resource(pc::Type::Workload, "pod1", pod),
                       resource(pc::Type::Identity, pod.spiffe_id, pc::Identity{pod.mesh})},
                      {}, [](auto) {});
    rig.node_pod("pod1", pod);
    app_later = rig.loop->after(20ms, [&] { rig.app(5, user_port); });
  };
  look = rig.loop->after(1ms, start);
  const auto answers = rig.run(std::move(clients));
  for (const auto& a : answers) EXPECT_EQ(a.status(), 200) << a.bytes;
  ASSERT_FALSE(rig.demands.empty());
  EXPECT_EQ(rig.demands[0].revision, "default/hello-00001");
  EXPECT_EQ(rig.engine->in_flight(), 0U);
}

TEST_F(RoadTest, PicksAnotherPodWhenOneRefuses) {
  // pod1's app ends, as at scale-down, before anybody was told; pod2's runs. Both are usable.
  auto first = std::make_unique<App>(*rig.loop, rig.ip(5), 0);
  user_port = first->port;
  App& second = rig.app(6, user_port);
  set_revision(1, 300s);
  start_pod();
  start_pod("pod2", 6);
  ASSERT_TRUE(rig.until([&] { return ready("pod1") && ready("pod2"); }));
  first.reset();
  const int before = second.requests;
  // "pod1" comes first by name with containerConcurrency 1, so every request meets the refusal.
  io::Loop::Timer gone = rig.loop->after(30ms, [&] {
    rig.engine->shared_for_test().gate("default/hello-00001")->remove_pod(rig.loop->now(), "pod1");
  });
  const Answer a = rig.one([this] {
    return ask("127.0.0.1", https,
               std::string("POST / HTTP/1.1\r\nHost: ") + kHost +
                   "\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
               tls());
  });
  EXPECT_EQ(a.status(), 200) << a.bytes;
  EXPECT_TRUE(a.body().ends_with("abc")) << a.bytes;
  EXPECT_EQ(second.requests, before + 1);
  // One element for each hop, although the last was taken several times.
  const auto xfcc = a.body().find("X-Forwarded-Client-Cert: ");
  ASSERT_NE(xfcc, std::string::npos) << a.bytes;
  const std::string line = a.body().substr(xfcc, a.body().find("\r\n", xfcc) - xfcc);
  std::size_t hops = 0;
  for (auto at = line.find("By="); at != std::string::npos; at = line.find("By=", at + 1)) ++hops;
  const Answer plain = get();
  const auto other = plain.body().find("X-Forwarded-Client-Cert: ");
  const std::string plain_line =
      plain.body().substr(other, plain.body().find("\r\n", other) - other);
  EXPECT_EQ(line, plain_line);
  EXPECT_GE(hops, 1U);
  EXPECT_EQ(rig.engine->in_flight(), 0U);
}

TEST_F(RoadTest, AnAppThatGoesOnRefusingIsAnswered502) {
  auto app = std::make_unique<App>(*rig.loop, rig.ip(5), 0);
  user_port = app->port;
  set_revision(0, 300s);
  start_pod();
  ASSERT_TRUE(rig.until([&] { return ready("pod1"); }));
  app.reset();
  const Instant began = rig.loop->now();
  const Answer a = get();
  EXPECT_EQ(a.status(), 502) << a.bytes;
  EXPECT_NE(a.body().find("connection refused"), std::string::npos) << a.bytes;
  EXPECT_LT(rig.loop->now() - began, 5s);
  EXPECT_EQ(rig.engine->in_flight(), 0U);
}

TEST_F(RoadTest, TimesOutInTheQueue) {
  set_revision(0, 200ms);
  ASSERT_TRUE(rig.apply().empty());
  const Answer a = get();
  EXPECT_EQ(a.status(), 504);
  EXPECT_EQ(a.body(), "activator request timeout");
  EXPECT_EQ(rig.engine->in_flight(), 0U);
}

TEST_F(RoadTest, ContainerConcurrencyIsALimit) {
  App& app = start_app(1);
  app.delay = 5ms;
  std::vector<std::function<Answer()>> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back([this] {
      return ask("127.0.0.1", https,
                 std::string("GET / HTTP/1.1\r\nHost: ") + kHost + "\r\nConnection: close\r\n\r\n",
                 tls());
    });
  }
  for (const auto& a : rig.run(std::move(clients))) EXPECT_EQ(a.status(), 200);
  EXPECT_EQ(app.peak, 1);
  EXPECT_EQ(rig.engine->in_flight(), 0U);
}

TEST_F(RoadTest, StrictInboundIsStrict) {
  start_app();
  rig.listen("host-capture", pod.ip, 8012);
  const std::string request = "GET / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n";
  const auto good = rig.leaf(*rig.mesh_ca, "spiffe://cluster.local/ns/default/sa/default");
  const auto domain = rig.leaf(*rig.mesh_ca, "spiffe://other/ns/default/sa/default");
  const auto plain_name = rig.leaf(*rig.mesh_ca, "https://cluster.local/ns/default/sa/default");
  const auto other = Rig::authority("other");
  const auto stranger = rig.leaf(*other, "spiffe://cluster.local/ns/default/sa/default");
  const auto with = [&](const pki::Credential& c) {
    ClientOptions o;
    o.tls = true;
    o.ca_pem = rig.mesh_ca->root_pem();
    o.chain_pem = c.chain_pem;
    o.key_pem = c.key_pem;
    o.timeout_ms = 2000;
    return o;
  };
  const struct {
    const char* name;
    ClientOptions options;
    int status;
  } rows[] = {
      {"plaintext", {}, 0},
      {"mesh certificate", with(good), 200},
      {"no certificate", with({}), 0},
      {"another trust domain", with(domain), 0},
      {"no SPIFFE id", with(plain_name), 0},
      {"another CA", with(stranger), 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Answer a = rig.one([&] { return ask(pod.ip, 8012, request, row.options); });
    EXPECT_TRUE(a.connected);
    EXPECT_EQ(a.status(), row.status) << a.bytes;
    if (row.status == 0) EXPECT_EQ(a.bytes, "") << "not one byte";
    if (row.status == 200) {
      EXPECT_NE(a.body().find("URI=spiffe://cluster.local/ns/default/sa/default"),
                std::string::npos);
    }
  }
}

TEST_F(RoadTest, MeshPodReachesTheLocalGatewayWithItsIdentity) {
  start_app();
  std::uint16_t port = 0;
  // The capture listener of a pod, at the ClusterIP that it dials.
  std::vector<Fd> fds;
  fds.push_back(listen_on(rig.ip(131), 0, &port));
  pc::Service local;
  local.cluster_ips = {rig.ip(131)};
  local.ports = {{port, "http2", pc::Protocol::Http, {{gateway.ip, 8081, "gw"}}}};
  rig.put(pc::Type::Service, "istio-system/knative-local-gateway", local);
  pc::Workload caller = rig.workload("caller", 6);
  rig.put_workload("caller", caller);
  rig.put_workload("outsider", rig.workload("outsider", 7, false));
  ASSERT_TRUE(rig.apply().empty());
  rig.node_pod("caller", caller, std::move(fds));
  const auto request = [&](std::uint16_t p) {
    return ask(rig.ip(131), p,
               "GET / HTTP/1.1\r\nHost: hello.default.svc.cluster.local\r\nConnection: "
               "close\r\n\r\n");
  };
  ASSERT_TRUE(
      rig.until([&] { return rig.engine->tables().held.find(caller.spiffe_id) != nullptr; }));
  const Answer a = rig.one([&] { return request(port); });
  ASSERT_EQ(a.status(), 200) << a.bytes;
  const auto at = [&](const char* uri) { return a.body().find(std::string("URI=") + uri + ""); };
  const auto c = at("spiffe://cluster.local/ns/default/sa/caller");
  const auto g = at("spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway");
  const auto v = at("spiffe://cluster.local/ns/knative-serving/sa/controller");
  EXPECT_LT(c, g);
  EXPECT_LT(g, v);
  EXPECT_NE(v, std::string::npos) << a.body();
}

TEST_F(RoadTest, RouterAnswers) {
  const std::string bytes = std::string("GET /x?y HTTP/1.1\r\nHost: ") + kHost + "\r\n\r\n";
  Answer a = rig.one([&] {
    ClientOptions o;
    o.until = "\r\n\r\n";
    return ask("127.0.0.1", http, bytes, o);
  });
  EXPECT_EQ(a.status(), 302);
  EXPECT_NE(a.bytes.find("Location: https://hello-default.apps.test/x?y"), std::string::npos);
  a = rig.one(
      [&] { return ask("127.0.0.1", http, "GET / HTTP/1.1\r\nHost: nobody.apps.test\r\n\r\n"); });
  EXPECT_TRUE(a.bytes.starts_with("HTTP/1.0 503")) << a.bytes;
  EXPECT_NE(a.bytes.find("Application is not available"), std::string::npos);
  ClientOptions o;
  o.tls = true;
  o.sni = "nobody.apps.test";
  a = rig.one([&] {
    return ask("127.0.0.1", https, "GET / HTTP/1.1\r\nHost: nobody.apps.test\r\n\r\n", o);
  });
  EXPECT_TRUE(a.bytes.starts_with("HTTP/1.0 503")) << "default certificate, then the page";
}

TEST_F(RoadTest, UpgradesAndVersions) {
  start_app();
  EXPECT_EQ(get("Connection: upgrade\r\nUpgrade: websocket\r\n").status(), 501);
  EXPECT_EQ(
      get("Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n").status(),
      200);
  const Answer a =
      rig.one([&] { return ask("127.0.0.1", https, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", tls()); });
  EXPECT_EQ(a.status(), 505);
}

TEST_F(RoadTest, WrongAuthorityOnATlsConnectionIs421) {
  pc::Gateway g;
  g.pod_uid = "gw";
  g.mesh = "istio-system";
  g.port = 8443;
  g.servers = {{{kHost},
                pc::TlsMode::Simple,
                "istio-system/wildcard-certs",
                "knative-serving/knative-ingress-gateway",
                {kHost},
                false}};
  rig.put(pc::Type::Gateway, "gw:8443", g);
  ASSERT_TRUE(rig.apply().empty());
  const Answer a = rig.one([&] {
    ClientOptions o = tls();
    o.until = "\r\n\r\n";
    return ask("127.0.0.1", https, "GET / HTTP/1.1\r\nHost: other.apps.test\r\n\r\n", o);
  });
  EXPECT_EQ(a.status(), 421);
}

TEST_F(RoadTest, BadAnswersOfTheApp) {
  App& app = start_app();
  const struct {
    const char* name;
    std::string fixed;
    int status;
  } rows[] = {
      {"nothing", " ", 502},
      {"response splitting", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n", 502},
      {"CL and TE", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       502},
      {"101 unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 502},
      {"103 then 200",
       "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 103},
      {"until close", "HTTP/1.0 200 OK\r\n\r\nbye", 200},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    app.fixed = row.fixed;
    const Answer a = get();
    EXPECT_EQ(a.status(), row.status) << a.bytes;
    EXPECT_EQ(rig.engine->in_flight(), 0U);
  }
  app.fixed = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort";
  const Answer cut = get();
  EXPECT_EQ(cut.status(), 200);
  EXPECT_EQ(cut.body(), "short");
}

// design.md 2: answered by the new process also while the server is down.
TEST_F(RoadTest, TheNextProcessHasItsLeavesBeforeItHasAServer) {
  start_app();
  ASSERT_TRUE(rig.until([&] { return rig.engine->tables().held.find(pod.spiffe_id) != nullptr; }));
  std::vector<pc::Resource> kept;
  for (const auto& r : rig.kept_leaves) kept.push_back(r.second);
  EXPECT_EQ(kept.size(), rig.engine->leaves().size());
  kept.push_back(resource(pc::Type::Certificate, "spiffe://cluster.local/ns/a/sa/gone",
                          *codec::decode<pc::Certificate>(kept.front().body)));
  const std::vector<pc::Resource> config = {
      resource(pc::Type::TrustBundle, "istio-system",
               pc::TrustBundle{rig.mesh_ca->root_pem(), "cluster.local"}),
      resource(pc::Type::Mesh, "istio-system", pc::Mesh{}),
      resource(pc::Type::Identity, pod.spiffe_id, pc::Identity{"istio-system"})};
  for (const bool config_first : {true, false}) {
    SCOPED_TRACE(config_first);
    std::size_t put = 0;
    auto next =
        *Engine::create(*rig.loop, {rig.loop.get()}, system_random(),
                        {.server = [] { return nullptr; },
                         .node = [] { return nullptr; },
                         .keep_leaves = [&](const auto& set, const auto&) { put += set.size(); }});
    if (!config_first) next->restore_leaves(kept);
    next->apply(config, {}, [](auto) {});
    if (config_first) next->restore_leaves(kept);
    EXPECT_NE(next->tables().held.find(pod.spiffe_id), nullptr);
    EXPECT_EQ(next->leaves().size(), 1U) << "only those that the config names";
    EXPECT_EQ(put, 1U) << "kept for the one after it";
    next->apply({}, {{pc::Type::Identity, pod.spiffe_id}}, [](auto) {});
    EXPECT_TRUE(next->leaves().empty());
  }
}

TEST_F(RoadTest, ReachSaysReadyOrWhyNot) {
  ASSERT_TRUE(rig.until([&] { return rig.reaches["default/hello"].ready; }))
      << rig.reaches["default/hello"].failure;
  EXPECT_EQ(rig.reaches["default/hello"].hash, kHash);
  rig.apply({{pc::Type::Certificate, "istio-system/wildcard-certs"}});
  ASSERT_TRUE(rig.until([&] { return !rig.reaches["default/hello"].ready; }));
  EXPECT_NE(rig.reaches["default/hello"].failure.find("wildcard-certs"), std::string::npos)
      << rig.reaches["default/hello"].failure;
}

}  // namespace
}  // namespace knit::proxy::test
