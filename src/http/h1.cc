#include "http/h1.h"

#include <llhttp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

static_assert(LLHTTP_STRICT_MODE == 1, "llhttp must be built in strict mode");

namespace knit::http::h1 {
namespace {

constexpr std::size_t kMaxChunkLine = 1024;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

constexpr std::array<bool, 256> token_table() {
  std::array<bool, 256> t{};
  for (unsigned c = '0'; c <= '9'; ++c) t[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) t[c] = true;
  for (unsigned c = 'A'; c <= 'Z'; ++c) t[c] = true;
  for (const char c :
       {'!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~'}) {
    t[static_cast<unsigned char>(c)] = true;
  }
  return t;
}
constexpr auto kToken = token_table();
bool is_token(char c) { return kToken[static_cast<unsigned char>(c)]; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_value_byte(char c) {
  const auto u = static_cast<unsigned char>(c);
  return u == '\t' || (u >= 0x20 && u != 0x7f);
}
std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

/// host[:port] of RFC 3986 without userinfo; not empty.
bool valid_authority(std::string_view a) {
  if (a.empty() || a.size() > 512) return false;
  std::string_view port;
  if (a.front() == '[') {
    const auto close = a.find(']');
    if (close == std::string_view::npos) return false;
    for (const char c : a.substr(1, close - 1)) {
      const bool hex = is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f');
      if (!hex && c != ':' && c != '.' && c != '%') return false;
    }
    a.remove_prefix(close + 1);
    if (a.empty()) return true;
    if (a.front() != ':') return false;
    port = a.substr(1);
  } else {
    const auto colon = a.find(':');
    const std::string_view host = a.substr(0, colon);
    if (host.empty()) return false;
    for (const char c : host) {
      const char l = lower(c);
      if (!is_digit(c) && !(l >= 'a' && l <= 'z') && c != '.' && c != '-' && c != '_' && c != '~') {
        return false;
      }
    }
    if (colon == std::string_view::npos) return true;
    port = a.substr(colon + 1);
  }
  return port.size() <= 5 && std::all_of(port.begin(), port.end(), is_digit);
}

/// Digits only. RFC 9110 8.6; leading zeros are legal.
bool parse_length(std::string_view text, std::uint64_t& out) {
  if (text.empty() || text.size() > 64) return false;
  if (!std::all_of(text.begin(), text.end(), is_digit)) return false;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), out);
  return r.ec == std::errc() && out <= static_cast<std::uint64_t>(INT64_MAX);
}

bool forbidden_trailer(std::string_view name) {
  for (const std::string_view f :
       {"content-length", "transfer-encoding", "host", "authorization", "connection", "te",
        "trailer", "upgrade", "content-encoding", "content-type", "content-range", "cookie",
        "set-cookie", "expect", "max-forwards", "cache-control"}) {
    if (iequals(name, f)) return true;
  }
  return false;
}

}  // namespace

bool iequals(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

bool has_token(std::string_view value, std::string_view token) {
  while (!value.empty()) {
    const auto comma = value.find(',');
    if (iequals(trim(value.substr(0, comma)), token)) return true;
    if (comma == std::string_view::npos) break;
    value.remove_prefix(comma + 1);
  }
  return false;
}

bool valid_value(std::string_view value) {
  return std::all_of(value.begin(), value.end(), is_value_byte);
}
bool valid_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), is_token);
}

bool hop_by_hop(std::string_view name) {
  for (const std::string_view h : {"connection", "keep-alive", "proxy-connection", "te", "trailer",
                                   "transfer-encoding", "upgrade"}) {
    if (iequals(name, h)) return true;
  }
  return false;
}

const std::string_view* Head::find(std::string_view name) const {
  for (const Field& f : fields) {
    if (iequals(f.name, name)) return &f.value;
  }
  return nullptr;
}

Parser::Parser(Kind kind, Limits limits) : kind_(kind), limits_(limits) {}

void Parser::expect_response_to(std::string_view method) {
  head_request_ = method == "HEAD";
  connect_request_ = method == "CONNECT";
}

bool Parser::reject(int status, const char* text) {
  error_ = {status, text};
  state_ = State::Failed;
  return false;
}

Parser::Step Parser::fail(int status, const char* text) {
  reject(status, text);
  return {Event::Error, 0, {}};
}

void Parser::reset_message() {
  state_ = State::Start;
  first_line_done_ = leading_blank_ = saw_cr_ = false;
  head_bytes_.clear();
  line_begin_ = 0;
  line_.clear();
  trailer_bytes_.clear();
  lines_.clear();
  trailers_.clear();
  left_ = 0;
}

