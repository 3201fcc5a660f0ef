// Prints docs/support.md.
#include <cstdio>

#include "kube/schema/schema.h"

int main() {
  const std::string text = knit::schema::support_markdown();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 1;
}
