#include "check/input/kubeconfig.h"

#include <charconv>
#include <filesystem>

#include "base/hash.h"
#include "base/json.h"
#include "base/yaml.h"

namespace knit::check::input {
namespace {

constexpr std::string_view kSystemRoots = "/etc/ssl/certs/ca-certificates.crt";

struct Named {
  Json value;
  std::string folder;  // relative paths start here
};

struct Merged {
  std::map<std::string, Named> clusters, users, contexts;
  std::string current;
};

Result<void> add(Merged& out, const std::string& path, const std::string& text) {
  auto parsed = yaml::parse_one(text);
  if (!parsed) return Error(Code::InvalidArgument, path + ": " + parsed.error().message());
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (out.current.empty()) out.current = json::str(*parsed, {"current-context"});
  const auto take = [&](std::string_view list, std::string_view key,
                        std::map<std::string, Named>& to) {
    for (const auto& entry : json::array(*parsed, {list})) {
      const Json* value = json::find(entry, key);
      const std::string name(json::str(entry, {"name"}));
      if (value != nullptr && !name.empty()) to.try_emplace(name, Named{*value, folder});
    }
  };
  take("clusters", "cluster", out.clusters);
  take("users", "user", out.users);
  take("contexts", "context", out.contexts);
  return {};
}

/// A value given in place ("certificate-authority-data", base64) or by file.
Result<std::string> data_or_file(const Named& from, const std::string& key,
                                 const FileReader& read) {
  if (const auto data = json::str(from.value, {key + "-data"}); !data.empty()) {
    auto bytes = hash::decode_base64(data);
    if (!bytes) return Error(Code::InvalidArgument, key + "-data is no base64");
    return std::string(bytes->begin(), bytes->end());
  }
  const std::string file(json::str(from.value, {key}));
  if (file.empty()) return std::string();
  const std::filesystem::path path(file);
  auto text =
      read(path.is_absolute() ? file : (std::filesystem::path(from.folder) / path).string());
  if (!text) return std::move(text).error().within(key);
  return text;
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.pop_back();
  }
  return text;
}

Result<void> add_user(Access& out, const std::string& name, const Named& user,
                      const FileReader& read) {
  for (const char* program : {"exec", "auth-provider"}) {
    if (json::find(user.value, program) != nullptr) {
      return Error(Code::Unsupported,
                   "user \"" + name + "\" gets its credentials by " + program +
                       ", which knit check does not run; give a token or a client certificate "
                       "(oc whoami -t, kubectl create token)");
    }
  }
  KNIT_TRY(out.certificate_pem, data_or_file(user, "client-certificate", read));
  KNIT_TRY(out.key_pem, data_or_file(user, "client-key", read));
  if (out.certificate_pem.empty() != out.key_pem.empty()) {
    return Error(Code::InvalidArgument,
                 "user \"" + name + "\" needs both client-certificate and client-key");
  }
  out.token = json::str(user.value, {"token"});
  if (const std::string file(json::str(user.value, {"tokenFile"})); !file.empty()) {
    const std::filesystem::path path(file);
    auto text =
        read(path.is_absolute() ? file : (std::filesystem::path(user.folder) / path).string());
    if (!text) return std::move(text).error().within("tokenFile");
    out.token = trimmed(std::move(*text));  // as kubectl: the file wins
  }
  if (const auto who = json::str(user.value, {"username"}); !who.empty()) {
    out.basic = std::string(who) + ":" + std::string(json::str(user.value, {"password"}));
  }
  out.as = json::str(user.value, {"as"});
  for (const auto& group : json::array(user.value, {"as-groups"})) {
    if (const auto* s = group.if_string()) out.as_groups.emplace_back(s->data(), s->size());
  }
  for (const auto* value : {&out.token, &out.basic, &out.as}) {
    if (value->find_first_of("\r\n") != std::string::npos) {
      return Error(Code::InvalidArgument, "user \"" + name + "\" holds a line end in a credential");
    }
  }
  for (const auto& group : out.as_groups) {
    if (group.find_first_of("\r\n") != std::string::npos) {
      return Error(Code::InvalidArgument, "user \"" + name + "\" holds a line end in as-groups");
    }
  }
  return {};
}

}  // namespace

