// Unpacks an archive into one directory, in a child that can do nothing else: its own user
// namespace with an identity map (where the kernel gives none: without capabilities but those for
// owners and modes), its own empty network, chrooted into the directory. The bytes of the archive
// are only ever parsed there.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace knit::image {

enum class UnpackKind {
  Layer,    // a container image layer: whiteouts become overlay's, owners and modes are kept
  Archive,  // an image archive: regular files, directories and symbolic links only
};

enum class Sandbox {
  UserNamespace,  // falls back to Capabilities where the kernel refuses (a chroot, a limit of 0)
  Capabilities,
};

inline constexpr std::uint64_t kMaxUnpackedBytes = std::uint64_t{20} << 30;
inline constexpr std::uint64_t kMaxUnpackedEntries = 1'000'000;
inline constexpr std::size_t kMaxLayerPath = 4000;

/// Reads the archive (tar, also gzip or zstd) from `fd` and unpacks it into the existing, empty
/// directory `into`. Gives the digest of the uncompressed tar. Blocks; call it from the pool.
/// Whiteouts take overlay's form: devices 0/0 and trusted.overlay.opaque.
/// Errors: InvalidArgument (malformed or hostile archive), ResourceExhausted, Unavailable.
Result<std::string> unpack_layer(int fd, const std::string& into, UnpackKind kind,
                                 Sandbox sandbox = Sandbox::UserNamespace);

}  // namespace knit::image
