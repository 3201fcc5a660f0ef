// `knit node`: the kubelet of this machine and its connection to the API, built and connected.
#include <unistd.h>

#include "app/process.h"
#include "base/log.h"
#include "controllers/core/services/service_admission.h"
#include "kube/client.h"
#include "node/agent.h"

namespace knit::app {
namespace {

constexpr std::string_view kLogModule = "node";

node::Settings node_settings(const cli::Settings& s) {
  node::Settings out;
  out.node_name = s.node_name;
  out.host_ip = s.host_ip;
  out.data_dir = s.data;
  out.run_dir = s.run;
  out.pod_range = s.pod_cidr;
  out.service_ranges = {s.service_cidr};
  out.dns_ip = s.dns_ip;
  const auto range = controllers::core::parse_v4_range(s.service_cidr);
  KNIT_CHECK(range.has_value());  // the settings were validated
  out.kubernetes_ip = controllers::core::print_v4(range->first + 1);
  return out;
}

}  // namespace

int run_node(ProcessContext context) {
  io::RealLoop& loop = *context.loop;
  std::unique_ptr<ipc::Bootstrap> bootstrap;
  auto* const bootstrap_slot = &bootstrap;
  kube::Client client(loop, [&loop, bootstrap_slot] {
    auto* server = *bootstrap_slot ? (*bootstrap_slot)->peer(ipc::Process::Server) : nullptr;
    return open_api(&loop, server, ipc::Process::Node);
  });
  const auto api = node::kube_api(loop, client);
  auto agent = node::Agent::create(loop, node_settings(context.settings), *api);
  if (!agent) {
    KNIT_LOG(Error, "cannot start", KV("error", agent.error()));
    return 1;
  }
  auto made = ipc::Bootstrap::create(loop, std::move(context.channel), ipc::Process::Node,
                                     (*agent)->handler());
  if (!made) {
    KNIT_LOG(Error, "cannot start", KV("error", made.error()));
    return 1;
  }
  bootstrap = std::move(*made);
  (*agent)->attach(*bootstrap);
  (*agent)->on_stop([&loop] { loop.stop(); });
  loop.run();
  loop.finish_offloads();  // jobs in hand use what the agent owns
  return 0;
}

int clean_node(const cli::Settings& settings) {
  if (const auto cleaned = node::cleanup(node_settings(settings)); !cleaned) {
    KNIT_LOG(Error, "cleanup", KV("error", cleaned.error()));
    return 1;
  }
  return 0;
}

}  // namespace knit::app
