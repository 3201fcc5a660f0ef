#include "base/log.h"

#include <unistd.h>

#include <ctime>

#include "base/time.h"

namespace knit::log {
namespace {
std::atomic<Level> g_level{Level::Info};
std::string g_process = "knit";
void (*g_sink)(Level, std::string_view) = nullptr;

std::string_view name(Level level) {
  switch (level) {
    case Level::Debug: return "debug";
    case Level::Info: return "info";
    case Level::Warn: return "warn";
    case Level::Error: return "error";
  }
  return "?";
}

void append_value(std::string& out, std::string_view v) {
  const bool plain = !v.empty() && v.find_first_of(" \"=\n\t\\") == std::string_view::npos;
  if (plain) {
    out += v;
    return;
  }
  out += '"';
  for (const char c : v) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  out += '"';
}
}  // namespace

void set_level(Level level) { g_level = level; }
void set_process(std::string process) { g_process = std::move(process); }
void set_sink(void (*sink)(Level, std::string_view)) { g_sink = sink; }
bool enabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view module, std::string_view message,
           std::initializer_list<Field> fields) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  std::string line = rfc3339_fraction(WallTime{now.tv_sec * 1'000'000'000 + now.tv_nsec}, 6);
  line += ' ';
  line += name(level);
  line += ' ';
  line += g_process;
  line += '/';
  line += module;
  line += ": ";
  line += message;
  for (const auto& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  line += '\n';
  if (g_sink != nullptr) {
    g_sink(level, line);
    return;
  }
  // One write per line keeps lines of several processes whole.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace knit::log
