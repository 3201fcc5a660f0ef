#include "pki/authority.h"

#include <openssl/pem.h>

#include "pki/openssl.h"
#include "pki/secrets.h"
#include "pki/vault.h"

namespace knit::pki {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kNow{1'767'225'600'000'000'000};  // 2026-01-01
constexpr Duration kDay = 24h;

std::shared_ptr<const Authority> make(const char* domain = "") {
  return Authority::load(Authority::create({"Test", domain}, kNow).value()).value();
}

TEST(Authority, IssuesWhatItIsToldAndNotWhatTheRequestSays) {
  const auto ca = make();
  const std::string key = new_key();
  // A request that asks to be an administrator and a CA.
  const KeyPtr raw = key_from_pem(key).value();
  const RequestPtr request(X509_REQ_new());
  X509_REQ_set_pubkey(request.get(), raw.get());
  X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request.get()), "O", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("system:masters"), -1, -1, 0);
  STACK_OF(X509_EXTENSION)* wishes = sk_X509_EXTENSION_new_null();
  sk_X509_EXTENSION_push(
      wishes, X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE"));
  sk_X509_EXTENSION_push(
      wishes, X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:evil.test"));
  X509_REQ_add_extensions(request.get(), wishes);
  sk_X509_EXTENSION_pop_free(wishes, X509_EXTENSION_free);
  X509_REQ_sign(request.get(), raw.get(), EVP_sha256());
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), request.get());

  LeafSpec spec;
  spec.common_name = "alice";
  spec.organizations = {"dev", "ops"};
  spec.dns_names = {"a.test"};
  spec.ip_addresses = {"10.0.0.1", "::1"};
  spec.client = true;
  spec.lifetime = kDay;
  const std::string chain = ca->issue(bio_text(bio.get()), spec, kNow).value();
  const auto info = parse_certificates(chain).value();
  ASSERT_EQ(info.size(), 2u);
  EXPECT_EQ(info[0].common_name, "alice");
  EXPECT_EQ(info[0].organizations, (std::vector<std::string>{"dev", "ops"}));
  EXPECT_EQ(info[0].dns_names, std::vector<std::string>{"a.test"});
  EXPECT_EQ(info[0].ip_addresses, (std::vector<std::string>{"10.0.0.1", "::1"}));
  EXPECT_FALSE(info[0].is_ca);
  EXPECT_TRUE(info[1].is_ca);
  EXPECT_EQ(info[0].not_before, kNow - 2min);
  EXPECT_EQ(info[0].not_after, kNow + kDay);
  EXPECT_EQ(info[0].key, "ECDSA P-256");
  EXPECT_TRUE(check_key_pair(chain, key));
  EXPECT_TRUE(check_chain(chain, ca->root_pem(), kNow));
  EXPECT_FALSE(check_chain(chain, ca->root_pem(), kNow + kDay + 1s));
  EXPECT_FALSE(check_chain(chain, make()->root_pem(), kNow));
}

TEST(Authority, RefusesBadRequestsByName) {
  const auto ca = make();
  LeafSpec spec;
  spec.server = true;
  spec.lifetime = kDay;
  std::string tampered = make_csr(new_key()).value();
  // Flip a bit of the signature: the last base64 line but one.
  const auto at = tampered.rfind("\n-----END") - 6;
  tampered[at] = tampered[at] == 'A' ? 'B' : 'A';
  EVP_PKEY* weak = nullptr;
  const KeyCtxPtr rsa(EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, nullptr));
  EVP_PKEY_keygen_init(rsa.get());
  EVP_PKEY_CTX_set_rsa_keygen_bits(rsa.get(), 1024);
  EVP_PKEY_keygen(rsa.get(), &weak);
  const KeyPtr weak_owner(weak);
  const struct {
    const char* name;
    std::string csr;
    const char* message;
  } rows[] = {
      {"empty", "", "not PEM"},
      {"junk", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
       "not PEM"},
      {"large", std::string(17 << 10, 'x'), "16 KiB"},
      {"tampered", tampered, "not signed by its own key"},
      {"weak", make_csr(key_to_pem(weak)).value(), "RSA 2048"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto r = ca->issue(row.csr, spec, kNow);
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message().find(row.message), std::string::npos) << r.error().message();
  }
  EXPECT_EQ(ca->issue(make_csr(new_key()).value(), spec, kNow + 6 * 365 * kDay).error().code(),
            Code::Expired);
}

TEST(Authority, NeverOutlivesItsIntermediate) {
  const auto ca = make();
  LeafSpec spec;
  spec.server = true;
  spec.lifetime = 365 * kDay;
  const WallTime late = ca->intermediate_not_after() - kDay;
  const auto info = parse_certificates(ca->issue_with_key(spec, late).value().chain_pem).value();
  EXPECT_EQ(info[0].not_after, ca->intermediate_not_after());
}

