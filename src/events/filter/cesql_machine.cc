#include "events/filter/cesql_machine.h"

#include <charconv>

#include "events/filter/text.h"

namespace knit::events::cesql {
namespace {

constexpr std::size_t kMaxMade = 1 << 20;

Item zero(Kind kind) { return {kind, 0, {}}; }
Item boolean(bool b) { return {Kind::Boolean, b ? 1 : 0, {}}; }

// Overflow of + - * is not defined by the specification; as upstream's, it wraps.
std::int32_t wrap(std::int64_t v) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(v & 0xffffffff));
}

}  // namespace

bool Machine::to_integer(Item& item) {
  if (item.kind == Kind::String) {
    const auto v = text::parse_int(item.text);
    item = {Kind::Integer, v.value_or(0), {}};
    if (!v) raise(Fault::Cast);
    return v.has_value();
  }
  item.kind = Kind::Integer;
  return true;
}

bool Machine::to_boolean(Item& item) {
  if (item.kind == Kind::String) {
    const bool yes = text::is_word(item.text, "TRUE");
    const bool known = yes || text::is_word(item.text, "FALSE");
    item = boolean(yes);
    if (!known) raise(Fault::Cast);
    return known;
  }
  item = boolean(item.number != 0);
  return true;
}

void Machine::to_text(Item& item) {
  if (item.kind == Kind::String) return;
  if (item.kind == Kind::Boolean) {
    item = {Kind::String, 0, item.number != 0 ? "true" : "false"};
    return;
  }
  if (numbers_used_ == std::size(numbers_)) {
    item = text(std::to_string(item.number));
    return;
  }
  char* buffer = numbers_[numbers_used_++];
  const auto end = std::to_chars(buffer, buffer + sizeof numbers_[0], item.number);
  item = {Kind::String, 0, std::string_view(buffer, static_cast<std::size_t>(end.ptr - buffer))};
}

Item Machine::text(std::string made) {
  made_bytes_ += made.size();
  if (made_bytes_ > kMaxMade) {
    raise(Fault::Generic);
    return zero(Kind::String);
  }
  made_.push_front(std::move(made));
  return {Kind::String, 0, made_.front()};
}

bool Machine::cast_to(Item& item, Kind kind) {
  switch (kind) {
    case Kind::Integer:
      return to_integer(item);
    case Kind::Boolean:
      return to_boolean(item);
    case Kind::String:
      to_text(item);
      return true;
  }
  return false;
}

bool Machine::attribute(const Slot& slot, Item& out) const {
  out.kind = Kind::String;
  switch (slot.core) {
    case Slot::Core::Specversion:
      out.text = event_.specversion;
      return true;
    case Slot::Core::Type:
      out.text = event_.type;
      return true;
    case Slot::Core::Source:
      out.text = event_.source;
      return true;
    case Slot::Core::Id:
      out.text = event_.id;
      return true;
    case Slot::Core::Subject:
      out.text = event_.subject;
      return !out.text.empty();
    case Slot::Core::Time:
      out.text = event_.time;
      return !out.text.empty();
    case Slot::Core::Datacontenttype:
      out.text = event_.datacontenttype;
      return !out.text.empty();
    case Slot::Core::Other:
      break;
  }
  if (const Extension* e = event_.extension(slot.name)) {
    out.text = e->value;
    if (e->type == ValueType::Integer) {
      const auto v = text::parse_int(e->value);
      if (v) out = {Kind::Integer, *v, {}};
    } else if (e->type == ValueType::Boolean) {
      out = boolean(e->value == "true");
    }
    return true;
  }
  const auto value = event_.attribute(slot.name);
  if (!value) return false;
  out.text = *value;
  return true;
}

bool Machine::arithmetic(Op op, Item& left, Item right) {
  if (!to_integer(left) || !to_integer(right)) {
    left = zero(Kind::Integer);
    return false;
  }
  const std::int64_t x = left.number, y = right.number;
  if ((op == Op::Divide || op == Op::Remainder) && y == 0) {
    raise(Fault::Math);
    left.number = 0;
    return false;
  }
  switch (op) {
    case Op::Multiply:
      left.number = wrap(x * y);
      break;
    case Op::Divide:
      left.number = wrap(x / y);
      break;
    case Op::Remainder:
      left.number = wrap(x % y);
      break;
    case Op::Add:
      left.number = wrap(x + y);
      break;
    default:
      left.number = wrap(x - y);
  }
  return true;
}

bool Machine::equal(Item left, const Item& right, bool& out) {
  if (!cast_to(left, right.kind)) return false;
  out = right.kind == Kind::String ? left.text == right.text : left.number == right.number;
  return true;
}

