#include "events/engine/trace.h"

namespace knit::events {

std::string_view to_string(Step::What what) {
  switch (what) {
    case Step::What::Attempt:
      return "attempt";
    case Step::What::Reply:
      return "reply";
    case Step::What::DeadLetter:
      return "dead letter";
    case Step::What::Waiting:
      return "waiting";
    case Step::What::Parked:
      return "parked";
    case Step::What::Delivered:
      return "delivered";
    case Step::What::DeadLettered:
      return "dead-lettered";
    case Step::What::Undeliverable:
      return "undeliverable";
    case Step::What::Damaged:
      return "damaged";
  }
  return "";
}

Tracer::Entry& Tracer::entry(const std::string& stream, Seq seq) {
  const auto [it, fresh] = entries_.try_emplace(Key{stream, seq});
  if (fresh) {
    it->second.stream = stream;
    it->second.seq = seq;
    order_.push_back(it->first);
    if (order_.size() > max_events_) {
      entries_.erase(order_.front());
      order_.pop_front();
    }
  }
  return it->second;
}

void Tracer::accepted(const std::string& stream, Seq seq, std::string_view id) {
  entry(stream, seq).id = id;
}

void Tracer::step(const std::string& stream, const Step& step, WallTime at) {
  auto& steps = entry(stream, step.seq).steps;
  if (steps.size() >= max_steps_) {
    steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(max_steps_ / 2));
  }
  steps.push_back({at, step});
  if (steps.back().step.text.size() > 512) steps.back().step.text.resize(512);
}

std::vector<const Tracer::Entry*> Tracer::find(std::string_view id) const {
  std::vector<const Entry*> out;
  for (const Key& key : order_) {
    const Entry& e = entries_.at(key);
    if (e.id == id) out.push_back(&e);
  }
  return out;
}

const Tracer::Entry* Tracer::find(const std::string& stream, Seq seq) const {
  const auto it = entries_.find(Key{stream, seq});
  return it == entries_.end() ? nullptr : &it->second;
}

}  // namespace knit::events
