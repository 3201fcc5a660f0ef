#include "pki/authority.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <algorithm>

#include "pki/openssl.h"

namespace knit::pki {
namespace {
using namespace std::chrono_literals;

constexpr Duration kYear = 24h * 365;
constexpr Duration kRootLifetime = 10 * kYear;
constexpr Duration kIntermediateLifetime = 5 * kYear;
constexpr Duration kCaBackdate = 1h;
constexpr Duration kLeafBackdate = 2min;  // spec mesh.md 2.12
constexpr std::size_t kMaxRequest = 16 << 10;

void set_time(ASN1_TIME* out, WallTime t) {
  KNIT_CHECK(ASN1_TIME_set(out, static_cast<time_t>(t.ns / 1'000'000'000)) != nullptr);
}

Result<void> extend(X509* x, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer, x, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str()));
  if (!extension || X509_add_ext(x, extension.get(), -1) != 1) {
    return Error(Code::InvalidArgument, "the extension \"" + value + "\": " + openssl_reason());
  }
  return {};
}

/// Names go in as data, never through OpenSSL's configuration syntax.
Result<void> add_names(X509* x, const LeafSpec& spec) {
  const NamesPtr names(GENERAL_NAMES_new());
  const auto text = [&](int type, const std::string& value) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* s = ASN1_IA5STRING_new();
    ASN1_STRING_set(s, value.data(), static_cast<int>(value.size()));
    GENERAL_NAME_set0_value(name, type, s);
    sk_GENERAL_NAME_push(names.get(), name);
  };
  for (const auto& dns : spec.dns_names) text(GEN_DNS, dns);
  if (!spec.uri.empty()) text(GEN_URI, spec.uri);
  for (const auto& ip : spec.ip_addresses) {
    unsigned char raw[16];
    int size = 0;
    if (inet_pton(AF_INET, ip.c_str(), raw) == 1) size = 4;
    if (size == 0 && inet_pton(AF_INET6, ip.c_str(), raw) == 1) size = 16;
    if (size == 0) return Error(Code::InvalidArgument, "\"" + ip + "\" is not an IP address");
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_OCTET_STRING* s = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(s, raw, size);
    GENERAL_NAME_set0_value(name, GEN_IPADD, s);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  if (sk_GENERAL_NAME_num(names.get()) == 0) return {};
  const bool no_subject = spec.common_name.empty() && spec.organizations.empty();
  if (X509_add1_ext_i2d(x, NID_subject_alt_name, names.get(), no_subject ? 1 : 0,
                        X509V3_ADD_DEFAULT) != 1) {
    return Error(Code::InvalidArgument, "the names: " + openssl_reason());
  }
  return {};
}

void add_entry(X509_NAME* name, int nid, const std::string& value) {
  X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(value.data()),
                             static_cast<int>(value.size()), -1, 0);
}

X509Ptr blank(EVP_PKEY* subject_key, WallTime from, WallTime to) {
  X509Ptr x(X509_new());
  unsigned char serial[16];
  KNIT_CHECK(x && RAND_bytes(serial, sizeof serial) == 1);
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);  // positive, full length
  BIGNUM* number = BN_bin2bn(serial, sizeof serial, nullptr);
  KNIT_CHECK(number != nullptr && X509_set_version(x.get(), 2) == 1);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x.get()));
  BN_free(number);
  set_time(X509_getm_notBefore(x.get()), from);
  set_time(X509_getm_notAfter(x.get()), to);
  KNIT_CHECK(X509_set_pubkey(x.get(), subject_key) == 1);
  return x;
}

Result<X509Ptr> make_ca(EVP_PKEY* key, const std::string& common_name, X509* issuer,
                        EVP_PKEY* issuer_key, const std::string& constraints, WallTime now,
                        Duration lifetime, int path_length) {
  X509Ptr x = blank(key, now - kCaBackdate, now + lifetime);
  add_entry(X509_get_subject_name(x.get()), NID_organizationName, "Knit");
  add_entry(X509_get_subject_name(x.get()), NID_commonName, common_name);
  X509* const signer = issuer == nullptr ? x.get() : issuer;
  X509_set_issuer_name(x.get(), X509_get_subject_name(signer));
  KNIT_TRY_VOID(extend(x.get(), signer, NID_basic_constraints,
                       "critical,CA:TRUE,pathlen:" + std::to_string(path_length)));
  KNIT_TRY_VOID(extend(x.get(), signer, NID_key_usage, "critical,keyCertSign,cRLSign"));
  KNIT_TRY_VOID(extend(x.get(), signer, NID_subject_key_identifier, "hash"));
  KNIT_TRY_VOID(extend(x.get(), signer, NID_authority_key_identifier, "keyid:always"));
  if (!constraints.empty()) {
    KNIT_TRY_VOID(extend(x.get(), signer, NID_name_constraints, constraints));
  }
  if (X509_sign(x.get(), issuer == nullptr ? key : issuer_key, EVP_sha256()) == 0) {
    return Error(Code::Internal, "signing: " + openssl_reason());
  }
  return x;
}

