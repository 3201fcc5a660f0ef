// Objects for the store's tests.
#pragma once

#include "kube/resources.h"
#include "store/store.h"

namespace knit::store::test {

inline boost::json::string str(std::string_view s) {
  return boost::json::string(s.data(), s.size());
}

inline kube::Key config_key(const std::string& name, const std::string& ns = "default") {
  return {kube::res::configmaps(), ns, name};
}

inline Json config_map(const kube::Key& key, const std::string& value, JsonObject labels = {}) {
  JsonObject meta{
      {"name", str(key.name)}, {"namespace", str(key.ns)}, {"uid", str("uid-" + key.name)}};
  if (!labels.empty()) meta["labels"] = std::move(labels);
  return JsonObject{{"apiVersion", "v1"},
                    {"kind", "ConfigMap"},
                    {"metadata", std::move(meta)},
                    {"data", JsonObject{{"v", str(value)}}}};
}

inline Mutation put(const kube::Key& key, const std::string& value,
                    std::optional<std::uint64_t> expected = std::nullopt) {
  return {key, expected, config_map(key, value)};
}
inline Mutation drop(const kube::Key& key, std::optional<std::uint64_t> expected = std::nullopt) {
  return {key, expected, std::nullopt};
}

/// Runs at once, on the thread that calls.
inline Executor at_once() {
  return [](std::function<void()> f) { f(); };
}

/// Commits and returns the answer; the store must not have a writer thread.
inline CommitResult commit_now(Store& store, std::vector<Mutation> batch) {
  CommitResult out;
  bool called = false;
  store.commit(std::move(batch), at_once(), [&](CommitResult r) {
    out = std::move(r);
    called = true;
  });
  EXPECT_TRUE(called);
  return out;
}

inline std::string value_of(const ObjectPtr& o) {
  return o ? std::string(json::str(o->parse(), {"data", "v"})) : "-";
}

}  // namespace knit::store::test
