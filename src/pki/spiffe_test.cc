#include "pki/spiffe.h"

#include "pki/openssl.h"

namespace knit::pki {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kNow{1'767'225'600'000'000'000};
constexpr Duration kDay = 24h;

/// Certificates that Authority refuses to make.
struct Made {
  KeyPtr key;
  X509Ptr x;
  std::string pem() const { return certificate_to_pem(x.get()); }
};
struct Wish {
  Duration from = -1h, to = kDay;
  std::vector<std::pair<int, std::string>> extensions;
  const EVP_MD* digest = EVP_sha256();
  int rsa_bits = 0;
  const char* common_name = "";
};
Made forge(const Made* issuer, const Wish& wish) {
  Made out;
  if (wish.rsa_bits == 0) {
    out.key = generate_p256();
  } else {
    EVP_PKEY* raw = nullptr;
    const KeyCtxPtr rsa(EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, nullptr));
    EVP_PKEY_keygen_init(rsa.get());
    EVP_PKEY_CTX_set_rsa_keygen_bits(rsa.get(), wish.rsa_bits);
    EVP_PKEY_keygen(rsa.get(), &raw);
    out.key.reset(raw);
  }
  out.x.reset(X509_new());
  X509* x = out.x.get();
  X509_set_version(x, 2);
  static long serial = 100;
  ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
  ASN1_TIME_set(X509_getm_notBefore(x), (kNow + wish.from).ns / 1'000'000'000);
  ASN1_TIME_set(X509_getm_notAfter(x), (kNow + wish.to).ns / 1'000'000'000);
  X509_set_pubkey(x, out.key.get());
  if (*wish.common_name != '\0') {
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(wish.common_name), -1, -1, 0);
  }
  X509* signer = issuer == nullptr ? x : issuer->x.get();
  X509_set_issuer_name(x, X509_get_subject_name(signer));
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, signer, x, nullptr, nullptr, 0);
  for (const auto& [nid, value] : wish.extensions) {
    const ExtensionPtr e(X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str()));
    EXPECT_TRUE(e != nullptr) << value;
    X509_add_ext(x, e.get(), -1);
  }
  EXPECT_NE(X509_sign(x, issuer == nullptr ? out.key.get() : issuer->key.get(), wish.digest), 0);
  return out;
}

constexpr const char* kUri = "URI:spiffe://cluster.local/ns/a/sa/b";
std::vector<std::pair<int, std::string>> leaf_extensions(std::string san = kUri) {
  return {{NID_basic_constraints, "critical,CA:FALSE"},
          {NID_key_usage, "critical,digitalSignature"},
          {NID_ext_key_usage, "serverAuth,clientAuth"},
          {NID_subject_alt_name, "critical," + std::move(san)}};
}
std::vector<std::pair<int, std::string>> ca_extensions(const char* constraints) {
  return {{NID_basic_constraints, constraints}, {NID_key_usage, "critical,keyCertSign"}};
}

TEST(Spiffe, ParseTable) {
  const struct {
    const char* uri;
    bool good;
  } rows[] = {
      {"spiffe://cluster.local/ns/default/sa/default", true},
      {"spiffe://td/ns/a-b/sa/c.d", true},
      {"spiffe://cluster.local/ns/default/sa/", false},
      {"spiffe://cluster.local/ns//sa/x", false},
      {"spiffe:///ns/a/sa/x", false},
      {"spiffe://cluster.local/ns/a/sa/x/y", false},
      {"spiffe://cluster.local/sa/a/ns/x", false},
      {"spiffe://cluster.local/ns/a/sa/x?q=1", false},
      {"spiffe://cluster.local/ns/a/sa/x#f", false},
      {"spiffe://cluster.local:80/ns/a/sa/x", false},
      {"spiffe://user@cluster.local/ns/a/sa/x", false},
      {"spiffe://cluster.local/ns/a%2Fb/sa/x", false},
      {"SPIFFE://cluster.local/ns/a/sa/x", false},
      {"https://cluster.local/ns/a/sa/x", false},
      {"", false},
  };
  for (const auto& row : rows) {
    const auto id = parse_spiffe(row.uri);
    EXPECT_EQ(id.has_value(), row.good) << row.uri;
    if (id) EXPECT_EQ(to_string(*id), row.uri);
  }
}

TEST(Spiffe, WorkloadLeafIsIstios) {  // spec mesh.md 2.12
  const auto mesh = Authority::load(Authority::create({"Mesh", ""}, kNow).value()).value();
  const SpiffeId id{"cluster.local", "default", "hello"};
  const std::string chain = issue_workload(*mesh, make_csr(new_key()).value(), id, kNow).value();
  const auto info = parse_certificates(chain).value();
  ASSERT_EQ(info.size(), 2u);
  EXPECT_EQ(info[0].common_name, "");
  EXPECT_EQ(info[0].uris, std::vector<std::string>{"spiffe://cluster.local/ns/default/sa/hello"});
  EXPECT_EQ(info[0].not_before, kNow - 2min);
  EXPECT_EQ(info[0].not_after, kNow + kDay);
  const auto leaf = certificates_from_pem(chain).value();
  int critical = -1;
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(leaf[0].get(), NID_subject_alt_name, &critical, nullptr)));
  EXPECT_EQ(critical, 1);
  EXPECT_EQ(X509_NAME_entry_count(X509_get_subject_name(leaf[0].get())), 0);
  EXPECT_FALSE(issue_workload(*mesh, make_csr(new_key()).value(), {"td", "a/b", "c"}, kNow));

  const auto verifier = PeerVerifier::create(mesh->root_pem(), {"cluster.local"}).value();
  for (const PeerRole role : {PeerRole::Client, PeerRole::Server}) {
    const auto verified = verifier->verify(chain, role, kNow);
    ASSERT_TRUE(verified) << verified.error().message();
    EXPECT_EQ(*verified, id);
  }
  // Another mesh's root, and a bundle of both roots during rotation.
  const auto other = Authority::load(Authority::create({"Mesh", ""}, kNow).value()).value();
  EXPECT_FALSE(PeerVerifier::create(other->root_pem(), {"cluster.local"})
                   .value()
                   ->verify(chain, PeerRole::Client, kNow));
  EXPECT_TRUE(PeerVerifier::create(other->root_pem() + mesh->root_pem(), {"cluster.local"})
                  .value()
                  ->verify(chain, PeerRole::Client, kNow));
  EXPECT_FALSE(PeerVerifier::create("", {"cluster.local"}));
}

