// The server's end of the proxy: compiled config goes down, certificates too; demands, statistics
// and reachability come back.
#pragma once

#include "app/autoscaling.h"
#include "config_stream/server.h"
#include "controllers/mesh/compile/compiler.h"
#include "pki/authority.h"

namespace knit::app {

class ProxyLink {
 public:
  using AuthorityOf =
      std::function<Result<std::shared_ptr<const pki::Authority>>(const std::string& mesh)>;
  ProxyLink(io::Loop& loop, reconcile::Backend& backend, mesh::MeshSettings settings,
            Autoscaling& autoscaling, std::string node, AuthorityOf authority);

  /// Compiles the world and follows its changes from now on.
  void start();
  void connect(ipc::Channel& channel);
  void on_message(const ipc::Received& message);

 private:
  void on_delta(const mesh::ConfigDelta& delta);
  void flush_soon();
  io::Loop& loop_;
  reconcile::Backend& backend_;
  Autoscaling& autoscaling_;
  std::string node_;
  AuthorityOf authority_;
  config_stream::Server stream_;
  mesh::Compiler compiler_;
  ipc::Channel* channel_ = nullptr;
  bool flush_posted_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace knit::app
