#include "dns/answer.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace knit::dns {
namespace {

constexpr int kMaxChase = 8;

std::vector<std::string_view> split(std::string_view s) {
  std::vector<std::string_view> out;
  while (!s.empty()) {
    const auto dot = s.find('.');
    out.push_back(s.substr(0, dot));
    if (dot == std::string_view::npos) break;
    s.remove_prefix(dot + 1);
  }
  return out;
}
/// The part in front of ".zone", or nullopt.
std::optional<std::string_view> inside(std::string_view name, std::string_view zone) {
  if (name == zone) return std::string_view{};
  if (name.size() > zone.size() + 1 && name.ends_with(zone) &&
      name[name.size() - zone.size() - 1] == '.') {
    return name.substr(0, name.size() - zone.size() - 1);
  }
  return std::nullopt;
}
std::string dashed(std::string_view ip) {
  std::string s(ip);
  std::replace(s.begin(), s.end(), '.', '-');
  std::replace(s.begin(), s.end(), ':', '-');
  return s;
}
/// "10-128-0-5" → "10.128.0.5"; v6 labels ("fd00--1") with colons.
std::string undashed(std::string_view label) {
  std::string s(label);
  const bool v4 =
      std::count(s.begin(), s.end(), '-') == 3 &&
      std::all_of(s.begin(), s.end(), [](char c) { return c == '-' || (c >= '0' && c <= '9'); });
  std::replace(s.begin(), s.end(), '-', v4 ? '.' : ':');
  return s;
}

/// "5.0.128.10.in-addr.arpa" → "10.128.0.5"
std::string reverse_ip(std::string_view name) {
  if (const auto part = inside(name, "in-addr.arpa")) {
    auto labels = split(*part);
    if (labels.size() != 4) return {};
    std::string out;
    for (auto it = labels.rbegin(); it != labels.rend(); ++it) {
      if (!out.empty()) out += '.';
      out += *it;
    }
    return encode_ip(out).size() == 4 ? out : "";
  }
  if (const auto part = inside(name, "ip6.arpa")) {
    auto labels = split(*part);
    if (labels.size() != 32) return {};
    std::string out;
    for (std::size_t i = 0; i < 32; ++i) {
      const auto& l = labels[31 - i];
      if (l.size() != 1) return {};
      if (i != 0 && i % 4 == 0) out += ':';
      out += l;
    }
    return encode_ip(out).size() == 16 ? out : "";
  }
  return {};
}

class Answering {
 public:
  Answering(const Query& q, const Names& names, const Zone& zone)
      : q_(q), names_(names), zone_(zone) {}

  /// Sets code_; false: the name is not ours.
  bool run() {
    if (const std::string ip = reverse_ip(q_.name); !ip.empty()) {
      const std::string name = names_.name_of(ip);
      if (name.empty()) return false;
      if (wants(RecordType::Ptr)) add(q_.name, RecordType::Ptr, encode_name(name));
      return true;
    }
    return look_up(q_.name, 0);
  }

  Rcode code = Rcode::NoError;
  std::vector<Record> answers;
  bool outside = false;  // a chain of CNAMEs left the zone

 private:
  bool wants(RecordType t) const {
    return q_.type == static_cast<std::uint16_t>(t) ||
           q_.type == static_cast<std::uint16_t>(RecordType::Any);
  }
  void add(std::string_view name, RecordType type, std::string data) {
    if (data.empty() || answers.size() >= 512) return;
    answers.push_back({std::string(name), type, zone_.ttl, std::move(data)});
  }
  void add_ips(std::string_view name, const std::vector<std::string>& ips) {
    for (const auto& ip : ips) {
      const std::string raw = encode_ip(ip);
      if (raw.size() == 4 && wants(RecordType::A)) add(name, RecordType::A, raw);
      if (raw.size() == 16 && wants(RecordType::Aaaa)) add(name, RecordType::Aaaa, raw);
    }
  }
  bool missing() {
    if (answers.empty()) code = Rcode::NxDomain;
    return true;
  }

