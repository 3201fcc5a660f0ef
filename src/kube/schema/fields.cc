// Field selectors. Source: kubernetes pkg/apis/*/v1/conversion.go (AddFieldLabelConversionFunc).
#include "kube/schema/schema.h"

namespace knit::schema {

namespace {
struct Labels {
  std::string_view resource;
  std::vector<std::string_view> labels;
};
const std::vector<Labels>& table() {
  static const std::vector<Labels>& t = *new std::vector<Labels>{
      {"pods",
       {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs",
        "status.nominatedNodeName"}},
      {"nodes", {"spec.unschedulable"}},
      {"replicasets.apps", {"status.replicas"}},
      {"replicationcontrollers", {"status.replicas"}},
      {"namespaces", {"status.phase"}},
      {"secrets", {"type"}},
      {"services", {"spec.clusterIP", "spec.type"}},
      {"jobs.batch", {"status.successful"}},
      {"events",
       {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
        "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
        "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"}},
  };
  return t;
}

std::string text(const Json* v) {
  if (v == nullptr || v->is_null()) return {};
  if (const auto* s = v->if_string()) return std::string(s->data(), s->size());
  return json::print(*v);
}

const Json* dotted(const Json& object, std::string_view path) {
  const Json* at = &object;
  while (at != nullptr && !path.empty()) {
    const auto dot = std::min(path.find('.'), path.size());
    at = json::find(*at, path.substr(0, dot));
    path.remove_prefix(std::min(dot + 1, path.size()));
  }
  return at;
}
}  // namespace

std::vector<std::string_view> field_labels(const Kind& kind) {
  for (const Labels& row : table()) {
    if (row.resource == kind.resource.name()) return row.labels;
  }
  return {};
}

std::optional<std::string> field_value(const Kind& kind, const Json& object,
                                       std::string_view label) {
  if (label == "metadata.name" || label == "metadata.namespace") {
    return text(dotted(object, label));
  }
  for (const std::string_view known : field_labels(kind)) {
    if (known != label) continue;
    const std::string_view resource = kind.resource.name();
    if (label == "source") {
      std::string component = text(dotted(object, "source.component"));
      return component.empty() ? text(dotted(object, "reportingComponent")) : component;
    }
    if (label == "reportingComponent") return text(dotted(object, "reportingComponent"));
    if (label == "status.podIPs") return text(dotted(object, "status.podIP"));
    if (label == "status.successful") {
      const std::string n = text(dotted(object, "status.succeeded"));
      return n.empty() ? "0" : n;
    }
    std::string value = text(dotted(object, label));
    if (value.empty()) {
      if (label == "spec.unschedulable" || label == "spec.hostNetwork") return "false";
      if (label == "status.replicas") return "0";
      if (resource == "namespaces") return "Active";
    }
    return value;
  }
  return std::nullopt;
}

}  // namespace knit::schema
