// The rules of writes, without HTTP. Sections are those of the API specification.
#include "apiserver/registry.h"

#include "apiserver/test_api.h"

namespace knit::apiserver {
namespace {

using namespace test;

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() {
    store::Options options;
    options.writer_thread = false;
    store = std::move(store::Store::open(options)).value();
    must({.op = Write::Op::Create,
          .key = {kube::res::namespaces(), {}, "default"},
          .body = parse(R"({"kind":"Namespace"})")});
  }
  StageResult stage(Write w, WriteOptions o = as_admin()) {
    Transaction tx(registry, store->head());
    return tx.stage(w, o);
  }
  /// Stages and commits.
  kube::ObjectPtr must(Write w, WriteOptions o = as_admin()) {
    Transaction tx(registry, store->head());
    const StageResult r = tx.stage(w, o);
    EXPECT_TRUE(r.ok()) << (r.failure ? r.failure->message : "");
    kube::ObjectPtr out;
    store->commit(
        tx.take(), [](std::function<void()> f) { f(); },
        [&](store::CommitResult c) {
          EXPECT_TRUE(c.ok());
          if (c.ok() && !c.committed.objects.empty()) out = c.committed.objects.front();
        });
    return out;
  }
  static Write config(Write::Op op, std::string name, std::string_view body) {
    return {.op = op,
            .key = {kube::res::configmaps(), "default", std::move(name)},
            .body = parse(body)};
  }
  static Write pod(std::string name, std::string_view extra_spec = "") {
    return {.op = Write::Op::Create,
            .key = {kube::res::pods(), "default", std::move(name)},
            .body = parse(
                std::string(R"({"kind":"Pod","spec":{"containers":[{"name":"c","image":"i"}])") +
                std::string(extra_spec) + "}}")};
  }
  static std::string at(const kube::ObjectPtr& o, json::Path path) {
    const Json dom = o->parse();
    const Json* v = json::find(dom, path);
    return v == nullptr ? "-" : v->is_string() ? std::string(v->get_string()) : json::print(*v);
  }

  std::unique_ptr<Random> random = seeded_random(1);
  Registry registry{*random};
  std::unique_ptr<store::Store> store;
};

TEST_F(RegistryTest, CreateSetsWhatTheServerOwns) {  // 1.7
  const auto o =
      must(config(Write::Op::Create, "a",
                  R"({"metadata":{"uid":"mine","creationTimestamp":"2001-01-01T00:00:00Z",
                                 "selfLink":"/x","managedFields":[{}]},"data":{"k":"v"}})"));
  EXPECT_EQ(o->uid().size(), 36u);
  EXPECT_EQ(at(o, {"metadata", "creationTimestamp"}), "2026-01-01T00:00:00Z");
  EXPECT_EQ(at(o, {"metadata", "resourceVersion"}), std::to_string(o->version()));
  EXPECT_EQ(at(o, {"metadata", "namespace"}), "default");
  EXPECT_EQ(at(o, {"metadata", "selfLink"}), "-");
  EXPECT_EQ(at(o, {"metadata", "managedFields"}), "-");
  EXPECT_EQ(at(o, {"apiVersion"}), "v1");
}

