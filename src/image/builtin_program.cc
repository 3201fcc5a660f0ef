// The bytes of the built-in image's program, linked into this executable.
#include "image/import.h"

// NOLINTBEGIN(bugprone-reserved-identifier)
asm(R"(
  .section .rodata.knit_hello, "a", @progbits
  .balign 16
  .globl knit_hello_begin
  .globl knit_hello_end
  .hidden knit_hello_begin
  .hidden knit_hello_end
knit_hello_begin:
  .incbin ")" KNIT_HELLO_FILE R"("
knit_hello_end:
  .byte 0
  .previous
)");
// NOLINTEND(bugprone-reserved-identifier)

extern "C" __attribute__((visibility("hidden"))) const char knit_hello_begin[];
extern "C" __attribute__((visibility("hidden"))) const char knit_hello_end[];

namespace knit::image {

std::string_view hello_program() {
  return {knit_hello_begin, static_cast<std::size_t>(knit_hello_end - knit_hello_begin)};
}

}  // namespace knit::image
