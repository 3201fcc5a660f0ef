// What a whole head must satisfy: RFC 9112's framing and target rules, and llhttp's opinion.
#include <llhttp.h>

#include "http/h1_grammar.h"

static_assert(LLHTTP_STRICT_MODE == 1, "llhttp must be built in strict mode");

namespace knit::http::h1 {

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
/// llhttp numbers methods; others are passed on as they are (their names were checked).
bool numbered(std::string_view method) {
  for (const std::string_view m :
       {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}) {
    if (method == m) return true;
  }
  return false;
}
}  // namespace

/// The second opinion: llhttp must accept the same head with the same framing.
bool Parser::llhttp_agrees() {
  Witness witness;
  llhttp_t p;
  llhttp_init(&p, kind_ == Kind::Request ? HTTP_REQUEST : HTTP_RESPONSE, &witness_settings());
  p.data = &witness;
  if (kind_ == Kind::Request && !numbered(head_.method)) {
    const std::string_view rest = std::string_view(head_bytes_).substr(head_.method.size());
    if (llhttp_execute(&p, "GET", 3) == HPE_OK) llhttp_execute(&p, rest.data(), rest.size());
  } else {
    llhttp_execute(&p, head_bytes_.data(), head_bytes_.size());
  }
  const int bad = kind_ == Kind::Request ? 400 : 502;
  if (!witness.complete) return reject(bad, "malformed head");
  if (witness.fields != head_.fields.size()) return reject(bad, "malformed head");
  if (head_.framing == Framing::Chunked && (p.flags & F_CHUNKED) == 0) {
    return reject(bad, "malformed head");
  }
  if (head_.framing == Framing::Length && p.content_length != head_.length) {
    return reject(bad, "malformed head");
  }
  return true;
}

}  // namespace knit::http::h1
