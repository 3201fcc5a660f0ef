// Brings images into the store, from files and from Knit itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "image/store.h"

namespace knit::image {

/// Imports every image of an OCI layout (directory or tar) or a docker-archive tar (`docker save`),
/// also gzip or zstd compressed. `name` replaces the names in the archive and is needed when it has
/// none; with it the archive must hold one image. Gives the names that now point at it. Blocks.
/// Needs root. Errors: InvalidArgument, Unsupported, ResourceExhausted, Unavailable.
Result<std::vector<std::string>> import_archive(Store& store, const std::string& path,
                                                std::string_view name = {});

/// By store directory, as the command line calls it.
Result<std::vector<std::string>> import_archive(const std::string& store_root,
                                                const std::string& path, std::string_view name);
Result<std::vector<Listed>> list(const std::string& store_root);

/// Makes knit.local/hello:latest from the program that is part of this executable, unless the store
/// has just that one.
Result<void> ensure_builtin(Store& store);
inline constexpr std::string_view kHelloImage = "knit.local/hello:latest";
/// The executable's bytes.
std::string_view hello_program();

/// The digest form of a name ("knit.local/hello" → "knit.local/hello@sha256:…"), for Knative's tag
/// resolution. Errors: InvalidArgument, NotFound.
Result<std::string> resolve_digest(const Store& store, std::string_view reference);

}  // namespace knit::image
