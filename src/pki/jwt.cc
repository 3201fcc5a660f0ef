#include "pki/jwt.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>

#include <algorithm>

#include "base/hash.h"
#include "pki/openssl.h"

namespace knit::pki {
namespace {

constexpr std::size_t kMaxToken = 16 << 10;
constexpr int kCoordinate = 32;

Error refuse(const char* why) { return Error(Code::Unauthenticated, std::string("token: ") + why); }

/// The uncompressed point of a P-256 public key: 0x04 X Y, the end of its SubjectPublicKeyInfo.
Result<std::string> public_point(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size != 91) {
    if (size > 0) OPENSSL_free(der);
    return Error(Code::InvalidArgument, "the token key is not ECDSA P-256");
  }
  std::string point(reinterpret_cast<char*>(der) + size - 64, 64);
  OPENSSL_free(der);
  return point;
}

std::string to_raw_signature(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  ECDSA_SIG* sig = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
  KNIT_CHECK(sig != nullptr);
  std::string raw(2 * kCoordinate, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, kCoordinate);
  BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + kCoordinate, kCoordinate);
  ECDSA_SIG_free(sig);
  return raw;
}

std::string to_der_signature(const std::string& raw) {
  const auto* in = reinterpret_cast<const unsigned char*>(raw.data());
  ECDSA_SIG* sig = ECDSA_SIG_new();
  ECDSA_SIG_set0(sig, BN_bin2bn(in, kCoordinate, nullptr),
                 BN_bin2bn(in + kCoordinate, kCoordinate, nullptr));
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(sig, &der);
  std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(std::max(size, 0)));
  OPENSSL_free(der);
  ECDSA_SIG_free(sig);
  return out;
}

