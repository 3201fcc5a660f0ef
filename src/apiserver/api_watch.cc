// watch and WatchList (kubeapi.md 1.6).
#include <charconv>

#include "apiserver/call.h"

namespace knit::apiserver {
namespace {

constexpr std::size_t kFlush = 64 << 10;
constexpr std::size_t kBatch = 256;

/// What wakes a watch; shared with callbacks, which may outlive it.
struct Wake {
  io::Event event;
  bool news = true, closed = false, timed_out = false, bookmark = false;
};

/// An event of a selection: what a change looks like to this watcher.
struct Seen {
  std::string_view type;
  kube::ObjectPtr object;
};
std::optional<Seen> see(const Filter& filter, const store::Change& c) {
  const bool was = c.before && filter.matches(*c.before);
  const bool is = c.after && filter.matches(*c.after);
  if (is) return Seen{was ? "MODIFIED" : "ADDED", c.after};
  if (!was) return std::nullopt;
  if (c.last) return Seen{"DELETED", c.last};
  // It left the selection: the last state that matched, with the version of the change.
  Json dom = c.before->parse();
  json::set(dom, {"metadata", "resourceVersion"}, text(std::to_string(c.version)));
  return Seen{"DELETED", std::make_shared<const kube::Object>(c.before->key(), c.version, dom)};
}

}  // namespace

Status too_large_version(std::uint64_t asked, std::uint64_t now);
std::optional<Status> check_list_options(const http::Query& q, bool watching);

io::Task<void> Api::watch(CallPtr call) {
  const http::Query& q = call->request.query;
  const schema::Kind& kind = *call->info.kind;
  if (auto wrong = check_list_options(q, true)) {
    co_await reply_status(call, std::move(*wrong));
    co_return;
  }
  FilterResult made =
      make_filter(kind, call->info.ns, q.get("labelSelector"), q.get("fieldSelector"));
  if (made.failure) {
    co_await reply_status(call, std::move(*made.failure));
    co_return;
  }
  const Filter& filter = made.filter;
  const View view = view_of(*call);
  const kube::Resource resource = stored_resource(kind);
  const std::string version_text(q.get("resourceVersion"));
  std::uint64_t version = 0;
  std::from_chars(version_text.data(), version_text.data() + version_text.size(), version);
  const bool bookmarks = query_flag(q, "allowWatchBookmarks");
  const bool watch_list = query_flag(q, "sendInitialEvents");
  // sendInitialEvents=false starts at the most recent state without showing it.
  const bool initial = q.has("sendInitialEvents") ? watch_list : version == 0;
  const store::Snapshot state = store_.snapshot();
  if (version > state.version()) {
    co_await reply_status(call, too_large_version(version, state.version()));
    co_return;
  }
  const std::uint64_t from = initial || version == 0 ? state.version() : version;

  const auto wake = std::make_shared<Wake>();
  auto subscribed = store_.subscribe(from, resource, on_loop(loop_), [wake] {
    wake->news = true;
    wake->event.set();
  });
  http::Headers headers = answer_headers(call->audit_id, "application/json", {});
  if (!(co_await call->responder->begin(200, std::move(headers)))) co_return;
  if (!subscribed) {
    // Told inside the stream, as upstream does.
    Status s = from_error(subscribed.error());
    std::string line = encode_error_event(s);
    (void)co_await call->responder->write(std::move(line));
    (void)co_await call->responder->end();
    co_return;
  }
  const std::shared_ptr<store::Subscription> subscription = std::move(subscribed).value();
  call->responder->on_close([wake] {
    wake->closed = true;
    wake->event.set();
  });
  std::int64_t seconds = 0;
  const std::string_view asked = q.get("timeoutSeconds");
  std::from_chars(asked.data(), asked.data() + asked.size(), seconds);
  if (seconds <= 0) {
    seconds = 1800 + static_cast<std::int64_t>(deps_.random->below(1800));
  }
  const auto timeout =
      loop_.after(std::chrono::seconds(std::min<std::int64_t>(seconds, 86'400)), [wake] {
        wake->timed_out = true;
        wake->event.set();
      });
  io::Loop::Timer bookmark_timer;
  const auto arm_bookmark = [&] {
    if (!bookmarks) return;
    bookmark_timer = loop_.after(deps_.bookmark_every, [wake] {
      wake->bookmark = true;
      wake->event.set();
    });
  };
  arm_bookmark();

  std::string out;
  bool columns = true;
  std::uint64_t upto = from;
  if (initial) {
    for (const auto& o : state.list(resource, filter.ns)) {
      if (!filter.matches(*o)) continue;
      out += encode_event(view, "ADDED", *o, columns);
      columns = false;
      if (out.size() >= kFlush) {
        if (!(co_await call->responder->write(std::exchange(out, {})))) co_return;
      }
    }
    if (watch_list && bookmarks) out += encode_bookmark(view, state.version(), true);
  }
  while (true) {
    bool more = wake->news;
    wake->news = false;
    while (more) {
      Result<store::Subscription::Batch> batch = store::Subscription::Batch{};
      if (subscription->behind_memory()) {
        // Reads the change table: off the loop.
        auto reading = io::blocking<Result<store::Subscription::Batch>>(
            loop_, [subscription] { return subscription->poll(kBatch); });
        batch = co_await reading;
      } else {
        batch = subscription->poll(kBatch);
      }
      if (!batch) {
        out += encode_error_event(from_error(batch.error()));
        (void)co_await call->responder->write(std::move(out));
        (void)co_await call->responder->end();
        co_return;
      }
      for (const store::Change& c : batch->changes) {
        const auto seen = see(filter, c);
        if (!seen) continue;
        out += encode_event(view, seen->type, *seen->object, columns);
        columns = false;
      }
      upto = batch->upto;
      more = batch->more;
      if (out.size() >= kFlush) {
        if (!(co_await call->responder->write(std::exchange(out, {})))) co_return;
      }
    }
    if (wake->bookmark) {
      wake->bookmark = false;
      out += encode_bookmark(view, upto, false);
      arm_bookmark();
    }
    if (wake->timed_out && bookmarks) out += encode_bookmark(view, upto, false);
    if (!out.empty()) {
      if (!(co_await call->responder->write(std::exchange(out, {})))) co_return;
    }
    if (wake->closed) co_return;
    if (wake->timed_out) break;
    wake->event.reset();
    if (wake->news || wake->closed || wake->timed_out || wake->bookmark) continue;
    co_await wake->event;
  }
  (void)co_await call->responder->end();
}

}  // namespace knit::apiserver
