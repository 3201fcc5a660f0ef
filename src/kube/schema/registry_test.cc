#include <gtest/gtest.h>

#include <set>

#include "kube/schema/schema.h"

namespace knit::schema {
namespace {

TEST(Registry, FindsKinds) {
  const Registry& r = Registry::get();
  const Kind* pod = r.by_plural("", "v1", "pods");
  ASSERT_NE(pod, nullptr);
  EXPECT_EQ(pod->kind, "Pod");
  EXPECT_TRUE(pod->namespaced);
  EXPECT_TRUE(pod->has("log"));
  EXPECT_EQ(r.by_api_version("v1", "Pod"), pod);
  EXPECT_EQ(r.by_resource(kube::Resource::of("pods")), pod);
  EXPECT_EQ(r.by_plural("", "v2", "pods"), nullptr);
  EXPECT_EQ(r.by_plural("", "v1", "po"), nullptr);
  const Kind* gateway = r.by_api_version("networking.istio.io/v1alpha3", "Gateway");
  ASSERT_NE(gateway, nullptr);
  EXPECT_EQ(gateway->storage_version, "v1");
  EXPECT_EQ(gateway->api_version("v1beta1"), "networking.istio.io/v1beta1");
  EXPECT_TRUE(gateway->custom);
}

TEST(Registry, KnowsFields) {
  const Message* spec = Registry::get().message("core.v1.PodSpec");
  ASSERT_NE(spec, nullptr);
  const Field* containers = spec->find("containers");
  ASSERT_NE(containers, nullptr);
  EXPECT_EQ(containers->number, 2);
  EXPECT_EQ(containers->shape, Shape::List);
  EXPECT_EQ(containers->merge_key, "name");
  EXPECT_EQ(containers->message->name, "core.v1.Container");
  const Field* ports = containers->message->find("ports");
  EXPECT_EQ(ports->merge_key, "containerPort");
  EXPECT_EQ(ports->map_keys, "containerPort,protocol");
  EXPECT_EQ(spec->find("nope"), nullptr);
  EXPECT_EQ(Registry::get().message("core.v1.Probe")->find(".ProbeHandler")->inlined, true);
}

// Names that the API and kubectl key on are unique.
TEST(Registry, KindsAreConsistent) {
  std::set<std::string> plurals, kinds, shorts;
  for (const Kind& k : Registry::get().kinds()) {
    SCOPED_TRACE(k.group_resource());
    EXPECT_TRUE(plurals.insert(k.group_resource()).second);
    EXPECT_TRUE(kinds.insert(std::string(k.group) + "/" + std::string(k.kind)).second);
    for (const auto s : k.short_names) {
      // Upstream's own clashes: PodAutoscaler and PeerAuthentication; the two views of events.
      if (s == "pa" || s == "ev") continue;
      EXPECT_TRUE(shorts.insert(std::string(s)).second) << s;
    }
    EXPECT_TRUE(!k.stored || k.message->find("metadata") != nullptr);
    EXPECT_TRUE(k.serves(k.storage_version));
    if (k.support == Support::Refuse || k.support == Support::Warn) EXPECT_FALSE(k.note.empty());
    if (k.has("scale")) EXPECT_FALSE(k.replicas_path.empty());
  }
  EXPECT_GE(kinds.size(), 60u);
}

}  // namespace
}  // namespace knit::schema
