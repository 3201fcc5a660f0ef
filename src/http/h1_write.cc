// The serializer.
#include <array>
#include <charconv>

#include "http/h1_grammar.h"

namespace knit::http::h1 {

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
