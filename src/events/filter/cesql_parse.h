// CloudEvents SQL 1.0: text to tree. Source: cloudevents/spec cesql/spec.md, CESQLParser.g4;
// spec/eventing.md 5.1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knit::events::cesql {

inline constexpr std::size_t kMaxText = 16 << 10;
inline constexpr std::size_t kMaxNodes = 4096;
inline constexpr std::size_t kMaxDepth = 128;  // of recursion while parsing
inline constexpr std::size_t kMaxTree = 256;   // levels of the tree
inline constexpr std::size_t kMaxArguments = 32;

enum class Operator {
  Multiply,
  Divide,
  Remainder,
  Add,
  Subtract,
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  And,
  Or,
  Xor,
};

/// A node. What of the members counts depends on the kind.
struct Expr {
  enum class Kind {
    Integer,    // number
    Boolean,    // number is 0 or 1
    String,     // text, unescaped
    Attribute,  // text
    Exists,     // text
    Not,        // args[0]
    Negate,     // args[0]
    Like,       // args[0], text is the pattern as it stands in the literal; negated
    In,         // args[0] in args[1..]; negated
    Binary,     // args[0] op args[1]; arithmetic and comparison
    Logic,      // args[0] ops[0] (args[1] ops[1] (...)): AND, OR, XOR associate to the right
    Call,       // text (in upper case) of args
  };
  Kind kind = Kind::Integer;
  std::int32_t number = 0;
  bool negated = false;
  std::uint16_t depth = 0;  // levels below and with this one
  Operator op = Operator::Add;
  std::string text;
  std::vector<Expr> args;
  std::vector<Operator> ops;
};

/// Errors: InvalidArgument naming what was found and where (a byte offset), ResourceExhausted past
/// a limit.
Result<Expr> parse(std::string_view text);

}  // namespace knit::events::cesql
