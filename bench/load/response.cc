#include "load/response.h"

#include <algorithm>
#include <charconv>

namespace knit::load {
namespace {

constexpr std::size_t kMaxHead = 64 << 10;
constexpr std::size_t kMaxKept = 1 << 20;

bool same(std::string_view a, std::string_view lower) {
  return a.size() == lower.size() &&
         std::equal(a.begin(), a.end(), lower.begin(), [](char x, char y) {
           return (x >= 'A' && x <= 'Z' ? static_cast<char>(x + 32) : x) == y;
         });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

bool whole(std::string_view text, std::uint64_t& value, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

void ResponseParser::start(bool head, bool keep_body) {
  state_ = State::Head;
  head_request_ = head;
  keep_body_ = keep_body;
  keep_alive_ = true;
  status_ = 0;
  head_.clear();
  line_.clear();
  body_.clear();
}

void ResponseParser::take(std::string_view bytes) {
  if (keep_body_ && body_.size() + bytes.size() <= kMaxKept) body_ += bytes;
}

bool ResponseParser::parse_head() {
  std::string_view rest = head_;
  const auto line = [&rest] {
    const auto end = rest.find("\r\n");
    const std::string_view found = rest.substr(0, end);
    rest.remove_prefix(std::min(rest.size(), found.size() + 2));
    return found;
  };
  const std::string_view first = line();
  std::uint64_t status = 0;
  if (first.size() < 12 || !first.starts_with("HTTP/1.") || first[8] != ' ' ||
      !whole(first.substr(9, 3), status, 10) || status < 100)
    return false;
  status_ = static_cast<int>(status);
  keep_alive_ = first[7] == '1';
  framing_ = Framing::Close;
  for (std::string_view header = line(); !header.empty(); header = line()) {
    const auto colon = header.find(':');
    if (colon == std::string_view::npos) return false;
    const std::string_view name = header.substr(0, colon), value = trim(header.substr(colon + 1));
    if (same(name, "content-length")) {
      if (framing_ != Framing::Chunked) framing_ = Framing::Length;
      if (!whole(value, left_, 10)) return false;
    } else if (same(name, "transfer-encoding")) {
      if (!same(value, "chunked")) return false;
      framing_ = Framing::Chunked;
    } else if (same(name, "connection")) {
      if (same(value, "close")) keep_alive_ = false;
    }
  }
  if (head_request_ || status_ == 204 || status_ == 304) framing_ = Framing::None;
  return true;
}

std::size_t ResponseParser::feed_chunked(std::string_view bytes) {
  std::size_t used = 0;
  while (used < bytes.size() && state_ == State::Body) {
    if (chunk_ == Chunk::Data) {
      const auto n = std::min<std::uint64_t>(left_, bytes.size() - used);
      take(bytes.substr(used, n));
      used += n;
      left_ -= n;
      if (left_ == 0) chunk_ = Chunk::End;
      continue;
    }
    const char c = bytes[used++];
    if (c != '\n') {
      line_ += c;
      if (line_.size() > kMaxHead) state_ = State::Failed;
      continue;
    }
    const std::string_view line = trim(line_);
    if (chunk_ == Chunk::End) {
      if (!line.empty()) state_ = State::Failed;
      chunk_ = Chunk::Size;
    } else if (chunk_ == Chunk::Trailer) {
      if (line.empty()) state_ = State::Done;
    } else if (!whole(trim(line.substr(0, line.find(';'))), left_, 16)) {
      state_ = State::Failed;
    } else {
      chunk_ = left_ == 0 ? Chunk::Trailer : Chunk::Data;
    }
    line_.clear();
  }
  return used;
}

std::size_t ResponseParser::feed(std::string_view bytes) {
  std::size_t used = 0;
  if (state_ == State::Head) {
    const std::size_t before = head_.size();
    head_ += bytes.substr(0, kMaxHead);
    const auto end = head_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
    if (end == std::string::npos) {
      if (head_.size() >= kMaxHead) state_ = State::Failed;
      return bytes.size();
    }
    head_.resize(end + 4);
    used = head_.size() - before;
    if (!parse_head()) {
      state_ = State::Failed;
      return used;
    }
    if (status_ < 200) {  // an interim answer: the real one follows
      head_.clear();
      return used + feed(bytes.substr(used));
    }
    chunk_ = Chunk::Size;
    const bool empty = framing_ == Framing::None || (framing_ == Framing::Length && left_ == 0);
    state_ = empty ? State::Done : State::Body;
  }
  if (state_ != State::Body) return used;
  const std::string_view rest = bytes.substr(used);
  if (framing_ == Framing::Chunked) return used + feed_chunked(rest);
  if (framing_ == Framing::Close) {
    take(rest);
    return bytes.size();
  }
  const auto n = std::min<std::uint64_t>(left_, rest.size());
  take(rest.substr(0, n));
  left_ -= n;
  if (left_ == 0) state_ = State::Done;
  return used + n;
}

bool ResponseParser::closed() {
  keep_alive_ = false;
  if (state_ == State::Body && framing_ == Framing::Close) state_ = State::Done;
  return state_ == State::Done;
}

}  // namespace knit::load