bool plain_dns_name(const std::string& name) {
  return !name.empty() && name.size() <= 253 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

/// What the request proves: that its sender holds the key.
Result<KeyPtr> requested_key(std::string_view csr_pem) {
  if (csr_pem.size() > kMaxRequest) {
    return Error(Code::InvalidArgument, "the certificate request is larger than 16 KiB");
  }
  const BioPtr bio = reading_bio(csr_pem);
  const RequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  if (!request) {
    ERR_clear_error();
    return Error(Code::InvalidArgument, "the certificate request is not PEM PKCS#10");
  }
  KeyPtr key(X509_REQ_get_pubkey(request.get()));
  if (!key || X509_REQ_verify(request.get(), key.get()) != 1) {
    ERR_clear_error();
    return Error(Code::InvalidArgument, "the certificate request is not signed by its own key");
  }
  const int type = EVP_PKEY_base_id(key.get());
  const int bits = EVP_PKEY_bits(key.get());
  if (!(type == EVP_PKEY_EC && bits >= 256) && !(type == EVP_PKEY_RSA && bits >= 2048)) {
    return Error(Code::InvalidArgument,
                 "the key of the certificate request is neither ECDSA P-256 or better nor RSA "
                 "2048 or better");
  }
  return key;
}

}  // namespace

Result<Authority::Files> Authority::create(const Spec& spec, WallTime now) {
  std::string constraints;
  if (!spec.permitted_domain.empty()) {
    if (!plain_dns_name(spec.permitted_domain)) {
      return Error(Code::InvalidArgument,
                   "\"" + spec.permitted_domain + "\" is not a lower-case DNS name");
    }
    // A type that is not listed would be unconstrained, so addresses are excluded by name.
    constraints = "critical,permitted;DNS:" + spec.permitted_domain +
                  ",excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0";
  }
  const KeyPtr key = generate_p256();
  KNIT_TRY(const X509Ptr root, make_ca(key.get(), spec.name + " root", nullptr, nullptr,
                                       constraints, now, kRootLifetime, 1));
  Files files{certificate_to_pem(root.get()), key_to_pem(key.get()), {}, {}};
  return renew_intermediate(spec, std::move(files), now);
}

Result<Authority::Files> Authority::renew_intermediate(const Spec& spec, Files files,
                                                       WallTime now) {
  if (files.root_key_pem.empty()) {
    return Error(Code::Unavailable, "the key of \"" + spec.name +
                                        " root\" is not here; put root.key back to renew the "
                                        "intermediate");
  }
  KNIT_TRY(const auto roots, certificates_from_pem(files.root_pem));
  KNIT_TRY(const KeyPtr root_key, key_from_pem(files.root_key_pem));
  const KeyPtr key = generate_p256();
  KNIT_TRY(const X509Ptr x, make_ca(key.get(), spec.name + " intermediate", roots[0].get(),
                                    root_key.get(), {}, now, kIntermediateLifetime, 0));
  files.intermediate_pem = certificate_to_pem(x.get());
  files.intermediate_key_pem = key_to_pem(key.get());
  return files;
}

Result<std::shared_ptr<const Authority>> Authority::load(const Files& files) {
  KNIT_TRY_VOID(check_key_pair(files.intermediate_pem, files.intermediate_key_pem));
  KNIT_TRY(const auto info, parse_certificates(files.intermediate_pem));
  KNIT_TRY_VOID(
      check_chain(files.intermediate_pem, files.root_pem, info[0].not_before + kCaBackdate));
  return std::make_shared<const Authority>(files.root_pem, files.intermediate_pem,
                                           files.intermediate_key_pem, info[0].not_after);
}

Result<std::string> Authority::issue(std::string_view csr_pem, const LeafSpec& spec,
                                     WallTime now) const {
  KNIT_TRY(const KeyPtr subject_key, requested_key(csr_pem));
  KNIT_TRY(const auto issuers, certificates_from_pem(intermediate_pem_));
  KNIT_TRY(const KeyPtr key, key_from_pem(key_pem_));
  if (now >= not_after_) {
    return Error(Code::Expired, "the intermediate certificate expired at " + rfc3339(not_after_));
  }
  const WallTime until = std::min(now + spec.lifetime, not_after_);
  X509* const issuer = issuers[0].get();
  const X509Ptr x = blank(subject_key.get(), now - kLeafBackdate, until);
  X509_NAME* const subject = X509_get_subject_name(x.get());
  for (const auto& o : spec.organizations) add_entry(subject, NID_organizationName, o);
  if (!spec.common_name.empty()) add_entry(subject, NID_commonName, spec.common_name);
  X509_set_issuer_name(x.get(), X509_get_subject_name(issuer));
  KNIT_TRY_VOID(extend(x.get(), issuer, NID_basic_constraints, "critical,CA:FALSE"));
  KNIT_TRY_VOID(extend(x.get(), issuer, NID_key_usage, "critical,digitalSignature"));
  std::string usage;
  if (spec.server) usage = "serverAuth";
  if (spec.client) usage += usage.empty() ? "clientAuth" : ",clientAuth";
  if (usage.empty()) return Error(Code::InvalidArgument, "a leaf needs a usage");
  KNIT_TRY_VOID(extend(x.get(), issuer, NID_ext_key_usage, usage));
  KNIT_TRY_VOID(extend(x.get(), issuer, NID_authority_key_identifier, "keyid"));
  KNIT_TRY_VOID(add_names(x.get(), spec));
  if (X509_sign(x.get(), key.get(), EVP_sha256()) == 0) {
    return Error(Code::Internal, "signing: " + openssl_reason());
  }
  return certificate_to_pem(x.get()) + intermediate_pem_;
}

Result<Credential> Authority::issue_with_key(const LeafSpec& spec, WallTime now) const {
  Credential out;
  out.key_pem = new_key();
  KNIT_TRY(const std::string csr, make_csr(out.key_pem));
  KNIT_TRY(out.chain_pem, issue(csr, spec, now));
  return out;
}

}  // namespace knit::pki
