// queue-proxy's request log: the part of Go's text/template that such lines use.
#include <fmt/format.h>

#include <optional>

#include "proxy/access_log.h"

namespace knit::proxy {
namespace {

/// Go's template.JSEscapeString.
std::string js_escape(std::string_view s) {
  std::string out;
  for (const char c : s) {
    switch (c) {
      case '\\':
        out += "\\\\";
        break;
      case '\'':
        out += "\\'";
        break;
      case '"':
        out += "\\\"";
        break;
      case '<':
        out += "\\u003C";
        break;
      case '>':
        out += "\\u003E";
        break;
      case '&':
        out += "\\u0026";
        break;
      case '=':
        out += "\\u003D";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        } else {
          out += c;
        }
    }
  }
  return out;
}

std::optional<std::string> field(std::string_view path, const RequestLogInput& in) {
  const AccessRecord& r = *in.record;
  if (path == ".Request.Method") return r.method;
  if (path == ".Request.RequestURI") return r.path;
  if (path == ".Request.Host") return std::string(in.host);
  if (path == ".Request.UserAgent") return r.user_agent;
  if (path == ".Request.Referer") return std::string(in.referer);
  if (path == ".Request.RemoteAddr") return std::string(in.remote_address);
  if (path == ".Request.ContentLength") return std::to_string(in.content_length);
  if (path == ".Request.Proto") return r.minor == 0 ? "HTTP/1.0" : "HTTP/1.1";
  if (path == ".Response.Code") return std::to_string(r.status);
  if (path == ".Response.Size") return std::to_string(r.bytes_sent);
  if (path == ".Response.Latency") {
    return fmt::format("{}", static_cast<double>(r.duration.count()) / 1e9);
  }
  if (path == ".Revision.Name") return std::string(in.revision);
  if (path == ".Revision.Namespace") return std::string(in.ns);
  if (path == ".Revision.Service") return std::string(in.service);
  if (path == ".Revision.Configuration") return std::string(in.configuration);
  if (path == ".Revision.PodName") return std::string(in.pod_name);
  if (path == ".Revision.PodIP") return std::string(in.pod_ip);
  if (path == ".TraceID") return std::string();  // Knit records no spans
  return std::nullopt;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t' || s.front() == '\n')) {
    s.remove_prefix(1);
  }
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\n')) {
    s.remove_suffix(1);
  }
  return s;
}

/// `.A.B`, `js .A.B`, `index .Request.Header "Name"`.
std::optional<std::string> action(std::string_view text, const RequestLogInput& in) {
  constexpr std::string_view kIndex = "index .Request.Header ";
  if (text.starts_with("js ")) {
    auto value = action(trim(text.substr(3)), in);
    return value ? std::optional(js_escape(*value)) : std::nullopt;
  }
  if (text.starts_with('(') && text.ends_with(')')) {
    return action(trim(text.substr(1, text.size() - 2)), in);
  }
  if (text.starts_with(kIndex)) {
    const std::string_view name = trim(text.substr(kIndex.size()));
    if (name.size() < 2 || name.front() != '"' || name.back() != '"') return std::nullopt;
    const std::string_view value = in.header(name.substr(1, name.size() - 2));
    return value.data() == nullptr ? "[]" : "[" + std::string(value) + "]";  // a []string in Go
  }
  return field(text, in);
}

}  // namespace

Result<std::string> request_log_line(std::string_view text, const RequestLogInput& in) {
  std::string out;
  while (!text.empty()) {
    const auto open = text.find("{{");
    out += text.substr(0, open);
    if (open == std::string_view::npos) break;
    const auto close = text.find("}}", open);
    if (close == std::string_view::npos) {
      return Error(Code::InvalidArgument, "an action of the template does not end");
    }
    const std::string_view inside = trim(text.substr(open + 2, close - open - 2));
    auto value = action(inside, in);
    if (!value) {
      return Error(Code::InvalidArgument,
                   "{{" + std::string(inside) +
                       "}} is not supported: Knit knows the fields of Request, Response and "
                       "Revision, `js` and `index .Request.Header \"NAME\"`");
    }
    out += *value;
    text.remove_prefix(close + 2);
  }
  while (out.ends_with('\n')) out.pop_back();
  for (char& c : out) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  out += '\n';
  return out;
}

}  // namespace knit::proxy
