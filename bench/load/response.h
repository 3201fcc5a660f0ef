// An HTTP/1.1 response, as far as a load generator must understand it. No I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace knit::load {

/// Fed with a connection's bytes; knows where one response ends.
class ResponseParser {
 public:
  enum class State { Head, Body, Done, Failed };

  /// Begins the next response; `head` says that the request was HEAD.
  void start(bool head, bool keep_body);
  /// Consumes until the end of the response; returns how many bytes it took.
  std::size_t feed(std::string_view bytes);
  /// The peer closed: an answer without a length is complete by that. True: it is Done now.
  bool closed();

  State state() const { return state_; }
  int status() const { return status_; }
  bool keep_alive() const { return keep_alive_; }
  bool started() const { return !head_.empty() || state_ != State::Head; }
  const std::string& body() const { return body_; }

 private:
  enum class Framing { None, Length, Chunked, Close };
  enum class Chunk { Size, Data, End, Trailer };
  bool parse_head();
  std::size_t feed_chunked(std::string_view bytes);
  void take(std::string_view bytes);

  State state_ = State::Head;
  Framing framing_ = Framing::None;
  Chunk chunk_ = Chunk::Size;
  bool head_request_ = false, keep_body_ = false, keep_alive_ = true;
  int status_ = 0;
  std::uint64_t left_ = 0;
  std::string head_, line_, body_;
};

}  // namespace knit::load
