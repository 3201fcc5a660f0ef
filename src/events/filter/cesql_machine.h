// The byte-code and the machine that runs it; inside of cesql.h.
#pragma once

#include <forward_list>
#include <vector>

#include "events/filter/cesql.h"
#include "events/filter/like.h"

namespace knit::events::cesql {

inline constexpr std::size_t kStack = 64;

enum class Op : std::uint8_t {
  Integer,    // push a
  Boolean,    // push a
  String,     // push text b of length a
  Attribute,  // push attribute b, or fault
  Exists,     // push
  Missing,    // push the zero value; fault MissingFunction
  Not,
  Negate,
  ToBoolean,
  Like,  // a: negated, b: pattern
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
  EqualsText,  // attribute a = text b (a fused Attribute, String, Equal)
  IfFalse,     // top is false: go to b; else pop
  IfTrue,      // top is true: go to b; else pop
  Xor,
  Found,     // pops an element of a set; equal to the one below: replace that by !a and go to b
  NotFound,  // replaces the top by a
  Call,      // a: function, b: arguments
};

struct Instruction {
  Op op;
  std::int32_t a = 0;
  std::uint32_t b = 0;
};

/// Core attributes have their own numbers; extensions are looked up by name.
struct Slot {
  enum class Core : std::uint8_t {
    Specversion,
    Type,
    Source,
    Subject,
    Id,
    Time,
    Datacontenttype,
    Other
  };
  Core core = Core::Other;
  std::string name;
};

struct Program::Code {
  std::vector<Instruction> code;
  std::vector<Slot> slots;
  std::vector<Like> patterns;
  std::vector<std::string> texts;
  Kind result = Kind::Boolean;  // of the root, where a fault below it leaves a zero value
};

/// A value on the stack; its text belongs to the event, the program or the machine.
struct Item {
  Kind kind = Kind::Boolean;
  std::int32_t number = 0;
  std::string_view text;
};

class Machine {
 public:
  Machine(const Program::Code& code, const Event& event) : code_(code), event_(event) {}
  /// The result; `fault` tells whether it counts.
  Item run(Fault& fault);

  // For functions.
  bool to_integer(Item& item);  // false: a CastError was raised
  bool to_boolean(Item& item);
  void to_text(Item& item);
  Item text(std::string made);
  void raise(Fault fault) {
    if (fault_ == Fault::None) fault_ = fault;
  }

 private:
  bool attribute(const Slot& slot, Item& out) const;
  bool arithmetic(Op op, Item& left, Item right);
  bool compare(Op op, Item& left, Item right);
  bool equal(Item left, const Item& right, bool& out);
  bool cast_to(Item& item, Kind kind);

  const Program::Code& code_;
  const Event& event_;
  Fault fault_ = Fault::None;
  std::int64_t budget_ = 4'000'000;
  std::size_t made_bytes_ = 0;
  std::forward_list<std::string> made_;
  char numbers_[4][12] = {};  // decimal forms of the first few integers
  std::size_t numbers_used_ = 0;
};

struct Function {
  std::string_view name;
  std::size_t arity;  // of fixed arguments
  bool variadic;
  Kind result;
  Item (*call)(Machine&, Item* args, std::size_t n);
};
/// The number of a function, or -1.
int find_function(std::string_view name, std::size_t arguments);
const Function& function(int number);

}  // namespace knit::events::cesql
