// From a Destination (ref, uri, or ref and relative uri) to an address.
// Source: knative/pkg resolver/addressable_resolver.go, apis/duck/v1/destination.go
#pragma once

#include "controllers/eventing/common.h"

namespace knit::eventing {

struct Address {
  std::string url, ca_certs, audience;
};

/// Services are http://<name>.<ns>.svc.<domain>; everything else has status.address.url.
/// Errors: InvalidArgument, NotFound, Unavailable (no address yet); the message is for people.
Result<Address> resolve(const World& world, const Json& destination, std::string_view ns,
                        std::string_view cluster_domain);

/// RFC 3986 5.2 for the references that a Destination may have: absolute, rooted, relative, query.
std::string resolve_reference(std::string_view base, std::string_view reference);

/// {"name":"http","url":…} with CACerts and audience when they are set.
Json address_json(const Address& address);
/// The first of status.address and status.addresses; nullopt when there is none.
std::optional<Address> address_of(const Json& object);

}  // namespace knit::eventing
