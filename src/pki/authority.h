// A certificate authority: a root, an intermediate that signs, and what it may issue.
#pragma once

#include <memory>
#include <optional>

#include "pki/x509.h"

namespace knit::pki {

struct LeafSpec {
  std::string common_name;                 // empty: no subject, and SANs are critical
  std::vector<std::string> organizations;  // groups, for client certificates of the API
  std::vector<std::string> dns_names, ip_addresses;
  std::string uri;                      // a SPIFFE id
  bool server = false, client = false;  // extended key usage
  Duration lifetime{};
};

/// Immutable; used from any thread.
class Authority {
 public:
  struct Files {
    std::string root_pem, root_key_pem;  // the key may be empty: it can be taken away
    std::string intermediate_pem, intermediate_key_pem;
  };
  struct Spec {
    std::string name;              // common name of the root: "Knit API", "Knit mesh istio-system"
    std::string permitted_domain;  // name constraint of the root; empty: none
  };
  /// Root 10 years, intermediate 5 years, both back-dated by an hour.
  static Result<Files> create(const Spec& spec, WallTime now);
  /// A new intermediate below the same root. Errors: Unavailable when the root's key is away.
  static Result<Files> renew_intermediate(const Spec& spec, Files files, WallTime now);
  /// Errors: InvalidArgument when the files do not belong together.
  static Result<std::shared_ptr<const Authority>> load(const Files& files);

  /// The one certificate that peers need.
  const std::string& root_pem() const { return root_pem_; }
  WallTime intermediate_not_after() const { return not_after_; }

  /// Issues for the key in `csr_pem`; everything else in the request is ignored: what is certified
  /// is `spec`, which the caller has decided. Back-dated by two minutes; never outlives the
  /// intermediate. Returns leaf and intermediate. Errors: InvalidArgument (malformed, bad
  /// signature, weak key), Expired.
  Result<std::string> issue(std::string_view csr_pem, const LeafSpec& spec, WallTime now) const;
  /// Makes the key as well.
  Result<Credential> issue_with_key(const LeafSpec& spec, WallTime now) const;

  Authority(std::string root_pem, std::string intermediate_pem, std::string key_pem,
            WallTime not_after)
      : root_pem_(std::move(root_pem)),
        intermediate_pem_(std::move(intermediate_pem)),
        key_pem_(std::move(key_pem)),
        not_after_(not_after) {}

 private:
  std::string root_pem_, intermediate_pem_, key_pem_;
  WallTime not_after_{};
};

}  // namespace knit::pki
