#include "cli/settings.h"

#include <gtest/gtest.h>

namespace knit::cli {
namespace {

TEST(Settings, FlagsBeatEnvironmentBeatConfigBeatDefault) {
  Sources from{.flags = {{"node-name", "flag"}},
               .environment = {{"KNIT_NODE_NAME", "env"}, {"KNIT_API_PORT", "7443"}, {"PATH", "/"}},
               .config =
                   "# comment\nnode-name: file\napi-port: 8443\n"
                   "apps-domain: \"apps.example.com\"\r\n\n",
               .config_path = "knit.conf"};
  const auto s = resolve(from);
  ASSERT_TRUE(s) << s.error().message();
  EXPECT_EQ(s->node_name, "flag");
  EXPECT_EQ(s->api_port, 7443);
  EXPECT_EQ(s->api_port_asked, 7443);
  EXPECT_EQ(s->apps_domain, "apps.example.com");
  EXPECT_EQ(s->pod_cidr, "10.128.0.0/20");
}

TEST(Settings, RefusalsNameTheSettingThePlaceAndTheFix) {
  const struct {
    Sources from;
    const char* message;
  } rows[] = {
      {{.flags = {{"api-prot", "1"}}}, "unknown flag --api-prot, did you mean \"api-port\"?"},
      {{.environment = {{"KNIT_APPS_DOMIAN", "x"}}},
       "environment: unknown setting KNIT_APPS_DOMIAN, did you mean KNIT_APPS_DOMAIN?"},
      {{.config = "\nnode_name: x", .config_path = "f"},
       "f:2: unknown setting \"node_name\", did you mean \"node-name\"?"},
      {{.config = "zzzzzzzzzzzzzzz: x", .config_path = "f"},
       "f:1: unknown setting \"zzzzzzzzzzzzzzz\""},
      {{.config = "data", .config_path = "f"}, "f:1: a line is `key: value`"},
      {{.flags = {{"api-port", "0"}}},
       "flag --api-port: api-port is \"0\", must be a number in 1..65535"},
      {{.flags = {{"api-port", "65536"}}},
       "flag --api-port: api-port is \"65536\", must be a number in 1..65535"},
      {{.flags = {{"api-port", "+80"}}},
       "flag --api-port: api-port is \"+80\", must be a number in 1..65535"},
      {{.flags = {{"compatibility", "both"}}},
       "flag --compatibility: compatibility is \"both\", must be one of knit, upstream"},
      {{.flags = {{"data", "relative"}}},
       "data is \"relative\", must be an absolute path of a directory of its own, at most 80 "
       "characters"},
      {{.flags = {{"pod-cidr", "172.30.128.0/20"}}}, "pod-cidr and service-cidr overlap"},
      {{.flags = {{"pod-cidr", "10.0.0.0/33"}}},
       "pod-cidr: \"10.0.0.0/33\" has no valid prefix length"},
      {{.flags = {{"pod-cidr6", "10.0.0.0/16"}}},
       "pod-cidr6 \"10.0.0.0/16\" must be IPv6 with a prefix of 32..120 bits"},
      {{.flags = {{"dns-ip", "10.0.0.10"}}},
       "dns-ip \"10.0.0.10\" is no address inside service-cidr 172.30.0.0/16"},
      {{.flags = {{"apps-domain", "Apps.example"}}}, "apps-domain \"Apps.example\" is no DNS name"},
      {{.flags = {{"node-port-first", "40000"}}}, "node-port-first is greater than node-port-last"},
  };
  for (const auto& row : rows) {
    const auto s = resolve(row.from);
    ASSERT_FALSE(s) << row.message;
    EXPECT_EQ(s.error().message(), row.message);
  }
}

TEST(Settings, EveryRowSetsPrintsAndTravels) {
  for (const Setting& row : setting_table()) {
    Settings s;
    const std::string before = value_text(s, row);
    if (const auto* text = std::get_if<std::string Settings::*>(&row.field)) {
      s.** text = "changed";
    } else {
      s.*std::get<std::uint16_t Settings::*>(row.field) = 4711;
    }
    const auto back = codec::decode<Settings>(codec::encode(s));
    ASSERT_TRUE(back);
    EXPECT_EQ(value_text(*back, row), value_text(s, row)) << row.name;
    EXPECT_NE(value_text(*back, row), before) << row.name;
    EXPECT_NE(row.help, nullptr);
  }
}

TEST(Settings, Overlap) {
  const auto over = [](const char* a, const char* b) {
    return overlap(*parse_cidr(a), *parse_cidr(b));
  };
  EXPECT_TRUE(over("10.128.0.0/20", "10.0.0.0/8"));
  EXPECT_TRUE(over("10.128.15.255", "10.128.0.0/20"));
  EXPECT_FALSE(over("10.128.16.0/20", "10.128.0.0/20"));
  EXPECT_TRUE(over("0.0.0.0/0", "10.128.0.0/20"));
  EXPECT_FALSE(over("::/0", "10.128.0.0/20"));
}

}  // namespace
}  // namespace knit::cli
