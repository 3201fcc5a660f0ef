// What `knit up` resolves and hands to the supervisor in a sealed memfd (descriptor 3).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ipc/messages.h"

namespace knit::ipc {

inline constexpr int kChannelFd = 3;   // in every process: its channel to the supervisor
inline constexpr int kSettingsFd = 4;  // in every process: LaunchPlan::settings, a sealed memfd
inline constexpr int kPlanFd = 3;      // in the supervisor: the LaunchPlan
inline constexpr int kProgressFd = 4;  // in the supervisor: a control connection that watches
inline constexpr int kGuardFd = 5;     // in the supervisor: held open, the claim on the pod range
inline constexpr int kDataLockFd =
    6;  // in the supervisor: held open, the lock of the data directory
inline constexpr int kNetworkFd = 7;  // in the supervisor: held open, the claim on the namespace

struct ProcessSpec {
  Process process = Process::None;
  std::string path;                // of the executable
  std::vector<std::string> args;   // argv, with the name first
  std::uint32_t uid = 0, gid = 0;  // not 0: also without supplementary groups and capabilities
  bool on_demand = false;          // runs only while some Roles message is not empty
  std::uint32_t stop_order = 0;    // ascending
  Duration stop_deadline{};        // then it is killed
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.process);
    v(2, s.path);
    v(3, s.args);
    v(4, s.uid);
    v(5, s.gid);
    v(6, s.on_demand);
    v(7, s.stop_order);
    v(8, s.stop_deadline);
  }
};
struct PortRange {  // inclusive; {0, 0} allows "any free port" (tests)
  std::uint16_t first = 0, last = 0;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.first);
    v(2, s.last);
  }
};
struct LaunchPlan {
  std::string run_dir;                 // exists, writable by root only
  std::vector<ProcessSpec> processes;  // in start order
  std::vector<PortRange> ports;        // what Bind may ask for
  std::string settings;                // opaque: for the processes
  bool foreground = false;             // stop when the progress connection ends
  Duration hello_deadline = std::chrono::seconds(5);
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.run_dir);
    v(2, s.processes);
    v(3, s.ports);
    v(4, s.settings);
    v(5, s.foreground);
    v(6, s.hello_deadline);
  }
};

}  // namespace knit::ipc
