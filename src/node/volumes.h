// The content of ConfigMap, Secret, projected and downward API volumes, and the files that every
// container gets. Source: kubernetes pkg/volume/util/atomic_writer.go, pkg/kubelet/kubelet_pods.go
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "node/env.h"

namespace knit::node {

struct VolumeFile {
  std::string content;
  std::uint32_t mode = 0644;
  bool operator==(const VolumeFile&) const = default;
};
using VolumeContent = std::map<std::string, VolumeFile>;  // by relative path

/// A projected service account token that a volume asks for.
struct TokenNeed {
  std::string volume, path, audience;
  std::int64_t seconds = 3600;
};
std::vector<TokenNeed> tokens_of(const Json& pod);

/// Whether the volume's content comes from here (emptyDir's does not).
bool has_content(const Json& volume);
/// `tokens` by "volume/path". Errors: NotFound ("configmap \"x\" not found", kubelet's
/// FailedMount), InvalidArgument (paths that leave the volume), Unsupported.
Result<VolumeContent> volume_content(const Json& pod, const Json& volume, const Objects& objects,
                                     const PodFacts& facts,
                                     const std::map<std::string, std::string>& tokens);
/// Makes `dir` show `content`: a new directory "..N", "..data" swapped by rename, links beside it.
/// Readers see the old or the new set, never a mixture. Blocks.
Result<void> write_volume(const std::string& dir, const VolumeContent& content,
                          std::optional<std::uint32_t> gid, std::string_view stamp);

struct DnsFacts {
  std::string server;          // 172.30.0.10
  std::string cluster_domain;  // cluster.local
};
std::string hosts_file(const Json& pod, const PodFacts& facts, std::string_view cluster_domain);
std::string resolv_conf(const Json& pod, const DnsFacts& dns);

}  // namespace knit::node
