#include "proxy/tls.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <span>

#include "base/hash.h"

namespace knit::proxy {
namespace {

struct Free {
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(X509_REQ* p) const { X509_REQ_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
  void operator()(GENERAL_NAMES* p) const { GENERAL_NAMES_free(p); }
};
template <class T>
using Own = std::unique_ptr<T, Free>;

Error tls_error(Code code, std::string what) {
  std::array<char, 256> text{};
  const unsigned long e = ERR_get_error();
  if (e != 0) {
    ERR_error_string_n(e, text.data(), text.size());
    what += ": ";
    what += text.data();
  }
  ERR_clear_error();
  return Error(code, std::move(what));
}

Own<BIO> bio_of(std::string_view s) {
  return Own<BIO>(BIO_new_mem_buf(s.data(), static_cast<int>(s.size())));
}
std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long n = BIO_get_mem_data(bio, &data);
  return n > 0 ? std::string(data, static_cast<std::size_t>(n)) : std::string();
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                unsigned in_size, void* arg) {
  const bool mesh = arg != nullptr;
  static constexpr std::string_view kMesh[] = {"istio-http/1.1", "http/1.1", "istio-http/1.0",
                                               "istio", "http/1.0"};
  static constexpr std::string_view kPlain[] = {"http/1.1", "http/1.0"};
  const auto wanted =
      mesh ? std::span<const std::string_view>(kMesh) : std::span<const std::string_view>(kPlain);
  for (const std::string_view w : wanted) {
    for (unsigned i = 0; i < in_size;) {
      const unsigned n = in[i];
      if (i + 1 + n > in_size) break;
      if (std::string_view(reinterpret_cast<const char*>(in + i + 1), n) == w) {
        *out = in + i + 1;
        *out_size = static_cast<unsigned char>(n);
        return SSL_TLSEXT_ERR_OK;
      }
      i += 1 + n;
    }
  }
  return SSL_TLSEXT_ERR_NOACK;
}

constexpr long kTicketLifetime = 2 * 3600;  // seconds

/// TLS 1.3 resumes with a fresh key exchange; a 1.2 ticket would hang all secrecy on its key.
int tickets_of_tls13_only(SSL* ssl, int*, void*) {
  if (SSL_version(ssl) < TLS1_3_VERSION) SSL_set_options(ssl, SSL_OP_NO_TICKET);
  return SSL_TLSEXT_ERR_NOACK;
}

/// Chain first, then the SPIFFE rules, so that a wrong peer fails inside the handshake.
int verify_spiffe(X509_STORE_CTX* store, void* arg) {
  if (X509_verify_cert(store) != 1) return 0;
  const auto* context = static_cast<const std::string*>(arg);
  X509* leaf = X509_STORE_CTX_get0_cert(store);
  if (!spiffe_id_of(leaf, *context)) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
  }
  return 1;
}

std::string sha256_of(X509* leaf) {
  unsigned char* der = nullptr;
  const int n = i2d_X509(leaf, &der);
  if (n <= 0) return {};
  std::string out =
      hash::sha256_hex({reinterpret_cast<const char*>(der), static_cast<std::size_t>(n)});
  OPENSSL_free(der);
  return out;
}

WallTime wall_of(const ASN1_TIME* t) {
  std::tm tm{};
  if (ASN1_TIME_to_tm(t, &tm) != 1) return {};
  return {static_cast<std::int64_t>(timegm(&tm)) * 1'000'000'000};
}

}  // namespace

TlsContext::TlsContext(SSL_CTX* ctx, std::string trust_domain)
    : ctx_(ctx), trust_domain_(std::move(trust_domain)) {}
TlsContext::~TlsContext() { SSL_CTX_free(ctx_); }

Result<std::shared_ptr<TlsContext>> TlsContext::server(const TlsServerOptions& o) {
  ERR_clear_error();
  Own<SSL_CTX> ctx(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_min_proto_version(ctx.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(
      ctx.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  if (o.client == ClientCertificate::Require) {
    // A resumed session would not be judged again: expiry, trust bundle and policy must be.
    SSL_CTX_set_options(ctx.get(), SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx.get(), 0);
  } else {
    // The keys are the context's own, which all workers share and which goes with the certificate.
    SSL_CTX_set_num_tickets(ctx.get(), 1);
    SSL_CTX_set_timeout(ctx.get(), kTicketLifetime);
    SSL_CTX_set_tlsext_servername_callback(ctx.get(), tickets_of_tls13_only);
  }
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
  // Source: istio pilot/pkg/security, OpenShift's intermediate profile: forward secret AEADs only.
  SSL_CTX_set_cipher_list(ctx.get(),
                          "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                          "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                          "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305");
  auto chain = bio_of(o.chain_pem);
  Own<X509> leaf(PEM_read_bio_X509_AUX(chain.get(), nullptr, nullptr, nullptr));
  if (!leaf || SSL_CTX_use_certificate(ctx.get(), leaf.get()) != 1) {
    return tls_error(Code::InvalidArgument, "tls.crt holds no usable certificate");
  }
  while (X509* next = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr)) {
    if (SSL_CTX_add0_chain_cert(ctx.get(), next) != 1) {
      X509_free(next);
      return tls_error(Code::InvalidArgument, "tls.crt holds a chain that cannot be used");
    }
  }
  ERR_clear_error();
  auto key_bio = bio_of(o.key_pem);
  Own<EVP_PKEY> key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (!key) return tls_error(Code::InvalidArgument, "tls.key holds no usable private key");
  if (SSL_CTX_use_PrivateKey(ctx.get(), key.get()) != 1 ||
      SSL_CTX_check_private_key(ctx.get()) != 1) {
    return tls_error(Code::InvalidArgument, "tls.key does not belong to tls.crt");
  }
  SSL_CTX_set_alpn_select_cb(ctx.get(), select_alpn,
                             o.mesh_alpn ? reinterpret_cast<void*>(1) : nullptr);
  auto out = std::shared_ptr<TlsContext>(new TlsContext(ctx.release(), o.spiffe_trust_domain));
  if (o.client == ClientCertificate::Require) {
    auto ca_bio = bio_of(o.client_ca_pem);
    X509_STORE* store = SSL_CTX_get_cert_store(out->get());
    int count = 0;
    while (X509* ca = PEM_read_bio_X509(ca_bio.get(), nullptr, nullptr, nullptr)) {
      Own<X509> owned(ca);
      if (X509_STORE_add_cert(store, ca) == 1) ++count;
      SSL_CTX_add_client_CA(out->get(), ca);
    }
    ERR_clear_error();
    if (count == 0) return Error(Code::InvalidArgument, "ca.crt holds no usable certificate");
    SSL_CTX_set_verify(out->get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_verify_depth(out->get(), 8);
    if (!o.spiffe_trust_domain.empty()) {
      SSL_CTX_set_cert_verify_callback(out->get(), verify_spiffe, &out->trust_domain_);
    }
  }
  return out;
}

Result<std::string> spiffe_id_of(X509* leaf, std::string_view trust_domain) {
  Own<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  std::string id;
  int uris = 0;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* n = sk_GENERAL_NAME_value(names.get(), i);
    if (n->type != GEN_URI) continue;
    ++uris;
    const ASN1_IA5STRING* s = n->d.uniformResourceIdentifier;
    id.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)),
              static_cast<std::size_t>(ASN1_STRING_length(s)));
  }
  if (uris != 1) return Error(Code::Unauthenticated, "not exactly one URI SAN");
  if (X509_check_ca(leaf) != 0) return Error(Code::Unauthenticated, "the leaf is a CA");
  const std::string prefix = "spiffe://" + std::string(trust_domain) + "/";
  if (!id.starts_with(prefix)) return Error(Code::Unauthenticated, "another trust domain");
  const std::string_view rest = std::string_view(id).substr(prefix.size());
  const auto sa = rest.find("/sa/");
  if (!rest.starts_with("ns/") || sa == std::string_view::npos || sa <= 3 ||
      sa + 4 >= rest.size() || rest.find('/', sa + 4) != std::string_view::npos) {
    return Error(Code::Unauthenticated, "no SPIFFE id of a service account");
  }
  for (const char c : id) {
    if (c <= 0x20 || c >= 0x7f || c == ';' || c == ',' || c == '"' || c == '=') {
      return Error(Code::Unauthenticated, "invalid byte in a SPIFFE id");
    }
  }
  return id;
}

