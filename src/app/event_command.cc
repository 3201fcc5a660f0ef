// `knit event …`: asks knit-events through the API server (/knit/events/). Blocks.
#include "app/event_command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "app/check_command.h"
#include "app/event_text.h"
#include "base/random.h"
#include "check/input/live.h"
#include "io/real_loop.h"

namespace knit::app {
namespace {

using Kind = cli::Flag::Kind;
constexpr Duration kTimeout = std::chrono::seconds(60);
constexpr Duration kPoll = std::chrono::milliseconds(300);

/// One connection to the API server, for as many questions as a command has.
class Asker {
 public:
  static Result<std::unique_ptr<Asker>> open(const cli::Invocation& in) {
    KNIT_TRY(const auto settings_here, cli::settings_of(in));
    KNIT_TRY(const auto access, access_of(in, settings_here.data + "/admin.kubeconfig"));
    if (!access.basic.empty() || !access.as.empty()) {
      return Error(Code::Unsupported,
                   "user names with passwords and impersonation are not supported here");
    }
    auto out = std::make_unique<Asker>();
    KNIT_TRY(out->loop_, io::RealLoop::create(1));
    KNIT_TRY(auto connector, check::input::connector_to(*out->loop_, access));
    http::ClientSettings settings;
    settings.host = access.host;
    settings.timeout = kTimeout;
    out->base_ = access.base_path;
    out->token_ = access.token;
    out->client_ = std::make_unique<http::Client>(*out->loop_, std::move(connector), settings);
    return out;
  }

  /// The answer's body. Errors: those of the connection, and what the server says is wrong.
  Result<std::string> ask(std::string method, const std::string& path, http::Query query,
                          http::Request request = {}) {
    request.method = std::move(method);
    request.path = base_ + "/knit/events" + path;
    request.query = std::move(query);
    if (!token_.empty()) request.headers.add("Authorization", "Bearer " + token_);
    Result<http::Response> response = Error(Code::Unavailable, "no answer");
    auto scope =
        loop_->spawn_scoped(send(client_.get(), std::move(request), loop_.get(), &response));
    loop_->run();
    scope.cancel();
    KNIT_TRY_VOID(response);
    if (response->status < 300) return std::move(response->body);
    const auto dom = json::parse(response->body);
    std::string text(dom ? json::str(*dom, {"error"}) : std::string_view(response->body));
    if (text.empty() && dom) text = json::str(*dom, {"message"});
    while (text.ends_with('\n')) text.pop_back();
    return Error(Code::Unavailable, std::to_string(response->status) + ": " + text);
  }
  void wait() {
    const auto timer = loop_->after(kPoll, [this] { loop_->stop(); });
    loop_->run();
  }

