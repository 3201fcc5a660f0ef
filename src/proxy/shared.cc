#include "proxy/shared.h"

namespace knit::proxy {

std::shared_ptr<RevisionGate> Shared::gate(std::string_view revision) {
  const std::lock_guard lock(mutex_);
  const auto it = gates_.find(revision);
  if (it != gates_.end()) return it->second;
  auto gate = std::make_shared<RevisionGate>(std::string(revision));
  gate->set_on_demand([this, name = std::string(revision)] {
    if (demand) demand(name);
  });
  gates_.emplace(std::string(revision), gate);
  return gate;
}
std::vector<std::shared_ptr<RevisionGate>> Shared::gates() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<RevisionGate>> out;
  for (const auto& [name, gate] : gates_) out.push_back(gate);
  return out;
}
void Shared::drop_gate(std::string_view revision) {
  const std::lock_guard lock(mutex_);
  const auto it = gates_.find(revision);
  if (it != gates_.end()) gates_.erase(it);
}

}  // namespace knit::proxy
