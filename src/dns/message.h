// DNS wire format (RFC 1035), bounded: one question in, answers out. No I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knit::dns {

enum class RecordType : std::uint16_t {
  A = 1,
  Ns = 2,
  Cname = 5,
  Soa = 6,
  Ptr = 12,
  Txt = 16,
  Aaaa = 28,
  Srv = 33,
  Opt = 41,
  Any = 255,
};
enum class Rcode : std::uint8_t {
  NoError = 0,
  FormErr = 1,
  ServFail = 2,
  NxDomain = 3,
  NotImp = 4,
  Refused = 5,
};

struct Query {
  std::uint16_t id = 0;
  bool recursion_desired = false;
  std::uint8_t opcode = 0;
  std::string name;      // lower case, no trailing dot, as asked
  std::string question;  // the question's bytes as sent (keeps the letters' case)
  std::uint16_t type = 0, klass = 0;
  bool edns = false;
  std::uint16_t udp_size = 512;
};
/// Errors: InvalidArgument (answer FORMERR if at least 12 bytes came and it is no response).
Result<Query> parse_query(std::string_view in);

struct Record {
  std::string name;
  RecordType type = RecordType::A;
  std::uint32_t ttl = 5;
  std::string data;  // rdata; names inside are encoded uncompressed
};
/// "a.b." → labels. Empty if a label is too long.
std::string encode_name(std::string_view name);
/// 4 or 16 bytes; empty if `ip` is no address.
std::string encode_ip(std::string_view ip);

/// Cut (TC) so that it fits `limit`.
std::string encode_response(const Query& q, Rcode code, bool authoritative,
                            const std::vector<Record>& answers,
                            const std::vector<Record>& authority, std::size_t limit);
/// For what parse_query() refused: FORMERR with the id, or empty (say nothing).
std::string format_error(std::string_view in);

}  // namespace knit::dns
