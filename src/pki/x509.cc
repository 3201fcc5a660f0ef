#include "pki/x509.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <strings.h>
#include <time.h>

#include <algorithm>

#include "base/hash.h"
#include "pki/openssl.h"

namespace knit::pki {
namespace {

WallTime wall(const ASN1_TIME* t) {
  tm broken{};
  if (t == nullptr || ASN1_TIME_to_tm(t, &broken) != 1) return {};
  return {static_cast<std::int64_t>(timegm(&broken)) * 1'000'000'000};
}

std::vector<std::string> name_entries(const X509_NAME* name, int nid) {
  std::vector<std::string> out;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(name, nid, at)) >= 0;) {
    const ASN1_STRING* data = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    unsigned char* utf8 = nullptr;
    const int size = ASN1_STRING_to_UTF8(&utf8, data);
    if (size < 0) continue;
    out.emplace_back(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size));
    OPENSSL_free(utf8);
  }
  return out;
}
std::string first(std::vector<std::string> list) { return list.empty() ? "" : list.front(); }

std::string ia5(const ASN1_STRING* s) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)),
                     static_cast<std::size_t>(ASN1_STRING_length(s)));
}

std::string describe_key(X509* x) {
  EVP_PKEY* key = X509_get0_pubkey(x);
  if (key == nullptr) return "unknown";
  const std::string bits = std::to_string(EVP_PKEY_bits(key));
  switch (EVP_PKEY_base_id(key)) {
    case EVP_PKEY_RSA:
      return "RSA " + bits;
    case EVP_PKEY_EC:
      return "ECDSA P-" + bits;
    case EVP_PKEY_ED25519:
      return "Ed25519";
    default:
      return "other " + bits;
  }
}

CertificateInfo describe(X509* x) {
  CertificateInfo info;
  info.common_name = first(name_entries(X509_get_subject_name(x), NID_commonName));
  info.organizations = name_entries(X509_get_subject_name(x), NID_organizationName);
  info.issuer_common_name = first(name_entries(X509_get_issuer_name(x), NID_commonName));
  info.not_before = wall(X509_get0_notBefore(x));
  info.not_after = wall(X509_get0_notAfter(x));
  info.is_ca = X509_check_ca(x) == 1;
  info.key = describe_key(x);
  const ASN1_INTEGER* serial = X509_get0_serialNumber(x);
  info.serial = hash::hex(ia5(serial));
  unsigned char* der = nullptr;
  if (const int size = i2d_X509(x, &der); size > 0) {
    info.fingerprint =
        hash::sha256_hex({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
    OPENSSL_free(der);
  }
  const NamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) {
      info.dns_names.push_back(ia5(name->d.dNSName));
    } else if (name->type == GEN_URI) {
      info.uris.push_back(ia5(name->d.uniformResourceIdentifier));
    } else if (name->type == GEN_IPADD) {
      const std::string raw = ia5(name->d.iPAddress);
      char text[INET6_ADDRSTRLEN] = {};
      if (raw.size() == 4) inet_ntop(AF_INET, raw.data(), text, sizeof text);
      if (raw.size() == 16) inet_ntop(AF_INET6, raw.data(), text, sizeof text);
      info.ip_addresses.emplace_back(text);
    }
  }
  ERR_clear_error();
  return info;
}

}  // namespace

std::string openssl_reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "malformed" : reason;
}

BioPtr reading_bio(std::string_view data) {
  return BioPtr(BIO_new_mem_buf(data.data(), static_cast<int>(data.size())));
}

std::string bio_text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

Result<KeyPtr> key_from_pem(std::string_view pem) {
  const BioPtr bio = reading_bio(pem);
  // The empty passphrase callback keeps OpenSSL from asking the terminal.
  const auto no_passphrase = [](char*, int, int, void*) { return -1; };
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  if (!key) return Error(Code::InvalidArgument, "the private key is not PEM, or is encrypted");
  return key;
}

std::string key_to_pem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  KNIT_CHECK(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) ==
             1);
  return bio_text(bio.get());
}

KeyPtr generate_p256() {
  const KeyCtxPtr ctx(EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nullptr));
  EVP_PKEY* key = nullptr;
  KNIT_CHECK(ctx && EVP_PKEY_keygen_init(ctx.get()) == 1 &&
             EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx.get(), NID_X9_62_prime256v1) == 1 &&
             EVP_PKEY_keygen(ctx.get(), &key) == 1);
  return KeyPtr(key);
}

