#include "reconcile/backend.h"

namespace knit::reconcile {

Json Signals::get(Signal kind, const Key& key) const {
  const auto it = values_.find({kind, key});
  return it == values_.end() ? Json() : it->second;
}

void Signals::set(Signal kind, const Key& key, Json value) {
  const std::pair<Signal, Key> id{kind, key};
  const auto it = values_.find(id);
  if (value.is_null()) {
    if (it == values_.end()) return;
    values_.erase(it);
  } else if (it == values_.end()) {
    values_.emplace(id, std::move(value));
  } else {
    if (it->second == value) return;
    it->second = std::move(value);
  }
  for (std::size_t i = 0; i < listeners_.size(); ++i) listeners_[i](kind, id.second);
}

void Signals::subscribe(std::function<void(Signal, const Key&)> listener) {
  listeners_.push_back(std::move(listener));
}

}  // namespace knit::reconcile
