// A cache of one collection that follows the server: list, watch, list again when the history is
// gone or the connection breaks. Handlers see every difference once, also across a new list.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "kube/client.h"

namespace knit::kube {

struct InformerHandlers {
  std::function<void(const ObjectPtr& object)> added;
  std::function<void(const ObjectPtr& before, const ObjectPtr& after)> updated;
  std::function<void(const ObjectPtr& last)> deleted;
  std::function<void()> synced;                    // after the first complete list
  std::function<void(const Error& error)> failed;  // before each pause
};

/// Pauses double from 0.8 s to 30 s and start over after a good watch.
/// Source: client-go tools/cache/reflector.go
class Informer {
 public:
  Informer(io::Loop& loop, Client& client, Resource resource, ListQuery query,
           InformerHandlers handlers);
  ~Informer();
  Informer(const Informer&) = delete;
  Informer& operator=(const Informer&) = delete;

  void start();
  bool synced() const;
  /// nullptr when absent.
  ObjectPtr get(std::string_view ns, std::string_view name) const;
  std::vector<ObjectPtr> list() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
  io::Loop::Scope task_;
};

}  // namespace knit::kube
