// Any bytes as the first of a connection: no crash; NotTls stays NotTls when more arrives.
#include <cstdint>

#include "base/result.h"
#include "proxy/tls.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using knit::proxy::ClientHello;
  const std::string_view in(reinterpret_cast<const char*>(data), size);
  const auto half = knit::proxy::peek_client_hello(in.substr(0, size / 2));
  const auto whole = knit::proxy::peek_client_hello(in);
  if (half.state == ClientHello::State::NotTls) {
    KNIT_CHECK(whole.state == ClientHello::State::NotTls);
  }
  return 0;
}
