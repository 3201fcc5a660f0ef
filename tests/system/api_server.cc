// A small server for system tests: store and API over TLS on 127.0.0.1, nothing else. Writes
// DIR/admin.kubeconfig (system:masters) when it is ready, and runs until SIGTERM.
#include <signal.h>
#include <sys/prctl.h>

#include <cstdio>
#include <fstream>

#include "apiserver/server.h"
#include "base/hash.h"
#include "io/real_loop.h"
#include "pki/vault.h"

namespace knit {
namespace {

std::string kubeconfig(const io::Endpoint& at, const std::string& ca,
                       const pki::Credential& client) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: knit\nclusters:\n- name: knit\n"
         "  cluster:\n    server: https://" +
         io::to_string(at) + "\n    certificate-authority-data: " + hash::base64(ca) +
         "\nusers:\n- name: admin\n  user:\n    client-certificate-data: " +
         hash::base64(client.chain_pem) + "\n    client-key-data: " + hash::base64(client.key_pem) +
         "\ncontexts:\n- name: knit\n  context: {cluster: knit, user: admin}\n";
}

Result<void> run(const std::string& dir) {
  KNIT_TRY(auto loop, io::RealLoop::create());
  KNIT_TRY(const auto signals,
           io::SignalWatch::create(*loop, {SIGTERM, SIGINT}, [&](int) { loop->stop(); }));
  const auto random = system_random();
  store::Options options;
  options.path = dir + "/store.db";
  KNIT_TRY(auto store, store::Store::open(options));
  apiserver::Registry registry(*random);
  apiserver::ApiDependencies dependencies;
  dependencies.random = random.get();
  apiserver::ApiServer server(*loop, *store, registry, dependencies);
  const WallTime now = loop->wall_now();
  KNIT_TRY(const auto vault, pki::Vault::open(dir + "/pki"));
  KNIT_TRY(const auto authority, vault.api(now));
  KNIT_TRY(const auto serving, pki::api_server_certificate(*authority, {}, now));
  KNIT_TRY(const auto admin,
           pki::api_client_certificate(*authority, "system:admin", {"system:masters"}, now));
  KNIT_TRY(auto tls,
           io::tls_server_context({serving.chain_pem, serving.key_pem, authority->root_pem()}));
  server.set_tls(std::move(tls));
  KNIT_TRY(const io::Endpoint at, server.listen({"127.0.0.1", 0}));
  struct Start {
    static io::Task<void> run(apiserver::Api* api, WallTime at,
                              std::function<void(Result<void>)> f) {
      auto first = apiserver::bootstrap(*api, apiserver::kFirstNamespaces, at);
      auto done = co_await first;
      f(std::move(done));
    }
  };
  Result<void> started;
  loop->spawn(Start::run(&server.api(), now, [&](Result<void> r) {
    started = std::move(r);
    if (!started) return loop->stop();
    std::ofstream(dir + "/admin.kubeconfig.new") << kubeconfig(at, authority->root_pem(), admin);
    std::rename((dir + "/admin.kubeconfig.new").c_str(), (dir + "/admin.kubeconfig").c_str());
  }));
  loop->run();
  return started;
}

}  // namespace
}  // namespace knit

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: knit-api-test-server DIR\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGTERM);  // ends with the test that started it
  const auto done = knit::run(argv[1]);
  if (!done) std::fprintf(stderr, "%s\n", done.error().message().c_str());
  return done ? 0 : 1;
}
