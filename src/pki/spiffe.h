// SPIFFE identities, and the verification of a mesh peer's chain.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pki/authority.h"

struct x509_st;
struct stack_st_X509;

namespace knit::pki {

struct SpiffeId {
  std::string trust_domain, ns, service_account;
  bool operator==(const SpiffeId&) const = default;
};
/// "spiffe://cluster.local/ns/default/sa/hello"
std::string to_string(const SpiffeId& id);
/// Exactly Istio's form. Errors: InvalidArgument.
Result<SpiffeId> parse_spiffe(std::string_view uri);

inline constexpr Duration kWorkloadLifetime = std::chrono::hours(24);

/// A leaf for a workload: empty subject, one critical URI SAN, both usages, 24 h.
Result<std::string> issue_workload(const Authority& mesh, std::string_view csr_pem,
                                   const SpiffeId& id, WallTime now,
                                   Duration lifetime = kWorkloadLifetime);

enum class PeerRole { Client, Server };

/// Verifies peers of one trust bundle. Immutable; used from any thread.
///
/// Refused, each by name: no certificate, expired, not yet valid, an unknown or missing issuer,
/// a chain of more than 10, SHA-1, RSA below 2048 bits, CA:TRUE leaf, path length, name
/// constraints, unknown critical extensions, a wrong extended key usage, none or several URI SANs,
/// a URI that is no SPIFFE id, a foreign trust domain.
class PeerVerifier {
 public:
  /// Errors: InvalidArgument when `roots_pem` holds no certificate.
  static Result<std::shared_ptr<const PeerVerifier>> create(std::string_view roots_pem,
                                                            std::vector<std::string> trust_domains);
  PeerVerifier(const PeerVerifier&) = delete;
  PeerVerifier& operator=(const PeerVerifier&) = delete;
  ~PeerVerifier();

  /// `chain` is leaf first, PEM. Errors: Unauthenticated.
  Result<SpiffeId> verify(std::string_view chain_pem, PeerRole peer, WallTime now) const;
  /// For a TLS callback: `untrusted` may be null.
  Result<SpiffeId> verify(x509_st* leaf, stack_st_X509* untrusted, PeerRole peer,
                          WallTime now) const;

 private:
  struct State;
  explicit PeerVerifier(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace knit::pki
