// A stream with its subscribers: what is appended is matched once, while it is in memory, and
// handed to the dispatchers that it concerns; those that lag behind read the log.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "events/delivery/dispatcher.h"
#include "events/filter/matcher.h"

namespace knit::events {

class Hub {
 public:
  /// All references outlive the hub.
  Hub(io::Loop& loop, std::unique_ptr<Stream> stream, Sender& sender, Shared& shared);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  /// Durable, and on its way to the subscribers, when it answers. Errors: Stream::append's.
  void append(StoredEvent event, std::function<void(Result<Seq>)> done);
  io::Task<Result<Seq>> append(StoredEvent event);

  /// What is subscribed from now on. A name that is new starts with the next event; one that is no
  /// longer there loses its cursor and what it holds. Durable with the next stream().flush().
  void set_subscriptions(std::vector<Subscription> subscriptions);
  /// Gives back what is in flight and writes everything down. Nothing is delivered afterwards.
  io::Task<Result<void>> stop();
  Dispatcher* find(const std::string& name);
  std::vector<std::pair<std::string, DispatcherStats>> stats();
  Stream& stream() { return *stream_; }

 private:
  struct Recent {
    Seq seq = 0;
    std::shared_ptr<const StoredEvent> event;
    std::size_t bytes = 0;
  };
  struct Alive {};
  void appended();
  void tick();

  io::Loop& loop_;
  std::unique_ptr<Stream> stream_;
  Sender& sender_;
  Shared& shared_;
  std::map<std::string, std::unique_ptr<Dispatcher>> dispatchers_;
  std::vector<Dispatcher*> order_;  // as the matcher numbers them
  std::unique_ptr<Matcher> matcher_;
  std::deque<Recent> recent_;  // appended, not handed out yet
  std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();
  io::Loop::Timer timer_;
};

}  // namespace knit::events
