#include "app/unix_road.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>

#include "io/real_loop.h"

namespace knit::app {
namespace {
using namespace std::chrono_literals;

sockaddr_un address(const std::string& path) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path.copy(at.sun_path, sizeof at.sun_path - 1);
  return at;
}
Fd listen_unix(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const sockaddr_un at = address(path);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0) << path;
  EXPECT_EQ(::listen(fd.get(), 64), 0);
  return fd;
}

template <class T>
io::Task<void> keep(io::Task<T> task, std::optional<T>* out, io::Loop* loop) {
  out->emplace(co_await std::move(task));
  static_cast<io::RealLoop*>(loop)->stop();
}

class UnixRoadTest : public testing::Test {
 protected:
  void SetUp() override {
    dir = testing::TempDir() + "knit-road-" + std::to_string(::getpid());
    std::filesystem::create_directories(dir + "/roles/in");
    std::filesystem::create_directories(dir + "/roles/out");
    loop = std::move(*io::RealLoop::create(1));
    road = std::make_unique<UnixRoad>(*loop, dir);
    ASSERT_TRUE(road->add("imc-dispatcher", "u1", listen_unix(dir + "/roles/in/u1")));
  }
  void TearDown() override {
    road.reset();
    loop.reset();
    std::filesystem::remove_all(dir);
  }
  /// As the proxy: a connection to the role that begins with these bytes.
  std::unique_ptr<io::Stream> arrive(const std::string& bytes) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const sockaddr_un at = address(dir + "/roles/in/u1");
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    auto stream = io::socket_stream(*loop, std::move(fd));
    EXPECT_TRUE(run(stream->write(bytes)));
    return stream;
  }
  template <class T>
  T run(io::Task<T> task) {
    std::optional<T> out;
    auto scope = loop->spawn_scoped(keep(std::move(task), &out, loop.get()));
    const auto guard = loop->after(5s, [this] { loop->stop(); });
    if (!out) loop->run();
    EXPECT_TRUE(out.has_value()) << "nothing came in 5 s";
    return std::move(*out);
  }
  void turn() {
    const auto timer = loop->after(20ms, [this] { loop->stop(); });
    loop->run();
  }

  std::string dir;
  std::unique_ptr<io::RealLoop> loop;
  std::unique_ptr<UnixRoad> road;
};

TEST_F(UnixRoadTest, AConnectionComesWithItsHops) {
  ipc::RoleCall call;
  call.port = 8080;
  call.hops = {"spiffe://a", "spiffe://b"};
  const auto stream = arrive(ipc::opening(call) + "GET / HTTP/1.1\r\n\r\n");
  auto connection = run(road->accept("imc-dispatcher"));
  ASSERT_TRUE(connection);
  EXPECT_EQ(connection->hops, call.hops);
  EXPECT_EQ(*run(connection->stream->read(100)), "GET / HTTP/1.1\r\n\r\n")
      << "what follows the frame is the connection's";
}

TEST_F(UnixRoadTest, WhatIsNoFrameIsAnErrorOfThatConnection) {
  const auto stream = arrive("GET / HTTP/1.1\r\n\r\n");
  EXPECT_FALSE(run(road->accept("imc-dispatcher")));
  const auto good = arrive(ipc::opening(ipc::RoleCall{}));
  EXPECT_TRUE(run(road->accept("imc-dispatcher")));
}

TEST_F(UnixRoadTest, ProbesAreAnsweredWhenItServesAndEndWithTheRole) {
  ipc::RoleCall probe;
  probe.probe = true;
  const auto early = arrive(ipc::opening(probe));
  turn();
  road->serve();
  EXPECT_EQ(*run(early->read(100)), ipc::opening(ipc::RoleAnswer{}));
  const auto late = arrive(ipc::opening(probe));
  EXPECT_EQ(*run(late->read(100)), ipc::opening(ipc::RoleAnswer{}));
  road->remove("u1");
  EXPECT_EQ(*run(early->read(100)), "");
  EXPECT_EQ(*run(late->read(100)), "");
}

TEST_F(UnixRoadTest, ARoleThatTakesNoRequestsClosesThem) {
  road->serve();
  const auto stream = arrive(ipc::opening(ipc::RoleCall{.port = 8080, .hops = {}, .probe = false}));
  EXPECT_EQ(*run(stream->read(100)), "");
}

TEST_F(UnixRoadTest, ADialIsAnsweredByTheProxy) {
  const auto unknown = run(road->connect("imc-dispatcher", {"h", 80}));
  ASSERT_FALSE(unknown) << "the proxy does not listen yet";
  std::string refusal;
  std::vector<ipc::RoleDial> dials;
  const auto proxy = *io::Listener::adopt(
      *loop, listen_unix(dir + "/roles/out/u1"), [&](std::unique_ptr<io::Stream> s) {
        struct Answer {
          static io::Task<void> run(std::unique_ptr<io::Stream> stream, std::string* refuse,
                                    std::vector<ipc::RoleDial>* seen) {
            const auto frame = co_await stream->read(4'096);
            seen->push_back(*ipc::read_opening<ipc::RoleDial>(*frame));
            (void)co_await stream->write(
                ipc::opening(ipc::RoleAnswer{*refuse, *refuse + " because"}) + "then");
            (void)co_await stream->read(1);
          }
        };
        loop->spawn(Answer::run(std::move(s), &refusal, &dials));
      });
  auto good = run(road->connect("imc-dispatcher", {"sink.default", 8080}));
  ASSERT_TRUE(good) << good.error().message();
  EXPECT_EQ(*run((*good)->read(100)), "then");
  ASSERT_EQ(dials.size(), 1U);
  EXPECT_EQ(dials[0].host, "sink.default");
  EXPECT_EQ(dials[0].port, 8080);
  refusal = "NoSuchHost";
  const auto bad = run(road->connect("imc-dispatcher", {"sink.default", 80}));
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message(), "NoSuchHost because");
  const auto nobody = run(road->connect("mt-broker-filter", {"sink.default", 80}));
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().message(),
            "no pod of mt-broker-filter runs, so nobody can connect as it");
}

}  // namespace
}  // namespace knit::app
