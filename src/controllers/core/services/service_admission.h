// What a Service gets between a client's create and the store: addresses and node ports.
#pragma once

#include <string>

#include "controllers/core/util.h"

namespace knit::controllers::core {

struct ServiceRanges {
  std::string v4 = "172.30.0.0/16";
  std::string dns_ip = "172.30.0.10";  // kept free
  int node_port_first = 30000, node_port_last = 32767;
};

/// Completes `service` (a whole Service) for storing: type, sessionAffinity, ipFamilies, clusterIP
/// and clusterIPs (a free address of the range; the same name asks for the same one first),
/// nodePorts. Services are single-stack IPv4; others are refused as a cluster without IPv6 does.
/// `before` is the stored object on update, whose addresses stay. Doing it twice
/// changes nothing more. Errors: InvalidArgument (an address out of range or immutable),
/// AlreadyExists (taken), ResourceExhausted (the range is full).
/// Source: kubernetes pkg/registry/core/service/storage/{alloc,storage}.go
Result<void> admit_service(const World& world, Json& service, const Json* before,
                           const ServiceRanges& ranges);

/// True when a field is missing that admit_service() sets.
bool needs_service_admission(const Json& service);

/// The network, first usable host index and size of "a.b.c.d/n"; for tests and bootstrap.
Result<std::pair<std::uint32_t, std::uint32_t>> parse_v4_range(std::string_view cidr);
Result<std::uint32_t> parse_v4(std::string_view text);
std::string print_v4(std::uint32_t address);

}  // namespace knit::controllers::core
