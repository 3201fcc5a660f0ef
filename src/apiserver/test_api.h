// A store in memory and the API over memory streams, on simulated time.
#pragma once

#include "apiserver/server.h"
#include "io/sim_loop.h"
#include "kube/client.h"
#include "kube/resources.h"

namespace knit::apiserver::test {

inline WriteOptions as_admin(WallTime now = {1'767'225'600'000'000'000}) {
  WriteOptions options;
  options.user.name = "admin";
  options.user.groups = {std::string(kMasters)};
  options.now = now;
  return options;
}

inline Json parse(std::string_view text) {
  auto parsed = json::parse(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : Json();
}

class ApiFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    store::Options options;
    options.writer_thread = false;
    store = std::move(store::Store::open(options)).value();
    ApiDependencies dependencies;
    dependencies.random = random.get();
    dependencies.tokens = tokens();
    dependencies.logs = logs();
    server = std::make_unique<ApiServer>(loop, *store, registry, dependencies);
    std::optional<Result<void>> done;
    const auto scope =
        loop.spawn_scoped(keep(bootstrap(server->api(), kFirstNamespaces, loop.wall_now()), &done));
    loop.settle();
    EXPECT_TRUE(done && *done) << (done ? done->error().message() : "bootstrap hangs");
  }
  virtual Tokens* tokens() { return nullptr; }
  virtual LogSource* logs() { return nullptr; }

  /// One connection as this user; "" is anonymous.
  http::Connector connector(std::string user) {
    return [this, user]() { return connect(this, user); };
  }
  static io::Task<Result<std::unique_ptr<io::Stream>>> connect(ApiFixture* f, std::string user) {
    auto [a, b] = io::memory_streams(f->loop);
    f->server->serve_as(std::move(a), user);
    co_return std::move(b);
  }
  template <class T>
  static io::Task<void> keep(io::Task<T> task, std::optional<T>* out) {
    out->emplace(co_await task);
  }
  template <class T>
  T wait(io::Task<T> task, Duration at_most = std::chrono::seconds(5)) {
    std::optional<T> out;
    const auto scope = loop.spawn_scoped(keep(std::move(task), &out));
    loop.settle();
    if (!out) loop.advance(at_most);
    EXPECT_TRUE(out) << "no answer";
    return std::move(*out);
  }
  http::Response send(http::Request request, std::string user = "system:knit:controller:test") {
    http::Client client(loop, connector(std::move(user)), {.host = "api"});
    auto got = wait(client.send(std::move(request)));
    EXPECT_TRUE(got) << (got ? "" : got.error().message());
    return got ? *got : http::Response{};
  }
  http::Response call(std::string method, std::string target, std::string body = {},
                      std::string type = "application/json") {
    http::Request request;
    request.method = std::move(method);
    const std::size_t q = target.find('?');
    request.path = target.substr(0, q);
    if (q != std::string::npos) request.query = http::Query(std::string_view(target).substr(q + 1));
    request.body = std::move(body);
    if (!request.body.empty()) request.headers.add("Content-Type", std::move(type));
    return send(std::move(request));
  }
  Json ok(http::Response response, int status = 200) {
    EXPECT_EQ(response.status, status) << response.body;
    return parse(response.body);
  }

  io::SimLoop loop;
  std::unique_ptr<Random> random = seeded_random(1);
  Registry registry{*random};
  std::unique_ptr<store::Store> store;
  std::unique_ptr<ApiServer> server;
};

}  // namespace knit::apiserver::test
