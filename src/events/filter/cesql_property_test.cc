// The machine against a second evaluator that walks the tree and knows nothing of byte-code, and
// the parser's precedence against a printer with its own table.
#include "base/random.h"
#include "events/filter/cesql.h"

namespace knit::events::cesql {
namespace {

// ---- a naive evaluator: strings are sequences of code points, LIKE goes back and forth

using Text = std::u32string;

Text decode(const std::string& s) {
  Text out;
  for (std::size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    const std::size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    char32_t v = n == 1 ? c : n == 2 ? c & 0x1f : n == 3 ? c & 0xf : c & 7;
    for (std::size_t k = 1; k < n; ++k) v = v << 6 | (static_cast<unsigned char>(s[i + k]) & 0x3f);
    out += v;
    i += n;
  }
  return out;
}
std::string encode(const Text& t) {
  std::string out;
  for (const char32_t c : t) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xc0 | c >> 6);
      out += static_cast<char>(0x80 | (c & 0x3f));
    } else {
      out += static_cast<char>(0xf0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
      out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
      out += static_cast<char>(0x80 | (c & 0x3f));
    }
  }
  return out;
}

bool naive_like(const Text& s, std::size_t i, const Text& p, std::size_t j) {
  if (j == p.size()) return i == s.size();
  if (p[j] == '%')
    return naive_like(s, i, p, j + 1) || (i < s.size() && naive_like(s, i + 1, p, j));
  if (i == s.size()) return false;
  if (p[j] == '\\' && j + 1 < p.size() && (p[j + 1] == '%' || p[j + 1] == '_')) {
    return s[i] == p[j + 1] && naive_like(s, i + 1, p, j + 2);
  }
  return (p[j] == '_' || p[j] == s[i]) && naive_like(s, i + 1, p, j + 1);
}

struct Failed {
  Value zero;  // what the root gives instead
  Fault fault;
};
using Got = std::variant<Value, Failed>;

class Naive {
 public:
  explicit Naive(const Event& e) : event_(e) {}

  Got eval(const Expr& e) {
    switch (e.kind) {
      case Expr::Kind::Integer:
        return Value::of(e.number);
      case Expr::Kind::Boolean:
        return Value::of(e.number != 0);
      case Expr::Kind::String:
        return Value::of(e.text);
      case Expr::Kind::Attribute: {
        if (const Extension* x = event_.extension(e.text)) {
          if (x->type == ValueType::Integer) return Value::of(std::stoi(x->value));
          if (x->type == ValueType::Boolean) return Value::of(x->value == "true");
          return Value::of(x->value);
        }
        if (const auto v = event_.attribute(e.text)) return Value::of(std::string(*v));
        return fail(Value::of(false), Fault::MissingAttribute);
      }
      case Expr::Kind::Exists:
        return Value::of(event_.attribute(e.text).has_value());
      case Expr::Kind::Not: {
        auto v = get(e.args[0], Kind::Boolean, Value::of(false));
        if (v.index() == 1) return v;
        return Value::of(std::get<0>(v).number == 0);
      }
      case Expr::Kind::Negate: {
        auto v = get(e.args[0], Kind::Integer, Value::of(0));
        if (v.index() == 1) return v;
        return Value::of(
            static_cast<std::int32_t>(0u - static_cast<std::uint32_t>(std::get<0>(v).number)));
      }
      case Expr::Kind::Like: {
        auto v = get(e.args[0], Kind::String, Value::of(false));
        if (v.index() == 1) return v;
        return Value::of(naive_like(decode(std::get<0>(v).text), 0, decode(e.text), 0) !=
                         e.negated);
      }
      case Expr::Kind::In: {
        auto left = eval(e.args[0]);
        if (left.index() == 1) return fail(Value::of(false), std::get<1>(left).fault);
        for (std::size_t i = 1; i < e.args.size(); ++i) {
          auto v = get(e.args[i], std::get<0>(left).kind, Value::of(false));
          if (v.index() == 1) return v;
          if (std::get<0>(v) == std::get<0>(left)) return Value::of(!e.negated);
        }
        return Value::of(e.negated);
      }
      case Expr::Kind::Binary:
        return binary(e);
      case Expr::Kind::Logic:
        return logic(e, 0);
      case Expr::Kind::Call:
        return call(e);
    }
    return Value{};
  }

 private:
  static Got fail(Value zero, Fault fault) { return Failed{std::move(zero), fault}; }

