// The roles of built-in components: images knit.local/role/NAME that Knit plays itself.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace knit::kube {

/// Played by the process knit-events: each of its pods has sockets of its own (ipc.md).
inline bool runs_in_events(std::string_view role) {
  constexpr std::array<std::string_view, 4> kEvents = {
      "imc-dispatcher", "mt-broker-filter", "mt-broker-ingress", "pingsource-mt-adapter"};
  return std::find(kEvents.begin(), kEvents.end(), role) != kEvents.end();
}

/// Whether this build carries a role out. The others have their objects, and never run: nothing
/// that depends on them may look ready.
inline bool plays_role(std::string_view role) {
  constexpr std::array<std::string_view, 6> kMissing = {
      "kafka-broker-dispatcher", "kafka-broker-receiver", "kafka-channel-dispatcher",
      "kafka-channel-receiver",  "kafka-sink-receiver",   "kafka-source-dispatcher"};
  return std::find(kMissing.begin(), kMissing.end(), role) == kMissing.end();
}

}  // namespace knit::kube
