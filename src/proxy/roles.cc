#include "proxy/roles.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "proxy/dns_server.h"

namespace knit::proxy {
namespace {
constexpr std::string_view kLogModule = "roles";
using namespace std::chrono_literals;
constexpr Duration kOpeningLimit = 5s;
constexpr Duration kAgain = 20ms, kAgainLater = 1s;
constexpr Duration kLasting = 500ms;  // an end that is over sooner never was one for Ready
constexpr unsigned kTellEvery = 5;    // seconds
constexpr std::size_t kMaxName = 253;

bool is_address(const std::string& host) {
  in6_addr any{};
  return inet_pton(AF_INET, host.c_str(), &any) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

RoleVerdict refused(std::string reason, std::string text) {
  RoleVerdict v;
  v.answer = {std::move(reason), std::move(text)};
  return v;
}

/// As the pod's own resolver would find it: its namespace first, then the cluster's zone. Empty: no
/// such name.
std::string lookup(const Tables& t, const pc::Workload& role, std::string name) {
  const TableNames names(t);
  for (int aliases = 0; aliases < 8; ++aliases) {
    if (!name.empty() && name.back() == '.') name.pop_back();
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (is_address(name)) return name;
    std::string_view rest = name;
    const std::string zone = "." + t.settings.cluster_domain;
    if (rest.ends_with(zone)) rest.remove_suffix(zone.size());
    if (rest.ends_with(".svc")) rest.remove_suffix(4);
    const auto dot = rest.find('.');
    const std::string_view ns = dot == std::string_view::npos ? role.ns : rest.substr(dot + 1);
    const auto service = names.service(ns, rest.substr(0, dot));
    if (!service) return {};
    if (service->external_name.empty()) return service->ips.empty() ? "" : service->ips.front();
    name = service->external_name;
  }
  return {};
}
}  // namespace

RoleVerdict judge_dial(const Tables& t, const std::string& uid, const ipc::RoleDial& dial) {
  const auto* role = t.workloads.find(uid);
  if (!role) return refused("RoleUnknown", "the proxy does not know this role's pod yet");
  const std::string at = dial.host + ":" + std::to_string(dial.port);
  const std::string who = role->ns + "/" + role->name;
  if (dial.host.empty() || dial.host.size() > kMaxName || dial.port == 0) {
    return refused("Malformed", "no host and port to connect to");
  }
  RoleVerdict v;
  v.port = dial.port;
  v.ip = lookup(t, *role, dial.host);
  if (v.ip.empty()) {
    return refused("NoSuchHost", "lookup " + dial.host +
                                     ": no such host: it is no Service of the cluster, and no "
                                     "ServiceEntry brings in hosts from outside the mesh");
  }
  const Resolved r = resolve(t, v.ip, v.port);
  const pc::Workload* receiver = r.workload;
  const pc::Service* service = nullptr;
  std::uint16_t port = v.port;
  switch (r.kind) {
    case Resolved::Kind::Outside:
      if (egress_allowed(t, v.ip, v.port)) return v;
      return refused("EgressRefused", "connect to " + at +
                                          " refused: outside the mesh, and not in "
                                          "the setting egress-allow");
    case Resolved::Kind::NoSuchPort:
      return refused("NoSuchPort",
                     "Service " + r.service + " has no port " + std::to_string(v.port));
    case Resolved::Kind::Unknown:
      return refused("NoSuchHost", "nobody has the address of " + at);
    case Resolved::Kind::Router:
    case Resolved::Kind::Dns:
      return v;
    case Resolved::Kind::Service:
      service = t.services.find(r.service);
      // With a sidecar, HTTP says itself what is wrong.
      if (role->injected && speaks_http(t, *service, *r.port)) return v;
      if (r.port->backends.empty()) {
        return refused("NoEndpoints", "Service " + r.service + " has no ready endpoint");
      }
      receiver = t.workloads.find(r.port->backends.front().pod_uid);
      port = r.port->backends.front().port;
      break;
    case Resolved::Kind::Workload:
      break;
  }
  if (!receiver) return v;  // manual Endpoints: judged at the connection
  bool rejected =
      judge_hop(t, role, service, *receiver, port) == HopVerdict::Rejected && !role->injected;
  if (!role->injected && receiver->role == pc::Role::IngressGateway) {
    const auto* g =
        t.gateways.find(r.port ? r.port->backends.front().pod_uid + ":" + std::to_string(port)
                               : r.uid + ":" + std::to_string(port));
    rejected = g && std::any_of(g->servers.begin(), g->servers.end(),
                                [](const auto& s) { return s.tls == pc::TlsMode::IstioMutual; });
  }
  if (rejected) {
    return refused("NoMeshIdentity",
                   "connect to " + at + ": connection reset: " + receiver->ns + "/" +
                       receiver->name + " accepts mTLS only (STRICT), and pod " + who +
                       " has no mesh identity: it is not injected (sidecar.istio.io/inject)");
  }
  return v;
}

// ---- egress

RoleDoorway::RoleDoorway(Worker& worker, std::unique_ptr<Conn> conn, std::string uid)
    : Session(worker), conn_(std::move(conn)), uid_(std::move(uid)) {}
RoleDoorway::~RoleDoorway() {
  if (conn_) conn_->set_owner(nullptr);
}

void RoleDoorway::begin() {
  conn_->set_owner(this);
  timer_ = worker_.loop().after(kOpeningLimit, [this] { close(); });
  on_conn(*conn_);
}

void RoleDoorway::close() {
  if (gone_) return;
  gone_ = true;
  timer_.cancel();
  conn_->set_owner(nullptr);
  worker_.retire(this);
}

void RoleDoorway::on_conn(Conn& conn) {
  if (gone_) return;
  const std::string_view bytes = conn.peek();
  if (bytes.empty()) {
    if (conn.failed() || conn.eof()) close();
    return;
  }
  const auto size = ipc::opening_size(bytes);
  if (!size) return close();
  if (!*size) return;
  const auto dial = ipc::read_opening<ipc::RoleDial>(bytes.substr(0, **size));
  // Taken off exactly: what follows is the connection's.
  std::string frame(**size, '\0');
  if (::recv(conn.fd(), frame.data(), frame.size(), MSG_DONTWAIT) !=
          static_cast<ssize_t>(frame.size()) ||
      !dial) {
    return close();
  }
  dialled(*dial);
}

void RoleDoorway::dialled(const ipc::RoleDial& dial) {
  const TablesRef t = worker_.tables();
  const RoleVerdict verdict = judge_dial(*t, uid_, dial);
  const std::string answer = ipc::opening(verdict.answer);
  const bool told = ::send(conn_->fd(), answer.data(), answer.size(),
                           MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(answer.size());
  const auto* w = t->workloads.find(uid_);
  if (!told || !verdict.answer.reason.empty() || !w) {
    if (verdict.answer.reason == "EgressRefused") {
      worker_.metrics().count_egress_refused(w->ns + "/" + w->name + " " + dial.host + ":" +
                                             std::to_string(dial.port));
    }
    return close();
  }
  gone_ = true;
  timer_.cancel();
  conn_->set_owner(nullptr);
  auto conn = std::move(conn_);
  Worker& worker = worker_;
  Caller caller{uid_, w->ip, 0, true};
  worker.retire(this);
  worker.enter_captured(std::move(conn), std::move(caller), verdict.ip, verdict.port);
}

void Worker::enter_role(std::unique_ptr<Conn> conn, const std::string& uid) {
  auto s = std::make_unique<RoleDoorway>(*this, std::move(conn), uid);
  RoleDoorway* p = s.get();
  adopt(std::move(s));
  p->begin();
}

// ---- ingress

std::unique_ptr<Conn> connect_role(io::Loop& loop, const std::string& path) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (path.size() >= sizeof at.sun_path) return nullptr;
  std::memcpy(at.sun_path, path.c_str(), path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  // EAGAIN: as many wait there as the backlog takes.
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
    return nullptr;
  }
  auto conn = std::make_unique<Conn>(loop, std::move(fd));
  conn->start(Conn::Phase::Open);
  return conn;
}

class RoleProber::Attempt final : public Conn::Owner {
 public:
  Attempt(RoleProber& prober, std::string uid, std::unique_ptr<Conn> conn)
      : prober_(prober), uid_(std::move(uid)), conn_(std::move(conn)) {
    conn_->set_owner(this);
    conn_->write(ipc::opening(ipc::RoleCall{.port = 0, .hops = {}, .probe = true}));
    conn_->flush();
  }
  ~Attempt() override { conn_->set_owner(nullptr); }
  void on_conn(Conn& conn) override {
    const auto size = ipc::opening_size(conn.input());
    const bool over = conn.failed() || conn.eof() || !size;
    if (!over && !*size) return;
    std::optional<std::string> reason;
    if (!over) {
      const auto answer = ipc::read_opening<ipc::RoleAnswer>(conn.input().substr(0, **size));
      reason = answer ? answer->reason : "Malformed";
      conn.consume(**size);
    }
    // Not from inside our own callback: this ends here.
    prober_.loop_.post([p = &prober_, alive = std::weak_ptr(alive_), uid = uid_, reason] {
      if (alive.expired()) return;
      if (reason) {
        p->answered(uid, *reason);
      } else {
        p->ended(uid);
      }
    });
  }

