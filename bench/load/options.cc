#include "load/options.h"

#include <charconv>
#include <fstream>
#include <functional>
#include <iterator>

namespace knit::load {
namespace {

struct Flag {
  std::string_view name;
  std::string_view value;  // what stands in the usage; empty: takes none
  std::string_view help;
  std::function<Result<void>(Options&, const std::string&)> set;
};

Error bad(std::string text) { return Error(Code::InvalidArgument, std::move(text)); }

Result<double> number(std::string_view text, double least, double most) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= least) ||
      !(value <= most))
    return bad("'" + std::string(text) + "' is not a number from " + std::to_string(least) +
               " to " + std::to_string(most));
  return value;
}

Result<std::uint16_t> port_number(std::string_view text) {
  KNIT_TRY(const double value, number(text, 1, 65535));
  return static_cast<std::uint16_t>(value);
}

/// "host:port" or "[v6]:port"; `port` stays as it is where none is named.
Result<void> split_authority(std::string_view text, std::string& host, std::uint16_t& port) {
  std::string_view rest;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return bad("'" + std::string(text) + "' lacks a ']'");
    host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
  } else {
    const auto colon = text.find(':');
    host = text.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (host.empty()) return bad("'" + std::string(text) + "' names no host");
  if (rest.empty()) return {};
  if (!rest.starts_with(':')) return bad("'" + std::string(text) + "' is not host:port");
  KNIT_TRY(port, port_number(rest.substr(1)));
  return {};
}

Flag text_flag(std::string_view name, std::string_view value, std::string_view help,
               std::string Options::* member) {
  return {name, value, help, [member](Options& o, const std::string& v) -> Result<void> {
            o.*member = v;
            return {};
          }};
}

Flag number_flag(std::string_view name, std::string_view value, std::string_view help, double least,
                 double most, std::function<void(Options&, double)> set) {
  return {name, value, help,
          [least, most, set = std::move(set)](Options& o, const std::string& v) -> Result<void> {
            KNIT_TRY(const double n, number(v, least, most));
            set(o, n);
            return {};
          }};
}

const std::vector<Flag>& flags() {
  static const std::vector<Flag> all = {
      {"--connect", "HOST[:PORT]", "connect there instead of the URL's host",
       [](Options& o, const std::string& v) -> Result<void> {
         return split_authority(v, o.connect_host, o.connect_port);
       }},
      text_flag("--sni", "NAME", "server name in TLS instead of the URL's host", &Options::sni),
      text_flag("--cacert", "FILE", "roots that the server must chain to", &Options::ca),
      text_flag("--cert", "FILE", "client certificate chain", &Options::certificate),
      text_flag("--key", "FILE", "its key", &Options::key),
      {"--insecure", "", "take any server certificate",
       [](Options& o, const std::string&) -> Result<void> {
         o.insecure = true;
         return {};
       }},
      text_flag("--method", "NAME", "GET", &Options::method),
      {"--header", "'NAME: VALUE'", "may be given again and again",
       [](Options& o, const std::string& v) -> Result<void> {
         if (v.find(':') == std::string::npos || v.find_first_of("\r\n") != std::string::npos)
           return bad("header '" + v + "' is not 'name: value'");
         o.headers.push_back(v);
         return {};
       }},
      text_flag("--body", "TEXT", "the request's body; {n} becomes its number", &Options::body),
      {"--body-file", "FILE", "the same from a file",
       [](Options& o, const std::string& v) -> Result<void> {
         std::ifstream in(v, std::ios::binary);
         if (!in) return bad("cannot read " + v);
         o.body.assign(std::istreambuf_iterator<char>(in), {});
         return {};
       }},
      text_flag("--expect", "TEXT", "anything but this body is an error", &Options::expect),
      number_flag("--connections", "N", "at most so many at a time (1)", 1, 20'000,
                  [](Options& o, double n) { o.connections = static_cast<std::uint32_t>(n); }),
      {"--new", "", "a new connection for every request",
       [](Options& o, const std::string&) -> Result<void> {
         o.fresh = true;
         return {};
       }},
      number_flag("--rate", "R", "open loop: R requests a second, due at fixed times", 0.001, 1e6,
                  [](Options& o, double n) { o.rate = n; }),
      number_flag("--duration", "SECONDS", "how long new requests are made (10)", 0.001, 86'400,
                  [](Options& o, double n) { o.duration = n; }),
      number_flag("--requests", "N", "stop after so many", 1, 1e9,
                  [](Options& o, double n) { o.requests = static_cast<std::uint64_t>(n); }),
      number_flag("--timeout", "SECONDS", "per request, from when it was due (30)", 0.001, 3600,
                  [](Options& o, double n) { o.timeout = n; }),
      text_flag("--trace", "FILE", "one line per request: due, begun, sent, done, result",
                &Options::trace),
  };
  return all;
}