void Parser::reset() {
  reset_message();
  head_request_ = connect_request_ = false;
  error_ = {};
}

Parser::Step Parser::next(std::string_view in) {
  switch (state_) {
    case State::Failed:
      return {Event::Error, 0, {}};
    case State::Start:
      return take_head(in);
    case State::MessageEnd:
      // The head is kept until the next byte so that its views stay valid after End.
      if (in.empty()) return {};
      reset_message();
      return take_head(in);
    case State::Body: {
      if (left_ == 0) {
        state_ = State::MessageEnd;
        return {Event::End, 0, {}};
      }
      if (in.empty()) return {};
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.size()));
      left_ -= n;
      return {Event::Data, n, in.substr(0, n)};
    }
    case State::BodyUntilClose:
      if (in.empty()) return {};
      return {Event::Data, in.size(), in};
    case State::ChunkSize: {
      bool complete = false;
      Step s = take_line(in, kMaxChunkLine, complete);
      if (!complete) return s;
      if (!chunk_line(line_)) return {Event::Error, s.used, {}};
      line_.clear();
      Step rest = next(in.substr(s.used));
      rest.used += s.used;
      return rest;
    }
    case State::ChunkData: {
      if (in.empty()) return {};
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.size()));
      left_ -= n;
      if (left_ == 0) state_ = State::ChunkEnd;
      return {Event::Data, n, in.substr(0, n)};
    }
    case State::ChunkEnd: {
      bool complete = false;
      Step s = take_line(in, 0, complete);
      if (!complete) return s;
      state_ = State::ChunkSize;
      Step rest = next(in.substr(s.used));
      rest.used += s.used;
      return rest;
    }
    case State::Trailers: {
      bool complete = false;
      Step s = take_line(in, limits_.trailers, complete);
      if (!complete) return s;
      if (line_.empty()) {
        std::string_view all = trailer_bytes_;
        while (!all.empty()) {
          const auto nl = all.find('\n');
          if (!field_line(all.substr(0, nl), trailers_)) return {Event::Error, s.used, {}};
          if (forbidden_trailer(trailers_.back().name)) return fail(400, "forbidden trailer field");
          all.remove_prefix(nl + 1);
        }
        state_ = State::MessageEnd;
        return {Event::End, s.used, {}};
      }
      trailer_bytes_ += line_;
      trailer_bytes_ += '\n';
      line_.clear();
      if (trailer_bytes_.size() > limits_.trailers) return fail(431, "trailers too large");
      Step rest = next(in.substr(s.used));
      rest.used += s.used;
      return rest;
    }
  }
  return {};
}

Parser::Step Parser::finish() {
  switch (state_) {
    case State::Failed:
      return {Event::Error, 0, {}};
    case State::MessageEnd:
      return {};
    case State::Start:
      return head_bytes_.empty() ? Step{} : fail(400, "closed inside a head");
    case State::BodyUntilClose:
      state_ = State::MessageEnd;
      return {Event::End, 0, {}};
    case State::Body:
      if (left_ == 0) {
        state_ = State::MessageEnd;
        return {Event::End, 0, {}};
      }
      [[fallthrough]];
    default:
      return fail(400, "closed inside a body");
  }
}

/// Collects into line_ up to CRLF. Bare CR, bare LF and lines past `limit` fail.
Parser::Step Parser::take_line(std::string_view in, std::size_t limit, bool& complete) {
  std::size_t i = 0;
  for (; i < in.size(); ++i) {
    const char c = in[i];
    if (saw_cr_) {
      if (c != '\n') return fail(400, "CR without LF");
      saw_cr_ = false;
      complete = true;
      return {Event::NeedMore, i + 1, {}};
    }
    if (c == '\r') {
      saw_cr_ = true;
      continue;
    }
    if (c == '\n') return fail(400, "LF without CR");
    if (line_.size() >= limit) {
      return fail(400, limit == 0 ? "no CRLF after a chunk" : "line too long in a chunked body");
    }
    line_ += c;
  }
  return {Event::NeedMore, i, {}};
}

