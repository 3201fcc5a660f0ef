#include "app/tokens.h"

#include "kube/resources.h"

namespace knit::app {

using kube::Key;

Result<apiserver::User> ServiceAccountTokens::authenticate(
    std::string_view token, const std::vector<std::string>& audiences,
    const apiserver::ObjectReader& state, WallTime now) {
  const std::vector<std::string> own{issuer_};
  KNIT_TRY(const auto claims,
           key_->verify(token, issuer_, audiences.empty() ? own : audiences, now));
  const auto account =
      state.get(Key{kube::res::serviceaccounts(), claims.ns, claims.service_account});
  if (!account || account->uid() != claims.service_account_uid || account->deleting()) {
    return Error(Code::Unauthenticated, "the token's service account is gone");
  }
  apiserver::User user;
  if (!claims.pod_name.empty()) {
    const auto pod = state.get(Key{kube::res::pods(), claims.ns, claims.pod_name});
    if (!pod || pod->uid() != claims.pod_uid) {
      return Error(Code::Unauthenticated, "the token's pod is gone");
    }
    user.extra["authentication.kubernetes.io/pod-name"] = {claims.pod_name};
    user.extra["authentication.kubernetes.io/pod-uid"] = {claims.pod_uid};
  }
  user.name = claims.subject();
  user.uid = claims.service_account_uid;
  user.groups = {"system:serviceaccounts", "system:serviceaccounts:" + claims.ns,
                 "system:authenticated"};
  return user;
}

Result<apiserver::Tokens::Token> ServiceAccountTokens::issue(const Issue& request,
                                                             const apiserver::ObjectReader& state,
                                                             WallTime now) {
  pki::TokenClaims claims;
  claims.issuer = issuer_;
  claims.ns = request.account.ns;
  claims.service_account = request.account.name;
  claims.service_account_uid = request.account_uid;
  claims.audiences = request.audiences;
  if (claims.audiences.empty()) claims.audiences.push_back(issuer_);
  claims.issued_at = claims.not_before = now;
  claims.expires = now + std::chrono::seconds(request.seconds);
  claims.jti = random_.uuid();
  if (request.bound.is_object()) {
    const std::string kind(json::str(request.bound, {"kind"}));
    const std::string name(json::str(request.bound, {"name"}));
    const auto resource = kind == "Pod"      ? kube::res::pods()
                          : kind == "Secret" ? kube::res::secrets()
                                             : kube::Resource();
    if (resource == kube::Resource()) {
      return Error(Code::InvalidArgument, "cannot bind token for serviceaccount to object of kind \"" +
                                              kind + "\": only Pod and Secret are supported");
    }
    const auto object = state.get(Key{resource, request.account.ns, name});
    const auto uid = json::str(request.bound, {"uid"});
    if (!object) {
      return Error(Code::NotFound, std::string(resource.name()) + " \"" + name + "\" not found");
    }
    if (!uid.empty() && uid != object->uid()) {
      return Error(Code::Conflict, "the UID in the bound object reference (" + std::string(uid) +
                                       ") does not match the UID in record (" + object->uid() + ")");
    }
    if (kind == "Pod") {
      claims.pod_name = name;
      claims.pod_uid = object->uid();
    } else {
      claims.secret_name = name;
      claims.secret_uid = object->uid();
    }
  }
  return Token{key_->sign(claims), claims.expires};
}

}  // namespace knit::app
