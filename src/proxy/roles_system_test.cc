// Roles of the events process: their sockets, over real ones, with an events process that is fake.
#include <fcntl.h>
#include <sys/un.h>

#include <filesystem>

#include "ipc/roles.h"
#include "proxy/test_rig.h"

namespace knit::proxy::test {
namespace {

Fd listen_unix(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path.copy(at.sun_path, sizeof at.sun_path - 1);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0) << path;
  EXPECT_EQ(::listen(fd.get(), 64), 0);
  return fd;
}
Fd copy_of(const Fd& fd) { return Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

/// Accepts at a role's ingress as events does; destroyed, it is a process that was killed.
class FakeEvents {
 public:
  FakeEvents(io::Loop& loop, Fd listener) : loop_(loop) {
    listener_ = *io::Listener::adopt(loop, std::move(listener), [this](auto stream) {
      serving_.push_back(loop_.spawn_scoped(serve(this, std::move(stream))));
    });
  }
  std::vector<ipc::RoleCall> calls;  // without probes
  std::vector<std::string> heads;

 private:
  static io::Task<void> serve(FakeEvents* self, std::unique_ptr<io::Stream> s) {
    std::string in;
    std::size_t size = 0;
    while (size == 0) {
      auto got = co_await s->read(4'096);
      if (!got || got->empty()) co_return;
      in += *got;
      const auto whole = ipc::opening_size(in);
      if (!whole) co_return;
      if (*whole) size = **whole;
    }
    const auto call = ipc::read_opening<ipc::RoleCall>(in.substr(0, size));
    in.erase(0, size);
    if (!call) co_return;
    if (call->probe) {
      (void)co_await s->write(ipc::opening(ipc::RoleAnswer{}));
    } else {
      self->calls.push_back(*call);
    }
    while (true) {
      while (in.find("\r\n\r\n") == std::string::npos) {
        auto got = co_await s->read(4'096);
        if (!got || got->empty()) co_return;
        in += *got;
      }
      self->heads.push_back(std::exchange(in, {}));
      (void)co_await s->write("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    }
  }
  io::Loop& loop_;
  std::unique_ptr<io::Listener> listener_;
  std::vector<io::Loop::Scope> serving_;
};

class RolesTest : public testing::Test {
 protected:
  void SetUp() override {
    dir = rig.run_dir;
    std::filesystem::create_directories(dir + "/roles/in");
    std::filesystem::create_directories(dir + "/roles/out");
    ingress = listen_unix(ipc::role_ingress_path(dir, "role1"));
    egress = listen_unix(ipc::role_egress_path(dir, "role1"));
    role = rig.workload("mt-broker-ingress", 20);
    role.ns = "knative-eventing";
    role.role = pc::Role::Events;
    role.inbound = pc::MtlsMode::Strict;
    role.spiffe_id = "spiffe://cluster.local/ns/knative-eventing/sa/mt-broker-ingress";
    caller = rig.workload("caller", 21);
    rig.put_workload("caller", caller);
  }
  void TearDown() override { std::filesystem::remove_all(dir); }

  void start(bool injected = true) {
    role.injected = injected;
    if (!injected) role.spiffe_id.clear();
    rig.put_workload("role1", role);
    std::uint16_t port = 0;
    Fd capture = listen_on(rig.ip(140), 0, &port);
    service_port = port;
    pc::Service s;
    s.cluster_ips = {rig.ip(140)};
    s.ports = {{port, "http", pc::Protocol::Http, {{role.ip, 8080, "role1"}}}};
    rig.put(pc::Type::Service, "knative-eventing/broker-ingress", s);
    EXPECT_TRUE(rig.apply().empty());
    std::vector<Fd> fds;
    fds.push_back(std::move(capture));
    rig.node_pod("caller", caller, std::move(fds));
    ipc::Listener l;
    l.key = "role/role1";
    l.purpose = "role-egress:role1:mt-broker-ingress";
    EXPECT_TRUE(rig.engine->on_listener(l, copy_of(egress)));
    EXPECT_TRUE(rig.until([&] { return !injected || rig.csrs == 2; }));
  }
  /// From the pod `caller` to the Service of the role.
  Answer post(const std::string& headers = {}) {
    return rig.one([this, headers] {
      ClientOptions o;
      o.until = "\r\n\r\n";
      return ask(rig.ip(140), service_port,
                 "POST /ns/b HTTP/1.1\r\nHost: broker-ingress.knative-eventing.svc\r\n"
                 "Content-Length: 0\r\n" +
                     headers + "\r\n",
                 o);
    });
  }
  bool ready() {
    const auto it = rig.probed.find("role1 /role");
    return it != rig.probed.end() && it->second.ok;
  }
  /// As events: connects, dials, and sends `request` once it may.
  struct Dialled {
    ipc::RoleAnswer answer;
    bool closed = false;
    std::string bytes;
  };
  Dialled dial(const ipc::RoleDial& to, const std::string& request = {}) {
    return frame(ipc::opening(to), request);
  }
  Dialled frame(const std::string& first, const std::string& request = {}) {
    Dialled out;
    rig.one([this, first, request, &out] {
      Answer a;
      const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const timeval limit{5, 0};
      setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      sockaddr_un at{};
      at.sun_family = AF_UNIX;
      ipc::role_egress_path(dir, "role1").copy(at.sun_path, sizeof at.sun_path - 1);
      EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
      // Its first bytes one by one: nobody promises more.
      const std::size_t single = std::min<std::size_t>(first.size(), 16);
      for (std::size_t i = 0; i < single; ++i) ::send(fd.get(), &first[i], 1, MSG_NOSIGNAL);
      ::send(fd.get(), first.data() + single, first.size() - single, MSG_NOSIGNAL);
      std::string in;
      char buffer[4'096];
      while (true) {
        const ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, 0);
        if (n <= 0) {
          out.closed = true;
          return a;
        }
        in.append(buffer, static_cast<std::size_t>(n));
        const auto size = ipc::opening_size(in);
        if (size && *size) break;
      }
      out.answer = *ipc::read_opening<ipc::RoleAnswer>(in);
      if (!out.answer.reason.empty() || request.empty()) return a;
      ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
      while (true) {
        const ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, 0);
        if (n <= 0) {
          out.closed = true;
          break;
        }
        out.bytes.append(buffer, static_cast<std::size_t>(n));
      }
      return a;
    });
    return out;
  }

  Rig rig;
  std::string dir;
  Fd ingress, egress;
  pc::Workload role, caller;
  std::uint16_t service_port = 0;
};

TEST_F(RolesTest, ARequestArrivesWithItsHopList) {
  start();
  FakeEvents events(*rig.loop, copy_of(ingress));
  ASSERT_TRUE(rig.until([&] { return ready(); }));
  EXPECT_EQ(post("Ce-Id: 1\r\nX-Forwarded-Client-Cert: forged\r\n").status(), 202);
  EXPECT_EQ(post("Ce-Id: 2\r\n").status(), 202);
  ASSERT_EQ(events.calls.size(), 1U) << "the same hops, the same connection";
  EXPECT_EQ(events.calls[0].port, 8080);
  EXPECT_EQ(events.calls[0].hops,
            std::vector<std::string>{"spiffe://cluster.local/ns/default/sa/caller"});
  ASSERT_EQ(events.heads.size(), 2U);
  EXPECT_NE(events.heads[0].find("Ce-Id: 1\r\n"), std::string::npos);
  EXPECT_EQ(events.heads[0].find("forged"), std::string::npos);
}

TEST_F(RolesTest, WithoutIdentityItIsResetUnderStrict) {
  caller.injected = false;
  caller.spiffe_id.clear();
  rig.put_workload("caller", caller);
  start();
  FakeEvents events(*rig.loop, copy_of(ingress));
  ASSERT_TRUE(rig.until([&] { return ready(); }));
  EXPECT_EQ(post().status(), 0);
  EXPECT_TRUE(events.calls.empty());
}

TEST_F(RolesTest, WhileEventsIsDownRequestsAreToldWhenToComeAgain) {
  start();
  auto events = std::make_unique<FakeEvents>(*rig.loop, copy_of(ingress));
  ASSERT_TRUE(rig.until([&] { return ready(); }));
  EXPECT_EQ(post().status(), 202);
  const Instant gone = rig.loop->now();
  events.reset();
  const Answer down = post();
  EXPECT_EQ(down.status(), 503);
  EXPECT_NE(down.bytes.find("Retry-After: 1\r\n"), std::string::npos) << down.bytes;
  // Back soon: Ready never changed.
  events = std::make_unique<FakeEvents>(*rig.loop, copy_of(ingress));
  ASSERT_TRUE(rig.until([&] { return post().status() == 202; }));
  // A machine that held all of this up for so long saw an end that lasts.
  EXPECT_TRUE(ready() || rig.loop->now() - gone > std::chrono::milliseconds(400));
  // An end that lasts is the node's to know.
  events.reset();
  ASSERT_TRUE(rig.until([&] { return !ready(); }));
  events = std::make_unique<FakeEvents>(*rig.loop, copy_of(ingress));
  ASSERT_TRUE(rig.until([&] { return ready(); }));
  EXPECT_EQ(post().status(), 202);
}

TEST_F(RolesTest, OtherPortsOfTheRoleAreClosed) {
  start();
  FakeEvents events(*rig.loop, copy_of(ingress));
  ASSERT_TRUE(rig.until([&] { return ready(); }));
  pc::Service s;
  s.cluster_ips = {rig.ip(140)};
  s.ports = {{service_port, "http", pc::Protocol::Http, {{role.ip, 9092, "role1"}}}};
  rig.put(pc::Type::Service, "knative-eventing/broker-ingress", s);
  rig.apply();
  EXPECT_EQ(post().status(), 503);
  EXPECT_TRUE(events.calls.empty());
}

TEST_F(RolesTest, AConnectionOfARoleIsItsPods) {
  App& app = rig.app(30);
  pc::Workload w = rig.workload("sink", 30);
  w.inbound = pc::MtlsMode::Strict;
  rig.put_workload("sink", w);
  pc::Service s;
  s.cluster_ips = {rig.ip(141)};
  s.ports = {{80, "http", pc::Protocol::Http, {{w.ip, app.port, "sink"}}}};
  rig.put(pc::Type::Service, "default/sink", s);
  role.ns = "knative-eventing";
  rig.put_workload("role1", role);
  rig.apply();
  rig.node_pod("sink", w);
  ASSERT_TRUE(rig.until([&] { return rig.csrs == 3; }));
  ipc::Listener l;
  l.key = "role/role1";
  l.purpose = "role-egress:role1:mt-broker-ingress";
  ASSERT_TRUE(rig.engine->on_listener(l, copy_of(egress)));
  const std::string request =
      "POST / HTTP/1.1\r\nHost: sink.default.svc.cluster.local\r\nContent-Length: 0\r\n"
      "Kn-Namespace: default\r\nK-Network-Hash: forged\r\nConnection: close\r\n\r\n";
  for (const auto* host : {"sink.default.svc.cluster.local", "SINK.default.svc", "sink.default"}) {
    const Dialled d = dial({host, 80, ipc::RoleProtocol::Http}, request);
    EXPECT_EQ(d.answer.reason, "") << d.answer.text;
    EXPECT_TRUE(d.bytes.starts_with("HTTP/1.1 200 ")) << d.bytes;
  }
  EXPECT_EQ(app.requests, 3);
  ASSERT_TRUE(rig.until([&] { return rig.access_log["role1/istio-proxy"].size() == 3; }));
  const Dialled d = dial({"sink.default", 80, ipc::RoleProtocol::Http}, request);
  // The app's answer is the head that it got.
  EXPECT_NE(d.bytes.find("Kn-Namespace: default\r\n"), std::string::npos) << d.bytes;
  EXPECT_NE(d.bytes.find("URI=" + role.spiffe_id), std::string::npos) << d.bytes;
  EXPECT_EQ(d.bytes.find("forged"), std::string::npos) << d.bytes;
}

TEST_F(RolesTest, WithoutInjectionARoleHasNoIdentity) {
  App& app = rig.app(30);
  pc::Workload w = rig.workload("sink", 30);
  w.inbound = pc::MtlsMode::Strict;
  rig.put_workload("sink", w);
  pc::Service s;
  s.cluster_ips = {rig.ip(141)};
  s.ports = {{80, "http", pc::Protocol::Http, {{w.ip, app.port, "sink"}}}};
  rig.put(pc::Type::Service, "default/sink", s);
  start(false);
  const Dialled d = dial({"sink.default.svc", 80, ipc::RoleProtocol::Http}, "GET / HTTP/1.1\r\n");
  EXPECT_EQ(d.answer.reason, "NoMeshIdentity");
  EXPECT_EQ(d.answer.text,
            "connect to sink.default.svc:80: connection reset: default/sink accepts mTLS only "
            "(STRICT), and pod knative-eventing/mt-broker-ingress has no mesh identity: it is not "
            "injected (sidecar.istio.io/inject)");
  EXPECT_EQ(app.connections, 0);
}

TEST_F(RolesTest, SaysWhyItDoesNotConnect) {
  pc::Service empty;
  empty.cluster_ips = {rig.ip(142)};
  empty.ports = {{80, "tcp", pc::Protocol::Tcp, {}}};
  rig.put(pc::Type::Service, "default/empty", empty);
  pc::Service alias;
  alias.external_name = "example.com";
  rig.put(pc::Type::Service, "default/alias", alias);
  pc::Service circle;
  circle.external_name = "circle.default.svc.cluster.local";
  rig.put(pc::Type::Service, "default/circle", circle);
  start();
  const struct {
    const char* host;
    std::uint16_t port;
    const char* reason;
  } rows[] = {
      {"example.com", 443, "NoSuchHost"},      {"nothing.default.svc", 80, "NoSuchHost"},
      {"alias.default.svc", 80, "NoSuchHost"}, {"circle.default.svc", 80, "NoSuchHost"},
      {"empty.default.svc", 81, "NoSuchPort"}, {"empty.default.svc", 80, "NoEndpoints"},
      {"127.0.0.1", 6443, "EgressRefused"},    {"169.254.169.254", 80, "EgressRefused"},
      {"192.0.2.1", 80, "EgressRefused"},      {"", 80, "Malformed"},
      {"empty.default.svc", 0, "Malformed"},
  };
  for (const auto& row : rows) {
    const Dialled d = dial({row.host, row.port, ipc::RoleProtocol::Http});
    EXPECT_EQ(d.answer.reason, row.reason) << row.host << " " << d.answer.text;
    EXPECT_NE(d.answer.text, "");
  }
}

TEST_F(RolesTest, WhatIsNoDialIsClosed) {
  start();
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(8, '\xff'),
        ipc::opening_text("\xff\xff"), ipc::opening_text(std::string(4'096, '\xff'))}) {
    EXPECT_TRUE(frame(bytes).closed);
  }
}

TEST_F(RolesTest, ARoleThatGoesIsClosed) {
  start();
  FakeEvents events(*rig.loop, copy_of(ingress));
  ASSERT_TRUE(rig.until([&] { return ready(); }));
  ipc::Listener gone;
  gone.key = "role/role1";
  gone.purpose = "role-egress:role1:mt-broker-ingress";
  ASSERT_TRUE(rig.engine->on_listener(gone, Fd()));
  EXPECT_EQ(post().status(), 503);
}

}  // namespace
}  // namespace knit::proxy::test
