// A client that lists everything and watches it, as `kubectl get -w` does: when its connection or
// the server goes, it reads on from the last number it saw.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "io/loop.h"
#include "reconcile/world.h"
#include "store/store.h"

namespace knit::world {

class Reader {
 public:
  Reader(io::Loop& loop, std::function<void(std::string)> violation)
      : loop_(loop), violation_(std::move(violation)) {}

  /// `store` outlives disconnect().
  void connect(store::Store& store);
  void disconnect();
  /// What it has gathered is what is there.
  void check(const reconcile::World& state, const std::string& when) const;

 private:
  void list(const store::Snapshot& snapshot);
  void drain();
  io::Loop& loop_;
  std::function<void(std::string)> violation_;
  std::map<kube::Key, std::uint64_t> seen_;  // with the version seen last
  std::uint64_t at_ = 0;
  std::shared_ptr<store::Subscription> watch_;
};

}  // namespace knit::world
