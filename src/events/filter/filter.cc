#include "events/filter/filter.h"

#include <algorithm>

namespace knit::events {
namespace {

constexpr std::size_t kMaxDepth = 16;
constexpr std::size_t kMaxParts = 1000;
constexpr std::size_t kMaxValues = 64;

// The validator's ^[a-z][a-z0-9]*$
bool valid_attribute(std::string_view name) {
  return valid_name(name) && !(name[0] >= '0' && name[0] <= '9');
}

Error invalid(const std::string& path, const std::string& what) {
  return Error(Code::InvalidArgument, path + ": " + what);
}

class Reader {
 public:
  Result<FilterSpec> filter(const Json& json, const std::string& path, std::size_t depth) {
    if (depth > kMaxDepth) {
      return Error(Code::ResourceExhausted,
                   path + ": filters are nested deeper than " + std::to_string(kMaxDepth));
    }
    KNIT_TRY_VOID(count(path));
    if (!json.is_object()) return invalid(path, "a filter is an object");
    FilterSpec out;
    std::size_t dialects = 0;
    for (const auto& [key, value] : json.get_object()) {
      const std::string name(key);
      const std::string at = path + "." + name;
      if (value.is_null() || (value.is_array() && value.get_array().empty()) ||
          (value.is_object() && value.get_object().empty()) ||
          (value.is_string() && value.get_string().empty())) {
        continue;
      }
      ++dialects;
      if (name == "exact" || name == "prefix" || name == "suffix") {
        out.kind = name == "exact"    ? FilterSpec::Kind::Exact
                   : name == "prefix" ? FilterSpec::Kind::Prefix
                                      : FilterSpec::Kind::Suffix;
        KNIT_TRY(out.pairs, pairs(value, at));
      } else if (name == "all" || name == "any") {
        out.kind = name == "all" ? FilterSpec::Kind::All : FilterSpec::Kind::Any;
        KNIT_TRY(out.children, list(value, at, depth + 1));
      } else if (name == "not") {
        out.kind = FilterSpec::Kind::Not;
        KNIT_TRY(FilterSpec child, filter(value, at, depth + 1));
        out.children.push_back(std::move(child));
      } else if (name == "cesql") {
        out.kind = FilterSpec::Kind::Cesql;
        if (!value.is_string()) return invalid(at, "an expression is a string");
        out.text = std::string(value.get_string());
        auto program = cesql::Program::compile(out.text);
        if (!program) return std::move(program).error().within(at);
      } else {
        return invalid(at, "no such filter dialect");
      }
    }
    if (dialects > 1) {
      return invalid(path, "multiple dialects found, filters can have only one dialect");
    }
    if (dialects == 0) return invalid(path, "no dialect found, filters have exactly one");
    return out;
  }

  Result<std::vector<FilterSpec>> list(const Json& json, const std::string& path,
                                       std::size_t depth) {
    if (!json.is_array()) return invalid(path, "filters are a list");
    std::vector<FilterSpec> out;
    for (std::size_t i = 0; i < json.get_array().size(); ++i) {
      KNIT_TRY(FilterSpec child,
               filter(json.get_array()[i], path + "[" + std::to_string(i) + "]", depth));
      out.push_back(std::move(child));
    }
    return out;
  }

  Result<std::vector<std::pair<std::string, std::string>>> pairs(const Json& json,
                                                                 const std::string& path) {
    if (!json.is_object()) return invalid(path, "attributes are an object of strings");
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [key, value] : json.get_object()) {
      KNIT_TRY_VOID(count(path));
      const std::string name(key);
      if (!valid_attribute(name)) {
        return invalid(path, "Invalid attribute name: \"" + name + "\"");
      }
      if (!value.is_string()) return invalid(path + "." + name, "the value is a string");
      out.emplace_back(name, std::string(value.get_string()));
    }
    return out;
  }

 private:
  Result<void> count(const std::string& path) {
    if (++parts_ <= kMaxParts) return {};
    return Error(Code::ResourceExhausted,
                 path + ": filters have more than " + std::to_string(kMaxParts) + " parts");
  }
  std::size_t parts_ = 0;
};

using Values = std::optional<std::vector<std::string>>;

Values both(Values a, Values b) {
  if (!a) return b;
  if (!b) return a;
  std::vector<std::string> out;
  std::set_intersection(a->begin(), a->end(), b->begin(), b->end(), std::back_inserter(out));
  return out;
}
Values either(const Values& a, const Values& b) {
  if (!a || !b) return std::nullopt;
  std::vector<std::string> out;
  std::set_union(a->begin(), a->end(), b->begin(), b->end(), std::back_inserter(out));
  if (out.size() > kMaxValues) return std::nullopt;
  return out;
}

// What an expression asks of an attribute: `attribute = 'x'`, IN of strings, and ANDs of those.
Values asked(const cesql::Expr& e, std::string_view attribute) {
  using Kind = cesql::Expr::Kind;
  if (e.kind == Kind::Binary && e.op == cesql::Operator::Equal &&
      e.args[0].kind == Kind::Attribute && e.args[0].text == attribute &&
      e.args[1].kind == Kind::String) {
    return std::vector{e.args[1].text};
  }
  if (e.kind == Kind::In && !e.negated && e.args[0].kind == Kind::Attribute &&
      e.args[0].text == attribute && e.args.size() <= kMaxValues) {
    std::vector<std::string> out;
    for (std::size_t i = 1; i < e.args.size(); ++i) {
      if (e.args[i].kind != Kind::String) return std::nullopt;
      out.push_back(e.args[i].text);
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  }
  if (e.kind == Kind::Logic && std::all_of(e.ops.begin(), e.ops.end(), [](cesql::Operator op) {
        return op == cesql::Operator::And;
      })) {
    Values out;
    for (const cesql::Expr& arg : e.args) out = both(std::move(out), asked(arg, attribute));
    return out;
  }
  return std::nullopt;
}

}  // namespace

Result<FilterSpec> parse_filter(const Json& trigger_spec) {
  Reader reader;
  if (const Json* filters = json::find(trigger_spec, "filters");
      filters != nullptr && !filters->is_null()) {
    FilterSpec out;
    KNIT_TRY(out.children, reader.list(*filters, "spec.filters", 1));
    if (!out.children.empty()) return out;
  }
  const Json* attributes = json::find(trigger_spec, {"filter", "attributes"});
  if (attributes == nullptr || attributes->is_null()) return FilterSpec{};
  FilterSpec out;
  out.kind = FilterSpec::Kind::Attributes;
  KNIT_TRY(out.pairs, reader.pairs(*attributes, "spec.filter.attributes"));
  return out;
}

struct Filter::Node {
  FilterSpec::Kind kind = FilterSpec::Kind::All;
  std::vector<std::pair<std::string, std::string>> pairs;
  std::vector<Node> children;
  std::optional<cesql::Program> program;

