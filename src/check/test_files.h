// Tests: folders of manifests, and what a report says about them.
#pragma once

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "check/fixes.h"

namespace knit::check {

inline std::string text_of(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

inline Files folder(const std::string& path) {
  Files out;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".yaml")
      out[entry.path().filename().string()] = text_of(entry.path());
  }
  return out;
}

inline Report check(const Files& files, std::optional<Profile> profile = Profile::Ossm2) {
  ObjectSet set;
  for (const auto& [name, text] : files) set.add_text(name, text);
  Options options;
  options.settings.now_unix = 1'800'000'000;
  if (profile) {
    options.settings.profile_given = true;
    options.settings.profile = *profile;
  }
  return run(set, options);
}

/// Code, object and message of what is known and at least a warning.
inline std::set<std::array<std::string, 3>> told(const Report& report) {
  std::set<std::array<std::string, 3>> out;
  for (const auto& f : report.findings) {
    if (f.unknown() || f.suppressed || f.severity == Severity::Info) continue;
    out.insert({f.code, f.object ? f.object->ref() : "", f.message});
  }
  return out;
}

inline std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "\\n") {
      out += '\n';
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace knit::check
