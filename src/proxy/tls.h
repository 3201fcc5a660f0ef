// TLS of the data plane: contexts shared by all workers, keys and CSRs, SPIFFE verification, and
// the ClientHello peek. Only functions that OpenSSL 3, BoringSSL and AWS-LC share, where possible.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace knit::proxy {

enum class ClientCertificate { None, Require };

struct TlsServerOptions {
  std::string chain_pem, key_pem;
  ClientCertificate client = ClientCertificate::None;
  std::string client_ca_pem;
  /// Non-empty: the client's leaf must carry exactly one URI SAN, a SPIFFE id of this domain.
  std::string spiffe_trust_domain;
  /// Answer "istio" ALPNs too.
  bool mesh_alpn = false;
};

/// Thread-safe and immutable once made.
class TlsContext {
 public:
  /// Errors: InvalidArgument (certificate, key or CA cannot be used: which, and why).
  static Result<std::shared_ptr<TlsContext>> server(const TlsServerOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  SSL_CTX* get() const { return ctx_; }
  const std::string& trust_domain() const { return trust_domain_; }

 private:
  TlsContext(SSL_CTX* ctx, std::string trust_domain);
  SSL_CTX* ctx_;
  std::string trust_domain_;
};

struct Peer {
  std::string spiffe_id;  // empty: none was asked for or it carries none
  std::string hash;       // sha256 of the leaf's DER, hex
};
/// The verified client of a finished handshake; empty fields without a certificate.
Peer peer_of(SSL* ssl);

/// The one URI SAN if it is "spiffe://DOMAIN/ns/NS/sa/SA", else an error sentence.
/// Source: istio pkg/spiffe, SPIFFE X509-SVID 4 and 5.2.
Result<std::string> spiffe_id_of(X509* leaf, std::string_view trust_domain);

struct KeyAndCsr {
  std::string key_pem, csr_pem;
};
/// A new ECDSA P-256 key and a request for `spiffe_id` (SAN URI, empty subject).
Result<KeyAndCsr> make_csr(const std::string& spiffe_id);

struct LeafInfo {
  WallTime not_before{}, not_after{};
  std::string hash;
};
Result<LeafInfo> inspect_leaf(const std::string& chain_pem);

/// A self-signed certificate for the router's default, as OpenShift's router has one.
Result<std::pair<std::string, std::string>> self_signed(const std::string& common_name,
                                                        WallTime now);

/// What is told by the first bytes of a connection (RFC 8446 4.1.2); never fails on odd hellos, so
/// that the TLS library says what is wrong.
struct ClientHello {
  enum class State { NotTls, Incomplete, Complete };
  State state = State::Incomplete;
  std::string sni;  // lower case, without a trailing dot
  std::vector<std::string> alpn;
};
ClientHello peek_client_hello(std::string_view bytes);

}  // namespace knit::proxy
