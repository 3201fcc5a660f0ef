// The server's way to ask knit-events: HTTP/1.1 over stream pairs whose other ends it gets (ApiOpen
// the other way round).
#pragma once

#include <functional>
#include <memory>

#include "http/client.h"
#include "ipc/channel.h"

namespace knit::app {

class EventsLink {
 public:
  /// `channel` gives the channel to knit-events, or nullptr while it does not run.
  EventsLink(io::Loop& loop, std::function<ipc::Channel*()> channel);
  /// What knit-events answers; 503 when it does not run, 504 when it does not answer.
  io::Task<http::Response> ask(http::Request request);
  /// Another process: kept connections are those of the one before.
  void renew();

 private:
  static io::Task<Result<std::unique_ptr<io::Stream>>> open(io::Loop* loop,
                                                            std::function<ipc::Channel*()> channel);
  static io::Task<http::Response> ask_on(std::shared_ptr<http::Client> client,
                                         http::Request request);

  io::Loop& loop_;
  std::function<ipc::Channel*()> channel_;
  std::shared_ptr<http::Client> client_;
};

}  // namespace knit::app
