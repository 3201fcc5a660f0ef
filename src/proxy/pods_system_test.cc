// Pods over real sockets: L4, policies of single ports, DNS, probes, lifecycles, several workers.
#include <future>

#include "dns/message.h"
#include "proxy/test_rig.h"

namespace knit::proxy::test {
namespace {

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n";

class PodsTest : public testing::Test {
 protected:
  Rig rig;

  std::uint16_t service_capture(const std::string& caller_uid, const pc::Workload& caller,
                                int cluster_ip, pc::ServicePort port) {
    std::vector<Fd> fds;
    fds.push_back(listen_on(rig.ip(cluster_ip), 0, &port.port));
    pc::Service s;
    s.cluster_ips = {rig.ip(cluster_ip)};
    s.ports = {port};
    rig.put(pc::Type::Service, "default/s", s);
    rig.put_workload(caller_uid, caller);
    EXPECT_TRUE(rig.apply().empty());
    rig.node_pod(caller_uid, caller, std::move(fds));
    return port.port;
  }
  void pod(const std::string& uid, const pc::Workload& w) {
    rig.put_workload(uid, w);
    ASSERT_TRUE(rig.apply().empty());
    rig.node_pod(uid, w);
    ASSERT_TRUE(rig.until(
        [&] { return !w.injected || rig.engine->tables().held.find(w.spiffe_id) != nullptr; }));
  }
};

TEST_F(PodsTest, PlainPodsTalkTcp) {
  App& app = rig.app(5);
  const auto server = rig.workload("server", 5, false), client = rig.workload("client", 6, false);
  pod("server", server);
  const auto port = service_capture(
      "client", client, 140, {0, "tcp", pc::Protocol::Tcp, {{server.ip, app.port, "server"}}});
  const Answer a =
      rig.one([&] { return ask(rig.ip(140), port, kGet, {.until = "close\r\n\r\n"}); });
  EXPECT_EQ(a.status(), 200);
  EXPECT_NE(a.body().find("Host: hello"), std::string::npos) << "bytes pass as they are";
}

// design.md 2: connections that come while a new proxy starts are answered, not refused.
TEST_F(PodsTest, ANewProcessWaitsForTheNodesPods) {
  App& app = rig.app(5);
  const auto server = rig.workload("server", 5, false);
  rig.put_workload("server", server);
  for (const bool http : {true, false}) {
    SCOPED_TRACE(http);
    const auto client = rig.workload("client", 6, http);
    const auto port = service_capture(
        "client", client, http ? 140 : 141,
        {0, "p", http ? pc::Protocol::Http : pc::Protocol::Tcp, {{server.ip, app.port, "server"}}});
    io::Loop::Timer later;
    if (http) later = rig.loop->after(50ms, [&] { rig.node_pod("server", server); });
    const Answer a = rig.one(
        [&] { return ask(rig.ip(http ? 140 : 141), port, kGet, {.until = "close\r\n\r\n"}); });
    EXPECT_EQ(a.status(), 200) << a.bytes;
  }
}

TEST_F(PodsTest, TcpIntoStrictNeedsAnIdentity) {
  App& app = rig.app(5);
  auto server = rig.workload("server", 5);
  server.inbound = pc::MtlsMode::Strict;
  pod("server", server);
  for (const bool injected : {true, false}) {
    const auto client = rig.workload("client", 6, injected);
    const auto port =
        service_capture(injected ? "in" : "out", client, injected ? 140 : 141,
                        {0, "tcp", pc::Protocol::Tcp, {{server.ip, app.port, "server"}}});
    const Answer a = rig.one(
        [&] { return ask(rig.ip(injected ? 140 : 141), port, kGet, {.until = "close\r\n\r\n"}); });
    EXPECT_EQ(a.status(), injected ? 200 : 0);
    if (!injected) EXPECT_EQ(a.bytes, "");
  }
}

TEST_F(PodsTest, MtlsToAPodWithoutSidecarFailsAsOnTheCluster) {
  App& app = rig.app(5);
  pc::Mesh mesh;
  mesh.force_mtls_to_cluster = true;
  rig.put(pc::Type::Mesh, "istio-system", mesh);
  pod("server", rig.workload("server", 5, false));
  const auto port =
      service_capture("client", rig.workload("client", 6), 140,
                      {0, "http", pc::Protocol::Http, {{rig.ip(5), app.port, "server"}}});
  const Answer a = rig.one([&] { return ask(rig.ip(140), port, kGet); });
  EXPECT_EQ(a.status(), 503);
  EXPECT_EQ(a.body(),
            "upstream connect error or disconnect/reset before headers. reset reason: connection "
            "termination");
  EXPECT_EQ(app.requests, 0);
}

TEST_F(PodsTest, PermissiveSniffs) {
  App& app = rig.app(5);
  const auto server = rig.workload("server", 5);
  pod("server", server);
  // The pod's own address: the host dials the app's port there.
  std::uint16_t port = 0;
  Fd listener = listen_on(rig.ip(7), 0, &port);
  pc::Service s;
  s.cluster_ips = {rig.ip(7)};
  s.ports = {{port, "tcp", pc::Protocol::Tcp, {{server.ip, app.port, "server"}}}};
  rig.put(pc::Type::Service, "default/s", s);
  ASSERT_TRUE(rig.apply().empty());
  ipc::Listener l;
  l.purpose = "host-capture";
  ASSERT_TRUE(rig.engine->on_listener(l, std::move(listener)).has_value());
  EXPECT_EQ(
      rig.one([&] { return ask(rig.ip(7), port, kGet, {.until = "close\r\n\r\n"}); }).status(),
      200);
}

TEST_F(PodsTest, RefusesEgressAndUnknownDestinations) {
  const auto client = rig.workload("client", 6, false);
  rig.put_workload("client", client);
  ASSERT_TRUE(rig.apply().empty());
  std::uint16_t inside = 0, outside = 0;
  std::vector<Fd> fds;
  fds.push_back(listen_on(rig.ip(99), 0, &inside));
  rig.node_pod("client", client, std::move(fds));
  const Answer nobody = rig.one([&] { return ask(rig.ip(99), inside, kGet); });
  EXPECT_TRUE(nobody.connected);
  EXPECT_EQ(nobody.bytes, "");
  EXPECT_TRUE(nobody.reset);
  // An address outside the ranges.
  std::vector<Fd> more;
  more.push_back(listen_on("127.1.2.3", 0, &outside));
  rig.node_pod("client", client, std::move(more));
  const Answer egress = rig.one([&] { return ask("127.1.2.3", outside, kGet); });
  EXPECT_TRUE(egress.reset);
  ASSERT_TRUE(
      rig.until([&] { return !rig.stats.empty() && !rig.stats.back().egress_refused.empty(); }));
  EXPECT_EQ(
      rig.stats.back().egress_refused.at("default/client 127.1.2.3:" + std::to_string(outside)),
      1U);
}

TEST_F(PodsTest, AnswersDnsOnThePodsSocket) {
  const auto client = rig.workload("client", 6, false);
  pc::Service s;
  s.cluster_ips = {"172.30.0.1"};
  rig.put(pc::Type::Service, "default/kubernetes", s);
  rig.put_workload("client", client);
  ASSERT_TRUE(rig.apply().empty());
  Fd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  inet_pton(AF_INET, rig.ip(6).c_str(), &at.sin_addr);
  ASSERT_EQ(::bind(udp.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  socklen_t n = sizeof at;
  getsockname(udp.get(), reinterpret_cast<sockaddr*>(&at), &n);
  std::vector<Fd> fds;
  fds.push_back(listen_on(rig.ip(6), 0, nullptr));
  fds.push_back(std::move(udp));
  rig.node_pod("client", client, std::move(fds));
  const Answer a = rig.one([&] {
    Answer out;
    Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const timeval limit{5, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    std::string q("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
    q += dns::encode_name("kubernetes.default.svc.cluster.local") + std::string("\0\1\0\1", 4);
    ::sendto(fd.get(), q.data(), q.size(), 0, reinterpret_cast<sockaddr*>(&at), sizeof at);
    char buffer[512];
    const ssize_t got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (got > 0) out.bytes.assign(buffer, static_cast<std::size_t>(got));
    return out;
  });
  ASSERT_GT(a.bytes.size(), 12U);
  EXPECT_EQ(a.bytes[7], 1) << "one answer";
  EXPECT_EQ(a.bytes.substr(a.bytes.size() - 4), std::string("\xac\x1e\x00\x01", 4));
}

TEST_F(PodsTest, ProbesForTheNode) {
  App& app = rig.app(5);
  const auto w = rig.workload("server", 5, false);
  std::uint16_t closed = 0;
  listen_on(rig.ip(5), 0, &closed);
  const auto probe = [&](std::string id, ipc::ProbeSpec::Kind kind, std::uint16_t port) {
    ipc::ProbeSpec p;
    p.id = std::move(id);
    p.kind = kind;
    p.port = port;
    p.path = "/healthz";
    p.failure = 1;
    return p;
  };
  rig.put_workload("server", w);
  ASSERT_TRUE(rig.apply().empty());
  rig.node_pod("server", w, {},
               {probe("tcp", ipc::ProbeSpec::Kind::Tcp, app.port),
                probe("http", ipc::ProbeSpec::Kind::Http, app.port),
                probe("closed", ipc::ProbeSpec::Kind::Tcp, closed),
                probe("grpc", ipc::ProbeSpec::Kind::Grpc, app.port)});
  ASSERT_TRUE(rig.until([&] { return rig.probed.size() == 4; }));
  EXPECT_TRUE(rig.probed["server tcp"].ok);
  EXPECT_TRUE(rig.probed["server http"].ok) << rig.probed["server http"].text;
  EXPECT_FALSE(rig.probed["server closed"].ok);
  EXPECT_NE(rig.probed["server closed"].text.find("connection refused"), std::string::npos);
  EXPECT_NE(rig.probed["server grpc"].text.find("not supported"), std::string::npos);
  // It starts to listen, and says so: probed at once, not after the period.
  App late(*rig.loop, rig.ip(5), closed);
  ipc::Listening l;
  l.uid = "server";
  l.port = closed;
  rig.node_end->send(l);
  ASSERT_TRUE(rig.until([&] { return rig.probed["server closed"].ok; }));
}

TEST_F(PodsTest, GoneIsAcknowledgedWhenNothingIsHeld) {
  App& app = rig.app(5);
  const auto server = rig.workload("server", 5, false);
  pod("server", server);
  const auto port =
      service_capture("client", rig.workload("client", 6), 140,
                      {0, "http", pc::Protocol::Http, {{server.ip, app.port, "server"}}});
  EXPECT_EQ(rig.one([&] { return ask(rig.ip(140), port, kGet); }).status(), 200);
  bool acked = false;
  rig.node_end->when_acked(rig.node_end->send(ipc::Gone{"server"}),
                           [&](std::string error) { acked = error.empty(); });
  ASSERT_TRUE(rig.until([&] { return acked; }));
  const Answer a = rig.one([&] { return ask(rig.ip(140), port, kGet); });
  EXPECT_EQ(a.status(), 503) << "config still names it; its sockets are gone";
}

TEST_F(PodsTest, LargeBodiesBothWays) {
  App& app = rig.app(5);
  const auto server = rig.workload("server", 5, false);
  pod("server", server);
  const auto port =
      service_capture("client", rig.workload("client", 6), 140,
                      {0, "http", pc::Protocol::Http, {{server.ip, app.port, "server"}}});
  const std::string body(3 << 20, 'x');
  const Answer a = rig.one([&] {
    return ask(rig.ip(140), port,
               "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: " +
                   std::to_string(body.size()) + "\r\n\r\n" + body);
  });
  EXPECT_EQ(a.status(), 200);
  EXPECT_GE(a.body().size(), body.size());
  EXPECT_TRUE(a.body().ends_with(body.substr(0, 100'000)));
}

TEST_F(PodsTest, DrainLetsRequestsFinish) {
  App& app = rig.app(5);
  app.delay = 100ms;
  const auto server = rig.workload("server", 5, false);
  pod("server", server);
  const auto port =
      service_capture("client", rig.workload("client", 6), 140,
                      {0, "http", pc::Protocol::Http, {{server.ip, app.port, "server"}}});
  bool drained = false;
  io::Loop::Timer look;
  std::function<void()> start = [&] {
    if (app.now == 0) {
      look = rig.loop->after(1ms, start);
      return;
    }
    rig.engine->drain(5s, [&] { drained = true; });
  };
  look = rig.loop->after(1ms, start);
  const Answer a =
      rig.one([&] { return ask(rig.ip(140), port, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); });
  EXPECT_EQ(a.status(), 200);
  EXPECT_NE(a.bytes.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(rig.until([&] { return drained; }));
}

TEST_F(PodsTest, TwoWorkersServeOneListener) {
  Rig two(2);
  App& app = two.app(5);
  const auto server = two.workload("server", 5, false), client = two.workload("client", 6);
  two.put_workload("server", server);
  std::uint16_t port = 0;
  std::vector<Fd> fds;
  fds.push_back(listen_on(two.ip(140), 0, &port));
  pc::Service s;
  s.cluster_ips = {two.ip(140)};
  s.ports = {{port, "http", pc::Protocol::Http, {{server.ip, app.port, "server"}}}};
  two.put(pc::Type::Service, "default/s", s);
  two.put_workload("client", client);
  ASSERT_TRUE(two.apply().empty());
  two.node_pod("server", server);
  two.node_pod("client", client, std::move(fds));
  std::vector<std::function<Answer()>> clients;
  for (int i = 0; i < 32; ++i) {
    clients.push_back([&] {
      Answer a;
      for (int n = 0; n < 10; ++n) {
        a = ask(two.ip(140), port, kGet);
        if (a.status() != 200) break;
      }
      return a;
    });
  }
  for (const auto& a : two.run(std::move(clients))) EXPECT_EQ(a.status(), 200) << a.bytes;
  EXPECT_EQ(app.requests, 320);
  EXPECT_NE(two.engine->metrics_text().find("istio_requests_total{"), std::string::npos);
}

// A grant crosses workers: one that is busy must not be given a pod that it has not heard of.
TEST_F(PodsTest, APodIsUsableOnceEveryWorkerKnowsIt) {
  Rig one(1);
  App& app = one.app(5);
  pc::Workload pod = one.workload("hello", 5);
  pod.revision = "default/hello-00001";
  one.put_workload("pod1", pod);
  pc::Revision revision;
  revision.user_port = app.port;
  one.put(pc::Type::Revision, pod.revision, revision);
  ASSERT_TRUE(one.apply().empty());
  std::promise<void> go;
  one.worker_loops[0]->post([busy = go.get_future().share()] { busy.wait(); });
  one.node_pod("pod1", pod);
  const auto gate = one.engine->shared_for_test().gate(pod.revision);
  EXPECT_TRUE(one.until([&] { return app.connections > 0; })) << "the probe";
  int turns = 0;
  one.until([&] { return ++turns > 50; });
  EXPECT_FALSE(gate->usable("pod1"));
  go.set_value();
  EXPECT_TRUE(one.until([&] { return gate->usable("pod1"); }));
}

}  // namespace
}  // namespace knit::proxy::test
