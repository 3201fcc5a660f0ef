#include "controllers/serving/conditions.h"

#include <gtest/gtest.h>

namespace knit::serving {
namespace {

constexpr WallTime kNow{1'700'000'000'000'000'000};
constexpr WallTime kLater{1'700'000'060'000'000'000};

std::string show(const Conditions& c) {
  std::string out;
  for (const auto& item : c.to_json()) {
    out += std::string(json::str(item, {"type"})) + "=" + std::string(json::str(item, {"status"}));
    if (const auto r = json::str(item, {"reason"}); !r.empty()) out += "(" + std::string(r) + ")";
    if (const auto s = json::str(item, {"severity"}); !s.empty()) out += "!";
    out += " ";
  }
  return out;
}
Json status(const JsonArray& conditions) {
  JsonObject out;
  out["conditions"] = conditions;
  return out;
}

// serving.md 1.0: the living condition-set algorithm.
TEST(Conditions, Table) {
  const struct {
    const char* name;
    void (*steps)(Conditions&);
    const char* want;
  } rows[] = {
      {"initialise", [](Conditions&) {}, "A=Unknown B=Unknown Ready=Unknown "},
      {"one of two is true", [](Conditions& c) { c.mark_true("A"); },
       "A=True B=Unknown Ready=Unknown "},
      {"all true",
       [](Conditions& c) {
         c.mark_true("A");
         c.mark_true("B");
       },
       "A=True B=True Ready=True "},
      {"false takes Ready along",
       [](Conditions& c) {
         c.mark_true("A");
         c.mark_false("B", "Bad", "m");
       },
       "A=True B=False(Bad) Ready=False(Bad) "},
      {"false trumps unknown",
       [](Conditions& c) {
         c.mark_false("A", "Bad", "m");
         c.mark_unknown("B", "Wait", "m");
       },
       "A=False(Bad) B=Unknown(Wait) Ready=False(Bad) "},
      {"a true one looks for the false",
       [](Conditions& c) {
         c.mark_false("A", "Bad", "m");
         c.mark_true("B");
       },
       "A=False(Bad) B=True Ready=False(Bad) "},
      {"unknown is copied", [](Conditions& c) { c.mark_unknown("A", "Wait", "m"); },
       "A=Unknown(Wait) B=Unknown Ready=Unknown(Wait) "},
      {"outside the set nothing happens",
       [](Conditions& c) {
         c.mark_true("A");
         c.mark_true("B");
         c.mark_false("Z", "Idle", "m");
         c.mark_unknown("Y", "Who", "m");
       },
       "A=True B=True Ready=True Y=Unknown(Who)! Z=False(Idle)! "},
      {"recovers",
       [](Conditions& c) {
         c.mark_false("A", "Bad", "m");
         c.mark_true("A");
         c.mark_true("B");
       },
       "A=True B=True Ready=True "},
      {"Ready itself cannot be true over an unknown", [](Conditions& c) { c.mark_true("Ready"); },
       "A=Unknown B=Unknown Ready=Unknown "},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Conditions c(JsonObject(), {"A", "B"}, kNow);
    c.initialize();
    row.steps(c);
    EXPECT_EQ(show(c), row.want);
  }
}

TEST(Conditions, AReadyObjectGetsNewConditionsAsTrue) {
  Conditions first(JsonObject(), {"A"}, kNow);
  first.mark_true("A");
  Conditions c(status(first.to_json()), {"A", "B"}, kLater);
  c.initialize();
  EXPECT_EQ(show(c), "A=True B=True Ready=True ");
}

TEST(Conditions, WithoutDependents) {
  Conditions c(JsonObject(), {}, kNow);
  c.initialize();
  c.mark_unknown("Ready", "", "");
  EXPECT_EQ(show(c), "Ready=Unknown ");
  c.mark_false("Ready", "RevisionFailed", "m");
  EXPECT_EQ(show(c), "Ready=False(RevisionFailed) ");
  c.mark_true("Ready");
  EXPECT_EQ(show(c), "Ready=True ");
}

TEST(Conditions, TimesMoveOnlyWithTheCondition) {
  Conditions first(JsonObject(), {"A", "B"}, kNow);
  first.initialize();
  first.mark_true("A");
  const auto before = first.to_json();
  Conditions c(status(before), {"A", "B"}, kLater);
  c.initialize();
  c.mark_unknown("A", "Flap", "");  // and back, within one pass
  c.mark_true("A");
  EXPECT_EQ(Json(c.to_json()), Json(before));
  EXPECT_EQ(c.since_change("B"), std::chrono::seconds(60));
  c.mark_true("B");
  EXPECT_EQ(json::str(c.to_json().at(1), {"lastTransitionTime"}), rfc3339(kLater));
  EXPECT_EQ(json::str(c.to_json().at(0), {"lastTransitionTime"}), rfc3339(kNow));
}

}  // namespace
}  // namespace knit::serving
