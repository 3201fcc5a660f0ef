#include "http/h1.h"

#include <algorithm>
#include <cstring>

#include "http/h1_grammar.h"

namespace knit::http::h1 {
namespace {

constexpr std::size_t kMaxChunkLine = 1024;

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

}  // namespace knit::http::h1
