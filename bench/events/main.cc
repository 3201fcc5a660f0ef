// knit-events-bench DIRECTORY: the event engine alone, on one loop and a disk. Prints one line
// "id value unit" per number; bench/events_bench.py turns them into rows.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "events/engine/engine.h"
#include "io/real_loop.h"

namespace knit::events {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
void print(const char* id, double value, const char* unit) {
  std::printf("%s %.3f %s\n", id, value, unit);
  std::fflush(stdout);
}
double rss_mib() {
  long pages = 0;
  if (FILE* f = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(f, "%*d %ld", &pages) != 1) pages = 0;
    std::fclose(f);
  }
  return static_cast<double>(pages) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

class NullSender final : public Sender {
 public:
  io::Task<Answer> send(OutMessage message) override {
    ++sent;
    bytes += message.body.size();
    return now();
  }
  std::uint64_t sent = 0, bytes = 0;

 private:
  static io::Task<Answer> now() { co_return Answer{202, {}, {}, {}}; }
};

Event sample() {
  Event e;
  e.id = "0123456789";
  e.source = "/apis/v1/namespaces/default/carts/42";
  e.type = "com.example.order.created";
  e.subject = "order-42";
  e.time = "2026-01-02T03:04:05.678Z";
  e.datacontenttype = "application/json";
  e.data = std::string(1024, 'x');
  e.set_extension("color", "blue");
  e.set_extension("region", "eu-west-1");
  return e;
}

http::Request request() {
  http::Request r;
  r.method = "POST";
  r.path = "/ns/b";
  r.headers = {{"Host", "broker-ingress"},
               {"ce-specversion", "1.0"},
               {"ce-id", "0123456789"},
               {"ce-source", "/apis/v1/namespaces/default/carts/42"},
               {"ce-type", "com.example.order.created"},
               {"ce-time", "2026-01-02T03:04:05.678Z"},
               {"ce-color", "blue"},
               {"content-type", "application/json"}};
  r.body = std::string(1024, 'x');
  return r;
}

// ---- nanoseconds of pure decisions

template <class F>
double per_call_ns(F f) {
  constexpr int kBatch = 20'000;
  double best = 1e18;  // foreign load only ever adds
  for (int round = 0; round < 15; ++round) {
    const auto start = Clock::now();
    int yes = 0;
    for (int i = 0; i < kBatch; ++i) yes += f(i);
    best = std::min(best, seconds_since(start) * 1e9 / kBatch);
    if (yes == -1) std::abort();
  }
  return best;
}

std::shared_ptr<const Filter> filter(const std::string& spec) {
  const auto json = json::parse(spec);
  KNIT_CHECK(json.has_value());
  const auto parsed = parse_filter(*json);
  KNIT_CHECK(parsed.has_value());
  auto compiled = Filter::compile(*parsed);
  KNIT_CHECK(compiled.has_value());
  return std::make_shared<const Filter>(std::move(*compiled));
}

void decisions() {
  const Event e = sample();
  const auto attributes = filter(
      R"({"filter": {"attributes": {"type": "com.example.order.created", "color": "blue"}}})");
  print("events.filter.attributes", per_call_ns([&](int) { return attributes->matches(e); }), "ns");
  const auto prefix = filter(
      R"({"filters": [{"prefix": {"type": "com.example."}}, {"not": {"suffix": {"source": "/7"}}}]})");
  print("events.filter.prefix_not", per_call_ns([&](int) { return prefix->matches(e); }), "ns");
  const auto cesql = cesql::Program::compile(
      "type LIKE 'com.example.%' AND color IN ('red', 'blue') AND LENGTH(subject) > 3 AND EXISTS "
      "region");
  KNIT_CHECK(cesql.has_value());
  print("events.cesql", per_call_ns([&](int) { return cesql->matches(e); }), "ns");

  const double before = rss_mib();
  std::vector<std::shared_ptr<const Filter>> filters;
  for (int i = 0; i < 1000; ++i) {
    filters.push_back(filter(R"({"filter": {"attributes": {"type": "com.example.t)" +
                             std::to_string(i) + R"(", "color": "blue"}}})"));
  }
  const Matcher matcher(filters);
  print("events.trigger_bytes", (rss_mib() - before) * 1048576 / 1000, "bytes");
  std::vector<Event> many(1000, e);
  for (std::size_t i = 0; i < many.size(); ++i) many[i].type = "com.example.t" + std::to_string(i);
  std::vector<std::uint32_t> out;
  print("events.match_1000_triggers", per_call_ns([&](int i) {
          matcher.match(many[static_cast<std::size_t>(i) % many.size()], out);
          return static_cast<int>(out.size());
        }),
        "ns");
}

// ---- the whole engine

struct Load {
  Engine* engine = nullptr;
  io::RealLoop* loop = nullptr;
  Clock::time_point until;
  std::uint64_t accepted = 0, refused = 0;
  std::vector<double> latencies;
  std::size_t clients = 0;
};

io::Task<void> client(Load* load) {
  while (Clock::now() < load->until) {
    const auto start = Clock::now();
    const http::Response response = co_await load->engine->ingest(Door::Broker, request(), {});
    if (response.status == 202) {
      ++load->accepted;
      if (load->accepted % 16 == 0) load->latencies.push_back(seconds_since(start));
    } else {
      ++load->refused;
      co_await io::sleep_for(*load->loop, std::chrono::milliseconds(1));
    }
  }
  if (--load->clients == 0) load->loop->stop();
}

template <class T>
io::Task<void> then_stop(io::Task<T> task, io::RealLoop* loop, bool* ok) {
  const T result = co_await std::move(task);
  *ok = result.has_value();
  loop->stop();
}

