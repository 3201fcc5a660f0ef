#include "config_stream/server.h"

#include <algorithm>

#include "base/hash.h"

namespace knit::config_stream {
namespace {
namespace pc = proxy_config;
constexpr std::size_t kDeltaBytes = 4 << 20;  // one delta; more follow when it is acknowledged
}  // namespace

std::string hash_of(std::string_view body) { return hash::sha256_hex(body); }

void Server::set(pc::Resource r) {
  if (r.hash.empty()) r.hash = hash_of(r.body);
  pc::Ref ref{r.type, r.name};
  current_.insert_or_assign(std::move(ref), std::move(r));
}
void Server::remove(const pc::Ref& ref) { current_.erase(ref); }

void Server::replace(std::vector<pc::Resource> all) {
  current_.clear();
  for (auto& r : all) set(std::move(r));
}

const pc::Resource* Server::find(const pc::Ref& ref) const {
  const auto it = current_.find(ref);
  return it == current_.end() ? nullptr : &it->second;
}

void Server::connect(ipc::Channel& channel) {
  channel_ = &channel;
  greeted_ = false;
  in_flight_.reset();
  there_.clear();
}
void Server::disconnect() {
  channel_ = nullptr;
  greeted_ = false;
  in_flight_.reset();
}

bool Server::on_message(const ipc::Received& m) {
  switch (m.type) {
    case ipc::MessageType::Have:
      if (const auto have = m.as<ipc::Have>()) on_have(*have);
      return true;
    case ipc::MessageType::Ack:
      if (const auto ack = m.as<ipc::Ack>()) on_ack(*ack);
      return true;
    case ipc::MessageType::Nack:
      if (const auto nack = m.as<ipc::Nack>()) on_nack(*nack);
      return true;
    default:
      return false;
  }
}

void Server::on_have(const ipc::Have& have) {
  there_.clear();
  for (const auto& type : have.types) {
    for (const auto& [name, hash] : type.hashes) {
      there_[{static_cast<pc::Type>(type.type), name}] = hash;
    }
  }
  greeted_ = true;
  in_flight_.reset();
  flush();
}

/// Sets in the order of kAllTypes, so that nothing refers to what is not there; then removals, the
/// other way round.
std::optional<ipc::Delta> Server::next_delta() const {
  ipc::Delta d;
  std::size_t bytes = 0;
  for (const auto& [ref, r] : current_) {  // Ref sorts by type first
    const auto there = there_.find(ref);
    if (there != there_.end() && there->second == r.hash) continue;
    const auto refused = refused_.find(ref);
    if (refused != refused_.end() && refused->second == r.hash) continue;
    if (bytes > kDeltaBytes) return d;
    bytes += r.body.size() + r.name.size() + 100;
    d.set.push_back({static_cast<std::uint32_t>(r.type), r.name, r.hash, r.body});
  }
  for (auto it = there_.rbegin(); it != there_.rend(); ++it) {
    if (current_.contains(it->first)) continue;
    d.removed.push_back({static_cast<std::uint32_t>(it->first.type), it->first.name, {}, {}});
  }
  if (d.set.empty() && d.removed.empty()) return std::nullopt;
  return d;
}

void Server::flush() {
  if (!channel_ || channel_->closed() || !greeted_ || filling_ || in_flight_) return;
  in_flight_ = next_delta();
  if (!in_flight_) {
    if (hooks_.synced) hooks_.synced();
    return;
  }
  in_flight_->nonce = ++nonce_;
  channel_->send(*in_flight_);
}

void Server::on_nack(const ipc::Nack& nack) {
  if (!in_flight_ || nack.nonce != in_flight_->nonce) return;
  const pc::Ref ref{static_cast<pc::Type>(nack.type), nack.name};
  for (auto it = in_flight_->set.begin(); it != in_flight_->set.end(); ++it) {
    if (it->type != nack.type || it->name != nack.name) continue;
    refused_[ref] = it->hash;
    in_flight_->set.erase(it);
    if (hooks_.refused) hooks_.refused({ref, nack.reason});
    return;
  }
}

void Server::on_ack(const ipc::Ack& ack) {
  if (!in_flight_ || ack.nonce != in_flight_->nonce) return;
  for (const auto& item : in_flight_->set) {
    const pc::Ref ref{static_cast<pc::Type>(item.type), item.name};
    there_[ref] = item.hash;
    refused_.erase(ref);
  }
  for (const auto& item : in_flight_->removed) {
    const pc::Ref ref{static_cast<pc::Type>(item.type), item.name};
    there_.erase(ref);
    refused_.erase(ref);
  }
  in_flight_.reset();
  flush();
}

bool Server::synced() const { return greeted_ && !filling_ && !in_flight_ && !next_delta(); }

}  // namespace knit::config_stream
