// CloudEvents SQL 1.0, compiled to byte-code once and evaluated per event without allocation (but
// for texts that functions make). Source: cloudevents/spec cesql/spec.md;
// spec/eventing.md 5.2, 5.3.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "events/filter/cesql_parse.h"
#include "events/model/event.h"

namespace knit::events::cesql {

enum class Kind : std::uint8_t { String, Integer, Boolean };

/// What went wrong while an expression was evaluated. (ParseError is compile()'s.)
enum class Fault : std::uint8_t {
  None,
  Math,  // division by zero, ABS of the smallest integer
  Cast,
  MissingAttribute,
  MissingFunction,
  FunctionEvaluation,
  Generic,  // the bounds of one evaluation: 1 MiB of text made, 4 million characters compared
};
std::string_view to_string(Fault fault);

struct Value {
  Kind kind = Kind::Boolean;
  std::int32_t number = 0;  // Integer; Boolean as 0 or 1
  std::string text;         // String

  bool operator==(const Value&) const = default;
  static Value of(std::string s) { return {Kind::String, 0, std::move(s)}; }
  static Value of(std::int32_t n) { return {Kind::Integer, n, {}}; }
  static Value of(bool b) { return {Kind::Boolean, b ? 1 : 0, {}}; }
};

struct Outcome {
  Value value;
  Fault fault = Fault::None;
  bool operator==(const Outcome&) const = default;
};

/// Where evaluation goes in fail-fast mode: an operator or function whose operand failed gives the
/// zero value of its own type with the operand's fault, and nothing else is evaluated.
class Program {
 public:
  /// Errors: InvalidArgument (a ParseError), ResourceExhausted (a bound of cesql_parse.h),
  /// Unsupported (a function of a feature that Knit does not have).
  static Result<Program> compile(std::string_view text);
  static Result<Program> compile(const Expr& expr);
  Program(Program&&) noexcept;
  Program& operator=(Program&&) noexcept;
  ~Program();

  /// A filter passes when the result, cast to Boolean, is true and there is no fault.
  bool matches(const Event& event) const;
  Outcome evaluate(const Event& event) const;
  /// Bytes that the program takes.
  std::size_t size() const;

  struct Code;

 private:
  explicit Program(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

}  // namespace knit::events::cesql
