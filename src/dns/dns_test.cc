#include <gtest/gtest.h>

#include "dns/answer.h"

namespace knit::dns {
namespace {

class FakeNames final : public Names {
 public:
  std::optional<ServiceNames> service(std::string_view ns, std::string_view name) const override {
    ServiceNames s;
    if (ns != "default") return std::nullopt;
    if (name == "kubernetes") {
      s.ips = {"172.30.0.1"};
      s.ports = {{"https", "tcp", 443}};
      return s;
    }
    if (name == "hello") {
      s.external_name = "kubernetes.default.svc.cluster.local";
      return s;
    }
    if (name == "out") {
      s.external_name = "www.example.com";
      return s;
    }
    if (name == "loop") {
      s.external_name = "loop.default.svc.cluster.local";
      return s;
    }
    if (name == "peers" || name == "nobody") {
      s.headless = true;
      if (name == "peers") s.ips = {"10.128.0.5", "10.128.0.6"};
      s.ports = {{"http", "tcp", 8080}};
      return s;
    }
    return std::nullopt;
  }
  bool has_namespace(std::string_view ns) const override { return ns == "default"; }
  bool has_pod(std::string_view ns, std::string_view ip) const override {
    return ns == "default" && ip == "10.128.0.5";
  }
  std::string name_of(std::string_view ip) const override {
    return ip == "172.30.0.1" ? "kubernetes.default.svc.cluster.local" : "";
  }
};

std::string query(std::string_view name, RecordType type, bool edns = false) {
  std::string q("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00", 11);
  q += edns ? '\1' : '\0';
  q += encode_name(name);
  q += '\0';
  q += static_cast<char>(type);
  q += std::string("\0\1", 2);
  if (edns) q += std::string("\0\0\x29\x10\0\0\0\0\0\0\0", 11);
  return q;
}
struct Got {
  int rcode, answers;
  bool truncated;
};
Got ask(std::string_view name, RecordType type, std::size_t limit = 512) {
  const std::string r = answer(query(name, type), FakeNames{}, {}, limit);
  EXPECT_GE(r.size(), 12U);
  EXPECT_EQ(r.substr(0, 2), "\x12\x34");
  return {r[3] & 0xf, r[7], (r[2] & 2) != 0};
}

TEST(Dns, Table) {
  const struct {
    const char* name;
    RecordType type;
    int rcode, answers;
  } rows[] = {
      {"kubernetes.default.svc.cluster.local", RecordType::A, 0, 1},
      {"KUBERNETES.Default.svc.cluster.local", RecordType::A, 0, 1},
      {"kubernetes.default.svc.cluster.local", RecordType::Aaaa, 0, 0},  // no data, no NXDOMAIN
      {"kubernetes.default.svc.cluster.local", RecordType::Srv, 0, 1},
      {"_https._tcp.kubernetes.default.svc.cluster.local", RecordType::Srv, 0, 1},
      {"_http._tcp.kubernetes.default.svc.cluster.local", RecordType::Srv, 3, 0},
      {"hello.default.svc.cluster.local", RecordType::A, 0, 2},  // CNAME, chased
      {"hello.default.svc.cluster.local", RecordType::Cname, 0, 1},
      {"out.default.svc.cluster.local", RecordType::A, 0, 1},
      {"loop.default.svc.cluster.local", RecordType::A, 0, 9},
      {"peers.default.svc.cluster.local", RecordType::A, 0, 2},
      {"10-128-0-6.peers.default.svc.cluster.local", RecordType::A, 0, 1},
      {"_http._tcp.peers.default.svc.cluster.local", RecordType::Srv, 0, 2},
      {"nobody.default.svc.cluster.local", RecordType::A, 3, 0},
      {"10-128-0-5.default.pod.cluster.local", RecordType::A, 0, 1},
      {"10-128-0-9.default.pod.cluster.local", RecordType::A, 3, 0},
      {"1.0.30.172.in-addr.arpa", RecordType::Ptr, 0, 1},
      {"9.0.30.172.in-addr.arpa", RecordType::Ptr, 5, 0},
      {"www.example.com.default.svc.cluster.local", RecordType::A, 3, 0},  // a search path
      {"www.example.com.svc.cluster.local", RecordType::A, 3, 0},
      {"www.example.com.cluster.local", RecordType::A, 3, 0},
      {"www.example.com", RecordType::A, 5, 0},
      {"default.svc.cluster.local", RecordType::A, 0, 0},
      {"other.svc.cluster.local", RecordType::A, 3, 0},
      {"notcluster.local", RecordType::A, 5, 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Got g = ask(row.name, row.type);
    EXPECT_EQ(g.rcode, row.rcode);
    EXPECT_EQ(g.answers, row.answers);
    EXPECT_FALSE(g.truncated);
  }
}

TEST(Dns, TruncatesAndSpeaksEdns) {
  const Got g = ask("loop.default.svc.cluster.local", RecordType::A, 100);
  EXPECT_TRUE(g.truncated);
  const std::string r = answer(query("kubernetes.default.svc.cluster.local", RecordType::A, true),
                               FakeNames{}, {}, 4096);
  EXPECT_EQ(r[11], 1);  // OPT
}

TEST(Dns, Hostile) {
  EXPECT_EQ(answer("short", FakeNames{}, {}, 512), "");
  std::string response = query("a", RecordType::A);
  response[2] = static_cast<char>(0x81);
  EXPECT_EQ(answer(response, FakeNames{}, {}, 512), "") << "a response is never answered";
  std::string two = query("a", RecordType::A);
  two[5] = 2;
  EXPECT_EQ(answer(two, FakeNames{}, {}, 512)[3] & 0xf, 1);
  std::string dotted = query("ab", RecordType::A);
  dotted[13] = '.';
  EXPECT_EQ(answer(dotted, FakeNames{}, {}, 512)[3] & 0xf, 1);
  std::string pointer = query("a", RecordType::A);
  pointer[12] = static_cast<char>(0xc0);
  EXPECT_EQ(answer(pointer, FakeNames{}, {}, 512)[3] & 0xf, 1);
}

}  // namespace
}  // namespace knit::dns
