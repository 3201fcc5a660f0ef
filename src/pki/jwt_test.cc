#include "pki/jwt.h"

#include "base/hash.h"
#include "pki/x509.h"

namespace knit::pki {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kNow{1'767'225'600'000'000'000};
const std::string kIssuer = "https://kubernetes.default.svc.cluster.local";

TokenClaims claims() {
  TokenClaims c;
  c.issuer = kIssuer;
  c.ns = "default";
  c.service_account = "hello";
  c.service_account_uid = "u-1";
  c.audiences = {kIssuer, "istio-ca"};
  c.issued_at = c.not_before = kNow;
  c.expires = kNow + 3607s;
  c.jti = "j-1";
  c.pod_name = "hello-1";
  c.pod_uid = "p-1";
  return c;
}

TEST(Tokens, RoundTripWithKubernetesClaims) {  // spec kubeapi.md 1.16
  const auto key = TokenKey::load(new_key()).value();
  const std::string token = key->sign(claims());
  const Json body = key->verify_signature(token).value();
  EXPECT_EQ(json::str(body, {"sub"}), "system:serviceaccount:default:hello");
  EXPECT_EQ(json::str(body, {"kubernetes.io", "pod", "uid"}), "p-1");
  EXPECT_EQ(json::i64(body, {"exp"}), (kNow + 3607s).ns / 1'000'000'000);
  EXPECT_EQ(json::find(body, {"kubernetes.io", "warnafter"}), nullptr);
  const auto back = key->verify(token, kIssuer, {"istio-ca"}, kNow + 10s);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->subject(), "system:serviceaccount:default:hello");
  EXPECT_EQ(back->service_account_uid, "u-1");
  EXPECT_EQ(back->pod_name, "hello-1");
  EXPECT_EQ(back->jti, "j-1");
  const Json jwks = key->jwks();
  EXPECT_EQ(json::str(jwks.at("keys").at(0), {"kid"}), key->key_id());
  EXPECT_EQ(hash::decode_base64url(json::str(jwks.at("keys").at(0), {"x"})).value().size(), 32u);
}

TEST(Tokens, RefusalTable) {
  const auto key = TokenKey::load(new_key()).value();
  const auto other = TokenKey::load(new_key()).value();
  const std::string good = key->sign(claims());
  const auto dot = good.find('.');
  const auto last = good.rfind('.');
  const auto with_header = [&](const char* header) {
    return hash::base64url(header) + good.substr(dot);
  };
  std::string altered = good;
  altered[dot + 10] = altered[dot + 10] == 'A' ? 'B' : 'A';
  TokenClaims wrong_issuer = claims();
  wrong_issuer.issuer = "https://evil";
  const struct {
    const char* name;
    std::string token;
    std::vector<std::string> audiences;
    Duration after;
    const char* message;
  } rows[] = {
      {"two parts", good.substr(0, last), {}, 0s, "three parts"},
      {"four parts", good + ".x", {}, 0s, "three parts"},
      {"none", with_header(R"({"alg":"none"})"), {}, 0s, "not ES256"},
      {"HS256", with_header(R"({"alg":"HS256"})"), {}, 0s, "not ES256"},
      {"another key", other->sign(claims()), {}, 0s, "unknown key"},
      {"altered", altered, {}, 0s, "signature is wrong"},
      {"empty signature", good.substr(0, last + 1), {}, 0s, "malformed signature"},
      {"zero signature",
       good.substr(0, last + 1) + hash::base64url(std::string(64, '\0')),
       {},
       0s,
       "signature is wrong"},
      {"expired", good, {}, 3607s, "expired"},
      {"early", good, {}, -1s, "not valid yet"},
      {"audience", good, {"vault"}, 0s, "another audience"},
      {"issuer", key->sign(wrong_issuer), {}, 0s, "another issuer"},
      {"large", std::string(17 << 10, 'a'), {}, 0s, "16 KiB"},
      {"empty", "", {}, 0s, "three parts"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto r = key->verify(row.token, kIssuer, row.audiences, kNow + row.after);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code(), Code::Unauthenticated);
    EXPECT_NE(r.error().message().find(row.message), std::string::npos) << r.error().message();
  }
  EXPECT_FALSE(TokenKey::load("junk"));
}

}  // namespace
}  // namespace knit::pki
