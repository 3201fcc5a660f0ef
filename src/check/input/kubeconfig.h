// How to reach a cluster: kubectl's configuration files, read as kubectl reads them. What they may
// ask for and this program does not do (running programs, proxies) is refused by name.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace knit::check::input {

struct Access {
  std::string context;  // its name, for messages
  std::string ns;       // the context's namespace
  bool tls = true;
  std::string host;  // a name or an address
  std::uint16_t port = 443;
  std::string base_path;  // "/k8s/clusters/x", or empty
  std::string server_name;
  std::string ca_pem;
  bool insecure = false;
  std::string certificate_pem, key_pem;
  std::string token;
  std::string basic;  // "user:password"
  std::string as;     // impersonated user
  std::vector<std::string> as_groups;
};

/// Reads a whole file. Errors: its own.
using FileReader = std::function<Result<std::string>(const std::string& path)>;

/// `files`: in kubectl's order, the first that defines a name wins. `context` empty: the current
/// one. Errors: InvalidArgument (malformed), NotFound (no such context, cluster, user or file),
/// Unsupported (exec, auth-provider, proxy-url).
Result<Access> load_kubeconfig(const std::vector<std::string>& files, const std::string& context,
                               const FileReader& read);

/// "https://host:6443/path". Errors: InvalidArgument.
Result<Access> parse_server(const std::string& url);

}  // namespace knit::check::input