std::string numbered(std::string_view text, std::uint64_t n) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto mark = text.find("{n}", at);
    out += text.substr(at, mark == std::string_view::npos ? mark : mark - at);
    if (mark == std::string_view::npos) break;
    out += std::to_string(n);
    at = mark + 3;
  }
  return out;
}

}  // namespace

Result<void> parse_url(std::string_view url, Options& options) {
  if (url.starts_with("https://")) {
    options.tls = true;
    options.port = 443;
    url.remove_prefix(8);
  } else if (url.starts_with("http://")) {
    options.tls = false;
    options.port = 80;
    url.remove_prefix(7);
  } else {
    return bad("'" + std::string(url) + "' is not an http:// or https:// URL");
  }
  const auto slash = url.find('/');
  options.path = slash == std::string_view::npos ? "/" : std::string(url.substr(slash));
  if (options.path.find_first_of(" \r\n\t") != std::string::npos)
    return bad("the URL's path holds white space");
  return split_authority(url.substr(0, slash), options.host, options.port);
}

Result<Options> parse(const std::vector<std::string>& arguments) {
  Options options;
  bool url = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--")) {
      if (url) return bad("'" + argument + "' is a second URL");
      KNIT_TRY_VOID(parse_url(argument, options));
      url = true;
      continue;
    }
    const Flag* found = nullptr;
    for (const Flag& flag : flags())
      if (flag.name == argument) found = &flag;
    if (!found) return bad("unknown flag '" + argument + "'");
    if (!found->value.empty() && i + 1 == arguments.size()) return bad(argument + " needs a value");
    auto set = found->set(options, found->value.empty() ? std::string() : arguments[++i]);
    if (!set) return std::move(set).error().within(argument);
  }
  if (!url) return bad("no URL given");
  if (options.connect_host.empty()) options.connect_host = options.host;
  if (options.connect_port == 0) options.connect_port = options.port;
  if (options.sni.empty()) options.sni = options.host;
  if (options.certificate.empty() != options.key.empty())
    return bad("--cert and --key go together");
  return options;
}

std::string usage() {
  std::string text = "usage: knit-load URL [flags]; prints one JSON object\n";
  for (const Flag& flag : flags()) {
    std::string left = "  " + std::string(flag.name) + " " + std::string(flag.value);
    left.resize(std::max<std::size_t>(left.size() + 1, 28), ' ');
    text += left + std::string(flag.help) + "\n";
  }
  return text;
}

std::string request_bytes(const Options& options, std::uint64_t n) {
  const bool plain_port = options.port == (options.tls ? 443 : 80);
  const bool v6 = options.host.find(':') != std::string::npos;
  std::string text = options.method + " " + numbered(options.path, n) +
                     " HTTP/1.1\r\nHost: " + (v6 ? "[" + options.host + "]" : options.host) +
                     (plain_port ? "" : ":" + std::to_string(options.port)) + "\r\n";
  for (const std::string& header : options.headers) text += header + "\r\n";
  if (options.fresh) text += "Connection: close\r\n";
  const std::string body = numbered(options.body, n);
  if (!body.empty() || (options.method != "GET" && options.method != "HEAD"))
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text + "\r\n" + body;
}

}  // namespace knit::load
