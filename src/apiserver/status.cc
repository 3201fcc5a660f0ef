#include "apiserver/status.h"

namespace knit::apiserver {
namespace {

Json resource_details(const schema::Kind& kind, std::string_view name) {
  JsonObject d;
  if (!name.empty()) d["name"] = text(name);
  if (!kind.group.empty()) d["group"] = text(kind.group);
  d["kind"] = text(kind.plural);
  return d;
}

std::string quoted(const schema::Kind& kind, std::string_view name) {
  return kind.group_resource() + " \"" + std::string(name) + "\"";
}

struct CodeRow {
  Code code;
  int status;
  std::string_view reason;
};
constexpr CodeRow kCodes[] = {
    {Code::InvalidArgument, 400, "BadRequest"},
    {Code::NotFound, 404, "NotFound"},
    {Code::AlreadyExists, 409, "AlreadyExists"},
    {Code::Conflict, 409, "Conflict"},
    {Code::PermissionDenied, 403, "Forbidden"},
    {Code::Unauthenticated, 401, "Unauthorized"},
    {Code::ResourceExhausted, 429, "TooManyRequests"},
    {Code::Unavailable, 503, "ServiceUnavailable"},
    {Code::DeadlineExceeded, 504, "Timeout"},
    {Code::Expired, 410, "Expired"},
    {Code::Unsupported, 501, "NotImplemented"},
    {Code::Cancelled, 503, "ServiceUnavailable"},
    {Code::Internal, 500, "InternalError"},
};

}  // namespace

Json to_json(const Status& s) {
  JsonObject out{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", JsonObject()}};
  if (!s.next.empty()) json::set(out["metadata"], {"continue"}, text(s.next));
  out["status"] = "Failure";
  out["message"] = text(s.message);
  if (!s.reason.empty()) out["reason"] = text(s.reason);
  Json details = s.details;
  if (s.retry_after > 0) json::set(details, {"retryAfterSeconds"}, s.retry_after);
  if (details.is_object()) out["details"] = std::move(details);
  out["code"] = s.code;
  return out;
}

Json success(const schema::Kind& kind, std::string_view name, std::string_view uid) {
  Json details = resource_details(kind, name);
  json::set(details, {"uid"}, text(uid));
  return JsonObject{{"kind", "Status"},
                    {"apiVersion", "v1"},
                    {"metadata", JsonObject()},
                    {"status", "Success"},
                    {"details", std::move(details)}};
}

Status not_found(const schema::Kind& kind, std::string_view name) {
  return {404, "NotFound", quoted(kind, name) + " not found", resource_details(kind, name)};
}
Status already_exists(const schema::Kind& kind, std::string_view name) {
  return {409, "AlreadyExists", quoted(kind, name) + " already exists",
          resource_details(kind, name)};
}
Status conflict(const schema::Kind& kind, std::string_view name, std::string_view why) {
  return {409, "Conflict",
          "Operation cannot be fulfilled on " + quoted(kind, name) + ": " + std::string(why),
          resource_details(kind, name)};
}
Status object_modified(const schema::Kind& kind, std::string_view name) {
  return conflict(kind, name,
                  "the object has been modified; please apply your changes to the latest version "
                  "and try again");
}
Status forbidden_status(const schema::Kind& kind, std::string_view name, std::string_view why) {
  return {403, "Forbidden", quoted(kind, name) + " is forbidden: " + std::string(why),
          resource_details(kind, name)};
}
Status bad_request_status(std::string message) {
  return {400, "BadRequest", std::move(message), {}};
}

Status invalid_status(const schema::Kind& kind, std::string_view name,
                      std::vector<schema::FieldError> errors) {
  return from_failure(schema::invalid(kind, name, std::move(errors)), kind, name);
}

Status invalid_options(std::string_view kind, std::string_view field, std::string_view message,
                       schema::Reason reason) {
  JsonObject details{{"group", "meta.k8s.io"}, {"kind", text(kind)}};
  details["causes"] = JsonArray{JsonObject{{"reason", text(schema::cause_reason(reason))},
                                           {"message", text(message)},
                                           {"field", text(field)}}};
  return {422, "Invalid",
          std::string(kind) + ".meta.k8s.io \"\" is invalid: " + std::string(field) + ": " +
              std::string(message),
          std::move(details)};
}

Status not_supported(int code, std::string_view reason, std::string message) {
  return {code, std::string(reason), std::move(message), {}};
}

Status from_failure(const schema::Failure& f, const schema::Kind& kind, std::string_view name) {
  Status s{f.code, f.reason, f.message, {}};
  if (f.reason == "BadRequest") return s;
  JsonObject details;
  if (name.empty()) name = f.name;
  if (!name.empty()) details["name"] = text(name);
  if (!kind.group.empty()) details["group"] = text(kind.group);
  details["kind"] = text(f.reason == "Invalid" ? kind.kind : kind.plural);
  JsonArray causes;
  for (const schema::FieldError& e : f.causes) {
    causes.push_back(JsonObject{{"reason", text(schema::cause_reason(e.reason))},
                                {"message", text(e.message)},
                                {"field", text(e.field)}});
  }
  if (!causes.empty()) details["causes"] = std::move(causes);
  s.details = std::move(details);
  return s;
}

Status from_error(const Error& e) {
  for (const CodeRow& row : kCodes) {
    if (row.code == e.code()) return {row.status, std::string(row.reason), e.message(), {}};
  }
  return {500, "InternalError", e.message(), {}};
}

Error to_error(const Status& s) {
  if (s.reason == "Invalid") return Error(Code::InvalidArgument, s.message);
  for (const CodeRow& row : kCodes) {
    if (row.status == s.code && row.reason == s.reason) return Error(row.code, s.message);
  }
  for (const CodeRow& row : kCodes) {
    if (row.status == s.code) return Error(row.code, s.message);
  }
  return Error(Code::Internal, s.message);
}

}  // namespace knit::apiserver