Peer peer_of(SSL* ssl) {
  Peer p;
  Own<X509> leaf(SSL_get1_peer_certificate(ssl));
  if (!leaf) return p;
  p.hash = sha256_of(leaf.get());
  Own<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(leaf.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* n = sk_GENERAL_NAME_value(names.get(), i);
    if (n->type != GEN_URI) continue;
    const ASN1_IA5STRING* s = n->d.uniformResourceIdentifier;
    p.spiffe_id.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)),
                       static_cast<std::size_t>(ASN1_STRING_length(s)));
  }
  return p;
}

Result<KeyAndCsr> make_csr(const std::string& spiffe_id) {
  ERR_clear_error();
  Own<EVP_PKEY> key(EVP_EC_gen("P-256"));
  Own<X509_REQ> req(X509_REQ_new());
  if (!key || !req || X509_REQ_set_pubkey(req.get(), key.get()) != 1) {
    return tls_error(Code::Internal, "cannot make a key");
  }
  const std::string san = "critical,URI:" + spiffe_id;
  X509_EXTENSION* ext = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, san.c_str());
  if (!ext) return tls_error(Code::InvalidArgument, "cannot name " + spiffe_id);
  STACK_OF(X509_EXTENSION)* exts = sk_X509_EXTENSION_new_null();
  sk_X509_EXTENSION_push(exts, ext);
  X509_REQ_add_extensions(req.get(), exts);
  sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
  if (X509_REQ_sign(req.get(), key.get(), EVP_sha256()) <= 0) {
    return tls_error(Code::Internal, "cannot sign a request");
  }
  Own<BIO> a(BIO_new(BIO_s_mem())), b(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(a.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  PEM_write_bio_X509_REQ(b.get(), req.get());
  return KeyAndCsr{text_of(a.get()), text_of(b.get())};
}

Result<LeafInfo> inspect_leaf(const std::string& chain_pem) {
  ERR_clear_error();
  auto bio = bio_of(chain_pem);
  Own<X509> leaf(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!leaf) return tls_error(Code::InvalidArgument, "no certificate");
  return LeafInfo{wall_of(X509_get0_notBefore(leaf.get())), wall_of(X509_get0_notAfter(leaf.get())),
                  sha256_of(leaf.get())};
}

Result<std::pair<std::string, std::string>> self_signed(const std::string& common_name,
                                                        WallTime now) {
  ERR_clear_error();
  Own<EVP_PKEY> key(EVP_EC_gen("P-256"));
  Own<X509> cert(X509_new());
  if (!key || !cert) return tls_error(Code::Internal, "cannot make a key");
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert.get()), static_cast<std::uint64_t>(now.ns));
  const std::time_t t = now.ns / 1'000'000'000;
  ASN1_TIME_set(X509_getm_notBefore(cert.get()), t - 120);
  ASN1_TIME_set(X509_getm_notAfter(cert.get()), t + 365L * 86'400);
  X509_NAME* name = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(cert.get(), name);
  X509_set_pubkey(cert.get(), key.get());
  if (X509_sign(cert.get(), key.get(), EVP_sha256()) <= 0) {
    return tls_error(Code::Internal, "cannot sign a certificate");
  }
  Own<BIO> a(BIO_new(BIO_s_mem())), b(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(a.get(), cert.get());
  PEM_write_bio_PrivateKey(b.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return std::pair{text_of(a.get()), text_of(b.get())};
}

namespace {
struct Bytes {
  std::string_view in;
  bool ok = true;
  std::size_t number(std::size_t n) {
    if (in.size() < n) {
      ok = false;
      return 0;
    }
    std::size_t v = 0;
    for (std::size_t i = 0; i < n; ++i) v = v << 8 | static_cast<unsigned char>(in[i]);
    in.remove_prefix(n);
    return v;
  }
  std::string_view take(std::size_t n) {
    if (!ok || in.size() < n) {
      ok = false;
      return {};
    }
    const auto out = in.substr(0, n);
    in.remove_prefix(n);
    return out;
  }
};
}  // namespace

ClientHello peek_client_hello(std::string_view bytes) {
  ClientHello out;
  if (bytes.empty()) return out;
  // Records first: a hello may span several.
  std::string message;
  Bytes records{bytes};
  std::size_t want = 4;
  while (message.size() < want) {
    if (records.in.empty()) return out;
    if (records.in[0] != 0x16 || (records.in.size() > 1 && records.in[1] != 0x03)) {
      out.state = ClientHello::State::NotTls;
      return out;
    }
    if (records.in.size() < 5) return out;
    records.take(3);
    const std::size_t n = records.number(2);
    if (n == 0 || n > 16'384 + 256) {
      out.state = ClientHello::State::NotTls;
      return out;
    }
    message += records.in.substr(0, std::min(n, records.in.size()));
    if (!message.empty() && message[0] != 1) {
      out.state = ClientHello::State::NotTls;
      return out;
    }
    if (message.size() >= 4) {
      Bytes head{std::string_view(message).substr(1)};
      want = 4 + head.number(3);
    }
    if (records.in.size() < n) {
      if (message.size() < want) return out;
      break;
    }
    records.take(n);
  }
  out.state = ClientHello::State::Complete;
  Bytes hello{std::string_view(message).substr(4, want - 4)};
  hello.take(2 + 32);
  hello.take(hello.number(1));  // session id
  hello.take(hello.number(2));  // cipher suites
  hello.take(hello.number(1));  // compression
  Bytes extensions{hello.take(hello.number(2))};
  while (hello.ok && extensions.ok && !extensions.in.empty()) {
    const std::size_t type = extensions.number(2);
    Bytes body{extensions.take(extensions.number(2))};
    if (!extensions.ok) break;
    if (type == 0) {
      Bytes list{body.take(body.number(2))};
      while (list.ok && !list.in.empty()) {
        const std::size_t kind = list.number(1);
        const std::string_view name = list.take(list.number(2));
        if (kind == 0 && list.ok && out.sni.empty()) out.sni = name;
      }
    } else if (type == 16) {
      Bytes list{body.take(body.number(2))};
      while (list.ok && !list.in.empty()) {
        const std::string_view name = list.take(list.number(1));
        if (list.ok) out.alpn.emplace_back(name);
      }
    }
  }
  for (char& c : out.sni) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  if (!out.sni.empty() && out.sni.back() == '.') out.sni.pop_back();
  return out;
}

}  // namespace knit::proxy
