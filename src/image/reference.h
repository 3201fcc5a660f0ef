// Names of images: "hello" → "docker.io/library/hello:latest".
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace knit::image {

struct Reference {
  std::string registry;    // "docker.io", "knit.local", "localhost:5000"
  std::string repository;  // "library/nginx"
  std::string tag;         // "latest" unless a digest is given
  std::string digest;      // "sha256:…" or empty
  /// registry/repository:tag, or registry/repository@digest.
  std::string str() const;
  /// registry/repository.
  std::string name() const { return registry + "/" + repository; }
};

/// Errors: InvalidArgument ("couldn't parse image reference …": Pods show InvalidImageName).
/// Source: distribution/reference normalize.go, regexp.go
Result<Reference> parse_reference(std::string_view text);

/// "sha256:" and 64 lower-case hexadecimal digits.
bool valid_digest(std::string_view digest);

/// Whether Knit plays this image's role itself: "knit.local/role/queue-proxy" → "queue-proxy".
std::string_view role_of(std::string_view image);

}  // namespace knit::image