std::int64_t seconds(WallTime t) { return t.ns / 1'000'000'000; }
WallTime from_seconds(std::int64_t s) {
  constexpr std::int64_t kLimit = INT64_MAX / 1'000'000'000;
  return {std::clamp(s, -kLimit, kLimit) * 1'000'000'000};
}
JsonObject reference(const std::string& name, const std::string& uid) {
  return {{"name", name}, {"uid", uid}};
}

}  // namespace

Result<std::shared_ptr<const TokenKey>> TokenKey::load(std::string_view key_pem) {
  KNIT_TRY(const KeyPtr key, key_from_pem(key_pem));
  KNIT_TRY(const std::string point, public_point(key.get()));
  return std::make_shared<const TokenKey>(
      std::string(key_pem), hash::base64url(hash::sha256(point)),
      hash::base64url(point.substr(0, 32)), hash::base64url(point.substr(32)));
}

std::string TokenKey::sign(const TokenClaims& c) const {
  JsonObject kubernetes{{"namespace", c.ns},
                        {"serviceaccount", reference(c.service_account, c.service_account_uid)}};
  if (!c.pod_name.empty()) kubernetes["pod"] = reference(c.pod_name, c.pod_uid);
  if (!c.node_name.empty()) kubernetes["node"] = reference(c.node_name, c.node_uid);
  if (!c.secret_name.empty()) kubernetes["secret"] = reference(c.secret_name, c.secret_uid);
  if (c.warn_after.ns != 0) kubernetes["warnafter"] = seconds(c.warn_after);
  JsonArray audiences;
  for (const auto& a : c.audiences) audiences.emplace_back(a);
  JsonObject body{{"aud", std::move(audiences)},
                  {"exp", seconds(c.expires)},
                  {"iat", seconds(c.issued_at)},
                  {"iss", c.issuer}};
  if (!c.jti.empty()) body["jti"] = c.jti;
  body["kubernetes.io"] = std::move(kubernetes);
  body["nbf"] = seconds(c.not_before);
  body["sub"] = c.subject();
  const JsonObject header{{"alg", "ES256"}, {"kid", kid_}, {"typ", "JWT"}};
  const std::string signed_part = hash::base64url(json::print(header)) + "." +
                                  hash::base64url(json::print(Json(std::move(body))));
  auto key = key_from_pem(key_pem_);
  KNIT_CHECK(key.has_value());
  const DigestCtxPtr ctx(EVP_MD_CTX_new());
  std::size_t size = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(signed_part.data());
  KNIT_CHECK(EVP_DigestSignInit(ctx.get(), nullptr, EVP_sha256(), nullptr, key->get()) == 1 &&
             EVP_DigestSign(ctx.get(), nullptr, &size, data, signed_part.size()) == 1);
  std::string der(size, '\0');
  KNIT_CHECK(EVP_DigestSign(ctx.get(), reinterpret_cast<unsigned char*>(der.data()), &size, data,
                            signed_part.size()) == 1);
  der.resize(size);
  return signed_part + "." + hash::base64url(to_raw_signature(der));
}

Result<Json> TokenKey::verify_signature(std::string_view token) const {
  if (token.size() > kMaxToken) return refuse("larger than 16 KiB");
  const auto first = token.find('.');
  const auto last = token.rfind('.');
  if (first == std::string_view::npos || last == first || token.find('.', first + 1) != last) {
    return refuse("not three parts");
  }
  const auto header_text = hash::decode_base64url(token.substr(0, first));
  if (!header_text) return refuse("malformed header");
  const auto header = json::parse(*header_text);
  if (!header || !header->is_object()) return refuse("malformed header");
  if (json::str(*header, {"alg"}) != "ES256") return refuse("the algorithm is not ES256");
  if (json::str(*header, {"kid"}) != kid_) return refuse("signed with an unknown key");
  const auto signature = hash::decode_base64url(token.substr(last + 1));
  if (!signature || signature->size() != 2 * kCoordinate) return refuse("malformed signature");
  auto key = key_from_pem(key_pem_);
  KNIT_CHECK(key.has_value());
  const std::string der = to_der_signature(*signature);
  const DigestCtxPtr ctx(EVP_MD_CTX_new());
  const bool good =
      EVP_DigestVerifyInit(ctx.get(), nullptr, EVP_sha256(), nullptr, key->get()) == 1 &&
      EVP_DigestVerify(ctx.get(), reinterpret_cast<const unsigned char*>(der.data()), der.size(),
                       reinterpret_cast<const unsigned char*>(token.data()), last) == 1;
  ERR_clear_error();
  if (!good) return refuse("the signature is wrong");
  const auto body = hash::decode_base64url(token.substr(first + 1, last - first - 1));
  if (!body) return refuse("malformed claims");
  auto claims = json::parse(*body);
  if (!claims || !claims->is_object()) return refuse("malformed claims");
  return std::move(*claims);
}

Result<TokenClaims> TokenKey::verify(std::string_view token, std::string_view issuer,
                                     const std::vector<std::string>& audiences,
                                     WallTime now) const {
  KNIT_TRY(const Json body, verify_signature(token));
  const auto text = [&](json::Path path) { return std::string(json::str(body, path)); };
  TokenClaims c;
  c.issuer = text({"iss"});
  c.ns = text({"kubernetes.io", "namespace"});
  c.service_account = text({"kubernetes.io", "serviceaccount", "name"});
  c.service_account_uid = text({"kubernetes.io", "serviceaccount", "uid"});
  c.pod_name = text({"kubernetes.io", "pod", "name"});
  c.pod_uid = text({"kubernetes.io", "pod", "uid"});
  c.node_name = text({"kubernetes.io", "node", "name"});
  c.node_uid = text({"kubernetes.io", "node", "uid"});
  c.secret_name = text({"kubernetes.io", "secret", "name"});
  c.secret_uid = text({"kubernetes.io", "secret", "uid"});
  c.jti = text({"jti"});
  for (const auto& a : json::array(body, {"aud"})) {
    if (a.is_string()) c.audiences.emplace_back(a.get_string());
  }
  c.issued_at = from_seconds(json::i64(body, {"iat"}));
  c.not_before = from_seconds(json::i64(body, {"nbf"}));
  c.expires = from_seconds(json::i64(body, {"exp"}));
  c.warn_after = from_seconds(json::i64(body, {"kubernetes.io", "warnafter"}));
  if (c.issuer != issuer) return refuse("another issuer");
  if (c.ns.empty() || c.service_account.empty() || text({"sub"}) != c.subject()) {
    return refuse("no service account");
  }
  if (now < c.not_before) return refuse("not valid yet");
  if (now >= c.expires) return refuse("expired");
  if (!audiences.empty() &&
      std::none_of(c.audiences.begin(), c.audiences.end(), [&](const std::string& a) {
        return std::find(audiences.begin(), audiences.end(), a) != audiences.end();
      })) {
    return refuse("for another audience");
  }
  return c;
}

Json TokenKey::jwks() const {
  return JsonObject{{"keys", JsonArray{JsonObject{{"use", "sig"},
                                                  {"kty", "EC"},
                                                  {"kid", kid_},
                                                  {"crv", "P-256"},
                                                  {"alg", "ES256"},
                                                  {"x", x_},
                                                  {"y", y_}}}}};
}

}  // namespace knit::pki
