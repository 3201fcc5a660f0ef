#include "proxy/access_log.h"

#include <charconv>
#include <ctime>

namespace knit::proxy {
namespace {

using proxy_config::AccessLogFormat;
using namespace std::chrono_literals;
constexpr Duration kFlushAfter = 200ms;

void number(std::string& out, std::uint64_t n) {
  char buffer[24];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, n).ptr;
  out.append(buffer, static_cast<std::size_t>(end - buffer));
}
void digits(std::string& out, unsigned n, unsigned width) {
  char buffer[10];
  for (unsigned i = width; i-- > 0; n /= 10) buffer[i] = static_cast<char>('0' + n % 10);
  out.append(buffer, width);
}
/// "2026-11-25T01:02:03.456Z"; the seconds' text is made once a second.
void timestamp(std::string& out, WallTime t) {
  thread_local std::int64_t second = -1;
  thread_local std::string text;
  const std::int64_t now = t.ns / 1'000'000'000;
  if (now != second) {
    text = rfc3339(t);
    text.pop_back();
    second = now;
  }
  out += text;
  out += '.';
  digits(out, static_cast<unsigned>(t.ns / 1'000'000 % 1000), 3);
  out += 'Z';
}
/// Foreign bytes: nothing of them may end the field or the line, or steer a terminal.
void foreign(std::string& out, std::string_view s, std::size_t most = 4096) {
  if (s.empty()) {
    out += '-';
    return;
  }
  for (const char c : s.substr(0, most)) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"') {
      out += "%22";
    } else {
      out += u < 0x20 || u == 0x7f ? ' ' : c;
    }
  }
}
void quoted(std::string& out, std::string_view s, std::size_t most = 1024) {
  out += '"';
  foreign(out, s, most);
  out += '"';
}
std::uint64_t ms(Duration d) {
  return d.count() < 0 ? 0 : static_cast<std::uint64_t>(d.count() / 1'000'000);
}

/// "outbound|80||hello.default.svc.cluster.local", "inbound|8080||".
void cluster(std::string& out, const AccessRecord& r, bool inbound, std::string_view domain) {
  if (inbound) {
    out += "inbound|";
    number(out, r.upstream_port);
    out += "||";
  } else if (r.destination_service.empty()) {
    out += r.upstream.empty() ? "-" : "PassthroughCluster";
  } else {
    const std::string_view s = r.destination_service;
    const auto slash = s.find('/');
    out += "outbound|";
    number(out, r.service_port);
    out += "||";
    if (slash == std::string_view::npos) {
      out += s;
    } else {
      out += s.substr(slash + 1);
      out += '.';
      out += s.substr(0, slash);
      out += ".svc.";
      out += domain;
    }
  }
}
std::string_view route(const AccessRecord& r, bool inbound) {
  if (inbound && !r.tcp) return "default";
  return r.route_name.empty() ? std::string_view("-") : std::string_view(r.route_name);
}
std::string_view or_dash(std::string_view s) { return s.empty() ? std::string_view("-") : s; }

void text_line(std::string& out, const AccessRecord& r, bool inbound, std::string_view domain) {
  out += '[';
  timestamp(out, r.start);
  out += "] \"";
  if (r.tcp) {
    out += "- - -";
  } else {
    foreign(out, r.method, 64);
    out += ' ';
    foreign(out, r.path);
    out += r.method.empty() ? " -" : r.minor == 0 ? " HTTP/1.0" : " HTTP/1.1";
  }
  out += "\" ";
  number(out, static_cast<std::uint64_t>(r.status));
  out += ' ';
  out += r.flags;
  out += ' ';
  out += r.tcp ? "-" : r.details;
  out += " - \"-\" ";
  number(out, r.bytes_received);
  out += ' ';
  number(out, r.bytes_sent);
  out += ' ';
  number(out, ms(r.duration));
  out += ' ';
  if (r.answered_upstream) {
    number(out, ms(r.upstream_time));
  } else {
    out += '-';
  }
  out += ' ';
  quoted(out, r.forwarded_for);
  out += ' ';
  quoted(out, r.user_agent);
  out += ' ';
  quoted(out, r.request_id);
  out += ' ';
  quoted(out, r.authority);
  out += ' ';
  quoted(out, r.upstream);
  out += ' ';
  cluster(out, r, inbound, domain);
  out += " - ";
  out += or_dash(inbound && !r.upstream.empty() ? r.upstream : r.downstream_local);
  out += ' ';
  out += or_dash(r.downstream_remote);
  out += ' ';
  foreign(out, r.sni, 255);
  out += ' ';
  out += route(r, inbound);
  out += '\n';
}

