#include "pki/cert_command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "pki/spiffe.h"

namespace knit::pki {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kNow{1'767'225'600'000'000'000};

class VaultTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "knit-pki-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory = pattern;
    environment = {directory, "apps.example.com", "cluster.local", kNow};
  }
  void TearDown() override { std::filesystem::remove_all(directory); }
  std::string directory;
  CertEnvironment environment;
};

TEST_F(VaultTest, KeepsThreeIndependentRootsInPrivateFiles) {
  const auto vault = Vault::open(directory + "/pki").value();
  const std::string api = vault.api(kNow).value()->root_pem();
  const std::string mesh = vault.mesh("istio-system", kNow).value()->root_pem();
  const std::string second = vault.mesh("other-mesh", kNow).value()->root_pem();
  const std::string apps = vault.apps("apps.example.com", kNow).value()->root_pem();
  EXPECT_EQ((std::set<std::string>{api, mesh, second, apps}).size(), 4u);
  EXPECT_EQ(vault.api(kNow).value()->root_pem(), api);
  EXPECT_EQ(vault.tokens().value()->key_id(), vault.tokens().value()->key_id());
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory + "/pki")) {
    struct stat s{};
    ASSERT_EQ(stat(entry.path().c_str(), &s), 0);
    EXPECT_EQ(s.st_mode & 07777, entry.is_directory() ? 0700u : 0600u) << entry.path();
    files += entry.is_directory() ? 0 : 1;
  }
  EXPECT_EQ(files, 4 * 4 + 1);
}

TEST_F(VaultTest, TheRootKeyCanBeTakenAway) {
  const auto vault = Vault::open(directory + "/pki").value();
  const std::string root = vault.mesh("istio-system", kNow).value()->root_pem();
  const std::string key = directory + "/pki/mesh/istio-system/root.key";
  ASSERT_EQ(rename(key.c_str(), (directory + "/safe").c_str()), 0);
  const auto mesh = vault.mesh("istio-system", kNow);
  ASSERT_TRUE(mesh) << mesh.error().message();
  EXPECT_EQ((*mesh)->root_pem(), root);
  EXPECT_NE(access(key.c_str(), F_OK), 0);
  // The last fifth: renewed with the key, kept without.
  const WallTime late = (*mesh)->intermediate_not_after() - 24h * 100;
  EXPECT_EQ(vault.mesh("istio-system", late).value()->intermediate_not_after(),
            (*mesh)->intermediate_not_after());
  ASSERT_EQ(rename((directory + "/safe").c_str(), key.c_str()), 0);
  EXPECT_GT(vault.mesh("istio-system", late).value()->intermediate_not_after(),
            (*mesh)->intermediate_not_after());
}

TEST_F(VaultTest, RefusesNamesThatAreNoDirectory) {
  const auto vault = Vault::open(directory + "/pki").value();
  for (const char* name : {"", "..", "../x", "a/b", ".hidden"}) {
    EXPECT_FALSE(vault.mesh(name, kNow)) << name;
  }
  EXPECT_FALSE(Vault::open(directory + "/absent/pki"));
}

TEST_F(VaultTest, CertCommandTable) {
  const struct {
    const char* name;
    std::vector<std::string> arguments;
    const char* text;  // part of the output, or of the error
    bool good;
    std::size_t files;
  } rows[] = {
      {"root", {"root"}, "BEGIN CERTIFICATE", true, 0},
      {"wildcard", {"wildcard"}, "name: wildcard-certs\n  namespace: istio-system", true, 0},
      {"wildcard elsewhere", {"wildcard", "--namespace", "mesh", "--name=w"}, "name: w\n", true, 0},
      {"wildcard files", {"wildcard", "--out", "/x"}, "wildcard.key", true, 3},
      {"issue", {"issue", "--sa", "default/default"}, "PRIVATE KEY", true, 0},
      {"issue files", {"issue", "--sa", "default/a", "--out", "/x"}, "sa/a", true, 3},
      {"no verb", {}, "usage", false, 0},
      {"unknown verb", {"bake"}, "usage", false, 0},
      {"unknown option", {"root", "--x", "y"}, "unknown option \"--x\"", false, 0},
      {"missing value", {"issue", "--sa"}, "needs a value", false, 0},
      {"no account", {"issue"}, "NAMESPACE/NAME", false, 0},
      {"bad account", {"issue", "--sa", "a/B"}, "spiffe", false, 0},
      {"bad name", {"wildcard", "--name", "a: b"}, "lower-case", false, 0},
      {"bad mesh", {"issue", "--sa", "a/b", "--mesh", "../api"}, "directory name", false, 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto r = cert_command(row.arguments, environment);
    ASSERT_EQ(r.has_value(), row.good) << (r ? r->text : r.error().message());
    const std::string text = r ? r->text : r.error().message();
    EXPECT_NE(text.find(row.text), std::string::npos) << text;
    if (r) EXPECT_EQ(r->files.size(), row.files);
  }
}

TEST_F(VaultTest, IssuedFilesVerifyAgainstTheMeshRoot) {
  const auto r = cert_command({"issue", "--sa", "default/default", "--out", "/x"}, environment);
  ASSERT_TRUE(r);
  const auto verifier =
      PeerVerifier::create(r->files.at("/x/root-cert.pem"), {"cluster.local"}).value();
  const auto id = verifier->verify(r->files.at("/x/cert-chain.pem"), PeerRole::Client, kNow);
  ASSERT_TRUE(id) << id.error().message();
  EXPECT_EQ(to_string(*id), "spiffe://cluster.local/ns/default/sa/default");
  EXPECT_TRUE(check_key_pair(r->files.at("/x/cert-chain.pem"), r->files.at("/x/key.pem")));
}

}  // namespace
}  // namespace knit::pki
