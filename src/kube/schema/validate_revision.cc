// Source: knative/serving pkg/apis/serving/v1/revision_validation.go,
// pkg/apis/serving/k8s_validation.go
#include <algorithm>
#include <charconv>

#include "base/quantity.h"
#include "kube/names.h"
#include "kube/schema/knative_errors.h"

namespace knit::schema {

namespace {
using json::array;
using json::find;
using json::i64;
using json::str;

std::string_view sv(boost::json::string_view s) { return {s.data(), s.size()}; }

/// PodSpec fields that a feature flag of config-features opens.
constexpr std::pair<std::string_view, std::string_view> kGated[] = {
    {"affinity", "kubernetes.podspec-affinity"},
    {"topologySpreadConstraints", "kubernetes.podspec-topologyspreadconstraints"},
    {"hostAliases", "kubernetes.podspec-hostaliases"},
    {"nodeSelector", "kubernetes.podspec-nodeselector"},
    {"runtimeClassName", "kubernetes.podspec-runtimeclassname"},
    {"tolerations", "kubernetes.podspec-tolerations"},
    {"shareProcessNamespace", "kubernetes.podspec-shareprocessnamespace"},
    {"priorityClassName", "kubernetes.podspec-priorityclassname"},
    {"schedulerName", "kubernetes.podspec-schedulername"},
    {"initContainers", "kubernetes.podspec-init-containers"},
    {"dnsPolicy", "kubernetes.podspec-dnspolicy"},
    {"dnsConfig", "kubernetes.podspec-dnsconfig"},
    {"hostIPC", "kubernetes.podspec-hostipc"},
    {"hostPID", "kubernetes.podspec-hostpid"},
    {"hostNetwork", "kubernetes.podspec-hostnetwork"},
};
constexpr std::pair<std::string_view, std::string_view> kGatedVolumes[] = {
    {"persistentVolumeClaim", "kubernetes.podspec-persistent-volume-claim"},
    {"hostPath", "kubernetes.podspec-volumes-hostpath"},
    {"csi", "kubernetes.podspec-volumes-csi"},
    {"ephemeral", "kubernetes.podspec-volumes-ephemeral"},
    {"image", "kubernetes.podspec-volumes-image"},
};
constexpr std::int64_t kReservedPorts[] = {8008, 8012, 8013, 8022, 9090, 9091};
constexpr std::string_view kReservedEnv[] = {"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"};

/// Whether an image reference parses: [host[:port]/]path[:tag][@digest].
/// Source: google/go-containerregistry pkg/name (weak validation).
bool image_parses(std::string_view image) {
  if (image.empty()) return false;
  if (const auto digest = image.find('@'); digest != std::string_view::npos) {
    const std::string_view d = image.substr(digest + 1);
    if (!d.starts_with("sha256:") || d.size() != 7 + 64 ||
        d.find_first_not_of("0123456789abcdef", 7) != std::string_view::npos) {
      return false;
    }
    image = image.substr(0, digest);
  }
  const auto slash = image.rfind('/');
  const auto colon = image.rfind(':');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    const std::string_view tag = image.substr(colon + 1);
    const bool good =
        !tag.empty() && tag.size() <= 128 && std::all_of(tag.begin(), tag.end(), [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '_' || c == '-' || c == '.';
        });
    if (!good) return false;
    image = image.substr(0, colon);
  }
  std::string_view path = image;
  if (const auto first = image.find('/'); first != std::string_view::npos) {
    const std::string_view host = image.substr(0, first);
    const bool registry = host.find('.') != std::string_view::npos ||
                          host.find(':') != std::string_view::npos || host == "localhost";
    if (registry) {
      if (host.find_first_of("<>{}$ ") != std::string_view::npos) return false;
      path = image.substr(first + 1);
    }
  }
  return !path.empty() && std::all_of(path.begin(), path.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' ||
           c == '/';
  });
}

void in_range(const Json& holder, std::string_view key, std::int64_t low, std::int64_t high,
              const std::string& path, KnativeErrors& errors) {
  const auto n = json::opt_i64(holder, {key});
  if (n && (*n < low || *n > high)) {
    errors.out_of_bounds(std::to_string(*n), std::to_string(low), std::to_string(high),
                         at(path, key));
  }
}

std::int64_t setting(const Context& context, std::string_view key, std::int64_t otherwise) {
  if (context.knative_config == nullptr) return otherwise;
  const std::string_view s = str(*context.knative_config, {"config-defaults", key});
  std::int64_t n = 0;
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n);
  return ec == std::errc() && !s.empty() && end == s.data() + s.size() ? n : otherwise;
}

