#include "proxy/tls.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "proxy/test_rig.h"

namespace knit::proxy::test {
namespace {

/// Handshakes in memory with a client that may offer a session; keeps the one that it gets.
class TicketTest : public testing::Test {
 protected:
  TicketTest() : client_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_session_cache_mode(client_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client_, [](SSL* ssl, SSL_SESSION* session) {
      auto* test = static_cast<TicketTest*>(SSL_get_app_data(ssl));
      SSL_SESSION_free(test->session_);
      test->session_ = session;
      return 1;
    });
  }
  ~TicketTest() override {
    SSL_SESSION_free(session_);
    SSL_CTX_free(client_);
  }
  struct Outcome {
    bool done = false, resumed = false;
  };
  Outcome handshake(const TlsContext& context, const char* sni, int version = TLS1_3_VERSION,
                    const pki::Credential* own = nullptr) {
    SSL* server = SSL_new(context.get());
    SSL* client = SSL_new(client_);
    BIO *a = nullptr, *b = nullptr;
    BIO_new_bio_pair(&a, 1 << 20, &b, 1 << 20);
    SSL_set_bio(server, a, a);
    SSL_set_bio(client, b, b);
    SSL_set_app_data(client, this);
    SSL_set_max_proto_version(client, version);
    SSL_set_tlsext_host_name(client, sni);
    if (own) use(client, *own);
    if (session_) SSL_set_session(client, session_);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    Outcome out;
    char byte = 0;
    for (int i = 0; i < 10; ++i) {
      SSL_do_handshake(client);
      if (SSL_do_handshake(server) == 1 && SSL_is_init_finished(client)) {
        out.done = true;
        SSL_write(server, "x", 1);
        SSL_read(client, &byte, 1);  // takes the tickets before it
        break;
      }
    }
    out.resumed = SSL_session_reused(client) == 1;
    SSL_shutdown(client);
    SSL_free(client);
    SSL_free(server);
    ERR_clear_error();
    return out;
  }
  static void use(SSL* ssl, const pki::Credential& c) {
    BIO* chain = BIO_new_mem_buf(c.chain_pem.data(), static_cast<int>(c.chain_pem.size()));
    X509* leaf = PEM_read_bio_X509(chain, nullptr, nullptr, nullptr);
    SSL_use_certificate(ssl, leaf);
    X509_free(leaf);
    while (X509* next = PEM_read_bio_X509(chain, nullptr, nullptr, nullptr)) {
      SSL_add0_chain_cert(ssl, next);
    }
    BIO_free(chain);
    BIO* key_bio = BIO_new_mem_buf(c.key_pem.data(), static_cast<int>(c.key_pem.size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(key_bio, nullptr, nullptr, nullptr);
    SSL_use_PrivateKey(ssl, key);
    EVP_PKEY_free(key);
    BIO_free(key_bio);
  }
  static std::shared_ptr<TlsContext> simple() {
    const auto pem = *self_signed("a.test", Rig::wall());
    TlsServerOptions o;
    o.chain_pem = pem.first;
    o.key_pem = pem.second;
    return *TlsContext::server(o);
  }

  SSL_CTX* client_;
  SSL_SESSION* session_ = nullptr;
};

TEST_F(TicketTest, TheSameCertificateResumes) {
  const auto context = simple();
  EXPECT_FALSE(handshake(*context, "a.test").resumed);
  ASSERT_NE(session_, nullptr);
  const Outcome second = handshake(*context, "a.test");
  EXPECT_TRUE(second.done);
  EXPECT_TRUE(second.resumed);
}

// spec/dataplane.md 7.6: must not cross virtual hosts.
TEST_F(TicketTest, AnotherCertificateDoesNot) {
  EXPECT_TRUE(handshake(*simple(), "a.test").done);
  ASSERT_NE(session_, nullptr);
  const Outcome second = handshake(*simple(), "a.test");
  EXPECT_TRUE(second.done);
  EXPECT_FALSE(second.resumed);
}

TEST_F(TicketTest, OldTlsHasNone) {
  const auto context = simple();
  EXPECT_TRUE(handshake(*context, "a.test", TLS1_2_VERSION).done);
  const Outcome second = handshake(*context, "a.test", TLS1_2_VERSION);
  EXPECT_TRUE(second.done);
  EXPECT_FALSE(second.resumed);
}

// … must not skip authorization: each connection with a client certificate is judged anew.
TEST_F(TicketTest, MutualTlsIsJudgedEachTime) {
  const auto ca = Rig::authority("mesh");
  Rig rig;
  const auto leaf = rig.leaf(*ca, "spiffe://cluster.local/ns/default/sa/a");
  TlsServerOptions o;
  o.chain_pem = leaf.chain_pem;
  o.key_pem = leaf.key_pem;
  o.client = ClientCertificate::Require;
  o.client_ca_pem = ca->root_pem();
  o.spiffe_trust_domain = "cluster.local";
  const auto context = *TlsContext::server(o);
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    EXPECT_TRUE(handshake(*context, "a", version, &leaf).done);
    const Outcome second = handshake(*context, "a", version, &leaf);
    EXPECT_TRUE(second.done);
    EXPECT_FALSE(second.resumed);
  }
}

}  // namespace
}  // namespace knit::proxy::test
