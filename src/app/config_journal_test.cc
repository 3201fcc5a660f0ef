#include "app/config_journal.h"

#include <unistd.h>

namespace knit::app {
namespace {
using proxy_config::Ref;
using proxy_config::Resource;
using proxy_config::Type;

TEST(ConfigJournal, ReadsBackWhatRanAndIgnoresATornTail) {
  Fd kept;
  ConfigJournal journal([&](Fd fd) { kept = std::move(fd); });
  std::map<Ref, Resource> now;
  const auto all = [&] {
    std::vector<Resource> out;
    for (const auto& [ref, r] : now) out.push_back(r);
    return out;
  };
  for (int i = 0; i < 200; ++i) {
    const Resource r{Type::Service, "ns/s" + std::to_string(i % 7), std::to_string(i), std::string(1000, 'x')};
    now[{r.type, r.name}] = r;
    journal.append({r}, {}, all);
  }
  now.erase({Type::Service, "ns/s3"});
  journal.append({}, {{Type::Service, "ns/s3"}}, all);
  ASSERT_TRUE(kept);
  auto read = ConfigJournal::read(kept.get());
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, all());
  const off_t end = ::lseek(kept.get(), 0, SEEK_END);
  EXPECT_LT(end, 200 * 1000);  // compacted on the way
  ASSERT_EQ(::pwrite(kept.get(), "\xff\x00\x00\x00xyz", 7, end), 7);
  read = ConfigJournal::read(kept.get());
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, all());
}

}  // namespace
}  // namespace knit::app