TEST_F(RegistryTest, RefusalsInUpstreamsWords) {  // 1.4
  must(config(Write::Op::Create, "cm1", R"({"data":{}})"));
  const auto now = store->head().get({kube::res::configmaps(), "default", "cm1"});
  Write elsewhere = config(Write::Op::Create, "x", "{}");
  elsewhere.key.ns = "zz";
  Write absent_delete = config(Write::Op::Delete, "zz", "null");
  Write uid_delete = config(Write::Op::Delete, "cm1", "null");
  uid_delete.remove.uid = "x";
  Write default_delete{.op = Write::Op::Delete, .key = {kube::res::namespaces(), {}, "default"}};
  const struct {
    const char* name;
    Write write;
    int code;
    std::string reason, message;
  } rows[] = {
      {"object missing", config(Write::Op::Merge, "zz", "{}"), 404, "NotFound",
       "configmaps \"zz\" not found"},
      {"namespace missing", elsewhere, 404, "NotFound", "namespaces \"zz\" not found"},
      {"create existing", config(Write::Op::Create, "cm1", "{}"), 409, "AlreadyExists",
       "configmaps \"cm1\" already exists"},
      {"stale version", config(Write::Op::Update, "cm1", R"({"metadata":{"resourceVersion":"1"}})"),
       409, "Conflict",
       "Operation cannot be fulfilled on configmaps \"cm1\": the object has been modified; please "
       "apply your changes to the latest version and try again"},
      {"stale version in a patch",
       config(Write::Op::Merge, "cm1", R"({"metadata":{"resourceVersion":"1"}})"), 409, "Conflict",
       "Operation cannot be fulfilled on configmaps \"cm1\": the object has been modified; please "
       "apply your changes to the latest version and try again"},
      {"uid precondition", uid_delete, 409, "Conflict",
       "Operation cannot be fulfilled on configmaps \"cm1\": the UID in the precondition (x) does "
       "not match the UID in record (" +
           now->uid() + "). The object might have been deleted and then recreated"},
      {"no name", config(Write::Op::Create, "", R"({"data":{}})"), 422, "Invalid",
       "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is "
       "required"},
      {"another name", config(Write::Op::Update, "cm1", R"({"metadata":{"name":"cm2"}})"), 400,
       "BadRequest", "the name of the object (cm2) does not match the name on the URL (cm1)"},
      {"another namespace", config(Write::Op::Create, "x", R"({"metadata":{"namespace":"b"}})"),
       400, "BadRequest",
       "the namespace of the provided object does not match the namespace sent on the request"},
      {"delete of nothing", absent_delete, 404, "NotFound", "configmaps \"zz\" not found"},
      {"default namespace", default_delete, 403, "Forbidden",
       "namespaces \"default\" is forbidden: this namespace may not be deleted"},
      {"json patch test fails",
       config(Write::Op::JsonPatch, "cm1", R"([{"op":"test","path":"/data","value":1}])"), 422,
       "Invalid", "the server rejected our request due to an error in our request"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const StageResult r = stage(row.write);
    ASSERT_TRUE(r.failure);
    EXPECT_EQ(r.failure->code, row.code);
    EXPECT_EQ(r.failure->reason, row.reason);
    EXPECT_EQ(r.failure->message, row.message);
  }
}

TEST_F(RegistryTest, PutWithoutAVersionIsRefusedForCustomResources) {  // 1.4
  Write w{.op = Write::Op::Create,
          .key = {kube::res::ksvcs(), "default", "hello"},
          .body = parse(
              R"({"spec":{"template":{"spec":{"containers":[{"image":"knit.local/hello"}]}}}})")};
  must(w);
  w.op = Write::Op::Update;
  const StageResult r = stage(w);
  ASSERT_TRUE(r.failure);
  EXPECT_EQ(r.failure->code, 422);
  EXPECT_NE(r.failure->message.find(
                "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"),
            std::string::npos)
      << r.failure->message;
}

TEST_F(RegistryTest, AWriteThatChangesNothingHasNoEffect) {  // 0, finding 15
  must(config(Write::Op::Create, "a", R"({"data":{"k":"v"}})"));
  EXPECT_EQ(stage(config(Write::Op::Merge, "a", R"({"data":{"k":"v"}})")).staged.effect,
            Staged::Effect::None);
  EXPECT_EQ(stage(config(Write::Op::Update, "a", R"({"data":{"k":"v"}})")).staged.effect,
            Staged::Effect::None);
  WriteOptions controller = as_admin();
  controller.internal = true;
  EXPECT_EQ(stage(config(Write::Op::Merge, "a", R"({"data":{"k":"v","x":null}})"), controller)
                .staged.effect,
            Staged::Effect::None);
  EXPECT_EQ(
      stage(config(Write::Op::Merge, "a", R"({"data":{"k":null}})"), controller).staged.effect,
      Staged::Effect::Put);
  EXPECT_EQ(stage(config(Write::Op::Merge, "a", R"({"data":{"k":"w"}})")).staged.effect,
            Staged::Effect::Put);
}

TEST_F(RegistryTest, GenerationFollowsTheSpecOnly) {  // 1.7
  const Key key{kube::res::deployments(), "default", "d"};
  must({.op = Write::Op::Create, .key = key, .body = parse(R"({"spec":{"replicas":1,
      "selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},
      "spec":{"containers":[{"name":"c","image":"i"}]}}},"status":{"replicas":9}})")});
  const auto merge = [&](std::string_view body, std::string sub) {
    return must(
        {.op = Write::Op::Merge, .key = key, .body = parse(body), .subresource = std::move(sub)});
  };
  auto o = store->head().get(key);
  EXPECT_EQ(at(o, {"metadata", "generation"}), "1");
  EXPECT_NE(at(o, {"status", "replicas"}), "9") << "create drops status";
  o = merge(R"({"metadata":{"labels":{"x":"y"}}})", "");
  EXPECT_EQ(at(o, {"metadata", "generation"}), "1");
  o = merge(R"({"status":{"replicas":1},"spec":{"replicas":5}})", "status");
  EXPECT_EQ(at(o, {"metadata", "generation"}), "1");
  EXPECT_EQ(at(o, {"spec", "replicas"}), "1") << "/status changes status alone";
  EXPECT_EQ(at(o, {"status", "replicas"}), "1");
  o = merge(R"({"spec":{"replicas":2},"status":{"replicas":7}})", "");
  EXPECT_EQ(at(o, {"metadata", "generation"}), "2");
  EXPECT_EQ(at(o, {"status", "replicas"}), "1") << "the main resource does not change status";
  o = merge(R"({"spec":{"replicas":3}})", "scale");  // 1.12
  EXPECT_EQ(at(o, {"spec", "replicas"}), "3");
  EXPECT_EQ(at(o, {"metadata", "generation"}), "3");
  const StageResult negative = stage({.op = Write::Op::Merge,
                                      .key = key,
                                      .body = parse(R"({"spec":{"replicas":-1}})"),
                                      .subresource = "scale"});
  ASSERT_TRUE(negative.failure);
  EXPECT_EQ(negative.failure->code, 422);
}

