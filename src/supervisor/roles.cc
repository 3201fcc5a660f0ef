// The built-in roles that run inside E: their listeners, in directories that only the process that
// connects may enter. ipc.md, "roles that run inside E".
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ipc/roles.h"
#include "supervisor/supervisor.h"

namespace knit::supervisor {
using ipc::Process;
namespace {
constexpr std::size_t kMaxRoles = 64;

Fd listen_at(const std::string& path) {
  sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof at.sun_path) {
    errno = ENAMETOOLONG;
    return {};
  }
  std::memcpy(at.sun_path, path.c_str(), path.size() + 1);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  unlink(path.c_str());
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
      chmod(path.c_str(), 0666) != 0 || listen(fd.get(), 4'096) != 0) {
    return {};
  }
  return fd;
}
}  // namespace

Result<void> Supervisor::make_role_dirs() {
  const auto make = [this](const char* name, gid_t gid, mode_t mode) -> Result<void> {
    const std::string path = plan_.run_dir + name;
    if ((mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) ||
        (geteuid() == 0 && chown(path.c_str(), 0, gid) != 0) || chmod(path.c_str(), mode) != 0) {
      return errno_error(path, errno);
    }
    return {};
  };
  const auto gid = [this](Process p) {
    const Child* c = child(p);
    return c == nullptr ? 0 : c->spec->gid;
  };
  if (child(Process::Events) == nullptr) return {};
  KNIT_TRY_VOID(make("/roles", 0, 0711));
  KNIT_TRY_VOID(make("/roles/in", gid(Process::Proxy), 0710));
  return make("/roles/out", gid(Process::Events), 0710);
}

void Supervisor::set_roles(const ipc::Roles& m) {
  const auto wanted = [&](const std::string& uid) {
    return std::any_of(m.roles.begin(), m.roles.end(),
                       [&](const ipc::Role& r) { return r.pod_uid == uid; });
  };
  for (auto it = roles_.begin(); it != roles_.end();) {
    if (wanted(it->first)) {
      ++it;
      continue;
    }
    it->second.ingress.reset();
    it->second.egress.reset();
    hand_role(it->first, it->second);
    unlink(ipc::role_ingress_path(plan_.run_dir, it->first).c_str());
    unlink(ipc::role_egress_path(plan_.run_dir, it->first).c_str());
    event("role\t" + it->second.name + "\tgone");
    it = roles_.erase(it);
  }
  for (const ipc::Role& r : m.roles) {
    if (roles_.count(r.pod_uid) != 0) continue;
    if (!ipc::role_word(r.pod_uid) || !ipc::role_word(r.name) || roles_.size() >= kMaxRoles) {
      log("a role is refused: malformed, or too many");
      continue;
    }
    RoleSockets made{r.name, listen_at(ipc::role_ingress_path(plan_.run_dir, r.pod_uid)),
                     listen_at(ipc::role_egress_path(plan_.run_dir, r.pod_uid))};
    if (!made.ingress || !made.egress) {
      log("role " + r.name + ": cannot listen: " + std::strerror(errno));
      continue;
    }
    event("role\t" + r.name + "\t" + (r.injected ? "in the mesh" : "outside the mesh"));
    hand_role(r.pod_uid, roles_[r.pod_uid] = std::move(made));
  }
  for (Child& e : children_) {
    if (!e.spec->on_demand || !roles_.empty() || !e.link || e.stop_sent) continue;
    e.stop_sent = true;
    e.link->send(ipc::Stop{e.spec->stop_deadline});
    e.kill_at = now() + e.spec->stop_deadline + std::chrono::seconds(1);
  }
}

void Supervisor::hand_role(const std::string& uid, const RoleSockets& r) {
  const auto give = [&](Process to, const Fd& fd, bool ingress) {
    const std::string purpose = ipc::to_string(ipc::RolePurpose{ingress, uid, r.name});
    hand_listener(to, "role/" + uid, purpose, 0, fd ? fd.get() : -1);
  };
  give(Process::Events, r.ingress, true);
  give(Process::Proxy, r.egress, false);
}

}  // namespace knit::supervisor