TEST(Authority, NameConstraintsHoldTheAppsRootToItsDomain) {
  const auto ca = make("apps.example.com");
  const struct {
    const char* name;
    std::vector<std::string> dns, ips;
    bool good;
  } rows[] = {
      {"wildcard", {"*.apps.example.com", "apps.example.com"}, {}, true},
      {"host", {"hello-default.apps.example.com"}, {}, true},
      {"another domain", {"bank.example.com"}, {}, false},
      {"suffix without dot", {"evilapps.example.com"}, {}, false},
      {"address", {"a.apps.example.com"}, {"10.0.0.1"}, false},
      {"v6 address", {"a.apps.example.com"}, {"::1"}, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    LeafSpec spec;
    spec.dns_names = row.dns;
    spec.ip_addresses = row.ips;
    spec.server = true;
    spec.lifetime = kDay;
    const auto leaf = ca->issue_with_key(spec, kNow).value();
    EXPECT_EQ(check_chain(leaf.chain_pem, ca->root_pem(), kNow).has_value(), row.good);
  }
  EXPECT_FALSE(Authority::create({"Test", "UPPER.example"}, kNow));
}

TEST(Authority, RenewsTheIntermediateOnlyWithTheRootKey) {
  const Authority::Spec spec{"Test", ""};
  auto files = Authority::create(spec, kNow).value();
  const auto before = Authority::load(files).value();
  auto renewed = Authority::renew_intermediate(spec, files, kNow + 1000 * kDay).value();
  const auto after = Authority::load(renewed).value();
  EXPECT_EQ(before->root_pem(), after->root_pem());
  EXPECT_GT(after->intermediate_not_after(), before->intermediate_not_after());
  files.root_key_pem.clear();
  EXPECT_TRUE(Authority::load(files));
  EXPECT_EQ(Authority::renew_intermediate(spec, files, kNow).error().code(), Code::Unavailable);
}

TEST(ApiCertificates, HaveTheNamesThatClientsUse) {
  const auto ca = make();
  const auto server = api_server_certificate(*ca, {"knit", "192.0.2.7"}, kNow).value();
  const auto info = parse_certificates(server.chain_pem).value()[0];
  for (const char* name : {"kubernetes.default.svc", "localhost", "knit", "127.0.0.1", "192.0.2.7",
                           "kubernetes.default.svc.cluster.local", "::1"}) {
    EXPECT_TRUE(covers_host(info, name)) << name;
  }
  EXPECT_FALSE(covers_host(info, "example.com"));
  const auto admin =
      parse_certificates(
          api_client_certificate(*ca, "admin", {"system:masters"}, kNow).value().chain_pem)
          .value()[0];
  EXPECT_EQ(admin.common_name, "admin");
  EXPECT_EQ(admin.organizations, std::vector<std::string>{"system:masters"});
}

TEST(NameMatches, Table) {
  const struct {
    const char *pattern, *host;
    bool matches;
  } rows[] = {
      {"a.test", "A.TEST", true}, {"a.test", "a.test.", true},
      {"*.test", "a.test", true}, {"*.test", "a.b.test", false},
      {"*.test", "test", false},  {"*.test", ".test", false},
      {"*", "a", false},          {"b.test", "a.test", false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(name_matches(row.pattern, row.host), row.matches) << row.pattern << " " << row.host;
  }
}

TEST(Secrets, MaterialTable) {
  const auto ca = make("apps.example.com");
  const auto good = wildcard_certificate(*ca, "apps.example.com", kNow).value();
  const auto other = wildcard_certificate(*ca, "apps.example.com", kNow).value();
  const auto secret = [](JsonObject data) { return Json(JsonObject{{"stringData", data}}); };
  const struct {
    const char* name;
    Json secret;
    const char* message;  // empty: good
  } rows[] = {
      {"tls", tls_secret("istio-system", "w", good), ""},
      {"generic", secret({{"cert", good.chain_pem}, {"key", good.key_pem}}), ""},
      {"with CA",
       secret({{"tls.crt", good.chain_pem}, {"tls.key", good.key_pem}, {"ca.crt", ca->root_pem()}}),
       ""},
      {"empty", JsonObject{}, "neither"},
      {"no key", secret({{"tls.crt", good.chain_pem}}), "data[\"tls.key\"] is missing"},
      {"mismatch", secret({{"tls.crt", good.chain_pem}, {"tls.key", other.key_pem}}),
       "does not belong"},
      {"not PEM", secret({{"tls.crt", "x"}, {"tls.key", good.key_pem}}), "no PEM certificate"},
      {"bad CA", secret({{"cert", good.chain_pem}, {"key", good.key_pem}, {"cacert", "x"}}),
       "data[\"cacert\"]"},
      {"not base64", JsonObject{{"data", JsonObject{{"tls.crt", "!!!"}}}}, "not base64"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto r = tls_material(row.secret);
    EXPECT_EQ(r.has_value(), *row.message == '\0');
    if (!r)
      EXPECT_NE(r.error().message().find(row.message), std::string::npos) << r.error().message();
  }
}

}  // namespace
}  // namespace knit::pki