TEST_F(RegistryTest, FinalizersHoldAnObject) {  // 1.8
  const Key key{kube::res::configmaps(), "default", "f"};
  must(config(Write::Op::Create, "f", R"({"metadata":{"finalizers":["a/b"]}})"));
  auto o = must(config(Write::Op::Delete, "f", "null"));
  ASSERT_TRUE(o->deleting());
  EXPECT_EQ(at(o, {"metadata", "deletionGracePeriodSeconds"}), "0");
  EXPECT_EQ(stage(config(Write::Op::Delete, "f", "null")).staged.effect, Staged::Effect::None)
      << "repeated DELETE is idempotent";
  const StageResult more =
      stage(config(Write::Op::Merge, "f", R"({"metadata":{"finalizers":["a/b","c/d"]}})"));
  ASSERT_TRUE(more.failure);
  EXPECT_EQ(more.failure->code, 422);
  EXPECT_NE(more.failure->message.find("no new finalizers can be added if the object is being "
                                       "deleted, found new finalizers []string{\"c/d\"}"),
            std::string::npos);
  EXPECT_EQ(stage(config(Write::Op::Merge, "f", R"({"metadata":{"deletionTimestamp":null}})"))
                .staged.effect,
            Staged::Effect::None)
      << "deletionTimestamp is immutable";
  must(config(Write::Op::Merge, "f", R"({"metadata":{"finalizers":null}})"));
  EXPECT_EQ(store->head().get(key), nullptr) << "the last finalizer's removal deletes";
}

TEST_F(RegistryTest, PropagationIsAFinalizer) {  // 1.8
  for (const auto& [policy, finalizer] :
       {std::pair{"Foreground", "foregroundDeletion"}, std::pair{"Orphan", "orphan"}}) {
    must(config(Write::Op::Create, policy == std::string("Orphan") ? "o" : "f", "{}"));
    Write w = config(Write::Op::Delete, policy == std::string("Orphan") ? "o" : "f", "null");
    w.remove.propagation = policy;
    const auto o = must(w);
    EXPECT_TRUE(o->deleting());
    EXPECT_EQ(at(o, {"metadata", "finalizers"}), std::string("[\"") + finalizer + "\"]");
  }
}

TEST_F(RegistryTest, PodsGoGracefully) {  // 1.8
  must(pod("unscheduled"));
  EXPECT_EQ(stage({.op = Write::Op::Delete, .key = {kube::res::pods(), "default", "unscheduled"}})
                .staged.effect,
            Staged::Effect::Remove);
  const Key key{kube::res::pods(), "default", "p"};
  must(pod("p", R"(,"nodeName":"knit","terminationGracePeriodSeconds":30)"));
  auto o = must({.op = Write::Op::Delete, .key = key});
  EXPECT_EQ(at(o, {"metadata", "deletionTimestamp"}), "2026-01-01T00:00:30Z");
  EXPECT_EQ(at(o, {"metadata", "deletionGracePeriodSeconds"}), "30");
  Write longer{.op = Write::Op::Delete, .key = key};
  longer.remove.grace = 60;
  EXPECT_EQ(stage(longer).staged.effect, Staged::Effect::None) << "can only shorten";
  Write shorter{.op = Write::Op::Delete, .key = key};
  shorter.remove.grace = 5;
  o = must(shorter);
  EXPECT_EQ(at(o, {"metadata", "deletionTimestamp"}), "2026-01-01T00:00:05Z");
  Write now{.op = Write::Op::Delete, .key = key};
  now.remove.grace = 0;  // what the node does last
  must(now);
  EXPECT_EQ(store->head().get(key), nullptr);
}

