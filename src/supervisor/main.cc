// knit-supervisor: started by `knit up` with a LaunchPlan in descriptor 3.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "supervisor/supervisor.h"

int main(int, char** argv) {
  using namespace knit;
  const std::string version = std::string("knit-supervisor ") + KNIT_BUILD;
  auto bytes = ipc::read_sealed(ipc::kPlanFd, ipc::kMaxBody);
  if (!bytes) {
    dprintf(STDERR_FILENO, "%s is started by `knit up` (%s)\n", argv[0], version.c_str());
    return 64;
  }
  auto plan = codec::decode<ipc::LaunchPlan>(*bytes);
  if (!plan) {
    dprintf(STDERR_FILENO, "supervisor: launch plan: %s\n", plan.error().message().c_str());
    return 64;
  }
  close(ipc::kPlanFd);
  // Held open: one Knit a pod range, a data directory and a network namespace.
  for (const int fd : {ipc::kGuardFd, ipc::kDataLockFd, ipc::kNetworkFd}) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  prctl(PR_SET_NAME, "knit-supervisor");
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const std::size_t usable = files.rlim_max > 1'024 ? files.rlim_max - 512 : files.rlim_max / 2;
  supervisor::Supervisor supervisor(std::move(*plan), usable);
  if (auto opened = supervisor.open(); !opened) {
    dprintf(STDERR_FILENO, "supervisor: %s\n", opened.error().message().c_str());
    return opened.error().code() == Code::AlreadyExists ? 75 : 71;
  }
  return supervisor.run();
}
