// A SimWorld with the core controllers and their admission, for tests.
#pragma once

#include "controllers/core/register.h"
#include "reconcile/sim_world.h"

namespace knit::controllers::core {

struct CoreWorld : reconcile::SimWorld {
  CoreSettings settings;
  explicit CoreWorld(CoreSettings s = {}) : settings(std::move(s)) {
    if (settings.api_root_pem.empty()) settings.api_root_pem = "-----ROOT-----";
    backend.set_admit([this](const World& seen, const Key& key, Json& object, const Json* before) {
      return admit_core(seen, key, object, before, settings);
    });
    register_core(driver, settings);
  }
  /// Also makes the namespace `default`.
  void begin() {
    start();
    make_namespace("default");
  }
  void make_namespace(const std::string& name, const std::string& labels = "{}") {
    const auto made = apply(res::namespaces(),
                            "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\","
                            "\"metadata\":{\"name\":\"" +
                                name + "\",\"labels\":" + labels + "}}");
    KNIT_CHECK(made.has_value());
  }
};

}  // namespace knit::controllers::core
