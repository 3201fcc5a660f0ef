#include "events/filter/matcher.h"

#include <algorithm>

namespace knit::events {

Matcher::Matcher(std::vector<std::shared_ptr<const Filter>> filters)
    : filters_(std::move(filters)) {
  for (std::uint32_t i = 0; i < filters_.size(); ++i) {
    if (filters_[i] == nullptr) continue;
    if (const auto& types = filters_[i]->types()) {
      for (const std::string& type : *types) add(by_type_[type], i);
    } else {
      add(any_type_, i);
    }
  }
}

void Matcher::add(Bucket& bucket, std::uint32_t number) {
  if (const auto& sources = filters_[number]->sources()) {
    for (const std::string& source : *sources) bucket.by_source[source].push_back(number);
  } else {
    bucket.any_source.push_back(number);
  }
}

template <class F>
void Matcher::visit(const Event& event, F f) const {
  const auto bucket = [&](const Bucket& b) {
    for (const std::uint32_t n : b.any_source) f(n);
    if (b.by_source.empty()) return;
    const auto it = b.by_source.find(std::string_view(event.source));
    if (it == b.by_source.end()) return;
    for (const std::uint32_t n : it->second) f(n);
  };
  bucket(any_type_);
  if (by_type_.empty()) return;
  const auto it = by_type_.find(std::string_view(event.type));
  if (it != by_type_.end()) bucket(it->second);
}

void Matcher::match(const Event& event, std::vector<std::uint32_t>& out) const {
  out.clear();
  visit(event, [&](std::uint32_t n) {
    if (filters_[n]->exact_only() || filters_[n]->matches(event)) out.push_back(n);
  });
  std::sort(out.begin(), out.end());
}

std::size_t Matcher::candidates(const Event& event) const {
  std::size_t n = 0;
  visit(event, [&](std::uint32_t number) { n += filters_[number]->exact_only() ? 0 : 1; });
  return n;
}

}  // namespace knit::events
