#include "events/filter/cesql_parse.h"

#include <algorithm>

#include "events/filter/text.h"

namespace knit::events::cesql {
namespace {

enum class Token {
  End,
  Word,
  Integer,
  String,
  Open,
  Close,
  Comma,
  Star,
  Slash,
  Percent,
  Plus,
  Minus,
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  And,
  Or,
  Xor,
  Not,
  Like,
  Exists,
  In,
  True,
  False,
  Bad,
};

struct Lexed {
  Token token = Token::End;
  std::string_view text;  // as it stands there
  std::size_t at = 0;
};

bool word_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Lexed next() {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[at_]) != std::string::npos) {
      ++at_;
    }
    Lexed out{Token::End, {}, at_};
    if (at_ == text_.size()) return out;
    const char c = text_[at_];
    std::size_t n = 1;
    if (word_char(c)) {
      while (at_ + n < text_.size() && word_char(text_[at_ + n])) ++n;
      out.text = text_.substr(at_, n);
      out.token = word(out.text);
    } else if (c == '\'' || c == '"') {
      out.token = Token::Bad;
      for (; at_ + n < text_.size(); ++n) {
        if (text_[at_ + n] == '\\' && at_ + n + 1 < text_.size()) {
          ++n;
        } else if (text_[at_ + n] == c) {
          if (at_ + n + 1 < text_.size() && text_[at_ + n + 1] == c) {
            ++n;  // a doubled quote
            continue;
          }
          out.token = Token::String;
          ++n;
          break;
        }
      }
      n = std::min(n, text_.size() - at_);
      out.text = text_.substr(at_, n);
    } else {
      const std::string_view two = text_.substr(at_, 2);
      if (two == "!=" || two == "<>" || two == "<=" || two == ">=") {
        n = 2;
        out.token = two == "<="   ? Token::LessEqual
                    : two == ">=" ? Token::GreaterEqual
                                  : Token::NotEqual;
      } else {
        out.token = symbol(c);
      }
      out.text = text_.substr(at_, n);
    }
    at_ += n;
    return out;
  }

 private:
  static Token symbol(char c) {
    switch (c) {
      case '(':
        return Token::Open;
      case ')':
        return Token::Close;
      case ',':
        return Token::Comma;
      case '*':
        return Token::Star;
      case '/':
        return Token::Slash;
      case '%':
        return Token::Percent;
      case '+':
        return Token::Plus;
      case '-':
        return Token::Minus;
      case '=':
        return Token::Equal;
      case '<':
        return Token::Less;
      case '>':
        return Token::Greater;
      default:
        return Token::Bad;
    }
  }
  static Token word(std::string_view w) {
    static constexpr std::pair<std::string_view, Token> kWords[] = {
        {"AND", Token::And}, {"OR", Token::Or},     {"XOR", Token::Xor},
        {"NOT", Token::Not}, {"LIKE", Token::Like}, {"EXISTS", Token::Exists},
        {"IN", Token::In},   {"TRUE", Token::True}, {"FALSE", Token::False},
    };
    for (const auto& [text, token] : kWords) {
      if (text::is_word(w, text)) return token;
    }
    const bool digits =
        std::all_of(w.begin(), w.end(), [](char c) { return c >= '0' && c <= '9'; });
    return digits ? Token::Integer : Token::Word;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// Without the quotes; `\` before the quote and a doubled quote stand for the quote.
std::string unescape(std::string_view literal) {
  const char quote = literal[0];
  literal = literal.substr(1, literal.size() - 2);
  std::string out;
  for (std::size_t i = 0; i < literal.size(); ++i) {
    const bool pair = i + 1 < literal.size() && literal[i + 1] == quote;
    if (pair && (literal[i] == '\\' || literal[i] == quote)) ++i;
    out += literal[i];
  }
  return out;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) { advance(); }

  Result<Expr> all() {
    KNIT_TRY(Expr out, logic());
    if (now_.token != Token::End) return unexpected("an operator or the end");
    return out;
  }

 private:
  void advance() {
    now_ = next_ ? *next_ : lexer_.next();
    next_.reset();
  }
  const Lexed& peek() {
    if (!next_) next_ = lexer_.next();
    return *next_;
  }
  Error unexpected(std::string_view wanted) const {
    std::string found = now_.token == Token::End ? "the end" : "\"" + std::string(now_.text) + "\"";
    if (found.size() > 60) found = found.substr(0, 57) + "...\"";
    return Error(Code::InvalidArgument, "syntax error at offset " + std::to_string(now_.at) +
                                            ": expected " + std::string(wanted) + ", found " +
                                            found);
  }
  Result<Expr> make(Expr expr) {
    if (++nodes_ > kMaxNodes) {
      return Error(Code::ResourceExhausted,
                   "the expression has more than " + std::to_string(kMaxNodes) + " parts");
    }
    for (const Expr& e : expr.args) expr.depth = std::max(expr.depth, e.depth);
    if (++expr.depth > kMaxTree) return too_deep(kMaxTree);
    return expr;
  }

  // Every level of parentheses, arguments and unary operators counts one.
  struct Deeper {
    explicit Deeper(std::size_t& depth) : d(depth) { ++d; }
    ~Deeper() { --d; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    std::size_t& d;
  };
  Result<void> deep() const {
    if (depth_ <= kMaxDepth) return {};
    return too_deep(kMaxDepth);
  }
  static Error too_deep(std::size_t limit) {
    return Error(Code::ResourceExhausted,
                 "the expression is nested deeper than " + std::to_string(limit));
  }

  Result<Expr> logic() {
    const Deeper deeper(depth_);
    KNIT_TRY_VOID(deep());
    KNIT_TRY(Expr first, comparison());
    Expr out;
    out.kind = Expr::Kind::Logic;
    while (true) {
      Operator op = Operator::And;
      if (now_.token == Token::Or) {
        op = Operator::Or;
      } else if (now_.token == Token::Xor) {
        op = Operator::Xor;
      } else if (now_.token != Token::And) {
        break;
      }
      advance();
      if (out.args.empty()) out.args.push_back(std::move(first));
      KNIT_TRY(Expr next, comparison());
      out.ops.push_back(op);
      out.args.push_back(std::move(next));
    }
    if (out.args.empty()) return first;
    return make(std::move(out));
  }

  template <class Next>
  Result<Expr> left(Next next, std::initializer_list<std::pair<Token, Operator>> operators) {
    KNIT_TRY(Expr out, (this->*next)());
    while (true) {
      const auto it = std::find_if(operators.begin(), operators.end(),
                                   [&](const auto& o) { return o.first == now_.token; });
      if (it == operators.end()) return out;
      advance();
      KNIT_TRY(Expr right, (this->*next)());
      Expr node;
      node.kind = Expr::Kind::Binary;
      node.op = it->second;
      node.args.push_back(std::move(out));
      node.args.push_back(std::move(right));
      KNIT_TRY(out, make(std::move(node)));
    }
  }
  Result<Expr> comparison() {
    return left(&Parser::additive, {{Token::Equal, Operator::Equal},
                                    {Token::NotEqual, Operator::NotEqual},
                                    {Token::Less, Operator::Less},
                                    {Token::LessEqual, Operator::LessEqual},
                                    {Token::Greater, Operator::Greater},
                                    {Token::GreaterEqual, Operator::GreaterEqual}});
  }
  Result<Expr> additive() {
    return left(&Parser::multiplicative,
                {{Token::Plus, Operator::Add}, {Token::Minus, Operator::Subtract}});
  }
  Result<Expr> multiplicative() {
    return left(&Parser::postfix, {{Token::Star, Operator::Multiply},
                                   {Token::Slash, Operator::Divide},
                                   {Token::Percent, Operator::Remainder}});
  }

  // LIKE and IN, left to right.
  Result<Expr> postfix() {
    KNIT_TRY(Expr out, unary());
    while (true) {
      const bool negated = now_.token == Token::Not;
      const Token op = negated ? peek().token : now_.token;
      if (op != Token::Like && op != Token::In) return out;
      if (negated) advance();
      advance();
      Expr node;
      node.negated = negated;
      node.args.push_back(std::move(out));
      if (op == Token::Like) {
        node.kind = Expr::Kind::Like;
        if (now_.token != Token::String) return unexpected("a string after LIKE");
        node.text = unescape(now_.text);
        advance();
      } else {
        node.kind = Expr::Kind::In;
        if (now_.token != Token::Open) return unexpected("\"(\" after IN");
        advance();
        KNIT_TRY_VOID(list(node.args, kMaxNodes));
      }
      KNIT_TRY(out, make(std::move(node)));
    }
  }

  // Expressions up to the closing parenthesis, at least one.
  Result<void> list(std::vector<Expr>& out, std::size_t limit) {
    while (true) {
      KNIT_TRY(Expr item, logic());
      out.push_back(std::move(item));
      if (out.size() > limit) {
        return Error(Code::ResourceExhausted, "more than " + std::to_string(limit) + " arguments");
      }
      if (now_.token == Token::Close) break;
      if (now_.token != Token::Comma) return unexpected("\",\" or \")\"");
      advance();
    }
    advance();
    return {};
  }

  Result<Expr> unary() {
    const Deeper deeper(depth_);
    KNIT_TRY_VOID(deep());
    Expr node;
    switch (now_.token) {
      case Token::Not: {
        advance();
        KNIT_TRY(Expr operand, unary());
        node.kind = Expr::Kind::Not;
        node.args.push_back(std::move(operand));
        return make(std::move(node));
      }
      case Token::Plus:
      case Token::Minus: {
        // Right before digits it is the sign of the literal: -2147483648 is one.
        const bool minus = now_.token == Token::Minus;
        const bool literal = peek().token == Token::Integer && peek().at == now_.at + 1;
        if (!minus && !literal) return unexpected("an expression");
        advance();
        if (literal) return integer(minus ? "-" : "+");
        KNIT_TRY(Expr operand, unary());
        node.kind = Expr::Kind::Negate;
        node.args.push_back(std::move(operand));
        return make(std::move(node));
      }
      default:
        return primary();
    }
  }

  Result<Expr> integer(std::string sign) {
    const auto value = text::parse_int(sign + std::string(now_.text));
    if (!value) return unexpected("an integer of 32 bits");
    advance();
    Expr node;
    node.kind = Expr::Kind::Integer;
    node.number = *value;
    return make(std::move(node));
  }

  Result<Expr> primary() {
    Expr node;
    switch (now_.token) {
      case Token::Integer:
        return integer("");
      case Token::True:
      case Token::False:
        node.kind = Expr::Kind::Boolean;
        node.number = now_.token == Token::True ? 1 : 0;
        advance();
        return make(std::move(node));
      case Token::String:
        node.kind = Expr::Kind::String;
        node.text = unescape(now_.text);
        advance();
        return make(std::move(node));
      case Token::Open: {
        advance();
        KNIT_TRY(Expr inner, logic());
        if (now_.token != Token::Close) return unexpected("\")\"");
        advance();
        return inner;
      }
      case Token::Exists:
        advance();
        if (now_.token != Token::Word && now_.token != Token::Integer) {
          return unexpected("an attribute after EXISTS");
        }
        return attribute(Expr::Kind::Exists);
      case Token::Word:
        if (peek().token == Token::Open) return call();
        return attribute(Expr::Kind::Attribute);
      default:
        return unexpected("an expression");
    }
  }

  Result<Expr> attribute(Expr::Kind kind) {
    if (now_.text.find('_') != std::string_view::npos) return unexpected("an attribute");
    Expr node;
    node.kind = kind;
    node.text = std::string(now_.text);
    advance();
    return make(std::move(node));
  }

  Result<Expr> call() {
    const bool name = std::none_of(now_.text.begin(), now_.text.end(),
                                   [](char c) { return c >= '0' && c <= '9'; }) &&
                      now_.text[0] != '_';
    if (!name) return unexpected("a function");
    Expr node;
    node.kind = Expr::Kind::Call;
    node.text = text::upper(now_.text);
    advance();
    advance();
    if (now_.token == Token::Close) {
      advance();
    } else {
      KNIT_TRY_VOID(list(node.args, kMaxArguments));
    }
    return make(std::move(node));
  }

  Lexer lexer_;
  Lexed now_;
  std::optional<Lexed> next_;
  std::size_t nodes_ = 0, depth_ = 0;
};

}  // namespace

Result<Expr> parse(std::string_view text) {
  if (text.size() > kMaxText) {
    return Error(Code::ResourceExhausted,
                 "the expression is longer than " + std::to_string(kMaxText) + " bytes");
  }
  return Parser(text).all();
}

}  // namespace knit::events::cesql
