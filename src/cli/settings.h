// The settings that all processes share: one table gives each its flag, its environment variable,
// its key in the config file, its bounds and its help.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/codec.h"
#include "base/result.h"

namespace knit::cli {

struct Settings {
  std::string data = "/var/lib/knit";  // store, keys, images, logs
  std::string run = "/run/knit";       // sockets and state of the running Knit
  std::string node_name = "knit";
  std::string host_ip;  // `knit up` fills it
  std::string api_address = "127.0.0.1";
  std::uint16_t api_port = 6443;
  std::string apps_domain = "apps.knit.localhost";
  std::string pod_cidr = "10.128.0.0/20";
  std::string service_cidr = "172.30.0.0/16";
  std::string dns_ip = "172.30.0.10";
  std::string pod_cidr6 = "fd00:10:128::/64";
  std::string service_cidr6 = "fd00:10:30::/112";
  std::string router_address = "0.0.0.0";
  std::uint16_t router_https_port = 443, router_http_port = 80;
  std::uint16_t router_https_fallback = 8443, router_http_fallback = 8080;
  std::uint16_t node_port_first = 30000, node_port_last = 32767;
  std::string egress_allow;            // comma-separated address-or-CIDR[:port]
  std::string compatibility = "knit";  // or "upstream"
  std::string log_level = "info";      // debug, info, warn, error
  std::uint16_t workers = 0;           // proxy loops; 0: one per core
  // Not in the table: what `knit up` found out.
  std::uint16_t api_port_asked = 6443;
  std::uint32_t server_uid = 0, server_gid = 0, proxy_uid = 0, proxy_gid = 0;
  std::uint32_t events_uid = 0, events_gid = 0;

  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.data);
    v(2, s.run);
    v(3, s.node_name);
    v(4, s.host_ip);
    v(5, s.api_address);
    v(6, s.api_port);
    v(7, s.apps_domain);
    v(8, s.pod_cidr);
    v(9, s.service_cidr);
    v(10, s.dns_ip);
    v(11, s.pod_cidr6);
    v(12, s.service_cidr6);
    v(13, s.router_address);
    v(14, s.router_https_port);
    v(15, s.router_http_port);
    v(16, s.router_https_fallback);
    v(17, s.router_http_fallback);
    v(18, s.node_port_first);
    v(19, s.node_port_last);
    v(20, s.egress_allow);
    v(21, s.compatibility);
    v(22, s.log_level);
    v(23, s.workers);
    v(24, s.api_port_asked);
    v(25, s.server_uid);
    v(26, s.server_gid);
    v(27, s.proxy_uid);
    v(28, s.proxy_gid);
    v(29, s.events_uid);
    v(30, s.events_gid);
  }
};

struct Setting {
  const char* name;  // flag --name, key `name:`, environment KNIT_NAME
  std::variant<std::string Settings::*, std::uint16_t Settings::*> field;
  std::uint16_t min = 0, max = 0;   // numbers
  std::vector<std::string> one_of;  // texts; empty: any
  const char* help;
};
const std::vector<Setting>& setting_table();
std::string environment_name(std::string_view setting);  // "api-port" → "KNIT_API_PORT"
std::string value_text(const Settings& s, const Setting& row);

/// Where values come from, strongest first.
struct Sources {
  std::map<std::string, std::string> flags;        // by setting name
  std::map<std::string, std::string> environment;  // all of it; only KNIT_* is read
  std::string config;                              // text of the config file
  std::string config_path;                         // for messages
};
/// Flags > KNIT_* > config file > default, validated as a whole. Errors: InvalidArgument, with the
/// setting, the place and, for an unknown key, the nearest known one.
Result<Settings> resolve(const Sources& sources);
/// What no single field tells: ranges that overlap, an address outside its range …
Result<void> validate(const Settings& s);

/// The nearest of `known` to a misspelt `word` ("did you mean"), or empty.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

struct Cidr {
  int family = 0;  // AF_INET or AF_INET6
  unsigned char address[16] = {};
  unsigned prefix = 0;
};
Result<Cidr> parse_cidr(std::string_view text);  // a bare address is a host route
bool overlap(const Cidr& a, const Cidr& b);

}  // namespace knit::cli
