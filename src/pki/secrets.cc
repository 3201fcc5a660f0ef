#include "pki/secrets.h"

#include "base/hash.h"

namespace knit::pki {

Result<std::string> secret_entry(const Json& secret, std::string_view key) {
  if (const Json* plain = json::find(secret, {"stringData", key}); plain && plain->is_string()) {
    return std::string(plain->get_string());
  }
  const std::string_view text = json::str(secret, {"data", key});
  auto decoded = hash::decode_base64(text);
  if (!decoded) {
    return Error(Code::InvalidArgument, "data[\"" + std::string(key) + "\"] is not base64");
  }
  return decoded;
}

Result<SecretMaterial> tls_material(const Json& secret) {
  SecretMaterial out;
  const struct {
    const char *certificate, *key, *ca;
  } styles[] = {{"tls.crt", "tls.key", "ca.crt"}, {"cert", "key", "cacert"}};
  for (const auto& style : styles) {
    KNIT_TRY(out.credential.chain_pem, secret_entry(secret, style.certificate));
    KNIT_TRY(out.credential.key_pem, secret_entry(secret, style.key));
    KNIT_TRY(out.ca_pem, secret_entry(secret, style.ca));
    if (out.credential.chain_pem.empty() && out.credential.key_pem.empty()) continue;
    if (out.credential.chain_pem.empty() || out.credential.key_pem.empty()) {
      return Error(Code::InvalidArgument,
                   std::string("data[\"") +
                       (out.credential.key_pem.empty() ? style.key : style.certificate) +
                       "\"] is missing");
    }
    if (auto pair = check_key_pair(out.credential.chain_pem, out.credential.key_pem); !pair) {
      return Error(Code::InvalidArgument, std::string("data[\"") + style.certificate +
                                              "\"] and data[\"" + style.key +
                                              "\"]: " + pair.error().message());
    }
    if (!out.ca_pem.empty()) {
      if (auto ca = parse_certificates(out.ca_pem); !ca) {
        return Error(Code::InvalidArgument,
                     std::string("data[\"") + style.ca + "\"]: " + ca.error().message());
      }
    }
    return out;
  }
  return Error(Code::InvalidArgument, "neither data[\"tls.crt\"] nor data[\"cert\"] is there");
}

Json tls_secret(const std::string& ns, const std::string& name, const Credential& credential) {
  return JsonObject{{"apiVersion", "v1"},
                    {"kind", "Secret"},
                    {"metadata", JsonObject{{"name", name}, {"namespace", ns}}},
                    {"type", "kubernetes.io/tls"},
                    {"data", JsonObject{{"tls.crt", hash::base64(credential.chain_pem)},
                                        {"tls.key", hash::base64(credential.key_pem)}}}};
}

}  // namespace knit::pki
