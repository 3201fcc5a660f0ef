// What a pod needs before its containers: network, objects, volumes.
#include <sys/stat.h>

#include <algorithm>

#include "base/files.h"
#include "base/log.h"
#include "kube/resources.h"
#include "node/volumes.h"
#include "node/worker.h"

namespace knit::node {

using namespace std::chrono_literals;

namespace {

constexpr std::string_view kLogModule = "node";

std::optional<std::uint32_t> group_of(const Json& pod) {
  const auto group = json::opt_i64(pod, {"spec", "securityContext", "fsGroup"});
  if (!group || *group < 0) return std::nullopt;
  return static_cast<std::uint32_t>(*group);
}

}  // namespace

void PodWorker::failed_mount(const Error& error) {
  host_.event(pod_, "Warning", "FailedMount", "MountVolume.SetUp failed: " + error.message(), "");
}

io::Task<void> PodWorker::make_contents() {
  for (Duration wait = 2ms;; wait = std::min<Duration>(wait * 2, 5s)) {
    const auto done = co_await write_contents();
    if (done) break;
    // A pod that runs ahead of its own commit sees its objects a moment later.
    if (wait > 500ms) failed_mount(done.error());
    co_await io::sleep_for(host_.loop(), wait);
  }
  contents_made_ = true;
  for (const auto& c : containers_) c->wake.set();
  nudge();
}

io::Task<Result<void>> PodWorker::make_network() {
  if (status_.network) co_return Result<void>();
  KNIT_CO_TRY(const net::Address ip, host_.take_ip(uid_));
  status_.ip = net::to_string(ip);
  const bool processes = std::any_of(containers_.begin(), containers_.end(),
                                     [](const auto& c) { return !c->st.role; });
  if (processes && !net_) {
    KNIT_CO_TRY(const net::Address dns, net::parse_address(host_.settings().dns_ip));
    const net::PodNetSettings wanted{.ip = ip, .ip6 = {}, .dns = dns};
    Driver* driver = &host_.driver();
    auto made = co_await io::blocking<Result<net::PodNet>>(
        host_.loop(), [driver, wanted] { return driver->make_net(wanted); });
    if (!made) co_return std::move(made).error();
    net_ = std::move(*made);
    host_.keep(uid_, "netns", net_->netns.get());
    host_.keep(uid_, "listener", net_->listener.get());
    host_.keep(uid_, "dns", net_->dns.get());
    host_.keep(uid_, "link", net_->link.get());
  }
  status_.network = true;
  KNIT_CO_TRY_VOID(make_directories(run_path() + "/etc"));
  KNIT_CO_TRY_VOID(replace_file(run_path() + "/etc/hosts",
                                hosts_file(pod_, facts(), host_.settings().cluster_domain),
                                {.mode = 0644}));
  KNIT_CO_TRY_VOID(
      replace_file(run_path() + "/etc/resolv.conf",
                   resolv_conf(pod_, {host_.settings().dns_ip, host_.settings().cluster_domain}),
                   {.mode = 0644}));
  KNIT_CO_TRY_VOID(
      replace_file(run_path() + "/etc/hostname", hostname_of(pod_) + "\n", {.mode = 0644}));
  save_state();
  if (net_) host_.announce(*this);
  changed();
  co_return Result<void>();
}

io::Task<Result<void>> PodWorker::fetch_objects() {
  const Needs needs = needs_of(pod_);
  const std::string ns(namespace_of(pod_));
  Objects found;
  for (const std::string& name : needs.configmaps) {
    kube::Key k{kube::res::configmaps(), ns, name};
    auto got = co_await host_.api().get(std::move(k));
    if (got) {
      found.configmaps.emplace(name, std::move(*got));
    } else if (got.error().code() != Code::NotFound) {
      co_return std::move(got).error();
    }
  }
  for (const std::string& name : needs.secrets) {
    kube::Key k{kube::res::secrets(), ns, name};
    auto got = co_await host_.api().get(std::move(k));
    if (got) {
      json::set(*got, {"kind"}, "Secret");
      found.secrets.emplace(name, std::move(*got));
    } else if (got.error().code() != Code::NotFound) {
      co_return std::move(got).error();
    }
  }
  objects_ = std::move(found);
  co_return Result<void>();
}

io::Task<Result<void>> PodWorker::fetch_tokens() {
  const auto needs = tokens_of(pod_);
  const WallTime now = host_.loop().wall_now();
  if (needs.empty() || (!tokens_.empty() && now < tokens_renew_)) co_return Result<void>();
  WallTime renew = now + 24h;
  for (const TokenNeed& need : needs) {
    JsonObject spec{
        {"expirationSeconds", need.seconds},
        {"boundObjectRef",
         JsonObject{
             {"kind", "Pod"}, {"apiVersion", "v1"}, {"name", name_of(pod_)}, {"uid", uid_}}}};
    spec["audiences"] = need.audience.empty() ? JsonArray() : JsonArray{need.audience};
    Json request = JsonObject{{"apiVersion", "authentication.k8s.io/v1"},
                              {"kind", "TokenRequest"},
                              {"spec", std::move(spec)}};
    kube::Key account{kube::res::serviceaccounts(), std::string(namespace_of(pod_)),
                      std::string(json::str(pod_, {"spec", "serviceAccountName"}, "default"))};
    auto answer = co_await host_.api().token(std::move(account), std::move(request));
    if (!answer) co_return std::move(answer).error();
    const std::string token(json::str(*answer, {"status", "token"}));
    if (token.empty()) co_return Error(Code::Internal, "the API issued an empty token");
    tokens_[need.volume + "/" + need.path] = token;
    renew = std::min(renew, now + std::chrono::seconds(need.seconds) * 8 / 10);
  }
  tokens_renew_ = renew;
  co_return Result<void>();
}

/// The directories of all volumes; those without content from here are complete.
io::Task<Result<void>> PodWorker::make_volumes() {
  const std::optional<std::uint32_t> gid = group_of(pod_);
  const JsonArray volumes = json::array(pod_, {"spec", "volumes"});  // a copy: pod_ may change
  for (const Json& volume : volumes) {
    const std::string path = volume_path(volume);
    struct stat st{};
    if (::stat(path.c_str(), &st) == 0) continue;
    KNIT_CO_TRY_VOID(make_directories(path));
    if (has_content(volume)) continue;
    ::chmod(path.c_str(), 0777);
    if (json::str(volume, {"emptyDir", "medium"}) == "Memory") {
      const Json wrapped = JsonObject{
          {"resources",
           JsonObject{{"limits", JsonObject{{"memory", json::str(volume, {"emptyDir", "sizeLimit"},
                                                                 "0")}}}}}};
      const std::int64_t bytes = resource_of(wrapped, "limits", "memory").value_or(0);
      Driver* driver = &host_.driver();
      auto mounted = co_await io::blocking<Result<void>>(
          host_.loop(), [driver, path, bytes] { return driver->mount_memory(path, bytes); });
      if (!mounted) co_return std::move(mounted).error();
      memory_volumes_.push_back(path);
      kept_mounts_ = false;
    }
    if (gid) {
      if (::chown(path.c_str(), static_cast<uid_t>(-1), *gid) != 0) {
        co_return errno_error("chown " + path, errno);
      }
      ::chmod(path.c_str(), 02777);
    }
  }
  if (!memory_volumes_.empty() && !kept_mounts_) {
    // Kept beyond this process: its mount space dies with it, the content must not.
    Driver* driver = &host_.driver();
    const std::string dir = run_path() + "/volumes";
    auto tree = co_await io::blocking<Result<Fd>>(
        host_.loop(), [driver, dir] { return driver->keep_mounts(dir); });
    kept_mounts_ = true;
    if (tree) {
      host_.keep(uid_, "memory", tree->get());
    } else {
      KNIT_LOG(Warn, "memory volumes are lost should the node restart", KV("pod", name_of(pod_)),
               KV("reason", tree.error()));
    }
  }
  co_return Result<void>();
}

io::Task<Result<void>> PodWorker::write_contents() {
  {
    auto fetched = co_await fetch_objects();
    if (!fetched) co_return std::move(fetched).error();
    auto issued = co_await fetch_tokens();
    if (!issued) co_return std::move(issued).error();
  }
  const std::optional<std::uint32_t> gid = group_of(pod_);
  const JsonArray volumes = json::array(pod_, {"spec", "volumes"});
  for (const Json& volume : volumes) {
    if (!has_content(volume)) continue;
    const std::string path = volume_path(volume);
    KNIT_CO_TRY(const VolumeContent content,
                volume_content(pod_, volume, objects_, facts(), tokens_));
    std::map<std::string, std::pair<std::string, std::uint32_t>> now;
    for (const auto& [file, f] : content) now.emplace(file, std::pair(f.content, f.mode));
    const auto before = written_.find(path);
    if (before != written_.end() && before->second == now) continue;
    const std::string stamp =
        std::to_string(host_.loop().wall_now().ns) + "_" + std::to_string(++stamp_);
    auto wrote = co_await io::blocking<Result<void>>(host_.loop(), [path, content, gid, stamp] {
      return write_volume(path, content, gid, stamp);
    });
    if (!wrote) co_return std::move(wrote).error();
    written_[path] = std::move(now);
  }
  co_return Result<void>();
}

io::Task<void> PodWorker::refresh_volumes() {
  const auto& volumes = json::array(pod_, {"spec", "volumes"});
  if (std::none_of(volumes.begin(), volumes.end(), has_content)) co_return;
  for (;;) {
    co_await io::sleep_for(host_.loop(), host_.settings().volume_refresh);
    const auto done = co_await write_contents();
    if (!done) {
      KNIT_LOG(Warn, "refresh of a pod's volumes failed", KV("pod", name_of(pod_)),
               KV("error", done.error()));
    }
  }
}

// ---- the end

}  // namespace knit::node
