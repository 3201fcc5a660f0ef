// Any JSON as any kind: decoding, admission, columns and strategic merge never crash, and admission
// is idempotent. The first byte picks the kind.
#include "kube/schema/strategic.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace knit::schema;
  if (size == 0) return 0;
  const auto kinds = Registry::get().kinds();
  const Kind& kind = kinds[data[0] % kinds.size()];
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  Decoded d = decode(kind, kind.versions[0], body, ContentType::Json, FieldValidation::Warn);
  if (d.failure) return 0;
  (void)table_row(kind, d.object, {});
  (void)strategic_merge(kind, knit::JsonObject(), d.object);
  (void)strategic_merge(kind, d.object, d.object);
  knit::Json object = d.object;
  prepare_create(kind, object);
  const Verdict v = admit(kind, object, nullptr, {});
  (void)scale_of(kind, object);
  (void)table_row(kind, object, {});
  if (v.ok()) {
    knit::Json again = object;
    apply_defaults(kind, again, {});
    KNIT_CHECK(knit::json::canonical(again) == knit::json::canonical(object));
    prepare_update(kind, again, object);
    (void)admit(kind, again, &object, {.operation = Operation::Update});
  }
  return 0;
}
