// Who waits for which acknowledgement; shared by the real and the in-memory channel.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "ipc/messages.h"

namespace knit::ipc {

inline constexpr std::size_t kMaxWaiting = 65'536;

class Acks {
 public:
  /// False when too many wait: the peer acknowledges nothing.
  bool wait(std::uint64_t sequence, std::function<void(std::string)> on_ack) {
    if (waiting_.size() >= kMaxWaiting) return false;
    waiting_[sequence] = std::move(on_ack);
    return true;
  }
  void acked(const Acked& a) {
    auto node = waiting_.extract(a.sequence);
    if (!node.empty()) node.mapped()(a.error);
  }
  /// Everyone still waiting hears "closed".
  void close() {
    auto all = std::exchange(waiting_, {});
    for (auto& [sequence, on_ack] : all) on_ack("closed");
  }

 private:
  std::map<std::uint64_t, std::function<void(std::string)>> waiting_;
};

}  // namespace knit::ipc