class Revision {
 public:
  Revision(const Json& spec, const std::string& path, const Context& context, KnativeErrors& errors)
      : spec_(spec), path_(path), context_(context), errors_(errors) {}

  void run() {
    pod_fields();
    limits();
    volumes();
    containers();
    for (const std::string& name : volume_names_) {
      if (!mounted_.contains(name)) {
        errors_.add("volume with name \"" + name + "\" not mounted",
                    at(volume_paths_[name], "name"));
      }
    }
  }

 private:
  void pod_fields() {
    for (const auto& [field, flag] : kGated) {
      if (find(spec_, field) != nullptr && !feature(context_, flag)) {
        errors_.disallowed(at(path_, field));
      }
    }
    if (find(spec_, "securityContext") != nullptr) {
      const Json& security = *find(spec_, "securityContext");
      if (!feature(context_, "kubernetes.podspec-securitycontext") && security.is_object()) {
        for (const auto& member : security.get_object()) {
          // What secure-pod-defaults writes is always allowed.
          const std::string_view key = sv(member.key());
          if (key != "runAsNonRoot" && key != "seccompProfile") {
            errors_.disallowed(at(path_, "securityContext." + std::string(key)));
          }
        }
      }
      user_ids(security, at(path_, "securityContext"));
    }
    if (json::boolean(spec_, {"automountServiceAccountToken"})) {
      errors_.invalid("true", at(path_, "automountServiceAccountToken"));
    }
    const std::string_view account = str(spec_, {"serviceAccountName"});
    if (!account.empty() && !kube::check_dns1123_subdomain(account).empty()) {
      errors_.invalid(account, at(path_, "serviceAccountName"));
    }
  }

  void limits() {
    const std::int64_t max_concurrency = setting(context_, "container-concurrency-max-limit", 1000);
    const auto concurrency = i64(spec_, {"containerConcurrency"});
    const bool zero_ok = context_.knative_config == nullptr ||
                         str(*context_.knative_config,
                             {"config-defaults", "allow-container-concurrency-zero"}) != "false";
    if (concurrency < (zero_ok ? 0 : 1) || concurrency > max_concurrency) {
      errors_.out_of_bounds(std::to_string(concurrency), zero_ok ? "0" : "1",
                            std::to_string(max_concurrency), at(path_, "containerConcurrency"));
    }
    const std::int64_t max_timeout = setting(context_, "max-revision-timeout-seconds", 600);
    in_range(spec_, "timeoutSeconds", 0, max_timeout, path_, errors_);
  }

  void user_ids(const Json& security, const std::string& path) {
    for (const std::string_view key : {"runAsUser", "runAsGroup", "fsGroup"}) {
      in_range(security, key, 0, INT32_MAX, path, errors_);
    }
  }