bool Parser::chunk_line(std::string_view line) {
  std::size_t digits = 0;
  std::uint64_t size = 0;
  for (; digits < line.size(); ++digits) {
    const char c = lower(line[digits]);
    unsigned v = 0;
    if (is_digit(c)) {
      v = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      v = static_cast<unsigned>(c - 'a' + 10);
    } else {
      break;
    }
    if (size >> 58 != 0) return reject(400, "chunk size too large");
    size = size << 4 | v;
  }
  if (digits == 0 || digits > 16) return reject(400, "invalid chunk size");
  const std::string_view extension = line.substr(digits);
  if (!extension.empty()) {
    if (extension.front() != ';' || !valid_value(extension) ||
        std::count(extension.begin(), extension.end(), '"') % 2 != 0) {
      return reject(400, "invalid chunk extension");
    }
  }
  left_ = size;
  state_ = size == 0 ? State::Trailers : State::ChunkData;
  return true;
}

/// Scans line by line, so that a bad line is refused before the rest arrives.
Parser::Step Parser::take_head(std::string_view in) {
  std::size_t used = 0;
  while (used < in.size()) {
    const char* begin = in.data() + used;
    const auto* nl = static_cast<const char*>(std::memchr(begin, '\n', in.size() - used));
    const std::size_t n = nl ? static_cast<std::size_t>(nl - begin) + 1 : in.size() - used;
    const bool first = !first_line_done_;
    if (head_bytes_.size() + n > limits_.head) {
      const bool in_target = first && kind_ == Kind::Request;
      return in_target ? fail(414, "URI too long") : fail(431, "head too large");
    }
    head_bytes_.append(begin, n);
    used += n;
    if (first && kind_ == Kind::Request && head_bytes_.size() - line_begin_ > limits_.target + 64) {
      return fail(414, "URI too long");
    }
    if (!nl) {
      // What was seen of the first line decides early: TLS or binary on a plaintext port.
      if (first && !is_token(head_bytes_[line_begin_]) && head_bytes_[line_begin_] != '\r') {
        return fail(400, "malformed start line");
      }
      break;
    }
    const std::size_t end = head_bytes_.size() - 1;  // of '\n'
    if (end == line_begin_ || head_bytes_[end - 1] != '\r') return fail(400, "LF without CR");
    if (end - 1 == line_begin_) {
      if (!first_line_done_) {  // RFC 9112 2.2: one empty line before a request is skipped
        if (leading_blank_ || kind_ == Kind::Response) return fail(400, "empty start line");
        leading_blank_ = true;
        head_bytes_.clear();
        line_begin_ = 0;
        continue;
      }
      if (!finish_head()) return {Event::Error, used, {}};
      return {Event::Head, used, {}};
    }
    if (!head_line(line_begin_, end - 1)) return {Event::Error, used, {}};
    line_begin_ = end + 1;
  }
  return {Event::NeedMore, used, {}};
}

bool Parser::head_line(std::size_t begin, std::size_t end) {
  const std::string_view line(head_bytes_.data() + begin, end - begin);
  if (!first_line_done_) {
    first_line_done_ = true;
    // Checked early; finish_head() makes the views, because head_bytes_ may still move.
    lines_.emplace_back(begin, end);
    return kind_ == Kind::Request ? request_line(line) : status_line(line);
  }
  if (line.front() == ' ' || line.front() == '\t') return reject(400, "obs-fold or leading space");
  if (lines_.size() > limits_.fields) return reject(431, "too many fields");
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !valid_name(line.substr(0, colon))) {
    return reject(400, "invalid field name");
  }
  if (!valid_value(line.substr(colon + 1))) return reject(400, "invalid byte in a field value");
  lines_.emplace_back(begin, end);
  return true;
}

bool Parser::request_line(std::string_view line) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last)
    return reject(400, "malformed request line");
  head_.method = line.substr(0, first);
  head_.target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!valid_name(head_.method)) return reject(400, "invalid method");
  if (head_.target.size() > limits_.target) return reject(414, "URI too long");
  if (head_.target.empty()) return reject(400, "empty target");
  for (const char c : head_.target) {
    const auto u = static_cast<unsigned char>(c);
    if (u <= 0x20 || u >= 0x7f || c == '#') return reject(400, "invalid byte in the target");
  }
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) ||
      version[6] != '.' || !is_digit(version[7])) {
    return reject(400, "malformed version");
  }
  if (version[5] != '1' || version[7] > '1') return reject(505, "HTTP version not supported");
  head_.minor = version[7] - '0';
  return true;
}

bool Parser::status_line(std::string_view line) {
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || (line[7] != '0' && line[7] != '1') ||
      line[8] != ' ' || !is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]) ||
      (line.size() > 12 && line[12] != ' ') || !valid_value(line)) {
    return reject(502, "malformed status line");
  }
  head_.minor = line[7] - '0';
  head_.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  head_.reason = line.size() > 13 ? line.substr(13) : std::string_view{};
  if (head_.status < 100) return reject(502, "malformed status line");
  return true;
}

