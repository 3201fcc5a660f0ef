// What happened to recent events, in memory and bounded; what it has forgotten is still in the log,
// but for the single tries.
#pragma once

#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "events/delivery/dispatcher.h"

namespace knit::events {

std::string_view to_string(Step::What what);

class Tracer {
 public:
  struct Taken {
    WallTime at;
    Step step;
  };
  struct Entry {
    std::string stream;  // "broker ns/name"
    Seq seq = 0;
    std::string id;  // of the event; empty: accepted before this tracer looked
    std::vector<Taken> steps;
  };

  /// At most so many events, and steps of each (the first and the latest are kept).
  explicit Tracer(std::size_t max_events = 10'000, std::size_t max_steps = 64)
      : max_events_(max_events), max_steps_(max_steps) {}

  void accepted(const std::string& stream, Seq seq, std::string_view id);
  void step(const std::string& stream, const Step& step, WallTime at);
  /// In the order in which they came.
  std::vector<const Entry*> find(std::string_view id) const;
  const Entry* find(const std::string& stream, Seq seq) const;
  std::size_t size() const { return entries_.size(); }

 private:
  struct Key {
    std::string stream;
    Seq seq = 0;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& k) const {
      return std::hash<std::string>()(k.stream) ^ (std::hash<Seq>()(k.seq) * 0x9e3779b97f4a7c15u);
    }
  };
  Entry& entry(const std::string& stream, Seq seq);

  std::size_t max_events_, max_steps_;
  std::unordered_map<Key, Entry, Hash> entries_;
  std::deque<Key> order_;
};

}  // namespace knit::events