  static std::optional<Value> cast(const Value& v, Kind to) {
    if (v.kind == to) return v;
    switch (to) {
      case Kind::String:
        return v.kind == Kind::Boolean ? Value::of(std::string(v.number != 0 ? "true" : "false"))
                                       : Value::of(std::to_string(v.number));
      case Kind::Boolean: {
        if (v.kind == Kind::Integer) return Value::of(v.number != 0);
        std::string lower;
        for (const char c : v.text) lower += static_cast<char>(std::tolower(c));
        if (lower == "true") return Value::of(true);
        if (lower == "false") return Value::of(false);
        return std::nullopt;
      }
      case Kind::Integer: {
        if (v.kind == Kind::Boolean) return Value::of(v.number);
        std::string digits = v.text;
        const bool sign = !digits.empty() && (digits[0] == '-' || digits[0] == '+');
        if (sign) digits.erase(0, 1);
        if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) {
          return std::nullopt;
        }
        digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
        if (digits.size() > 10) return std::nullopt;
        const std::int64_t n = std::stoll(digits) * (v.text[0] == '-' ? -1 : 1);
        if (n < INT32_MIN || n > INT32_MAX) return std::nullopt;
        return Value::of(static_cast<std::int32_t>(n));
      }
    }
    return std::nullopt;
  }
  // The operand as `kind`; what fails gives the operator's `zero`.
  Got get(const Expr& e, Kind kind, Value zero) {
    auto v = eval(e);
    if (v.index() == 1) return fail(std::move(zero), std::get<1>(v).fault);
    auto c = cast(std::get<0>(v), kind);
    if (!c) return fail(std::move(zero), Fault::Cast);
    return *c;
  }

  Got binary(const Expr& e) {
    const bool math = e.op <= Operator::Subtract;
    const Value zero = math ? Value::of(0) : Value::of(false);
    auto left = eval(e.args[0]);
    if (left.index() == 1) return fail(zero, std::get<1>(left).fault);
    auto right = eval(e.args[1]);
    if (right.index() == 1) return fail(zero, std::get<1>(right).fault);
    if (e.op == Operator::Equal || e.op == Operator::NotEqual) {
      const Value& r = std::get<0>(right);
      const auto l = cast(std::get<0>(left), r.kind);
      if (!l) return fail(zero, Fault::Cast);
      return Value::of((*l == r) == (e.op == Operator::Equal));
    }
    const auto l = cast(std::get<0>(left), Kind::Integer),
               r = cast(std::get<0>(right), Kind::Integer);
    if (!l || !r) return fail(zero, Fault::Cast);
    const std::int64_t x = l->number, y = r->number;
    const auto wrap = [](std::int64_t v) {
      return Value::of(static_cast<std::int32_t>(static_cast<std::uint32_t>(v)));
    };
    switch (e.op) {
      case Operator::Multiply:
        return wrap(x * y);
      case Operator::Add:
        return wrap(x + y);
      case Operator::Subtract:
        return wrap(x - y);
      case Operator::Divide:
      case Operator::Remainder:
        if (y == 0) return fail(zero, Fault::Math);
        return wrap(e.op == Operator::Divide ? x / y : x % y);
      case Operator::Less:
        return Value::of(x < y);
      case Operator::LessEqual:
        return Value::of(x <= y);
      case Operator::Greater:
        return Value::of(x > y);
      default:
        return Value::of(x >= y);
    }
  }

  Got logic(const Expr& e, std::size_t i) {  // args[i] ops[i] (the rest)
    auto left = get(e.args[i], Kind::Boolean, Value::of(false));
    if (left.index() == 1 || i == e.ops.size()) return left;
    const bool l = std::get<0>(left).number != 0;
    if (e.ops[i] == Operator::And && !l) return Value::of(false);
    if (e.ops[i] == Operator::Or && l) return Value::of(true);
    auto right = logic(e, i + 1);
    if (right.index() == 1) return right;
    const bool r = std::get<0>(right).number != 0;
    return Value::of(e.ops[i] == Operator::Xor ? l != r : r);
  }

  Got call(const Expr& e) {
    static const std::map<std::string, std::pair<std::string, Value>> kTable = {
        // parameter types, zero of the result; '*' repeats the last
        {"LENGTH", {"s", Value::of(0)}},
        {"CONCAT", {"s*", Value::of(std::string())}},
        {"CONCAT_WS", {"ss*", Value::of(std::string())}},
        {"LEFT", {"si", Value::of(std::string())}},
        {"RIGHT", {"si", Value::of(std::string())}},
        {"SUBSTRING", {"sii", Value::of(std::string())}},
        {"ABS", {"i", Value::of(0)}},
        {"INT", {"i", Value::of(0)}},
        {"BOOL", {"b", Value::of(false)}},
        {"STRING", {"s", Value::of(std::string())}},
        {"IS_INT", {"?", Value::of(false)}},
        {"IS_BOOL", {"?", Value::of(false)}},
        {"TRIM", {"s", Value::of(std::string())}},
    };
    const auto it = kTable.find(e.text);
    if (it == kTable.end()) return fail(Value::of(false), Fault::MissingFunction);
    const auto& [types, zero] = it->second;
    std::vector<Value> raw, args;
    for (const Expr& a : e.args) {
      auto v = eval(a);
      if (v.index() == 1) return fail(zero, std::get<1>(v).fault);
      raw.push_back(std::get<0>(v));
    }
    for (std::size_t i = 0; i < raw.size(); ++i) {
      const char t = i < types.size() && types[i] != '*' ? types[i] : 's';
      if (t == '?') {
        args.push_back(raw[i]);
        continue;
      }
      auto v = cast(raw[i], t == 's' ? Kind::String : t == 'i' ? Kind::Integer : Kind::Boolean);
      if (!v) return fail(zero, Fault::Cast);
      args.push_back(*v);
    }
    if (e.text == "INT" || e.text == "BOOL" || e.text == "STRING") return args[0];
    if (e.text == "IS_INT") return Value::of(cast(args[0], Kind::Integer).has_value());
    if (e.text == "IS_BOOL") return Value::of(cast(args[0], Kind::Boolean).has_value());
    if (e.text == "ABS") {
      if (args[0].number == INT32_MIN) return fail(Value::of(INT32_MAX), Fault::Math);
      return Value::of(std::abs(args[0].number));
    }
    if (e.text == "CONCAT" || e.text == "CONCAT_WS") {
      std::string out;
      const bool ws = e.text == "CONCAT_WS";
      for (std::size_t i = ws ? 1 : 0; i < args.size(); ++i) {
        if (ws && i > 1) out += args[0].text;
        out += args[i].text;
      }
      return Value::of(out);
    }
    const Text t = decode(args[0].text);
    const auto size = static_cast<std::int64_t>(t.size());
    if (e.text == "LENGTH") return Value::of(static_cast<std::int32_t>(size));
    if (e.text == "TRIM") {
      Text x = t;
      while (!x.empty() && x[0] == ' ') x.erase(0, 1);
      while (!x.empty() && x.back() == ' ') x.pop_back();
      return Value::of(encode(x));
    }
    const std::int64_t a = args[1].number;
    if (e.text == "LEFT" || e.text == "RIGHT") {
      if (a < 0) return fail(args[0], Fault::FunctionEvaluation);
      if (a >= size) return args[0];
      const auto k = static_cast<std::size_t>(a);
      return Value::of(encode(e.text == "LEFT" ? t.substr(0, k) : t.substr(t.size() - k)));
    }
    const std::int64_t len = args.size() == 3 ? args[2].number : size;
    if (a > size || a < -size || len < 0) return fail(zero, Fault::FunctionEvaluation);
    if (a == 0) return Value::of(std::string());
    return Value::of(encode(t.substr(static_cast<std::size_t>(a > 0 ? a - 1 : size + a),
                                     static_cast<std::size_t>(len))));
  }

  const Event& event_;
};

