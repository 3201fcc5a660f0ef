#include "kube/object.h"

#include <gtest/gtest.h>

#include "kube/resources.h"

namespace knit::kube {
namespace {

TEST(Resource, IsInterned) {
  EXPECT_EQ(Resource::of("pods"), res::pods());
  EXPECT_NE(Resource::of("services"), res::ksvcs());
  EXPECT_EQ(res::ksvcs().plural(), "services");
  EXPECT_EQ(res::ksvcs().group(), "serving.knative.dev");
  EXPECT_EQ(res::pods().group(), "");
  EXPECT_LT(res::deployments(), res::pods());
}

TEST(Object, IndexesMetadata) {
  const Json dom = *json::parse(R"({"kind":"Pod","apiVersion":"v1","metadata":{"uid":"u","name":"p",
      "labels":{"b":"2","a":"1"},"deletionTimestamp":"2026-11-25T00:00:00Z","ownerReferences":[
      {"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"o","controller":true}]}})");
  const Object o(Key{res::pods(), "default", "p"}, 7, dom);
  EXPECT_EQ(o.uid(), "u");
  EXPECT_EQ(o.label("a"), "1");
  EXPECT_EQ(o.label("c"), "");
  ASSERT_NE(o.controller(), nullptr);
  EXPECT_EQ(o.controller()->uid, "o");
  EXPECT_TRUE(o.deleting());
  EXPECT_EQ(o.bytes().rfind(R"({"apiVersion":"v1","kind":"Pod")", 0), 0u);
  const auto again = Object::load(o.key(), 7, o.bytes());
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->labels(), o.labels());
  EXPECT_EQ(to_string(o.key()), "pods default/p");
  EXPECT_FALSE(Object::load(o.key(), 7, "[]"));
  EXPECT_FALSE(Object::load(o.key(), 7, "{"));
}

}  // namespace
}  // namespace knit::kube
