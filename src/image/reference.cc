#include "image/reference.h"

namespace knit::image {

namespace {

bool lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool alnum(char c) { return lower_alnum(c) || (c >= 'A' && c <= 'Z'); }

/// path-component: alpha-numeric runs joined by ".", "_", "__" or any number of "-".
bool valid_component(std::string_view s) {
  if (s.empty() || !lower_alnum(s.front()) || !lower_alnum(s.back())) return false;
  for (std::size_t i = 0; i < s.size();) {
    if (lower_alnum(s[i])) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < s.size() && !lower_alnum(s[end])) ++end;
    const std::string_view joint = s.substr(i, end - i);
    if (joint != "." && joint != "_" && joint != "__" &&
        joint.find_first_not_of('-') != std::string_view::npos) {
      return false;
    }
    i = end;
  }
  return true;
}

bool valid_tag(std::string_view s) {
  if (s.empty() || s.size() > 128 || s.front() == '.' || s.front() == '-') return false;
  for (const char c : s) {
    if (!alnum(c) && c != '_' && c != '.' && c != '-') return false;
  }
  return true;
}

bool valid_registry(std::string_view s) {
  if (s.empty() || s.size() > 255 || s.front() == '.' || s.find("..") != std::string_view::npos) {
    return false;
  }
  for (const char c : s) {
    if (!alnum(c) && c != '.' && c != '-' && c != ':' && c != '[' && c != ']') return false;
  }
  return true;
}

}  // namespace

bool valid_digest(std::string_view digest) {
  if (!digest.starts_with("sha256:") || digest.size() != 71) return false;
  return digest.substr(7).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string Reference::str() const {
  return digest.empty() ? name() + ":" + tag : name() + "@" + digest;
}

Result<Reference> parse_reference(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return Error(Code::InvalidArgument, "couldn't parse image reference \"" +
                                            std::string(text.substr(0, 300)) +
                                            "\": " + std::string(why));
  };
  if (text.empty() || text.size() > 512) return bad("invalid reference format");
  Reference out;
  std::string_view rest = text;
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    out.digest = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!valid_digest(out.digest)) return bad("invalid digest format");
  }
  const auto slash = rest.rfind('/');
  const auto colon = rest.rfind(':');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    out.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!valid_tag(out.tag)) return bad("invalid reference format");
  }
  const auto first = rest.find('/');
  const std::string_view head = rest.substr(0, first);
  if (first != std::string_view::npos &&
      (head.find('.') != std::string_view::npos || head.find(':') != std::string_view::npos ||
       head == "localhost")) {
    out.registry = head;
    out.repository = rest.substr(first + 1);
  } else {
    out.registry = "docker.io";
    out.repository =
        first == std::string_view::npos ? "library/" + std::string(rest) : std::string(rest);
  }
  if (out.registry == "index.docker.io") out.registry = "docker.io";
  if (!valid_registry(out.registry)) return bad("invalid reference format");
  for (std::string_view path = out.repository;;) {
    const auto end = path.find('/');
    if (!valid_component(path.substr(0, end))) {
      for (const char c : path) {
        if (c >= 'A' && c <= 'Z') return bad("repository name must be lowercase");
      }
      return bad("invalid reference format");
    }
    if (end == std::string_view::npos) break;
    path = path.substr(end + 1);
  }
  if (out.digest.empty() && out.tag.empty()) out.tag = "latest";
  return out;
}

std::string_view role_of(std::string_view image) {
  constexpr std::string_view kPrefix = "knit.local/role/";
  if (!image.starts_with(kPrefix)) return {};
  const std::string_view role = image.substr(kPrefix.size());
  return role.substr(0, role.find_first_of(":@"));
}

}  // namespace knit::image
