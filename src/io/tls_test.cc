#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "io/sim_loop.h"
#include "io/stream.h"

namespace knit::io {
namespace {
using namespace std::chrono_literals;

struct Pair {
  std::string certificate, key;
  EVP_PKEY* raw_key = nullptr;
  X509* raw = nullptr;
  Pair() = default;
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  ~Pair() {
    EVP_PKEY_free(raw_key);
    X509_free(raw);
  }
};

std::string drained(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return out;
}

/// `issuer` null makes a CA. pki/ cannot be used here: it stands above io/.
void make(Pair& out, const char* name, const Pair* issuer, const char* san, long valid_from,
          long valid_to) {
  EVP_PKEY_CTX* generator = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nullptr);
  EVP_PKEY_keygen_init(generator);
  EVP_PKEY_CTX_set_ec_paramgen_curve_nid(generator, NID_X9_62_prime256v1);
  EVP_PKEY_keygen(generator, &out.raw_key);
  EVP_PKEY_CTX_free(generator);
  X509* x = out.raw = X509_new();
  X509_set_version(x, 2);
  static long serial = 1;
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), valid_from);
  X509_gmtime_adj(X509_getm_notAfter(x), valid_to);
  X509_set_pubkey(x, out.raw_key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(issuer == nullptr ? x : issuer->raw));
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer == nullptr ? x : issuer->raw, x, nullptr, nullptr, 0);
  const auto extend = [&](int nid, const char* value) {
    X509_EXTENSION* e = X509V3_EXT_conf_nid(nullptr, &ctx, nid, value);
    ASSERT_NE(e, nullptr) << value;
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
  };
  extend(NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (san != nullptr) extend(NID_subject_alt_name, san);
  X509_sign(x, issuer == nullptr ? out.raw_key : issuer->raw_key, EVP_sha256());
  BIO* c = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(c, x);
  out.certificate = drained(c);
  BIO* k = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(k, out.raw_key, nullptr, nullptr, 0, nullptr, nullptr);
  out.key = drained(k);
}

struct Outcome {
  std::optional<Result<std::unique_ptr<Stream>>> server, client;
};
Task<void> accept_one(Loop& loop, std::unique_ptr<Stream> raw,
                      std::shared_ptr<TlsServerContext> context, Outcome* out) {
  auto r = co_await tls_accept(loop, std::move(raw), context);
  out->server.emplace(std::move(r));
}
Task<void> connect_one(Loop& loop, std::unique_ptr<Stream> raw,
                       std::shared_ptr<TlsClientContext> context, Outcome* out) {
  auto r = co_await tls_connect(loop, std::move(raw), context);
  out->client.emplace(std::move(r));
}
Task<void> send_all(Stream* s, std::string data, std::optional<Result<void>>* done) {
  auto r = co_await s->write(std::move(data));
  done->emplace(std::move(r));
}
Task<void> receive(Stream* s, std::size_t want, std::string* out, std::string* error) {
  while (out->size() < want) {
    auto r = co_await s->read(1 << 20);
    if (!r) {
      *error = r.error().message();
      co_return;
    }
    if (r->empty()) {
      *error = "end";
      co_return;
    }
    *out += *r;
  }
}

class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    make(ca, "ca", nullptr, nullptr, -60, 3600);
    make(other_ca, "other", nullptr, nullptr, -60, 3600);
    make(server, "server", &ca, "DNS:knit.test,IP:127.0.0.1", -60, 3600);
    make(client, "client", &ca, nullptr, -60, 3600);
    make(stranger, "stranger", &other_ca, nullptr, -60, 3600);
    make(expired, "expired", &ca, "DNS:knit.test", -7200, -3600);
    make(expired_client, "old", &ca, nullptr, -7200, -3600);
  }
  void shake(const TlsServerConfig& s, const TlsClientConfig& c, Outcome& out) {
    auto sc = tls_server_context(s);
    auto cc = tls_client_context(c);
    ASSERT_TRUE(sc) << sc.error().message();
    ASSERT_TRUE(cc) << cc.error().message();
    auto [a, b] = memory_streams(loop);
    loop.spawn(accept_one(loop, std::move(a), *sc, &out));
    loop.spawn(connect_one(loop, std::move(b), *cc, &out));
    loop.settle();
  }
  SimLoop loop;
  Pair ca, other_ca, server, client, stranger, expired, expired_client;
};