Result<std::vector<X509Ptr>> certificates_from_pem(std::string_view pem) {
  const BioPtr bio = reading_bio(pem);
  std::vector<X509Ptr> out;
  while (true) {
    X509Ptr x(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!x) break;
    if (out.size() == kMaxChain) {
      return Error(Code::InvalidArgument, "the chain has more than 10 certificates");
    }
    out.push_back(std::move(x));
  }
  const unsigned long why = ERR_peek_last_error();
  const bool at_end = ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (out.empty()) return Error(Code::InvalidArgument, "no PEM certificate found");
  if (!at_end) return Error(Code::InvalidArgument, "a PEM certificate is malformed");
  return out;
}

std::string certificate_to_pem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  KNIT_CHECK(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return bio_text(bio.get());
}

std::string new_key() { return key_to_pem(generate_p256().get()); }

Result<std::string> make_csr(std::string_view key_pem) {
  KNIT_TRY(const KeyPtr key, key_from_pem(key_pem));
  const RequestPtr request(X509_REQ_new());
  if (!request || X509_REQ_set_version(request.get(), 0) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0) {
    return Error(Code::InvalidArgument, "the key cannot sign a request: " + openssl_reason());
  }
  const BioPtr bio(BIO_new(BIO_s_mem()));
  KNIT_CHECK(PEM_write_bio_X509_REQ(bio.get(), request.get()) == 1);
  return bio_text(bio.get());
}

Result<std::vector<CertificateInfo>> parse_certificates(std::string_view pem) {
  KNIT_TRY(const auto certificates, certificates_from_pem(pem));
  std::vector<CertificateInfo> out;
  out.reserve(certificates.size());
  for (const auto& x : certificates) out.push_back(describe(x.get()));
  return out;
}

Result<void> check_key_pair(std::string_view chain_pem, std::string_view key_pem) {
  KNIT_TRY(const auto chain, certificates_from_pem(chain_pem));
  KNIT_TRY(const KeyPtr key, key_from_pem(key_pem));
  if (X509_check_private_key(chain[0].get(), key.get()) != 1) {
    ERR_clear_error();
    return Error(Code::InvalidArgument, "the private key does not belong to the certificate");
  }
  return {};
}

Result<void> check_chain(std::string_view chain_pem, std::string_view roots_pem, WallTime now) {
  KNIT_TRY(const auto chain, certificates_from_pem(chain_pem));
  KNIT_TRY(const auto roots, certificates_from_pem(roots_pem));
  const StorePtr store(X509_STORE_new());
  for (const auto& root : roots) X509_STORE_add_cert(store.get(), root.get());
  const StackPtr untrusted(sk_X509_new_null());
  for (std::size_t i = 1; i < chain.size(); ++i) {
    X509_up_ref(chain[i].get());
    sk_X509_push(untrusted.get(), chain[i].get());
  }
  const StoreCtxPtr ctx(X509_STORE_CTX_new());
  KNIT_CHECK(X509_STORE_CTX_init(ctx.get(), store.get(), chain[0].get(), untrusted.get()) == 1);
  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx.get()), now.ns / 1'000'000'000);
  const int ok = X509_verify_cert(ctx.get());
  const int why = X509_STORE_CTX_get_error(ctx.get());
  ERR_clear_error();
  if (ok != 1) return Error(Code::InvalidArgument, X509_verify_cert_error_string(why));
  return {};
}

bool name_matches(std::string_view pattern, std::string_view host) {
  const auto equal = [](std::string_view a, std::string_view b) {
    return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
  };
  if (host.ends_with('.')) host.remove_suffix(1);
  if (!pattern.starts_with("*.")) return equal(pattern, host);
  const auto dot = host.find('.');
  return dot != std::string_view::npos && dot > 0 && equal(pattern.substr(1), host.substr(dot));
}

bool covers_host(const CertificateInfo& certificate, std::string_view host) {
  return std::any_of(certificate.dns_names.begin(), certificate.dns_names.end(),
                     [&](const std::string& name) { return name_matches(name, host); }) ||
         std::find(certificate.ip_addresses.begin(), certificate.ip_addresses.end(), host) !=
             certificate.ip_addresses.end();
}

}  // namespace knit::pki