 private:
  RoleProber& prober_;
  const std::string uid_;
  std::unique_ptr<Conn> conn_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

RoleProber::RoleProber(io::Loop& loop, std::string run_dir, Hooks hooks)
    : loop_(loop), run_dir_(std::move(run_dir)), hooks_(std::move(hooks)) {}
RoleProber::~RoleProber() = default;

void RoleProber::add(const std::string& uid) {
  if (!pods_.try_emplace(uid).second) return;
  start(uid);
}

void RoleProber::remove(const std::string& uid) {
  if (pods_.erase(uid) != 0) hooks_.up(uid, false);
}

void RoleProber::start(const std::string& uid) {
  Pod& pod = pods_[uid];
  auto conn = connect_role(loop_, ipc::role_ingress_path(run_dir_, uid));
  if (!conn) {
    pod.again = loop_.after(kAgainLater, [this, uid] { start(uid); });
    return;
  }
  pod.attempt = std::make_unique<Attempt>(*this, uid, std::move(conn));
}

void RoleProber::answered(const std::string& uid, std::string reason) {
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  Pod& pod = it->second;
  if (!reason.empty()) return ended(uid);
  if (std::exchange(pod.up, true)) return;
  pod.lasting.cancel();
  KNIT_LOG(Info, "a role is served", KV("pod", uid));
  hooks_.up(uid, true);
  tell(uid, pod);
}

/// Events ended, or serves this role no more. The next process finds the connection in its backlog.
void RoleProber::ended(const std::string& uid) {
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  Pod& pod = it->second;
  pod.attempt.reset();
  pod.again = loop_.after(kAgain, [this, uid] { start(uid); });
  if (std::exchange(pod.up, false)) {
    KNIT_LOG(Warn, "a role is not served", KV("pod", uid));
    hooks_.up(uid, false);
    pod.lasting.cancel();
  }
  if (pod.lasting) return;
  pod.lasting = loop_.after(kLasting, [this, uid] {
    const auto found = pods_.find(uid);
    if (found != pods_.end() && !found->second.up) tell(uid, found->second);
  });
}

void RoleProber::tell(const std::string& uid, Pod& pod) {
  if (pod.told && pod.told_up == pod.up) return;
  pod.told = true;
  pod.told_up = pod.up;
  hooks_.probed({uid, std::string(ipc::kRoleProbe), pod.up,
                 pod.up ? "" : "the events process does not serve this role"});
}

void RoleProber::resend() {
  for (auto& [uid, pod] : pods_) {
    if (!pod.told) continue;
    pod.told = false;
    tell(uid, pod);
  }
}

void RoleProber::tick() {
  if (++ticks_ % kTellEvery == 0) resend();
}

}  // namespace knit::proxy