// ---- random trees, printed twice

class Generator {
 public:
  explicit Generator(Random& random) : r_(random) {}

  Expr tree(int depth) {
    Expr e;
    const auto kind = depth <= 0 ? r_.below(5) : r_.below(14);
    switch (kind) {
      case 0:
        e.kind = Expr::Kind::Integer;
        e.number = pick<std::int32_t>({0, 1, 2, 5, -1, -3, INT32_MAX, INT32_MIN});
        break;
      case 1:
        e.kind = Expr::Kind::Boolean;
        e.number = static_cast<std::int32_t>(r_.below(2));
        break;
      case 2:
        e.kind = Expr::Kind::String;
        e.text = string();
        break;
      case 3:
        e.kind = Expr::Kind::Attribute;
        e.text = name();
        break;
      case 4:
        e.kind = Expr::Kind::Exists;
        e.text = name();
        break;
      case 5:
        e.kind = Expr::Kind::Not;
        e.args.push_back(tree(depth - 1));
        break;
      case 6:
        e.kind = Expr::Kind::Negate;
        e.args.push_back(tree(depth - 1));
        break;
      case 7:
        e.kind = Expr::Kind::Like;
        e.negated = r_.below(2) == 0;
        e.args.push_back(tree(depth - 1));
        e.text = pick<std::string>(
            {"%", "a%", "%b", "_", "a_c", "%_b%", "\\%", "t%e", "1%", "", "%a%b", "\xc3\xa9%"});
        break;
      case 8:
        e.kind = Expr::Kind::In;
        e.negated = r_.below(2) == 0;
        for (auto n = 2 + r_.below(3); n > 0; --n) e.args.push_back(tree(depth - 1));
        break;
      case 9:
      case 10:
        e.kind = Expr::Kind::Binary;
        e.op = static_cast<Operator>(r_.below(11));
        e.args.push_back(tree(depth - 1));
        e.args.push_back(tree(depth - 1));
        break;
      case 11:
      case 12:
        e.kind = Expr::Kind::Logic;
        e.args.push_back(tree(depth - 1));
        for (auto n = 1 + r_.below(3); n > 0; --n) {
          e.ops.push_back(pick<Operator>({Operator::And, Operator::Or, Operator::Xor}));
          e.args.push_back(tree(depth - 1));
        }
        break;
      default: {
        e.kind = Expr::Kind::Call;
        const auto [f, n] = pick<std::pair<std::string, std::size_t>>({{"LENGTH", 1},
                                                                       {"CONCAT", 2},
                                                                       {"CONCAT_WS", 3},
                                                                       {"LEFT", 2},
                                                                       {"RIGHT", 2},
                                                                       {"TRIM", 1},
                                                                       {"SUBSTRING", 2},
                                                                       {"SUBSTRING", 3},
                                                                       {"ABS", 1},
                                                                       {"INT", 1},
                                                                       {"BOOL", 1},
                                                                       {"STRING", 1},
                                                                       {"IS_INT", 1},
                                                                       {"IS_BOOL", 1},
                                                                       {"NOFN", 1}});
        e.text = f;
        for (std::size_t i = 0; i < n; ++i) e.args.push_back(tree(depth - 1));
      }
    }
    return e;
  }