  void volumes() {
    const auto& list = array(spec_, {"volumes"});
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string here = at(at(path_, "volumes"), i);
      const std::string name(str(list[i], {"name"}));
      if (!kube::check_dns1123_label(name).empty()) errors_.invalid(name, at(here, "name"));
      if (!volume_names_.insert(name).second) {
        errors_.add("duplicate volume name \"" + name + "\"", at(here, "name"));
      }
      volume_paths_[name] = here;
      std::vector<std::string_view> sources;
      for (const auto& member : list[i].get_object()) {
        if (sv(member.key()) != "name") sources.push_back(sv(member.key()));
      }
      if (sources.empty()) {
        errors_.neither(here, {"secret", "configMap", "projected", "emptyDir"});
      } else if (sources.size() > 1) {
        errors_.both(here, sources);
      }
      for (const auto& [source, flag] : kGatedVolumes) {
        if (find(list[i], source) != nullptr && !feature(context_, flag)) {
          errors_.disallowed(at(here, source));
        }
      }
      if (find(list[i], "emptyDir") != nullptr &&
          !feature(context_, "kubernetes.podspec-volumes-emptydir", "enabled")) {
        errors_.disallowed(at(here, "emptyDir"));
      }
      if (find(list[i], "configMap") != nullptr && str(list[i], {"configMap", "name"}).empty()) {
        errors_.missing(at(here, "configMap.name"));
      }
      if (find(list[i], "secret") != nullptr && str(list[i], {"secret", "secretName"}).empty()) {
        errors_.missing(at(here, "secret.secretName"));
      }
    }
  }

  void containers() {
    const auto& list = array(spec_, {"containers"});
    if (list.empty()) {
      errors_.missing(at(path_, "containers"));
      return;
    }
    std::size_t with_port = 0;
    for (const Json& c : list) with_port += array(c, {"ports"}).empty() ? 0 : 1;
    if (list.size() > 1 && with_port == 0) errors_.missing(at(path_, "containers[*].ports"));
    if (with_port > 1) {
      errors_.add("more than one container port is set", at(path_, "containers[*].ports"),
                  "Only a single port is allowed across all containers");
    }
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string here = at(at(path_, "containers"), i);
      const bool serving = list.size() == 1 || !array(list[i], {"ports"}).empty();
      container(list[i], here, serving, false, names);
    }
    const auto& init = array(spec_, {"initContainers"});
    for (std::size_t i = 0; i < init.size(); ++i) {
      container(init[i], at(at(path_, "initContainers"), i), false, true, names);
    }
  }

  void container(const Json& c, const std::string& here, bool serving, bool init,
                 std::set<std::string_view>& names) {
    const std::string_view name = str(c, {"name"});
    if (name == "queue-proxy" || name == "istio-proxy") {
      errors_.add("\"" + std::string(name) + "\" is a reserved container name", at(here, "name"));
    } else if (!name.empty() && !kube::check_dns1123_label(name).empty()) {
      errors_.invalid(name, at(here, "name"));
    } else if (!name.empty() && !names.insert(name).second) {
      errors_.add("duplicate container name \"" + std::string(name) + "\"", at(here, "name"));
    }
    const std::string_view image = str(c, {"image"});
    if (image.empty()) {
      errors_.missing(at(here, "image"));
    } else if (!image_parses(image)) {
      errors_.add("Failed to parse image reference", at(here, "image"),
                  "image: \"" + std::string(image) +
                      "\", error: could not parse reference: " + std::string(image));
    }
    env(c, here, serving);
    ports(c, here, init);
    mounts(c, here);
    security(c, here);
    probes(c, here, serving, init);
  }

  void env(const Json& c, const std::string& here, bool serving) {
    const auto& list = array(c, {"env"});
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string path = at(at(here, "env"), i);
      const std::string_view name = str(list[i], {"name"});
      if (name.empty()) errors_.missing(at(path, "name"));
      for (const std::string_view reserved : kReservedEnv) {
        if (name == reserved && (serving || reserved != "PORT")) {
          errors_.add("\"" + std::string(name) + "\" is a reserved environment variable",
                      at(path, "name"));
        }
      }
      const Json* from = find(list[i], "valueFrom");
      if (from == nullptr) continue;
      for (const std::string_view key : {"fieldRef", "resourceFieldRef"}) {
        if (find(*from, key) != nullptr && !feature(context_, "kubernetes.podspec-fieldref")) {
          errors_.disallowed(at(path, "valueFrom." + std::string(key)));
        }
      }
    }
  }

  void ports(const Json& c, const std::string& here, bool init) {
    const auto& list = array(c, {"ports"});
    if (list.empty()) return;
    if (init) {
      errors_.disallowed(at(here, "ports"));
      return;
    }
    if (list.size() > 1) {
      errors_.add("more than one container port is set", at(here, "ports"),
                  "Only a single port is allowed across all containers");
      return;
    }
    const std::string path = at(here, "ports");
    const std::string_view protocol = str(list[0], {"protocol"}, "TCP");
    if (protocol != "TCP") errors_.invalid(protocol, at(path, "protocol"));
    const auto number = i64(list[0], {"containerPort"});
    if (std::find(std::begin(kReservedPorts), std::end(kReservedPorts), number) !=
        std::end(kReservedPorts)) {
      errors_.invalid(std::to_string(number), at(path, "containerPort"),
                      std::to_string(number) + " is a reserved port");
    } else if (number < 0 || number > 65535) {
      errors_.out_of_bounds(std::to_string(number), "0", "65535", at(path, "containerPort"));
    }
    const std::string_view name = str(list[0], {"name"});
    if (!name.empty() && name != "h2c" && name != "http1") {
      errors_.add("Port name " + std::string(name) + " is not allowed", path,
                  "Name must be empty, or one of: 'h2c', 'http1'");
    }
  }

  void mounts(const Json& c, const std::string& here) {
    const auto& list = array(c, {"volumeMounts"});
    std::set<std::string_view> paths;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string path = at(at(here, "volumeMounts"), i);
      const std::string name(str(list[i], {"name"}));
      if (!volume_names_.contains(name)) {
        errors_.add("volumeMount has no matching volume", at(path, "name"));
      }
      mounted_.insert(name);
      std::string_view mount = str(list[i], {"mountPath"});
      if (mount.empty()) {
        errors_.missing(at(path, "mountPath"));
        continue;
      }
      while (mount.size() > 1 && mount.ends_with('/')) mount.remove_suffix(1);
      if (!mount.starts_with('/')) {
        errors_.invalid(mount, at(path, "mountPath"));
      } else if (mount == "/" || mount == "/dev" || mount == "/dev/log") {
        errors_.add("mountPath \"" + std::string(mount) + "\" is a reserved path",
                    at(path, "mountPath"));
      } else if (!paths.insert(mount).second) {
        errors_.add("\"" + std::string(mount) + "\" must be unique", at(path, "mountPath"));
      }
    }
  }

  void security(const Json& c, const std::string& here) {
    const Json* s = find(c, "securityContext");
    if (s == nullptr) return;
    const std::string path = at(here, "securityContext");
    if (json::boolean(*s, {"privileged"})) errors_.invalid("true", at(path, "privileged"));
    const auto& add = array(*s, {"capabilities", "add"});
    if (!add.empty() && !feature(context_, "kubernetes.containerspec-addcapabilities")) {
      // NET_BIND_SERVICE is what secure-pod-defaults adds.
      for (const Json& a : add) {
        if (a != "NET_BIND_SERVICE") errors_.disallowed(at(path, "capabilities.add"));
      }
    }
    user_ids(*s, path);
  }

  void probes(const Json& c, const std::string& here, bool serving, bool init) {
    for (const std::string_view kind : {"livenessProbe", "readinessProbe", "startupProbe"}) {
      const Json* p = find(c, kind);
      if (p == nullptr) continue;
      const std::string path = at(here, kind);
      if (init) {
        errors_.disallowed(path);
        continue;
      }
      if (!serving && !feature(context_, "multi-container-probing")) {
        errors_.disallowed(path);
        continue;
      }
      probe(c, *p, path, serving, kind != "readinessProbe");
    }
  }

  void probe(const Json& c, const Json& p, const std::string& path, bool serving,
             bool success_must_be_one) {
    std::vector<std::string_view> handlers;
    for (const std::string_view h : {"httpGet", "tcpSocket", "exec", "grpc"}) {
      if (find(p, h) != nullptr) handlers.push_back(h);
    }
    if (handlers.empty()) {
      errors_.neither(path, {"httpGet", "tcpSocket", "exec", "grpc"});
      return;
    }
    if (handlers.size() > 1) errors_.both(path, handlers);
    for (const std::string_view key :
         {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"}) {
      in_range(p, key, 0, INT32_MAX, path, errors_);
    }
    const auto success = i64(p, {"successThreshold"}, 1);
    if (success_must_be_one && success > 1) {
      errors_.invalid(std::to_string(success), at(path, "successThreshold"), "must be 1");
    }
    const auto period = i64(p, {"periodSeconds"});
    if (!success_must_be_one && period == 0) {
      for (const std::string_view key : {"failureThreshold", "timeoutSeconds"}) {
        if (i64(p, {key}) != 0)
          errors_.disallowed(at(path, key), "may not be set when periodSeconds is 0");
      }
    }
    for (const std::string_view h : {"httpGet", "tcpSocket"}) {
      const Json* port = find(p, {h, "port"});
      if (find(p, h) == nullptr) continue;
      const bool unset = port == nullptr || *port == 0 || *port == "";
      if (unset) {
        if (!serving) errors_.missing(at(path, std::string(h) + ".port"));
        continue;
      }
      const auto* name = port->if_string();
      if (name == nullptr) continue;
      const auto& ports = array(c, {"ports"});
      if (ports.empty() || str(ports[0], {"name"}) != sv(*name)) {
        errors_.invalid(sv(*name), at(path, std::string(h) + ".port"),
                        "Probe port must match container port name");
      }
    }
  }

  const Json& spec_;
  const std::string& path_;
  const Context& context_;
  KnativeErrors& errors_;
  std::set<std::string> volume_names_, mounted_;
  std::map<std::string, std::string> volume_paths_;
};
}  // namespace

void validate_revision_spec(const Json& spec, const std::string& path, const Context& context,
                            KnativeErrors& errors) {
  Revision(spec, path, context, errors).run();
}

}  // namespace knit::schema
