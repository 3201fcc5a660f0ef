// ServiceAccount tokens for the API server: signed by the vault's key, checked against the store.
#pragma once

#include "apiserver/access.h"
#include "pki/jwt.h"

namespace knit::app {

class ServiceAccountTokens final : public apiserver::Tokens {
 public:
  explicit ServiceAccountTokens(std::shared_ptr<const pki::TokenKey> key, Random& random,
                                std::string issuer)
      : key_(std::move(key)), random_(random), issuer_(std::move(issuer)) {}

  Result<apiserver::User> authenticate(std::string_view token,
                                       const std::vector<std::string>& audiences,
                                       const apiserver::ObjectReader& state,
                                       WallTime now) override;
  Result<Token> issue(const Issue& request, const apiserver::ObjectReader& state,
                      WallTime now) override;

 private:
  std::shared_ptr<const pki::TokenKey> key_;
  Random& random_;
  std::string issuer_;
};

}  // namespace knit::app
