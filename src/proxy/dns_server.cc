#include "proxy/dns_server.h"

#include <sys/socket.h>

#include <array>

namespace knit::proxy {

using namespace std::chrono_literals;

std::optional<dns::ServiceNames> TableNames::service(std::string_view ns,
                                                     std::string_view name) const {
  const auto* s = t_.services.find(std::string(ns) + "/" + std::string(name));
  if (!s) return std::nullopt;
  dns::ServiceNames out;
  out.headless = s->headless;
  out.external_name = s->external_name;
  out.ips = s->headless ? s->dns_ips : s->cluster_ips;
  for (const auto& p : s->ports) out.ports.push_back({p.name, "tcp", p.port});
  return out;
}
bool TableNames::has_namespace(std::string_view ns) const {
  return t_.namespaces.find(ns) != nullptr;
}
bool TableNames::has_pod(std::string_view ns, std::string_view ip) const {
  const auto* w = t_.workload_at(ip);
  return w && w->ns == ns;
}
std::string TableNames::name_of(std::string_view ip) const {
  if (const auto* name = t_.service_by_ip.find(ip)) {
    const auto slash = name->find('/');
    return name->substr(slash + 1) + "." + name->substr(0, slash) + ".svc." +
           t_.settings.cluster_domain;
  }
  if (const auto* w = t_.workload_at(ip)) {
    std::string dashed(ip);
    for (char& c : dashed) c = c == '.' || c == ':' ? '-' : c;
    return dashed + "." + w->ns + ".pod." + t_.settings.cluster_domain;
  }
  return {};
}

dns::Zone zone_of(const Tables& t) { return {t.settings.cluster_domain, t.settings.dns_ip, 5}; }

DnsSocket::DnsSocket(Worker& worker, Fd fd) : worker_(worker), fd_(std::move(fd)) {
  watch_ = worker_.loop().watch(fd_.get(), io::Loop::Sharing::Sole, [this](io::Ready) { serve(); });
  serve();  // queries may have waited while nobody watched
}

void DnsSocket::serve() {
  std::array<char, 4096> buffer;
  const TablesRef t = worker_.tables();
  const TableNames names(*t);
  const dns::Zone zone = zone_of(*t);
  while (true) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const ssize_t n = ::recvfrom(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT,
                                 reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 0) {
      if (errno == EINTR || errno == ECONNREFUSED) continue;
      return;
    }
    const std::string out =
        dns::answer({buffer.data(), static_cast<std::size_t>(n)}, names, zone, 1232);
    if (out.empty()) continue;
    ::sendto(fd_.get(), out.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&from), size);
  }
}

DnsSession::DnsSession(Worker& worker, std::unique_ptr<Conn> conn)
    : Session(worker), conn_(std::move(conn)) {}
DnsSession::~DnsSession() { conn_->set_owner(nullptr); }

void DnsSession::begin() {
  conn_->set_owner(this);
  limit();
  if (conn_->phase() == Conn::Phase::Peeking) conn_->open();
  on_conn(*conn_);
}
void DnsSession::limit() {
  timer_ = worker_.loop().after(30s, [this] { close(); });
}

void DnsSession::on_conn(Conn&) {
  if (closed_) return;
  while (conn_->pending() < Conn::kHigh) {
    const std::string_view in = conn_->input();
    if (in.size() < 2) break;
    const std::size_t n = static_cast<std::size_t>(static_cast<unsigned char>(in[0])) << 8 |
                          static_cast<unsigned char>(in[1]);
    if (n > 4096) return close();
    if (in.size() < 2 + n) break;
    const TablesRef t = worker_.tables();
    const std::string out = dns::answer(in.substr(2, n), TableNames(*t), zone_of(*t), 65'535);
    conn_->consume(2 + n);
    if (out.empty()) return close();
    const char size[2] = {static_cast<char>(out.size() >> 8), static_cast<char>(out.size() & 0xff)};
    conn_->write({size, 2});
    conn_->write(out);
    limit();
  }
  conn_->flush();
  if (conn_->failed() || conn_->eof()) close();
}

void DnsSession::close() {
  if (closed_) return;
  closed_ = true;
  timer_.cancel();
  conn_->flush();
  conn_->set_owner(nullptr);
  worker_.retire(this);
}

void Worker::enter_dns(std::unique_ptr<Conn> conn, Caller) {
  auto s = std::make_unique<DnsSession>(*this, std::move(conn));
  DnsSession* p = s.get();
  adopt(std::move(s));
  p->begin();
}

void Worker::add_dns(const std::string& uid, Fd fd) {
  dns_[uid] = std::make_unique<DnsSocket>(*this, std::move(fd));
}
void Worker::remove_dns(const std::string& uid) { dns_.erase(uid); }

}  // namespace knit::proxy