  static Result<Node> compile(const FilterSpec& spec) {
    Node out;
    out.kind = spec.kind;
    out.pairs = spec.pairs;
    out.pairs.shrink_to_fit();
    for (const FilterSpec& child : spec.children) {
      KNIT_TRY(Node node, compile(child));
      out.children.push_back(std::move(node));
    }
    if (spec.kind == FilterSpec::Kind::Cesql) {
      KNIT_TRY(out.program, cesql::Program::compile(spec.text));
    }
    return out;
  }

  bool matches(const Event& event) const {
    using Kind = FilterSpec::Kind;
    switch (kind) {
      case Kind::Attributes:
      case Kind::Exact:
      case Kind::Prefix:
      case Kind::Suffix:
        return std::all_of(pairs.begin(), pairs.end(), [&](const auto& pair) {
          const auto value = event.attribute(pair.first);
          if (!value) return false;
          switch (kind) {
            case Kind::Prefix:
              return value->starts_with(pair.second);
            case Kind::Suffix:
              return value->ends_with(pair.second);
            case Kind::Attributes:
              if (pair.second.empty()) return !value->empty();
              [[fallthrough]];
            default:
              return *value == pair.second;
          }
        });
      case Kind::All:
        return std::all_of(children.begin(), children.end(),
                           [&](const Node& n) { return n.matches(event); });
      case Kind::Any:
        return std::any_of(children.begin(), children.end(),
                           [&](const Node& n) { return n.matches(event); });
      case Kind::Not:
        return !children[0].matches(event);
      case Kind::Cesql:
        return program->matches(event);
    }
    return false;
  }

  std::size_t size() const {
    std::size_t n = sizeof(Node);
    for (const auto& [name, value] : pairs) n += sizeof pairs[0] + value.size();
    for (const Node& child : children) n += child.size();
    if (program) n += program->size();
    return n;
  }
};

namespace {

// `exact` becomes false where the values do not say all that the filter asks.
Values possible(const FilterSpec& spec, std::string_view attribute, bool& exact) {
  using Kind = FilterSpec::Kind;
  switch (spec.kind) {
    case Kind::Attributes:
    case Kind::Exact: {
      Values out;
      for (const auto& [name, value] : spec.pairs) {
        if (name != "type" && name != "source") exact = false;
        if (spec.kind == Kind::Attributes && value.empty()) {
          exact = false;
        } else if (name == attribute) {
          out = std::vector{value};
        }
      }
      return out;
    }
    case Kind::All: {
      Values out;
      for (const FilterSpec& child : spec.children) {
        out = both(std::move(out), possible(child, attribute, exact));
      }
      return out;
    }
    case Kind::Any: {
      if (spec.children.empty()) return std::vector<std::string>{};
      if (spec.children.size() > 1) exact = false;  // of both attributes, only products are told
      Values out = possible(spec.children[0], attribute, exact);
      for (const FilterSpec& child : spec.children) {
        out = either(out, possible(child, attribute, exact));
      }
      return out;
    }
    case Kind::Cesql: {
      exact = false;
      const auto expr = cesql::parse(spec.text);
      return expr ? asked(*expr, attribute) : std::nullopt;
    }
    default:
      exact = false;
      return std::nullopt;
  }
}

}  // namespace

Filter::Filter() = default;
Filter::Filter(Filter&&) noexcept = default;
Filter& Filter::operator=(Filter&&) noexcept = default;
Filter::~Filter() = default;

Result<Filter> Filter::compile(const FilterSpec& spec) {
  Filter out;
  KNIT_TRY(Node root, Node::compile(spec));
  out.root_ = std::make_unique<Node>(std::move(root));
  out.exact_only_ = true;
  out.types_ = possible(spec, "type", out.exact_only_);
  out.sources_ = possible(spec, "source", out.exact_only_);
  return out;
}

bool Filter::matches(const Event& event) const { return root_->matches(event); }
std::size_t Filter::size() const { return sizeof *this + root_->size(); }

}  // namespace knit::events
