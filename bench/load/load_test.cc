#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/fd.h"
#include "load/options.h"
#include "load/report.h"
#include "load/response.h"
#include "load/run.h"
#include "pki/authority.h"

namespace knit::load {
namespace {

/// Answers requests as `answer` says: the bytes to send; empty: close without a word. A thread per
/// connection; all end with it.
class Server {
 public:
  using Answer = std::function<std::string(const std::string& request)>;
  explicit Server(Answer answer, SSL_CTX* tls = nullptr) : answer_(std::move(answer)), tls_(tls) {
    signal(SIGPIPE, SIG_IGN);  // SSL_write knows no MSG_NOSIGNAL
    listener_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)), 0);
    socklen_t size = sizeof(at);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    EXPECT_EQ(listen(listener_.get(), 128), 0);
    accepting_ = std::thread([this] { accept_all(); });
  }
  ~Server() {
    shutdown(listener_.get(), SHUT_RDWR);
    accepting_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const auto& fd : connections_) shutdown(fd->get(), SHUT_RDWR);
    }
    for (auto& t : threads_) t.join();
  }
  std::uint16_t port = 0;
  std::atomic<int> accepted{0}, certificates{0};

 private:
  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      ++accepted;
      const std::lock_guard lock(mutex_);
      connections_.push_back(std::make_shared<Fd>(fd));
      threads_.emplace_back([this, c = connections_.back()] { serve(*c); });
    }
  }
  void serve(const Fd& fd) {
    std::unique_ptr<SSL, void (*)(SSL*)> ssl(tls_ ? SSL_new(tls_) : nullptr, SSL_free);
    if (ssl) {
      SSL_set_fd(ssl.get(), fd.get());
      if (SSL_accept(ssl.get()) != 1) return void(shutdown(fd.get(), SHUT_RDWR));
      if (SSL_get0_peer_certificate(ssl.get())) ++certificates;
    }
    std::string in;
    char bytes[4096];
    for (;;) {
      const auto head = in.find("\r\n\r\n");
      std::size_t whole = head + 4;
      if (const auto length = in.find("Content-Length: "); length < head)
        whole += std::stoul(in.substr(length + 16));
      if (head != std::string::npos && in.size() >= whole) {
        const std::string out = answer_(in.substr(0, whole));
        in.erase(0, whole);
        if (out.empty()) break;
        if (ssl)
          SSL_write(ssl.get(), out.data(), static_cast<int>(out.size()));
        else
          send(fd.get(), out.data(), out.size(), MSG_NOSIGNAL);
        if (out.find("Connection: close") != std::string::npos) break;
        continue;
      }
      const auto n = ssl ? SSL_read(ssl.get(), bytes, sizeof(bytes))
                         : static_cast<int>(recv(fd.get(), bytes, sizeof(bytes), 0));
      if (n <= 0) break;
      in.append(bytes, static_cast<std::size_t>(n));
    }
    shutdown(fd.get(), SHUT_RDWR);
  }

  Answer answer_;
  SSL_CTX* tls_;
  Fd listener_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Fd>> connections_;
  std::vector<std::thread> threads_;
  std::thread accepting_;
};

const std::string kHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

Json run_load(const Server& server, std::vector<std::string> flags, std::string scheme = "http") {
  flags.insert(flags.begin(), scheme + "://127.0.0.1:" + std::to_string(server.port) + "/path");
  auto options = parse(flags);
  EXPECT_TRUE(options) << options.error().message();
  const std::atomic<bool> stop{false};
  auto report = run(*options, stop);
  EXPECT_TRUE(report) << report.error().message();
  return *report;
}

std::uint64_t count(const Json& report, std::string_view key) {
  return report.at(key).to_number<std::uint64_t>();
}

TEST(Options, UrlAndFlags) {
  const auto options = parse({"https://a.test:8443/x?y=1", "--connect", "[::1]:99", "--rate", "200",
                              "--header", "A: b", "--new", "--connections", "7"});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_TRUE(options->tls && options->fresh);
  EXPECT_EQ(options->host, "a.test");
  EXPECT_EQ(options->sni, "a.test");
  EXPECT_EQ(options->connect_host, "::1");
  EXPECT_EQ(options->connect_port, 99);
  EXPECT_EQ(options->connections, 7U);
  EXPECT_EQ(request_bytes(*options, 1),
            "GET /x?y=1 HTTP/1.1\r\nHost: a.test:8443\r\nA: b\r\nConnection: close\r\n\r\n");
}

TEST(Options, NumbersStandInPathAndBody) {
  const auto options = parse({"http://h/a/{n}", "--method", "POST", "--body", "<{n}{n}>"});
  ASSERT_TRUE(options);
  EXPECT_EQ(request_bytes(*options, 12),
            "POST /a/12 HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n<1212>");
}

