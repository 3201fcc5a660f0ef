// Watches (kubeapi.md 1.6) over memory streams.
#include "apiserver/test_api.h"

namespace knit::apiserver {
namespace {

using namespace test;
using namespace std::chrono_literals;

class WatchTest : public ApiFixture {
 protected:
  struct Watch {
    std::string text;
    int status = 0;
    bool ended = false;
    io::Loop::Scope scope;
    std::unique_ptr<http::Client> client;
    /// "ADDED a=1" for each event; bookmarks as "BOOKMARK".
    std::vector<std::string> events() const {
      std::vector<std::string> out;
      std::string_view rest = text;
      while (!rest.empty()) {
        const std::size_t end = rest.find('\n');
        const Json event = parse(rest.substr(0, end));
        rest.remove_prefix(end + 1);
        const Json& object = event.at("object");
        std::string line(json::str(event, {"type"}));
        if (line == "ERROR") {
          line += " " + std::to_string(json::i64(object, {"code"})) + " " +
                  std::string(json::str(object, {"reason"}));
        } else if (line == "BOOKMARK") {
          if (json::find(object, {"metadata", "annotations"}) != nullptr) line += " end";
        } else {
          line += " " + std::string(json::str(object, {"metadata", "name"})) + "=" +
                  std::string(json::str(object, {"data", "v"}));
        }
        out.push_back(line);
      }
      return out;
    }
  };
  static io::Task<void> follow(Watch* w, http::Request request) {
    auto opening = w->client->open(std::move(request));
    auto opened = co_await opening;
    if (!opened) co_return;
    const auto stream = std::move(opened).value();
    w->status = stream->status();
    while (true) {
      auto piece = co_await stream->read();
      if (!piece || piece->empty()) break;
      w->text += *piece;
    }
    w->ended = true;
  }
  std::unique_ptr<Watch> watch(std::string query, std::string ns = "default") {
    auto w = std::make_unique<Watch>();
    w->client = std::make_unique<http::Client>(loop, connector("system:knit:controller:test"),
                                               http::ClientSettings{.host = "api"});
    http::Request r;
    r.path = "/api/v1/namespaces/" + ns + "/configmaps";
    r.query = http::Query("watch=1&" + query);
    w->scope = loop.spawn_scoped(follow(w.get(), std::move(r)));
    loop.settle();
    return w;
  }
  std::uint64_t put(std::string name, std::string value, std::string labels = "{}") {
    const Key key{kube::res::configmaps(), "default", name};
    Write w;
    w.op = store->head().get(key) ? Write::Op::Update : Write::Op::Create;
    w.key = key;
    w.body = parse(R"({"metadata":{"labels":)" + labels + R"(},"data":{"v":")" + value + "\"}}");
    return wait(server->api().write(std::move(w), as_admin())).version;
  }
  void drop(std::string name) {
    Write w;
    w.op = Write::Op::Delete;
    w.key = {kube::res::configmaps(), "default", name};
    EXPECT_FALSE(wait(server->api().write(std::move(w), as_admin())).failure);
  }
  using Lines = std::vector<std::string>;
};

TEST_F(WatchTest, FromAVersionEveryChangeInOrder) {
  const std::uint64_t from = put("a", "1");
  put("a", "2");
  put("b", "1");
  drop("a");
  const auto w = watch("resourceVersion=" + std::to_string(from));
  EXPECT_EQ(w->events(), (Lines{"MODIFIED a=2", "ADDED b=1", "DELETED a=2"}));
  put("b", "2");
  loop.settle();
  EXPECT_EQ(w->events().back(), "MODIFIED b=2");
  EXPECT_FALSE(w->ended);
}

TEST_F(WatchTest, WithoutAVersionTheStateComesFirst) {
  put("a", "1");
  for (const char* query : {"", "resourceVersion=0"}) {
    const auto w = watch(query);
    EXPECT_EQ(w->events(), (Lines{"ADDED a=1"}));
    put("b", "1");
    loop.settle();
    EXPECT_EQ(w->events().back(), "ADDED b=1");
    drop("b");
  }
}

TEST_F(WatchTest, SelectionsAreEnteredAndLeft) {
  const auto w = watch("labelSelector=x%3D1");
  put("a", "1");
  put("a", "2", R"({"x":"1"})");
  put("a", "3", R"({"x":"1"})");
  const std::uint64_t left = put("a", "4", R"({"x":"2"})");
  loop.settle();
  EXPECT_EQ(w->events(), (Lines{"ADDED a=2", "MODIFIED a=3", "DELETED a=3"}));
  EXPECT_NE(w->text.find("\"resourceVersion\":\"" + std::to_string(left) + "\""), std::string::npos)
      << "the last state that matched carries the version of the change";
}

TEST_F(WatchTest, WatchListEndsItsFirstPartWithABookmark) {
  put("a", "1");
  const auto w =
      watch("sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan");
  EXPECT_EQ(w->events(), (Lines{"ADDED a=1", "BOOKMARK end"}));
  put("a", "2");
  loop.settle();
  EXPECT_EQ(w->events().back(), "MODIFIED a=2");
}

TEST_F(WatchTest, BookmarksComeEachMinuteAndBeforeTheEnd) {
  const auto w = watch("allowWatchBookmarks=true&timeoutSeconds=150");
  loop.advance(149s);
  EXPECT_EQ(w->events(), (Lines{"BOOKMARK", "BOOKMARK"}));
  EXPECT_FALSE(w->ended);
  loop.advance(1s);
  EXPECT_EQ(w->events().size(), 3u);
  EXPECT_TRUE(w->ended);
  const auto silent = watch("timeoutSeconds=1");
  loop.advance(2s);
  EXPECT_TRUE(silent->ended);
  EXPECT_EQ(silent->text, "");
}

TEST_F(WatchTest, VersionsTooOldAndTooNew) {
  store::Options small;
  small.writer_thread = false;
  small.history_bytes = 1;
  server.reset();
  store = std::move(store::Store::open(small)).value();
  ApiDependencies dependencies;
  dependencies.random = random.get();
  server = std::make_unique<ApiServer>(loop, *store, registry, dependencies);
  Write ns;
  ns.key = {kube::res::namespaces(), {}, "default"};
  ns.body = parse("{}");
  ASSERT_FALSE(wait(server->api().write(std::move(ns), as_admin())).failure);
  put("a", "1");
  put("a", "2");
  const auto old = watch("resourceVersion=1");
  EXPECT_EQ(old->status, 200);
  EXPECT_EQ(old->events(), (Lines{"ERROR 410 Expired"}));
  EXPECT_TRUE(old->ended);
  EXPECT_EQ(watch("resourceVersion=999999")->status, 504);
}

TEST_F(WatchTest, AClientThatLeavesIsForgotten) {
  auto w = watch("");
  w->scope.cancel();
  w.reset();
  loop.settle();
  put("a", "1");
  loop.settle();
  const auto again = watch("");
  EXPECT_EQ(again->events(), (Lines{"ADDED a=1"}));
}

}  // namespace
}  // namespace knit::apiserver
