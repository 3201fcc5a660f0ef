// Walks every field of every kind: each is effective, inert, warned about or refused, and does what
// it says when it is set.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "kube/schema/schema.h"

namespace knit::schema {
namespace {

/// A value of the field's type that is neither empty nor one of the harmless ones.
Json sample(const Field& f, Json inner) {
  Json one;
  switch (f.type) {
    case Type::Int32:
    case Type::Int64:
    case Type::IntOrString:
      one = 7;
      break;
    case Type::Bool:
      // For a field whose `true` is fine, false is the value that matters.
      one = !(f.harmless == "true" && f.pointer);
      break;
    case Type::Double:
      one = 1.5;
      break;
    case Type::Raw:
    case Type::FieldsV1:
    case Type::StringMap:
    case Type::Any:
      one = JsonObject{{"a", "b"}};
      break;
    case Type::Strings:
      one = JsonArray{"a"};
      break;
    case Type::Message:
    case Type::SchemaOrArray:
    case Type::SchemaOrBool:
    case Type::SchemaOrStrings:
      one = std::move(inner);
      break;
    default:
      one = "some-value";
  }
  if (f.shape == Shape::List) return JsonArray{std::move(one)};
  if (f.shape == Shape::Map) return JsonObject{{"key", std::move(one)}};
  return one;
}

struct Found {
  int effective = 0, inert = 0, warn = 0, refuse = 0;
};

class Walker {
 public:
  Walker(const Kind& kind, Found& found) : kind_(kind), found_(found) {}

  void message(const Message& m, const std::string& path, const std::function<Json(Json)>& wrap) {
    if (!open_.insert(&m).second) return;
    for (const Field& f : m.fields) {
      if (f.inlined) {
        message(*f.message, path, wrap);
        continue;
      }
      if (path.empty() && (f.name == "apiVersion" || f.name == "kind" || f.name == "metadata" ||
                           f.name == "status")) {
        continue;
      }
      field(f, path, wrap);
    }
    open_.erase(&m);
  }

 private:
  void field(const Field& f, const std::string& path, const std::function<Json(Json)>& wrap) {
    const std::string here = path.empty() ? std::string(f.name) : path + "." + std::string(f.name);
    const auto around = [&](Json inner) {
      return wrap(Json(JsonObject{{f.name, std::move(inner)}}));
    };
    const Json object = around(sample(f, Json(JsonObject{{"x", "y"}})));
    const Verdict v = check_support(kind_, object, nullptr, {});
    const auto names = [&](const std::string& text) { return text.find(here) == 0; };
    bool warned = false;
    for (const auto& w : v.warnings) warned = warned || names(w);
    bool refused = false;
    if (v.failure) {
      for (const auto& c : v.failure->causes) refused = refused || names(to_string(c));
    }
    SCOPED_TRACE(std::string(kind_.kind) + " " + here + " " + json::print(object));
    switch (f.support) {
      case Support::Effective:
        ++found_.effective;
        EXPECT_FALSE(warned || (refused && f.type != Type::Message));
        break;
      case Support::Inert:
        ++found_.inert;
        EXPECT_FALSE(warned || refused);
        break;
      case Support::Warn:
        ++found_.warn;
        EXPECT_TRUE(warned);
        break;
      case Support::Refuse:
        ++found_.refuse;
        EXPECT_TRUE(refused);
        EXPECT_EQ(v.failure ? v.failure->code : 0, 422);
        break;
    }
    if (f.type != Type::Message || f.support != Support::Effective) return;
    const std::string inside = here + (f.shape == Shape::List  ? "[0]"
                                       : f.shape == Shape::Map ? ".key"
                                                               : "");
    message(*f.message, inside, [&](Json inner) { return around(sample(f, std::move(inner))); });
  }

  const Kind& kind_;
  Found& found_;
  std::set<const Message*> open_;
};

TEST(Support, EveryFieldDoesWhatItsColumnSays) {
  Found found;
  for (const Kind& k : Registry::get().kinds()) {
    if (!k.stored || k.support == Support::Refuse || k.kind == "CustomResourceDefinition") continue;
    Walker(k, found).message(*k.message, {}, [](Json inner) { return inner; });
  }
  EXPECT_GT(found.effective, 500);
  EXPECT_GT(found.warn, 20);
  EXPECT_GT(found.refuse, 50);
  EXPECT_GT(found.inert, 10);
}

// Nothing that promises security is silently without effect: such fields are effective, refused, or
// say why they are inert.
TEST(Support, SecurityFieldsAreNeverMerelyWarned) {
  for (const std::string_view name :
       {"core.v1.PodSecurityContext", "core.v1.SecurityContext", "core.v1.SeccompProfile",
        "istio.networking.ServerTLSSettings", "istio.security.PeerAuthentication",
        "istio.security.PeerAuthentication_MutualTLS", "maistra.Security", "maistra.Trust",
        "maistra.DataPlaneSecurity", "maistra.ControlPlaneTLS", "openshift.RouteTLS"}) {
    const Message* m = Registry::get().message(name);
    ASSERT_NE(m, nullptr) << name;
    for (const Field& f : m->fields) {
      EXPECT_NE(f.support, Support::Warn) << name << "." << f.name;
      if (f.support == Support::Refuse) EXPECT_FALSE(f.name.empty());
    }
  }
}

TEST(Support, OnlyChangesAreJudged) {
  const Kind& k = *Registry::get().by_api_version("v1", "Pod");
  Json pod = *json::parse(
      R"({"metadata":{"name":"a"},"spec":{"hostNetwork":true,"containers":[{"name":"c"}]}})");
  EXPECT_FALSE(check_support(k, pod, nullptr, {}).ok());
  EXPECT_TRUE(check_support(k, pod, &pod, {.operation = Operation::Update}).ok());
  EXPECT_TRUE(check_support(k, pod, nullptr, {.internal = true}).ok());
  Json next = pod;
  json::set(next, {"spec", "hostPID"}, true);
  const Verdict v = check_support(k, next, &pod, {.operation = Operation::Update});
  ASSERT_FALSE(v.ok());
  EXPECT_EQ(v.failure->causes.size(), 1u);
}

TEST(Support, MarkdownNamesEveryKind) {
  const std::string text = support_markdown();
  for (const Kind& k : Registry::get().kinds()) {
    if (k.stored) {
      EXPECT_NE(text.find("| " + std::string(k.kind) + " | " + k.api_version() + " | "),
                std::string::npos);
    }
  }
}

TEST(Support, DocumentIsUpToDate) {
  std::ifstream in("docs/support.md");
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_TRUE(text.str() == support_markdown())
      << "run: ninja knit_support_md && src/kube/schema/knit_support_md > docs/support.md";
}

}  // namespace
}  // namespace knit::schema
