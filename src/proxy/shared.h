// What all workers and the main loop share: the gates, the counters, and the ways to the main loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/random.h"
#include "proxy/access_log.h"
#include "proxy/gate.h"

namespace knit::proxy {

struct Tables;

/// Pages that Knit answers on the ports of the containers that it plays.
enum class AdminPage { Sidecar, QueueProxy, Activator };

class Shared {
 public:
  explicit Shared(std::unique_ptr<Random> r) : random(std::move(r)) {}
  const std::unique_ptr<Random> random;  // thread-safe
  /// Any thread. Never nullptr; made on first use.
  std::shared_ptr<RevisionGate> gate(std::string_view revision);
  std::vector<std::shared_ptr<RevisionGate>> gates() const;
  void drop_gate(std::string_view revision);

  /// Set once before the workers run; called from worker threads, so they post.
  std::function<void(const std::string& uid, std::uint32_t level, unsigned worker)> want;
  std::function<void(const std::string& revision)> demand;
  std::function<void(AccessLog::Batch batch)> access_log;
  std::function<std::string(const std::string& uid, AdminPage page, const Tables& tables)>
      admin_page;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<RevisionGate>, std::less<>> gates_;
};

}  // namespace knit::proxy
