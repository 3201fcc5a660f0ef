// The proxy's last config, or its leaf keys, kept outside it: a memfd that the supervisor holds.
// Append-only; written anew when it has grown to twice what it says.
#pragma once

#include <functional>
#include <vector>

#include "base/fd.h"
#include "proxy_config/types.h"

namespace knit::app {

class ConfigJournal {
 public:
  /// `keep` hands a duplicate of the memfd to the supervisor (Put).
  explicit ConfigJournal(std::function<void(Fd)> keep) : keep_(std::move(keep)) {}

  /// What a former process left in `fd`; a torn last record is ignored. Errors: InvalidArgument.
  static Result<std::vector<proxy_config::Resource>> read(int fd);
  /// Appends a delta that runs. `all` gives the whole set, for a new base.
  void append(const std::vector<proxy_config::Resource>& set,
              const std::vector<proxy_config::Ref>& removed,
              const std::function<std::vector<proxy_config::Resource>()>& all);

 private:
  bool write(const std::vector<proxy_config::Resource>& set,
             const std::vector<proxy_config::Ref>& removed);
  std::function<void(Fd)> keep_;
  Fd file_;
  std::size_t base_bytes_ = 0, bytes_ = 0;
};

}  // namespace knit::app
