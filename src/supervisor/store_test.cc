#include "supervisor/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace knit::supervisor {
namespace {
using ipc::Process;

Fd null() { return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

TEST(Store, OwnerTable) {
  const struct {
    std::string key;
    Process owner;
  } rows[] = {
      {"node/x", Process::Node},
      {"server/x/y", Process::Server},
      {"proxy/config", Process::Proxy},
      {"events/log", Process::Events},
      {"pod/u/netns", Process::Node},
      {"pod/u/", Process::None},
      {"pod//netns", Process::None},
      {"pod/u", Process::None},
      {"host/link", Process::Node},
      {"host/", Process::None},
      {"listener/https", Process::None},
      {"supervisor/x", Process::None},
      {"", Process::None},
      {"node", Process::None},
      {"node/a b", Process::None},
      {"node/a\nb", Process::None},
      {"none/x", Process::None},
      {"node/" + std::string(124, 'x'), Process::None},
      {"node/" + std::string(123, 'x'), Process::Node},
  };
  for (const auto& row : rows) EXPECT_EQ(Store::owner(row.key), row.owner) << row.key;
}

TEST(Store, KeepsToPrefixesAndBounds) {
  Store store(16);
  EXPECT_EQ(store.put(Process::Proxy, "node/x", null()), "key is not under your prefix");
  EXPECT_EQ(store.put(Process::None, "", null()), "key is not under your prefix");
  EXPECT_EQ(store.put(Process::Proxy, "proxy/a", null()), "");
  EXPECT_EQ(store.put(Process::Proxy, "proxy/b", null()), "");
  EXPECT_EQ(store.put(Process::Proxy, "proxy/c", null()), "too many descriptors are kept");
  EXPECT_EQ(store.put(Process::Proxy, "proxy/b", null()), "") << "replacing is no growth";
  EXPECT_EQ(store.drop(Process::Proxy, "proxy/a"), "");
  EXPECT_EQ(store.drop(Process::Proxy, "proxy/a"), "") << "idempotent";
  EXPECT_EQ(store.put(Process::Proxy, "proxy/c", null()), "");
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(store.put(Process::Node, "pod/u/" + std::to_string(i), null()), "");
  }
  EXPECT_EQ(store.put(Process::Node, "pod/u/8", null()), "a pod keeps 8 descriptors at most");
  EXPECT_EQ(store.put(Process::Node, "pod/v/0", null()), "");
  EXPECT_EQ(store.drop(Process::Node, "proxy/c"), "key is not under your prefix");
}

TEST(Store, HandsBackInBatches) {
  Store store(1'000);
  for (int i = 0; i < 5; ++i) store.put(Process::Node, "node/" + std::to_string(i), null());
  store.put(Process::Proxy, "proxy/x", null());
  auto [keys, fds] = store.next(Process::Node, "", 3);
  EXPECT_EQ(keys, (std::vector<std::string>{"node/0", "node/1", "node/2"}));
  EXPECT_EQ(fds.size(), 3u);
  EXPECT_EQ(store.next(Process::Node, "node/2", 3).first.size(), 2u);
  EXPECT_TRUE(store.next(Process::Node, "node/4", 3).first.empty());
}

}  // namespace
}  // namespace knit::supervisor
