// One request on its way: decided by routing (http_routing.cc), carried by HttpSession.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/h1.h"
#include "proxy/road.h"
#include "proxy/session.h"
#include "proxy/shared.h"

namespace knit::proxy {

/// Envoy's words when the upstream does not take the connection, or ends it before an answer.
inline constexpr char kConnectFailure[] =
    "upstream connect error or disconnect/reset before headers. reset reason: connection failure";
inline constexpr char kTermination[] =
    "upstream connect error or disconnect/reset before headers. reset reason: connection "
    "termination";

/// All lines of a field as one value: RFC 9110 5.3; empty values add nothing.
std::string join_lines(const http::h1::Head& head, std::string_view name,
                       std::string_view delimiter = ", ");

/// What routing decided. A reply, a revision (activator or direct), a pod, an address, or a role of
/// the events process (pod `uid`).
struct Decision {
  enum class Kind { Reply, Revision, Pod, Address, Role } kind = Kind::Reply;
  // Reply
  int status = 0;
  std::string body, location;
  const char* flags = "-";
  const char* details = "-";
  bool page = false;   // the router's 503 page, HTTP/1.0
  bool reset = false;  // no answer at all: the connection is reset
  // Others
  std::string revision;
  std::string uid;  // Pod; Revision: the pod it is pinned to, or empty
  std::string ip;
  std::uint16_t port = 0;
  bool via_activator = false, queue_proxy = false;
  Duration timeout{};  // of the route
  std::string rewrite_authority;
  std::string service;  // "ns/name", for metrics
  std::uint16_t service_port = 0;
  std::string gateway_uid;  // of a hop through a gateway inside the process
  std::string route_name;
  std::vector<std::pair<std::string, std::string>> set_headers;  // SET semantics, last wins
  std::string xfcc;                                              // elements, oldest caller first
  const pc::Route* route = nullptr;                              // that was followed, for probes
  bool edge = false;           // entered from outside the mesh: x-forwarded-*, new x-request-id
  bool mesh_response = false;  // server: istio-envoy and the like
  bool mtls = false;           // the last hop verified an identity
  std::string source_principal;
  Peer sender;  // who opens the next hop
  std::string sender_uid;
  const pc::Workload* sender_workload = nullptr;
};

struct RequestView {
  std::string_view method, authority, path;
  HeaderLookup header;
};

/// Walks all logical hops of a request. Pure but for `random`.
Decision route_request(const Tables& t, const HttpContext& c, const RequestView& q,
                       std::uint64_t random);
/// The last hop, once the pod is known: appends its XFCC element. False: the pod's inbound policy
/// rejects it (503 UC).
bool last_hop(const Tables& t, Decision& d, const std::string& uid, std::uint16_t port);
/// … to a pod that is not there yet.
bool last_hop(const Tables& t, Decision& d, const pc::Workload& w, std::uint16_t port);

/// "By=…;Hash=…;Subject=\"\";URI=…" behind what is there.
void append_xfcc(std::string& xfcc, const std::string& by, const Peer& peer);

/// The head for the app: hop-by-hop and untrusted fields out, ours in.
struct HeadInputs {
  const http::h1::Head* head = nullptr;
  const HttpContext* context = nullptr;
  const Decision* decision = nullptr;
  std::string_view request_id;
};
void write_upstream_head(std::string& out, const HeadInputs& in);
/// x-request-id of the request, or a new one at an untrusted edge or where there is none.
std::string request_id_of(const http::h1::Head& head, const Decision& d, Random& random);
/// The head for the client. `close`: add Connection: close. `chunked`: frame the body so.
struct ResponseHeadOptions {
  bool close = false, chunked = false, mesh = false;
  Duration upstream_time{};
};
void write_downstream_head(std::string& out, const http::h1::Head& head,
                           const ResponseHeadOptions& o);
/// True for names that no client or workload may set. design.md 5 "headers".
bool untrusted_header(std::string_view name);
/// TE: trailers, which lets an answer's trailers pass.
bool wants_trailers(const http::h1::Head& head);
/// Without those that nobody may set.
std::vector<http::h1::Field> passing_trailers(const std::vector<http::h1::Field>& trailers);

/// A whole answer of our own.
std::string local_reply(int status, std::string_view body, std::string_view method,
                        std::string_view location, bool close, bool mesh,
                        bool retry_after = false);
/// OpenShift's 503 page. Source: spec/mesh.md 4.3.
std::string unavailable_page();

}  // namespace knit::proxy
