#include "events/model/ingress.h"

namespace knit::events {
namespace {

// spec/eventing.md 2.2, columns "MT broker ingress" and "IMC", with 7.1: "404 for unknown channel;
// OPTIONS on every ingress", "413 with a clear limit", "503 + Retry-After".
TEST(Ingress, Addresses) {
  const struct {
    const char* name;
    Door door;
    const char *method, *path, *host;
    Outcome want;
    Target target;
  } rows[] = {
      {"a broker", Door::Broker, "POST", "/ns/br", "", Outcome::Accepted, {"ns", "br"}},
      {"not POST", Door::Broker, "GET", "/ns/br", "", Outcome::WrongMethod, {}},
      {"not POST", Door::ChannelByHost, "PUT", "/", "c-kn-channel.ns", Outcome::WrongMethod, {}},
      {"OPTIONS", Door::Broker, "OPTIONS", "/ns/br", "", Outcome::Options, {}},
      {"OPTIONS", Door::ChannelByHost, "OPTIONS", "/", "", Outcome::Options, {}},
      {"path /", Door::Broker, "POST", "/", "", Outcome::RootPath, {}},
      {"path / by path", Door::ChannelByPath, "POST", "/", "", Outcome::WrongPath, {}},
      {"one segment", Door::Broker, "POST", "/ns", "", Outcome::WrongPath, {}},
      {"three segments", Door::Broker, "POST", "/ns/br/x", "", Outcome::WrongPath, {}},
      {"empty segment", Door::Broker, "POST", "/ns/", "", Outcome::WrongPath, {}},
      {"upper case", Door::Broker, "POST", "/ns/BR", "", Outcome::WrongPath, {}},
      {"by path", Door::ChannelByPath, "POST", "/ns/ch", "x", Outcome::Accepted, {"ns", "ch"}},
      {"by host",
       Door::ChannelByHost,
       "POST",
       "/",
       "Ch-kn-channel.ns.svc.cluster.local:80",
       Outcome::Accepted,
       {"ns", "ch"}},
      {"by short host",
       Door::ChannelByHost,
       "POST",
       "/",
       "a-kn-channel.b",
       Outcome::Accepted,
       {"b", "a"}},
      {"any path but /",
       Door::ChannelByHost,
       "POST",
       "/x",
       "a-kn-channel.b",
       Outcome::WrongPath,
       {}},
      {"not a channel", Door::ChannelByHost, "POST", "/", "a.b", Outcome::UnknownTarget, {}},
      {"no namespace",
       Door::ChannelByHost,
       "POST",
       "/",
       "a-kn-channel",
       Outcome::UnknownTarget,
       {}},
      {"only a suffix",
       Door::ChannelByHost,
       "POST",
       "/",
       "-kn-channel.b",
       Outcome::UnknownTarget,
       {}},
      {"probe", Door::Broker, "GET", "/healthz", "", Outcome::Healthy, {}},
      {"probe", Door::ChannelByHost, "GET", "/readyz", "", Outcome::Healthy, {}},
      {"no readyz", Door::Broker, "GET", "/readyz", "", Outcome::WrongMethod, {}}};
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.name) + " " + row.method + " " + row.path + " " + row.host);
    const Address a = address_of(row.door, row.method, row.path, row.host);
    EXPECT_EQ(a.outcome, row.want);
    EXPECT_EQ(a.target, row.target);
  }
}

TEST(Ingress, Answers) {
  const struct {
    Outcome outcome;
    int status;
  } rows[] = {
      {Outcome::Accepted, 202},      {Outcome::WrongMethod, 405},     {Outcome::Options, 200},
      {Outcome::RootPath, 404},      {Outcome::WrongPath, 400},       {Outcome::NotAnEvent, 400},
      {Outcome::UnknownTarget, 404}, {Outcome::TtlExhausted, 400},    {Outcome::NoBackend, 500},
      {Outcome::StoreFailed, 500},   {Outcome::Unauthenticated, 401}, {Outcome::Forbidden, 403},
      {Outcome::TooLarge, 413},      {Outcome::BackPressure, 503},    {Outcome::Healthy, 200}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.status);
    const auto r = answer(row.outcome);
    EXPECT_EQ(r.status, row.status);
    EXPECT_EQ(r.body.empty(), row.status < 400);
  }
  const auto options = answer(Outcome::Options);
  EXPECT_EQ(options.headers.get("Allow"), "POST, OPTIONS");
  EXPECT_EQ(options.headers.get("WebHook-Allowed-Origin"), "*");
  EXPECT_EQ(options.headers.get("WebHook-Allowed-Rate"), "*");
  using namespace std::chrono_literals;
  EXPECT_EQ(answer(Outcome::BackPressure, {}, 1500ms).headers.get("Retry-After"), "2");
  EXPECT_EQ(answer(Outcome::TooLarge, "the limit is 5").body, "the limit is 5\n");
}

TEST(Ingress, OutcomesOfErrors) {
  EXPECT_EQ(outcome_of(Error(Code::InvalidArgument, "")), Outcome::NotAnEvent);
  EXPECT_EQ(outcome_of(Error(Code::Unsupported, "")), Outcome::NotAnEvent);
  EXPECT_EQ(outcome_of(Error(Code::ResourceExhausted, "")), Outcome::TooLarge);
  EXPECT_EQ(outcome_of(Error(Code::Unavailable, "")), Outcome::BackPressure);
  EXPECT_EQ(outcome_of(Error(Code::Internal, "")), Outcome::StoreFailed);
}

// 2.3: "pass through the Go data plane. Everything else is dropped."
TEST(Ingress, HeadersThatPass) {
  const http::Headers in{{"Traceparent", "1"},     {"tracestate", "2"},     {"B3", "3"},
                         {"X-B3-TraceId", "4"},    {"X-Request-Id", "5"},   {"Knative-Foo", "6"},
                         {"Retry-After", "7"},     {"Authorization", "no"}, {"Cookie", "no"},
                         {"K-Network-Hash", "no"}, {"Prefer", "no"},        {"Kn-Namespace", "no"},
                         {"ce-id", "no"}};
  const auto out = pass_through(in);
  EXPECT_EQ(out.fields().size(), 7u);
  for (const auto& [name, value] : out.fields()) EXPECT_NE(value, "no") << name;
}

}  // namespace
}  // namespace knit::events
