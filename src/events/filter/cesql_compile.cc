#include <algorithm>

#include "events/filter/cesql_machine.h"

namespace knit::events::cesql {
namespace {

class Compiler {
 public:
  explicit Compiler(Program::Code& out) : out_(out) {}

  Result<void> run(const Expr& root) {
    KNIT_TRY_VOID(emit(root));
    out_.result = kind_of(root);
    return {};
  }

 private:
  // What a fault below leaves as the result.
  static Kind kind_of(const Expr& e) {
    switch (e.kind) {
      case Expr::Kind::Integer:
      case Expr::Kind::Negate:
        return Kind::Integer;
      case Expr::Kind::String:
        return Kind::String;
      case Expr::Kind::Binary:
        return e.op <= Operator::Subtract ? Kind::Integer : Kind::Boolean;
      case Expr::Kind::Call: {
        const int f = find_function(e.text, e.args.size());
        return f < 0 ? Kind::Boolean : function(f).result;
      }
      default:
        return Kind::Boolean;
    }
  }

  Result<void> add(Op op, std::int64_t a, std::size_t b, int stack) {
    out_.code.push_back({op, static_cast<std::int32_t>(a), static_cast<std::uint32_t>(b)});
    depth_ += stack;
    if (depth_ <= static_cast<int>(kStack)) return {};
    return Error(Code::ResourceExhausted,
                 "the expression needs more than " + std::to_string(kStack) + " values at a time");
  }
  std::size_t here() const { return out_.code.size(); }

  std::size_t slot(const std::string& name) {
    static constexpr std::pair<std::string_view, Slot::Core> kCore[] = {
        {"specversion", Slot::Core::Specversion},
        {"type", Slot::Core::Type},
        {"source", Slot::Core::Source},
        {"subject", Slot::Core::Subject},
        {"id", Slot::Core::Id},
        {"time", Slot::Core::Time},
        {"datacontenttype", Slot::Core::Datacontenttype},
    };
    for (std::size_t i = 0; i < out_.slots.size(); ++i) {
      if (out_.slots[i].name == name) return i;
    }
    Slot made{Slot::Core::Other, name};
    for (const auto& [text, core] : kCore) {
      if (text == name) made.core = core;
    }
    out_.slots.push_back(std::move(made));
    return out_.slots.size() - 1;
  }
  std::size_t text(const std::string& s) {
    out_.texts.push_back(s);
    return out_.texts.size() - 1;
  }

  Result<void> emit(const Expr& e) {
    switch (e.kind) {
      case Expr::Kind::Integer:
        return add(Op::Integer, e.number, 0, 1);
      case Expr::Kind::Boolean:
        return add(Op::Boolean, e.number, 0, 1);
      case Expr::Kind::String:
        return add(Op::String, 0, text(e.text), 1);
      case Expr::Kind::Attribute:
        return add(Op::Attribute, 0, slot(e.text), 1);
      case Expr::Kind::Exists:
        return add(Op::Exists, 0, slot(e.text), 1);
      case Expr::Kind::Not:
      case Expr::Kind::Negate:
        KNIT_TRY_VOID(emit(e.args[0]));
        return add(e.kind == Expr::Kind::Not ? Op::Not : Op::Negate, 0, 0, 0);
      case Expr::Kind::Like:
        KNIT_TRY_VOID(emit(e.args[0]));
        out_.patterns.emplace_back(e.text);
        return add(Op::Like, e.negated ? 1 : 0, out_.patterns.size() - 1, 0);
      case Expr::Kind::In:
        return in(e);
      case Expr::Kind::Binary:
        return binary(e);
      case Expr::Kind::Logic:
        return logic(e);
      case Expr::Kind::Call:
        return call(e);
    }
    return {};
  }

