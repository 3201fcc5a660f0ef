// A rule: what it checks, what goes wrong without it, how to mend it, and a pure function.
#pragma once

#include <functional>
#include <span>

#include "check/finding.h"

namespace knit::check {

enum class Profile { Ossm2, Ossm3, Istio };
std::string_view to_string(Profile p);

/// Whether a rule can decide from files alone.
enum class Offline {
  Yes,
  Partly,  // `unknown` when the other object is not in the input
  Live,    // needs a cluster; not listed offline
};

struct Settings {
  Profile profile = Profile::Ossm2;
  bool profile_given = false;
  std::string apps_domain;    // overrides ingresses.config.openshift.io/cluster
  std::string root_ca_pem;    // --cacert: K306
  std::int64_t now_unix = 0;  // for expiry
};

struct Rule;
struct Facts;

/// What the set will make a mesh do (facts.h): worked out when the first rule asks.
class SharedFacts {
 public:
  explicit SharedFacts(const ObjectSet& objects) : objects_(objects) {}
  const Facts& get();

 private:
  const ObjectSet& objects_;
  std::shared_ptr<const Facts> facts_;
  std::set<KindName> blind_;  // what it needs and the cluster did not show
};

/// What a rule may do: read the set, report, or say that it cannot know.
class Context {
 public:
  Context(const ObjectSet& objects, const Settings& settings, const Rule& rule, SharedFacts& facts,
          std::vector<Finding>& out)
      : objects_(objects), settings_(settings), rule_(rule), facts_(facts), out_(out) {}

  const ObjectSet& objects() const { return objects_; }
  const Settings& settings() const { return settings_; }
  const Facts& facts() const { return facts_.get(); }
  std::vector<ItemPtr> list(std::string_view kind, std::string_view ns = {}) const {
    return objects_.list(kind, ns);
  }
  ItemPtr find(std::string_view kind, std::string_view ns, std::string_view name) const {
    return objects_.find(kind, ns, name);
  }
  /// True when a string still holds a placeholder (K413 reports it): rules stay silent about it.
  static bool is_placeholder(std::string_view text);

  /// Reports at `path` of `object`, with the rule's severity unless given.
  Finding& report(ItemPtr object, yaml::Path path, std::string message);
  /// The rule cannot decide: once per rule and object, never an error.
  Finding& unknown(ItemPtr object, yaml::Path path, std::string why);

 private:
  const ObjectSet& objects_;
  const Settings& settings_;
  const Rule& rule_;
  SharedFacts& facts_;
  std::vector<Finding>& out_;
};

struct Rule {
  std::string_view code;                   // "K201"
  std::vector<std::string_view> aliases;   // "GW-01"
  std::vector<std::string_view> upstream;  // "IST0145", "KIA0301"
  Severity severity = Severity::Error;
  Offline offline = Offline::Yes;
  std::string_view title;  // affirmative: "only one gateway serves a host on a port"
  std::string_view title_ja;
  std::string_view symptom;  // what users see when it is violated
  std::string_view why;      // the mechanism, and where it was read
  std::string_view fix;      // what to do
  /// Kinds it reads; one that cannot be read from the cluster makes the rule `unknown` once.
  std::vector<std::string_view> reads;
  /// Profiles it applies to; empty: all.
  std::vector<Profile> profiles;
  std::function<void(Context&)> check;
};

/// All rules in the order of their codes.
std::span<const Rule> rules();
/// By code or alias, without case; nullptr when there is none.
const Rule* find_rule(std::string_view code);

// Each catalogue file adds its rules.
void add_mesh_rules(std::vector<Rule>& out);             // K10x, K13x: control plane
void add_member_rules(std::vector<Rule>& out);           // K12x
void add_gateway_rules(std::vector<Rule>& out);          // K2xx
void add_gateway_service_rules(std::vector<Rule>& out);  // K204, K205, K208, K210
void add_certificate_rules(std::vector<Rule>& out);      // K3xx
void add_serving_rules(std::vector<Rule>& out);          // K4xx
void add_eventing_rules(std::vector<Rule>& out);         // K5xx
void add_kafka_rules(std::vector<Rule>& out);            // K6xx
void add_service_rules(std::vector<Rule>& out);          // K7xx
void add_policy_rules(std::vector<Rule>& out);           // K8xx
void add_admission_rules(std::vector<Rule>& out);        // K901, K902: upstream's own admission
void add_walk_rules(std::vector<Rule>& out);             // K127, K614, K903, K905: live walks

}  // namespace knit::check
