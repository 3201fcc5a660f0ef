// TLS over a Stream through memory BIOs: the loop and the raw stream never see OpenSSL.
#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "io/stream.h"

namespace knit::io {
namespace {
using namespace std::chrono_literals;

constexpr Duration kHandshakeTimeout = 10s;
constexpr std::size_t kRecord = 16 << 10;      // plaintext of one TLS record
constexpr std::size_t kWriteChunk = 64 << 10;  // sealed and handed to the raw stream at once
constexpr int kMaxRoots = 1000;  // a system's bundle has some 150
constexpr int kMaxChainCertificates = 10;      // in PEM we are given
constexpr unsigned char kAlpn[] = "\x08http/1.1";
constexpr unsigned kAlpnSize = sizeof kAlpn - 1;

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using BioPtr = std::unique_ptr<BIO, Deleter<BIO_free>>;
using X509Ptr = std::unique_ptr<X509, Deleter<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using CtxPtr = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Deleter<SSL_free>>;

std::string openssl_reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "protocol error";
  const char* reason = ERR_reason_error_string(code);
  return reason == nullptr ? "protocol error" : reason;
}

BioPtr memory_bio(std::string_view data) {
  return BioPtr(BIO_new_mem_buf(data.data(), static_cast<int>(data.size())));
}

Result<std::vector<X509Ptr>> read_certificates(std::string_view pem, const char* what,
                                               int most = kMaxChainCertificates) {
  const BioPtr bio = memory_bio(pem);
  std::vector<X509Ptr> out;
  while (static_cast<int>(out.size()) < most) {
    X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!certificate) break;
    out.push_back(std::move(certificate));
  }
  ERR_clear_error();
  if (out.empty()) {
    return Error(Code::InvalidArgument, std::string(what) + " holds no PEM certificate");
  }
  return out;
}

Result<void> use_key_pair(SSL_CTX* ctx, const std::string& chain, const std::string& key_pem) {
  KNIT_TRY(auto certificates, read_certificates(chain, "the certificate chain"));
  if (SSL_CTX_use_certificate(ctx, certificates[0].get()) != 1) {
    return Error(Code::InvalidArgument, "the certificate cannot be used: " + openssl_reason());
  }
  for (std::size_t i = 1; i < certificates.size(); ++i) {
    if (SSL_CTX_add0_chain_cert(ctx, certificates[i].get()) != 1) {
      return Error(Code::InvalidArgument, "the chain cannot be used: " + openssl_reason());
    }
    (void)certificates[i].release();  // owned by the context now
  }
  const BioPtr bio = memory_bio(key_pem);
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  if (!key) {
    ERR_clear_error();
    return Error(Code::InvalidArgument, "the private key is not PEM, or is encrypted");
  }
  if (SSL_CTX_use_PrivateKey(ctx, key.get()) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
    ERR_clear_error();
    return Error(Code::InvalidArgument, "the private key does not belong to the certificate");
  }
  return {};
}

