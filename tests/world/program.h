// A seed's program: what users do, what breaks, and when it must be quiet. An operation is plain
// numbers that pick from what is there, so any part of a program is a program too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "world.h"

namespace knit::world {

struct Op {
  std::size_t kind = 0;  // index of the table in program.cc
  std::uint64_t a = 0, b = 0, c = 0;
};

std::vector<Op> make_program(std::uint64_t seed);

struct Outcome {
  std::vector<std::string> violations;
  std::vector<std::string> steps;  // what each operation did, for people
  bool failed() const { return !violations.empty(); }
};
/// Runs the operations of `keep` (indexes; empty: all) from an empty machine to an empty cluster.
Outcome run_program(std::uint64_t seed, const std::vector<Op>& program,
                    const std::vector<std::size_t>& keep = {});

/// invariants.cc. Lets the world come to rest; false (with a violation) when it does not.
bool come_to_rest(World& world, const std::string& when);
/// What holds whenever the world rests.
void check_rest(World& world, const std::string& when);
/// What holds when, besides, everything of the seed is installed and every image works.
void check_whole(World& world, const std::string& when);

}  // namespace knit::world
