// Seeds 1…n of the world fuzzer. KNIT_SEEDS=n changes how many, KNIT_FIRST=n where they begin;
// KNIT_SEED=n runs one alone, and KNIT_KEEP=1,5,9 only these of its operations.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <numeric>

#include "base/log.h"
#include "program.h"
#include "reconcile/fuzz_seeds.h"

namespace knit::world {
namespace {

char g_note[64];
extern "C" void on_abort(int) {
  static_cast<void>(!::write(2, g_note, std::strlen(g_note)));
  ::signal(SIGABRT, SIG_DFL);
  ::raise(SIGABRT);
}

std::vector<std::size_t> numbers(const char* text) {
  std::vector<std::size_t> out;
  while (text != nullptr && *text != '\0') {
    char* end = nullptr;
    out.push_back(std::strtoull(text, &end, 10));
    text = *end == ',' ? end + 1 : "";
  }
  return out;
}

/// Takes away whatever is not needed to fail, for at most a minute.
std::pair<std::vector<std::size_t>, Outcome> shorten(std::uint64_t seed,
                                                     const std::vector<Op>& program,
                                                     std::vector<std::size_t> keep, Outcome found) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  for (std::size_t chunk = std::max<std::size_t>(1, keep.size() / 2); chunk >= 1; chunk /= 2) {
    for (std::size_t at = 0; at < keep.size();) {
      if (std::chrono::steady_clock::now() > until) return {keep, found};
      auto fewer = keep;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(at),
                  fewer.begin() + static_cast<std::ptrdiff_t>(std::min(at + chunk, keep.size())));
      if (fewer.empty()) break;
      Outcome again = run_program(seed, program, fewer);
      if (again.failed()) {
        keep = std::move(fewer);
        found = std::move(again);
      } else {
        at += chunk;
      }
    }
    if (chunk == 1) break;
  }
  return {keep, found};
}

void report(std::uint64_t seed, const std::vector<std::size_t>& keep, const Outcome& o) {
  std::string text = "seed " + std::to_string(seed) + " fails:\n";
  for (const auto& v : o.violations) text += "  " + v + "\n";
  text += "after\n";
  for (const auto& step : o.steps) text += "  " + step + "\n";
  text += "again: KNIT_SEED=" + std::to_string(seed) + " KNIT_KEEP=";
  for (std::size_t i = 0; i < keep.size(); ++i)
    text += (i == 0 ? "" : ",") + std::to_string(keep[i]);
  ADD_FAILURE() << text << " build/dev/tests/world/world_test --gtest_filter=*Fuzz*/0";
}

TEST(WorldTest, WhatIsWrongIsFound) {
  log::set_sink([](log::Level, std::string_view) {});
  World world(1);
  world.start_server();
  world.start_proxy();  // and no node
  world.loop.advance(std::chrono::seconds(1));
  world.apply_bad({res::deployments(), "default", "web"}, *json::parse(R"({"apiVersion":"apps/v1",
      "kind":"Deployment","spec":{"selector":{"matchLabels":{"app":"web"}},"template":{
      "metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"x"}]}}}})"),
                  "something");
  world.loop.advance(std::chrono::seconds(5));
  ASSERT_EQ(world.violations.size(), 1U);
  EXPECT_EQ(world.violations[0], "deployments.apps default/web was accepted; expected: something");
  world.violations.clear();
  ASSERT_TRUE(come_to_rest(world, "now"));
  check_rest(world, "now");
  ASSERT_EQ(world.violations.size(), 1U);
  EXPECT_TRUE(world.violations[0].ends_with("has no node")) << world.violations[0];
}

/// Some of the seeds, so that ctest can run the parts at once.
class WorldFuzz : public ::testing::TestWithParam<std::uint64_t> {};
constexpr std::uint64_t kParts = 5;
INSTANTIATE_TEST_SUITE_P(Seeds, WorldFuzz, ::testing::Range(std::uint64_t{0}, kParts));

TEST_P(WorldFuzz, InvariantsHoldWheneverTheWorldRests) {
  if (std::getenv("KNIT_LOG") == nullptr) log::set_sink([](log::Level, std::string_view) {});
  ::signal(SIGABRT, on_abort);
  const char* from = std::getenv("KNIT_FIRST");
  const auto base = from != nullptr ? std::strtoull(from, nullptr, 10) : 1;
  const auto seeds = reconcile::fuzz_seeds(std::getenv("KNIT_SEEDS"), 50);
  auto seed = base + GetParam() * seeds / kParts;
  auto end = base + (GetParam() + 1) * seeds / kParts;
  if (const char* one = std::getenv("KNIT_SEED"); one != nullptr) {
    seed = std::strtoull(one, nullptr, 10);
    end = GetParam() == 0 ? seed + 1 : seed;
  }
  const auto kept = numbers(std::getenv("KNIT_KEEP"));
  int failures = 0;
  for (; seed < end; ++seed) {
    std::snprintf(g_note, sizeof g_note, "while running seed %llu\n",
                  static_cast<unsigned long long>(seed));
    const auto program = make_program(seed);
    Outcome o = run_program(seed, program, kept);
    if (!o.failed()) continue;
    std::vector<std::size_t> keep = kept;
    if (keep.empty()) {
      keep.resize(program.size());
      std::iota(keep.begin(), keep.end(), std::size_t{0});
    }
    if (std::getenv("KNIT_WHOLE") == nullptr) {
      std::tie(keep, o) = shorten(seed, program, std::move(keep), std::move(o));
    }
    report(seed, keep, o);
    if (++failures == 2) break;
  }
}

}  // namespace
}  // namespace knit::world
