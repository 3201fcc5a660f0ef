// `knit` for up_test: the real commands, with processes that only say that they are there.
//   TEST_FAIL=NAME makes that process exit at once.
#include <cstdlib>
#include <fstream>

#include "cli/command.h"
#include "cli/up.h"
#include "io/real_loop.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/launch.h"

namespace {
using namespace knit;

int run_fake(ipc::Process self) {
  const auto settings =
      codec::decode<cli::Settings>(ipc::read_sealed(ipc::kSettingsFd, 1 << 20).value_or(""));
  if (settings && settings->node_name == "fail-" + std::string(to_string(self))) return 3;
  if (self == ipc::Process::Server) {
    std::ofstream(settings->data + "/pki/admin.kubeconfig") << "kind: Config\n";
  }
  auto loop = std::move(*io::RealLoop::create(1));
  std::unique_ptr<ipc::Bootstrap> boot;
  std::uint16_t port = settings->router_https_port;
  ipc::Bootstrap::Handler handler;
  handler.on_kept_end = [&] {
    if (self != ipc::Process::Server) return boot->ready("uid " + std::to_string(getuid()));
    boot->supervisor().send(ipc::Bind{"127.0.0.1", port, "router-https"});
  };
  handler.on_message = [&](ipc::Process, ipc::Received r) {
    const auto bound = r.as<ipc::Bound>();
    if (r.type != ipc::MessageType::Bound || !bound) return;
    if (bound->port != 0) return boot->ready("uid " + std::to_string(getuid()));
    port = settings->router_https_fallback;
    boot->supervisor().send(ipc::Bind{"127.0.0.1", port, "router-https"});
  };
  handler.on_stop = [](Duration) { std::_Exit(0); };
  boot = std::move(*ipc::Bootstrap::create(*loop, Fd(ipc::kChannelFd), self, std::move(handler)));
  loop->run();
  return 0;
}

cli::Command fake(ipc::Process p) {
  return {
      .name = std::string(to_string(p)),
      .help = "fake",
      .flags = {{"cleanup", "", cli::Flag::Kind::Switch}, {"settings", "", cli::Flag::Kind::Value}},
      .run = [p](const cli::Invocation& in) {
        if (!in.has("cleanup")) return run_fake(p);
        const auto settings = cli::load_settings(in.text("settings"));
        if (!settings) return 1;
        std::ofstream(settings->run + ".cleaned") << settings->pod_cidr;
        return 0;
      }};
}
}  // namespace

int main(int argc, char** argv) {
  auto commands = knit::cli::base_commands();
  for (const auto p : {ipc::Process::Server, ipc::Process::Node, ipc::Process::Proxy}) {
    commands.push_back(fake(p));
  }
  return knit::cli::run_command_line(argc, argv, {}, commands);
}
