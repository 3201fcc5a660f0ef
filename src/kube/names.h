// The rules for names of objects, with upstream's sentences.
// Source: apimachinery pkg/util/validation/validation.go, pkg/api/validation/generic.go
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace knit {
class Random;
}

namespace knit::kube {

/// Each returns why the name is not valid; empty when it is.
std::vector<std::string> check_dns1123_label(std::string_view name);
std::vector<std::string> check_dns1123_subdomain(std::string_view name);
std::vector<std::string> check_dns1035_label(std::string_view name);
std::vector<std::string> check_wildcard_dns1123_subdomain(std::string_view name);
/// Names that are path segments only (RBAC): no "/", "%", "." or "..".
std::vector<std::string> check_path_segment(std::string_view name);
std::vector<std::string> check_port_name(std::string_view name);
std::vector<std::string> check_config_key(std::string_view key);
std::vector<std::string> check_env_name(std::string_view name);

inline constexpr std::size_t kMaxGeneratedPrefix = 58;
/// generateName + 5 characters of the alphabet "bcdfghjklmnpqrstvwxz2456789"; the prefix is cut to
/// 58.
std::string generated_name(std::string_view prefix, Random& random);

}  // namespace knit::kube
