// The first frames of connections between P and E, where E plays built-in roles (ipc.md, "roles
// that run inside E"). ingress: P connects, RoleCall, then plain HTTP/1.1 (or, to a probe, one
// RoleAnswer). egress: E connects, RoleDial, P answers RoleAnswer, then the bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"

namespace knit::ipc {

/// The sockets of a role's pod. Below the run directory; `in` may be entered by P only, `out` by E
/// only. A uid is checked by role_word() before it becomes part of a path.
inline std::string role_ingress_path(std::string_view run_dir, std::string_view uid) {
  return std::string(run_dir) + "/roles/in/" + std::string(uid);
}
inline std::string role_egress_path(std::string_view run_dir, std::string_view uid) {
  return std::string(run_dir) + "/roles/out/" + std::string(uid);
}
/// Letters, digits and inner dashes, at most 63 of them.
bool role_word(std::string_view word);

/// Listener::purpose of the two: "role-ingress:UID:NAME" for E, "role-egress:UID:NAME" for P.
struct RolePurpose {
  bool ingress = false;
  std::string uid, name;
};
std::string to_string(const RolePurpose& purpose);
std::optional<RolePurpose> parse_role_purpose(std::string_view text);

/// Probed::probe for a pod whose role runs inside E: of all its containers.
inline constexpr std::string_view kRoleProbe = "/role";

struct RoleCall {
  std::uint16_t port = 0;         // of the role's pod, where the requests arrived
  std::vector<std::string> hops;  // verified SPIFFE ids, the original caller first
  bool probe = false;             // is the role served? Nothing follows
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.port);
    v(2, s.hops);
    v(3, s.probe);
  }
};
enum class RoleProtocol : std::uint32_t { Http, Tcp };
struct RoleDial {
  std::string host;  // a name of the cluster's DNS, or an address
  std::uint16_t port = 0;
  RoleProtocol protocol = RoleProtocol::Http;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.host);
    v(2, s.port);
    v(3, s.protocol);
  }
};
struct RoleAnswer {
  std::string reason;  // empty: ok; else one word for a condition
  std::string text;    // a sentence for people
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.reason);
    v(2, s.text);
  }
};

/// {u32 length, little endian; codec body}.
inline constexpr std::size_t kMaxOpening = 4'096;  // of the body
std::string opening_text(std::string_view body);
template <class M>
std::string opening(const M& m) {
  return opening_text(codec::encode(m));
}
/// Bytes of the whole frame that `bytes` begin with; nothing while more are needed. Errors:
/// InvalidArgument when it is longer than any of ours.
Result<std::optional<std::size_t>> opening_size(std::string_view bytes);
/// `frame` as opening_size() measured it. Errors: InvalidArgument.
template <class M>
Result<M> read_opening(std::string_view frame) {
  return codec::decode<M>(frame.substr(4));
}

}  // namespace knit::ipc
