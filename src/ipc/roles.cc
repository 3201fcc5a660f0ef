#include "ipc/roles.h"

#include <algorithm>

namespace knit::ipc {
namespace {
constexpr std::string_view kIngress = "role-ingress:", kEgress = "role-egress:";
}

bool role_word(std::string_view word) {
  return !word.empty() && word.size() <= 63 && word.front() != '-' && word.back() != '-' &&
         std::all_of(word.begin(), word.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-';
         });
}

std::string to_string(const RolePurpose& purpose) {
  return std::string(purpose.ingress ? kIngress : kEgress) + purpose.uid + ":" + purpose.name;
}

std::optional<RolePurpose> parse_role_purpose(std::string_view text) {
  RolePurpose out;
  out.ingress = text.substr(0, kIngress.size()) == kIngress;
  if (!out.ingress && text.substr(0, kEgress.size()) != kEgress) return std::nullopt;
  text.remove_prefix(out.ingress ? kIngress.size() : kEgress.size());
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  out.uid = text.substr(0, colon);
  out.name = text.substr(colon + 1);
  if (!role_word(out.uid) || !role_word(out.name)) return std::nullopt;
  return out;
}

std::string opening_text(std::string_view body) {
  std::string out;
  for (unsigned shift = 0; shift < 32; shift += 8) {
    out += static_cast<char>(body.size() >> shift & 0xff);
  }
  out += body;
  return out;
}

Result<std::optional<std::size_t>> opening_size(std::string_view bytes) {
  if (bytes.size() < 4) return std::optional<std::size_t>();
  std::size_t length = 0;
  for (unsigned i = 0; i < 4; ++i) {
    length |= static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  if (length > kMaxOpening) {
    return Error(Code::InvalidArgument, "an opening frame of " + std::to_string(length) +
                                            " bytes: at most " + std::to_string(kMaxOpening));
  }
  if (bytes.size() < 4 + length) return std::optional<std::size_t>();
  return std::optional<std::size_t>(4 + length);
}

}  // namespace knit::ipc
