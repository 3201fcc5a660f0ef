// What several catalogue files need: names of kinds, fixes, and the operators' workload lists.
#pragma once

#include "check/facts.h"

namespace knit::check {

inline constexpr std::string_view kSmcpKind = "maistra.io/ServiceMeshControlPlane";
inline constexpr std::string_view kRollKind = "maistra.io/ServiceMeshMemberRoll";
inline constexpr std::string_view kIstioKind = "sailoperator.io/Istio";
inline constexpr std::string_view kGatewayKind = "networking.istio.io/Gateway";
inline constexpr std::string_view kServingKind = "operator.knative.dev/KnativeServing";
inline constexpr std::string_view kEventingKind = "operator.knative.dev/KnativeEventing";
inline constexpr std::string_view kKafkaKind = "operator.serverless.openshift.io/KnativeKafka";
inline constexpr std::string_view kServiceKind = "serving.knative.dev/Service";
inline constexpr std::string_view kEntryKind = "networking.istio.io/ServiceEntry";
inline constexpr std::string_view kInject = "sidecar.istio.io/inject";
inline constexpr std::string_view kRewrite = "sidecar.istio.io/rewriteAppHTTPProbers";

inline Fix set_fix(const ItemPtr& object, yaml::Path path, Json value, std::string text) {
  return {Fix::Type::Patch,
          {{Edit::Op::Set, object, std::move(path), std::move(value)}},
          std::move(text)};
}
template <class T>
  requires std::same_as<T, std::string>
Fix set_fix(const ItemPtr& object, yaml::Path path, const T& value, std::string text) {
  return set_fix(object, std::move(path), Json(std::string_view(value)), std::move(text));
}
inline Fix remove_fix(const ItemPtr& object, yaml::Path path, std::string text) {
  return {Fix::Type::Patch, {{Edit::Op::Remove, object, std::move(path), {}}}, std::move(text)};
}

bool in(const std::vector<std::string>& list, std::string_view text);
/// What the roll holds is not listed there, or not known yet.
bool open_roll(const MeshFacts& mesh);
bool is_smcp(const MeshFacts& mesh);

/// "gateway.NS.NAME" → "NS/NAME"; without a namespace it is knative-serving's.
std::string gateway_name(std::string_view key, std::string_view prefix);
/// The Gateways that Knative Serving uses: from config.istio, else the defaults.
struct ServerlessGateways {
  std::vector<std::string> external{"knative-serving/knative-ingress-gateway"};
  std::vector<std::string> local{"knative-serving/knative-local-gateway"};
};
ServerlessGateways serverless_gateways(const ObjectSet& objects);

/// Any string below `value` is a placeholder.
bool has_placeholder(const Json& value);

/// Reports unless the operator's object injects workload `name` and rewrites its probes.
void want_injected(Context& c, const ItemPtr& object, std::string_view name,
                   std::optional<Severity> severity = {});
/// Reports when the operator's object injects workload `name`.
void want_not_injected(Context& c, const ItemPtr& object, std::string_view name);

/// The template of a Knative Service asks for a sidecar: by label or annotation.
bool asks_for_sidecar(const Json& service);

/// Secrets that rules look at by name: `needed` where the gateway's pods read them, else where they
/// are put by mistake.
struct WantedSecret {
  std::string ns, name;
  bool needed = true;
};
std::vector<WantedSecret> wanted_secrets(const ObjectSet& objects);

/// "major.minor" of a version text such as "v1.15.2" or "serverless-operator.v1.35.0".
std::optional<std::pair<int, int>> version_of(std::string_view text);

/// "host:port" without scheme or spaces.
struct HostPort {
  std::string host;
  int port = 0;
};
std::optional<HostPort> parse_host_port(std::string_view text);
/// Parts of a list separated by commas, as they stand.
std::vector<std::string> split_list(std::string_view text, char separator = ',');

/// Every bootstrap list of a set: KnativeKafka, KafkaSource, KafkaSink, KafkaChannel's ConfigMaps.
struct Bootstrap {
  ItemPtr object;
  yaml::Path path;
  std::string value;
};
std::vector<Bootstrap> bootstrap_lists(const ObjectSet& objects);

}  // namespace knit::check
