#include "events/host/ping.h"

#include "base/log.h"
#include "events/delivery/policy.h"
#include "events/model/http_binding.h"
#include "http/timeout.h"

namespace knit::events {
namespace {

constexpr std::string_view kLogModule = "events";
constexpr std::uint64_t kSpreadMs = 500;
constexpr int kRetries = 5;
constexpr Duration kFirstWait = std::chrono::milliseconds(50);
constexpr Duration kTimeout = std::chrono::seconds(10);
constexpr Duration kSlice = std::chrono::seconds(30);  // how late a stepped clock is noticed
constexpr std::size_t kMaxSending = 4096;

io::Task<Result<Answer>> as_result(io::Task<Answer> task) { co_return co_await task; }

}  // namespace

Result<Event> ping_event(const PingView& ping, std::string id, WallTime now) {
  Event out;
  out.id = std::move(id);
  out.type = "dev.knative.sources.ping";
  out.source = "/apis/v1/namespaces/" + ping.ns + "/pingsources/" + ping.name;
  out.time = rfc3339_fraction(now, 9);
  for (const auto& [name, value] : ping.extensions) {
    if (!valid_name(name) || reserved_name(name, out.specversion)) {
      return Error(Code::InvalidArgument, "spec.ceOverrides.extensions: \"" + name +
                                              "\" is no name of an extension attribute");
    }
    out.set_extension(name, value);
  }
  if (ping.data) {
    out.data = ping.data;
    out.datacontenttype = ping.content_type;
  }
  return out;
}

PingRunner::PingRunner(io::Loop& loop, Sender& sender, Random& random, std::string zones)
    : loop_(loop), sender_(sender), random_(random), zones_(std::move(zones)) {}
PingRunner::~PingRunner() = default;

void PingRunner::set(const std::vector<std::shared_ptr<const PingView>>& pings) {
  std::map<std::string, Job> now;
  for (const auto& ping : pings) {
    if (ping->sink.url.empty() || !ping->error.empty()) continue;
    const auto it = jobs_.find(ping->uid);
    if (it != jobs_.end() && *it->second.ping == *ping) {
      now.emplace(ping->uid, std::move(it->second));
      continue;
    }
    auto schedule = cron::Schedule::parse(ping->schedule);
    auto zone = ping->timezone.empty() ? Result<cron::TimeZone>(cron::TimeZone::utc())
                                       : cron::TimeZone::load(ping->timezone, zones_);
    if (!schedule || !zone) {  // admission has judged both; zone files may have changed
      KNIT_LOG(Error, "a PingSource cannot run", KV("ping", ping->ns + "/" + ping->name),
               KV("error", schedule ? zone.error() : schedule.error()));
      continue;
    }
    Job job{ping, {}};
    job.task = loop_.spawn_scoped(tick(this, ping, std::move(*schedule), std::move(*zone)));
    now.emplace(ping->uid, std::move(job));
  }
  jobs_ = std::move(now);
}

void PingRunner::stop() {
  jobs_.clear();
  sending_.clear();
}

io::Task<void> PingRunner::tick(PingRunner* runner, std::shared_ptr<const PingView> ping,
                                cron::Schedule schedule, cron::TimeZone zone) {
  io::Loop& loop = runner->loop_;
  while (true) {
    WallTime before = loop.wall_now();
    const auto due = schedule.next(before, zone);
    if (!due) co_return;  // never again
    bool turned_back = false;
    while (loop.wall_now() < *due) {
      co_await io::sleep_for(loop, std::min(*due - loop.wall_now(), kSlice));
      const WallTime now = loop.wall_now();
      turned_back = now < before;
      if (turned_back) break;
      before = now;
    }
    if (!turned_back) runner->fire(ping);
  }
}

void PingRunner::fire(const std::shared_ptr<const PingView>& ping) {
  ++stats_.ticks;
  if (sending_.size() >= kMaxSending) {  // sinks that hang
    ++stats_.lost;
    return;
  }
  const auto spread = std::chrono::milliseconds(random_.below(kSpreadMs));
  const std::uint64_t number = ++numbers_;
  auto scope = loop_.spawn_scoped(send(this, ping, spread, random_.uuid(), number));
  if (scope.running()) sending_.emplace(number, std::move(scope));
}

io::Task<void> PingRunner::send(PingRunner* runner, std::shared_ptr<const PingView> ping,
                                Duration spread, std::string id, std::uint64_t number) {
  io::Loop& loop = runner->loop_;
  std::string error;
  const auto event = ping_event(*ping, id, loop.wall_now());
  co_await io::sleep_for(loop, spread);
  bool sent = false;
  if (!event) error = event.error().message();
  for (int k = 0; event && k <= kRetries && !sent; ++k) {
    if (k > 0) co_await io::sleep_for(loop, kFirstWait * (1 << (k - 1)));
    auto message = to_binary(*event);
    OutMessage out{ping->sink, std::move(message.headers), std::move(message.body)};
    out.headers.add("Kn-Namespace", ping->ns);
    auto request = as_result(runner->sender_.send(std::move(out)));
    const auto answer = co_await http::with_timeout<Answer>(loop, kTimeout, std::move(request));
    const int status = answer ? answer->status : 0;
    sent = judge(status) == Verdict::Delivered;
    if (sent) break;
    error = !answer                 ? std::string(answer.error().message())
            : answer->error.empty() ? "status " + std::to_string(status)
                                    : answer->error;
    if (judge(status) == Verdict::Failed) break;
  }
  ++(sent ? runner->stats_.sent : runner->stats_.lost);
  if (!sent) {
    KNIT_LOG(Warn, "failed to send cloudevent", KV("ping", ping->ns + "/" + ping->name),
             KV("id", id), KV("target", ping->sink.url), KV("error", error));
  }
  loop.post([runner, number, alive = std::weak_ptr<int>(runner->alive_)] {
    if (!alive.expired()) runner->sending_.erase(number);
  });
}

}  // namespace knit::events
