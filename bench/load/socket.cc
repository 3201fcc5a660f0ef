#include "load/socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <cstring>

namespace knit::load {
namespace {

std::string name_of(int error) {
  switch (error) {
    case ECONNREFUSED:
      return "refused";
    case ECONNRESET:
    case EPIPE:
      return "reset";
    case ETIMEDOUT:
      return "timeout";
    default:
      return std::strerror(error);
  }
}

Outcome failed(std::string error) { return {Outcome::Kind::Failed, 0, std::move(error)}; }

std::string tls_error() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return std::string("tls: ") + (reason ? reason : "unknown error");
}

Error bad(std::string text) { return Error(Code::InvalidArgument, std::move(text)); }

}  // namespace

Result<Target> target_of(const Options& options) {
  Target target;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(options.connect_host.c_str(),
                                std::to_string(options.connect_port).c_str(), &hints, &found);
  if (error != 0) return bad(options.connect_host + ": " + gai_strerror(error));
  std::memcpy(&target.address, found->ai_addr, found->ai_addrlen);
  target.length = found->ai_addrlen;
  freeaddrinfo(found);
  if (!options.tls) return target;
  target.sni = options.sni;
  target.tls = {SSL_CTX_new(TLS_client_method()), [](ssl_ctx_st* c) { SSL_CTX_free(c); }};
  SSL_CTX* context = target.tls.get();
  // The cheapest common suite first, so that every peer of a comparison does the same work.
  SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384");
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  static const unsigned char kAlpn[] = "\x08http/1.1";
  SSL_CTX_set_alpn_protos(context, kAlpn, sizeof(kAlpn) - 1);
  if (!options.insecure) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    if (options.ca.empty()
            ? SSL_CTX_set_default_verify_paths(context) != 1
            : SSL_CTX_load_verify_locations(context, options.ca.c_str(), nullptr) != 1)
      return bad("--cacert " + options.ca + ": " + tls_error());
  }
  if (!options.certificate.empty() &&
      (SSL_CTX_use_certificate_chain_file(context, options.certificate.c_str()) != 1 ||
       SSL_CTX_use_PrivateKey_file(context, options.key.c_str(), SSL_FILETYPE_PEM) != 1))
    return bad("--cert " + options.certificate + ": " + tls_error());
  return target;
}

void Socket::Free::operator()(ssl_st* ssl) const { SSL_free(ssl); }
Socket::Socket() = default;
Socket::~Socket() = default;

void Socket::close() {
  ssl_.reset();  // no close_notify: an abrupt end is cheaper, and servers must bear it
  fd_.reset();
  connected_ = false;
}

Outcome Socket::connect(const Target& target) {
  close();
  fd_ = Fd(::socket(target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd_) return failed(name_of(errno));
  const int one = 1;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (target.tls) {
    ssl_.reset(SSL_new(target.tls.get()));
    SSL_set_fd(ssl_.get(), fd_.get());
    SSL_set_tlsext_host_name(ssl_.get(), target.sni.c_str());
    if (SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE) {
      in6_addr ignored;
      const bool ip = inet_pton(AF_INET, target.sni.c_str(), &ignored) == 1 ||
                      inet_pton(AF_INET6, target.sni.c_str(), &ignored) == 1;
      if (ip)
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), target.sni.c_str());
      else
        SSL_set1_host(ssl_.get(), target.sni.c_str());
    }
    SSL_set_connect_state(ssl_.get());
  }
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&target.address), target.length) == 0)
    connected_ = true;
  else if (errno != EINPROGRESS)
    return failed(name_of(errno));
  return {Outcome::Kind::Wait, 0, {}};
}

Outcome Socket::establish() {
  if (!connected_) {
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return failed(name_of(error));
    sockaddr_storage peer;
    length = sizeof(peer);
    if (getpeername(fd_.get(), reinterpret_cast<sockaddr*>(&peer), &length) != 0)
      return {Outcome::Kind::Wait, 0, {}};
    connected_ = true;
  }
  if (!ssl_) return {};
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  return result == 1 ? Outcome{} : tls_outcome(result);
}

Outcome Socket::tls_outcome(int result) {
  const int saved = errno;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return {Outcome::Kind::Wait, 0, {}};
    case SSL_ERROR_ZERO_RETURN:
      return {Outcome::Kind::Closed, 0, {}};
    case SSL_ERROR_SYSCALL:
      if (saved == 0 || result == 0) return {Outcome::Kind::Closed, 0, {}};
      return failed(name_of(saved));
    default:
      if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return {Outcome::Kind::Closed, 0, {}};
      }
      return failed(tls_error());
  }
}

Outcome Socket::write(std::string_view bytes) {
  if (ssl_) {
    ERR_clear_error();
    errno = 0;
    std::size_t wrote = 0;
    if (SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &wrote) == 1)
      return {Outcome::Kind::Done, wrote, {}};
    return tls_outcome(-1);
  }
  const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (n >= 0) return {Outcome::Kind::Done, static_cast<std::size_t>(n), {}};
  if (errno == EAGAIN) return {Outcome::Kind::Wait, 0, {}};
  return failed(name_of(errno));
}

Outcome Socket::read(char* into, std::size_t room) {
  if (ssl_) {
    ERR_clear_error();
    errno = 0;
    std::size_t got = 0;
    if (SSL_read_ex(ssl_.get(), into, room, &got) == 1) return {Outcome::Kind::Done, got, {}};
    return tls_outcome(-1);
  }
  const ssize_t n = ::recv(fd_.get(), into, room, 0);
  if (n > 0) return {Outcome::Kind::Done, static_cast<std::size_t>(n), {}};
  if (n == 0) return {Outcome::Kind::Closed, 0, {}};
  if (errno == EAGAIN) return {Outcome::Kind::Wait, 0, {}};
  return failed(name_of(errno));
}

bool Socket::stale() {
  char byte;
  // Through TLS: session tickets of the server are bytes too, and no end.
  const Outcome outcome = read(&byte, 1);
  return outcome.kind != Outcome::Kind::Wait;
}

}  // namespace knit::load