TEST(Options, WhatIsWrongIsSaid) {
  const struct {
    std::vector<std::string> arguments;
    std::string_view says;
  } kCases[] = {
      {{}, "no URL"},
      {{"ftp://x/"}, "not an http"},
      {{"http:///"}, "names no host"},
      {{"http://h:0/"}, "not a number"},
      {{"http://h/a b"}, "white space"},
      {{"http://h/", "--wat"}, "unknown flag '--wat'"},
      {{"http://h/", "--rate"}, "needs a value"},
      {{"http://h/", "--rate", "nan"}, "--rate: 'nan' is not a number"},
      {{"http://h/", "--header", "x"}, "not 'name: value'"},
      {{"http://h/", "http://i/"}, "second URL"},
      {{"http://h/", "--cert", "x"}, "go together"},
  };
  for (const auto& c : kCases) {
    const auto options = parse(c.arguments);
    ASSERT_FALSE(options) << c.says;
    EXPECT_NE(options.error().message().find(c.says), std::string::npos)
        << options.error().message();
  }
}

TEST(ResponseParser, FramingsInAnyPieces) {
  const struct {
    std::string bytes;
    std::string body;
    bool keep_alive;
  } kCases[] = {
      {kHello, "hello", true},
      {"HTTP/1.1 100 Continue\r\n\r\n" + kHello, "hello", true},
      {"HTTP/1.1 204 No Content\r\n\r\n", "", true},
      {"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", "x", false},
      {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "", false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0123456789\r\n"
       "0\r\nTrailer: x\r\n\r\n",
       "abc0123456789", true},
  };
  for (const auto& c : kCases) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, c.bytes.size()}) {
      ResponseParser parser;
      parser.start(false, true);
      std::size_t used = 0;
      for (std::size_t at = 0; at < c.bytes.size() && parser.state() != ResponseParser::State::Done;
           at += piece)
        used += parser.feed(std::string_view(c.bytes).substr(at, piece));
      EXPECT_EQ(parser.state(), ResponseParser::State::Done) << c.bytes;
      EXPECT_EQ(used, c.bytes.size());
      EXPECT_EQ(parser.body(), c.body);
      EXPECT_EQ(parser.keep_alive(), c.keep_alive);
    }
  }
}

TEST(ResponseParser, EndOfConnectionEndsABodyWithoutLengthOnly) {
  ResponseParser parser;
  parser.start(false, true);
  parser.feed("HTTP/1.1 200 OK\r\n\r\nall");
  EXPECT_TRUE(parser.closed());
  EXPECT_EQ(parser.body(), "all");
  parser.start(false, true);
  parser.feed("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nall");
  EXPECT_FALSE(parser.closed());
  for (const std::string_view bad : {"HTTP/2 200\r\n\r\n", "HTTP/1.1 abc x\r\n\r\n",
                                     "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"}) {
    parser.start(false, false);
    parser.feed(bad);
    EXPECT_EQ(parser.state(), ResponseParser::State::Failed) << bad;
  }
}

TEST(Report, PercentilesAreTheSmallestThatEnoughAreAtOrBelow) {
  const std::vector<double> ten = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  EXPECT_EQ(percentile(ten, 0.5), 5);
  EXPECT_EQ(percentile(ten, 0.9), 9);
  EXPECT_EQ(percentile(ten, 0.99), 10);
  EXPECT_EQ(percentile(ten, 1), 10);
  EXPECT_EQ(percentile({}, 0.5), 0);
}

TEST(Report, LatencyCountsFromWhenTheRequestWasDue) {
  Report report(100);
  report.add({.due = 100, .begun = 103, .sent = 103, .done = 104, .status = 200});
  report.add(
      {.due = 105, .begun = 105, .sent = 105, .done = 105.5, .status = 503, .error = "status 503"});
  const Json json = report.json(110, 0);
  EXPECT_EQ(json.at("latency_ms").at("max").as_double(), 4000);
  EXPECT_EQ(count(json, "good"), 1U);
  EXPECT_EQ(count(json.at("errors"), "status 503"), 1U);
  EXPECT_EQ(json.at("failures").at(0).at("due").as_double(), 105);
  EXPECT_EQ(json.at("gaps").at(0).at("from").as_double(), 104);
  EXPECT_EQ(json.at("gaps").at(0).at("seconds").as_double(), 6);
}

TEST(Load, ClosedLoopKeepsItsConnections) {
  Server server([](const std::string&) { return kHello; });
  const Json report =
      run_load(server, {"--connections", "3", "--requests", "300", "--expect", "hello"});
  EXPECT_EQ(count(report, "good"), 300U);
  EXPECT_EQ(count(report, "requests"), 300U);
  EXPECT_EQ(server.accepted, 3);
}

TEST(Load, OpenLoopKeepsItsRateAndFreshConnections) {
  Server server([](const std::string&) { return kHello; });
  const Json report =
      run_load(server, {"--connections", "20", "--rate", "500", "--duration", "0.4", "--new"});
  EXPECT_GE(count(report, "good"), 190U);
  EXPECT_LE(count(report, "good"), 200U);
  EXPECT_EQ(static_cast<std::uint64_t>(server.accepted), count(report, "connections"));
}

