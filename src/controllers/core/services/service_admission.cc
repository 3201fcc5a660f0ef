#include "controllers/core/services/service_admission.h"

#include <algorithm>

#include "base/hash.h"

namespace knit::controllers::core {
namespace {

std::string name_of(const Json& service) {
  return std::string(json::str(service, {"metadata", "namespace"})) + "/" +
         std::string(json::str(service, {"metadata", "name"}));
}

// Whether another Service's stored bytes hold `needle`; the byte after it is no digit. Canonical
// JSON makes this exact, and a thousand times cheaper than parsing every Service.
bool taken(const World& world, const Key& self, std::string_view needle) {
  for (const auto& other : world.list(res::services())) {
    if (other->key() == self) continue;
    const std::string& bytes = other->bytes();
    for (auto at = bytes.find(needle); at != std::string::npos; at = bytes.find(needle, at + 1)) {
      const std::size_t end = at + needle.size();
      if (end >= bytes.size() || bytes[end] < '0' || bytes[end] > '9') return true;
    }
  }
  return false;
}
bool address_taken(const World& world, const Key& self, const std::string& address) {
  return taken(world, self, "\"clusterIP\":\"" + address + "\"");
}

Result<std::string> allocate_v4(const World& world, const Key& self, const ServiceRanges& ranges) {
  KNIT_TRY(const auto range, parse_v4_range(ranges.v4));
  const auto [network, size] = range;
  const std::uint32_t hosts = size - 2;
  // The first 16 and DNS are kept for addresses that are asked for by name.
  const std::uint32_t kept = std::min<std::uint32_t>(16, hosts / 2);
  const std::uint32_t start = hash::fnv32a(self.ns + "/" + self.name) % (hosts - kept);
  for (std::uint32_t i = 0; i < hosts - kept; ++i) {
    const std::string address = print_v4(network + 1 + kept + (start + i) % (hosts - kept));
    if (address != ranges.dns_ip && !address_taken(world, self, address)) return address;
  }
  return Error(Code::ResourceExhausted, "services " + self.ns + "/" + self.name +
                                            ": no address of " + ranges.v4 + " is free");
}

Result<void> admit_families(const Key& self, const Json& service) {
  const auto invalid = [&](const std::string& what) {
    return Error(Code::InvalidArgument, "Service \"" + self.name + "\" is invalid: " + what);
  };
  const auto& families = json::array(service, {"spec", "ipFamilies"});
  for (std::size_t i = 0; i < families.size(); ++i) {
    if (families[i] != Json("IPv4")) {
      return invalid("spec.ipFamilies[" + std::to_string(i) + "]: Invalid value: " +
                     json::print(families[i]) + ": not configured on this cluster");
    }
  }
  if (json::str(service, {"spec", "ipFamilyPolicy"}) == "RequireDualStack") {
    return invalid(
        "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured "
        "for dual-stack services");
  }
  return {};
}

Result<void> admit_address(const World& world, const Key& self, Json& service, const Json* before,
                           const ServiceRanges& ranges) {
  std::string address(json::str(service, {"spec", "clusterIP"}));
  if (before != nullptr) {
    const std::string old(json::str(*before, {"spec", "clusterIP"}));
    if (!old.empty() && json::str(*before, {"spec", "type"}) != "ExternalName") {
      if (!address.empty() && address != old) {
        return Error(Code::InvalidArgument, "Service \"" + self.name +
                                                "\" is invalid: spec.clusterIPs[0]: Invalid "
                                                "value: \"" +
                                                address + "\": may not change once set");
      }
      address = old;
    }
  }
  if (address.empty()) {
    KNIT_TRY(address, allocate_v4(world, self, ranges));
  } else if (address != "None") {
    const auto asked = parse_v4(address);
    KNIT_TRY(const auto range, parse_v4_range(ranges.v4));
    if (!asked || *asked <= range.first || *asked >= range.first + range.second - 1) {
      return Error(Code::InvalidArgument,
                   "Service \"" + self.name + "\" is invalid: spec.clusterIPs: Invalid value: [\"" +
                       address + "\"]: failed to allocate IP " + address +
                       ": the provided IP is not in the valid range. The range of valid IPs is " +
                       ranges.v4);
    }
    if (address_taken(world, self, address)) {
      return Error(Code::InvalidArgument, "Service \"" + self.name +
                                              "\" is invalid: spec.clusterIPs: Invalid value: [\"" +
                                              address + "\"]: failed to allocate IP " + address +
                                              ": provided IP is already allocated");
    }
  }
  json::set(service, {"spec", "clusterIP"}, Json(address));
  if (json::array(service, {"spec", "clusterIPs"}).empty() ||
      json::find(service, {"spec", "clusterIPs"})->get_array()[0] != Json(address)) {
    json::set(service, {"spec", "clusterIPs"}, JsonArray{Json(address)});
  }
  if (json::array(service, {"spec", "ipFamilies"}).empty()) {
    json::set(service, {"spec", "ipFamilies"}, JsonArray{"IPv4"});
  }
  if (json::str(service, {"spec", "ipFamilyPolicy"}).empty()) {
    json::set(service, {"spec", "ipFamilyPolicy"}, Json("SingleStack"));
  }
  return {};
}

Result<void> admit_node_ports(const World& world, const Key& self, Json& service,
                              const Json* before, const ServiceRanges& ranges) {
  Json* ports = json::find(service, {"spec", "ports"});
  if (ports == nullptr || !ports->is_array()) return {};
  const int span = ranges.node_port_last - ranges.node_port_first + 1;
  std::vector<std::int64_t> mine;
  for (std::size_t i = 0; i < ports->get_array().size(); ++i) {
    Json& port = ports->get_array()[i];
    std::int64_t number = json::i64(port, {"nodePort"});
    if (number == 0 && before != nullptr) {
      for (const auto& old : json::array(*before, {"spec", "ports"})) {
        if (json::i64(old, {"port"}) == json::i64(port, {"port"}) &&
            json::str(old, {"protocol"}, "TCP") == json::str(port, {"protocol"}, "TCP")) {
          number = json::i64(old, {"nodePort"});
        }
      }
    }
    const auto is_taken = [&](std::int64_t n) {
      return std::find(mine.begin(), mine.end(), n) != mine.end() ||
             taken(world, self, "\"nodePort\":" + std::to_string(n));
    };
    if (number != 0) {
      if (number < ranges.node_port_first || number > ranges.node_port_last) {
        return Error(Code::InvalidArgument,
                     "Service \"" + self.name + "\" is invalid: spec.ports[" + std::to_string(i) +
                         "].nodePort: Invalid value: " + std::to_string(number) +
                         ": provided port is not in the valid range. The range of valid ports is " +
                         std::to_string(ranges.node_port_first) + "-" +
                         std::to_string(ranges.node_port_last));
      }
      if (is_taken(number)) {
        return Error(Code::InvalidArgument,
                     "Service \"" + self.name + "\" is invalid: spec.ports[" + std::to_string(i) +
                         "].nodePort: Invalid value: " + std::to_string(number) +
                         ": provided port is already allocated");
      }
    } else {
      const auto start =
          static_cast<int>(hash::fnv32a(self.ns + "/" + self.name + "/" + json::print(port)) %
                           static_cast<std::uint32_t>(span));
      for (int step = 0; step < span && number == 0; ++step) {
        const std::int64_t candidate = ranges.node_port_first + (start + step) % span;
        if (!is_taken(candidate)) number = candidate;
      }
      if (number == 0) {
        return Error(Code::ResourceExhausted,
                     "services " + name_of(service) + ": no node port is free");
      }
    }
    json::set(port, {"nodePort"}, Json(number));
    mine.push_back(number);
  }
  return {};
}

}  // namespace

Result<std::uint32_t> parse_v4(std::string_view text) {
  std::uint32_t address = 0;
  int parts = 0;
  std::size_t i = 0;
  while (parts < 4) {
    std::uint32_t value = 0;
    const std::size_t begin = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9' && i - begin < 3) {
      value = value * 10 + static_cast<std::uint32_t>(text[i++] - '0');
    }
    if (i == begin || value > 255) break;
    address = address << 8 | value;
    ++parts;
    if (parts < 4) {
      if (i >= text.size() || text[i] != '.') break;
      ++i;
    }
  }
  if (parts != 4 || i != text.size()) {
    return Error(Code::InvalidArgument, "\"" + std::string(text) + "\" is no IPv4 address");
  }
  return address;
}
std::string print_v4(std::uint32_t a) {
  return std::to_string(a >> 24) + "." + std::to_string(a >> 16 & 255) + "." +
         std::to_string(a >> 8 & 255) + "." + std::to_string(a & 255);
}
Result<std::pair<std::uint32_t, std::uint32_t>> parse_v4_range(std::string_view cidr) {
  const auto slash = cidr.find('/');
  const auto bad = [&] {
    return Error(Code::InvalidArgument,
                 "\"" + std::string(cidr) + "\" is no IPv4 range of 8 to 29 bits");
  };
  if (slash == std::string_view::npos || cidr.size() - slash > 3) return bad();
  KNIT_TRY(const std::uint32_t address, parse_v4(cidr.substr(0, slash)));
  unsigned bits = 0;
  for (const char c : cidr.substr(slash + 1)) {
    if (c < '0' || c > '9') return bad();
    bits = bits * 10 + static_cast<unsigned>(c - '0');
  }
  if (bits < 8 || bits > 29) return bad();
  const std::uint32_t size = 1U << (32 - bits);
  return std::pair{address & ~(size - 1), size};
}

