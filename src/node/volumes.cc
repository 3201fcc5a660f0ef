#include "node/volumes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "base/fd.h"
#include "base/files.h"
#include "node/pod.h"

namespace knit::node {

namespace {

constexpr std::size_t kMaxVolumeBytes = 8 << 20;

/// Source: kubernetes pkg/apis/core/validation (validateLocalNonReservedPath)
Result<void> check_path(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.starts_with("..") || path.size() > 1024) {
    return Error(Code::InvalidArgument, "bad path \"" + std::string(path) + "\" in a volume");
  }
  for (std::string_view rest = path; !rest.empty();) {
    const auto end = rest.find('/');
    const auto part = rest.substr(0, end);
    if (part.empty() || part == "." || part == "..") {
      return Error(Code::InvalidArgument, "bad path \"" + std::string(path) + "\" in a volume");
    }
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return {};
}

std::uint32_t mode_of(const Json& item, std::uint32_t otherwise) {
  const auto mode = json::opt_i64(item, {"mode"});
  return mode && *mode >= 0 && *mode <= 0777 ? static_cast<std::uint32_t>(*mode) : otherwise;
}

Result<void> add_keys(VolumeContent& out, const Json& source, const char* kind,
                      const std::string& name, const std::map<std::string, Json>& objects,
                      std::uint32_t mode) {
  const bool optional = json::boolean(source, {"optional"});
  const auto it = objects.find(name);
  if (it == objects.end()) {
    if (optional) return {};
    return Error(Code::NotFound, std::string(kind) + " \"" + name + "\" not found");
  }
  const auto content = content_of(it->second);
  const JsonArray& items = json::array(source, {"items"});
  if (items.empty()) {
    for (const auto& [key, value] : content) {
      KNIT_TRY_VOID(check_path(key));
      out[key] = {value, mode};
    }
    return {};
  }
  for (const Json& item : items) {
    const std::string key(json::str(item, {"key"})), path(json::str(item, {"path"}));
    KNIT_TRY_VOID(check_path(path));
    const auto value = content.find(key);
    if (value == content.end()) {
      if (optional) continue;
      return Error(Code::NotFound, "references non-existent " + std::string(kind) + " key: " + key);
    }
    out[path] = {value->second, mode_of(item, mode)};
  }
  return {};
}

Result<void> add_downward(VolumeContent& out, const Json& pod, const Json& source,
                          const PodFacts& facts, std::uint32_t mode) {
  for (const Json& item : json::array(source, {"items"})) {
    const std::string path(json::str(item, {"path"}));
    KNIT_TRY_VOID(check_path(path));
    std::string value;
    if (const Json* ref = json::find(item, "fieldRef")) {
      KNIT_TRY(value, field_value(pod, json::str(*ref, {"fieldPath"}), facts));
    } else if (const Json* res = json::find(item, "resourceFieldRef")) {
      const Json nothing = JsonObject();
      KNIT_TRY(value, resource_value(pod, nothing, *res, facts));
    }
    out[path] = {std::move(value), mode_of(item, mode)};
  }
  return {};
}

Result<void> write_new(const std::string& path, const VolumeFile& file,
                       std::optional<std::uint32_t> gid) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error("create " + path, errno);
  KNIT_TRY_VOID(write_all(fd.get(), file.content, path));
  std::uint32_t mode = file.mode;
  if (gid) {
    mode |= 0440;
    if (::fchown(fd.get(), static_cast<uid_t>(-1), *gid) != 0) return errno_error("chown", errno);
  }
  if (::fchmod(fd.get(), mode) != 0) return errno_error("chmod " + path, errno);
  return {};
}

}  // namespace

std::vector<TokenNeed> tokens_of(const Json& pod) {
  std::vector<TokenNeed> out;
  for (const Json& v : json::array(pod, {"spec", "volumes"})) {
    for (const Json& s : json::array(v, {"projected", "sources"})) {
      const Json* t = json::find(s, "serviceAccountToken");
      if (t == nullptr) continue;
      out.push_back({std::string(json::str(v, {"name"})), std::string(json::str(*t, {"path"})),
                     std::string(json::str(*t, {"audience"})),
                     json::i64(*t, {"expirationSeconds"}, 3600)});
    }
  }
  return out;
}