  Event event() {
    Event e;
    e.id = string() + "i";
    e.source = "/s";
    e.type = "t";
    if (r_.below(2) == 0) e.subject = "abc";
    if (r_.below(2) == 0) e.set_extension("a", string() + "1");
    if (r_.below(2) == 0) e.set_extension("b", std::to_string(r_.below(5)), ValueType::Integer);
    if (r_.below(2) == 0)
      e.set_extension("c", r_.below(2) == 0 ? "true" : "false", ValueType::Boolean);
    return e;
  }

  // `all`: parentheses around every operator; else only where the table of 5.1 asks for them.
  static std::string print(const Expr& e, bool all, int context = 0) {
    static constexpr const char* kNames[] = {
        "*", "/", "%", "+", "-", "=", "!=", "<", "<=", ">", ">=", "AND", "OR", "XOR"};
    const auto quoted = [](const std::string& s) {
      std::string out = "'";
      for (const char c : s) out += c == '\'' ? std::string("\\'") : std::string(1, c);
      return out + "'";
    };
    std::string out;
    int level = 9;
    switch (e.kind) {
      case Expr::Kind::Integer:
        return std::to_string(e.number);
      case Expr::Kind::Boolean:
        return e.number != 0 ? "TRUE" : "FALSE";
      case Expr::Kind::String:
        return quoted(e.text);
      case Expr::Kind::Attribute:
        return e.text;
      case Expr::Kind::Exists:
        return "EXISTS " + e.text;
      case Expr::Kind::Call: {
        out = e.text + "(";
        for (std::size_t i = 0; i < e.args.size(); ++i)
          out += (i > 0 ? ", " : "") + print(e.args[i], all);
        return out + ")";
      }
      case Expr::Kind::Not:
        level = 7;
        out = "NOT " + print(e.args[0], all, 7);
        break;
      case Expr::Kind::Negate:
        level = 7;
        out = "- " + print(e.args[0], all, 7);
        break;
      case Expr::Kind::Like:
        level = 6;
        out = print(e.args[0], all, 6) + (e.negated ? " NOT" : "") + " LIKE " + quoted(e.text);
        break;
      case Expr::Kind::In:
        level = 6;
        out = print(e.args[0], all, 6) + (e.negated ? " NOT" : "") + " IN (";
        for (std::size_t i = 1; i < e.args.size(); ++i)
          out += (i > 1 ? ", " : "") + print(e.args[i], all);
        out += ")";
        break;
      case Expr::Kind::Binary:
        level = e.op <= Operator::Remainder ? 4 : e.op <= Operator::Subtract ? 3 : 2;
        out = print(e.args[0], all, level) + " " + kNames[static_cast<std::size_t>(e.op)] + " " +
              print(e.args[1], all, level + 1);
        break;
      case Expr::Kind::Logic:
        level = 1;
        for (std::size_t i = 0; i < e.args.size(); ++i) {
          if (i > 0) out += std::string(" ") + kNames[static_cast<std::size_t>(e.ops[i - 1])] + " ";
          // With all parentheses: a AND (b OR (c)).
          if (all && i > 0) out += "(";
          out += print(e.args[i], all, i + 1 == e.args.size() ? 1 : 2);
        }
        if (all) out += std::string(e.args.size() - 1, ')');
        break;
    }
    return all || level < context ? "(" + out + ")" : out;
  }

