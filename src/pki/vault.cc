#include "pki/vault.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"

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
Result<std::string> read_file(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return std::string();
    return errno_error("read " + path, errno);
  }
  std::string out(kMaxFile + 1, '\0');
  std::size_t have = 0;
  while (have < out.size()) {
    const ssize_t n = ::read(fd.get(), out.data() + have, out.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("read " + path, errno);
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  if (have > kMaxFile) return Error(Code::InvalidArgument, path + " is larger than 64 KiB");
  out.resize(have);
  return out;
}

Result<void> write_file(const std::string& path, const std::string& data,
                        const std::string& owner_of) {
  const std::string temporary = path + ".new";
  unlink(temporary.c_str());
  const Fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error("write " + temporary, errno);
  std::size_t done = 0;
  while (done < data.size()) {
    const ssize_t n = ::write(fd.get(), data.data() + done, data.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("write " + temporary, errno);
    done += static_cast<std::size_t>(n);
  }
  inherit_owner(fd.get(), owner_of);
  if (fsync(fd.get()) != 0) return errno_error("write " + temporary, errno);
  if (rename(temporary.c_str(), path.c_str()) != 0) return errno_error("write " + path, errno);
  return {};
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
  KNIT_TRY(files.root_pem, read_file(path("root.crt")));
  KNIT_TRY(files.root_key_pem, read_file(path("root.key")));
  KNIT_TRY(files.intermediate_pem, read_file(path("intermediate.crt")));
  KNIT_TRY(files.intermediate_key_pem, read_file(path("intermediate.key")));
  bool fresh = false;
  if (files.root_pem.empty()) {
    KNIT_TRY(files, Authority::create(spec, now));
    fresh = true;
    // The certificate last: a crash in between starts over instead of leaving a root without key.
    KNIT_TRY_VOID(write_file(path("root.key"), files.root_key_pem, directory_));
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
    KNIT_TRY_VOID(write_file(path("intermediate.key"), files.intermediate_key_pem, directory_));
    KNIT_TRY_VOID(write_file(path("intermediate.crt"), files.intermediate_pem, directory_));
  }
  if (fresh) KNIT_TRY_VOID(write_file(path("root.crt"), files.root_pem, directory_));
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
  KNIT_TRY(std::string key, read_file(path));
  if (key.empty()) {
    key = new_key();
    KNIT_TRY_VOID(write_file(path, key, directory_));
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