bool has_content(const Json& volume) {
  for (const char* kind : {"configMap", "secret", "projected", "downwardAPI"}) {
    if (json::find(volume, kind) != nullptr) return true;
  }
  return false;
}

Result<VolumeContent> volume_content(const Json& pod, const Json& volume, const Objects& objects,
                                     const PodFacts& facts,
                                     const std::map<std::string, std::string>& tokens) {
  VolumeContent out;
  const std::string name(json::str(volume, {"name"}));
  const auto default_mode = [](const Json& source) {
    return static_cast<std::uint32_t>(json::i64(source, {"defaultMode"}, 0644) & 0777);
  };
  if (const Json* cm = json::find(volume, "configMap")) {
    KNIT_TRY_VOID(add_keys(out, *cm, "configmap", std::string(json::str(*cm, {"name"})),
                           objects.configmaps, default_mode(*cm)));
  } else if (const Json* secret = json::find(volume, "secret")) {
    KNIT_TRY_VOID(add_keys(out, *secret, "secret", std::string(json::str(*secret, {"secretName"})),
                           objects.secrets, default_mode(*secret)));
  } else if (const Json* down = json::find(volume, "downwardAPI")) {
    KNIT_TRY_VOID(add_downward(out, pod, *down, facts, default_mode(*down)));
  } else if (const Json* projected = json::find(volume, "projected")) {
    const std::uint32_t mode = default_mode(*projected);
    for (const Json& s : json::array(*projected, {"sources"})) {
      if (const Json* c = json::find(s, "configMap")) {
        KNIT_TRY_VOID(add_keys(out, *c, "configmap", std::string(json::str(*c, {"name"})),
                               objects.configmaps, mode));
      } else if (const Json* sec = json::find(s, "secret")) {
        KNIT_TRY_VOID(add_keys(out, *sec, "secret", std::string(json::str(*sec, {"name"})),
                               objects.secrets, mode));
      } else if (const Json* d = json::find(s, "downwardAPI")) {
        KNIT_TRY_VOID(add_downward(out, pod, *d, facts, mode));
      } else if (const Json* t = json::find(s, "serviceAccountToken")) {
        const std::string path(json::str(*t, {"path"}));
        KNIT_TRY_VOID(check_path(path));
        const auto it = tokens.find(name + "/" + path);
        if (it == tokens.end()) return Error(Code::NotFound, "no token was issued yet");
        out[path] = {it->second, mode};
      } else {
        return Error(Code::Unsupported, "volume \"" + name +
                                            "\": this projected source is not supported by Knit's "
                                            "node: use configMap, secret, downwardAPI or "
                                            "serviceAccountToken");
      }
    }
  }
  std::size_t total = 0;
  for (const auto& [path, file] : out) total += file.content.size();
  if (total > kMaxVolumeBytes) {
    return Error(Code::ResourceExhausted, "volume \"" + name + "\" is larger than 8 MiB");
  }
  return out;
}

