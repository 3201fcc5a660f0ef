#include "config_stream/client.h"

#include <algorithm>

#include "base/hash.h"

namespace knit::config_stream {
namespace {
namespace pc = proxy_config;
}

Client::~Client() = default;

void Client::run(std::vector<pc::Resource> set, std::vector<pc::Ref> removed,
                 std::function<void(const std::vector<pc::Refusal>&)> then) {
  hooks_.apply(set, removed,
               [this, alive = std::weak_ptr(alive_), set, removed,
                then = std::move(then)](std::vector<pc::Refusal> refusals) {
                 if (alive.expired()) return;
                 std::vector<pc::Resource> good;
                 for (const auto& r : set) {
                   const bool refused = std::any_of(
                       refusals.begin(), refusals.end(),
                       [&](const auto& f) { return f.ref.type == r.type && f.ref.name == r.name; });
                   if (refused) continue;  // the last good one stays
                   have_.insert_or_assign(pc::Ref{r.type, r.name}, r);
                   good.push_back(r);
                 }
                 for (const auto& ref : removed) have_.erase(ref);
                 if (hooks_.persist) hooks_.persist(good, removed);
                 then(refusals);
               });
}

void Client::restore(std::vector<pc::Resource> all, std::function<void()> done) {
  restoring_ = true;
  run(std::move(all), {}, [this, done = std::move(done)](const auto&) {
    restoring_ = false;
    if (channel_) say_have();
    if (done) done();
  });
}

void Client::connect(ipc::Channel& channel) {
  channel_ = &channel;
  ++connection_;
  // Have names what there is to take away: it must not be said of half a set.
  if (!restoring_) say_have();
}

void Client::say_have() {
  ipc::Have have;
  for (const pc::Type type : pc::kAllTypes) {
    ipc::TypeHash t;
    t.type = static_cast<std::uint32_t>(type);
    std::string pairs;
    for (const auto& [ref, r] : have_) {
      if (ref.type != type) continue;
      t.hashes[ref.name] = r.hash;
      pairs += ref.name + '\0' + r.hash + '\n';
    }
    t.root = hash::sha256_hex(pairs);
    have.types.push_back(std::move(t));
  }
  channel_->send(have);
}

bool Client::on_message(const ipc::Received& m) {
  if (m.type != ipc::MessageType::Delta) return false;
  const auto delta = m.as<ipc::Delta>();
  if (!delta) return true;
  std::vector<pc::Resource> set;
  std::vector<pc::Ref> removed;
  for (const auto& i : delta->set) {
    set.push_back({static_cast<pc::Type>(i.type), i.name, i.hash, i.body});
  }
  for (const auto& i : delta->removed) {
    removed.push_back({static_cast<pc::Type>(i.type), i.name});
  }
  run(std::move(set), std::move(removed),
      [this, nonce = delta->nonce, connection = connection_](const std::vector<pc::Refusal>& bad) {
        // A server that came meanwhile asked with Have and knows nothing of this nonce.
        if (!channel_ || connection != connection_) return;
        for (const auto& r : bad) {
          channel_->send(
              ipc::Nack{nonce, static_cast<std::uint32_t>(r.ref.type), r.ref.name, r.reason});
        }
        channel_->send(ipc::Ack{nonce});
      });
  return true;
}

std::vector<pc::Resource> Client::snapshot() const {
  std::vector<pc::Resource> out;
  for (const auto& [ref, r] : have_) out.push_back(r);
  return out;
}

}  // namespace knit::config_stream
