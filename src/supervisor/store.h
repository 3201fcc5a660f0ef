// Descriptors that outlive their users, by key. A process writes under its own prefix only.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "ipc/messages.h"

namespace knit::supervisor {

class Store {
 public:
  /// `limit`: descriptors in all; the node may hold 3/4 of them, any other process 1/8.
  explicit Store(std::size_t limit) : limit_(limit) {}
  /// What went wrong, in words, or "". An existing key's descriptor is replaced.
  std::string put(ipc::Process by, const std::string& key, Fd fd);
  std::string drop(ipc::Process by, const std::string& key);
  /// Up to `max` entries of `owner` behind key `after`, in order: keys and duplicates.
  std::pair<std::vector<std::string>, std::vector<Fd>> next(ipc::Process owner,
                                                            const std::string& after,
                                                            std::size_t max) const;
  /// The process that may write `key`, or None when nobody may.
  static ipc::Process owner(const std::string& key);
  std::size_t size() const { return entries_.size(); }

 private:
  std::map<std::string, Fd> entries_;
  std::map<ipc::Process, std::size_t> counts_;
  std::size_t limit_;
};

Fd duplicate(int fd);

}  // namespace knit::supervisor