Result<void> write_volume(const std::string& dir, const VolumeContent& content,
                          std::optional<std::uint32_t> gid, std::string_view stamp) {
  KNIT_TRY_VOID(make_directories(dir));
  ::chmod(dir.c_str(), gid ? 02775 : 0755);
  if (gid && ::chown(dir.c_str(), static_cast<uid_t>(-1), *gid) != 0) {
    return errno_error("chown " + dir, errno);
  }
  const std::string fresh = "..v" + std::string(stamp);
  KNIT_TRY_VOID(make_directories(dir + "/" + fresh));
  ::chmod((dir + "/" + fresh).c_str(), 0755);
  std::set<std::string> tops;
  for (const auto& [path, file] : content) {
    const std::string to = dir + "/" + fresh + "/" + path;
    KNIT_TRY_VOID(make_directories(std::filesystem::path(to).parent_path()));
    KNIT_TRY_VOID(write_new(to, file, gid));
    tops.insert(path.substr(0, path.find('/')));
  }
  std::error_code error;
  std::string old;
  if (std::filesystem::is_symlink(dir + "/..data", error)) {
    old = std::filesystem::read_symlink(dir + "/..data", error).string();
  }
  const std::string link = dir + "/..data_tmp";
  ::unlink(link.c_str());
  if (::symlink(fresh.c_str(), link.c_str()) != 0 ||
      ::rename(link.c_str(), (dir + "/..data").c_str()) != 0) {
    return errno_error("swap " + dir + "/..data", errno);
  }
  for (const std::string& top : tops) {
    if (::symlink(("..data/" + top).c_str(), (dir + "/" + top).c_str()) != 0 && errno != EEXIST) {
      return errno_error("link " + dir + "/" + top, errno);
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("..") && !tops.contains(name)) ::unlink(entry.path().c_str());
  }
  if (!old.empty() && old != fresh) std::filesystem::remove_all(dir + "/" + old, error);
  return {};
}

std::string hosts_file(const Json& pod, const PodFacts& facts, std::string_view cluster_domain) {
  std::string out =
      "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"
      "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
      "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
  const std::string hostname = hostname_of(pod);
  const std::string_view subdomain = json::str(pod, {"spec", "subdomain"});
  for (const std::string& ip : {facts.ip, facts.ip6}) {
    if (ip.empty()) continue;
    out += ip + "\t";
    if (!subdomain.empty()) {
      out += hostname + "." + std::string(subdomain) + "." + std::string(namespace_of(pod)) +
             ".svc." + std::string(cluster_domain) + "\t";
    }
    out += hostname + "\n";
  }
  const JsonArray& aliases = json::array(pod, {"spec", "hostAliases"});
  if (!aliases.empty()) out += "\n# Entries added by HostAliases.\n";
  for (const Json& a : aliases) {
    out += json::str(a, {"ip"});
    for (const Json& h : json::array(a, {"hostnames"})) {
      if (h.is_string()) out += "\t" + std::string(h.as_string());
    }
    out += "\n";
  }
  return out;
}

std::string resolv_conf(const Json& pod, const DnsFacts& dns) {
  std::vector<std::string> servers, search, options;
  const std::string_view policy = json::str(pod, {"spec", "dnsPolicy"}, "ClusterFirst");
  if (policy != "None") servers.push_back(dns.server);
  if (policy == "ClusterFirst" || policy == "ClusterFirstWithHostNet") {
    search = {std::string(namespace_of(pod)) + ".svc." + dns.cluster_domain,
              "svc." + dns.cluster_domain, dns.cluster_domain};
    options = {"ndots:5"};
  }
  const auto add = [](std::vector<std::string>& to, const JsonArray& from) {
    for (const Json& v : from) {
      if (!v.is_string()) continue;
      std::string text(v.as_string());
      if (std::find(to.begin(), to.end(), text) == to.end()) to.push_back(std::move(text));
    }
  };
  add(servers, json::array(pod, {"spec", "dnsConfig", "nameservers"}));
  add(search, json::array(pod, {"spec", "dnsConfig", "searches"}));
  for (const Json& o : json::array(pod, {"spec", "dnsConfig", "options"})) {
    const std::string name(json::str(o, {"name"})), value(json::str(o, {"value"}));
    std::erase_if(options,
                  [&](const std::string& x) { return x == name || x.starts_with(name + ":"); });
    options.push_back(value.empty() ? name : name + ":" + value);
  }
  std::string out;
  const auto line = [&](const char* key, const std::vector<std::string>& values) {
    if (values.empty()) return;
    out += key;
    for (const std::string& v : values) out += " " + v;
    out += "\n";
  };
  line("search", search);
  for (const std::string& s : servers) out += "nameserver " + s + "\n";
  line("options", options);
  return out;
}

}  // namespace knit::node