  bool look_up(std::string_view name, int depth) {
    const auto part = inside(name, zone_.domain);
    if (!part) return false;
    const auto l = split(*part);
    if (l.empty()) return true;  // the zone itself: no data but SOA
    const std::string_view kind = l.back();
    if (l.size() == 1) {
      if (kind == "svc" || kind == "pod") return true;
      if (kind == "dns-version") {
        if (wants(RecordType::Txt)) add(name, RecordType::Txt, std::string("\x05") + "1.1.0");
        return true;
      }
      return missing();
    }
    const std::string_view ns = l[l.size() - 2];
    if (kind == "pod") {
      if (l.size() == 2) return names_.has_namespace(ns) || missing();
      if (l.size() != 3) return missing();
      const std::string ip = undashed(l[0]);
      if (!names_.has_pod(ns, ip)) return missing();
      add_ips(name, {ip});
      return true;
    }
    if (kind != "svc") return missing();
    if (l.size() == 2) return names_.has_namespace(ns) || missing();
    const std::string_view service = l[l.size() - 3];
    const auto s = names_.service(ns, service);
    if (!s) return missing();
    if (l.size() == 3) return whole_service(name, *s, depth);
    if (l.size() == 5 && l[0].starts_with('_') && l[1].starts_with('_')) {
      return srv(name, *s, l[0].substr(1), l[1].substr(1), service, ns);
    }
    if (l.size() == 4 && s->headless) {  // an endpoint, by its dashed address
      for (const auto& ip : s->ips) {
        if (dashed(ip) == l[0]) {
          add_ips(name, {ip});
          return true;
        }
      }
    }
    return missing();
  }

  bool whole_service(std::string_view name, const ServiceNames& s, int depth) {
    if (!s.external_name.empty()) {
      std::string target = s.external_name;
      if (target.ends_with('.')) target.pop_back();
      add(name, RecordType::Cname, encode_name(target));
      if (q_.type == static_cast<std::uint16_t>(RecordType::Cname)) return true;
      // Chased inside the zone, so that one answer is enough.
      if (depth < kMaxChase && !look_up(target, depth + 1)) outside = true;
      return true;
    }
    if (s.headless && s.ips.empty()) return missing();  // CoreDNS: NXDOMAIN without endpoints
    add_ips(name, s.ips);
    if (wants(RecordType::Srv)) {
      for (const auto& p : s.ports) add(name, RecordType::Srv, srv_data(p.port, name));
    }
    return true;
  }

  static std::string srv_data(std::uint16_t port, std::string_view target) {
    std::string out("\0\0\0\x64", 4);  // priority 0, weight 100
    out += static_cast<char>(port >> 8);
    out += static_cast<char>(port & 0xff);
    return out + encode_name(target);
  }

  bool srv(std::string_view name, const ServiceNames& s, std::string_view port,
           std::string_view protocol, std::string_view service, std::string_view ns) {
    const std::string base = std::string(service) + "." + std::string(ns) + ".svc." + zone_.domain;
    bool found = false;
    for (const auto& p : s.ports) {
      if (p.name != port || p.protocol != protocol) continue;
      found = true;
      if (!wants(RecordType::Srv)) continue;
      if (s.headless) {
        for (const auto& ip : s.ips) {
          add(name, RecordType::Srv, srv_data(p.port, dashed(ip) + "." + base));
        }
      } else {
        add(name, RecordType::Srv, srv_data(p.port, base));
      }
    }
    return found || missing();
  }

  const Query& q_;
  const Names& names_;
  const Zone& zone_;
};

Record soa(const Zone& zone) {
  Record r;
  r.name = zone.domain;
  r.type = RecordType::Soa;
  r.ttl = zone.ttl;
  r.data = encode_name("ns.dns." + zone.domain) + encode_name("hostmaster." + zone.domain);
  for (const std::uint32_t v : {1U, 7200U, 1800U, 86400U, zone.ttl}) {
    for (int shift = 24; shift >= 0; shift -= 8) r.data += static_cast<char>(v >> shift & 0xff);
  }
  return r;
}

}  // namespace

std::string answer(std::string_view bytes, const Names& names, const Zone& zone,
                   std::size_t limit) {
  const auto q = parse_query(bytes);
  if (!q) return format_error(bytes);
  if (limit < 65'535) limit = std::min<std::size_t>(limit, q->edns ? q->udp_size : 512);
  if (q->opcode != 0) return encode_response(*q, Rcode::NotImp, false, {}, {}, limit);
  if (q->klass != 1 && q->klass != 255) {
    return encode_response(*q, Rcode::Refused, false, {}, {}, limit);
  }
  Answering a(*q, names, zone);
  if (!a.run()) {
    // A search path of a pod ends in the zone (NXDOMAIN above); other names need a resolver
    // outside, and a quick no is better than a time-out.
    return encode_response(*q, Rcode::Refused, false, {}, {}, limit);
  }
  std::vector<Record> authority;
  if (a.answers.empty()) authority.push_back(soa(zone));
  // A CNAME that leaves the zone is answered as far as we know it.
  return encode_response(*q, a.outside ? Rcode::NoError : a.code, true, a.answers, authority,
                         limit);
}

}  // namespace knit::dns
