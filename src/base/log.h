// Structured logging: a constant message and fields, one line each, on standard error.
//   constexpr std::string_view kLogModule = "serving";
//   KNIT_LOG(Info, "revision scaled", KV("revision", key), KV("from", from));
// Fields are not evaluated when the level is off. Never a secret, token or body.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.h"

namespace knit::log {

enum class Level { Debug, Info, Warn, Error };

void set_level(Level level);
/// Shown in every line: the process ("server", "node", …). Set once at start.
void set_process(std::string name);
/// Receives each finished line instead of standard error (tests).
void set_sink(void (*sink)(Level, std::string_view line));
bool enabled(Level level);

struct Field {
  std::string_view key;
  std::string value;
};
void write(Level level, std::string_view module, std::string_view message,
           std::initializer_list<Field> fields);

template <class T>
std::string field_text(const T& v) {
  if constexpr (std::is_same_v<T, bool>) {
    return v ? "true" : "false";
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return std::string(std::string_view(v));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::to_string(v);
  } else if constexpr (std::is_same_v<T, Error>) {
    return v.message();
  } else {
    return std::string(to_string(v));
  }
}

}  // namespace knit::log

#define KV(key, value) \
  ::knit::log::Field { (key), ::knit::log::field_text(value) }
#define KNIT_LOG(level, message, ...)                                       \
  do {                                                                      \
    if (::knit::log::enabled(::knit::log::Level::level)) {                  \
      ::knit::log::write(::knit::log::Level::level, kLogModule, (message),  \
                         {__VA_ARGS__});                                    \
    }                                                                       \
  } while (false)
