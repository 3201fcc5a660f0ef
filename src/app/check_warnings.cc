#include "app/check_warnings.h"

#include <algorithm>

#include "check/engine.h"

namespace knit::app {
namespace {

/// Collections that rules read and that stay small, or are worth looking at while they are. A rule
/// that needs another kind says `unknown`, and so nothing.
constexpr std::string_view kLookedAt[] = {
    "namespaces",
    "services",
    "servicemeshcontrolplanes.maistra.io",
    "servicemeshmemberrolls.maistra.io",
    "gateways.networking.istio.io",
    "virtualservices.networking.istio.io",
    "serviceentries.networking.istio.io",
    "destinationrules.networking.istio.io",
    "peerauthentications.security.istio.io",
    "authorizationpolicies.security.istio.io",
    "knativeservings.operator.knative.dev",
    "knativeeventings.operator.knative.dev",
    "knativekafkas.operator.serverless.openshift.io",
    "services.serving.knative.dev",
};
constexpr std::size_t kMaxEach = 100;     // objects of one kind
constexpr std::size_t kMaxWarnings = 10;  // kubectl prints every one
constexpr std::size_t kMaxText = 300;

/// Said by admission already, in upstream's words.
constexpr std::string_view kSaidElsewhere[] = {"K607", "K609", "K706", "K901"};

bool plain_group(std::string_view group) {
  return group == "maistra.io" || group.ends_with(".istio.io") || group == "istio.io" ||
         group == "serving.knative.dev" || group == "eventing.knative.dev" ||
         group == "messaging.knative.dev" || group == "sources.knative.dev" ||
         group == "operator.knative.dev" || group == "operator.serverless.openshift.io";
}

}  // namespace

bool is_checked(const schema::Kind& kind) {
  return plain_group(kind.group) || (kind.group.empty() && kind.kind == "Service");
}

std::vector<std::string> check_warnings(const apiserver::ObjectReader& state,
                                        const schema::Kind& kind, const kube::Key& key,
                                        const Json& object, WallTime now) {
  check::ObjectSet set;
  const auto& registry = schema::Registry::get();
  for (const auto name : kLookedAt) {
    const auto resource = kube::Resource::of(name);
    const auto* row = registry.by_resource(resource);
    if (row == nullptr) continue;
    const auto stored = state.list(resource, {});
    if (stored.size() > kMaxEach) {
      set.unreadable[{std::string(row->group), std::string(row->kind)}] = "too many";
      continue;
    }
    for (const auto& o : stored) {
      if (o->key() != key) set.add_live(o->parse());
    }
  }
  set.add_live(object);
  check::Options options;
  options.settings.now_unix = now.ns / 1'000'000'000;
  std::vector<std::string> out;
  for (const auto& f : check::run(set, options).findings) {
    if (f.unknown() || f.suppressed || f.severity == check::Severity::Info || !f.object) continue;
    if (f.object->name != key.name || f.object->ns != key.ns || f.object->kind != kind.kind ||
        f.object->type.group != kind.group) {
      continue;
    }
    if (std::find(std::begin(kSaidElsewhere), std::end(kSaidElsewhere), f.code) !=
        std::end(kSaidElsewhere)) {
      continue;
    }
    if (out.size() == kMaxWarnings) {
      out.emplace_back("more is wrong: see knit check");
      break;
    }
    std::string text = f.code + ": ";
    if (!f.path.empty()) text += yaml::to_string(f.path) + ": ";
    text += f.message;
    if (text.size() > kMaxText) {
      std::size_t end = kMaxText;  // not inside a character
      while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
      text = text.substr(0, end) + "...";
    }
    out.push_back(std::move(text));
  }
  return out;
}

}  // namespace knit::app
