// Who may what, and the sentences of refusals (kubeapi.md 1.4, 1.16).
#include "apiserver/access.h"

#include "apiserver/test_api.h"
#include "pki/vault.h"

namespace knit::apiserver {
namespace {

using namespace test;

User user(std::string name, std::vector<std::string> groups = {}) {
  User u;
  u.name = std::move(name);
  u.groups = std::move(groups);
  return u;
}
Attributes about(std::string_view method, std::string target) {
  http::Request r;
  r.method = method;
  const std::size_t q = target.find('?');
  r.path = target.substr(0, q);
  if (q != std::string::npos) r.query = http::Query(std::string_view(target).substr(q + 1));
  return attributes_of(request_info(r), r.path);
}

TEST(Access, Table) {
  const struct {
    const char* name;
    User who;
    Attributes what;
    bool allowed;
  } rows[] = {
      {"masters", user("a", {"system:masters"}), about("DELETE", "/api/v1/namespaces/x"), true},
      {"anonymous version", user("system:anonymous"), about("GET", "/version"), true},
      {"anonymous health", user("system:anonymous"), about("GET", "/readyz/ping"), true},
      {"anonymous discovery", user("system:anonymous"), about("GET", "/apis"), false},
      {"anonymous pods", user("system:anonymous"), about("GET", "/api/v1/pods"), false},
      {"account discovers", user("system:serviceaccount:d:a"), about("GET", "/apis"), true},
      {"account reviews itself", user("system:serviceaccount:d:a"),
       about("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"), true},
      {"account reads pods", user("system:serviceaccount:d:a"), about("GET", "/api/v1/pods"),
       false},
      {"node reads pods", user("system:knit:node"), about("GET", "/api/v1/pods?watch=1"), true},
      {"node writes pod status", user("system:knit:node"),
       about("PATCH", "/api/v1/namespaces/d/pods/p/status"), true},
      {"node writes deployments", user("system:knit:node"),
       about("PATCH", "/apis/apps/v1/namespaces/d/deployments/x"), false},
      {"node makes tokens", user("system:knit:node"),
       about("POST", "/api/v1/namespaces/d/serviceaccounts/a/token"), true},
      {"node writes secrets", user("system:knit:node"),
       about("POST", "/api/v1/namespaces/d/secrets"), false},
      {"events follows triggers", user("system:knit:events"),
       about("GET", "/apis/eventing.knative.dev/v1/triggers?watch=1"), true},
      {"events tells of channels", user("system:knit:events"),
       about("PATCH", "/apis/messaging.knative.dev/v1/namespaces/n/inmemorychannels/c/status"),
       true},
      {"events writes channels", user("system:knit:events"),
       about("PATCH", "/apis/messaging.knative.dev/v1/namespaces/n/inmemorychannels/c"), false},
      {"events reads secrets", user("system:knit:events"), about("GET", "/api/v1/secrets"), false},
      {"events reads pods", user("system:knit:events"), about("GET", "/api/v1/pods"), false},
      {"proxy does nothing", user("system:knit:proxy"), about("GET", "/api/v1/pods"), false},
      {"a name that only looks like one", user("system:knit:nodes"), about("GET", "/api/v1/pods"),
       false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(authorized(row.who, row.what), row.allowed);
  }
}

TEST(Access, DeniedInUpstreamsWords) {
  EXPECT_EQ(denied(user("u"), about("GET", "/api/v1/namespaces/default/pods")).message,
            "pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\" in the "
            "namespace \"default\"");
  EXPECT_EQ(denied(user("system:anonymous"), about("GET", "/api/v1/pods")).message,
            "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API "
            "group \"\" at the cluster scope");
  EXPECT_EQ(
      denied(user("u"), about("PUT", "/apis/apps/v1/namespaces/d/deployments/x/status")).message,
      "deployments.apps \"x\" is forbidden: User \"u\" cannot update resource "
      "\"deployments/status\" in API group \"apps\" in the namespace \"d\"");
  EXPECT_EQ(denied(user("u"), about("GET", "/apis")).message,
            "forbidden: User \"u\" cannot get path \"/apis\"");
}

TEST(Access, IdentityOfAConnection) {
  const WallTime now{1'767'225'600'000'000'000};
  const SnapshotReader state{store::Snapshot()};
  CertificateUsers certificates;
  const auto who = [&](const http::Peer& peer, const http::Headers& headers) {
    const auto u = authenticate(peer, headers, nullptr, state, now, certificates);
    if (!u) return std::string("401");
    std::string out = u->name;
    for (const auto& g : u->groups) out += " " + g;
    return out;
  };
  EXPECT_EQ(who({.tag = "user:system:knit:node"}, {}),
            "system:knit:node system:knit system:authenticated");
  EXPECT_EQ(who({}, {}), "system:anonymous system:unauthenticated");
  EXPECT_EQ(who({}, {{"Authorization", "Bearer x"}}), "401");
  EXPECT_EQ(who({}, {{"Authorization", "Basic x"}}), "401");
  const auto files = pki::Authority::create({"Knit API", ""}, now);
  ASSERT_TRUE(files);
  const auto authority = pki::Authority::load(*files);
  ASSERT_TRUE(authority);
  const auto client = pki::api_client_certificate(**authority, "jane", {"dev", "ops"}, now);
  ASSERT_TRUE(client);
  EXPECT_EQ(who({.certificate = client->chain_pem}, {}), "jane dev ops system:authenticated");
  EXPECT_EQ(who({.certificate = client->chain_pem}, {}), "jane dev ops system:authenticated");
  EXPECT_EQ(who({.certificate = "garbage"}, {}), "401");
  // More certificates than are remembered: each is itself.
  for (int i = 0; i < 300; ++i) {
    const std::string name = "u" + std::to_string(i);
    const auto other = pki::api_client_certificate(**authority, name, {}, now);
    ASSERT_TRUE(other);
    EXPECT_EQ(who({.certificate = other->chain_pem}, {}), name + " system:authenticated");
  }
  EXPECT_EQ(who({.certificate = client->chain_pem}, {}), "jane dev ops system:authenticated");
}

}  // namespace
}  // namespace knit::apiserver
