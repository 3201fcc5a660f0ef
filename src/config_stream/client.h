// The proxy's side: applies deltas, keeps the last good set, says what it has. Loop-bound.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ipc/channel.h"
#include "proxy_config/types.h"

namespace knit::config_stream {

class Client {
 public:
  using Applied = std::function<void(std::vector<proxy_config::Refusal>)>;
  struct Hooks {
    /// Applies a delta; `applied` runs when every worker runs it (proxy::Engine::apply).
    std::function<void(const std::vector<proxy_config::Resource>& set,
                       const std::vector<proxy_config::Ref>& removed, Applied applied)>
        apply;
    /// After a delta runs: what to append to the journal that survives this process.
    std::function<void(const std::vector<proxy_config::Resource>& set,
                       const std::vector<proxy_config::Ref>& removed)>
        persist;
  };
  explicit Client(Hooks hooks) : hooks_(std::move(hooks)) {}
  ~Client();

  /// Before connect(): the set that a former process ran. `done` when it runs.
  void restore(std::vector<proxy_config::Resource> all, std::function<void()> done);
  /// A new channel to the server: says Have, when what is being restored runs.
  void connect(ipc::Channel& channel);
  void disconnect() { channel_ = nullptr; }
  /// Delta; others are ignored (false).
  bool on_message(const ipc::Received& message);
  /// The set that runs, for a new journal base.
  std::vector<proxy_config::Resource> snapshot() const;

 private:
  void say_have();
  void run(std::vector<proxy_config::Resource> set, std::vector<proxy_config::Ref> removed,
           std::function<void(const std::vector<proxy_config::Refusal>&)> then);
  Hooks hooks_;
  ipc::Channel* channel_ = nullptr;
  std::uint64_t connection_ = 0;
  bool restoring_ = false;
  std::map<proxy_config::Ref, proxy_config::Resource> have_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace knit::config_stream
