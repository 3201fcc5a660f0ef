// `knit proxy`: the data plane, its workers and its config, built and connected.
#include "proxy/engine.h"

#include <unistd.h>

#include <thread>

#include "app/config_journal.h"
#include "app/processes.h"
#include "base/log.h"
#include "config_stream/client.h"

namespace knit::app {
namespace {

constexpr std::string_view kLogModule = "proxy";
constexpr std::string_view kConfigKey = "proxy/config";
constexpr std::string_view kLeavesKey = "proxy/leaves";

/// A worker's loop and the thread that runs it.
struct Worker {
  std::unique_ptr<io::RealLoop> loop;
  std::thread thread;
};

class Proxy {
 public:
  Proxy(io::RealLoop& main, cli::Settings settings)
      : main_(main),
        settings_(std::move(settings)),
        journal_([this](Fd fd) { put(kConfigKey, std::move(fd)); }),
        leaves_([this](Fd fd) { put(kLeavesKey, std::move(fd)); }) {}
  ~Proxy() {
    for (auto& w : workers_) w.loop->stop();
    for (auto& w : workers_) {
      if (w.thread.joinable()) w.thread.join();
    }
  }

  Result<void> open(Fd channel) {
    const unsigned wanted = settings_.workers != 0 ? settings_.workers
                                                   : std::max(1U, std::thread::hardware_concurrency());
    std::vector<io::Loop*> loops;
    for (unsigned i = 0; i < wanted; ++i) {
      KNIT_TRY(auto loop, io::RealLoop::create(1));
      loops.push_back(loop.get());
      workers_.push_back({std::move(loop), {}});
    }
    proxy::Engine::Hooks hooks;
    hooks.server = [this] { return bootstrap_ ? bootstrap_->peer(ipc::Process::Server) : nullptr; };
    hooks.node = [this] { return bootstrap_ ? bootstrap_->peer(ipc::Process::Node) : nullptr; };
    hooks.run_dir = settings_.run;
    hooks.keep_leaves = [this](const auto& set, const auto& removed) {
      leaves_.append(set, removed, [this] { return engine_->leaves(); });
    };
    KNIT_TRY(engine_, proxy::Engine::create(main_, loops, system_random(), std::move(hooks)));
    for (auto& w : workers_) {
      w.thread = std::thread([loop = w.loop.get()] { loop->run(); });
    }
    config_ = std::make_unique<config_stream::Client>(config_stream::Client::Hooks{
        [this](const auto& set, const auto& removed, auto applied) {
          engine_->apply(set, removed, std::move(applied));
        },
        [this](const auto& set, const auto& removed) {
          journal_.append(set, removed, [this] { return config_->snapshot(); });
        }});

    ipc::Bootstrap::Handler handler;
    handler.on_kept = [this](const std::string& key, Fd fd) { on_kept(key, std::move(fd)); };
    handler.on_peer = [this](ipc::Process peer, std::uint64_t) { on_peer(peer); };
    handler.on_message = [this](ipc::Process peer, ipc::Received m) { on_message(peer, std::move(m)); };
    handler.on_stop = [this](Duration deadline) {
      engine_->drain(deadline, [this] { main_.stop(); });
    };
    KNIT_TRY(bootstrap_, ipc::Bootstrap::create(main_, std::move(channel), ipc::Process::Proxy,
                                                std::move(handler)));
    bootstrap_->ready(std::to_string(wanted) + (wanted == 1 ? " worker" : " workers"));
    return {};
  }

 private:
  void put(std::string_view key, Fd fd) {
    std::vector<Fd> fds;
    fds.push_back(std::move(fd));
    bootstrap_->supervisor().send(ipc::Put{std::string(key)}, std::move(fds));
  }

  void on_kept(const std::string& key, Fd fd) {
    if (key != kConfigKey && key != kLeavesKey) return;
    auto last = ConfigJournal::read(fd.get());
    if (!last) {
      KNIT_LOG(Warn, "what the last proxy left is not readable", KV("key", key), KV("error", last.error()));
      return;
    }
    if (key == kLeavesKey) return engine_->restore_leaves(*last);
    KNIT_LOG(Info, "running the last config again", KV("resources", last->size()));
    config_->restore(std::move(*last), [] {});
  }

  void on_peer(ipc::Process peer) {
    if (peer == ipc::Process::Server) {
      config_->connect(*bootstrap_->peer(peer));
      engine_->on_server_connected();
    } else if (peer == ipc::Process::Node) {
      engine_->on_node_connected();
    }
  }

  void on_message(ipc::Process peer, ipc::Received message) {
    if (peer == ipc::Process::Node) {
      engine_->on_node(std::move(message));
    } else if (peer == ipc::Process::Server) {
      if (!config_->on_message(message)) engine_->on_server(std::move(message));
    } else if (message.type == ipc::MessageType::Listener && message.fds.size() <= 1) {
      const auto listener = message.as<ipc::Listener>();
      if (!listener) return;
      const auto taken = engine_->on_listener(*listener, message.fds.empty() ? Fd() : std::move(message.fds[0]));
      if (!taken) KNIT_LOG(Error, "listener refused", KV("purpose", listener->purpose), KV("error", taken.error()));
      bootstrap_->supervisor().ack(message, taken ? std::string() : taken.error().message());
    }
  }

  io::RealLoop& main_;
  cli::Settings settings_;
  ConfigJournal journal_, leaves_;
  std::vector<Worker> workers_;
  std::unique_ptr<proxy::Engine> engine_;
  std::unique_ptr<config_stream::Client> config_;
  std::unique_ptr<ipc::Bootstrap> bootstrap_;
};

}  // namespace

int run_proxy(ProcessContext context) {
  Proxy proxy(*context.loop, context.settings);
  if (const auto opened = proxy.open(std::move(context.channel)); !opened) {
    KNIT_LOG(Error, "cannot start", KV("error", opened.error()));
    return 1;
  }
  context.loop->run();
  return 0;
}

}  // namespace knit::app
