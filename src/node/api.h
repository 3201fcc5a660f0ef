// The little of the Kubernetes API that the node uses; a fake of it runs in tests.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/json.h"
#include "io/task.h"
#include "kube/client.h"
#include "kube/object.h"

namespace knit::node {

class Api {
 public:
  struct PodHandlers {
    std::function<void(Json pod)> changed;                // added or updated
    std::function<void(const std::string& uid)> deleted;  // the object is gone
    std::function<void()> synced;                         // after the first complete list
  };
  virtual ~Api() = default;
  /// Follows the pods with spec.nodeName = `node`, for as long as this object lives.
  virtual void watch_pods(const std::string& node, PodHandlers handlers) = 0;
  virtual io::Task<Result<Json>> get(kube::Key key) = 0;
  virtual io::Task<Result<Json>> create(kube::Resource resource, std::string ns, Json object) = 0;
  /// RFC 7386; `subresource` "status" or empty.
  virtual io::Task<Result<Json>> patch(kube::Key key, Json patch, std::string subresource) = 0;
  virtual io::Task<Result<void>> remove(kube::Key key, Json options) = 0;
  /// TokenRequest of a ServiceAccount: {"spec": …} → the answer.
  virtual io::Task<Result<Json>> token(kube::Key service_account, Json request) = 0;
};

/// On a connection to the API server. `client` outlives the result.
std::unique_ptr<Api> kube_api(io::Loop& loop, kube::Client& client);

}  // namespace knit::node
