// The server's side of the config stream: keeps the current set of resources and brings one proxy
// to it, one delta in flight. Loop-bound. Rules: design.md 2 "Config stream", ipc.md Delta.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipc/channel.h"
#include "proxy_config/types.h"

namespace knit::config_stream {

/// A resource as it travels: encoded, with its hash.
template <class T>
proxy_config::Resource resource(proxy_config::Type type, std::string name, const T& value);
std::string hash_of(std::string_view body);

class Server {
 public:
  struct Hooks {
    /// The proxy left the resource out, and why. Told again only when the resource changes.
    std::function<void(const proxy_config::Refusal&)> refused;
    /// Every change so far runs on every worker (refused ones aside).
    std::function<void()> synced;
  };
  explicit Server(Hooks hooks) : hooks_(std::move(hooks)) {}

  /// The set is still being made: nothing is sent before complete(), for what is not in it yet
  /// would be taken away from a proxy that runs it.
  void begin() { filling_ = true; }
  void complete() { filling_ = false; }

  /// Changes take effect with the next flush().
  void set(proxy_config::Resource resource);
  void remove(const proxy_config::Ref& ref);
  /// Makes `all` the whole set.
  void replace(std::vector<proxy_config::Resource> all);
  /// Sends what differs, if a proxy is there and nothing is in flight.
  void flush();

  /// A new channel to the proxy: it says Have first. `channel` outlives disconnect().
  void connect(ipc::Channel& channel);
  void disconnect();
  /// Have, Ack, Nack; others are ignored (false).
  bool on_message(const ipc::Received& message);

  bool synced() const;
  std::size_t size() const { return current_.size(); }
  const proxy_config::Resource* find(const proxy_config::Ref& ref) const;

 private:
  void on_have(const ipc::Have& have);
  void on_ack(const ipc::Ack& ack);
  void on_nack(const ipc::Nack& nack);
  std::optional<ipc::Delta> next_delta() const;

  Hooks hooks_;
  ipc::Channel* channel_ = nullptr;
  bool greeted_ = false, filling_ = false;
  std::map<proxy_config::Ref, proxy_config::Resource> current_;
  std::map<proxy_config::Ref, std::string> there_;    // what the proxy runs: hash
  std::map<proxy_config::Ref, std::string> refused_;  // hash that it refused
  std::optional<ipc::Delta> in_flight_;
  std::uint64_t nonce_ = 0;
};

template <class T>
proxy_config::Resource resource(proxy_config::Type type, std::string name, const T& value) {
  std::string body = codec::encode(value);
  std::string hash = hash_of(body);
  return {type, std::move(name), std::move(hash), std::move(body)};
}

}  // namespace knit::config_stream