Result<void> trust(SSL_CTX* ctx, const std::string& ca_pem, bool announce) {
  KNIT_TRY(auto roots, read_certificates(ca_pem, "the CA file", kMaxRoots));
  X509_STORE* store = SSL_CTX_get_cert_store(ctx);
  for (const auto& root : roots) {
    if (X509_STORE_add_cert(store, root.get()) != 1) {
      return Error(Code::InvalidArgument, "a CA certificate cannot be used: " + openssl_reason());
    }
    if (announce && SSL_CTX_add_client_CA(ctx, root.get()) != 1) {
      return Error(Code::InvalidArgument, "a CA certificate cannot be used: " + openssl_reason());
    }
  }
  return {};
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                unsigned in_size, void*) {
  for (unsigned at = 0; at < in_size;) {
    const unsigned size = in[at];
    if (at + 1 + size > in_size) break;
    if (std::string_view(reinterpret_cast<const char*>(in) + at + 1, size) == "http/1.1") {
      *out = in + at + 1;
      *out_size = static_cast<unsigned char>(size);
      return SSL_TLSEXT_ERR_OK;
    }
    at += 1 + size;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

CtxPtr new_context(const SSL_METHOD* method) {
  CtxPtr ctx(SSL_CTX_new(method));
  KNIT_CHECK(ctx != nullptr);
  KNIT_CHECK(SSL_CTX_set_min_proto_version(ctx.get(), TLS1_2_VERSION) == 1);
  SSL_CTX_set_options(ctx.get(),
                      SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  return ctx;
}

bool is_ip(const std::string& name) {
  unsigned char buffer[sizeof(in6_addr)];
  return inet_pton(AF_INET, name.c_str(), buffer) == 1 ||
         inet_pton(AF_INET6, name.c_str(), buffer) == 1;
}

}  // namespace

class TlsServerContext {
 public:
  explicit TlsServerContext(CtxPtr context) : ctx(std::move(context)) {}
  CtxPtr ctx;
};
class TlsClientContext {
 public:
  TlsClientContext(CtxPtr context, std::string name)
      : ctx(std::move(context)), server(std::move(name)) {}
  CtxPtr ctx;
  std::string server;
};

namespace {

/// One reader and one writer, as every Stream. Bytes that reading produces (key updates, alerts)
/// are sent by whoever writes, else by a task of the stream's own.
class TlsStream final : public Stream {
 public:
  TlsStream(Loop& loop, std::unique_ptr<Stream> raw, SslPtr ssl,
            std::shared_ptr<const void> context)
      : loop_(loop), context_(std::move(context)), raw_(std::move(raw)), ssl_(std::move(ssl)) {
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    KNIT_CHECK(in_ != nullptr && out_ != nullptr);
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_.get(), in_, out_);
  }
  ~TlsStream() override {
    flusher_.cancel();
    if (!established_ || broken_ || draining_) return;
    // A goodbye that needs no waiting, so that clients can tell an end from a cut.
    ERR_clear_error();
    (void)SSL_shutdown(ssl_.get());
    ERR_clear_error();
    if (BIO_pending(out_) > 0) {
      Task<Result<void>> goodbye = raw_->write(take_output());
      goodbye.start();
    }
  }

  Task<Result<void>> handshake() {
    while (true) {
      ERR_clear_error();
      const int done = SSL_do_handshake(ssl_.get());
      const int why = SSL_get_error(ssl_.get(), done);
      std::string failure;
      if (done != 1 && why != SSL_ERROR_WANT_READ) failure = handshake_failure();
      if (BIO_pending(out_) > 0) {
        std::string bytes = take_output();
        Result<void> written = co_await raw_->write(std::move(bytes));
        if (!written && failure.empty()) co_return std::move(written).error();
      }
      if (done == 1) {
        established_ = true;
        co_return Result<void>();
      }
      if (!failure.empty()) co_return Error(Code::Unauthenticated, "TLS handshake: " + failure);
      Result<std::string> bytes = co_await raw_->read(kRecord);
      if (!bytes) co_return std::move(bytes).error();
      if (bytes->empty()) {
        co_return Error(Code::Unavailable, "TLS handshake: the peer closed the connection");
      }
      feed(*bytes);
    }
  }

  Task<Result<std::string>> read(std::size_t max) override {
    while (true) {
      static thread_local std::array<char, kRecord> buffer;  // as in SocketStream
      ERR_clear_error();
      const int n =
          SSL_read(ssl_.get(), buffer.data(), static_cast<int>(std::min(max, buffer.size())));
      if (n > 0) {
        std::string data(buffer.data(), static_cast<std::size_t>(n));
        flush_in_background();
        co_return data;
      }
      const int why = SSL_get_error(ssl_.get(), n);
      if (why == SSL_ERROR_ZERO_RETURN) co_return std::string();
      if (why != SSL_ERROR_WANT_READ) {
        broken_ = true;
        co_return Error(Code::Unavailable, "TLS read: " + openssl_reason());
      }
      flush_in_background();
      Result<std::string> bytes = co_await raw_->read(kRecord);
      if (!bytes) co_return std::move(bytes).error();
      if (bytes->empty()) {
        co_return Error(Code::Unavailable, "TLS read: the peer cut the connection");
      }
      feed(*bytes);
    }
  }

  Task<Result<void>> write(std::string data) override {
    std::size_t done = 0;
    while (done < data.size()) {
      while (draining_) {
        drained_.reset();
        co_await drained_;
      }
      if (broken_ || shutdown_) {
        co_return Error(Code::Unavailable, "TLS write: the connection is closed");
      }
      const std::size_t chunk = std::min(data.size() - done, kWriteChunk);
      ERR_clear_error();
      const int n = SSL_write(ssl_.get(), data.data() + done, static_cast<int>(chunk));
      if (n <= 0) {
        broken_ = true;
        co_return Error(Code::Unavailable, "TLS write: " + openssl_reason());
      }
      done += static_cast<std::size_t>(n);
      Result<void> sent = co_await drain();
      if (!sent) co_return std::move(sent).error();
    }
    co_return Result<void>();
  }

  void shutdown_write() override {
    if (shutdown_ || broken_ || !established_) return;
    shutdown_ = true;
    ERR_clear_error();
    (void)SSL_shutdown(ssl_.get());
    ERR_clear_error();
    flush_in_background();
  }

  std::string peer() const override { return raw_->peer(); }

  std::string peer_certificate() const override {
    if (SSL_is_server(ssl_.get()) == 0 || SSL_get_verify_result(ssl_.get()) != X509_V_OK) return {};
    const X509Ptr leaf(SSL_get_peer_certificate(ssl_.get()));
    if (!leaf) return {};
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (PEM_write_bio_X509(bio.get(), leaf.get()) != 1) return {};
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return std::string(data, static_cast<std::size_t>(size));
  }

 private:
  void feed(const std::string& bytes) {
    KNIT_CHECK(BIO_write(in_, bytes.data(), static_cast<int>(bytes.size())) ==
               static_cast<int>(bytes.size()));
  }
  std::string take_output() {
    char* data = nullptr;
    const long size = BIO_get_mem_data(out_, &data);
    std::string bytes(data, static_cast<std::size_t>(size));
    (void)BIO_reset(out_);
    return bytes;
  }
  std::string handshake_failure() {
    const long verify = SSL_get_verify_result(ssl_.get());
    if (verify != X509_V_OK && verify != X509_V_ERR_UNSPECIFIED) {
      ERR_clear_error();
      return X509_verify_cert_error_string(verify);
    }
    return openssl_reason();
  }

  /// Marks the raw stream's writing side as taken; an unfinished turn leaves it unusable.
  struct Turn {
    explicit Turn(TlsStream* s) : stream(s) { stream->draining_ = true; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      stream->draining_ = false;
      if (!finished) stream->broken_ = true;
    }
    TlsStream* stream;
    bool finished = false;
  };
  Task<Result<void>> drain() {
    Turn turn(this);
    while (BIO_pending(out_) > 0) {
      std::string bytes = take_output();
      Result<void> written = co_await raw_->write(std::move(bytes));
      if (!written) co_return std::move(written).error();
    }
    if (shutdown_) raw_->shutdown_write();
    turn.finished = true;
    co_return Result<void>();
  }
  Task<void> flush() {
    Result<void> ignored = co_await drain();
    if (!ignored) broken_ = true;
    loop_.post([this, alive = std::weak_ptr<int>(alive_)] {
      if (!alive.expired()) drained_.set();
    });
  }
  void flush_in_background() {
    if (draining_ || broken_ || BIO_pending(out_) == 0) return;
    flusher_ = loop_.spawn_scoped(flush());
  }

  Loop& loop_;
  std::shared_ptr<const void> context_;
  std::unique_ptr<Stream> raw_;
  SslPtr ssl_;
  BIO* in_ = nullptr;   // owned by ssl_
  BIO* out_ = nullptr;  // owned by ssl_
  bool established_ = false;
  bool broken_ = false;
  bool draining_ = false;
  bool shutdown_ = false;
  Event drained_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  Loop::Scope flusher_;
};

struct HandshakeState {
  std::optional<Result<void>> outcome;
  Event decided;
};

Task<void> run_handshake(Loop& loop, TlsStream* stream, std::shared_ptr<HandshakeState> state) {
  Result<void> result = co_await stream->handshake();
  state->outcome.emplace(std::move(result));
  // Posted: whoever waits destroys this task.
  loop.post([state] { state->decided.set(); });
}

Task<Result<std::unique_ptr<Stream>>> finish(Loop& loop, std::unique_ptr<TlsStream> stream) {
  const auto state = std::make_shared<HandshakeState>();
  const auto timer = loop.after(kHandshakeTimeout, [state] { state->decided.set(); });
  {
    const auto scope = loop.spawn_scoped(run_handshake(loop, stream.get(), state));
    co_await state->decided;
  }
  if (!state->outcome) {
    co_return Error(Code::DeadlineExceeded, "TLS handshake: no progress within 10s");
  }
  if (!*state->outcome) co_return std::move(*state->outcome).error();
  co_return std::unique_ptr<Stream>(std::move(stream));
}

}  // namespace

Result<std::shared_ptr<TlsServerContext>> tls_server_context(const TlsServerConfig& config) {
  CtxPtr ctx = new_context(TLS_server_method());
  KNIT_TRY_VOID(use_key_pair(ctx.get(), config.certificate_chain_pem, config.private_key_pem));
  SSL_CTX_set_alpn_select_cb(ctx.get(), select_alpn, nullptr);
  SSL_CTX_set_num_tickets(ctx.get(), 0);
  if (!config.client_ca_pem.empty()) {
    KNIT_TRY_VOID(trust(ctx.get(), config.client_ca_pem, true));
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER, nullptr);
  }
  return std::make_shared<TlsServerContext>(std::move(ctx));
}

