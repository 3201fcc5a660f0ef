// Patches of findings applied to the text of files, each verified by running the rules again.
#pragma once

#include "check/engine.h"

namespace knit::check {

using Files = std::map<std::string, std::string>;  // name → text

struct FixOutcome {
  Files files;  // those that changed, with their new text
  struct Step {
    std::string code, object, text;
    bool applied = false;
    std::string why;  // not applied: because
  };
  std::vector<Step> steps;
};

/// Applies the patch of every finding that is neither suppressed nor unknown, one after the other.
/// One after which its finding stays, or an error appears that was not there, is left out.
FixOutcome fix_files(const Files& files, const Options& options, bool complete = false);

}  // namespace knit::check
