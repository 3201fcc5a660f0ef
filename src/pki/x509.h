// Certificates and keys as values: PEM in, facts out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace knit::pki {

/// A certificate chain (leaf first) and its private key, both PEM.
struct Credential {
  std::string chain_pem, key_pem;
};

struct CertificateInfo {
  std::string common_name;
  std::vector<std::string> organizations;
  std::string issuer_common_name;
  std::vector<std::string> dns_names, ip_addresses, uris;
  WallTime not_before{}, not_after{};
  bool is_ca = false;
  std::string key;          // "ECDSA P-256", "RSA 2048"
  std::string serial;       // hex
  std::string fingerprint;  // sha256 of the DER, hex (XFCC's Hash)
};

/// A fresh ECDSA P-256 key, PKCS#8 PEM.
std::string new_key();
/// A PKCS#10 request whose subject is empty: only its key counts. Errors: InvalidArgument.
Result<std::string> make_csr(std::string_view key_pem);
/// All certificates of `pem`, in order. Errors: InvalidArgument (none, malformed, more than 10).
Result<std::vector<CertificateInfo>> parse_certificates(std::string_view pem);
/// The chain parses, the key parses and belongs to the leaf. Errors: InvalidArgument, with what.
Result<void> check_key_pair(std::string_view chain_pem, std::string_view key_pem);
/// The leaf chains to one of `roots_pem` at `now` (any purpose). Errors: InvalidArgument, with why.
Result<void> check_chain(std::string_view chain_pem, std::string_view roots_pem, WallTime now);
/// RFC 6125: exact, or a wildcard that covers exactly one label. Case-insensitive.
bool name_matches(std::string_view pattern, std::string_view host);
bool covers_host(const CertificateInfo& certificate, std::string_view host);

}  // namespace knit::pki