Result<Access> parse_server(const std::string& url) {
  Access out;
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
    out.tls = false;
    out.port = 80;
  } else {
    return Error(Code::InvalidArgument, "server \"" + url + "\" is no http or https URL");
  }
  const auto slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  if (slash != std::string_view::npos) out.base_path = trimmed(std::string(rest.substr(slash)));
  while (out.base_path.ends_with('/')) out.base_path.pop_back();
  std::string_view port;
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == std::string_view::npos) {
      return Error(Code::InvalidArgument, "server \"" + url + "\" has no closing ]");
    }
    out.host = authority.substr(1, close - 1);
    port = authority.substr(close + 1);
    if (!port.empty() && port.front() != ':') {
      return Error(Code::InvalidArgument, "server \"" + url + "\" is malformed");
    }
    if (!port.empty()) port.remove_prefix(1);
  } else {
    const auto colon = authority.rfind(':');
    out.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) port = authority.substr(colon + 1);
  }
  if (!port.empty()) {
    const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (ec != std::errc() || end != port.data() + port.size() || out.port == 0) {
      return Error(Code::InvalidArgument, "server \"" + url + "\" has no valid port");
    }
  }
  if (out.host.empty() || out.host.find_first_of("@ \r\n") != std::string::npos ||
      out.base_path.find_first_of("?# \r\n") != std::string::npos) {
    return Error(Code::InvalidArgument, "server \"" + url + "\" is malformed");
  }
  out.server_name = out.host;
  return out;
}

Result<Access> load_kubeconfig(const std::vector<std::string>& files, const std::string& context,
                               const FileReader& read) {
  Merged merged;
  bool any = false;
  std::string missing;
  for (const auto& file : files) {
    auto text = read(file);
    if (!text) {
      missing = text.error().message();
      if (files.size() == 1) return Error(Code::NotFound, "kubeconfig " + file + ": " + missing);
      continue;  // as kubectl: absent files of a list are passed over
    }
    KNIT_TRY_VOID(add(merged, file, *text));
    any = true;
  }
  if (!any) {
    return Error(Code::NotFound,
                 "no kubeconfig can be read" + (missing.empty() ? std::string() : ": " + missing));
  }
  const std::string name = context.empty() ? merged.current : context;
  if (name.empty()) {
    return Error(Code::NotFound, "the kubeconfig has no current-context; name one by --context");
  }
  const auto chosen = merged.contexts.find(name);
  if (chosen == merged.contexts.end()) {
    std::string known;
    for (const auto& [other, value] : merged.contexts) {
      known += (known.empty() ? "" : ", ") + other;
      if (known.size() > 500) break;
    }
    return Error(Code::NotFound, "the kubeconfig has no context \"" + name + "\"" +
                                     (known.empty() ? "" : "; there are: " + known));
  }
  const std::string cluster_name(json::str(chosen->second.value, {"cluster"}));
  const auto cluster = merged.clusters.find(cluster_name);
  if (cluster == merged.clusters.end()) {
    return Error(Code::NotFound, "context \"" + name + "\" names cluster \"" + cluster_name +
                                     "\", which is not there");
  }
  const Named& c = cluster->second;
  if (!json::str(c.value, {"proxy-url"}).empty()) {
    return Error(
        Code::Unsupported,
        "cluster \"" + cluster_name + "\" is behind a proxy-url, which knit check does not speak");
  }
  auto access = parse_server(std::string(json::str(c.value, {"server"})));
  if (!access) return std::move(access).error().within("cluster \"" + cluster_name + "\"");
  Access out = std::move(*access);
  out.context = name;
  out.ns = json::str(chosen->second.value, {"namespace"});
  out.insecure = json::boolean(c.value, {"insecure-skip-tls-verify"});
  if (const auto sni = json::str(c.value, {"tls-server-name"}); !sni.empty()) out.server_name = sni;
  KNIT_TRY(out.ca_pem, data_or_file(c, "certificate-authority", read));
  if (out.tls && out.ca_pem.empty() && !out.insecure) {
    auto roots = read(std::string(kSystemRoots));
    if (!roots) {
      return Error(Code::NotFound, "cluster \"" + cluster_name +
                                       "\" names no certificate-authority and the machine has no " +
                                       std::string(kSystemRoots));
    }
    out.ca_pem = std::move(*roots);
  }
  const std::string user_name(json::str(chosen->second.value, {"user"}));
  if (!user_name.empty()) {
    const auto user = merged.users.find(user_name);
    if (user == merged.users.end()) {
      return Error(Code::NotFound,
                   "context \"" + name + "\" names user \"" + user_name + "\", which is not there");
    }
    KNIT_TRY_VOID(add_user(out, user_name, user->second, read));
  }
  return out;
}

}  // namespace knit::check::input
