// HTTP/1.x messages without I/O: an incremental parser for heads and body framing, and a
// serializer. Heads are validated by our own line rules and by llhttp in strict mode; both must
// agree. What is ambiguous in RFC 9112 is refused: obs-fold, bare CR or LF, several Host or
// Content-Length fields, Transfer-Encoding beside Content-Length or in HTTP/1.0, anything but a
// single "chunked".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace knit::http::h1 {

/// ASCII comparison without case.
bool iequals(std::string_view a, std::string_view b);
/// True if the comma-separated list `value` has the token, without case.
bool has_token(std::string_view value, std::string_view token);
/// True if every byte of `value` may stand in a field value (no CR, LF, NUL or other controls).
bool valid_value(std::string_view value);
bool valid_name(std::string_view name);

struct Field {
  std::string_view name, value;  // as sent; the value without surrounding whitespace
};

enum class Framing : std::uint8_t { None, Length, Chunked, UntilClose };

/// Views into the parser's buffer: valid until the parser starts the next message.
struct Head {
  std::string_view method;     // requests
  std::string_view target;     // as sent
  std::string_view authority;  // requests: of an absolute-form target, else the Host field
  std::string_view path;       // requests: path and query ("/a?b"), "*", or empty for CONNECT
  int status = 0;              // responses
  std::string_view reason;
  int minor = 1;  // HTTP/1.<minor>
  std::vector<Field> fields;
  Framing framing = Framing::None;
  std::uint64_t length = 0;      // for Framing::Length
  bool keep_alive = true;        // what this side allows after the message
  bool expect_continue = false;  // requests
  std::string_view upgrade;      // the Upgrade field, if Connection names it

  /// The first field of that name, or nullptr.
  const std::string_view* find(std::string_view name) const;
};

struct Limits {
  std::size_t head = 64 * 1024;
  std::size_t fields = 200;
  std::size_t target = 16 * 1024;
  std::size_t trailers = 16 * 1024;
};

struct ParseError {
  int status = 400;  // to answer with: 400, 414, 431, 505 (version)
  const char* text = "";
};

/// Pull parser for a sequence of messages on one connection:
///   while (true) { Step s = parser.next(in); in.remove_prefix(s.used); switch (s.event) … }
class Parser {
 public:
  enum class Kind : std::uint8_t { Request, Response };
  enum class Event : std::uint8_t {
    NeedMore,  // all of `in` is used
    Head,      // head() is complete
    Data,      // `data` is body (a view into `in`)
    End,       // the message is complete; trailers() are valid; next() starts the next one
    Error,     // error(); the parser stays in this state
  };
  struct Step {
    Event event = Event::NeedMore;
    std::size_t used = 0;
    std::string_view data;
  };

  explicit Parser(Kind kind, Limits limits = {});

  Step next(std::string_view in);
  /// As new, for the next connection.
  void reset();
  /// The peer closed: End for a body that lasts until close, NeedMore between two messages (a
  /// clean end), Error inside a message.
  Step finish();

  /// Responses: a response to `method` comes next (HEAD and CONNECT have no body). 1xx heads keep
  /// the expectation.
  void expect_response_to(std::string_view method);
  /// Not inside a message, and no byte of one was seen.
  bool idle() const {
    return state_ == State::MessageEnd || (state_ == State::Start && head_bytes_.empty());
  }
  /// Some bytes of a head were seen, but not all.
  bool in_head() const { return state_ == State::Start && !head_bytes_.empty(); }
  const Head& head() const { return head_; }
  const std::vector<Field>& trailers() const { return trailers_; }
  const ParseError& error() const { return error_; }

 private:
  enum class State : std::uint8_t {
    Start,
    Body,
    BodyUntilClose,
    ChunkSize,
    ChunkData,
    ChunkEnd,
    Trailers,
    MessageEnd,
    Failed
  };
  Step fail(int status, const char* text);
  Step take_head(std::string_view in);
  Step take_line(std::string_view in, std::size_t limit, bool& complete);
  bool head_line(std::size_t begin, std::size_t end);
  bool request_line(std::string_view line);
  bool status_line(std::string_view line);
  bool field_line(std::string_view line, std::vector<Field>& out);
  bool finish_head();
  bool request_rules();
  bool framing_rules();
  bool llhttp_agrees();
  bool chunk_line(std::string_view line);
  bool reject(int status, const char* text);
  void reset_message();

  const Kind kind_;
  const Limits limits_;
  State state_ = State::Start;
  bool head_request_ = false, connect_request_ = false;
  bool first_line_done_ = false, saw_cr_ = false, leading_blank_ = false;
  std::string head_bytes_;      // the head as sent
  std::size_t line_begin_ = 0;  // in head_bytes_
  std::string line_;            // chunk size or trailer line in progress
  std::string trailer_bytes_;
  std::vector<std::pair<std::size_t, std::size_t>> lines_;  // field lines in head_bytes_
  std::uint64_t left_ = 0;                                  // body bytes to come
  Head head_;
  std::vector<Field> trailers_;
  ParseError error_;
};

// ---- serializer. Appends to `out`; names and values must be valid_name/valid_value: a field that
// is not is left out (nothing that came through the parser can be).

void write_request_line(std::string& out, std::string_view method, std::string_view target);
void write_status_line(std::string& out, int status, std::string_view reason = {});
void write_field(std::string& out, std::string_view name, std::string_view value);
void write_field(std::string& out, std::string_view name, std::uint64_t value);
void write_end_of_head(std::string& out);
void write_chunk(std::string& out, std::string_view data);  // nothing for empty data
void write_last_chunk(std::string& out, const std::vector<Field>& trailers = {});
/// "OK" for 200; "Unknown" if there is none.
std::string_view reason_phrase(int status);
/// Connection, Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade: never
/// forwarded as they are.
bool hop_by_hop(std::string_view name);

}  // namespace knit::http::h1
