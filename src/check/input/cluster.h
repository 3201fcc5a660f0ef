// Reads a running cluster into an ObjectSet: GET and LIST only, whatever the token allows. What it
// does not allow is written into the set's `unreadable`, so that rules say `unknown`.
#pragma once

#include <string>
#include <vector>

#include "check/input/kubeconfig.h"
#include "check/objects.h"
#include "http/client.h"
#include "io/loop.h"

namespace knit::check::input {

struct ClusterOptions {
  Duration timeout = std::chrono::seconds(60);  // of everything
  bool secrets = true;                          // false: no Secret is asked for
  std::string ns;  // tried first where a list of all namespaces is forbidden
  std::size_t page = 500;
  std::size_t max_bytes = 512 << 20;  // of all answers
  std::size_t max_answer = 64 << 20;  // of one
  std::size_t max_requests = 20'000;
  std::size_t max_namespaces = 200;  // that are asked one by one
};

/// The kinds that are read: "networking.istio.io/Gateway"…
std::vector<std::string_view> cluster_kinds();
/// Whether some rule reads GROUP's PLURAL ("", "pods"); of definitions, whether it reads `name`.
bool is_read(std::string_view group, std::string_view plural, std::string_view name);

/// Asks over `connector`. Errors: Unavailable, Unauthenticated, ResourceExhausted, InvalidArgument
/// (answers that no API server gives). Everything that could be read is in `out` even then.
io::Task<Result<void>> read_cluster(io::Loop& loop, http::Connector connector, Access access,
                                    ClusterOptions options, ObjectSet& out);

/// The same on a loop of its own, over TCP and TLS. Blocks. Errors: as above, DeadlineExceeded.
Result<void> read_live(const Access& access, const ClusterOptions& options, ObjectSet& out);

}  // namespace knit::check::input
