#include "pki/vault.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/files.h"

namespace knit::pki {
namespace {
using namespace std::chrono_literals;

constexpr Duration kDay = 24h;
constexpr Duration kRenewBefore = 365 * kDay;  // the last fifth of an intermediate's five years
constexpr std::size_t kMaxFile = 64 << 10;

/// New files and directories belong to whoever owns the vault, also when root makes them.
void inherit_owner(int fd, const std::string& from) {
  struct stat s{};
  if (geteuid() == 0 && stat(from.c_str(), &s) == 0 && fchown(fd, s.st_uid, s.st_gid) != 0) {
    return;  // the reader will say that it may not read
  }
}

Result<void> make_directory(const std::string& path, const std::string& owner_of) {
  if (mkdir(path.c_str(), 0700) != 0) {
    if (errno == EEXIST) return {};
    return errno_error("make " + path, errno);
  }
  const Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd) inherit_owner(fd.get(), owner_of);
  return {};
}

/// An absent file is an empty string.
Result<std::string> read_or_empty(const std::string& path) {
  auto text = read_file(path, kMaxFile);
  if (!text && text.error().code() == Code::NotFound) return std::string();
  return text;
}

Result<Fd> lock_directory(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || flock(fd.get(), LOCK_EX) != 0) return errno_error("lock " + path, errno);
  return fd;
}

bool safe_component(const std::string& name) {
  return !name.empty() && name.size() <= 253 && name[0] != '.' &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

}  // namespace

Result<Vault> Vault::open(std::string directory) {
  const auto slash = directory.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : directory.substr(0, slash);
  KNIT_TRY_VOID(make_directory(directory, parent));
  return Vault(std::move(directory));
}

Result<std::shared_ptr<const Authority>> Vault::authority(const std::string& subdirectory,
                                                          const Authority::Spec& spec,
                                                          WallTime now) const {
  const auto slash = subdirectory.find('/');
  if (slash != std::string::npos) {
    if (!safe_component(subdirectory.substr(slash + 1))) {
      return Error(Code::InvalidArgument, "\"" + subdirectory + "\" cannot be a directory name");
    }
    KNIT_TRY_VOID(make_directory(directory_ + "/" + subdirectory.substr(0, slash), directory_));
  }
  const std::string directory = directory_ + "/" + subdirectory;
  KNIT_TRY_VOID(make_directory(directory, directory_));
  KNIT_TRY(const Fd lock, lock_directory(directory));
  const auto path = [&](const char* name) { return directory + "/" + name; };
  Authority::Files files;
  KNIT_TRY(files.root_pem, read_or_empty(path("root.crt")));
  KNIT_TRY(files.root_key_pem, read_or_empty(path("root.key")));
  KNIT_TRY(files.intermediate_pem, read_or_empty(path("intermediate.crt")));
  KNIT_TRY(files.intermediate_key_pem, read_or_empty(path("intermediate.key")));
  bool fresh = false;
  if (files.root_pem.empty()) {
    KNIT_TRY(files, Authority::create(spec, now));
    fresh = true;
    // The certificate last: a crash in between starts over instead of leaving a root without key.
    KNIT_TRY_VOID(
        replace_file(path("root.key"), files.root_key_pem, {.durable = true, .like = directory_}));
  }
  bool renewed = fresh;
  if (!fresh) {
    auto info = parse_certificates(files.intermediate_pem);
    const bool due = !info || info->front().not_after - now < kRenewBefore ||
                     !check_key_pair(files.intermediate_pem, files.intermediate_key_pem);
    if (due && !files.root_key_pem.empty()) {
      KNIT_TRY(files, Authority::renew_intermediate(spec, std::move(files), now));
      renewed = true;
    }
  }
  if (renewed) {
    KNIT_TRY_VOID(replace_file(path("intermediate.key"), files.intermediate_key_pem,
                               {.durable = true, .like = directory_}));
    KNIT_TRY_VOID(replace_file(path("intermediate.crt"), files.intermediate_pem,
                               {.durable = true, .like = directory_}));
  }
  if (fresh)
    KNIT_TRY_VOID(
        replace_file(path("root.crt"), files.root_pem, {.durable = true, .like = directory_}));
  auto loaded = Authority::load(files);
  if (!loaded) return std::move(loaded).error().within(directory);
  return loaded;
}

Result<std::shared_ptr<const Authority>> Vault::api(WallTime now) const {
  return authority("api", {"Knit API", ""}, now);
}
Result<std::shared_ptr<const Authority>> Vault::mesh(const std::string& mesh, WallTime now) const {
  return authority("mesh/" + mesh, {"Knit mesh " + mesh, ""}, now);
}
Result<std::shared_ptr<const Authority>> Vault::apps(const std::string& domain,
                                                     WallTime now) const {
  return authority("apps/" + domain, {"Knit apps " + domain, domain}, now);
}

Result<std::shared_ptr<const TokenKey>> Vault::tokens() const {
  const std::string directory = directory_ + "/api";
  KNIT_TRY_VOID(make_directory(directory, directory_));
  KNIT_TRY(const Fd lock, lock_directory(directory));
  const std::string path = directory + "/service-account.key";
  KNIT_TRY(std::string key, read_or_empty(path));
  if (key.empty()) {
    key = new_key();
    KNIT_TRY_VOID(replace_file(path, key, {.durable = true, .like = directory_}));
  }
  auto loaded = TokenKey::load(key);
  if (!loaded) return std::move(loaded).error().within(path);
  return loaded;
}

Result<Credential> api_server_certificate(const Authority& api,
                                          const std::vector<std::string>& names, WallTime now) {
  LeafSpec spec;
  spec.common_name = "knit-apiserver";
  spec.server = true;
  spec.lifetime = 365 * kDay;
  spec.dns_names = {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                    "kubernetes.default.svc.cluster.local"};
  spec.ip_addresses = {"127.0.0.1", "::1"};
  for (const auto& name : names) {
    const bool address = name.find_first_not_of("0123456789.") == std::string::npos ||
                         name.find(':') != std::string::npos;
    (address ? spec.ip_addresses : spec.dns_names).push_back(name);
  }
  return api.issue_with_key(spec, now);
}

Result<Credential> api_client_certificate(const Authority& api, std::string user,
                                          std::vector<std::string> groups, WallTime now) {
  LeafSpec spec;
  spec.common_name = std::move(user);
  spec.organizations = std::move(groups);
  spec.client = true;
  spec.lifetime = 365 * kDay;
  return api.issue_with_key(spec, now);
}

Result<Credential> wildcard_certificate(const Authority& apps, const std::string& domain,
                                        WallTime now) {
  LeafSpec spec;
  spec.common_name = "*." + domain;
  if (spec.common_name.size() > 64) spec.common_name.clear();  // X.520's limit; SANs decide
  spec.dns_names = {"*." + domain, domain};
  spec.server = true;
  spec.lifetime = 90 * kDay;
  return apps.issue_with_key(spec, now);
}

}  // namespace knit::pki
