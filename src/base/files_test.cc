#include "base/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/fd.h"

namespace knit {
namespace {

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path().string() + "/knit-files-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string at(std::string_view name) const { return dir_ + "/" + std::string(name); }
  std::string dir_;
};

TEST_F(Files, ReplacesWholeWithTheModeThatWasAsked) {
  const mode_t old = ::umask(077);
  ASSERT_TRUE(replace_file(at("a"), "one", {.mode = 0644}));
  ASSERT_TRUE(replace_file(at("a"), "two", {.mode = 0640, .durable = true}));
  ::umask(old);
  EXPECT_EQ(read_file(at("a"), 3).value(), "two");
  struct stat st{};
  ASSERT_EQ(::stat(at("a").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0640u);
  EXPECT_FALSE(std::filesystem::exists(at("a.new")));
}

TEST_F(Files, KeepsTheOldContentWhenTheNewOneCannotBeWritten) {
  std::filesystem::create_directories(at("dir/below"));
  EXPECT_FALSE(replace_file(at("dir"), "text", {}));  // a directory that is not empty has the name
  EXPECT_TRUE(std::filesystem::exists(at("dir/below")));
  EXPECT_FALSE(std::filesystem::exists(at("dir.new")));
  const auto lost = replace_file(at("none/a"), "text", {});
  ASSERT_FALSE(lost);
  EXPECT_NE(lost.error().message().find(at("none/a")), std::string::npos);
}

TEST_F(Files, AFileThatALeftoverStandsBesideIsStillReplaced) {
  ASSERT_TRUE(replace_file(at("a.new"), "half", {}));
  ASSERT_TRUE(replace_file(at("a"), "whole", {}));
  EXPECT_EQ(read_file(at("a"), 100).value(), "whole");
}

TEST_F(Files, ReadsNoMoreThanTheBound) {
  ASSERT_TRUE(replace_file(at("a"), std::string(10'000, 'x'), {}));
  EXPECT_EQ(read_file(at("a"), 10'000).value().size(), 10'000u);
  EXPECT_EQ(read_file(at("a"), 9'999).error().code(), Code::InvalidArgument);
  EXPECT_EQ(read_file(at("none"), 1).error().code(), Code::NotFound);
  const Fd fd(::open(at("a").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(read_rest(fd.get(), 9'000).size(), 9'000u);
}

TEST_F(Files, MakesDirectoriesAndSaysWhichItCannot) {
  ASSERT_TRUE(make_directories(at("x/y/z")));
  ASSERT_TRUE(make_directories(at("x/y/z")));
  ASSERT_TRUE(replace_file(at("file"), "", {}));
  const auto failed = make_directories(at("file/below"));
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message().find(at("file/below")), std::string::npos);
}

}  // namespace
}  // namespace knit
