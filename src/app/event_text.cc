#include "app/event_text.h"

#include <algorithm>

namespace knit::app {
namespace {

std::string str(const Json& dom, json::Path path) { return std::string(json::str(dom, path)); }
std::string num(const Json& dom, json::Path path) { return std::to_string(json::i64(dom, path)); }

/// "13:00:01.123456" of "2026-11-25T13:00:01.123456Z".
std::string clock(const std::string& time) {
  const auto t = time.find('T');
  return t == std::string::npos ? time : time.substr(t + 1, time.size() - t - 2);
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> width;
  for (const auto& row : rows) {
    width.resize(std::max(width.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out += std::string(width[i] - row[i].size() + 3, ' ');
    }
    out += '\n';
  }
  return out;
}

std::string step_text(const Json& step) {
  const std::string what = str(step, {"what"}), text = str(step, {"text"});
  const bool tried = what == "attempt" || what == "reply" || what == "dead letter";
  std::string out = clock(str(step, {"at"})) + "  " + what;
  if (what == "attempt") out += " " + num(step, {"attempt"});
  if (tried && json::i64(step, {"status"}) != 0) out += ": status " + num(step, {"status"});
  if (tried && json::i64(step, {"status"}) == 0) out += ": no answer";
  if (!text.empty()) out += (what == "waiting" ? " " : ": ") + text;
  return out;
}

}  // namespace

std::string event_trace_text(const Json& trace) {
  const auto& events = json::array(trace, {"events"});
  if (events.empty()) {
    return "no event with id \"" + str(trace, {"id"}) +
           "\": never accepted, or older than what is kept\n";
  }
  std::string out;
  for (const Json& e : events) {
    out += "event " + str(e, {"event", "id"}) + "  type " + str(e, {"event", "type"}) +
           "  source " + str(e, {"event", "source"}) + "\n";
    out += "  " + clock(str(e, {"accepted"})) + "  accepted by " + str(e, {"stream"}) +
           ", on disk as number " + num(e, {"seq"}) + "\n";
    if (json::array(e, {"subscribers"}).empty()) out += "    nobody subscribes\n";
    for (const Json& s : json::array(e, {"subscribers"})) {
      out += "    " + str(s, {"label"});
      if (!json::boolean(s, {"filter"})) {
        out += ": its filter says no\n";
        continue;
      }
      out += " -> " + str(s, {"url"}) + ": " + str(s, {"state"});
      if (const auto due = str(s, {"due"}); !due.empty()) out += ", next try at " + clock(due);
      out += "\n";
      for (const Json& step : json::array(s, {"steps"})) out += "      " + step_text(step) + "\n";
    }
  }
  return out;
}

std::string event_stat_text(const Json& stat) {
  std::vector<std::vector<std::string>> rows = {{"STREAM", "SUBSCRIBER", "LAG", "DELIVERED",
                                                 "DEAD-LETTERED", "DROPPED", "RETRYING", "PARKED",
                                                 "BYTES"}};
  for (const Json& s : json::array(stat, {"streams"})) {
    const std::string stream =
        str(s, {"kind"}) + " " + str(s, {"namespace"}) + "/" + str(s, {"name"});
    if (json::array(s, {"subscribers"}).empty()) {
      rows.push_back({stream, "-", "-", "-", "-", "-", "-", "-", num(s, {"bytes"})});
    }
    for (const Json& one : json::array(s, {"subscribers"})) {
      rows.push_back({stream, str(one, {"label"}), num(one, {"lag"}), num(one, {"delivered"}),
                      num(one, {"deadLettered"}), num(one, {"undeliverable"}),
                      num(one, {"waiting"}), num(one, {"parked"}), num(s, {"bytes"})});
    }
  }
  return "accepted " + num(stat, {"accepted"}) + ", refused " + num(stat, {"refused"}) + "\n" +
         (rows.size() == 1 ? std::string("no Broker and no Channel\n") : table(rows));
}

std::string event_lines_text(const Json& recent) {
  std::string out;
  for (const Json& e : json::array(recent, {"events"})) {
    out += clock(str(e, {"accepted"})) + "  " + num(e, {"seq"}) + "  " + str(e, {"event", "type"}) +
           "  " + str(e, {"event", "source"}) + "  " + str(e, {"event", "id"});
    for (const Json& s : json::array(e, {"subscribers"})) {
      if (json::boolean(s, {"filter"})) {
        out += "  [" + str(s, {"label"}) + ": " + str(s, {"state"}) + "]";
      }
    }
    out += '\n';
  }
  return out;
}

std::string event_dlq_text(const Json& dlq) {
  if (json::array(dlq, {"events"}).empty()) return "nothing is parked\n";
  std::vector<std::vector<std::string>> rows = {
      {"STREAM", "NUMBER", "ID", "TYPE", "SUBSCRIBER", "DEAD LETTER SINK", "NEXT TRY"}};
  for (const Json& e : json::array(dlq, {"events"})) {
    rows.push_back({str(e, {"stream"}), num(e, {"seq"}), str(e, {"event", "id"}),
                    str(e, {"event", "type"}), str(e, {"label"}), str(e, {"deadLetterSink"}),
                    clock(str(e, {"due"}))});
  }
  return table(rows);
}

}  // namespace knit::app