bool Parser::field_line(std::string_view line, std::vector<Field>& out) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !valid_name(line.substr(0, colon)) ||
      !valid_value(line.substr(colon + 1))) {
    return reject(400, "invalid field");
  }
  if (out.size() >= limits_.fields) return reject(431, "too many fields");
  out.push_back({line.substr(0, colon), trim(line.substr(colon + 1))});
  return true;
}

bool Parser::finish_head() {
  auto fields = std::move(head_.fields);
  fields.clear();
  head_ = Head{};
  head_.fields = std::move(fields);
  const auto view = [this](std::pair<std::size_t, std::size_t> l) {
    return std::string_view(head_bytes_).substr(l.first, l.second - l.first);
  };
  const std::string_view start = view(lines_.front());
  if (kind_ == Kind::Request ? !request_line(start) : !status_line(start)) return false;
  for (std::size_t i = 1; i < lines_.size(); ++i) {
    if (!field_line(view(lines_[i]), head_.fields)) return false;
  }
  if (!framing_rules()) return false;
  if (kind_ == Kind::Request && !request_rules()) return false;
  if (!llhttp_agrees()) return false;
  switch (head_.framing) {
    case Framing::None:
      left_ = 0;
      state_ = State::Body;
      break;
    case Framing::Length:
      left_ = head_.length;
      state_ = State::Body;
      break;
    case Framing::Chunked:
      state_ = State::ChunkSize;
      break;
    case Framing::UntilClose:
      state_ = State::BodyUntilClose;
      break;
  }
  return true;
}

bool Parser::request_rules() {
  const std::string_view* host = nullptr;
  for (const Field& f : head_.fields) {
    if (iequals(f.name, "host")) {
      if (host) return reject(400, "several Host fields");
      host = &f.value;
      if (!valid_authority(f.value)) return reject(400, "invalid Host field");
    } else if (iequals(f.name, "expect")) {
      if (!iequals(f.value, "100-continue")) return reject(400, "unknown expectation");
      head_.expect_continue = head_.minor == 1;
    }
  }
  if (!host && head_.minor == 1) return reject(400, "no Host field");
  if (host) head_.authority = *host;
  const std::string_view t = head_.target;
  if (head_.method == "CONNECT") {
    if (!valid_authority(t)) return reject(400, "invalid target of CONNECT");
    head_.authority = t;
    return true;
  }
  if (t.front() == '/') {
    head_.path = t;
  } else if (t == "*") {
    if (head_.method != "OPTIONS") return reject(400, "asterisk target");
    head_.path = t;
  } else {  // absolute-form: its authority wins (RFC 9112 3.2.2)
    const auto scheme = t.find("://");
    if (scheme == std::string_view::npos ||
        !(iequals(t.substr(0, scheme), "http") || iequals(t.substr(0, scheme), "https"))) {
      return reject(400, "invalid target");
    }
    const std::string_view rest = t.substr(scheme + 3);
    const auto slash = rest.find_first_of("/?");
    head_.authority = rest.substr(0, slash);
    if (!valid_authority(head_.authority)) return reject(400, "invalid authority in the target");
    if (slash == std::string_view::npos) {
      head_.path = "/";
    } else if (rest[slash] == '?') {
      return reject(400, "target without a path");
    } else {
      head_.path = rest.substr(slash);
    }
  }
  return true;
}

