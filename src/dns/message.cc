#include "dns/message.h"

#include <arpa/inet.h>

#include <array>

namespace knit::dns {
namespace {

std::uint16_t u16(std::string_view in, std::size_t at) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(in[at]) << 8 |
                                    static_cast<unsigned char>(in[at + 1]));
}
void put16(std::string& out, unsigned v) {
  out += static_cast<char>(v >> 8 & 0xff);
  out += static_cast<char>(v & 0xff);
}
void put32(std::string& out, std::uint32_t v) {
  put16(out, v >> 16);
  put16(out, v & 0xffff);
}

}  // namespace

Result<Query> parse_query(std::string_view in) {
  const Error bad(Code::InvalidArgument, "malformed DNS query");
  if (in.size() < 12 || in.size() > 4096) return bad;
  Query q;
  q.id = u16(in, 0);
  const std::uint16_t flags = u16(in, 2);
  if (flags & 0x8000) return bad;  // a response
  q.opcode = static_cast<std::uint8_t>(flags >> 11 & 0xf);
  q.recursion_desired = (flags & 0x0100) != 0;
  if (u16(in, 4) != 1 || u16(in, 6) != 0 || u16(in, 8) != 0) return bad;
  const unsigned additional = u16(in, 10);
  std::size_t at = 12;
  while (true) {
    if (at >= in.size()) return bad;
    const std::size_t n = static_cast<unsigned char>(in[at]);
    if (n > 63) return bad;  // a question has nothing to point back to
    ++at;
    if (n == 0) break;
    if (at + n > in.size() || q.name.size() + n + 1 > 254) return bad;
    if (!q.name.empty()) q.name += '.';
    for (const char c : in.substr(at, n)) {
      if (c == '.' || c == '\0') return bad;  // would look like another name
      q.name += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
    at += n;
  }
  if (at + 4 > in.size()) return bad;
  q.type = u16(in, at);
  q.klass = u16(in, at + 2);
  at += 4;
  q.question = in.substr(12, at - 12);
  if (additional > 2) return bad;
  for (unsigned i = 0; i < additional; ++i) {
    if (at >= in.size()) return bad;
    if (in[at] != 0) return bad;  // only the root name of OPT
    ++at;
    if (at + 10 > in.size()) return bad;
    const std::uint16_t type = u16(in, at);
    const std::uint16_t size = u16(in, at + 2);
    const std::size_t length = u16(in, at + 8);
    at += 10;
    if (at + length > in.size()) return bad;
    at += length;
    if (type == static_cast<std::uint16_t>(RecordType::Opt)) {
      q.edns = true;
      q.udp_size = std::max<std::uint16_t>(512, std::min<std::uint16_t>(size, 1232));
    }
  }
  return q;
}

std::string encode_name(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const auto dot = name.find('.');
    const std::string_view label = name.substr(0, dot);
    if (label.empty() || label.size() > 63 || out.size() + label.size() > 253) return {};
    out += static_cast<char>(label.size());
    out += label;
    if (dot == std::string_view::npos) break;
    name.remove_prefix(dot + 1);
  }
  out += '\0';
  return out;
}

std::string encode_ip(std::string_view ip) {
  const std::string s(ip);
  std::array<char, 16> raw{};
  if (inet_pton(AF_INET, s.c_str(), raw.data()) == 1) return {raw.data(), 4};
  if (inet_pton(AF_INET6, s.c_str(), raw.data()) == 1) return {raw.data(), 16};
  return {};
}

std::string encode_response(const Query& q, Rcode code, bool authoritative,
                            const std::vector<Record>& answers,
                            const std::vector<Record>& authority, std::size_t limit) {
  std::string body;
  unsigned counts[2] = {0, 0};
  bool truncated = false;
  const std::size_t fixed = 12 + q.question.size() + (q.edns ? 11 : 0);
  const std::vector<Record>* const lists[2] = {&answers, &authority};
  for (int i = 0; i < 2 && !truncated; ++i) {
    for (const Record& r : *lists[i]) {
      std::string one;
      if (r.name == q.name) {
        put16(one, 0xc00c);
      } else {
        const std::string name = encode_name(r.name);
        if (name.empty()) continue;
        one += name;
      }
      put16(one, static_cast<unsigned>(r.type));
      put16(one, 1);
      put32(one, r.ttl);
      put16(one, static_cast<unsigned>(r.data.size()));
      one += r.data;
      if (fixed + body.size() + one.size() > limit) {
        truncated = true;
        break;
      }
      body += one;
      ++counts[i];
    }
  }
  std::string out;
  put16(out, q.id);
  put16(out, 0x8000U | static_cast<unsigned>(q.opcode) << 11 | (authoritative ? 0x0400U : 0) |
                 (truncated ? 0x0200U : 0) | (q.recursion_desired ? 0x0100U : 0) | 0x0080U |
                 static_cast<unsigned>(code));
  put16(out, q.question.empty() ? 0 : 1);
  put16(out, counts[0]);
  put16(out, counts[1]);
  put16(out, q.edns ? 1 : 0);
  out += q.question;
  out += body;
  if (q.edns) {
    out += '\0';
    put16(out, static_cast<unsigned>(RecordType::Opt));
    put16(out, 1232);
    put32(out, 0);
    put16(out, 0);
  }
  return out;
}

std::string format_error(std::string_view in) {
  if (in.size() < 12 || (u16(in, 2) & 0x8000) != 0) return {};
  Query q;
  q.id = u16(in, 0);
  q.opcode = static_cast<std::uint8_t>(u16(in, 2) >> 11 & 0xf);
  return encode_response(q, Rcode::FormErr, false, {}, {}, 512);
}

}  // namespace knit::dns
