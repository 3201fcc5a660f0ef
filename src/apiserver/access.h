// Who asks, and whether they may.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "apiserver/registry.h"
#include "apiserver/request_info.h"
#include "http/server.h"

namespace knit::apiserver {

inline constexpr std::string_view kAnonymous = "system:anonymous";
inline constexpr std::string_view kMasters = "system:masters";

/// Checks and makes ServiceAccount tokens (kubeapi.md 1.16).
class Tokens {
 public:
  virtual ~Tokens() = default;
  /// The user of a valid token. `audiences` empty: the API's own. Errors: Unauthenticated.
  virtual Result<User> authenticate(std::string_view token,
                                    const std::vector<std::string>& audiences,
                                    const ObjectReader& state, WallTime now) = 0;
  struct Issue {
    Key account;
    std::string account_uid;
    std::vector<std::string> audiences;
    std::int64_t seconds = 3600;
    Json bound;  // spec.boundObjectRef, or null
  };
  struct Token {
    std::string token;
    WallTime expires;
  };
  virtual Result<Token> issue(const Issue& request, const ObjectReader& state, WallTime now) = 0;
};

/// Users by client certificate: decoding one costs more than the rest of a request. Holds the users
/// of the last certificates that were seen; not thread-safe.
class CertificateUsers {
 public:
  /// `pem`: a verified chain, the leaf first. Errors: Unauthenticated.
  Result<User> user_of(const std::string& pem);

 private:
  static constexpr std::size_t kMost = 256;
  std::unordered_map<std::string, User> users_;
};

/// From the connection's tag ("user:NAME", given to adopted streams only), else the client
/// certificate (CN, O), else a bearer token, else anonymous. Errors: Unauthenticated.
Result<User> authenticate(const http::Peer& peer, const http::Headers& headers, Tokens* tokens,
                          const ObjectReader& state, WallTime now, CertificateUsers& certificates);

struct Attributes {
  std::string verb, group, resource, subresource, ns, name;
  std::string path;  // of what is no resource
};
Attributes attributes_of(const RequestInfo& info, std::string_view path);

/// Masters may do everything; each process of Knit what its row of the table says; everybody who
/// is authenticated may discover and review themselves; everybody may read health and version.
/// ServiceAccounts and other users may do nothing else yet.
bool authorized(const User& user, const Attributes& a);
/// 403 in upstream's words.
Status denied(const User& user, const Attributes& a);

}  // namespace knit::apiserver
