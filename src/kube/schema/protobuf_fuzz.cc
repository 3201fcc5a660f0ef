// Any bytes as the body of a request: decoding never crashes, is bounded, and what decodes is
// encoded and read back to the same object. The first byte picks the kind.
#include "kube/schema/schema.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace knit::schema;
  if (size == 0) return 0;
  static const std::vector<const Kind*>& kinds = *[] {
    auto* out = new std::vector<const Kind*>;
    for (const Kind& k : Registry::get().kinds()) {
      if (!k.custom) out->push_back(&k);
    }
    return out;
  }();
  const Kind& kind = *kinds[data[0] % kinds.size()];
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  decode_options("DeleteOptions", body, ContentType::Protobuf);
  // As a bare message too: the fuzzer need not find the envelope first.
  for (const bool wrap : {false, true}) {
    std::string wrapped("k8s\0\x12", 5);
    if (wrap) {
      for (std::size_t n = body.size();; n >>= 7) {
        wrapped += static_cast<char>((n & 0x7f) | (n >= 0x80 ? 0x80 : 0));
        if (n < 0x80) break;
      }
      wrapped += body;
    }
    const Decoded d = decode(kind, kind.versions[0], wrap ? std::string_view(wrapped) : body,
                             ContentType::Protobuf, FieldValidation::Warn);
    if (d.failure) continue;
    const auto encoded = encode_protobuf(kind, d.object);
    if (!encoded) continue;  // raw JSON of another shape
    const Decoded again =
        decode(kind, kind.versions[0], *encoded, ContentType::Protobuf, FieldValidation::Warn);
    KNIT_CHECK(!again.failure.has_value());
    KNIT_CHECK(knit::json::canonical(again.object) == knit::json::canonical(d.object));
  }
  return 0;
}
