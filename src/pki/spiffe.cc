#include "pki/spiffe.h"

#include <openssl/err.h>

#include <algorithm>

#include "pki/openssl.h"

namespace knit::pki {
namespace {

bool all_of(std::string_view s, bool (*ok)(char)) { return std::all_of(s.begin(), s.end(), ok); }
bool domain_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}
bool name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

Error refuse(std::string why) {
  return Error(Code::Unauthenticated, "peer certificate: " + std::move(why));
}

std::string_view bytes(const ASN1_STRING* s) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)),
          static_cast<std::size_t>(ASN1_STRING_length(s))};
}

/// Weak keys anywhere in the chain; weak signatures everywhere but on the trusted root.
Result<void> check_strength(STACK_OF(X509) * chain) {
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* x = sk_X509_value(chain, i);
    EVP_PKEY* key = X509_get0_pubkey(x);
    if (key == nullptr) return refuse("unreadable key");
    const int type = EVP_PKEY_base_id(key);
    if ((type == EVP_PKEY_RSA && EVP_PKEY_bits(key) < 2048) ||
        (type == EVP_PKEY_EC && EVP_PKEY_bits(key) < 256) ||
        (type != EVP_PKEY_RSA && type != EVP_PKEY_EC && type != EVP_PKEY_ED25519)) {
      return refuse("a key in the chain is too weak");
    }
    if (i + 1 == sk_X509_num(chain)) break;
    int digest = NID_undef;
    OBJ_find_sigid_algs(X509_get_signature_nid(x), &digest, nullptr);
    if (digest == NID_sha1 || digest == NID_md5) {
      return refuse("a signature in the chain uses SHA-1 or MD5");
    }
  }
  return {};
}

}  // namespace

std::string to_string(const SpiffeId& id) {
  return "spiffe://" + id.trust_domain + "/ns/" + id.ns + "/sa/" + id.service_account;
}

Result<SpiffeId> parse_spiffe(std::string_view uri) {
  const Error malformed(Code::InvalidArgument,
                        "\"" + std::string(uri.substr(0, 300)) +
                            "\" is not spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT");
  constexpr std::string_view kScheme = "spiffe://";
  if (uri.size() > 2048 || !uri.starts_with(kScheme)) return malformed;
  uri.remove_prefix(kScheme.size());
  std::string_view parts[5];
  for (int i = 0; i < 5; ++i) {
    const auto slash = uri.find('/');
    if ((slash == std::string_view::npos) != (i == 4)) return malformed;
    parts[i] = uri.substr(0, slash);
    uri.remove_prefix(slash == std::string_view::npos ? uri.size() : slash + 1);
    if (parts[i].empty()) return malformed;
  }
  if (parts[1] != "ns" || parts[3] != "sa" || parts[0].size() > 255 || parts[2].size() > 63 ||
      parts[4].size() > 253 || !all_of(parts[0], domain_char) || !all_of(parts[2], name_char) ||
      !all_of(parts[4], name_char)) {
    return malformed;
  }
  return SpiffeId{std::string(parts[0]), std::string(parts[2]), std::string(parts[4])};
}

Result<std::string> issue_workload(const Authority& mesh, std::string_view csr_pem,
                                   const SpiffeId& id, WallTime now, Duration lifetime) {
  LeafSpec spec;
  spec.uri = to_string(id);
  KNIT_TRY_VOID([&]() -> Result<void> {
    auto parsed = parse_spiffe(spec.uri);
    if (!parsed) return std::move(parsed).error();
    return {};
  }());
  spec.server = spec.client = true;
  spec.lifetime = std::min(lifetime, kWorkloadLifetime);
  return mesh.issue(csr_pem, spec, now);
}

struct PeerVerifier::State {
  StorePtr store;
  std::vector<std::string> trust_domains;
};

PeerVerifier::PeerVerifier(std::unique_ptr<State> state) : state_(std::move(state)) {}
PeerVerifier::~PeerVerifier() = default;

Result<std::shared_ptr<const PeerVerifier>> PeerVerifier::create(
    std::string_view roots_pem, std::vector<std::string> trust_domains) {
  KNIT_TRY(const auto roots, certificates_from_pem(roots_pem));
  auto state = std::make_unique<State>();
  state->store.reset(X509_STORE_new());
  for (const auto& root : roots) X509_STORE_add_cert(state->store.get(), root.get());
  state->trust_domains = std::move(trust_domains);
  return std::shared_ptr<const PeerVerifier>(new PeerVerifier(std::move(state)));
}

Result<SpiffeId> PeerVerifier::verify(std::string_view chain_pem, PeerRole peer,
                                      WallTime now) const {
  auto chain = certificates_from_pem(chain_pem);
  if (!chain) return refuse(chain.error().message());
  const StackPtr untrusted(sk_X509_new_null());
  for (std::size_t i = 1; i < chain->size(); ++i) {
    sk_X509_push(untrusted.get(), (*chain)[i].release());
  }
  return verify((*chain)[0].get(), untrusted.get(), peer, now);
}

Result<SpiffeId> PeerVerifier::verify(x509_st* leaf, stack_st_X509* untrusted, PeerRole peer,
                                      WallTime now) const {
  if (leaf == nullptr) return refuse("none was given");
  if (untrusted != nullptr && sk_X509_num(untrusted) > static_cast<int>(kMaxChain)) {
    return refuse("the chain has more than 10 certificates");
  }
  const StoreCtxPtr ctx(X509_STORE_CTX_new());
  KNIT_CHECK(X509_STORE_CTX_init(ctx.get(), state_->store.get(), leaf, untrusted) == 1);
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
  X509_VERIFY_PARAM_set_time(param, now.ns / 1'000'000'000);
  X509_VERIFY_PARAM_set_depth(param, static_cast<int>(kMaxChain));
  X509_VERIFY_PARAM_set_purpose(
      param, peer == PeerRole::Client ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER);
  const int ok = X509_verify_cert(ctx.get());
  const int why = X509_STORE_CTX_get_error(ctx.get());
  ERR_clear_error();
  if (ok != 1) return refuse(X509_verify_cert_error_string(why));
  KNIT_TRY_VOID(check_strength(X509_STORE_CTX_get0_chain(ctx.get())));
  if (X509_check_ca(leaf) != 0) return refuse("the leaf is a CA");
  const std::uint32_t want = peer == PeerRole::Client ? XKU_SSL_CLIENT : XKU_SSL_SERVER;
  if ((X509_get_extension_flags(leaf) & EXFLAG_XKUSAGE) == 0 ||
      (X509_get_extended_key_usage(leaf) & want) == 0) {
    return refuse("the extended key usage does not allow it");
  }
  const NamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string_view> uris;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) uris.push_back(bytes(name->d.uniformResourceIdentifier));
  }
  ERR_clear_error();
  if (uris.size() != 1) {
    return refuse("it has " + std::to_string(uris.size()) + " URI names, exactly one is needed");
  }
  auto id = parse_spiffe(uris[0]);
  if (!id) return refuse(id.error().message());
  if (std::find(state_->trust_domains.begin(), state_->trust_domains.end(), id->trust_domain) ==
      state_->trust_domains.end()) {
    return refuse("the trust domain \"" + id->trust_domain + "\" is not one of this mesh");
  }
  return id;
}

}  // namespace knit::pki
