#include "events/filter/filter.h"

#include "base/random.h"
#include "events/filter/matcher.h"

namespace knit::events {
namespace {

Event event(std::string type = "t", std::string source = "/s") {
  Event e;
  e.id = "1";
  e.type = std::move(type);
  e.source = std::move(source);
  e.set_extension("color", "blue");
  e.set_extension("empty", "");
  return e;
}
Result<FilterSpec> read(std::string_view text) {
  auto json = json::parse(text);
  KNIT_CHECK(json.has_value());
  return parse_filter(*json);
}
std::shared_ptr<const Filter> filter(std::string_view text) {
  auto spec = read(text);
  KNIT_CHECK(spec.has_value());
  auto out = Filter::compile(*spec);
  KNIT_CHECK(out.has_value());
  return std::make_shared<const Filter>(std::move(*out));
}

// spec/eventing.md 2.5.
TEST(Filter, Table) {
  const struct {
    const char* spec;
    bool passes;
  } rows[] = {
      {"{}", true},
      {R"({"filter": {}})", true},
      {R"({"filter": {"attributes": {}}})", true},
      {R"({"filters": []})", true},
      {R"({"filter": {"attributes": {"type": "t"}}})", true},
      {R"({"filter": {"attributes": {"type": "u"}}})", false},
      {R"({"filter": {"attributes": {"type": "t", "source": "/s", "color": "blue"}}})", true},
      {R"({"filter": {"attributes": {"type": "t", "color": "red"}}})", false},
      {R"({"filter": {"attributes": {"color": ""}}})", true},
      {R"({"filter": {"attributes": {"empty": ""}}})", false},
      {R"({"filter": {"attributes": {"nothing": ""}}})", false},
      {R"({"filter": {"attributes": {"subject": "x"}}})", false},
      {R"({"filter": {"attributes": {"specversion": "1.0", "id": "1"}}})", true},
      {R"({"filter": {"attributes": {"type": "u"}}, "filters": [{"exact": {"type": "t"}}]})", true},
      {R"({"filter": {"attributes": {"type": "u"}}, "filters": []})", false},
      {R"({"filters": [{"exact": {"type": "t", "color": "blue"}}]})", true},
      {R"({"filters": [{"exact": {"type": "t", "color": "red"}}]})", false},
      {R"({"filters": [{"prefix": {"color": "bl"}}]})", true},
      {R"({"filters": [{"prefix": {"color": "ue"}}]})", false},
      {R"({"filters": [{"prefix": {"nothing": "x"}}]})", false},
      {R"({"filters": [{"suffix": {"color": "ue"}}]})", true},
      {R"({"filters": [{"suffix": {"color": "blue", "source": "/t"}}]})", false},
      {R"({"filters": [{"exact": {"type": "t"}}, {"prefix": {"color": "b"}}]})", true},
      {R"({"filters": [{"exact": {"type": "t"}}, {"prefix": {"color": "r"}}]})", false},
      {R"({"filters": [{"not": {"exact": {"type": "t"}}}]})", false},
      {R"({"filters": [{"not": {"exact": {"nothing": "t"}}}]})", true},
      {R"({"filters": [{"any": [{"exact": {"type": "u"}}, {"suffix": {"color": "e"}}]}]})", true},
      {R"({"filters": [{"any": [{"exact": {"type": "u"}}, {"suffix": {"color": "d"}}]}]})", false},
      {R"({"filters": [{"all": [{"exact": {"type": "t"}}, {"not": {"any": [{"cesql": "color = 'red'"}, {"exact": {"type": "u"}}]}}]}]})",
       true},
      {R"({"filters": [{"cesql": "color = 'blue' AND type LIKE 't%'"}]})", true},
      {R"({"filters": [{"cesql": "nothing = 'x'"}]})", false},
      {R"({"filters": [{"not": {"cesql": "nothing = 'x'"}}]})", true},
      {R"x({"filters": [{"cesql": "LENGTH(color)"}]})x", true},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.spec);
    const auto f = filter(row.spec);
    EXPECT_EQ(f->matches(event()), row.passes);
    const Matcher matcher({nullptr, f});
    std::vector<std::uint32_t> out{7};
    matcher.match(event(), out);
    EXPECT_EQ(out, row.passes ? std::vector<std::uint32_t>{1} : std::vector<std::uint32_t>{});
  }
}

TEST(Filter, RefusesByField) {
  const struct {
    const char* spec;
    const char* message;
  } rows[] = {
      {R"({"filter": {"attributes": {"Type": "t"}}})",
       "spec.filter.attributes: Invalid attribute name: \"Type\""},
      {R"({"filter": {"attributes": {"5g": "t"}}})",
       "spec.filter.attributes: Invalid attribute name: \"5g\""},
      {R"({"filter": {"attributes": {"my-ext": "t"}}})",
       "spec.filter.attributes: Invalid attribute name: \"my-ext\""},
      {R"({"filter": {"attributes": {"": "t"}}})",
       "spec.filter.attributes: Invalid attribute name: \"\""},
      {R"({"filter": {"attributes": {"a": 1}}})",
       "spec.filter.attributes.a: the value is a string"},
      {R"({"filters": {}})", "spec.filters: filters are a list"},
      {R"({"filters": [{}]})", "spec.filters[0]: no dialect found, filters have exactly one"},
      {R"({"filters": [{"exact": {"type": "t"}, "prefix": {"type": "t"}}]})",
       "spec.filters[0]: multiple dialects found, filters can have only one dialect"},
      {R"({"filters": [{"regex": "x"}]})", "spec.filters[0].regex: no such filter dialect"},
      {R"({"filters": [{"not": {"exact": {"A": "t"}}}]})",
       "spec.filters[0].not.exact: Invalid attribute name: \"A\""},
      {R"({"filters": [{"all": [{"cesql": "1 +"}]}]})",
       "spec.filters[0].all[0].cesql: syntax error at offset 3"},
      {R"({"filters": ["x"]})", "spec.filters[0]: a filter is an object"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.spec);
    const auto spec = read(row.spec);
    ASSERT_FALSE(spec);
    EXPECT_EQ(spec.error().code(), Code::InvalidArgument);
    EXPECT_TRUE(spec.error().message().starts_with(row.message)) << spec.error().message();
  }
  std::string deep = R"({"exact": {"type": "t"}})";
  for (int i = 0; i < 20; ++i) deep = R"({"not": )" + deep + "}";
  EXPECT_EQ(read(R"({"filters": [)" + deep + "]}").error().code(), Code::ResourceExhausted);
  std::string wide;
  for (int i = 0; i < 1001; ++i)
    wide += std::string(i > 0 ? "," : "") + R"({"exact": {"type": "t"}})";
  EXPECT_EQ(read(R"({"filters": [)" + wide + "]}").error().code(), Code::ResourceExhausted);
}

TEST(Filter, KnowsWhichTypesAndSourcesCanPass) {
  using Values = std::vector<std::string>;
  const auto none = std::optional<Values>();
  const struct {
    const char* spec;
    std::optional<Values> types, sources;
    bool exact;
  } rows[] = {
      {"{}", none, none, true},
      {R"({"filter": {"attributes": {"type": "t"}}})", Values{"t"}, none, true},
      {R"({"filter": {"attributes": {"type": "t", "source": "/s"}}})", Values{"t"}, Values{"/s"},
       true},
      {R"({"filter": {"attributes": {"type": ""}}})", none, none, false},
      {R"({"filters": [{"exact": {"type": "t", "color": "x"}}]})", Values{"t"}, none, false},
      {R"({"filters": [{"exact": {"type": "t"}}, {"exact": {"source": "/s"}}]})", Values{"t"},
       Values{"/s"}, true},
      {R"({"filters": [{"exact": {"type": "t"}}, {"exact": {"type": "u"}}]})", Values{}, none,
       true},
      {R"({"filters": [{"any": [{"exact": {"type": "t"}}, {"exact": {"type": "a"}}]}]})",
       (Values{"a", "t"}), none, false},
      {R"({"filters": [{"any": [{"exact": {"type": "t"}}, {"prefix": {"type": "a"}}]}]})", none,
       none, false},
      {R"({"filters": [{"not": {"exact": {"type": "t"}}}]})", none, none, false},
      {R"x({"filters": [{"cesql": "type = 'b' AND LENGTH(id) > 1 AND source IN ('y', 'x')"}]})x",
       Values{"b"}, (Values{"x", "y"}), false},
      {R"({"filters": [{"cesql": "type = 'b' OR source = 'x'"}]})", none, none, false},
      {R"x({"filters": [{"cesql": "type NOT IN ('b')"}]})x", none, none, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.spec);
    const auto f = filter(row.spec);
    EXPECT_EQ(f->types(), row.types);
    EXPECT_EQ(f->sources(), row.sources);
    EXPECT_EQ(f->exact_only(), row.exact);
  }
}

// The matcher says what every filter for itself says.
TEST(Matcher, AgreesWithTheFilters) {
  const auto random = seeded_random(3);
  const auto value = [&](const char* stem) { return stem + std::to_string(random->below(4)); };
  const std::function<std::string(int)> any_filter = [&](int depth) -> std::string {
    switch (random->below(depth > 0 ? 8 : 5)) {
      case 0:
        return R"({"exact": {"type": ")" + value("t") + "\"}}";
      case 1:
        return R"({"exact": {"source": ")" + value("s") + R"(", "type": ")" + value("t") + "\"}}";
      case 2:
        return R"({"prefix": {"color": "b"}})";
      case 3:
        return R"({"cesql": "type = ')" + value("t") + "' AND color = '" + value("c") + "'\"}";
      case 4:
        return R"({"cesql": "source IN (')" + value("s") + "', '" + value("s") + "')\"}";
      case 5:
        return R"({"not": )" + any_filter(depth - 1) + "}";
      case 6:
        return R"({"all": [)" + any_filter(depth - 1) + "," + any_filter(depth - 1) + "]}";
      default:
        return R"({"any": [)" + any_filter(depth - 1) + "," + any_filter(depth - 1) + "]}";
    }
  };
  for (int round = 0; round < 200; ++round) {
    std::vector<std::shared_ptr<const Filter>> filters;
    for (int i = 0; i < 20; ++i)
      filters.push_back(filter(R"({"filters": [)" + any_filter(3) + "]}"));
    const Matcher matcher(filters);
    std::vector<std::uint32_t> got;
    for (int i = 0; i < 20; ++i) {
      Event e = event(value("t"), value("s"));
      e.set_extension("color", value("c"));
      std::vector<std::uint32_t> want;
      for (std::uint32_t n = 0; n < filters.size(); ++n) {
        if (filters[n]->matches(e)) want.push_back(n);
      }
      matcher.match(e, got);
      ASSERT_EQ(got, want);
    }
  }
}

TEST(Matcher, LooksAtFewOfManyTriggers) {
  std::vector<std::shared_ptr<const Filter>> filters;
  std::size_t bytes = 0;
  for (int i = 0; i < 1000; ++i) {
    filters.push_back(filter(R"({"filters": [{"exact": {"type": "t)" + std::to_string(i) +
                             R"("}}, {"cesql": "color = 'blue'"}]})"));
    bytes += filters.back()->size();
  }
  EXPECT_LT(bytes / filters.size(), 2000u);
  const Matcher matcher(filters);
  EXPECT_EQ(matcher.candidates(event("t7")), 1u);
  std::vector<std::uint32_t> out;
  matcher.match(event("t7"), out);
  EXPECT_EQ(out, std::vector<std::uint32_t>{7});
  matcher.match(event("other"), out);
  EXPECT_TRUE(out.empty());
}

}  // namespace
}  // namespace knit::events
