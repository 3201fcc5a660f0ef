#include "base/codec.h"

namespace knit {
namespace {

struct Inner {
  std::string name;
  std::int64_t n = 0;
  bool operator==(const Inner&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.name);
    v(2, s.n);
  }
};
enum class Mode { A, B };
struct Outer {
  std::vector<Inner> list;
  std::map<std::string, std::string> labels;
  std::optional<bool> flag;
  Mode mode = Mode::A;
  double d = 0;
  Duration wait{};
  std::vector<std::uint16_t> ports;
  bool operator==(const Outer&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.list);
    v(2, s.labels);
    v(3, s.flag);
    v(4, s.mode);
    v(5, s.d);
    v(6, s.wait);
    v(7, s.ports);
  }
};

TEST(Codec, RoundTripsAndSkipsUnknownFields) {
  const Outer in{{{"a", -5}, {"", 0}}, {{"k", "v"}}, false, Mode::B, 1.5, Duration(-7), {0, 80}};
  std::string bytes = codec::encode(in);
  codec::put_varint(bytes, (99 << 3) | 2);
  codec::put_varint(bytes, 3);
  bytes += "xyz";
  const auto out = codec::decode<Outer>(bytes);
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, in);
}

struct WithDefaults {
  bool on = true;
  std::uint32_t weight = 100;
  std::string domain = "cluster.local";
  bool operator==(const WithDefaults&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.on);
    v(2, s.weight);
    v(3, s.domain);
  }
};

TEST(Codec, ZeroSurvivesWhereTheDefaultIsAnother) {
  const WithDefaults in{false, 0, ""};
  const auto out = codec::decode<WithDefaults>(codec::encode(in));
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, in);
  EXPECT_EQ(*codec::decode<WithDefaults>(""), WithDefaults{});
}

TEST(Codec, EveryTruncationIsAnErrorOrAPrefix) {
  const Outer in{{{"abc", 1}}, {{"k", "v"}}, true, Mode::B, 2.5, Duration(9), {1, 2, 3}};
  const std::string bytes = codec::encode(in);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    (void)codec::decode<Outer>(std::string_view(bytes).substr(0, n)).has_value();
  }
  EXPECT_FALSE(codec::decode<Outer>("\x0a\x7f"));
  EXPECT_FALSE(codec::decode<Outer>("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
}

}  // namespace
}  // namespace knit
