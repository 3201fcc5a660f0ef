// Keeps what proxies should run, and tells a sink what changed.
#pragma once

#include <functional>
#include <map>

#include "controllers/mesh/compile/compile.h"
#include "reconcile/backend.h"

namespace knit::mesh {

struct ConfigDelta {
  std::vector<proxy_config::Resource> set;  // in make-before-break order of types
  std::vector<proxy_config::Ref> removed;   // in the reverse order
};

/// On one loop. The app wires it:
///   Compiler compiler(settings, [&](const ConfigDelta& d) { stream.apply(d); });
///   backend.subscribe([&](const Change& c) { compiler.changed(*backend.snapshot(), c);
///                                            loop.post([&] { compiler.flush(...); }); });
///   compiler.start(*backend.snapshot());
class Compiler {
 public:
  using Sink = std::function<void(const ConfigDelta&)>;
  Compiler(MeshSettings settings, Sink sink)
      : settings_(std::move(settings)), sink_(std::move(sink)) {}

  /// Compiles a whole world, and emits the difference to what was there.
  void start(const World& world);
  /// Marks what a committed change concerns; `world` is the state after it.
  void changed(const World& world, const reconcile::Change& change);
  bool dirty() const { return !dirty_.empty(); }
  /// Compiles what is marked and emits one delta, or nothing when no byte changed.
  void flush(const World& world);

  /// Everything, for a proxy that connects.
  const std::map<proxy_config::Ref, proxy_config::Resource>& current() const { return current_; }

 private:
  MeshSettings settings_;
  Sink sink_;
  std::set<Unit> dirty_;
  std::map<Unit, std::vector<proxy_config::Ref>> made_;  // unit → its resources
  std::map<proxy_config::Ref, proxy_config::Resource> current_;
};

}  // namespace knit::mesh
