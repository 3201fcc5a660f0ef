#include "http/h1.h"

#include <gtest/gtest.h>

namespace knit::http::h1 {
namespace {

struct Outcome {
  int error = 0;  // status, or 0
  std::string log;
};

/// Feeds `in` in pieces of `step` and prints what came out.
Outcome run(Parser& parser, std::string_view in, std::size_t step) {
  Outcome out;
  while (!in.empty()) {
    std::string_view part = in.substr(0, step);
    in.remove_prefix(part.size());
    while (true) {
      const Parser::Step s = parser.next(part);
      part.remove_prefix(s.used);
      if (s.event == Parser::Event::NeedMore) {
        EXPECT_TRUE(part.empty());
        break;
      }
      if (s.event == Parser::Event::Error) {
        out.error = parser.error().status;
        return out;
      }
      if (s.event == Parser::Event::Head) {
        const Head& h = parser.head();
        out.log += h.status ? "[" + std::to_string(h.status) + " ]"
                            : "[" + std::string(h.method) + " " + std::string(h.path) + " " +
                                  std::string(h.authority) + "]";
      }
      if (s.event == Parser::Event::Data) out.log += s.data;
      if (s.event == Parser::Event::End) {
        for (const Field& f : parser.trailers()) out.log += "{" + std::string(f.name) + "}";
        out.log += ";";
      }
    }
  }
  return out;
}

constexpr std::string_view kGood = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n";

// dataplane.md 7.1: each row alone and pipelined after a valid request, whole and byte by byte.
TEST(H1Request, HostileHeads) {
  const std::string h = "Host: a\r\n";
  const std::string post = "POST / HTTP/1.1\r\n" + h;
  const std::string te = post + "Transfer-Encoding: chunked\r\n\r\n";
  std::string many_fields;
  for (int i = 0; i < 201; ++i) many_fields += "A: b\r\n";
  const struct {
    std::string name, in;
    int status;
  } rows[] = {
      {"too many fields", post + many_fields + "\r\n", 431},
      {"CL and TE", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"TE and CL", post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
      {"CL and unknown TE", post + "Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\nhello", 400},
      {"TE in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"two CL equal", post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
      {"two CL differ", post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
      {"CL list", post + "Content-Length: 5, 5\r\n\r\n", 400},
      {"CL empty", post + "Content-Length:\r\n\r\n", 400},
      {"CL empty, then good", post + "Content-Length:\r\nContent-Length: 5\r\n\r\nhello", 400},
      {"CL good, then empty", post + "Content-Length: 5\r\nContent-Length:\r\n\r\nhello", 400},
      {"CL other digits", post + "Content-Length: \xd9\xa5\r\n\r\n", 400},
      {"CL space inside", post + "Content-Length: 5 5\r\n\r\n", 400},
      {"CL trailing vertical tab", post + "Content-Length: 5\v\r\n\r\n", 400},
      {"CL plus", post + "Content-Length: +5\r\n\r\n", 400},
      {"CL minus", post + "Content-Length: -5\r\n\r\n", 400},
      {"CL hex", post + "Content-Length: 0x5\r\n\r\n", 400},
      {"CL underscore", post + "Content-Length: 5_0\r\n\r\n", 400},
      {"CL exponent", post + "Content-Length: 1e1\r\n\r\n", 400},
      {"CL vertical tab", post + "Content-Length: \v5\r\n\r\n", 400},
      {"CL 2^63", post + "Content-Length: 9223372036854775808\r\n\r\n", 400},
      {"CL 2^64+1", post + "Content-Length: 18446744073709551617\r\n\r\n", 400},
      {"CL 100 digits", post + "Content-Length: " + std::string(100, '9') + "\r\n\r\n", 400},
      {"two TE", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"chunked, chunked", post + "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
      {",chunked", post + "Transfer-Encoding: ,chunked\r\n\r\n", 400},
      {"chunked,", post + "Transfer-Encoding: chunked,\r\n\r\n", 400},
      {"identity, chunked", post + "Transfer-Encoding: identity, chunked\r\n\r\n", 400},
      {"xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n", 400},
      {"chunked;q", post + "Transfer-Encoding: chunked;q=1\r\n\r\n", 400},
      {"VT chunked", post + "Transfer-Encoding: \vchunked\r\n\r\n", 400},
      {"NUL in TE", post + std::string("Transfer-Encoding: chunked\0\r\n\r\n", 31), 400},
      {"obs-fold of a good TE", post + "Transfer-Encoding: chunked\r\n\t, x\r\n\r\n", 400},
      {"NUL in name", post + std::string("X\0: a\r\n\r\n", 9), 400},
      {"NUL in the target", std::string("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 28), 400},
      {"high byte in the target", "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"NUL in value", post + std::string("X: a\0b\r\n\r\n", 10), 400},
      {"obs-fold", post + "Transfer-Encoding:\r\n chunked\r\n\r\n", 400},
      {"space before colon", post + "Transfer-Encoding : chunked\r\n\r\n", 400},
      {"tab before colon", post + "Transfer-Encoding\t: chunked\r\n\r\n", 400},
      {"underscore TE", post + "Transfer_Encoding: chunked\r\n\r\n", 400},
      {"chunk size empty", te + "\r\n\r\n", 400},
      {"chunk 0x", te + "0x5\r\nhello\r\n0\r\n\r\n", 400},
      {"chunk plus", te + "+5\r\nhello\r\n0\r\n\r\n", 400},
      {"chunk minus", te + "-1\r\n\r\n", 400},
      {"chunk underscore", te + "5_0\r\n", 400},
      {"chunk trailing space", te + "5 \r\nhello\r\n0\r\n\r\n", 400},
      {"chunk leading space", te + " 5\r\nhello\r\n0\r\n\r\n", 400},
      {"chunk 17 digits", te + "10000000000000005\r\nhello\r\n0\r\n\r\n", 400},
      {"chunk size that overflows to 0", te + "10000000000000000\r\n\r\n", 400},
      {"chunk size past 2^62", te + "8000000000000000\r\n", 400},
      {"chunk size with CR and any byte", te + "5\rXhello\r\n0\r\n\r\n", 400},
      {"chunk data with CR and any byte", te + "5\r\nhello\rX0\r\n\r\n", 400},
      {"chunk ext bare CR", te + "5;a\rb\r\nhello\r\n", 400},
      {"chunk ext bare LF", te + "5;a\nhello\r\n0\r\n\r\n", 400},
      {"chunk ext quoted CRLF", te + "5;a=\"\r\n\"\r\nhello\r\n", 400},
      {"chunk ext long", te + "5;" + std::string(100'000, 'a') + "\r\nhello\r\n", 400},
      {"chunk LF only", te + "5\nhello\n0\n\n", 400},
      {"chunk data without CRLF", te + "5\r\nhelloXX0\r\n\r\n", 400},
      {"extra CRLF between chunks", te + "5\r\nhello\r\n\r\n0\r\n\r\n", 400},
      {"trailer CL", te + "0\r\nContent-Length: 5\r\n\r\n", 400},
      {"trailer Host", te + "0\r\nHost: b\r\n\r\n", 400},
      {"trailer TE", te + "0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"trailer Authorization", te + "0\r\nAuthorization: x\r\n\r\n", 400},
      {"trailer obs-fold", te + "0\r\nA: b\r\n c\r\n\r\n", 400},
      {"trailer bare LF", te + "0\r\nA: b\n\r\n", 400},
      {"trailers too many", te + "0\r\n" + many_fields + "\r\n", 431},
      {"trailers too big", te + "0\r\nA: " + std::string(20'000, 'a') + "\r\n\r\n", 400},
      {"bare LF", "GET / HTTP/1.1\nHost: a\n\n", 400},
      {"bare CR in value", post + "X: a\rb\r\n\r\n", 400},
      {"CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400},
      {"CR and any byte at the end of the head", "GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n", 400},
      {"nel in name", post + "X\x85: a\r\n\r\n", 400},
      {"high byte in name", post + "X\x80: a\r\n\r\n", 400},
      {"nbsp in name", post + "X\xa0: a\r\n\r\n", 400},
      {"no colon", post + "Xyz\r\n\r\n", 400},
      {"empty name", post + ": a\r\n\r\n", 400},
      {"space before first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
      {"whitespace-only line", post + " \r\n\r\n", 400},
      {"three empty lines", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"method with a colon", "GET: / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"high byte in the method", "G\x80T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
      {"1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
      {"2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
      {"0.9 simple", "GET /\r\n\r\n", 400},
      {"version trailing space", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
      {"tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"double space", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
      {"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
      {"Host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"Host with userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
      {"Host with comma", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400},
      {"asterisk with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"authority form with GET", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"ftp", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"expectation", post + "Expect: 200-ok\r\n\r\n", 400},
      {"URI", "GET /" + std::string(17'000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
      {"URI without end", "GET /" + std::string(70'000, 'a'), 414},
      {"big head", post + "X: " + std::string(66'000, 'a') + "\r\n\r\n", 431},
      {"TLS on a plaintext port", std::string("\x16\x03\x01\x02\x00\x01", 6), 400},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    for (const std::size_t step : {std::size_t{1} << 20, std::size_t{1}}) {
      Parser alone(Parser::Kind::Request);
      EXPECT_EQ(run(alone, row.in, step).error, row.status);
      Parser second(Parser::Kind::Request);
      const Outcome o = run(second, std::string(kGood) + row.in, step);
      EXPECT_EQ(o.error, row.status);
      EXPECT_TRUE(second.next(kGood).event == Parser::Event::Error) << "stays failed";
    }
  }
}

TEST(H1Request, Legal) {
  const struct {
    const char* name;
    std::string in, log;
  } rows[] = {
      {"two pipelined", std::string(kGood) + std::string(kGood), "[GET /good a];[GET /good a];"},
      {"absolute form wins", "GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "[GET /x?y b:81];"},
      {"one empty line first", "\r\n" + std::string(kGood), "[GET /good a];"},
      {"leading zeros", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc",
       "[PUT / a]abc;"},
      {"case of Chunked",
       "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n00\r\nX: "
       "y\r\n\r\n",
       "[PUT / a]abc{X};"},
      {"GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
       "[GET / a]hi;"},
      {"methods are passed as they are, not by prefix",
       "BREW / HTTP/1.1\r\nHost: a\r\n\r\nget / HTTP/1.1\r\nHost: a\r\n\r\nGETX / "
       "HTTP/1.1\r\nHost: a\r\n\r\nPLAY / HTTP/1.1\r\nHost: a\r\n\r\n",
       "[BREW / a];[get / a];[GETX / a];[PLAY / a];"},
      {"CL between spaces", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \t 3 \r\n\r\nabc",
       "[PUT / a]abc;"},
      {"bodies of other methods",
       "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiDELETE / HTTP/1.1\r\nHost: "
       "a\r\nContent-Length: 2\r\n\r\nhiOPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: "
       "2\r\n\r\nhi",
       "[HEAD / a]hi;[DELETE / a]hi;[OPTIONS * a]hi;"},
      {"CONNECT", "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", "[CONNECT  b:443];"},
      {"obs-text", "GET / HTTP/1.1\r\nHost: a\r\nX: \xa0\x85\r\n\r\n", "[GET / a];"},
      {"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "[GET / ];"},
      {"v6 host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "[GET / [::1]:80];"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    for (const std::size_t step : {std::size_t{1} << 20, std::size_t{1}}) {
      Parser p(Parser::Kind::Request);
      const Outcome o = run(p, row.in, step);
      EXPECT_EQ(o.error, 0) << p.error().text;
      EXPECT_TRUE(p.idle());
      EXPECT_EQ(o.log, row.log);
    }
  }
}

TEST(H1Response, FramingFollowsTheRequest) {
  const struct {
    const char* name;
    const char* method;
    std::string in, log;
    int error;
    Parser::Event at_close;
  } rows[] = {
      {"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "[200 ]hi;", 0,
       Parser::Event::NeedMore},
      {"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "[200 ];", 0,
       Parser::Event::NeedMore},
      {"204", "GET", "HTTP/1.1 204\r\nContent-Length: 2\r\n\r\n", "[204 ];", 0,
       Parser::Event::NeedMore},
      {"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "[304 ];", 0,
       Parser::Event::NeedMore},
      {"205", "GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "[205 ];", 0,
       Parser::Event::NeedMore},
      {"several interim", "GET",
       "HTTP/1.1 103 a\r\n\r\nHTTP/1.1 103 b\r\n\r\nHTTP/1.1 204 c\r\n\r\n",
       "[103 ];[103 ];[204 ];", 0, Parser::Event::NeedMore},
      {"chunks cut short", "GET",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "[200 ]hi", 0,
       Parser::Event::Error},
      {"last chunk without its end", "GET",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "[200 ]", 0,
       Parser::Event::Error},
      {"until close", "GET", "HTTP/1.0 200 OK\r\n\r\nhi", "[200 ]hi", 0, Parser::Event::End},
      {"cut short", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "[200 ]hi", 0,
       Parser::Event::Error},
      {"interim", "GET",
       "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
       "[100 ];[200 ];", 0, Parser::Event::NeedMore},
      {"CL and TE", "GET",
       "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "", 502,
       Parser::Event::Error},
      {"bare CR in value", "GET", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n", "", 400,
       Parser::Event::Error},
      {"no status", "GET", "HTTP/1.1 OK\r\n\r\n", "", 502, Parser::Event::Error},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    for (const std::size_t step : {std::size_t{1} << 20, std::size_t{1}}) {
      Parser p(Parser::Kind::Response);
      p.expect_response_to(row.method);
      const Outcome o = run(p, row.in, step);
      EXPECT_EQ(o.error, row.error);
      if (row.error == 0) EXPECT_EQ(o.log, row.log);
      EXPECT_EQ(p.finish().event, row.at_close);
    }
  }
}

TEST(H1Serializer, LeavesOutWhatWouldSplit) {
  std::string out;
  write_status_line(out, 200);
  write_field(out, "X-Good", "1");
  write_field(out, "X-Bad", "a\r\nSet-Cookie: b");
  write_field(out, "Content-Length", std::uint64_t{12});
  write_end_of_head(out);
  EXPECT_EQ(out, "HTTP/1.1 200 OK\r\nX-Good: 1\r\nContent-Length: 12\r\n\r\n");
  out.clear();
  write_chunk(out, "hello world, hello");
  write_chunk(out, "");
  write_last_chunk(out, {{"X", "y"}});
  EXPECT_EQ(out, "12\r\nhello world, hello\r\n0\r\nX: y\r\n\r\n");
}

TEST(H1Head, ValuesAreTrimmedOfBlanksOnly) {
  Parser p(Parser::Kind::Request);
  p.next("GET / HTTP/1.1\r\nHost: a\r\nX: \t \xa0\x85 b \x85\xa0 \t\r\n\r\n");
  ASSERT_NE(p.head().find("x"), nullptr);
  EXPECT_EQ(*p.head().find("x"), "\xa0\x85 b \x85\xa0");
}

TEST(H1Head, ConnectionAndUpgrade) {
  Parser p(Parser::Kind::Request);
  p.next(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n");
  EXPECT_EQ(p.head().upgrade, "websocket");
  EXPECT_TRUE(p.head().keep_alive);
  Parser old(Parser::Kind::Request);
  old.next("GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n");
  EXPECT_EQ(old.head().upgrade, "");
  EXPECT_FALSE(old.head().keep_alive);
}

}  // namespace
}  // namespace knit::http::h1