bool Parser::framing_rules() {
  const std::string_view *length = nullptr, *coding = nullptr, *upgrade = nullptr;
  bool close = false, keep = false, upgrade_named = false;
  const int bad = kind_ == Kind::Request ? 400 : 502;
  for (const Field& f : head_.fields) {
    switch (f.name.size()) {
      case 7:
        if (iequals(f.name, "upgrade")) upgrade = &f.value;
        break;
      case 10:
        if (iequals(f.name, "connection")) {
          close = close || has_token(f.value, "close");
          keep = keep || has_token(f.value, "keep-alive");
          upgrade_named = upgrade_named || has_token(f.value, "upgrade");
        }
        break;
      case 14:
        if (iequals(f.name, "content-length")) {
          if (length) return reject(bad, "several Content-Length fields");
          length = &f.value;
          if (!parse_length(f.value, head_.length)) return reject(bad, "invalid Content-Length");
        }
        break;
      case 17:
        if (iequals(f.name, "transfer-encoding")) {
          if (coding) return reject(bad, "several Transfer-Encoding fields");
          coding = &f.value;
          if (!iequals(f.value, "chunked")) return reject(bad, "unknown Transfer-Encoding");
        } else if (iequals(f.name, "transfer_encoding")) {
          return reject(bad, "invalid field name");
        }
        break;
      default:
        break;
    }
  }
  if (coding && length) return reject(bad, "Content-Length beside Transfer-Encoding");
  if (coding && head_.minor == 0) return reject(bad, "Transfer-Encoding in HTTP/1.0");
  head_.keep_alive = !close && (head_.minor == 1 || keep);
  if (upgrade_named && upgrade) head_.upgrade = *upgrade;
  if (kind_ == Kind::Request) {
    head_.framing = coding ? Framing::Chunked : length ? Framing::Length : Framing::None;
    return true;
  }
  // RFC 9112 6.3
  if (head_.status < 200 || head_.status == 204 || head_.status == 304 || head_request_ ||
      (connect_request_ && head_.status < 300)) {
    if (coding && (head_.status < 200 || head_.status == 204)) {
      return reject(502, "Transfer-Encoding in a response without a body");
    }
    head_.framing = Framing::None;
  } else if (coding) {
    head_.framing = Framing::Chunked;
  } else if (length) {
    head_.framing = Framing::Length;
  } else {
    head_.framing = Framing::UntilClose;
    head_.keep_alive = false;
  }
  return true;
}

namespace {
struct Witness {
  std::size_t fields = 0, value_bytes = 0;
  bool complete = false;
};
int witness_name(llhttp_t* p) {
  ++static_cast<Witness*>(p->data)->fields;
  return 0;
}
int witness_complete(llhttp_t* p) {
  static_cast<Witness*>(p->data)->complete = true;
  return HPE_PAUSED;
}
const llhttp_settings_t& witness_settings() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_header_field_complete = witness_name;
    s.on_headers_complete = witness_complete;
    return s;
  }();
  return settings;
}
}  // namespace

/// The second opinion: llhttp must accept the same head with the same framing.
bool Parser::llhttp_agrees() {
  Witness witness;
  llhttp_t p;
  llhttp_init(&p, kind_ == Kind::Request ? HTTP_REQUEST : HTTP_RESPONSE, &witness_settings());
  p.data = &witness;
  const llhttp_errno_t e = llhttp_execute(&p, head_bytes_.data(), head_bytes_.size());
  const int bad = kind_ == Kind::Request ? 400 : 502;
  if (!witness.complete) {
    if (e == HPE_INVALID_METHOD) return reject(501, "unknown method");
    return reject(bad, "malformed head");
  }
  if (witness.fields != head_.fields.size()) return reject(bad, "malformed head");
  if (head_.framing == Framing::Chunked && (p.flags & F_CHUNKED) == 0) {
    return reject(bad, "malformed head");
  }
  if (head_.framing == Framing::Length && p.content_length != head_.length) {
    return reject(bad, "malformed head");
  }
  return true;
}

// ---- serializer

void write_request_line(std::string& out, std::string_view method, std::string_view target) {
  out.append(method).append(" ").append(target).append(" HTTP/1.1\r\n");
}

void write_status_line(std::string& out, int status, std::string_view reason) {
  if (reason.empty() || !valid_value(reason)) reason = reason_phrase(status);
  const char digits[] = {static_cast<char>('0' + status / 100 % 10),
                         static_cast<char>('0' + status / 10 % 10),
                         static_cast<char>('0' + status % 10), ' '};
  out.append("HTTP/1.1 ").append(digits, 4).append(reason).append("\r\n");
}

void write_field(std::string& out, std::string_view name, std::string_view value) {
  if (!valid_name(name) || !valid_value(value)) return;
  out.append(name).append(": ").append(value).append("\r\n");
}

void write_field(std::string& out, std::string_view name, std::uint64_t value) {
  std::array<char, 24> digits;
  const auto r = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  write_field(out, name, {digits.data(), static_cast<std::size_t>(r.ptr - digits.data())});
}

void write_end_of_head(std::string& out) { out.append("\r\n"); }

void write_chunk(std::string& out, std::string_view data) {
  if (data.empty()) return;
  std::array<char, 24> digits;
  const auto r = std::to_chars(digits.data(), digits.data() + digits.size(), data.size(), 16);
  out.append(digits.data(), static_cast<std::size_t>(r.ptr - digits.data())).append("\r\n");
  out.append(data).append("\r\n");
}

void write_last_chunk(std::string& out, const std::vector<Field>& trailers) {
  out.append("0\r\n");
  for (const Field& f : trailers) write_field(out, f.name, f.value);
  out.append("\r\n");
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Entity";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

}  // namespace knit::http::h1
