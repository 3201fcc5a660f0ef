// The image store on disk, below DATA/images, owned by root:
//   blobs/sha256/HEX   content, verified when it was stored
//   layers/HEX/fs      the unpacked layer of the blob with this digest
//   refs.json          {"refs": {"knit.local/hello:latest": "sha256:…"}}
// A layer is keyed by its blob's digest (checked outside the sandbox that unpacks it), so that a
// hostile archive can spoil only itself. Readers need no lock; writers take `lock`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "base/result.h"

namespace knit::image {

/// What of an image's config a container is made from.
struct Config {
  std::vector<std::string> entrypoint, cmd, env;
  std::string user, workdir, stop_signal;
  std::vector<std::string> exposed_ports;  // "8080/tcp"
  std::map<std::string, std::string> labels;
};

struct Image {
  std::string reference;    // normalised, as found
  std::string digest;       // of the manifest
  std::string repo_digest;  // "knit.local/hello@sha256:…": status.imageID
  std::string config_digest;
  std::vector<std::string> layers;  // blob digests, lowest first
  Config config;
  std::uint64_t size = 0;  // of the layers' blobs
};

struct Listed {
  std::string reference, digest;
  std::uint64_t size = 0;
};

inline constexpr std::size_t kMaxLayers = 127;
inline constexpr std::size_t kMaxManifestBytes = 4 << 20;

class Store {
 public:
  /// Makes the directories when absent. Errors: PermissionDenied, Unavailable.
  static Result<Store> open(std::string root);

  /// Errors: InvalidArgument (bad name), NotFound (with the command that imports it).
  Result<Image> find(std::string_view reference) const;
  /// By name. Errors: Internal when refs.json is damaged.
  Result<std::vector<Listed>> list() const;
  /// Forgets a name; blobs and layers that nothing refers to any more are deleted.
  Result<void> remove(std::string_view reference);

  std::string layer_path(std::string_view digest) const;  // …/layers/HEX/fs
  std::string blob_path(std::string_view digest) const;
  bool has_blob(std::string_view digest) const;
  bool has_layer(std::string_view digest) const;
  const std::string& root() const { return root_; }

  /// Stores `content`; gives its digest.
  Result<std::string> put_blob(std::string_view content) const;
  /// Copies `from` to its end, at most `max_bytes`. Errors: InvalidArgument when the content is not
  /// `digest` (empty: any), ResourceExhausted.
  Result<std::string> put_blob(int from, std::string_view digest, std::uint64_t max_bytes) const;
  Result<std::string> read_blob(std::string_view digest, std::size_t max_bytes) const;
  /// Unpacks the layer blob unless that was done before; `diff_id` may be empty.
  Result<void> unpack(std::string_view digest, std::string_view diff_id) const;
  /// Points `reference` (normalised) at a manifest whose blobs are stored and layers unpacked.
  Result<void> set_ref(std::string_view reference, std::string_view manifest_digest) const;
  /// A fresh directory below tmp/.
  Result<std::string> scratch() const;

 private:
  explicit Store(std::string root) : root_(std::move(root)) {}
  Result<std::map<std::string, std::string>> refs() const;
  Result<void> write_refs(const std::map<std::string, std::string>& refs) const;
  Result<Fd> lock() const;
  Result<Image> load(std::string reference, std::string name, std::string_view digest) const;
  std::string root_;
};

/// Errors: InvalidArgument. Source: opencontainers/image-spec config.md
Result<Config> parse_config(const Json& config);
/// The digests of a manifest (OCI or Docker schema 2). Errors: InvalidArgument, Unsupported.
struct Manifest {
  std::string config;
  std::vector<std::string> layers, media_types;
  std::vector<std::uint64_t> sizes;
};
Result<Manifest> parse_manifest(const Json& manifest);

/// Deletes a tree without following symbolic links. Missing is fine.
Result<void> remove_tree(const std::string& path);

}  // namespace knit::image
