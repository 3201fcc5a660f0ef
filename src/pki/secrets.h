// TLS material inside Secrets, read as istiod does (spec mesh.md 1.3, 2.2).
#pragma once

#include "base/json.h"
#include "pki/x509.h"

namespace knit::pki {

struct SecretMaterial {
  Credential credential;
  std::string ca_pem;  // clients' CA, may be empty
};
/// `secret` is a Secret object: tls.crt/tls.key or cert/key; ca.crt or cacert. Checked: base64,
/// PEM, and that the key belongs to the certificate. Errors: InvalidArgument naming the key.
Result<SecretMaterial> tls_material(const Json& secret);
/// One entry, from data (base64) or stringData; absent is an empty string. Errors: InvalidArgument.
Result<std::string> secret_entry(const Json& secret, std::string_view key);
/// A Secret of type kubernetes.io/tls, as JSON.
Json tls_secret(const std::string& ns, const std::string& name, const Credential& credential);

}  // namespace knit::pki
