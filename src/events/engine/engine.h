// Brokers and channels as a whole: an ingress request in, a durable event, deliveries out. A host
// (the events process) brings the HTTP server, the Sender, and what is to exist.
// Source: knative/eventing pkg/broker/ingress/ingress_handler.go, pkg/channel/event_receiver.go;
// spec/eventing.md 2.1-2.3, 7.1, 8.
#pragma once

#include <compare>
#include <map>
#include <memory>

#include "events/delivery/hub.h"
#include "events/engine/trace.h"
#include "events/model/ingress.h"

namespace knit::events {

enum class StreamKind { Broker, Channel };

struct StreamKey {
  StreamKind kind = StreamKind::Broker;
  std::string ns;
  std::string name;
  std::string uid;  // another uid is another stream: what the old one had is gone with it
  auto operator<=>(const StreamKey&) const = default;
};

struct StreamSpec {
  StreamKey key;
  StreamOptions options;
  std::vector<Subscription> subscriptions;
};

struct EngineOptions {
  Limits limits;
  std::int32_t max_ttl = 255;
  Duration retry_after = std::chrono::seconds(1);  // told with a 503
  std::size_t max_flight_bytes = 32 << 20;
  std::size_t max_held_bytes = 16 << 20;
};

struct EngineStats {
  std::uint64_t accepted = 0, refused = 0;
  std::map<Outcome, std::uint64_t> outcomes;
};

class Engine {
 public:
  /// Sender outlives the engine; `disk` holds nothing but its streams.
  Engine(io::Loop& loop, std::shared_ptr<LogDisk> disk, Sender& sender, EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Makes it so that exactly these streams exist, with these subscribers; durable when it returns.
  /// Calls are made one after the other. What is not named is removed with its events, from a run
  /// before too. Errors: the first one; the other streams are made nevertheless.
  io::Task<Result<void>> apply(std::vector<StreamSpec> wanted);

  /// Answers one request at a door: the row of the status table. 202 means on the disk. Batches are
  /// accepted event by event; the first refusal is the answer.
  /// `allow` judges each event for the sender (token, EventPolicy); empty allows all.
  using Allow = std::function<Outcome(const Target&, const Event&)>;
  io::Task<http::Response> ingest(Door door, http::Request request, Allow allow);
  /// What address_of() says without a body, so that a server need not read one. Nothing when the
  /// body is wanted.
  std::optional<http::Response> refuse_early(Door door, const std::string& method,
                                             const std::string& path, const std::string& host);

  /// Writes everything down and delivers nothing more.
  io::Task<Result<void>> stop();
  Hub* find(StreamKind kind, const std::string& ns, const std::string& name);

  // For people, as JSON.
  /// Streams with what they hold, and their subscribers with counts and lag.
  Json overview();
  /// Every event with this id: where it was accepted, what each filter says, each try, how it
  /// stands. Looks into memory, then through the logs.
  io::Task<Json> trace(std::string id);
  /// The newest events, at most `limit`, of one stream. Errors: NotFound.
  io::Task<Result<Json>> recent(StreamKind kind, std::string ns, std::string name, Seq from,
                                std::size_t limit);
  /// Events whose dead letter sink failed, too: they rest, and are tried again now and then.
  io::Task<Json> parked();
  /// Tries them again now; of one subscriber (uid or label) or, empty, of all. The number.
  std::size_t redrive(const std::string& subscriber);
  /// Delivers [from, what is there now) of a stream once more to one of its subscribers (uid or
  /// label). Ends with the process. Errors: NotFound, ResourceExhausted.
  Result<Json> replay(StreamKind kind, const std::string& ns, const std::string& name,
                      const std::string& subscriber, Seq from);
  Shared& shared() { return shared_; }
  const EngineStats& stats() const { return stats_; }

 private:
  struct Entry {
    StreamKey key;
    std::unique_ptr<Hub> hub;
    std::vector<Subscription> subscriptions;
    std::vector<Subscription> replays;  // beside them, until they are through
    std::vector<std::string> known;     // names of both in stream_of_
  };
  using Name = std::tuple<StreamKind, std::string, std::string>;
  struct Link;

  static std::string directory_of(const StreamKey& key);
  http::Response told(Outcome outcome, std::string_view text = {});
  io::Task<Outcome> accept(StreamKind kind, Target target, StoredEvent event, std::string* text);
  void subscribe(Entry& entry);
  void forget(Entry& entry);
  void end_replays(Entry& entry);
  Json describe(const Entry& entry, const Record& record, const StoredEvent& event);
  static io::Task<int> reply(std::weak_ptr<Link> link, std::string broker, StoredEvent event);

  io::Loop& loop_;
  std::shared_ptr<LogDisk> disk_;
  Sender& sender_;
  EngineOptions options_;
  Shared shared_;
  std::map<Name, Entry> streams_;
  EngineStats stats_;
  Tracer tracer_;
  std::unordered_map<std::string, std::string> stream_of_;  // by a subscriber's name
  std::uint64_t replays_ = 0;
  std::shared_ptr<Link> link_;
};

}  // namespace knit::events
