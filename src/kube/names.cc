#include "kube/names.h"

#include <algorithm>

#include "base/random.h"

namespace knit::kube {

namespace {
bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool alnum(char c) { return lower(c) || digit(c); }
bool alpha(char c) { return lower(c) || (c >= 'A' && c <= 'Z'); }

std::string too_long(std::size_t max) {
  return "must be no more than " + std::to_string(max) + " characters";
}
bool is_label(std::string_view s) {
  if (s.empty() || !alnum(s.front()) || !alnum(s.back())) return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '-'; });
}
bool is_subdomain(std::string_view s) {
  while (true) {
    const auto dot = s.find('.');
    if (!is_label(s.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    s.remove_prefix(dot + 1);
  }
}
}  // namespace

std::vector<std::string> check_dns1123_label(std::string_view name) {
  std::vector<std::string> errors;
  if (name.size() > 63) errors.push_back(too_long(63));
  if (!is_label(name)) {
    if (is_subdomain(name)) {
      errors.emplace_back("must not contain dots");
    } else {
      errors.emplace_back(
          "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
          "and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', "
          "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')");
    }
  }
  return errors;
}

std::vector<std::string> check_dns1123_subdomain(std::string_view name) {
  std::vector<std::string> errors;
  if (name.size() > 253) errors.push_back(too_long(253));
  if (!is_subdomain(name)) {
    errors.emplace_back(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
        "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
        "used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
  }
  return errors;
}

std::vector<std::string> check_dns1035_label(std::string_view name) {
  std::vector<std::string> errors;
  if (name.size() > 63) errors.push_back(too_long(63));
  if (!is_label(name) || !lower(name.front())) {
    errors.emplace_back(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
        "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
        "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')");
  }
  return errors;
}

std::vector<std::string> check_wildcard_dns1123_subdomain(std::string_view name) {
  std::vector<std::string> errors;
  if (name.size() > 253) errors.push_back(too_long(253));
  if (name.substr(0, 2) != "*." || !is_subdomain(name.substr(2))) {
    errors.emplace_back(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, "
        "which must consist of lower case alphanumeric characters, '-' or '.' and end with an "
        "alphanumeric character (e.g. '*.example.com', regex used for validation is "
        "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
  }
  return errors;
}

std::vector<std::string> check_path_segment(std::string_view name) {
  std::vector<std::string> errors;
  if (name == ".") errors.emplace_back("may not be '.'");
  if (name == "..") errors.emplace_back("may not be '..'");
  for (const char c : {'/', '%'}) {
    if (name.find(c) != std::string_view::npos) {
      errors.push_back(std::string("may not contain '") + c + "'");
    }
  }
  return errors;
}

std::vector<std::string> check_port_name(std::string_view name) {
  std::vector<std::string> errors;
  if (name.size() > 15) errors.emplace_back("must be no more than 15 characters");
  if (!std::all_of(name.begin(), name.end(), [](char c) { return alnum(c) || c == '-'; })) {
    errors.emplace_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  }
  if (std::none_of(name.begin(), name.end(), lower)) {
    errors.emplace_back("must contain at least one letter (a-z)");
  }
  if (name.find("--") != std::string_view::npos) {
    errors.emplace_back("must not contain consecutive hyphens");
  }
  if (!name.empty() && (name.front() == '-' || name.back() == '-')) {
    errors.emplace_back("must not begin or end with a hyphen");
  }
  return errors;
}

std::vector<std::string> check_config_key(std::string_view key) {
  std::vector<std::string> errors;
  if (key.size() > 253) errors.push_back(too_long(253));
  const bool good = !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return alpha(c) || digit(c) || c == '-' || c == '_' || c == '.';
  });
  if (!good) {
    errors.emplace_back(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
        "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
        "'[-._a-zA-Z0-9]+')");
  }
  if (key == ".") errors.emplace_back("must not be '.'");
  if (key == "..") errors.emplace_back("must not be '..'");
  if (key.size() > 2 && key.substr(0, 2) == "..") errors.emplace_back("must not start with '..'");
  return errors;
}

std::vector<std::string> check_env_name(std::string_view name) {
  // Relaxed since 1.34: any printable ASCII but "=".
  const bool good = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return c >= ' ' && c <= '~' && c != '=';
  });
  if (good) return {};
  return {
      "a valid environment variable name must consist only of printable ASCII characters "
      "other than '='"};
}

std::string generated_name(std::string_view prefix, Random& random) {
  return std::string(prefix.substr(0, kMaxGeneratedPrefix)) + random.name_suffix(5);
}

}  // namespace knit::kube