StreamSpec broker(std::size_t triggers) {
  StreamSpec s;
  s.key = {StreamKind::Broker, "ns", "b", "u"};
  s.options.max_bytes = std::uint64_t{4} << 30;
  for (std::size_t i = 0; i < triggers; ++i) {
    Subscription t;
    t.name = "t" + std::to_string(i);
    t.subscriber.url = "http://subscriber";
    t.max_in_flight = 256;
    s.subscriptions.push_back(std::move(t));
  }
  return s;
}

void apply(Engine& engine, io::RealLoop& loop, std::vector<StreamSpec> specs) {
  bool ok = false;
  const auto scope = loop.spawn_scoped(then_stop(engine.apply(std::move(specs)), &loop, &ok));
  loop.run();
  KNIT_CHECK(ok);
}

void measure(const std::string& directory, std::size_t triggers, std::size_t clients,
             const char* rate_id, const char* p99_id) {
  auto loop = io::RealLoop::create(2);
  auto disk = open_posix_disk(directory);
  KNIT_CHECK(loop.has_value() && disk.has_value());
  NullSender sender;
  {
    Engine engine(**loop, std::shared_ptr<LogDisk>(std::move(*disk)), sender, {});
    std::vector<StreamSpec> specs;
    specs.push_back(broker(triggers));
    apply(engine, **loop, std::move(specs));
    Load load{&engine, loop->get(), Clock::now() + std::chrono::seconds(3), 0, 0, {}, clients};
    const auto start = Clock::now();
    for (std::size_t i = 0; i < clients; ++i) (*loop)->spawn(client(&load));
    (*loop)->run();
    const double took = seconds_since(start);
    const std::uint64_t done =
        triggers > 0 ? std::min(sender.sent / triggers, load.accepted) : load.accepted;
    print(rate_id, static_cast<double>(done) / took, "events/s");
    std::sort(load.latencies.begin(), load.latencies.end());
    if (p99_id != nullptr && !load.latencies.empty()) {
      print(p99_id, load.latencies[load.latencies.size() * 99 / 100] * 1e3, "ms");
    }
    apply(engine, **loop, {});
  }
}

// What an fsync costs here, as the peer of all rates.
void disk_speed(const std::string& directory) {
  const std::string path = directory + "/probe";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const std::string block(64 << 10, 'x');
  const auto start = Clock::now();
  int n = 0;
  while (seconds_since(start) < 1) {
    if (::pwrite(fd, block.data(), block.size(), n * static_cast<off_t>(block.size())) < 0) break;
    if (::fdatasync(fd) != 0) break;
    ++n;
  }
  ::close(fd);
  ::unlink(path.c_str());
  print("events.disk_sync_64k", n / seconds_since(start), "syncs/s");
}

// Memory while a million events of one subscriber that takes nothing lie in the log.
struct Filler {
  Hub* hub;
  io::RealLoop* loop;
  std::uint64_t left, waiting = 0;
};
void fill(Filler* f) {
  while (f->left > 0 && f->waiting < 2000) {
    --f->left;
    ++f->waiting;
    StoredEvent e;
    e.event = sample();
    e.event.data = std::string(200, 'x');
    f->hub->append(std::move(e), [f](const Result<Seq>&) {
      if (--f->waiting == 0 && f->left == 0) return f->loop->stop();
      if (f->waiting == 1000) f->loop->post([f] { fill(f); });
    });
  }
}

class SilentSender final : public Sender {
 public:
  explicit SilentSender(io::Loop& loop) : loop_(loop) {}
  io::Task<Answer> send(OutMessage) override { return never(&loop_); }

 private:
  static io::Task<Answer> never(io::Loop* loop) {
    co_await io::sleep_for(*loop, std::chrono::hours(1));
    co_return Answer{};
  }
  io::Loop& loop_;
};

void backlog(const std::string& directory) {
  auto loop = io::RealLoop::create(2);
  auto disk = open_posix_disk(directory);
  KNIT_CHECK(loop.has_value() && disk.has_value());
  SilentSender sender(**loop);
  Engine engine(**loop, std::shared_ptr<LogDisk>(std::move(*disk)), sender, {});
  std::vector<StreamSpec> specs;
  specs.push_back(broker(1));
  apply(engine, **loop, std::move(specs));
  Hub* hub = engine.find(StreamKind::Broker, "ns", "b");
  double at = 0;
  for (const std::uint64_t n : {std::uint64_t{100'000}, std::uint64_t{900'000}}) {
    Filler filler{hub, loop->get(), n};
    fill(&filler);
    (*loop)->run();
    if (at == 0) at = rss_mib();
  }
  KNIT_CHECK(hub->stream().next() == 1'000'000);
  print("events.backlog_1m_growth", rss_mib() - at, "MiB");
  print("events.backlog_1m_rss", rss_mib(), "MiB");
  apply(engine, **loop, {});
}

}  // namespace
}  // namespace knit::events

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: knit-events-bench DIRECTORY\n");
    return 2;
  }
  std::string directory = std::string(argv[1]) + "/knit-events-bench-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) {
    std::perror(directory.c_str());
    return 1;
  }
  using namespace knit::events;
  decisions();
  disk_speed(directory);
  measure(directory, 0, 1024, "events.ingest", "events.ingest_p99");
  measure(directory, 1, 1024, "events.end_to_end", nullptr);
  measure(directory, 3, 1024, "events.end_to_end_3_triggers", nullptr);
  measure(directory, 1, 64, "events.end_to_end_64_clients", "events.p99_64_clients");
  backlog(directory);
  std::filesystem::remove_all(directory);
  return 0;
}
