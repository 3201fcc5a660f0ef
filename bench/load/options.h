// What to send, how often, over which connections: the command line of knit-load as a value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace knit::load {

struct Options {
  bool tls = false;
  std::string host;          // of the URL: Host header, SNI and verified name
  std::uint16_t port = 80;   // of the URL
  std::string path = "/";    // "{n}" becomes the request's number
  std::string connect_host;  // where to connect instead
  std::uint16_t connect_port = 0;
  std::string sni;                   // instead of `host`
  std::string ca, certificate, key;  // PEM files
  bool insecure = false;             // any server certificate
  std::string method = "GET";
  std::vector<std::string> headers;  // "name: value"
  std::string body;                  // "{n}" becomes the request's number
  std::string expect;                // the exact body of a good answer; empty: any
  std::uint32_t connections = 1;
  bool fresh = false;          // a new connection for every request
  double rate = 0;             // requests a second; 0: closed loop, each connection on its own
  double duration = 10;        // seconds of new requests
  std::uint64_t requests = 0;  // 0: no limit but `duration`
  double timeout = 30;         // seconds from when a request was due
  std::string trace;           // a file with one line per request
};

/// Parses "URL --flag value …" (without the program's name). Errors: InvalidArgument, one sentence.
Result<Options> parse(const std::vector<std::string>& arguments);
std::string usage();

/// "http://host:port/path" into `options`. Errors: InvalidArgument.
Result<void> parse_url(std::string_view url, Options& options);

/// The bytes of request number `n`.
std::string request_bytes(const Options& options, std::uint64_t n);

}  // namespace knit::load
