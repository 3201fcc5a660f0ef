// The built-in functions. Source: cesql/spec.md 3.5; spec/eventing.md 5.3.
#include <algorithm>

#include "events/filter/cesql_machine.h"
#include "events/filter/text.h"

namespace knit::events::cesql {
namespace {

Item integer(std::size_t n) { return {Kind::Integer, static_cast<std::int32_t>(n), {}}; }
Item boolean(bool b) { return {Kind::Boolean, b ? 1 : 0, {}}; }
Item string(std::string_view s) { return {Kind::String, 0, s}; }

Item length(Machine& m, Item* args, std::size_t) {
  m.to_text(args[0]);
  return integer(text::length(args[0].text));
}

Item join(Machine& m, std::string_view between, Item* args, std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) {
    m.to_text(args[i]);
    if (i > 0) out += between;
    out += args[i].text;
  }
  return m.text(std::move(out));
}
Item concat(Machine& m, Item* args, std::size_t n) { return join(m, "", args, n); }
Item concat_ws(Machine& m, Item* args, std::size_t n) {
  m.to_text(args[0]);
  return join(m, args[0].text, args + 1, n - 1);
}

Item lower(Machine& m, Item* args, std::size_t) {
  m.to_text(args[0]);
  return m.text(text::lower(args[0].text));
}
Item upper(Machine& m, Item* args, std::size_t) {
  m.to_text(args[0]);
  return m.text(text::upper(args[0].text));
}
Item trim(Machine& m, Item* args, std::size_t) {
  m.to_text(args[0]);
  return string(text::trim(args[0].text));
}

// LEFT and RIGHT: n < 0 gives the whole string and a fault.
bool part(Machine& m, Item* args) {
  m.to_text(args[0]);
  if (!m.to_integer(args[1])) {
    args[0].text = {};
    return false;
  }
  if (args[1].number >= 0) return true;
  m.raise(Fault::FunctionEvaluation);
  return false;
}
Item left(Machine& m, Item* args, std::size_t) {
  if (!part(m, args)) return string(args[0].text);
  const std::string_view s = args[0].text;
  return string(s.substr(0, text::offset_of(s, static_cast<std::size_t>(args[1].number))));
}
Item right(Machine& m, Item* args, std::size_t) {
  if (!part(m, args)) return string(args[0].text);
  const std::string_view s = args[0].text;
  const std::size_t have = text::length(s), want = static_cast<std::size_t>(args[1].number);
  return string(want >= have ? s : s.substr(text::offset_of(s, have - want)));
}

Item substring(Machine& m, Item* args, std::size_t n) {
  m.to_text(args[0]);
  if (!m.to_integer(args[1]) || (n == 3 && !m.to_integer(args[2]))) return string({});
  const std::string_view s = args[0].text;
  const auto have = static_cast<std::int64_t>(text::length(s));
  const std::int64_t pos = args[1].number;
  if (pos > have || pos < -have || (n == 3 && args[2].number < 0)) {
    m.raise(Fault::FunctionEvaluation);
    return string({});
  }
  if (pos == 0) return string({});
  const auto from = static_cast<std::size_t>(pos > 0 ? pos - 1 : have + pos);
  const std::string_view rest = s.substr(text::offset_of(s, from));
  if (n == 2) return string(rest);
  return string(rest.substr(0, text::offset_of(rest, static_cast<std::size_t>(args[2].number))));
}

Item absolute(Machine& m, Item* args, std::size_t) {
  if (!m.to_integer(args[0])) return integer(0);
  if (args[0].number == INT32_MIN) {
    m.raise(Fault::Math);
    return integer(INT32_MAX);
  }
  return integer(static_cast<std::size_t>(std::abs(args[0].number)));
}

Item as_int(Machine& m, Item* args, std::size_t) {
  m.to_integer(args[0]);
  return args[0];
}
Item as_bool(Machine& m, Item* args, std::size_t) {
  m.to_boolean(args[0]);
  return args[0];
}
Item as_string(Machine& m, Item* args, std::size_t) {
  m.to_text(args[0]);
  return args[0];
}
Item is_int(Machine&, Item* args, std::size_t) {
  return boolean(args[0].kind != Kind::String || text::parse_int(args[0].text));
}
Item is_bool(Machine&, Item* args, std::size_t) {
  return boolean(args[0].kind != Kind::String || text::is_word(args[0].text, "TRUE") ||
                 text::is_word(args[0].text, "FALSE"));
}

constexpr Function kFunctions[] = {
    {"LENGTH", 1, false, Kind::Integer, length},
    {"CONCAT", 0, true, Kind::String, concat},
    {"CONCAT_WS", 1, true, Kind::String, concat_ws},
    {"LOWER", 1, false, Kind::String, lower},
    {"UPPER", 1, false, Kind::String, upper},
    {"TRIM", 1, false, Kind::String, trim},
    {"LEFT", 2, false, Kind::String, left},
    {"RIGHT", 2, false, Kind::String, right},
    {"SUBSTRING", 2, false, Kind::String, substring},
    {"SUBSTRING", 3, false, Kind::String, substring},
    {"ABS", 1, false, Kind::Integer, absolute},
    {"INT", 1, false, Kind::Integer, as_int},
    {"BOOL", 1, false, Kind::Boolean, as_bool},
    {"STRING", 1, false, Kind::String, as_string},
    {"IS_INT", 1, false, Kind::Boolean, is_int},
    {"IS_BOOL", 1, false, Kind::Boolean, is_bool},
};

}  // namespace

int find_function(std::string_view name, std::size_t arguments) {
  for (std::size_t i = 0; i < std::size(kFunctions); ++i) {
    const Function& f = kFunctions[i];
    if (f.name == name && (f.variadic ? arguments >= f.arity : arguments == f.arity)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}
const Function& function(int number) { return kFunctions[number]; }

}  // namespace knit::events::cesql
