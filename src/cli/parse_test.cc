#include <gtest/gtest.h>

#include "cli/command.h"

namespace knit::cli {
namespace {

struct ParseTest : testing::Test {
  int run(std::vector<const char*> words) {
    words.insert(words.begin(), "knit");
    testing::internal::CaptureStderr();
    const int status =
        run_command_line(static_cast<int>(words.size()), words.data(), environment, commands);
    error = testing::internal::GetCapturedStderr();
    return status;
  }
  std::map<std::string, std::string> environment;
  std::vector<Command> commands = {
      {.name = "up",
       .help = "start",
       .flags = {{"foreground", "stay"}, {"name", "a name", Flag::Kind::Value, "joe"}},
       .settings = {"*"},
       .run = [this](const Invocation& in) { return note("up", in); }},
      {.name = "cert issue",
       .help = "issue",
       .arguments = {{"file", "where"}, {"more", "others", false, true}},
       .flags = {{"sa", "account", Flag::Kind::Value, "", true}},
       .run = [this](const Invocation& in) { return note("cert issue", in); }},
      {.name = "node", .help = "", .hidden = true, .run = [](const Invocation&) { return 7; }},
  };
  int note(std::string name, const Invocation& in) {
    ran = std::move(name);
    got = in;
    return 0;
  }
  std::string ran, error;
  Invocation got;
};

TEST_F(ParseTest, RunsTheCommandWithItsFlagsAndSettings) {
  EXPECT_EQ(run({"up", "--foreground", "--data", "/x", "--api-port=7000"}), 0) << error;
  EXPECT_EQ(ran, "up");
  EXPECT_TRUE(got.has("foreground"));
  EXPECT_EQ(got.text("name"), "joe");
  EXPECT_EQ(got.sources.flags,
            (std::map<std::string, std::string>{{"data", "/x"}, {"api-port", "7000"}}));
  EXPECT_EQ(settings_of(got)->api_port, 7000);
  EXPECT_EQ(run({"up"}), 0);
  EXPECT_FALSE(got.has("foreground"));
  EXPECT_TRUE(got.sources.flags.empty());
}

TEST_F(ParseTest, NestsCommandsAndArguments) {
  EXPECT_EQ(run({"cert", "issue", "--sa", "default/web", "a", "b", "c"}), 0) << error;
  EXPECT_EQ(got.text("sa"), "default/web");
  EXPECT_EQ(got.text("file"), "a");
  EXPECT_EQ(got.values["more"], (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(run({"cert", "issue", "a"}), 64);
  EXPECT_NE(error.find("--sa"), std::string::npos) << error;
  EXPECT_EQ(run({"cert"}), 64);
  EXPECT_EQ(run({"node"}), 7);
}

TEST_F(ParseTest, SuggestsWhatWasMeant) {
  EXPECT_EQ(run({"upp"}), 64);
  EXPECT_NE(error.find("unknown command upp, did you mean up?"), std::string::npos) << error;
  EXPECT_EQ(run({"up", "--api-prot", "1"}), 64);
  EXPECT_NE(error.find("unknown argument --api-prot, did you mean --api-port?"), std::string::npos)
      << error;
}

TEST_F(ParseTest, ANamedConfigFileMustExist) {
  EXPECT_EQ(run({"up", "--config", "/nonexistent/knit.conf"}), 0);
  const auto s = settings_of(got);
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().message(), "config file /nonexistent/knit.conf cannot be read");
}

}  // namespace
}  // namespace knit::cli