 private:
  template <class T>
  T pick(std::initializer_list<T> from) {
    return *(from.begin() + r_.below(from.size()));
  }
  std::string string() {
    return pick<std::string>({"", "a", "abc", "1", "-2", "true", "FALSE", "a%b",
                              "\xc3\xa9"
                              "b",
                              " x ", "9999999999"});
  }
  std::string name() { return pick<std::string>({"a", "b", "c", "id", "subject", "type", "none"}); }
  Random& r_;
};

TEST(CesqlProperty, TheMachineAgreesWithTheTree) {
  const auto random = seeded_random(20261125);
  Generator g(*random);
  std::map<Fault, int> faults;
  for (int i = 0; i < 20'000; ++i) {
    const Expr tree = g.tree(static_cast<int>(random->below(5)));
    const std::string full = Generator::print(tree, true), brief = Generator::print(tree, false);
    SCOPED_TRACE(brief);
    const auto a = Program::compile(full), b = Program::compile(brief);
    ASSERT_TRUE(a) << full << ": " << a.error().message();
    ASSERT_TRUE(b) << b.error().message();
    for (int k = 0; k < 3; ++k) {
      const Event event = g.event();
      const Got want = Naive(event).eval(tree);
      const Outcome got = a->evaluate(event);
      const Outcome same = b->evaluate(event);
      ++faults[got.fault];
      if (want.index() == 0) {
        ASSERT_EQ(to_string(got.fault), "none") << full;
        ASSERT_TRUE(got.value == std::get<0>(want))
            << full << " " << got.value.text << got.value.number;
      } else {
        ASSERT_EQ(to_string(got.fault), to_string(std::get<1>(want).fault)) << full;
        ASSERT_TRUE(got.value == std::get<1>(want).zero) << full;
      }
      ASSERT_TRUE(got == same) << full;
    }
  }
  for (const Fault f : {Fault::None, Fault::Math, Fault::Cast, Fault::MissingAttribute,
                        Fault::MissingFunction, Fault::FunctionEvaluation}) {
    EXPECT_GT(faults[f], 100) << to_string(f);
  }
}

TEST(CesqlProperty, LikeAgreesWithBacktracking) {
  const auto random = seeded_random(7);
  int yes = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string text, pattern;
    for (auto n = random->below(9); n > 0; --n)
      text += random->below(8) == 0 ? "\xc3\xa9" : std::string(1, "ab%"[random->below(3)]);
    for (auto n = random->below(8); n > 0; --n) {
      static constexpr const char* kParts[] = {"a",        "b",   "%",   "%", "_",
                                               "\xc3\xa9", "\\%", "\\_", "\\"};
      pattern += kParts[random->below(std::size(kParts))];
    }
    if (pattern.ends_with("\\")) pattern += "a";
    const auto program = Program::compile("'" + text + "' LIKE '" + pattern + "'");
    ASSERT_TRUE(program) << pattern;
    const bool want = naive_like(decode(text), 0, decode(pattern), 0);
    ASSERT_EQ(program->matches(Event{}), want) << text << " LIKE " << pattern;
    yes += want;
  }
  EXPECT_GT(yes, 3000);
}

}  // namespace
}  // namespace knit::events::cesql
