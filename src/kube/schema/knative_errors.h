// apis.FieldError of knative.dev/pkg: messages with paths, merged and sorted as it does. Internal.
// Source: knative/pkg apis/field_error.go
#pragma once

#include <map>
#include <set>

#include "kube/schema/validation.h"

namespace knit::schema {

class KnativeErrors {
 public:
  void add(std::string message, std::string path, std::string details = {}) {
    errors_[{std::move(message), std::move(details)}].insert(std::move(path));
  }
  void missing(std::string path) { add("missing field(s)", std::move(path)); }
  void disallowed(std::string path, std::string details = {}) {
    add("must not set the field(s)", std::move(path), std::move(details));
  }
  void invalid(std::string_view value, std::string path, std::string details = {}) {
    add("invalid value: " + std::string(value), std::move(path), std::move(details));
  }
  void out_of_bounds(std::string_view value, std::string_view low, std::string_view high,
                     std::string path) {
    add("expected " + std::string(low) + " <= " + std::string(value) + " <= " + std::string(high),
        std::move(path));
  }
  void neither(std::string_view parent, std::initializer_list<std::string_view> names) {
    for (const auto n : names) add("expected exactly one, got neither", at(parent, n));
  }
  void both(std::string_view parent, const std::vector<std::string_view>& names) {
    for (const auto n : names) add("expected exactly one, got both", at(parent, n));
  }
  void key(std::string_view name, std::string path, std::string details = {}) {
    add("invalid key name \"" + std::string(name) + "\"", std::move(path), std::move(details));
  }

  /// "message: path, path\ndetails" each.
  std::vector<std::string> print() const {
    std::vector<std::string> out;
    for (const auto& [what, paths] : errors_) {
      std::string text = what.first + ": ";
      bool first = true;
      for (const auto& p : paths) {
        text += (first ? "" : ", ") + p;
        first = false;
      }
      if (!what.second.empty()) text += "\n" + what.second;
      out.push_back(std::move(text));
    }
    return out;
  }

 private:
  std::map<std::pair<std::string, std::string>, std::set<std::string>> errors_;
};

/// A flag of config-features; disabled unless the ConfigMap says otherwise.
bool feature(const Context& context, std::string_view key, std::string_view otherwise = "disabled");
void validate_revision_spec(const Json& spec, const std::string& path, const Context& context,
                            KnativeErrors& errors);
void validate_template_annotations(const Json& metadata, const std::string& path,
                                   const Context& context, KnativeErrors& errors,
                                   std::vector<std::string>* warnings);

}  // namespace knit::schema
