// The key files of one installation, DATA/pki: three independent roots and the token key.
//
//   api/                 root.crt root.key intermediate.crt intermediate.key service-account.key
//   mesh/<namespace>/    the same four
//   apps/<domain>/       the same four; the only root a user is asked to trust
//
// Directories are 0700 and files 0600, owned by the owner of DATA/pki, whoever makes them. A
// root.key may be taken away: only a new intermediate needs it.
#pragma once

#include "pki/authority.h"
#include "pki/jwt.h"

namespace knit::pki {

class Vault {
 public:
  /// Makes `directory` when absent. Errors: those of mkdir and open.
  static Result<Vault> open(std::string directory);

  /// Each loads, or creates at first use (an flock keeps two processes from both doing it). An
  /// intermediate in its last fifth is renewed when the root's key is there. Blocking.
  Result<std::shared_ptr<const Authority>> api(WallTime now) const;
  Result<std::shared_ptr<const Authority>> mesh(const std::string& mesh, WallTime now) const;
  Result<std::shared_ptr<const Authority>> apps(const std::string& domain, WallTime now) const;
  Result<std::shared_ptr<const TokenKey>> tokens() const;
  const std::string& directory() const { return directory_; }

 private:
  explicit Vault(std::string directory) : directory_(std::move(directory)) {}
  Result<std::shared_ptr<const Authority>> authority(const std::string& subdirectory,
                                                     const Authority::Spec& spec,
                                                     WallTime now) const;
  std::string directory_;
};

/// The API's serving certificate (one year): 127.0.0.1, ::1, localhost, the names of the
/// kubernetes Service, and `names` (host names or IP literals).
Result<Credential> api_server_certificate(const Authority& api,
                                          const std::vector<std::string>& names, WallTime now);
/// A client certificate of the API (one year): user and groups.
Result<Credential> api_client_certificate(const Authority& api, std::string user,
                                          std::vector<std::string> groups, WallTime now);
/// "*.domain" and "domain", 90 days.
Result<Credential> wildcard_certificate(const Authority& apps, const std::string& domain,
                                        WallTime now);

}  // namespace knit::pki
