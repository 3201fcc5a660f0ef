#include "app/events_link.h"

#include <sys/socket.h>

#include "base/json.h"
#include "ipc/messages.h"

namespace knit::app {

EventsLink::EventsLink(io::Loop& loop, std::function<ipc::Channel*()> channel)
    : loop_(loop), channel_(std::move(channel)) {
  renew();
}

void EventsLink::renew() {
  http::ClientSettings settings;
  settings.host = "knit-events";
  client_ = std::make_shared<http::Client>(
      loop_, [loop = &loop_, channel = channel_] { return open(loop, channel); },
      std::move(settings));
}

io::Task<Result<std::unique_ptr<io::Stream>>> EventsLink::open(
    io::Loop* loop, std::function<ipc::Channel*()> channel) {
  ipc::Channel* to = channel();
  if (to == nullptr) {
    co_return Error(Code::Unavailable,
                    "knit-events does not run: Knative Eventing is not installed, or none of its "
                    "roles is up");
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    co_return errno_error("socketpair", errno);
  }
  Fd mine(ends[0]);
  std::vector<Fd> theirs;
  theirs.emplace_back(ends[1]);
  to->send(ipc::ApiOpen{"knit event"}, std::move(theirs));
  co_return io::socket_stream(*loop, std::move(mine));
}

io::Task<http::Response> EventsLink::ask_on(std::shared_ptr<http::Client> client,
                                            http::Request request) {
  auto response = co_await client->send(std::move(request));
  if (response) {
    http::Headers headers;  // what else there is belongs to that connection, not to the next
    headers.add("Content-Type", std::string(response->headers.get("Content-Type")));
    response->headers = std::move(headers);
    co_return std::move(*response);
  }
  Json body = JsonObject();
  json::set(body, {"error"}, Json(response.error().message()));
  co_return http::Response{response.error().code() == Code::DeadlineExceeded ? 504 : 503,
                           {{"Content-Type", "application/json"}},
                           json::print(body) + "\n"};
}

io::Task<http::Response> EventsLink::ask(http::Request request) {
  return ask_on(client_, std::move(request));
}

}  // namespace knit::app
