// What the catalogue says about a rule beside its English record: where the claim was read, and the
// Japanese texts. Kept apart so that translators and reviewers have one file.
#pragma once

#include "check/rule.h"

namespace knit::check {

struct RuleTexts {
  std::string_view code;
  std::string_view source;  // upstream code, documentation or reports that the rule rests on
  std::string_view symptom_ja, why_ja, fix_ja;
};

std::span<const RuleTexts> rule_texts();
/// Empty texts for a rule that has none (a test lets none pass).
const RuleTexts& texts_of(const Rule& rule);

}  // namespace knit::check
