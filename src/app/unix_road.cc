#include "app/unix_road.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace knit::app {
namespace {
using namespace std::chrono_literals;
constexpr Duration kOpeningLimit = 5s;
constexpr std::size_t kMaxWaiting = 1'024;   // connections that nobody has accepted yet
constexpr std::size_t kMaxGreeting = 4'096;  // that have not said what they are, and probes

/// Exactly the first frame of a connection. Errors: InvalidArgument, Unavailable.
io::Task<Result<std::string>> read_frame(io::Stream* stream) {
  std::string in;
  while (true) {
    KNIT_CO_TRY(const auto size, ipc::opening_size(in));
    if (size) co_return in;
    std::size_t want = 4 - in.size();
    if (in.size() >= 4) {
      std::size_t length = 0;
      for (unsigned i = 0; i < 4; ++i) {
        length |= static_cast<std::size_t>(static_cast<unsigned char>(in[i])) << (8 * i);
      }
      want = 4 + length - in.size();
    }
    KNIT_CO_TRY(const std::string more, co_await stream->read(want));
    if (more.empty()) co_return Error(Code::Unavailable, "the connection ended in its first frame");
    in += more;
  }
}

Result<Fd> connect_unix(const std::string& path) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (path.size() >= sizeof at.sun_path) return Error(Code::InvalidArgument, "path too long");
  std::memcpy(at.sun_path, path.c_str(), path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
    return errno_error("the proxy does not take connections of this role", errno);
  }
  return fd;
}
}  // namespace

struct UnixRoad::Pod {
  std::string role;
  std::unique_ptr<io::Listener> listener;
  struct Greeting {
    io::Event serving;  // a probe waits for it
    io::Loop::Timer limit;
    io::Loop::Scope task;
  };
  std::map<std::uint64_t, Greeting> greetings;
};

UnixRoad::UnixRoad(io::Loop& loop, std::string run_dir)
    : loop_(loop), run_dir_(std::move(run_dir)) {}
UnixRoad::~UnixRoad() = default;

Result<void> UnixRoad::add(const std::string& role, const std::string& uid, Fd listener) {
  auto pod = std::make_unique<Pod>();
  pod->role = role;
  auto on_connection = [this, uid](std::unique_ptr<io::Stream> stream) {
    const auto it = pods_.find(uid);
    if (it == pods_.end() || it->second->greetings.size() >= kMaxGreeting) return;
    const std::uint64_t number = ++numbers_;
    Pod::Greeting& greeting = it->second->greetings[number];
    if (served_) greeting.serving.set();
    greeting.limit = loop_.after(kOpeningLimit, [this, uid, number] {
      loop_.post([this, uid, number, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) forget(uid, number);
      });
    });
    greeting.task = loop_.spawn_scoped(greet(this, uid, number, std::move(stream)));
  };
  KNIT_TRY(pod->listener,
           io::Listener::adopt(loop_, std::move(listener), std::move(on_connection)));
  pods_[uid] = std::move(pod);
  return {};
}

void UnixRoad::remove(const std::string& uid) { pods_.erase(uid); }

void UnixRoad::forget(const std::string& uid, std::uint64_t number) {
  const auto it = pods_.find(uid);
  if (it != pods_.end()) it->second->greetings.erase(number);
}

void UnixRoad::serve() {
  served_ = true;
  for (auto& [uid, pod] : pods_) {
    for (auto& [number, greeting] : pod->greetings) {
      loop_.post([this, at = uid, id = number, alive = std::weak_ptr(alive_)] {
        if (alive.expired()) return;
        const auto it = pods_.find(at);
        if (it == pods_.end()) return;
        const auto found = it->second->greetings.find(id);
        if (found != it->second->greetings.end()) found->second.serving.set();
      });
    }
  }
}

void UnixRoad::stop() { pods_.clear(); }

/// The first frame tells what a connection is: a probe, which is answered and held, or requests.
io::Task<void> UnixRoad::greet(UnixRoad* road, std::string uid, std::uint64_t number,
                               std::unique_ptr<io::Stream> stream) {
  const std::weak_ptr<int> alive = road->alive_;
  io::Loop& loop = road->loop_;
  Pod& pod = *road->pods_.at(uid);  // ends this task when it goes
  Result<ipc::RoleCall> call = Error(Code::Unavailable, "");
  if (auto frame = co_await read_frame(stream.get()); !frame) {
    call = std::move(frame).error();
  } else {
    call = ipc::read_opening<ipc::RoleCall>(*frame);
  }
  pod.greetings.at(number).limit.cancel();
  if (call && call->probe) {
    co_await pod.greetings.at(number).serving;
    if (co_await stream->write(ipc::opening(ipc::RoleAnswer{}))) {
      while (true) {  // held: its end tells the proxy that we are gone
        const auto more = co_await stream->read(64);
        if (!more || more->empty()) break;
      }
    }
  } else if (call) {
    events::RoleConnection connection;
    connection.stream = std::move(stream);
    connection.hops = std::move(call->hops);
    road->arrived(pod.role, std::move(connection));
  } else {
    road->arrived(pod.role, std::move(call).error());
  }
  loop.post([road, alive, uid, number] {
    if (!alive.expired()) road->forget(uid, number);
  });
}

void UnixRoad::arrived(const std::string& role, Result<events::RoleConnection> connection) {
  Queue& queue = queues_[role];
  // Closed: the proxy answers 503. Some roles take no requests at all.
  if (queue.waiting.size() >= kMaxWaiting || (served_ && !queue.accepted)) return;
  queue.waiting.push_back(std::move(connection));
  loop_.post([this, role, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) queues_[role].event.set();
  });
}

io::Task<Result<events::RoleConnection>> UnixRoad::accept(std::string role) {
  return next(this, std::move(role));
}

io::Task<Result<events::RoleConnection>> UnixRoad::next(UnixRoad* road, std::string role) {
  Queue& queue = road->queues_[role];
  queue.accepted = true;
  while (queue.waiting.empty()) {
    queue.event.reset();
    co_await queue.event;
  }
  auto out = std::move(queue.waiting.front());
  queue.waiting.pop_front();
  co_return out;
}

io::Task<Result<std::unique_ptr<io::Stream>>> UnixRoad::connect(std::string role,
                                                                events::RoleTarget to) {
  return dial(this, std::move(role), std::move(to));
}

io::Task<Result<std::unique_ptr<io::Stream>>> UnixRoad::dial(UnixRoad* road, std::string role,
                                                             events::RoleTarget to) {
  std::string uid;
  for (const auto& [pod_uid, pod] : road->pods_) {
    if (pod->role == role && uid.empty()) uid = pod_uid;
  }
  if (uid.empty()) {
    co_return Error(Code::Unavailable, "no pod of " + role + " runs, so nobody can connect as it");
  }
  KNIT_CO_TRY(Fd fd, connect_unix(ipc::role_egress_path(road->run_dir_, uid)));
  auto stream = io::socket_stream(road->loop_, std::move(fd));
  KNIT_CO_TRY_VOID(co_await stream->write(
      ipc::opening(ipc::RoleDial{std::move(to.host), to.port, ipc::RoleProtocol::Http})));
  KNIT_CO_TRY(const std::string frame, co_await read_frame(stream.get()));
  KNIT_CO_TRY(const auto answer, ipc::read_opening<ipc::RoleAnswer>(frame));
  if (!answer.reason.empty()) co_return Error(Code::Unavailable, answer.text);
  co_return std::move(stream);
}

}  // namespace knit::app
