#include "kube/selector.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>

#include "kube/names.h"

namespace knit::kube {

namespace {
bool qualified_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
bool qualified_part(std::string_view s) {
  return !s.empty() && qualified_char(s.front()) && qualified_char(s.back()) &&
         std::all_of(s.begin(), s.end(),
                     [](char c) { return qualified_char(c) || c == '-' || c == '_' || c == '.'; });
}

/// Source: apimachinery pkg/labels/selector.go (Lexer and Parser).
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::vector<LabelSelector::Requirement>> parse() {
    std::vector<LabelSelector::Requirement> out;
    std::string token = next();
    if (token.empty()) return out;
    while (true) {
      LabelSelector::Requirement r;
      if (token == "!") {
        r.op = LabelSelector::Op::NotExists;
        token = next();
      }
      if (token.empty() || special(token[0])) return unexpected(token, "identifier");
      r.key = std::move(token);
      if (auto errors = check_qualified_name(r.key); !errors.empty()) {
        return Error(Code::InvalidArgument,
                     "key: Invalid value: \"" + r.key + "\": " + errors.front());
      }
      token = next();
      if (r.op == LabelSelector::Op::NotExists || token.empty() || token == ",") {
        if (r.op != LabelSelector::Op::NotExists) r.op = LabelSelector::Op::Exists;
      } else {
        KNIT_TRY(token, values(r, token));
      }
      out.push_back(std::move(r));
      if (token.empty()) return out;
      if (token != ",") return unexpected(token, "',' or 'end of string'");
      token = next();
      if (token.empty()) return unexpected(token, "identifier after ','");
    }
  }

 private:
  static bool special(char c) {
    return std::string_view("=!(),<>").find(c) != std::string_view::npos;
  }
  static Error unexpected(std::string_view token, std::string_view expected) {
    return Error(Code::InvalidArgument,
                 "found '" + std::string(token) + "', expected: " + std::string(expected));
  }

  std::string next() {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) {
      ++at_;
    }
    if (at_ == text_.size()) return {};
    const std::size_t start = at_;
    if (special(text_[at_])) {
      ++at_;
      if (at_ < text_.size() && text_[at_] == '=' && (text_[start] == '=' || text_[start] == '!')) {
        ++at_;
      }
    } else {
      while (at_ < text_.size() && !special(text_[at_]) &&
             std::string_view(" \t\r\n").find(text_[at_]) == std::string_view::npos) {
        ++at_;
      }
    }
    return std::string(text_.substr(start, at_ - start));
  }

