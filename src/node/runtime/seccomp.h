// The default seccomp profile of containers (RuntimeDefault), as data: what a container may call
// depends on its capabilities. For crun it is compiled once per set of capabilities and handed over
// ready-made, because compiling it at every create costs 10 ms (spec/runtime.md 12); runc gets the
// profile's text.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace knit::node::runtime {

struct SeccompArgument {
  unsigned index = 0;
  std::uint64_t mask = ~std::uint64_t{0};
  std::uint64_t value = 0;
  bool equal = true;  // (argument & mask) == value, else !=
};
/// Calls that are allowed (or fail with `error`), if every condition on their arguments holds.
struct SeccompRule {
  std::vector<std::string> calls;
  std::vector<SeccompArgument> arguments = {};
  int error = 0;  // 0: allowed
};

/// What is not in a rule fails with EPERM. Source: containerd contrib/seccomp/seccomp_default.go,
/// docs.docker.com/engine/security/seccomp
std::vector<SeccompRule> default_seccomp_rules(const std::vector<std::string>& capabilities);

/// The rules as `linux.seccomp` of config.json.
/// Source: opencontainers/runtime-spec config-linux.md, "Seccomp"
Json seccomp_section(const std::vector<SeccompRule>& rules);

/// The rules as a program of classic BPF: struct sock_filter, one after the other.
/// Errors: Internal (libseccomp).
Result<std::string> compile_seccomp(const std::vector<SeccompRule>& rules);

/// Programs by their capabilities, each compiled at first use. Thread-safe.
class SeccompCache {
 public:
  /// base64 of the program, as crun's annotation run.oci.seccomp_bpf_data takes it.
  Result<std::string> program(const std::vector<std::string>& capabilities);

 private:
  std::mutex mutex_;
  std::map<std::vector<std::string>, std::string> programs_;  // guarded by mutex_
};

}  // namespace knit::node::runtime
