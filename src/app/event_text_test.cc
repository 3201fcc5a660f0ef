#include "app/event_text.h"

namespace knit::app {
namespace {

Json parse(std::string_view text) {
  auto dom = json::parse(text);
  KNIT_CHECK(dom.has_value());
  return std::move(*dom);
}

TEST(EventText, Trace) {
  const Json trace = parse(R"({"id":"1","events":[{"stream":"broker ns/b","seq":7,
      "accepted":"2026-11-25T13:00:01.123456Z","event":{"id":"1","type":"t","source":"/s"},
      "subscribers":[
        {"label":"trigger t","url":"http://sub/","filter":true,"state":"waiting",
         "due":"2026-11-25T13:00:02.000000Z","steps":[
          {"at":"2026-11-25T13:00:01.200000Z","what":"attempt","attempt":1,"status":503},
          {"at":"2026-11-25T13:00:01.300000Z","what":"attempt","attempt":2,"text":"refused"},
          {"at":"2026-11-25T13:00:01.300000Z","what":"waiting","text":"200ms"}]},
        {"label":"trigger u","url":"http://u/","filter":false,"steps":[]}]}]})");
  EXPECT_EQ(event_trace_text(trace),
            "event 1  type t  source /s\n"
            "  13:00:01.123456  accepted by broker ns/b, on disk as number 7\n"
            "    trigger t -> http://sub/: waiting, next try at 13:00:02.000000\n"
            "      13:00:01.200000  attempt 1: status 503\n"
            "      13:00:01.300000  attempt 2: no answer: refused\n"
            "      13:00:01.300000  waiting 200ms\n"
            "    trigger u: its filter says no\n");
  EXPECT_EQ(event_trace_text(parse(R"({"id":"x","events":[]})")),
            "no event with id \"x\": never accepted, or older than what is kept\n");
}

TEST(EventText, Stat) {
  const Json stat = parse(R"({"accepted":2,"refused":1,"streams":[
      {"kind":"broker","namespace":"ns","name":"b","bytes":10,"subscribers":[
        {"label":"trigger t","lag":3,"delivered":4,"deadLettered":5,"undeliverable":6,
         "waiting":7,"parked":8}]},
      {"kind":"channel","namespace":"ns","name":"c","bytes":20,"subscribers":[]}]})");
  EXPECT_EQ(event_stat_text(stat),
            "accepted 2, refused 1\n"
            "STREAM         SUBSCRIBER   LAG   DELIVERED   DEAD-LETTERED   DROPPED   RETRYING   "
            "PARKED   BYTES\n"
            "broker ns/b    trigger t    3     4           5               6         7          "
            "8        10\n"
            "channel ns/c   -            -     -           -               -         -          "
            "-        20\n");
  EXPECT_EQ(event_stat_text(parse("{}")), "accepted 0, refused 0\nno Broker and no Channel\n");
}

TEST(EventText, LinesAndParked) {
  const Json recent = parse(R"({"next":8,"events":[{"seq":7,
      "accepted":"2026-11-25T13:00:01.123456Z","event":{"id":"1","type":"t","source":"/s"},
      "subscribers":[{"label":"trigger t","filter":true,"state":"finished"},
                     {"label":"trigger u","filter":false}]}]})");
  EXPECT_EQ(event_lines_text(recent), "13:00:01.123456  7  t  /s  1  [trigger t: finished]\n");
  EXPECT_EQ(event_dlq_text(parse("{}")), "nothing is parked\n");
  const Json dlq = parse(R"({"events":[{"stream":"broker ns/b","seq":7,"label":"trigger t",
      "deadLetterSink":"http://d","due":"2026-11-25T13:00:02.000000Z",
      "event":{"id":"1","type":"t"}}]})");
  EXPECT_NE(event_dlq_text(dlq).find("broker ns/b   7        1    t      trigger t    http://d"),
            std::string::npos)
      << event_dlq_text(dlq);
}

}  // namespace
}  // namespace knit::app