Result<std::shared_ptr<TlsClientContext>> tls_client_context(const TlsClientConfig& config) {
  CtxPtr ctx = new_context(TLS_client_method());
  if (config.insecure_skip_verify) {
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_NONE, nullptr);
  } else if (config.ca_pem.empty()) {
    return Error(Code::InvalidArgument, "no CA certificate to verify the server with");
  } else {
    KNIT_TRY_VOID(trust(ctx.get(), config.ca_pem, false));
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER, nullptr);
  }
  if (!config.certificate_chain_pem.empty()) {
    KNIT_TRY_VOID(use_key_pair(ctx.get(), config.certificate_chain_pem, config.private_key_pem));
  }
  if (SSL_CTX_set_alpn_protos(ctx.get(), kAlpn, kAlpnSize) != 0) {
    return Error(Code::Internal, "ALPN cannot be set: " + openssl_reason());
  }
  return std::make_shared<TlsClientContext>(std::move(ctx), config.server_name);
}

Task<Result<std::unique_ptr<Stream>>> tls_accept(Loop& loop, std::unique_ptr<Stream> raw,
                                                 std::shared_ptr<TlsServerContext> context) {
  SslPtr ssl(SSL_new(context->ctx.get()));
  KNIT_CHECK(ssl != nullptr);
  SSL_set_accept_state(ssl.get());
  auto stream = std::make_unique<TlsStream>(loop, std::move(raw), std::move(ssl), context);
  Result<std::unique_ptr<Stream>> done = co_await finish(loop, std::move(stream));
  co_return done;
}

Task<Result<std::unique_ptr<Stream>>> tls_connect(Loop& loop, std::unique_ptr<Stream> raw,
                                                  std::shared_ptr<TlsClientContext> context) {
  SslPtr ssl(SSL_new(context->ctx.get()));
  KNIT_CHECK(ssl != nullptr);
  SSL_set_connect_state(ssl.get());
  const std::string& name = context->server;
  if (is_ip(name)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name.c_str());
  } else if (!name.empty()) {
    SSL_set_tlsext_host_name(ssl.get(), name.c_str());
    SSL_set1_host(ssl.get(), name.c_str());
  } else if (SSL_get_verify_mode(ssl.get()) != SSL_VERIFY_NONE) {
    co_return Error(Code::InvalidArgument, "no server name to verify");
  }
  auto stream = std::make_unique<TlsStream>(loop, std::move(raw), std::move(ssl), context);
  Result<std::unique_ptr<Stream>> done = co_await finish(loop, std::move(stream));
  co_return done;
}

}  // namespace knit::io