void json_string(std::string& out, std::string_view key, std::string_view s,
                 std::size_t most = 1024) {
  out += out.back() == '{' ? "\"" : ",\"";
  out += key;
  out += "\":";
  if (s.empty() || s == "-") {
    out += "null";
    return;
  }
  out += '"';
  for (const char c : s.substr(0, most)) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20 || u >= 0x7f) {  // bytes past ASCII may be no UTF-8
      out += "\\u00";
      out += "0123456789abcdef"[u >> 4];
      out += "0123456789abcdef"[u & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}
void json_number(std::string& out, std::string_view key, std::uint64_t n) {
  out += out.back() == '{' ? "\"" : ",\"";
  out += key;
  out += "\":";
  number(out, n);
}

void json_line(std::string& out, const AccessRecord& r, bool inbound, std::string_view domain) {
  std::string line = "{";
  std::string value;
  const auto text = [&](std::string_view key, std::string_view s, std::size_t most = 1024) {
    json_string(line, key, s, most);
  };
  timestamp(value, r.start);
  text("start_time", value);
  text("method", r.tcp ? "" : std::string_view(r.method));
  text("path", r.tcp ? "" : std::string_view(r.path), 4096);
  text("protocol", r.tcp || r.method.empty() ? "" : r.minor == 0 ? "HTTP/1.0" : "HTTP/1.1");
  json_number(line, "response_code", static_cast<std::uint64_t>(r.status));
  line += ",\"response_flags\":\"";
  line += r.flags;
  line += '"';
  text("response_code_details", r.tcp ? "" : r.details);
  text("connection_termination_details", "");
  text("upstream_transport_failure_reason", "");
  json_number(line, "bytes_received", r.bytes_received);
  json_number(line, "bytes_sent", r.bytes_sent);
  json_number(line, "duration", ms(r.duration));
  value.clear();
  if (r.answered_upstream) number(value, ms(r.upstream_time));
  text("upstream_service_time", value);
  text("x_forwarded_for", r.forwarded_for);
  text("user_agent", r.user_agent);
  text("request_id", r.request_id);
  text("authority", r.authority);
  text("upstream_host", r.upstream);
  value.clear();
  cluster(value, r, inbound, domain);
  text("upstream_cluster", value);
  text("upstream_local_address", "");
  text("downstream_local_address",
       inbound && !r.upstream.empty() ? r.upstream : r.downstream_local);
  text("downstream_remote_address", r.downstream_remote);
  text("requested_server_name", r.sni);
  text("route_name", route(r, inbound));
  out += line;
  out += "}\n";
}

}  // namespace

void append_access_line(std::string& out, const AccessRecord& r, bool inbound,
                        AccessLogFormat format, std::string_view cluster_domain) {
  if (format == AccessLogFormat::Json) return json_line(out, r, inbound, cluster_domain);
  text_line(out, r, inbound, cluster_domain);
}

// ---- a worker's lines

ipc::Logged* AccessLog::entry(std::string_view uid, std::string_view container) {
  if (batch_.empty()) flush_soon(kFlushAfter);
  if (!batch_.empty() && batch_.back().uid == uid && batch_.back().container == container) {
    return &batch_.back();
  }
  std::string key(uid);
  key += '/';
  key += container;
  const auto [it, fresh] = index_.try_emplace(std::move(key), batch_.size());
  if (fresh) {
    ipc::Logged& made = batch_.emplace_back();
    made.uid = uid;
    made.container = container;
  }
  return &batch_[it->second];
}

void AccessLog::flush_soon(Duration wait) {
  if (wait == Duration(0) && std::exchange(urgent_, true)) return;
  timer_ = loop_.after(wait, [this] { flush(); });
}

void AccessLog::flush() {
  timer_.cancel();
  urgent_ = false;
  bytes_ = 0;
  index_.clear();
  if (batch_.empty()) return;
  hand_on_(std::exchange(batch_, {}));
}

// ---- on their way

void LogSender::add(AccessLog::Batch batch) {
  for (ipc::Logged& one : batch) {
    std::string_view rest = one.lines;
    bool first = true;
    while (first || !rest.empty()) {
      ipc::Logged part;
      part.uid = one.uid;
      part.container = one.container;
      part.lost = first ? one.lost : 0;
      first = false;
      std::string_view piece = rest.substr(0, kMessage);
      if (piece.size() < rest.size()) piece = piece.substr(0, piece.rfind('\n') + 1);
      rest.remove_prefix(piece.size());
      if (bytes_ + piece.size() > kPending) {
        // Full: only the count is kept, with the last message of the pod that still waits.
        for (const char c : piece) part.lost += c == '\n' ? 1 : 0;
        piece = {};
        bool counted = false;
        for (auto it = pending_.rbegin(); it != pending_.rend() && !counted; ++it) {
          if (it->message.uid != part.uid || it->message.container != part.container) continue;
          it->message.lost += part.lost;
          counted = true;
        }
        if (counted || pending_.size() > 4096) continue;
      }
      part.lines = piece;
      bytes_ += piece.size();
      pending_.push_back({next_order_++, std::move(part)});
    }
  }
  pump();
}

void LogSender::pump() {
  ipc::Channel* node = node_();
  while (node != nullptr && !node->closed() && in_flight_ < kInFlight && !pending_.empty()) {
    const std::uint64_t sequence = node->send(pending_.front().message);
    if (sequence == 0) return;
    Pending sent = std::move(pending_.front());
    pending_.pop_front();
    ++in_flight_;
    node->when_acked(sequence, [this, alive = std::weak_ptr(alive_),
                                sent = std::move(sent)](const std::string& error) mutable {
      if (alive.expired()) return;
      --in_flight_;
      if (error == "closed") {  // the next node gets it, in its old place
        auto at = pending_.begin();
        while (at != pending_.end() && at->order < sent.order) ++at;
        pending_.insert(at, std::move(sent));
      } else {
        bytes_ -= sent.message.lines.size();
      }
      pump();
    });
  }
}

}  // namespace knit::proxy
