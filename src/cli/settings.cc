#include "cli/settings.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>

namespace knit::cli {
namespace {
using S = Settings;

Error invalid(std::string text) { return {Code::InvalidArgument, std::move(text)}; }

const Setting* find_row(std::string_view name) {
  for (const Setting& row : setting_table()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const Setting& row : setting_table()) out.emplace_back(row.name);
  return out;
}

std::string hint(std::string_view word) {
  const std::string near = nearest(word, names());
  return near.empty() ? "" : ", did you mean \"" + near + "\"?";
}

Result<void> set(Settings& s, const Setting& row, const std::string& text,
                 const std::string& where) {
  if (const auto* text_field = std::get_if<std::string S::*>(&row.field)) {
    if (!row.one_of.empty() &&
        std::find(row.one_of.begin(), row.one_of.end(), text) == row.one_of.end()) {
      std::string all;
      for (const auto& o : row.one_of) all += (all.empty() ? "" : ", ") + o;
      return invalid(where + ": " + row.name + " is \"" + text + "\", must be one of " + all);
    }
    s.** text_field = text;
    return {};
  }
  char* end = nullptr;
  const long v = std::strtol(text.c_str(), &end, 10);
  const bool number = !text.empty() && *end == '\0' && text.size() <= 5 &&
                      std::isdigit(static_cast<unsigned char>(text[0])) != 0;
  if (!number || v < row.min || v > row.max) {
    return invalid(where + ": " + row.name + " is \"" + text + "\", must be a number in " +
                   std::to_string(row.min) + ".." + std::to_string(row.max));
  }
  s.*std::get<std::uint16_t S::*>(row.field) = static_cast<std::uint16_t>(v);
  return {};
}

std::string trim(std::string_view v) {
  while (!v.empty() && (v.front() == ' ' || v.front() == '\t')) v.remove_prefix(1);
  while (!v.empty() && (v.back() == ' ' || v.back() == '\t' || v.back() == '\r')) {
    v.remove_suffix(1);
  }
  return std::string(v);
}

Result<void> apply_config(Settings& s, const Sources& from) {
  std::string_view rest = from.config;
  for (int number = 1; !rest.empty(); ++number) {
    const auto end = rest.find('\n');
    std::string line = trim(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (line.empty() || line[0] == '#') continue;
    const std::string where = from.config_path + ":" + std::to_string(number);
    const auto colon = line.find(':');
    if (colon == std::string::npos) return invalid(where + ": a line is `key: value`");
    const std::string key = trim(std::string_view(line).substr(0, colon));
    std::string value = trim(std::string_view(line).substr(colon + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    const Setting* row = find_row(key);
    if (row == nullptr) return invalid(where + ": unknown setting \"" + key + "\"" + hint(key));
    KNIT_TRY_VOID(set(s, *row, value, where));
  }
  return {};
}

bool dns_name(std::string_view v) {
  if (v.empty() || v.size() > 200) return false;
  std::size_t label = 0;
  for (std::size_t i = 0; i <= v.size(); ++i) {
    if (i == v.size() || v[i] == '.') {
      if (label == 0 || v[i - 1] == '-') return false;
      label = 0;
      continue;
    }
    const bool alnum = (v[i] >= 'a' && v[i] <= 'z') || (v[i] >= '0' && v[i] <= '9');
    if (!alnum && (v[i] != '-' || label == 0)) return false;
    if (++label > 63) return false;
  }
  return true;
}

}  // namespace

const std::vector<Setting>& setting_table() {
  static const std::vector<Setting> table = {
      {"data", &S::data, 0, 0, {}, "directory of store, keys, images and logs"},
      {"run", &S::run, 0, 0, {}, "directory of sockets and state while Knit runs"},
      {"node-name", &S::node_name, 0, 0, {}, "name of the one Node"},
      {"host-ip",
       &S::host_ip,
       0,
       0,
       {},
       "status.hostIP of pods (default: first address that is not loopback)"},
      {"api-address", &S::api_address, 0, 0, {}, "address the API listens on"},
      {"api-port",
       &S::api_port,
       1,
       65535,
       {},
       "port of the API; the next free one when it is taken"},
      {"apps-domain",
       &S::apps_domain,
       0,
       0,
       {},
       "domain of Routes, as in ingresses.config.openshift.io/cluster"},
      {"pod-cidr", &S::pod_cidr, 0, 0, {}, "addresses of pods"},
      {"service-cidr", &S::service_cidr, 0, 0, {}, "addresses of Services"},
      {"dns-ip", &S::dns_ip, 0, 0, {}, "the cluster's resolver, inside service-cidr"},
      {"pod-cidr6", &S::pod_cidr6, 0, 0, {}, "IPv6 addresses of pods"},
      {"service-cidr6", &S::service_cidr6, 0, 0, {}, "IPv6 addresses of Services"},
      {"router-address", &S::router_address, 0, 0, {}, "host address of the router's ports"},
      {"router-https-port", &S::router_https_port, 1, 65535, {}, "host port of the router for TLS"},
      {"router-http-port",
       &S::router_http_port,
       1,
       65535,
       {},
       "host port of the router for plain HTTP"},
      {"router-https-fallback",
       &S::router_https_fallback,
       1,
       65535,
       {},
       "used when router-https-port is taken"},
      {"router-http-fallback",
       &S::router_http_fallback,
       1,
       65535,
       {},
       "used when router-http-port is taken"},
      {"node-port-first", &S::node_port_first, 1, 65535, {}, "first port of NodePort Services"},
      {"node-port-last", &S::node_port_last, 1, 65535, {}, "last port of NodePort Services"},
      {"egress-allow",
       &S::egress_allow,
       0,
       0,
       {},
       "host-side destinations that pods may reach: address or CIDR[:port], ..."},
      {"compatibility",
       &S::compatibility,
       0,
       0,
       {"knit", "upstream"},
       "upstream: refuse and decide exactly as upstream does"},
      {"log-level", &S::log_level, 0, 0, {"debug", "info", "warn", "error"}, "what is logged"},
      {"workers", &S::workers, 0, 256, {}, "event loops of the proxy; 0: one per core"},
  };
  return table;
}

std::string environment_name(std::string_view setting) {
  std::string out = "KNIT_";
  for (const char c : setting) {
    out += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

std::string value_text(const Settings& s, const Setting& row) {
  if (const auto* text = std::get_if<std::string S::*>(&row.field)) return s.**text;
  return std::to_string(s.*std::get<std::uint16_t S::*>(row.field));
}

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& k : known) {
    std::vector<std::size_t> row(k.size() + 1);
    for (std::size_t j = 0; j <= k.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
      std::size_t diagonal = std::exchange(row[0], i);
      for (std::size_t j = 1; j <= k.size(); ++j) {
        const std::size_t same = diagonal + (word[i - 1] == k[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, same});
      }
    }
    if (row[k.size()] < best_distance) {
      best_distance = row[k.size()];
      best = k;
    }
  }
  return best;
}

Result<Settings> resolve(const Sources& from) {
  Settings s;
  KNIT_TRY_VOID(apply_config(s, from));
  for (const auto& [variable, value] : from.environment) {
    if (variable.compare(0, 5, "KNIT_") != 0 || variable == "KNIT_CONFIG") continue;
    const Setting* found = nullptr;
    for (const Setting& row : setting_table()) {
      if (environment_name(row.name) == variable) found = &row;
    }
    if (found == nullptr) {
      std::string word;
      for (const char c : variable.substr(5)) {
        word += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      }
      const std::string near = nearest(word, names());
      return invalid("environment: unknown setting " + variable +
                     (near.empty() ? "" : ", did you mean " + environment_name(near) + "?"));
    }
    KNIT_TRY_VOID(set(s, *found, value, "environment " + variable));
  }
  for (const auto& [name, value] : from.flags) {
    const Setting* row = find_row(name);
    if (row == nullptr) return invalid("unknown flag --" + name + hint(name));
    KNIT_TRY_VOID(set(s, *row, value, "flag --" + name));
  }
  KNIT_TRY_VOID(validate(s));
  s.api_port_asked = s.api_port;
  return s;
}

Result<Cidr> parse_cidr(std::string_view text) {
  const auto slash = text.find('/');
  const std::string address(text.substr(0, slash));
  Cidr out;
  unsigned bits = 32;
  if (inet_pton(AF_INET, address.c_str(), out.address) == 1) {
    out.family = AF_INET;
  } else if (inet_pton(AF_INET6, address.c_str(), out.address) == 1) {
    out.family = AF_INET6;
    bits = 128;
  } else {
    return invalid("\"" + std::string(text) + "\" is no address or CIDR");
  }
  out.prefix = bits;
  if (slash != std::string_view::npos) {
    const std::string digits(text.substr(slash + 1));
    char* end = nullptr;
    const long v = std::strtol(digits.c_str(), &end, 10);
    if (digits.empty() || digits.size() > 3 || *end != '\0' || v < 0 ||
        v > static_cast<long>(bits)) {
      return invalid("\"" + std::string(text) + "\" has no valid prefix length");
    }
    out.prefix = static_cast<unsigned>(v);
  }
  return out;
}

bool overlap(const Cidr& a, const Cidr& b) {
  if (a.family != b.family) return false;
  const unsigned bits = std::min(a.prefix, b.prefix);
  for (unsigned i = 0; i < bits; ++i) {
    if ((((a.address[i / 8] ^ b.address[i / 8]) >> (7 - i % 8)) & 1) != 0) return false;
  }
  return true;
}

Result<void> validate(const Settings& s) {
  for (const auto& [name, path] : {std::pair("data", &s.data), std::pair("run", &s.run)}) {
    if (path->empty() || path->front() != '/' || *path == "/" || path->size() > 80 ||
        path->find("..") != std::string::npos) {
      return invalid(std::string(name) + " is \"" + *path +
                     "\", must be an absolute path of a "
                     "directory of its own, at most 80 characters");
    }
  }
  if (s.data == s.run) return invalid("data and run are the same directory");
  if (!dns_name(s.node_name)) return invalid("node-name \"" + s.node_name + "\" is no DNS name");
  if (!dns_name(s.apps_domain)) {
    return invalid("apps-domain \"" + s.apps_domain + "\" is no DNS name");
  }
  const struct {
    const char* name;
    const std::string* text;
    int family;
    unsigned min, max;
  } ranges[] = {{"pod-cidr", &s.pod_cidr, AF_INET, 8, 28},
                {"service-cidr", &s.service_cidr, AF_INET, 8, 28},
                {"pod-cidr6", &s.pod_cidr6, AF_INET6, 32, 120},
                {"service-cidr6", &s.service_cidr6, AF_INET6, 32, 120}};
  std::vector<Cidr> parsed;
  for (const auto& r : ranges) {
    const auto cidr = parse_cidr(*r.text);
    if (!cidr) return Error(cidr.error()).within(r.name);
    if (cidr->family != r.family || cidr->prefix < r.min || cidr->prefix > r.max) {
      return invalid(std::string(r.name) + " \"" + *r.text + "\" must be IPv" +
                     (r.family == AF_INET ? "4" : "6") + " with a prefix of " +
                     std::to_string(r.min) + ".." + std::to_string(r.max) + " bits");
    }
    parsed.push_back(*cidr);
  }
  if (overlap(parsed[0], parsed[1]) || overlap(parsed[2], parsed[3])) {
    return invalid("pod-cidr and service-cidr overlap");
  }
  const auto dns = parse_cidr(s.dns_ip);
  if (!dns || dns->family != AF_INET || dns->prefix != 32 || !overlap(*dns, parsed[1])) {
    return invalid("dns-ip \"" + s.dns_ip + "\" is no address inside service-cidr " +
                   s.service_cidr);
  }
  for (const auto& [name, text] :
       {std::pair("api-address", &s.api_address), std::pair("router-address", &s.router_address)}) {
    const auto a = parse_cidr(*text);
    if (!a || text->find('/') != std::string::npos) {
      return invalid(std::string(name) + " \"" + *text + "\" is no IP address");
    }
  }
  if (!s.host_ip.empty() && (!parse_cidr(s.host_ip) || s.host_ip.find('/') != std::string::npos)) {
    return invalid("host-ip \"" + s.host_ip + "\" is no IP address");
  }
  if (s.node_port_first > s.node_port_last) {
    return invalid("node-port-first is greater than node-port-last");
  }
  return {};
}

}  // namespace knit::cli