bool needs_service_admission(const Json& service) {
  const auto type = json::str(service, {"spec", "type"});
  if (type == "ExternalName") return false;
  if (type.empty() || json::str(service, {"spec", "clusterIP"}).empty() ||
      json::array(service, {"spec", "clusterIPs"}).empty() ||
      json::array(service, {"spec", "ipFamilies"}).empty()) {
    return true;
  }
  if (type != "NodePort" && type != "LoadBalancer") return false;
  const auto& ports = json::array(service, {"spec", "ports"});
  return std::any_of(ports.begin(), ports.end(),
                     [](const Json& p) { return json::i64(p, {"nodePort"}) == 0; });
}

Result<void> admit_service(const World& world, Json& service, const Json* before,
                           const ServiceRanges& ranges) {
  const Key self{res::services(), std::string(json::str(service, {"metadata", "namespace"})),
                 std::string(json::str(service, {"metadata", "name"}))};
  if (json::str(service, {"spec", "type"}).empty()) {
    json::set(service, {"spec", "type"}, Json("ClusterIP"));
  }
  if (json::str(service, {"spec", "sessionAffinity"}).empty()) {
    json::set(service, {"spec", "sessionAffinity"}, Json("None"));
  }
  const std::string type(json::str(service, {"spec", "type"}));
  if (type == "ExternalName") {
    for (const auto field : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}) {
      json::erase(service, {"spec", field});
    }
    return {};
  }
  KNIT_TRY_VOID(admit_families(self, service));
  KNIT_TRY_VOID(admit_address(world, self, service, before, ranges));
  if (json::str(service, {"spec", "internalTrafficPolicy"}).empty()) {
    json::set(service, {"spec", "internalTrafficPolicy"}, Json("Cluster"));
  }
  if (Json* ports = json::find(service, {"spec", "ports"}); ports && ports->is_array()) {
    for (auto& port : ports->get_array()) {
      if (json::find(port, "protocol") == nullptr) json::set(port, {"protocol"}, Json("TCP"));
      if (json::find(port, "targetPort") == nullptr &&
          json::str(service, {"spec", "clusterIP"}) != "None") {
        json::set(port, {"targetPort"}, Json(json::i64(port, {"port"})));
      }
    }
  }
  if (type == "NodePort" || type == "LoadBalancer") {
    KNIT_TRY_VOID(admit_node_ports(world, self, service, before, ranges));
    if (json::str(service, {"spec", "externalTrafficPolicy"}).empty()) {
      json::set(service, {"spec", "externalTrafficPolicy"}, Json("Cluster"));
    }
  } else if (Json* ports = json::find(service, {"spec", "ports"}); ports && ports->is_array()) {
    for (auto& port : ports->get_array()) json::erase(port, {"nodePort"});
    json::erase(service, {"spec", "externalTrafficPolicy"});
  }
  return {};
}

}  // namespace knit::controllers::core
