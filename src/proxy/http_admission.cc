// Admission of a request to a revision: which pod takes it, and what if that pod refuses.
#include <tuple>

#include "proxy/http_session.h"
#include "proxy/worker.h"

namespace knit::proxy {
namespace {
using namespace std::chrono_literals;
using http::h1::Framing;
constexpr Duration kFirstPause = 10ms;  // doubled each time: 0.6 s in all
constexpr int kPicks = 6;
}  // namespace

void HttpSession::admit() {
  Decision& d = x_.decision;
  x_.revision = x_.tables->revisions.find(d.revision);
  const Instant now = worker_.loop().now();
  if (x_.revision && x_.revision->timeout.count() > 0) {
    x_.deadline = std::min(x_.deadline, x_.started + x_.revision->timeout);
  }
  x_.gate = worker_.shared().gate(d.revision);
  x_.pinned = !d.uid.empty();  // its inbound policy was judged on the way here
  x_.token = std::make_shared<int>(0);
  // A grant to a request that ended meanwhile is given back.
  auto resume = [this, loop = &worker_.loop(), gate = x_.gate,
                 token = std::weak_ptr(x_.token)](RevisionGate::Outcome o) {
    loop->post([this, loop, gate, token, o] {
      if (token.expired()) {
        if (o.granted) gate->release(loop->now(), o.uid);
        return;
      }
      granted(o);
      pump();
    });
  };
  auto admission = x_.gate->acquire(now, d.uid, std::move(resume));
  switch (admission.admit) {
    case RevisionGate::Admit::Full:
      x_.gate.reset();
      return reply(503, "pending request queue full", "UO", "overflow");
    case RevisionGate::Admit::Queued:
      x_.ticket = admission.ticket;
      state_ = State::Waiting;
      x_.request_done = request_.head().framing == Framing::None;
      return;
    case RevisionGate::Admit::Now:
      return granted({true, std::move(admission.uid)});
  }
}

void HttpSession::granted(RevisionGate::Outcome o) {
  x_.token.reset();
  x_.ticket = 0;
  if (!o.granted) {
    x_.gate.reset();
    return reply(503, "shutting down", "-", "direct_response");
  }
  x_.granted = o.uid;
  Decision& d = x_.decision;
  // The newest tables: the pod may be younger than the request.
  x_.tables = worker_.tables();
  d.sender_workload = x_.tables->workloads.find(d.sender_uid);
  if (d.via_activator && !d.sender_workload) {
    std::tie(d.sender_uid, d.sender_workload) = find_role(*x_.tables, pc::Role::Activator);
  }
  x_.revision = x_.tables->revisions.find(d.revision);
  if (!x_.pinned) {
    x_.xfcc_before = d.xfcc.size();
    x_.principal_before = !d.source_principal.empty();
    if (!last_hop(*x_.tables, d, o.uid, 8012)) {
      return reply(503, kTermination, "UC", "upstream_reset_before_response_started");
    }
  }
  connect();
}

/// A pod that is about to go may refuse the connection before its end is known here. Nothing was
/// sent, so another pod (or this one, once it listens again) can do: the slot is given back, and a
/// moment later the request asks for one again. False: this was tried long enough.
/// DIFFERS: upstream's queue-proxy answers 502 at once.
bool HttpSession::pick_again() {
  Decision& d = x_.decision;
  if (!x_.gate || x_.pinned || x_.picks >= kPicks) return false;
  const Instant now = worker_.loop().now();
  x_.pick_again_at = now + kFirstPause * (1 << x_.picks++);
  release_upstream(false);
  x_.gate->release(now, x_.granted);
  x_.gate.reset();
  x_.granted.clear();
  d.uid.clear();
  d.ip.clear();
  d.xfcc.resize(x_.xfcc_before);
  if (!x_.principal_before) d.source_principal.clear();
  state_ = State::Waiting;
  x_.request_done = request_.head().framing == Framing::None;
  return true;
}

void HttpSession::picked_later() {
  x_.pick_again_at = Instant::max();
  x_.tables = worker_.tables();
  if (!x_.tables->revisions.find(x_.decision.revision)) {
    x_.revision = nullptr;
    return reply(503, kTermination, "UC", "upstream_reset_before_response_started");
  }
  admit();
}

}  // namespace knit::proxy
