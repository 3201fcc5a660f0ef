// Owning pointers for libcrypto. Only for .cc files of pki and for the proxy's TLS stage.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knit::pki {

template <auto Free>
struct OpensslFree {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using BioPtr = std::unique_ptr<BIO, OpensslFree<BIO_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using KeyCtxPtr = std::unique_ptr<EVP_PKEY_CTX, OpensslFree<EVP_PKEY_CTX_free>>;
using DigestCtxPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<EVP_MD_CTX_free>>;
using X509Ptr = std::unique_ptr<X509, OpensslFree<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, OpensslFree<X509_REQ_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;
using StorePtr = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;
using StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;
struct StackFree {
  void operator()(STACK_OF(X509) * s) const { sk_X509_pop_free(s, X509_free); }
};
using StackPtr = std::unique_ptr<STACK_OF(X509), StackFree>;
struct NamesFree {
  void operator()(GENERAL_NAMES* s) const { GENERAL_NAMES_free(s); }
};
using NamesPtr = std::unique_ptr<GENERAL_NAMES, NamesFree>;

/// The oldest queued reason, or "malformed"; empties the queue.
std::string openssl_reason();
BioPtr reading_bio(std::string_view data);
std::string bio_text(BIO* bio);

/// Errors: InvalidArgument.
Result<KeyPtr> key_from_pem(std::string_view pem);
std::string key_to_pem(EVP_PKEY* key);
KeyPtr generate_p256();
/// At most kMaxChain certificates; more is an error. Errors: InvalidArgument.
inline constexpr std::size_t kMaxChain = 10;
Result<std::vector<X509Ptr>> certificates_from_pem(std::string_view pem);
std::string certificate_to_pem(X509* certificate);

}  // namespace knit::pki