TEST(Load, ErrorsHaveKinds) {
  std::atomic<int> n{0};
  Server server([&](const std::string& request) -> std::string {
    EXPECT_NE(request.find("<"), std::string::npos);
    switch (n++) {
      case 0:
        return kHello;
      case 1:
        return "HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n";
      case 2:
        return "";  // closes
      case 3:
        return "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nshort";
      case 4:
        return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother";
      default:
        return "gibberish\r\n\r\n";
    }
  });
  const Json report = run_load(
      server, {"--requests", "6", "--method", "POST", "--body", "<{n}>", "--expect", "hello"});
  EXPECT_EQ(count(report, "good"), 1U);
  for (const std::string_view kind :
       {"status 503", "closed", "cut short", "wrong body", "malformed answer"})
    EXPECT_TRUE(report.at("errors").as_object().contains(kind)) << kind << " " << report;
}

TEST(Load, ARefusedConnectionFailsAndDoesNotSpin) {
  std::uint16_t port = 0;
  {
    port = Server([](const std::string&) { return kHello; }).port;
  }
  const auto options = parse({"http://127.0.0.1:" + std::to_string(port) + "/", "--connections",
                              "2", "--duration", "0.2"});
  const std::atomic<bool> stop{false};
  const auto report = run(*options, stop);
  ASSERT_TRUE(report);
  EXPECT_GE(count(report->at("errors"), "connect: refused"), 2U);
}

TEST(Load, WhatIsNotAnsweredTimesOut) {
  std::mutex hold;
  hold.lock();
  Server server([&](const std::string&) {
    const std::lock_guard lock(hold);
    return kHello;
  });
  const Json report = run_load(server, {"--requests", "1", "--timeout", "0.1"});
  EXPECT_EQ(count(report.at("errors"), "timeout"), 1U);
  hold.unlock();
}

class Tls : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/knit-load-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    const WallTime now{std::int64_t{time(nullptr)} * 1'000'000'000};
    const auto files = pki::Authority::create({.name = "load", .permitted_domain = ""}, now);
    ASSERT_TRUE(files);
    const auto authority = pki::Authority::load(*files);
    ASSERT_TRUE(authority);
    for (const bool server : {true, false}) {
      const auto leaf = (*authority)
                            ->issue_with_key({.common_name = server ? "s" : "c",
                                              .dns_names = {"a.test"},
                                              .ip_addresses = {"127.0.0.1"},
                                              .server = server,
                                              .client = !server,
                                              .lifetime = std::chrono::hours(1)},
                                             now);
      ASSERT_TRUE(leaf) << leaf.error().message();
      write(server ? "server.crt" : "client.crt", leaf->chain_pem);
      write(server ? "server.key" : "client.key", leaf->key_pem);
    }
    write("ca.crt", (*authority)->root_pem());
    context_.reset(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_use_certificate_chain_file(context_.get(), (dir_ + "/server.crt").c_str());
    SSL_CTX_use_PrivateKey_file(context_.get(), (dir_ + "/server.key").c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_load_verify_locations(context_.get(), (dir_ + "/ca.crt").c_str(), nullptr);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name) << text;
  }

  std::string dir_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_{nullptr, SSL_CTX_free};
};

TEST_F(Tls, VerifiesAndPresentsACertificate) {
  Server server([](const std::string&) { return kHello; }, context_.get());
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{}, {"--sni", "a.test"}, {"--new"}}) {
    std::vector<std::string> all = {
        "--cacert",           dir_ + "/ca.crt", "--cert", dir_ + "/client.crt", "--key",
        dir_ + "/client.key", "--requests",     "20",     "--connections",      "2",
        "--expect",           "hello"};
    all.insert(all.end(), flags.begin(), flags.end());
    EXPECT_EQ(count(run_load(server, all, "https"), "good"), 20U);
  }
  EXPECT_EQ(server.certificates, server.accepted);
  EXPECT_EQ(server.accepted, 2 + 2 + 20);
}

TEST_F(Tls, AWrongNameOrRootIsAnError) {
  Server server([](const std::string&) { return kHello; }, context_.get());
  const Json name = run_load(
      server, {"--cacert", dir_ + "/ca.crt", "--sni", "b.test", "--requests", "1"}, "https");
  EXPECT_TRUE(name.at("errors").as_object().contains("connect: tls: certificate verify failed"))
      << name;
  const Json root =
      run_load(server, {"--cacert", dir_ + "/server.crt", "--requests", "1"}, "https");
  EXPECT_TRUE(root.at("errors").as_object().contains("connect: tls: certificate verify failed"))
      << root;
  const Json any = run_load(server, {"--insecure", "--sni", "b.test", "--requests", "1"}, "https");
  EXPECT_EQ(count(any, "good"), 1U);
}

}  // namespace
}  // namespace knit::load
