// The messages between Knit's processes: the contract's code. Numbers are fixed at first use and
// never reused. Descriptors travel beside the body; `fds` in a comment says how many and which.
// U supervisor, S server, N node, P proxy, E events.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/codec.h"
#include "base/time.h"

namespace knit::ipc {

enum class Process : std::uint32_t { None, Supervisor, Server, Node, Proxy, Events };
std::string_view to_string(Process p);

enum class MessageType : std::uint16_t {
  Hello = 1, Ready = 2, Stopped = 3, Peer = 4, Put = 5, Drop = 6, Kept = 7, KeptEnd = 8, Bind = 9,
  Bound = 10, Expect = 11, Exit = 12, Roles = 13, Listener = 14, Stop = 15, ApiOpen = 16,
  Start = 17, Started = 18, Failed = 19, Reserve = 20, Reserved = 21, LogOpen = 22, LogOpened = 23,
  Pod = 24, Gone = 25, Want = 26, Sockets = 27, Listening = 28, Probed = 29, Have = 30, Delta = 31,
  Ack = 32, Nack = 33, Csr = 34, Cert = 35, Demand = 36, Stats = 37, Reach = 38, Acked = 39,
  HostData = 40, Metrics = 41, MetricsReply = 42, Logged = 43, Drain = 44, Drained = 45,
};

/// Empty for a number this build does not know (such a frame is skipped and counted).
std::string_view to_string(MessageType t);

#define KNIT_MESSAGE(type_name)                                        \
  static constexpr MessageType kType = MessageType::type_name;

struct Hello {  // X→U, first frame within 5 s
  KNIT_MESSAGE(Hello)
  Process process = Process::None;
  std::string build;
  std::uint32_t protocol = 1;
  std::int32_t pid = 0;
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.process); v(2, s.build); v(3, s.protocol); v(4, s.pid);
  }
};
struct Ready {  // X→U: serving; `detail` for `knit up`'s progress line
  KNIT_MESSAGE(Ready)
  std::string detail;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.detail); }
};
struct Stopped {  // X→U: drained and about to exit
  KNIT_MESSAGE(Stopped)
  template <class V, class S> static void fields(V&, S&) {}
};
/// U→X, fds: channel end. The old end is dead; resync. X→U (no fds): that generation of the
/// channel broke although both live; U makes a new one.
struct Peer {
  KNIT_MESSAGE(Peer)
  Process process = Process::None;
  std::uint64_t generation = 0;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.process); v(2, s.generation); }
};
struct Put {  // X→U, fds: the one to keep. Acked.
  KNIT_MESSAGE(Put)
  std::string key;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.key); }
};
struct Drop {  // X→U. Acked.
  KNIT_MESSAGE(Drop)
  std::string key;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.key); }
};
struct Kept {  // U→X, fds: one per key, in order. Before Peer.
  KNIT_MESSAGE(Kept)
  std::vector<std::string> keys;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.keys); }
};
struct KeptEnd {
  KNIT_MESSAGE(KeptEnd)
  template <class V, class S> static void fields(V&, S&) {}
};
/// S→U: U binds a TCP listener and hands it to P (Listener). Ports are a start option. The same
/// purpose again moves it; an empty address closes it.
struct Bind {
  KNIT_MESSAGE(Bind)
  std::string address;  // IP literal
  std::uint16_t port = 0;
  std::string purpose;  // "router-https", "router-http", "node-port:ns/name:80"
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.address); v(2, s.port); v(3, s.purpose);
  }
};
struct Bound {  // U→S: the answer to Bind
  KNIT_MESSAGE(Bound)
  std::string purpose;
  std::uint16_t port = 0;  // 0: failed
  std::string error;
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.purpose); v(2, s.port); v(3, s.error);
  }
};
struct Expect {  // N→U: record the exit of this process. Acked.
  KNIT_MESSAGE(Expect)
  std::string container;  // container id
  std::int32_t pid = 0;
  std::uint64_t start_time = 0;  // field 22 of /proc/PID/stat
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.container); v(2, s.pid); v(3, s.start_time);
  }
};
struct Exit {  // U→N. Acked; in U's journal on disk until then.
  KNIT_MESSAGE(Exit)
  std::string container;
  std::int32_t status = 0;  // as waitpid's
  WallTime when{};
  bool lost = false;  // nobody could tell the status (U was not its parent): 137, Unknown
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.container); v(2, s.status); v(3, s.when); v(4, s.lost);
  }
};
struct Acked {  // answers the frame with this sequence number
  KNIT_MESSAGE(Acked)
  std::uint64_t sequence = 0;
  std::string error;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.sequence); v(2, s.error); }
};
struct Role {  // a built-in role that runs inside E
  std::string pod_uid, name;
  bool injected = false;
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.pod_uid); v(2, s.name); v(3, s.injected);
  }
};
struct Roles {  // S→U: state, the whole list; U runs E while it is not empty
  KNIT_MESSAGE(Roles)
  std::vector<Role> roles;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.roles); }
};
struct Listener {  // U→P,E, fds: the listener; none: it is closed. Acked.
  KNIT_MESSAGE(Listener)
  std::string key;      // store key in U
  std::string purpose;  // "router-https", "host-capture", …
  std::uint16_t port = 0;
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.key); v(2, s.purpose); v(3, s.port);
  }
};
struct Stop {  // U→X
  KNIT_MESSAGE(Stop)
  Duration deadline{};
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.deadline); }
};
struct ApiOpen {  // N,E→S, fds: one end of a stream pair; HTTP/1.1 as system:knit:PROCESS
  KNIT_MESSAGE(ApiOpen)
  std::string user;  // only "system:knit:<process>" or, for E's roles, a component account
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.user); }
};
struct Start {  // S→N: may precede the commit. Acked; idempotent by uid.
  KNIT_MESSAGE(Start)
  std::string uid;
  std::string pod_json;  // the whole Pod as planned
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.uid); v(2, s.pod_json); }
};
struct Started {
  KNIT_MESSAGE(Started)
  std::string uid;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.uid); }
};
struct Failed {
  KNIT_MESSAGE(Failed)
  std::string uid, reason;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.uid); v(2, s.reason); }
};
struct LogOpen {  // S→N
  KNIT_MESSAGE(LogOpen)
  std::uint64_t call = 0;
  std::string uid, container;
  bool previous = false;
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.call); v(2, s.uid); v(3, s.container); v(4, s.previous);
  }
};
struct LogOpened {  // N→S, fds: the log file (read only) unless `error`
  KNIT_MESSAGE(LogOpened)
  std::uint64_t call = 0;
  std::string error;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.call); v(2, s.error); }
};
struct ProbeSpec {  // one HTTP or TCP probe that the proxy makes
  std::string id;   // "container/readiness"
  enum class Kind : std::uint32_t { Tcp, Http, Grpc } kind = Kind::Tcp;
  std::uint16_t port = 0;
  std::string path, host, scheme = "HTTP";
  std::map<std::string, std::string> headers;
  std::uint32_t initial_delay_s = 0, period_s = 10, timeout_s = 1, success = 1, failure = 3;
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.id); v(2, s.kind); v(3, s.port); v(4, s.path); v(5, s.host); v(6, s.scheme);
    v(7, s.headers); v(8, s.initial_delay_s); v(9, s.period_s); v(10, s.timeout_s);
    v(11, s.success); v(12, s.failure);
  }
};
struct Pod {  // N→P: fds: capture listener, DNS UDP socket. Acked. Sent again when probes change.
  KNIT_MESSAGE(Pod)
  std::string uid, ns, name, service_account, ip, ip6;
  std::vector<std::uint16_t> ports;   // container ports
  std::vector<ProbeSpec> probes;      // those to run now (startup gates the others: N decides)
  bool has_fds = true;                // false when only probes changed
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.uid); v(2, s.ns); v(3, s.name); v(4, s.service_account); v(5, s.ip); v(6, s.ip6);
    v(7, s.ports); v(8, s.probes); v(9, s.has_fds);
  }
};
struct Gone {  // N→P. Acked: the netns goes only afterwards.
  KNIT_MESSAGE(Gone)
  std::string uid;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.uid); }
};
struct Want {  // P→N: state, last wins
  KNIT_MESSAGE(Want)
  std::string uid;
  std::uint32_t level = 4;  // how many unconnected sockets to add now, 1..64
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.uid); v(2, s.level); }
};
struct Sockets {  // N→P, fds: ≤ 64 unconnected TCP sockets made inside the pod's netns
  KNIT_MESSAGE(Sockets)
  std::string uid;
  bool v6 = false;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.uid); v(2, s.v6); }
};
struct Listening {  // N→P: hint
  KNIT_MESSAGE(Listening)
  std::string uid;
  std::uint16_t port = 0;
  bool v6 = false;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.uid); v(2, s.port); v(3, s.v6); }
};
struct Probed {  // P→N: state per (uid, probe)
  KNIT_MESSAGE(Probed)
  std::string uid, probe;
  bool ok = false;
  std::string text;
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.uid); v(2, s.probe); v(3, s.ok); v(4, s.text);
  }
};
struct TypeHash {
  std::uint32_t type = 0;
  std::string root;                           // sha256 over the sorted (name, hash) pairs
  std::map<std::string, std::string> hashes;  // name → hash
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.type); v(2, s.root); v(3, s.hashes); }
};
struct Have {  // P→S: first on a new channel
  KNIT_MESSAGE(Have)
  std::vector<TypeHash> types;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.types); }
};
struct ConfigItem {
  std::uint32_t type = 0;
  std::string name, hash, body;
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.type); v(2, s.name); v(3, s.hash); v(4, s.body);
  }
};
struct Delta {  // S→P: one in flight
  KNIT_MESSAGE(Delta)
  std::uint64_t nonce = 0;
  std::vector<ConfigItem> set;
  std::vector<ConfigItem> removed;  // type and name only
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.nonce); v(2, s.set); v(3, s.removed); }
};
struct Ack {  // P→S: every worker runs it
  KNIT_MESSAGE(Ack)
  std::uint64_t nonce = 0;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.nonce); }
};
struct Nack {  // P→S: this resource alone is left out
  KNIT_MESSAGE(Nack)
  std::uint64_t nonce = 0;
  std::uint32_t type = 0;
  std::string name, reason;
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.nonce); v(2, s.type); v(3, s.name); v(4, s.reason);
  }
};
struct Csr {  // P→S
  KNIT_MESSAGE(Csr)
  std::string identity;  // SPIFFE id
  std::string pkcs10_pem;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.identity); v(2, s.pkcs10_pem); }
};
struct Cert {  // S→P
  KNIT_MESSAGE(Cert)
  std::string identity, chain_pem, error;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.identity); v(2, s.chain_pem); v(3, s.error); }
};
struct Demand {  // P→S: at 0→1 at once, then each second while > 0; state
  KNIT_MESSAGE(Demand)
  std::string revision;  // "default/hello-00001"
  std::uint32_t waiting = 0;
  Duration oldest{};
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.revision); v(2, s.waiting); v(3, s.oldest); }
};
struct RevisionStat {
  std::string revision;
  double average_concurrency = 0;  // over the last second, all pods and the activation queue
  double requests_per_second = 0;
  std::uint32_t in_flight = 0;
  std::string sks_hash;  // the Revision config every worker runs: confirms the SKS mode
  std::map<std::string, double> pods;  // uid → average concurrency at that pod
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.revision); v(2, s.average_concurrency); v(3, s.requests_per_second); v(4, s.in_flight);
    v(5, s.sks_hash); v(6, s.pods);
  }
};
struct Stats {  // P→S: each second; newest wins; older than 3 s discarded
  KNIT_MESSAGE(Stats)
  WallTime when{};
  std::vector<RevisionStat> revisions;  // those with traffic, or whose sks_hash changed
  std::map<std::string, std::uint64_t> egress_refused;  // "ns/pod 1.2.3.4:80" → count
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.when); v(2, s.revisions); v(3, s.egress_refused);
  }
};
struct Reach {  // P→S: state per ingress
  KNIT_MESSAGE(Reach)
  std::string ingress, hash;
  bool ready = false;
  std::uint32_t workers = 0;
  std::string failure;  // the first one, with host and stage
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.ingress); v(2, s.hash); v(3, s.ready); v(4, s.workers); v(5, s.failure);
  }
};
/// N→U, fds: one descriptor of the host data path, kept as "host/<what>" ("link"; what begins with
/// "listener" U also hands to P as a Listener of purpose "host-capture"). Acked.
struct HostData {
  KNIT_MESSAGE(HostData)
  std::string what;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.what); }
};
struct Logged {  // P→N: whole lines of the log of a container that P plays. Acked.
  KNIT_MESSAGE(Logged)
  std::string uid, container;
  std::string lines;
  std::uint64_t lost = 0;  // lines that were dropped before these
  template <class V, class S> static void fields(V& v, S& s) {
    v(1, s.uid); v(2, s.container); v(3, s.lines); v(4, s.lost);
  }
};
struct Drain {  // N→P: the preStop hook of a queue-proxy: no new requests to this pod
  KNIT_MESSAGE(Drain)
  std::string uid;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.uid); }
};
struct Drained {  // P→N: none of its requests runs any more
  KNIT_MESSAGE(Drained)
  std::string uid;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.uid); }
};
struct Metrics {  // S→P,N: the Prometheus text of that process
  KNIT_MESSAGE(Metrics)
  std::uint64_t call = 0;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.call); }
};
struct MetricsReply {  // body in a memfd
  KNIT_MESSAGE(MetricsReply)
  std::uint64_t call = 0;
  template <class V, class S> static void fields(V& v, S& s) { v(1, s.call); }
};

}  // namespace knit::ipc