TEST_F(TlsTest, HandshakeTable) {
  const struct {
    const char* name;
    const Pair* server_pair;
    const Pair* client_pair;
    const char* host;
    bool skip_verify;
    bool server_ok, client_ok;
    const char* message;  // part of the failing side's
  } rows[] = {
      {"verified by name", &server, nullptr, "knit.test", false, true, true, ""},
      {"verified by address", &server, nullptr, "127.0.0.1", false, true, true, ""},
      {"wrong name", &server, nullptr, "other.test", false, false, false, "ostname mismatch"},
      {"wrong address", &server, nullptr, "127.0.0.2", false, false, false, "IP address mismatch"},
      {"skipping verification", &expired, nullptr, "x", true, true, true, ""},
      {"expired server", &expired, nullptr, "knit.test", false, false, false, "expired"},
      {"client certificate", &server, &client, "knit.test", false, true, true, ""},
      // TLS 1.3: the client has finished when the server judges its certificate.
      {"client of another CA", &server, &stranger, "knit.test", false, false, true,
       "unable to get"},
      {"expired client", &server, &expired_client, "knit.test", false, false, true, "expired"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Outcome out;
    TlsClientConfig cc{.ca_pem = ca.certificate,
                       .server_name = row.host,
                       .certificate_chain_pem = {},
                       .private_key_pem = {},
                       .insecure_skip_verify = row.skip_verify};
    if (row.client_pair != nullptr) {
      cc.certificate_chain_pem = row.client_pair->certificate;
      cc.private_key_pem = row.client_pair->key;
    }
    shake({.certificate_chain_pem = row.server_pair->certificate,
           .private_key_pem = row.server_pair->key,
           .client_ca_pem = ca.certificate},
          cc, out);
    ASSERT_TRUE(out.server && out.client);
    EXPECT_EQ(out.server->has_value(), row.server_ok);
    EXPECT_EQ(out.client->has_value(), row.client_ok);
    if (!row.server_ok || !row.client_ok) {
      const Error& e = row.client_ok ? out.server->error() : out.client->error();
      EXPECT_EQ(e.code(), Code::Unauthenticated);
      EXPECT_NE(e.message().find(row.message), std::string::npos) << e.message();
    } else {
      EXPECT_EQ((**out.server)->peer_certificate(),
                row.client_pair == nullptr ? "" : row.client_pair->certificate);
    }
  }
}

TEST_F(TlsTest, CarriesMegabytesBothWaysAtOnceAndEndsCleanly) {
  Outcome out;
  shake({.certificate_chain_pem = server.certificate,
         .private_key_pem = server.key,
         .client_ca_pem = {}},
        {.ca_pem = ca.certificate,
         .server_name = "knit.test",
         .certificate_chain_pem = {},
         .private_key_pem = {}},
        out);
  ASSERT_TRUE(out.server && *out.server && out.client && *out.client);
  Stream* s = (**out.server).get();
  Stream* c = (**out.client).get();
  std::string up(3 << 20, 'u'), down(2 << 20, 'd'), got_up, got_down, e1, e2;
  std::optional<Result<void>> sent_up, sent_down;
  loop.spawn(send_all(c, up, &sent_up));
  loop.spawn(send_all(s, down, &sent_down));
  loop.spawn(receive(s, up.size(), &got_up, &e1));
  loop.spawn(receive(c, down.size(), &got_down, &e2));
  loop.settle();
  ASSERT_TRUE(sent_up && *sent_up && sent_down && *sent_down);
  EXPECT_EQ(got_up, up);
  EXPECT_EQ(got_down, down);
  // Half-close: the other direction goes on.
  c->shutdown_write();
  std::string rest;
  loop.spawn(receive(s, 1, &rest, &e1));
  loop.settle();
  EXPECT_EQ(e1, "end");
  std::optional<Result<void>> late;
  loop.spawn(send_all(s, "late", &late));
  loop.spawn(receive(c, got_down.size() + 4, &got_down, &e2));
  loop.settle();
  EXPECT_EQ(got_down.substr(down.size()), "late");
  // Destroying says goodbye.
  std::string after;
  out.server.reset();
  loop.spawn(receive(c, 1, &after, &e2));
  loop.settle();
  EXPECT_EQ(e2, "end");
}

TEST_F(TlsTest, ASilentPeerIsGivenUpAfterTenSeconds) {
  auto sc = tls_server_context({.certificate_chain_pem = server.certificate,
                                .private_key_pem = server.key,
                                .client_ca_pem = {}});
  ASSERT_TRUE(sc);
  auto [a, b] = memory_streams(loop);
  Outcome out;
  loop.spawn(accept_one(loop, std::move(a), *sc, &out));
  loop.advance(10s - 1ns);
  EXPECT_FALSE(out.server);
  loop.advance(1ns);
  ASSERT_TRUE(out.server);
  EXPECT_EQ(out.server->error().code(), Code::DeadlineExceeded);
}

TEST_F(TlsTest, PlaintextAndCutsAreErrors) {
  auto sc = tls_server_context({.certificate_chain_pem = server.certificate,
                                .private_key_pem = server.key,
                                .client_ca_pem = {}});
  ASSERT_TRUE(sc);
  auto [a, b] = memory_streams(loop);
  Outcome out;
  loop.spawn(accept_one(loop, std::move(a), *sc, &out));
  std::optional<Result<void>> sent;
  loop.spawn(send_all(b.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n", &sent));
  loop.settle();
  ASSERT_TRUE(out.server);
  EXPECT_EQ(out.server->error().code(), Code::Unauthenticated);
  EXPECT_NE(out.server->error().message().find("http request"), std::string::npos)
      << out.server->error().message();

  auto [c, d] = memory_streams(loop);
  Outcome cut;
  loop.spawn(accept_one(loop, std::move(c), *sc, &cut));
  d.reset();
  loop.settle();
  ASSERT_TRUE(cut.server);
  EXPECT_EQ(cut.server->error().code(), Code::Unavailable);
}

TEST_F(TlsTest, BadMaterialIsNamed) {
  const struct {
    const char* name;
    TlsServerConfig config;
    const char* message;
  } rows[] = {
      {"no certificate", {"", server.key, ""}, "no PEM certificate"},
      {"no key", {server.certificate, "junk", ""}, "not PEM"},
      {"another's key", {server.certificate, client.key, ""}, "does not belong"},
      {"bad CA", {server.certificate, server.key, "junk"}, "the CA file"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    auto r = tls_server_context(row.config);
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message().find(row.message), std::string::npos) << r.error().message();
  }
  EXPECT_FALSE(tls_client_context({}));
}

}  // namespace
}  // namespace knit::io