  /// Reads operator `op` and what follows into `r`; gives the token after it.
  Result<std::string> values(LabelSelector::Requirement& r, const std::string& op) {
    using Op = LabelSelector::Op;
    std::string token;
    if (op == "in" || op == "notin") {
      r.op = op == "in" ? Op::In : Op::NotIn;
      token = next();
      if (token != "(") return unexpected(token, "'('");
      bool want_value = true;
      for (token = next(); token != ")"; token = next()) {
        if (token.empty()) return unexpected(token, "',' or ')'");
        if (token == ",") {
          if (want_value) r.values.emplace_back();
          want_value = true;
        } else if (special(token[0]) || !want_value) {
          return unexpected(token, "',' or ')'");
        } else {
          r.values.push_back(std::move(token));
          want_value = false;
        }
      }
      if (want_value) r.values.emplace_back();
      std::sort(r.values.begin(), r.values.end());
      r.values.erase(std::unique(r.values.begin(), r.values.end()), r.values.end());
      token = next();
    } else if (op == "=" || op == "==" || op == "!=" || op == "<" || op == ">") {
      r.op = op == "!=" ? Op::NotIn : op == "<" ? Op::Less : op == ">" ? Op::Greater : Op::In;
      token = next();
      if (token.empty() || token == ",") {
        r.values.emplace_back();
      } else if (special(token[0])) {
        return unexpected(token, "identifier");
      } else {
        r.values.push_back(std::move(token));
        token = next();
      }
    } else {
      return unexpected(op, "in, notin, =, ==, !=, gt, lt");
    }
    for (const std::string& value : r.values) {
      if (auto errors = check_label_value(value); !errors.empty()) {
        return Error(Code::InvalidArgument, "values[0][" + r.key + "]: Invalid value: \"" + value +
                                                "\": " + errors.front());
      }
    }
    if (r.op == Op::Less || r.op == Op::Greater) {
      std::int64_t n = 0;
      const std::string& v = r.values.front();
      const auto [end, ec] = std::from_chars(v.data(), v.data() + v.size(), n);
      if (ec != std::errc() || end != v.data() + v.size()) {
        return Error(Code::InvalidArgument,
                     "values[0]: Invalid value: \"" + v +
                         "\": for 'Gt', 'Lt' operators, the value must be an integer");
      }
    }
    return token;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

bool by_key(const LabelSelector::Requirement& a, const LabelSelector::Requirement& b) {
  return std::tie(a.key, a.op, a.values) < std::tie(b.key, b.op, b.values);
}

std::optional<std::int64_t> integer(std::string_view s) {
  std::int64_t n = 0;
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (ec != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return n;
}

bool matches_one(const LabelSelector::Requirement& r, const Labels& labels) {
  using Op = LabelSelector::Op;
  const auto it =
      std::find_if(labels.begin(), labels.end(), [&](const auto& kv) { return kv.first == r.key; });
  const bool has = it != labels.end();
  switch (r.op) {
    case Op::Exists:
      return has;
    case Op::NotExists:
      return !has;
    case Op::In:
      return has && std::find(r.values.begin(), r.values.end(), it->second) != r.values.end();
    case Op::NotIn:
      return !has || std::find(r.values.begin(), r.values.end(), it->second) == r.values.end();
    case Op::Greater:
    case Op::Less: {
      if (!has) return false;
      const auto value = integer(it->second);
      const auto bound = integer(r.values.front());
      return value && bound && (r.op == Op::Greater ? *value > *bound : *value < *bound);
    }
  }
  return false;
}
}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  auto parsed = Parser(text).parse();
  if (!parsed) return std::move(parsed).error().within("unable to parse requirement");
  LabelSelector s;
  s.requirements_ = std::move(*parsed);
  std::sort(s.requirements_.begin(), s.requirements_.end(), by_key);
  return s;
}

LabelSelector LabelSelector::nothing() {
  LabelSelector s;
  s.nothing_ = true;
  return s;
}

Result<LabelSelector> LabelSelector::from_object(const Json* selector) {
  if (selector == nullptr || selector->is_null()) return nothing();
  LabelSelector s;
  for (const auto& [key, value] : json::string_map(*selector, {"matchLabels"})) {
    s.requirements_.push_back({key, Op::In, {value}});
  }
  for (const Json& e : json::array(*selector, {"matchExpressions"})) {
    Requirement r;
    r.key = json::str(e, {"key"});
    const std::string_view op = json::str(e, {"operator"});
    for (const Json& v : json::array(e, {"values"})) {
      if (v.is_string()) r.values.emplace_back(v.get_string());
    }
    std::sort(r.values.begin(), r.values.end());
    if (op == "In" || op == "NotIn") {
      r.op = op == "In" ? Op::In : Op::NotIn;
      if (r.values.empty()) {
        return Error(Code::InvalidArgument,
                     "values: Invalid value: []: for 'in', 'notin' operators, values set can't be "
                     "empty");
      }
    } else if (op == "Exists" || op == "DoesNotExist") {
      r.op = op == "Exists" ? Op::Exists : Op::NotExists;
      if (!r.values.empty()) {
        return Error(
            Code::InvalidArgument,
            "values: Invalid value: values set must be empty for exists and does not exist");
      }
    } else {
      return Error(Code::InvalidArgument,
                   "\"" + std::string(op) + "\" is not a valid label selector operator");
    }
    s.requirements_.push_back(std::move(r));
  }
  std::sort(s.requirements_.begin(), s.requirements_.end(), by_key);
  return s;
}

LabelSelector LabelSelector::from_map(const Json* map) {
  LabelSelector s;
  if (map != nullptr) {
    for (const auto& [key, value] : json::string_map(*map, {})) {
      s.requirements_.push_back({key, Op::In, {value}});
    }
  }
  if (s.requirements_.empty()) return nothing();
  std::sort(s.requirements_.begin(), s.requirements_.end(), by_key);
  return s;
}

bool LabelSelector::matches(const Labels& labels) const {
  return !nothing_ && std::all_of(requirements_.begin(), requirements_.end(),
                                  [&](const auto& r) { return matches_one(r, labels); });
}

bool LabelSelector::matches_object(const Json& object) const {
  return matches(json::string_map(object, {"metadata", "labels"}));
}

std::string LabelSelector::print() const {
  std::string out;
  for (const Requirement& r : requirements_) {
    if (!out.empty()) out += ',';
    std::string list;
    for (const auto& v : r.values) list += (list.empty() ? "" : ",") + v;
    switch (r.op) {
      case Op::Exists:
        out += r.key;
        break;
      case Op::NotExists:
        out += "!" + r.key;
        break;
      case Op::In:
        out += r.values.size() == 1 ? r.key + "=" + list : r.key + " in (" + list + ")";
        break;
      case Op::NotIn:
        out += r.values.size() == 1 ? r.key + "!=" + list : r.key + " notin (" + list + ")";
        break;
      case Op::Greater:
        out += r.key + ">" + list;
        break;
      case Op::Less:
        out += r.key + "<" + list;
        break;
    }
  }
  return out;
}

/// Source: apimachinery pkg/fields/selector.go
Result<std::vector<FieldTerm>> parse_field_selector(std::string_view text) {
  std::vector<FieldTerm> out;
  std::size_t at = 0;
  while (at < text.size()) {
    FieldTerm term;
    bool have_operator = false;
    const std::size_t start = at;
    for (; at < text.size() && text[at] != ','; ++at) {
      std::string& into = have_operator ? term.value : term.label;
      const char c = text[at];
      if (c == '\\' && have_operator) {
        if (at + 1 == text.size() ||
            std::string_view("\\,=").find(text[at + 1]) == std::string_view::npos) {
          return Error(
              Code::InvalidArgument,
              "invalid field selector: invalid escape sequence in \"" + std::string(text) + "\"");
        }
        into += text[++at];
      } else if (!have_operator && c == '!' && at + 1 < text.size() && text[at + 1] == '=') {
        term.equal = false;
        have_operator = true;
        ++at;
      } else if (!have_operator && c == '=') {
        have_operator = true;
        if (at + 1 < text.size() && text[at + 1] == '=') ++at;
      } else if (have_operator && c == '=') {
        return Error(Code::InvalidArgument, "invalid field selector: unescaped '=' in value of \"" +
                                                std::string(text) + "\"");
      } else {
        into += c;
      }
    }
    const std::string_view part = text.substr(start, at - start);
    if (at < text.size()) ++at;
    if (part.empty()) continue;
    if (!have_operator) {
      return Error(Code::InvalidArgument, "invalid selector: '" + std::string(text) +
                                              "'; can't understand '" + std::string(part) + "'");
    }
    out.push_back(std::move(term));
  }
  return out;
}

std::vector<std::string> check_qualified_name(std::string_view key) {
  std::vector<std::string> errors;
  const auto slash = key.find('/');
  std::string_view name = key;
  if (slash != std::string_view::npos) {
    const std::string_view prefix = key.substr(0, slash);
    name = key.substr(slash + 1);
    if (prefix.empty()) {
      errors.emplace_back("prefix part must be non-empty");
    } else {
      for (const auto& e : check_dns1123_subdomain(prefix)) errors.push_back("prefix part " + e);
    }
    if (name.find('/') != std::string_view::npos) {
      return {
          "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must "
          "start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
          "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') "
          "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"};
    }
  }
  if (name.empty()) {
    errors.emplace_back("name part must be non-empty");
  } else if (name.size() > 63) {
    errors.emplace_back("name part must be no more than 63 characters");
  }
  if (!qualified_part(name)) {
    errors.emplace_back(
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and "
        "end "
        "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used "
        "for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')");
  }
  return errors;
}

std::vector<std::string> check_label_value(std::string_view value) {
  std::vector<std::string> errors;
  if (value.size() > 63) errors.emplace_back("must be no more than 63 characters");
  if (!value.empty() && !qualified_part(value)) {
    errors.emplace_back(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
        "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
        "'my_value',  or '12345', regex used for validation is "
        "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')");
  }
  return errors;
}

}  // namespace knit::kube
