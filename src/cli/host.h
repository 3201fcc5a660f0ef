// What up, down and status need of the machine. Everything blocks: only for commands, which have
// no loop.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/time.h"
#include "cli/settings.h"

namespace knit::cli {

Instant monotonic_now();
WallTime wall_clock();

/// Runs a program found in PATH's usual places; standard output, at most 1 MiB. Errors: NotFound
/// (no such program), Internal (it failed: its standard error).
Result<std::string> run_program(const std::vector<std::string>& argv);
bool program_exists(const std::string& name);

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  bool made = false;
};
/// Finds the system user or makes it.
Result<User> ensure_user(const std::string& name);

/// Whether the user may read and write in the directory, whatever lies above it. Errors:
/// PermissionDenied, naming the directory that keeps it out.
Result<void> check_reach(const std::string& dir, const User& user);

/// The descriptor that marks the pod range as used in this network namespace: an abstract socket,
/// gone with the last process that holds it. Errors: AlreadyExists.
Result<Fd> claim_pod_range(const std::string& cidr);
/// The same for the network namespace itself: rule, routing table and capture program exist once.
/// Errors: AlreadyExists, naming the data and run directory of the Knit that is there.
Result<Fd> claim_network();
/// Routes of others that are as specific as `ranges` or more: "10.128.0.0/24 (dev docker0)".
Result<std::optional<std::string>> foreign_route(const std::vector<std::string>& ranges);
/// The first IPv4 address of the host that is not loopback, else 127.0.0.1.
std::string first_address();
/// Whether a TCP listener could be opened there now.
Result<void> try_bind(const std::string& address, std::uint16_t port);

struct Memory {
  std::uint64_t pss_kib = 0, rss_kib = 0;
};
Memory memory_of(pid_t pid);
/// Field 22 of /proc/PID/stat; 0 when there is no such process.
std::uint64_t process_start(pid_t pid);

/// One line of the supervisor's state file or status answer.
struct ProcessState {
  std::string name;
  pid_t pid = 0;
  std::uint64_t start_time = 0;
  WallTime since;
  unsigned restarts = 0;
  std::string state, detail;
};
struct PortState {
  std::string purpose, address;
  std::uint16_t port = 0;
};
struct SupervisorState {
  std::vector<ProcessState> processes;
  std::vector<PortState> ports;
};
SupervisorState parse_state(std::string_view text);
/// Kills what a supervisor that died left running. The names that were found.
std::vector<std::string> kill_leftovers(const std::string& run_dir);

/// A control connection to the supervisor. Errors: NotFound when none runs there.
Result<Fd> connect_control(const std::string& run_dir);
/// One packet, or nullopt at the deadline or the end.
std::optional<std::string> read_packet(int fd, Instant deadline);
Result<void> send_packet(int fd, std::string_view text);

constexpr std::size_t kMaxText = 16 << 20;  // of a file of the system's or Knit's own
/// mkdir -p with owner and mode of the last part.
Result<void> make_dir(const std::string& path, unsigned mode, uid_t uid = 0, gid_t gid = 0);

}  // namespace knit::cli