bool Machine::compare(Op op, Item& left, Item right) {
  if (op == Op::Equal || op == Op::NotEqual) {
    bool same = false;
    const bool known = equal(left, right, same);
    left = boolean(known && same == (op == Op::Equal));
    return known;
  }
  if (!to_integer(left) || !to_integer(right)) {
    left = boolean(false);
    return false;
  }
  const std::int32_t x = left.number, y = right.number;
  left = boolean(op == Op::Less        ? x < y
                 : op == Op::LessEqual ? x <= y
                 : op == Op::Greater   ? x > y
                                       : x >= y);
  return true;
}

Item Machine::run(Fault& fault) {
  Item stack[kStack + 1];  // the first place stays empty
  Item* top = stack;       // the last value
  const auto& code = code_.code;
  std::size_t pc = 0;
  while (pc < code.size()) {
    const Instruction& i = code[pc++];
    switch (i.op) {
      case Op::Integer:
        *++top = {Kind::Integer, i.a, {}};
        break;
      case Op::Boolean:
        *++top = boolean(i.a != 0);
        break;
      case Op::String:
        *++top = {Kind::String, 0, code_.texts[i.b]};
        break;
      case Op::Attribute:
        *++top = {};
        if (!attribute(code_.slots[i.b], *top)) {
          raise(Fault::MissingAttribute);
          *top = boolean(false);
        }
        break;
      case Op::Exists: {
        Item unused;
        *++top = boolean(attribute(code_.slots[i.b], unused));
        break;
      }
      case Op::Missing:
        raise(Fault::MissingFunction);
        *++top = boolean(false);
        break;
      case Op::Not:
        if (to_boolean(*top)) top->number ^= 1;
        break;
      case Op::Negate:
        if (to_integer(*top)) top->number = wrap(-std::int64_t{top->number});
        break;
      case Op::ToBoolean:
        to_boolean(*top);
        break;
      case Op::Like: {
        to_text(*top);
        const auto verdict = code_.patterns[i.b].matches(top->text, budget_);
        if (verdict == Like::Verdict::OutOfBudget || budget_ < 0) raise(Fault::Generic);
        *top = boolean((verdict == Like::Verdict::Yes) != (i.a != 0));
        break;
      }
      case Op::Multiply:
      case Op::Divide:
      case Op::Remainder:
      case Op::Add:
      case Op::Subtract:
        --top;
        arithmetic(i.op, *top, top[1]);
        break;
      case Op::Equal:
      case Op::NotEqual:
      case Op::Less:
      case Op::LessEqual:
      case Op::Greater:
      case Op::GreaterEqual:
        --top;
        compare(i.op, *top, top[1]);
        break;
      case Op::EqualsText: {
        *++top = {};
        if (!attribute(code_.slots[static_cast<std::size_t>(i.a)], *top)) {
          raise(Fault::MissingAttribute);
          *top = boolean(false);
          break;
        }
        to_text(*top);
        *top = boolean(top->text == code_.texts[i.b]);
        break;
      }
      case Op::IfFalse:
      case Op::IfTrue:
        if ((top->number != 0) == (i.op == Op::IfTrue)) {
          pc = i.b;
        } else {
          --top;
        }
        break;
      case Op::Xor:
        --top;
        top->number ^= top[1].number;
        break;
      case Op::Found: {
        --top;
        Item element = top[1];
        bool same = false;
        if (!cast_to(element, top->kind) || !equal(*top, element, same)) {
          *top = boolean(false);
        } else if (same) {
          *top = boolean(i.a == 0);
          pc = i.b;
        }
        break;
      }
      case Op::NotFound:
        *top = boolean(i.a != 0);
        break;
      case Op::Call: {
        top -= static_cast<std::ptrdiff_t>(i.b) - 1;
        *top = function(i.a).call(*this, top, i.b);
        break;
      }
    }
    if (fault_ != Fault::None) {
      fault = fault_;
      // The root's own value counts (LEFT of a negative length); one below it leaves zero.
      return pc >= code.size() && top == stack + 1 ? *top : zero(code_.result);
    }
  }
  return *top;
}

std::string_view to_string(Fault fault) {
  switch (fault) {
    case Fault::None:
      return "none";
    case Fault::Math:
      return "math";
    case Fault::Cast:
      return "cast";
    case Fault::MissingAttribute:
      return "missingAttribute";
    case Fault::MissingFunction:
      return "missingFunction";
    case Fault::FunctionEvaluation:
      return "functionEvaluation";
    case Fault::Generic:
      return "generic";
  }
  return "";
}

bool Program::matches(const Event& event) const {
  Machine machine(*code_, event);
  Fault fault = Fault::None;
  Item result = machine.run(fault);
  return fault == Fault::None && machine.to_boolean(result) && result.number != 0;
}

Outcome Program::evaluate(const Event& event) const {
  Machine machine(*code_, event);
  Outcome out;
  const Item result = machine.run(out.fault);
  out.value = {result.kind, result.kind == Kind::String ? 0 : result.number,
               result.kind == Kind::String ? std::string(result.text) : std::string()};
  return out;
}

}  // namespace knit::events::cesql
