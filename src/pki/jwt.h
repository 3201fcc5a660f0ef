// Service account tokens: ES256 JWTs with Kubernetes' claims (spec kubeapi.md 1.16).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/time.h"

namespace knit::pki {

struct TokenClaims {
  std::string issuer;
  std::string ns, service_account, service_account_uid;
  std::vector<std::string> audiences;
  WallTime issued_at{}, not_before{}, expires{};
  std::string jti;
  std::string pod_name, pod_uid;    // bound to a pod; empty: not
  std::string node_name, node_uid;  // of that pod
  std::string secret_name, secret_uid;
  WallTime warn_after{};  // zero: none
  std::string subject() const { return "system:serviceaccount:" + ns + ":" + service_account; }
};

/// Signs and verifies with one key. Immutable; used from any thread.
class TokenKey {
 public:
  /// `key_pem`: ECDSA P-256. Errors: InvalidArgument.
  static Result<std::shared_ptr<const TokenKey>> load(std::string_view key_pem);

  std::string sign(const TokenClaims& claims) const;
  /// Header and signature only: {"claims"} as they stand. Errors: Unauthenticated.
  Result<Json> verify_signature(std::string_view token) const;
  /// Signature, issuer, time and audiences (any of `audiences`; empty accepts all). The caller
  /// still checks that account, pod and uid exist. Errors: Unauthenticated.
  Result<TokenClaims> verify(std::string_view token, std::string_view issuer,
                             const std::vector<std::string>& audiences, WallTime now) const;
  /// {"keys": [{kty, kid, use, alg, crv, x, y}]}
  Json jwks() const;
  const std::string& key_id() const { return kid_; }

  TokenKey(std::string key_pem, std::string kid, std::string x, std::string y)
      : key_pem_(std::move(key_pem)), kid_(std::move(kid)), x_(std::move(x)), y_(std::move(y)) {}

 private:
  std::string key_pem_, kid_, x_, y_;
};

}  // namespace knit::pki