TEST_F(RegistryTest, NamespacesWaitForTheirContent) {  // 1.8
  const Key key{kube::res::namespaces(), {}, "n"};
  must({.op = Write::Op::Create, .key = key, .body = parse("{}")});
  auto o = must({.op = Write::Op::Delete, .key = key});
  EXPECT_EQ(at(o, {"status", "phase"}), "Terminating");
  Write inside = config(Write::Op::Create, "x", "{}");
  inside.key.ns = "n";
  const StageResult r = stage(inside);
  ASSERT_TRUE(r.failure);
  EXPECT_EQ(r.failure->code, 403);
  EXPECT_EQ(r.failure->message,
            "configmaps \"x\" is forbidden: unable to create new content in namespace n because it "
            "is being terminated");
  EXPECT_EQ(json::str(r.failure->details.at("causes").at(0), {"reason"}), "NamespaceTerminating");
  must({.op = Write::Op::Update,
        .key = key,
        .body = parse(R"({"spec":{"finalizers":[]}})"),
        .subresource = "finalize"});
  EXPECT_EQ(store->head().get(key), nullptr);
}

TEST_F(RegistryTest, GeneratedNamesAreTriedAgain) {  // 1.7
  const StageResult r =
      stage(config(Write::Op::Create, "", R"({"metadata":{"generateName":"g-"}})"));
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r.staged.key.name.size(), 7u);
  const std::string longest(70, 'a');
  const StageResult cut =
      stage(config(Write::Op::Create, "", R"({"metadata":{"generateName":")" + longest + R"("}})"));
  ASSERT_TRUE(cut.ok());
  EXPECT_EQ(cut.staged.key.name.size(), 63u);
}

TEST_F(RegistryTest, SeveralWritesAreOneCommit) {
  Transaction tx(registry, store->head());
  ASSERT_TRUE(tx.stage(config(Write::Op::Create, "a", R"({"data":{"k":"1"}})"), as_admin()).ok());
  ASSERT_TRUE(tx.stage(config(Write::Op::Merge, "a", R"({"data":{"k":"2"}})"), as_admin()).ok());
  ASSERT_TRUE(tx.stage(config(Write::Op::Create, "b", "{}"), as_admin()).ok());
  ASSERT_TRUE(tx.stage(config(Write::Op::Create, "c", "{}"), as_admin()).ok());
  ASSERT_TRUE(tx.stage(config(Write::Op::Delete, "c", "null"), as_admin()).ok());
  EXPECT_FALSE(tx.stage(config(Write::Op::Create, "a", "{}"), as_admin()).ok())
      << "each write sees those before it";
  EXPECT_EQ(tx.list(kube::res::configmaps(), "default").size(), 2u);
  auto batch = tx.take();
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].expected, 0u);
  EXPECT_EQ(json::str(*batch[0].object, {"data", "k"}), "2");
}

TEST_F(RegistryTest, AdmissionChangesAndRefuses) {
  registry.add_mutator("label",
                       [](const AdmissionRequest& r, Json& object,
                          std::vector<std::string>& warnings) -> std::optional<Status> {
                         if (r.operation == schema::Operation::Create) {
                           json::set(object, {"metadata", "labels", "by"}, "mutator");
                           warnings.push_back("labelled");
                         }
                         return std::nullopt;
                       });
  registry.add_validator("no-secrets",
                         [](const AdmissionRequest& r, const Json&,
                            std::vector<std::string>&) -> std::optional<Status> {
                           if (r.kind.resource != kube::res::secrets()) return std::nullopt;
                           return forbidden_status(r.kind, r.key.name, "not here");
                         });
  const StageResult r = stage(config(Write::Op::Create, "a", "{}"));
  EXPECT_EQ(json::str(r.staged.object, {"metadata", "labels", "by"}), "mutator");
  EXPECT_EQ(r.warnings, std::vector<std::string>{"labelled"});
  const StageResult refused = stage({.op = Write::Op::Create,
                                     .key = {kube::res::secrets(), "default", "s"},
                                     .body = parse("{}")});
  ASSERT_TRUE(refused.failure);
  EXPECT_EQ(refused.failure->message, "secrets \"s\" is forbidden: not here");
}

}  // namespace
}  // namespace knit::apiserver
