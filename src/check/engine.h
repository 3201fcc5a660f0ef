// Runs rules over a set and makes the report.
#pragma once

#include "check/rule.h"

namespace knit::check {

struct Suppression {
  std::string code;    // "K201" or an alias
  std::string object;  // "Gateway ns/name", "*" for any
  std::string reason;  // required
};

struct Options {
  Settings settings;
  std::vector<Suppression> suppressions;
  std::vector<std::string> only;  // codes; empty: all
};

struct Report {
  Profile profile = Profile::Ossm2;
  std::vector<Finding> findings;  // by severity, code, place; suppressed ones last
  std::vector<const Rule*> passed;
  std::vector<const Rule*> idle;  // nothing that they look at is in the set
  std::vector<ReadError> errors;
  std::size_t objects = 0;
  std::map<std::string, std::size_t> unknown_kinds;
  std::map<std::string, std::string> not_read;  // kinds of the cluster, and why
  std::size_t count(Severity s) const;          // neither suppressed nor unknown
  std::size_t unknown() const;
};

/// The profile the set speaks for: SMCP → ossm2, Sail's Istio → ossm3, else istio.
Profile detect_profile(const ObjectSet& objects);
Report run(const ObjectSet& objects, const Options& options);

/// Parses a suppression file: lines "CODE Kind ns/name reason…". Errors: InvalidArgument with line.
Result<std::vector<Suppression>> parse_suppressions(std::string_view text);

}  // namespace knit::check