TEST(PeerVerifier, RefusalTable) {  // spec dataplane.md 7.6
  const Made root =
      forge(nullptr, {.extensions = ca_extensions("critical,CA:TRUE"), .common_name = "root"});
  const Made stranger =
      forge(nullptr, {.extensions = ca_extensions("critical,CA:TRUE"), .common_name = "root"});
  const Made no_path = forge(&root, {.extensions = ca_extensions("critical,CA:TRUE,pathlen:0"),
                                     .common_name = "intermediate"});
  const Made below =
      forge(&no_path, {.extensions = ca_extensions("critical,CA:TRUE"), .common_name = "below"});
  auto constrained_extensions = ca_extensions("critical,CA:TRUE");
  constrained_extensions.emplace_back(NID_name_constraints, "critical,permitted;URI:other.local");
  const Made constrained =
      forge(&root, {.extensions = constrained_extensions, .common_name = "constrained"});
  const auto leaf = [&](const Made* issuer, Wish wish) {
    if (wish.extensions.empty()) wish.extensions = leaf_extensions();
    return forge(issuer, wish).pem();
  };
  const auto with = [](std::string san) {
    return Wish{.extensions = leaf_extensions(std::move(san))};
  };
  auto server_only = leaf_extensions();
  server_only[2].second = "serverAuth";
  auto no_usage = leaf_extensions();
  no_usage.erase(no_usage.begin() + 2);
  auto ca_leaf = leaf_extensions();
  ca_leaf[0].second = "critical,CA:TRUE";
  ca_leaf[1].second = "critical,digitalSignature,keyCertSign";
  auto unknown_critical = leaf_extensions();
  const int odd = OBJ_create("1.3.6.1.4.1.99999.1", "knitOdd", "knit odd extension");
  X509V3_EXT_add_alias(odd, NID_netscape_comment);
  unknown_critical.emplace_back(odd, "critical,x");
  std::string huge = leaf(&root, {});
  for (int i = 0; i < 12; ++i) huge += no_path.pem();

  const struct {
    const char* name;
    std::string chain;
    const char* message;  // empty: accepted
  } rows[] = {
      {"good", leaf(&root, {}), ""},
      {"good through an intermediate", leaf(&no_path, {}) + no_path.pem(), ""},
      {"a DNS name beside the URI", leaf(&root, with(std::string(kUri) + ",DNS:a.test")), ""},
      {"none", "", "no PEM certificate"},
      {"expired", leaf(&root, {.from = -2 * kDay, .to = -1h}), "expired"},
      {"not yet valid", leaf(&root, {.from = 1h, .to = kDay}), "not yet valid"},
      {"another CA of the same name", leaf(&stranger, {}), "peer certificate"},
      {"self-signed", leaf(nullptr, {}), "self"},
      {"missing intermediate", leaf(&no_path, {}), "issuer"},
      {"server usage only", leaf(&root, {.extensions = server_only}), "purpose"},
      {"no usage", leaf(&root, {.extensions = no_usage}), "extended key usage"},
      {"CA leaf", leaf(&root, {.extensions = ca_leaf}), "CA"},
      {"path length", leaf(&below, {}) + below.pem() + no_path.pem(), "path length"},
      {"name constraints", leaf(&constrained, {}) + constrained.pem(), "subtree"},
      {"unknown critical extension", leaf(&root, {.extensions = unknown_critical}), "critical"},
      {"two URIs", leaf(&root, with(std::string(kUri) + ",URI:spiffe://cluster.local/ns/c/sa/d")),
       "2 URI names"},
      {"no URI", leaf(&root, with("DNS:a.test")), "0 URI names"},
      {"another scheme", leaf(&root, with("URI:https://cluster.local/ns/a/sa/b")), "is not spiffe"},
      {"another trust domain", leaf(&root, with("URI:spiffe://evil/ns/a/sa/b")), "trust domain"},
      {"SHA-1", leaf(&root, {.digest = EVP_sha1()}), "SHA-1"},
      {"RSA-1024", leaf(&root, {.rsa_bits = 1024}), "weak"},
      {"huge chain", huge, "more than 10"},
  };
  const auto verifier = PeerVerifier::create(root.pem(), {"cluster.local"}).value();
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto r = verifier->verify(row.chain, PeerRole::Client, kNow);
    EXPECT_EQ(r.has_value(), *row.message == '\0') << (r ? "" : r.error().message());
    if (!r) {
      EXPECT_EQ(r.error().code(), Code::Unauthenticated);
      EXPECT_NE(r.error().message().find(row.message), std::string::npos) << r.error().message();
    }
  }
  EXPECT_FALSE(verifier->verify(nullptr, nullptr, PeerRole::Client, kNow));
}

}  // namespace
}  // namespace knit::pki
