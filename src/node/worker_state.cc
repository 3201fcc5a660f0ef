// What the next node process needs of a pod: written down, and taken up again.
#include <fcntl.h>
#include <sys/stat.h>

#include "base/files.h"
#include "base/log.h"
#include "node/container_spec.h"
#include "node/worker.h"
#include "node/worker_log.h"

namespace knit::node {

namespace {

constexpr std::string_view kLogModule = "node";

}  // namespace

void PodWorker::save_state() const {
  JsonArray containers;
  for (const auto& c : containers_) {
    JsonObject one{{"name", c->view.name},
                   {"restarts", c->st.restarts},
                   {"id", c->id},
                   {"uri", c->st.container_id},
                   {"imageID", c->st.image_id},
                   {"pid", c->running ? c->pid : 0},
                   {"startTime", c->start_time},
                   {"startedAt", c->st.started_at.ns},
                   {"messageFile", c->message_file},
                   {"started", c->st.started},
                   {"ready", c->st.ready}};
    if (c->st.state == ContainerStatus::State::Terminated && c->st.ended) {
      one["exitCode"] = c->st.ended->exit_code;
      one["finishedAt"] = c->st.ended->finished.ns;
    }
    containers.push_back(std::move(one));
  }
  const Json state = JsonObject{{"pod", pod_},
                                {"ip", status_.ip},
                                {"startTime", status_.start_time.ns},
                                {"known", known_},
                                {"setUp", set_up_},
                                {"contents", contents_made_},
                                {"containers", std::move(containers)}};
  static_cast<void>(make_directories(run_path()));
  if (auto r = replace_file(run_path() + "/state.json", json::print(state), {}); !r) {
    KNIT_LOG(Warn, "a pod's state was not saved", KV("error", r.error()));
  }
}

Result<void> PodWorker::adopt(const Json& state, std::map<std::string, Fd> kept) {
  KNIT_TRY(const net::Address ip, net::parse_address(json::str(state, {"ip"})));
  static_cast<void>(ip);
  const bool processes = std::any_of(containers_.begin(), containers_.end(),
                                     [](const auto& c) { return !c->st.role; });
  if (processes) {
    KNIT_TRY(net_, net::adopt_pod_net(std::move(kept["netns"]), std::move(kept["listener"]),
                                      std::move(kept["dns"]), std::move(kept["link"])));
  }
  status_.ip = json::str(state, {"ip"});
  status_.start_time.ns = json::i64(state, {"startTime"});
  status_.network = true;
  set_up_ = json::boolean(state, {"setUp"}, true);
  contents_made_ = json::boolean(state, {"contents"}, true);
  for (const Json& one : json::array(state, {"containers"})) {
    Container* c = by_name(json::str(one, {"name"}));
    if (c == nullptr || c->st.role) continue;
    c->st.restarts = static_cast<std::int32_t>(json::i64(one, {"restarts"}));
    c->id = json::str(one, {"id"});
    c->st.container_id = json::str(one, {"uri"});
    c->st.image_id = json::str(one, {"imageID"});
    c->st.started_at.ns = json::i64(one, {"startedAt"});
    c->message_file = json::str(one, {"messageFile"});
    c->pid = static_cast<pid_t>(json::i64(one, {"pid"}));
    c->start_time = static_cast<std::uint64_t>(json::i64(one, {"startTime"}));
    if (c->pid > 0) {
      c->resumed = c->running = true;
      c->st.state = ContainerStatus::State::Running;
      c->st.started = json::boolean(one, {"started"});
      c->st.ready = json::boolean(one, {"ready"});
      for (const char* stream : {"stdout", "stderr"}) {
        Fd& fd = kept["log-" + c->view.name + "-" + stream];
        if (fd) pump(c, std::move(fd), stream);
      }
    } else if (const auto code = json::opt_i64(one, {"exitCode"})) {
      Terminated t;
      t.exit_code = static_cast<std::int32_t>(*code);
      t.reason = *code == 0 ? "Completed" : "Error";
      t.started = c->st.started_at;
      t.finished.ns = json::i64(one, {"finishedAt"});
      t.container_id = c->st.container_id;
      c->st.ended = std::move(t);
      c->st.state = ContainerStatus::State::Terminated;
    }
  }
  adopt_memory(std::move(kept["memory"]));
  if (net_) host_.announce(*this);
  return {};
}

/// The mounts of the former process went with its mount space; the content lives in `tree`.
void PodWorker::adopt_memory(Fd tree) {
  const std::string dir = run_path() + "/volumes";
  for (const Json& volume : json::array(pod_, {"spec", "volumes"})) {
    if (json::str(volume, {"emptyDir", "medium"}) == "Memory")
      memory_volumes_.push_back(volume_path(volume));
  }
  if (memory_volumes_.empty()) return;
  kept_mounts_ = true;
  Result<void> done = Error(Code::NotFound, "the former node kept none");
  if (tree) done = host_.driver().restore_mounts(dir, tree.get());
  if (done) {
    memory_volumes_.insert(memory_volumes_.begin(), dir);  // the tree itself: unmounted first
    if (auto next = host_.driver().keep_mounts(dir)) host_.keep(uid_, "memory", next->get());
    return;
  }
  KNIT_LOG(Warn, "memory volumes of a pod are empty for containers that start from now on",
           KV("pod", name_of(pod_)), KV("reason", done.error()));
}

}  // namespace knit::node