  Result<void> in(const Expr& e) {
    KNIT_TRY_VOID(emit(e.args[0]));
    std::vector<std::size_t> found;
    for (std::size_t i = 1; i < e.args.size(); ++i) {
      KNIT_TRY_VOID(emit(e.args[i]));
      found.push_back(here());
      KNIT_TRY_VOID(add(Op::Found, e.negated ? 1 : 0, 0, -1));
    }
    KNIT_TRY_VOID(add(Op::NotFound, e.negated ? 1 : 0, 0, 0));
    for (const std::size_t at : found) out_.code[at].b = static_cast<std::uint32_t>(here());
    return {};
  }

  Result<void> binary(const Expr& e) {
    static constexpr Op kOps[] = {Op::Multiply,  Op::Divide,  Op::Remainder,   Op::Add,
                                  Op::Subtract,  Op::Equal,   Op::NotEqual,    Op::Less,
                                  Op::LessEqual, Op::Greater, Op::GreaterEqual};
    const Expr &l = e.args[0], &r = e.args[1];
    if (e.op == Operator::Equal && l.kind == Expr::Kind::Attribute &&
        r.kind == Expr::Kind::String) {
      const std::size_t attribute = slot(l.text);
      return add(Op::EqualsText, static_cast<std::int64_t>(attribute), text(r.text), 1);
    }
    KNIT_TRY_VOID(emit(l));
    KNIT_TRY_VOID(emit(r));
    return add(kOps[static_cast<std::size_t>(e.op)], 0, 0, -1);
  }

  // a AND (b XOR (c OR d)): what stands to the right of a jump belongs to its operand, so the jumps
  // of AND and OR end behind the XORs to their right and before those to their left.
  Result<void> logic(const Expr& e) {
    std::vector<std::size_t> jumps(e.ops.size(), 0);
    for (std::size_t i = 0; i < e.args.size(); ++i) {
      KNIT_TRY_VOID(emit(e.args[i]));
      KNIT_TRY_VOID(add(Op::ToBoolean, 0, 0, 0));
      if (i == e.ops.size()) break;
      jumps[i] = here();
      if (e.ops[i] != Operator::Xor) {
        KNIT_TRY_VOID(add(e.ops[i] == Operator::And ? Op::IfFalse : Op::IfTrue, 0, 0, -1));
      }
    }
    for (std::size_t i = e.ops.size(); i-- > 0;) {
      if (e.ops[i] == Operator::Xor) {
        KNIT_TRY_VOID(add(Op::Xor, 0, 0, -1));
      } else {
        out_.code[jumps[i]].b = static_cast<std::uint32_t>(here());
      }
    }
    return {};
  }

  Result<void> call(const Expr& e) {
    if (e.text == "KN_VERIFY_CORRELATION_ID") {
      return Error(Code::Unsupported,
                   "KN_VERIFY_CORRELATION_ID belongs to RequestReply, which Knit does not have");
    }
    const int f = find_function(e.text, e.args.size());
    if (f < 0) return add(Op::Missing, 0, 0, 1);
    for (const Expr& arg : e.args) KNIT_TRY_VOID(emit(arg));
    return add(Op::Call, f, e.args.size(), 1 - static_cast<int>(e.args.size()));
  }

  Program::Code& out_;
  int depth_ = 0;
};

}  // namespace

Program::Program(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

Result<Program> Program::compile(std::string_view text) {
  KNIT_TRY(const Expr expr, parse(text));
  return compile(expr);
}

Result<Program> Program::compile(const Expr& expr) {
  auto code = std::make_unique<Code>();
  KNIT_TRY_VOID(Compiler(*code).run(expr));
  code->code.shrink_to_fit();
  return Program(std::move(code));
}

std::size_t Program::size() const {
  std::size_t n = sizeof(Code) + code_->code.capacity() * sizeof(Instruction);
  for (const auto& s : code_->texts) n += sizeof s + s.size();
  for (const auto& s : code_->slots) n += sizeof s + s.name.size();
  return n + code_->patterns.size() * 128;
}

}  // namespace knit::events::cesql
