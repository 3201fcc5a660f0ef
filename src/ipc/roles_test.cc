#include "ipc/roles.h"

#include <gtest/gtest.h>

namespace knit::ipc {
namespace {

TEST(Roles, WordsMakeNoPaths) {
  for (const auto* good : {"a", "6f3c-41", "mt-broker-ingress", "A9"}) {
    EXPECT_TRUE(role_word(good)) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string(".."), std::string("a/b"), std::string("a.b"), std::string("-a"),
        std::string("a-"), std::string("a:b"), std::string(64, 'a'), std::string("a\0b", 3)}) {
    EXPECT_FALSE(role_word(bad)) << bad;
  }
}

TEST(Roles, PurposesRoundTrip) {
  for (const RolePurpose& p : {RolePurpose{true, "u-1", "mt-broker-ingress"},
                               RolePurpose{false, "u-2", "imc-dispatcher"}}) {
    const auto back = parse_role_purpose(to_string(p));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->ingress, p.ingress);
    EXPECT_EQ(back->uid, p.uid);
    EXPECT_EQ(back->name, p.name);
  }
  for (const auto* bad : {"router-https", "role-ingress:", "role-ingress:u", "role-egress:u/x:n",
                          "role-egress:u:", "role-egress::n", "role-egress:u:n:m"}) {
    EXPECT_FALSE(parse_role_purpose(bad)) << bad;
  }
}

TEST(Roles, OpeningsComeByteByByte) {
  RoleCall call;
  call.port = 8080;
  call.hops = {"spiffe://cluster.local/ns/default/sa/default"};
  const std::string frame = opening(call);
  for (std::size_t n = 0; n < frame.size(); ++n) {
    const auto size = opening_size(std::string_view(frame).substr(0, n));
    ASSERT_TRUE(size);
    EXPECT_FALSE(*size) << n;
  }
  const auto size = opening_size(frame + "GET / HTTP/1.1");
  ASSERT_TRUE(size);
  ASSERT_EQ(*size, frame.size()) << "what follows is not part of it";
  const auto back = read_opening<RoleCall>(frame);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->port, 8080);
  EXPECT_EQ(back->hops, call.hops);
  EXPECT_FALSE(back->probe);
}

TEST(Roles, AnOpeningIsBounded) {
  EXPECT_TRUE(opening_size(std::string("\x00\x10\x00\x00", 4)));
  EXPECT_FALSE(opening_size(std::string("\x01\x10\x00\x00", 4)));
  EXPECT_FALSE(opening_size("GET / HTTP/1.1\r\n")) << "somebody who speaks HTTP at once";
  EXPECT_FALSE(read_opening<RoleDial>(opening_text("\xff\xff\xff")));
}

}  // namespace
}  // namespace knit::ipc
