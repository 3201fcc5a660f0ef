#include "proxy/access_log.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "io/sim_loop.h"

namespace knit::proxy {
namespace {

using proxy_config::AccessLogFormat;
using namespace std::chrono_literals;

AccessRecord record() {
  AccessRecord r;
  r.start = *parse_rfc3339("2026-11-25T01:02:03.456Z");
  r.method = "GET";
  r.path = "/a?b=c";
  r.authority = "hello-default.apps.example.com";
  r.user_agent = "curl/8";
  r.request_id = "id-1";
  r.status = 200;
  r.details = "via_upstream";
  r.bytes_received = 3;
  r.bytes_sent = 17;
  r.duration = 12ms;
  r.upstream_time = 11ms;
  r.answered_upstream = true;
  r.upstream = "10.128.0.9:8080";
  r.upstream_port = 8080;
  r.destination_service = "default/hello-00001";
  r.service_port = 80;
  r.downstream_local = "10.128.0.3:8443";
  r.downstream_remote = "10.0.0.1:4242";
  r.sni = "hello-default.apps.example.com";
  return r;
}
std::string line(const AccessRecord& r, bool inbound,
                 AccessLogFormat format = AccessLogFormat::Text) {
  std::string out;
  append_access_line(out, r, inbound, format, "cluster.local");
  return out;
}

// Source: istio pkg/model/accesslog.go EnvoyTextLogFormat (spec/mesh.md 2.10).
TEST(AccessLine, IsIstiosDefaultText) {
  EXPECT_EQ(line(record(), false),
            "[2026-11-25T01:02:03.456Z] \"GET /a?b=c HTTP/1.1\" 200 - via_upstream - \"-\" 3 17 12 "
            "11 \"-\" \"curl/8\" \"id-1\" \"hello-default.apps.example.com\" \"10.128.0.9:8080\" "
            "outbound|80||hello-00001.default.svc.cluster.local - 10.128.0.3:8443 10.0.0.1:4242 "
            "hello-default.apps.example.com -\n");
  EXPECT_NE(line(record(), true).find(" inbound|8080|| - 10.128.0.9:8080 10.0.0.1:4242 "),
            std::string::npos);
  AccessRecord tcp = record();
  tcp.tcp = true;
  tcp.status = 0;
  tcp.answered_upstream = false;
  EXPECT_TRUE(
      line(tcp, false)
          .starts_with("[2026-11-25T01:02:03.456Z] \"- - -\" 0 - - - \"-\" 3 17 12 - \"-\" "))
      << line(tcp, false);
}

TEST(AccessLine, NothingForeignEndsAFieldOrALine) {
  AccessRecord r = record();
  r.user_agent = "x\"\n[forged] \x1b[31m";
  r.path = std::string(100'000, 'a');
  const std::string text = line(r, false);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_NE(text.find("\"x%22 [forged]  [31m\""), std::string::npos);
  EXPECT_LT(text.size(), 8000U);
}

TEST(AccessLine, JsonHasIstiosKeys) {
  AccessRecord r = record();
  r.user_agent = "a\"b\\\x80";
  const auto parsed = json::parse(line(r, false, AccessLogFormat::Json));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(json::str(*parsed, {"start_time"}), "2026-11-25T01:02:03.456Z");
  EXPECT_EQ(json::i64(*parsed, {"response_code"}), 200);
  EXPECT_EQ(json::str(*parsed, {"response_flags"}), "-");
  EXPECT_EQ(json::str(*parsed, {"upstream_service_time"}), "11");
  EXPECT_EQ(json::str(*parsed, {"user_agent"}), "a\"b\\\xc2\x80");
  EXPECT_TRUE(json::find(*parsed, "x_forwarded_for")->is_null());
  EXPECT_EQ(parsed->as_object().size(), 24U);
}

TEST(RequestLog, ExecutesUpstreamsDefaultTemplate) {
  // Source: knative config/core/configmaps/observability.yaml logging.request-log-template.
  constexpr std::string_view kTemplate =
      R"({"httpRequest": {"requestMethod": "{{.Request.Method}}", "requestUrl": )"
      R"("{{js .Request.RequestURI}}", "requestSize": "{{.Request.ContentLength}}", "status": )"
      R"({{.Response.Code}}, "responseSize": "{{.Response.Size}}", "userAgent": )"
      R"("{{js .Request.UserAgent}}", "remoteIp": "{{js .Request.RemoteAddr}}", "serverIp": )"
      R"("{{.Revision.PodIP}}", "referer": "{{js .Request.Referer}}", "latency": )"
      R"("{{.Response.Latency}}s", "protocol": "{{.Request.Proto}}"}, "traceId": "{{.TraceID}}"})"
      "\n";
  const AccessRecord r = record();
  const RequestLogInput in{.record = &r,
                           .remote_address = "10.0.0.1:4242",
                           .content_length = 3,
                           .pod_ip = "10.128.0.9",
                           .header = [](std::string_view) { return std::string_view(); }};
  EXPECT_EQ(*request_log_line(kTemplate, in),
            R"({"httpRequest": {"requestMethod": "GET", "requestUrl": "/a?b\u003Dc", )"
            R"("requestSize": "3", "status": 200, "responseSize": "17", "userAgent": "curl/8", )"
            R"("remoteIp": "10.0.0.1:4242", "serverIp": "10.128.0.9", "referer": "", "latency": )"
            R"("0.012s", "protocol": "HTTP/1.1"}, "traceId": ""})"
            "\n");
  const auto refused = request_log_line("{{range .X}}", in);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("{{range .X}}"), std::string::npos);
}

TEST(AccessLog, HandsOnInBatchesAndIsBounded) {
  io::SimLoop loop;
  std::vector<AccessLog::Batch> batches;
  AccessLog log(loop, [&](AccessLog::Batch b) { batches.push_back(std::move(b)); });
  const auto add = [&](std::string_view uid, std::size_t bytes) {
    log.add(uid, "istio-proxy", [&](std::string& out) {
      out.append(bytes - 1, 'x');
      out += '\n';
    });
  };
  for (int i = 0; i < 10; ++i) add(i % 2 == 0 ? "a" : "b", 100);
  EXPECT_TRUE(batches.empty()) << "nothing leaves on a request's path";
  loop.advance(300ms);
  ASSERT_EQ(batches.size(), 1U);
  ASSERT_EQ(batches[0].size(), 2U);
  EXPECT_EQ(batches[0][0].lines.size(), 500U);
  for (int i = 0; i < 2000; ++i) add("a", 1000);
  loop.advance(1ms);
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_LE(batches[1][0].lines.size(), AccessLog::kMost + 1000);
  EXPECT_EQ(batches[1][0].lost + batches[1][0].lines.size() / 1000, 2000U);
  add("a", 100'000);
  loop.advance(1s);
  EXPECT_EQ(batches[2][0].lines.size(), AccessLog::kLine);
  EXPECT_EQ(batches[2][0].lines.back(), '\n');
}

TEST(LogSender, SendsAgainWhatADeadNodeHadNotTaken) {
  io::SimLoop loop;
  std::vector<std::string> got;
  bool answer = false;
  ipc::Channel* to = nullptr;
  std::unique_ptr<ipc::Channel> node, mine;
  const auto connect = [&] {
    std::tie(node, mine) = ipc::memory_channels(loop,
                                                {[&](ipc::Received r) {
                                                   got.push_back(r.as<ipc::Logged>()->lines);
                                                   if (answer) node->ack(r);
                                                 },
                                                 [] {}},
                                                {[](ipc::Received) {}, [] {}});
    to = mine.get();
  };
  LogSender sender([&] { return to; });
  ipc::Logged one;
  one.uid = "a";
  for (int i = 0; i < 1000; ++i)
    one.lines += std::string(99, static_cast<char>('a' + i % 26)) + "\n";
  const std::string all = one.lines;
  sender.add({one});  // nobody there yet
  connect();
  sender.connected();
  loop.advance(1s);
  ASSERT_EQ(got.size(), 3U) << "whole lines of at most 48 KiB";
  for (const auto& g : got) EXPECT_EQ(g.back(), '\n');
  got.clear();
  to = nullptr;
  node.reset();
  loop.advance(1s);
  answer = true;
  connect();
  sender.connected();
  loop.advance(1s);
  std::string again;
  for (const auto& g : got) again += g;
  EXPECT_EQ(again, all);
  // While nobody takes them, memory stays bounded and the rest is counted.
  got.clear();
  to = nullptr;
  for (int i = 0; i < 100; ++i) sender.add({one});
  connect();
  sender.connected();
  loop.advance(1s);
  std::size_t bytes = 0;
  for (const auto& g : got) bytes += g.size();
  EXPECT_LE(bytes, 3U << 20);
  EXPECT_GT(bytes, 1U << 20);
}

}  // namespace
}  // namespace knit::proxy
