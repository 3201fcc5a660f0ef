#include "events/engine/engine.h"

#include <algorithm>

#include "base/hash.h"
#include "base/log.h"
#include "events/model/http_binding.h"

namespace knit::events {
namespace {

constexpr std::string_view kLogModule = "events";

std::string_view kind_name(StreamKind kind) {
  return kind == StreamKind::Broker ? "broker" : "channel";
}
std::string label_of(StreamKind kind, const std::string& ns, const std::string& name) {
  return std::string(kind_name(kind)) + " " + ns + "/" + name;
}
std::string stream_name(const StreamKey& key) {
  return std::string(kind_name(key.kind)) + "/" + key.ns + "/" + key.name + "/" + key.uid;
}

}  // namespace

struct Engine::Link {
  Engine* engine = nullptr;
};

Engine::Engine(io::Loop& loop, std::shared_ptr<LogDisk> disk, Sender& sender, EngineOptions options)
    : loop_(loop),
      disk_(std::move(disk)),
      sender_(sender),
      options_(options),
      link_(std::make_shared<Link>(Link{this})) {
  shared_.max_flight_bytes = options.max_flight_bytes;
  shared_.max_held_bytes = options.max_held_bytes;
  shared_.reply = [link = std::weak_ptr<Link>(link_)](std::string broker, StoredEvent event) {
    return reply(link, std::move(broker), std::move(event));
  };
  shared_.observe = [this](const Step& step) {
    const auto it = stream_of_.find(step.subscriber);
    if (it != stream_of_.end()) tracer_.step(it->second, step, loop_.wall_now());
  };
}
Engine::~Engine() = default;

std::string Engine::directory_of(const StreamKey& key) {
  return hash::sha256_hex(stream_name(key)).substr(0, 32);
}

io::Task<Result<void>> Engine::apply(std::vector<StreamSpec> wanted) {
  Result<void> out;
  const auto failed = [&out](Result<void> r) {
    if (!r && out) out = std::move(r);
  };
  std::map<Name, StreamSpec*> specs;
  std::set<std::string> directories;
  for (StreamSpec& s : wanted) {
    specs[Name(s.key.kind, s.key.ns, s.key.name)] = &s;
    directories.insert(directory_of(s.key));
  }
  for (auto it = streams_.begin(); it != streams_.end();) {
    const auto spec = specs.find(it->first);
    const bool stays = spec != specs.end() && spec->second->key == it->second.key;
    if (!stays) forget(it->second);
    it = stays ? std::next(it) : streams_.erase(it);
  }
  // Everything on the disk that nobody names, this run's and those of runs before.
  std::shared_ptr<LogDisk> disk = disk_;
  failed(co_await io::blocking<Result<void>>(loop_, [disk, directories]() -> Result<void> {
    KNIT_TRY(const auto present, disk->list(""));
    Result<void> first;
    for (const auto& name : present) {
      if (directories.contains(name)) continue;
      if (auto r = disk->remove_directory(name); !r && first) first = std::move(r);
    }
    return first;
  }));
  for (auto& [name, spec] : specs) {
    if (!streams_.contains(name)) {
      auto stream = co_await Stream::open(loop_, disk_, directory_of(spec->key),
                                          stream_name(spec->key), spec->options);
      if (!stream) {
        KNIT_LOG(Error, "a stream of events cannot be opened", KV("stream", stream_name(spec->key)),
                 KV("error", stream.error().message()));
        failed(std::move(stream).error());
        continue;
      }
      auto hub = std::make_unique<Hub>(loop_, std::move(*stream), sender_, shared_);
      streams_.emplace(name, Entry{spec->key, std::move(hub), {}, {}, {}});
    }
    Entry& entry = streams_.at(name);
    entry.hub->stream().set_options(spec->options);
    entry.subscriptions = std::move(spec->subscriptions);
    subscribe(entry);
    failed(co_await entry.hub->stream().flush());
  }
  co_return out;
}

http::Response Engine::told(Outcome outcome, std::string_view text) {
  ++stats_.outcomes[outcome];
  if (outcome == Outcome::Accepted) {
    ++stats_.accepted;
  } else if (outcome != Outcome::Healthy && outcome != Outcome::Options) {
    ++stats_.refused;
  }
  return answer(outcome, text, options_.retry_after);
}

std::optional<http::Response> Engine::refuse_early(Door door, const std::string& method,
                                                   const std::string& path,
                                                   const std::string& host) {
  const Address address = address_of(door, method, path, host);
  if (address.outcome != Outcome::Accepted) return told(address.outcome);
  const auto kind = door == Door::Broker ? StreamKind::Broker : StreamKind::Channel;
  if (find(kind, address.target.ns, address.target.name) == nullptr) {
    return told(Outcome::UnknownTarget);
  }
  return std::nullopt;
}

Hub* Engine::find(StreamKind kind, const std::string& ns, const std::string& name) {
  const auto it = streams_.find(Name(kind, ns, name));
  return it == streams_.end() ? nullptr : it->second.hub.get();
}

io::Task<Outcome> Engine::accept(StreamKind kind, Target target, StoredEvent event,
                                 std::string* text) {
  Hub* hub = find(kind, target.ns, target.name);
  if (hub == nullptr) co_return Outcome::UnknownTarget;
  if (kind == StreamKind::Broker && !arrive(event.event, loop_.wall_now(), options_.max_ttl)) {
    co_return Outcome::TtlExhausted;
  }
  const std::string id = event.event.id;
  const auto seq = co_await hub->append(std::move(event));
  if (seq) {
    tracer_.accepted(label_of(kind, target.ns, target.name), *seq, id);
    co_return Outcome::Accepted;
  }
  *text = seq.error().message();
  co_return outcome_of(seq.error());
}

io::Task<http::Response> Engine::ingest(Door door, http::Request request, Allow allow) {
  if (auto refused = refuse_early(door, request.method, request.path,
                                  std::string(request.headers.get("Host")))) {
    co_return std::move(*refused);
  }
  const Address address =
      address_of(door, request.method, request.path, request.headers.get("Host"));
  const auto kind = door == Door::Broker ? StreamKind::Broker : StreamKind::Channel;
  auto events = from_http(request.headers, std::move(request.body), options_.limits);
  if (!events) co_return told(outcome_of(events.error()), events.error().message());
  std::vector<StoredEvent::Header> headers;
  const http::Headers passing = pass_through(request.headers);
  for (const auto& [name, value] : passing.fields()) headers.push_back({name, value});
  const bool structured = mode_of(request.headers) != Mode::Binary;
  for (Event& event : *events) {
    if (allow) {
      const Outcome verdict = allow(address.target, event);
      if (verdict != Outcome::Accepted) co_return told(verdict);
    }
    std::string text;
    StoredEvent stored{std::move(event), headers, structured};
    const Outcome outcome = co_await accept(kind, address.target, std::move(stored), &text);
    if (outcome != Outcome::Accepted) co_return told(outcome, text);
  }
  co_return told(Outcome::Accepted);
}

// A broker's reply comes in as through its ingress, without the way there.
io::Task<int> Engine::reply(std::weak_ptr<Link> link, std::string broker, StoredEvent event) {
  const auto alive = link.lock();
  if (!alive) co_return 503;
  const auto slash = broker.find('/');
  if (slash == std::string::npos) co_return 404;
  const Target target{broker.substr(0, slash), broker.substr(slash + 1)};
  std::string text;
  Engine* engine = alive->engine;
  const Outcome outcome =
      co_await engine->accept(StreamKind::Broker, target, std::move(event), &text);
  co_return answer(outcome).status;
}

io::Task<Result<void>> Engine::stop() {
  Result<void> out;
  for (auto& [name, entry] : streams_) {
    auto stopped = co_await entry.hub->stop();
    if (!stopped && out) out = std::move(stopped);
  }
  streams_.clear();
  co_return out;
}

}  // namespace knit::events