 private:
  static io::Task<void> send(http::Client* client, http::Request request, io::RealLoop* loop,
                             Result<http::Response>* out) {
    *out = co_await client->send(std::move(request));
    loop->stop();
  }
  std::unique_ptr<io::RealLoop> loop_;
  std::unique_ptr<http::Client> client_;
  std::string base_, token_;
};

/// "NAMESPACE/NAME" with a kind before it or not: "broker/ns/b", "ns/b".
bool add_stream(const std::string& text, http::Query& query) {
  std::vector<std::string> parts;
  std::string rest = text;
  while (true) {
    const auto slash = rest.find('/');
    parts.push_back(rest.substr(0, slash));
    if (slash == std::string::npos) break;
    rest = rest.substr(slash + 1);
  }
  if (parts.size() == 3) query.add("kind", parts[0]);
  if (parts.size() < 2 || parts.size() > 3) return false;
  query.add("namespace", parts[parts.size() - 2]);
  query.add("name", parts.back());
  return true;
}
constexpr const char* kStreamHelp = "NAMESPACE/BROKER or channel/NAMESPACE/INMEMORYCHANNEL";

int print(const cli::Invocation& in, const Result<std::string>& body,
          std::string (*text)(const Json&)) {
  if (!body) return cli::fail(body.error().message());
  const auto dom = json::parse(*body, {.max_bytes = 64 << 20});
  if (!dom) return cli::fail("an answer that is no JSON: " + std::string(dom.error().message()));
  const std::string out = in.text("output") == "json" ? json::pretty(*dom) + "\n" : text(*dom);
  std::fwrite(out.data(), 1, out.size(), stdout);
  return 0;
}

int run_query(const cli::Invocation& in, const std::string& path, http::Query query,
              std::string (*text)(const Json&)) {
  auto asker = Asker::open(in);
  if (!asker) return cli::fail(asker.error().message());
  return print(in, (*asker)->ask("GET", path, std::move(query)), text);
}

int run_trace(const cli::Invocation& in) {
  http::Query query;
  query.add("id", in.text("id"));
  return run_query(in, "/trace", std::move(query), event_trace_text);
}
int run_stat(const cli::Invocation& in) { return run_query(in, "/stat", {}, event_stat_text); }
int run_dlq(const cli::Invocation& in) { return run_query(in, "/dlq", {}, event_dlq_text); }

int run_send(const cli::Invocation& in) {
  http::Query query;
  if (!add_stream(in.text("to"), query)) {
    return cli::fail(std::string("where to? ") + kStreamHelp, 64);
  }
  const std::string id = in.text("id").empty() ? system_random()->uuid() : in.text("id");
  http::Request event;
  event.headers = {{"ce-specversion", "1.0"},
                   {"ce-id", id},
                   {"ce-source", in.text("source").empty() ? "knit/event/send" : in.text("source")},
                   {"ce-type", in.text("type").empty() ? "dev.knit.event" : in.text("type")}};
  event.body = in.text("body");
  if (!event.body.empty()) {
    event.headers.add("content-type", in.text("content-type").empty() ? "application/json"
                                                                      : in.text("content-type"));
  }
  const auto extensions = in.values.find("extension");
  for (const auto& pair :
       extensions == in.values.end() ? std::vector<std::string>() : extensions->second) {
    const auto equals = pair.find('=');
    if (equals == std::string::npos) return cli::fail("--extension NAME=VALUE", 64);
    event.headers.add("ce-" + pair.substr(0, equals), pair.substr(equals + 1));
  }
  auto asker = Asker::open(in);
  if (!asker) return cli::fail(asker.error().message());
  const auto sent = (*asker)->ask("POST", "/send", std::move(query), std::move(event));
  if (!sent) return cli::fail(sent.error().message());
  std::printf("accepted, on disk: %s\n", id.c_str());
  return 0;
}

int run_tail(const cli::Invocation& in) {
  http::Query query;
  if (!add_stream(in.text("stream"), query)) {
    return cli::fail(std::string("of what? ") + kStreamHelp, 64);
  }
  auto asker = Asker::open(in);
  if (!asker) return cli::fail(asker.error().message());
  std::string from;
  while (true) {
    http::Query now = query;
    now.add("limit", in.text("lines").empty() || !from.empty() ? (from.empty() ? "20" : "1000")
                                                               : in.text("lines"));
    if (!from.empty()) now.add("from", from);
    const auto body = (*asker)->ask("GET", "/recent", std::move(now));
    if (const int status = print(in, body, event_lines_text); status != 0) return status;
    if (!in.has("follow")) return 0;
    std::fflush(stdout);
    from = std::to_string(json::i64(*json::parse(*body, {.max_bytes = 64 << 20}), {"next"}));
    (*asker)->wait();
  }
}

int run_redrive(const cli::Invocation& in) {
  http::Query query;
  if (!in.text("subscriber").empty()) query.add("subscriber", in.text("subscriber"));
  auto asker = Asker::open(in);
  if (!asker) return cli::fail(asker.error().message());
  return print(in, (*asker)->ask("POST", "/redrive", std::move(query)), [](const Json& dom) {
    return std::to_string(json::i64(dom, {"redriven"})) + " events are tried again now\n";
  });
}

int run_replay(const cli::Invocation& in) {
  http::Query query;
  if (!add_stream(in.text("stream"), query)) {
    return cli::fail(std::string("of what? ") + kStreamHelp, 64);
  }
  query.add("subscriber", in.text("subscriber"));
  query.add("from", in.text("from"));
  auto asker = Asker::open(in);
  if (!asker) return cli::fail(asker.error().message());
  return print(in, (*asker)->ask("POST", "/replay", std::move(query)), [](const Json& dom) {
    return std::string(json::str(dom, {"label"})) + ": events " +
           std::to_string(json::i64(dom, {"from"})) + " to " +
           std::to_string(json::i64(dom, {"until"}) - 1) + " are delivered once more\n";
  });
}

cli::Command command(std::string name, std::string help, std::vector<cli::Argument> arguments,
                     std::vector<cli::Flag> flags, int (*run)(const cli::Invocation&)) {
  flags.push_back(
      {"kubeconfig", "of the server (else KUBECONFIG, else the data directory's)", Kind::Value});
  flags.push_back({"context", "of that kubeconfig", Kind::Value});
  flags.push_back({"output", "json: the answer as it came", Kind::Value, {}, false, 'o'});
  return {.name = "event " + name,
          .help = std::move(help),
          .arguments = std::move(arguments),
          .flags = std::move(flags),
          .settings = {"data"},
          .run = run};
}

}  // namespace

std::vector<cli::Command> event_commands() {
  return {
      command("send", "send an event to a Broker or a channel", {{"to", kStreamHelp}},
              {{"type", "of the event (dev.knit.event)", Kind::Value},
               {"source", "of the event (knit/event/send)", Kind::Value},
               {"id", "of the event (a new one)", Kind::Value},
               {"body", "its data", Kind::Value},
               {"content-type", "of the data (application/json)", Kind::Value},
               {"extension", "NAME=VALUE", Kind::List}},
              run_send),
      command("tail", "print the newest events of a Broker or a channel", {{"stream", kStreamHelp}},
              {{"follow", "go on as they come", Kind::Switch, {}, false, 'f'},
               {"lines", "how many to begin with (20)", Kind::Value, {}, false, 'n'}},
              run_tail),
      command("stat", "Brokers and channels with their subscribers: lag, delivered, parked", {}, {},
              run_stat),
      command("trace", "what happened to the events with this id",
              {{"id", "the event's id attribute"}}, {}, run_trace),
      command("replay", "deliver events to one subscriber once more", {{"stream", kStreamHelp}},
              {{"subscriber",
                "\"trigger NAME\", \"subscription NAME\" or a uid",
                Kind::Value,
                {},
                true},
               {"from", "number of the first event (see tail)", Kind::Value, {}, true}},
              run_replay),
      command("dlq list", "events that neither their subscriber nor its dead letter sink took", {},
              {}, run_dlq),
      command("dlq redrive", "try those again now", {},
              {{"subscriber", "only this one's", Kind::Value}}, run_redrive),
  };
}

}  // namespace knit::app
