// Failures as the Kubernetes API tells them: Status objects, exactly (kubeapi.md 1.4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "kube/object.h"
#include "kube/schema/schema.h"

namespace knit::apiserver {

inline boost::json::string text(std::string_view s) {
  return boost::json::string(s.data(), s.size());
}

struct Status {
  int code = 500;
  std::string reason = "InternalError";
  std::string message;
  Json details = {};  // null: none
  int retry_after = 0;
  std::string next = {};  // metadata.continue of an expired list
};

Json to_json(const Status& s);
/// {"status": "Success"} of a deletion.
Json success(const schema::Kind& kind, std::string_view name, std::string_view uid);

Status not_found(const schema::Kind& kind, std::string_view name);
Status already_exists(const schema::Kind& kind, std::string_view name);
/// "Operation cannot be fulfilled on …: <why>"
Status conflict(const schema::Kind& kind, std::string_view name, std::string_view why);
Status object_modified(const schema::Kind& kind, std::string_view name);
Status forbidden_status(const schema::Kind& kind, std::string_view name, std::string_view why);
Status bad_request_status(std::string message);
Status invalid_status(const schema::Kind& kind, std::string_view name,
                      std::vector<schema::FieldError> errors);
/// 422 about meta.k8s.io options ("ListOptions").
Status invalid_options(std::string_view kind, std::string_view field, std::string_view message,
                       schema::Reason reason);
Status not_supported(int code, std::string_view reason, std::string message);
Status from_failure(const schema::Failure& f, const schema::Kind& kind, std::string_view name);
/// The one table from Code to HTTP status and reason.
Status from_error(const Error& e);
/// For callers without HTTP.
Error to_error(const Status& s);

}  // namespace knit::apiserver
