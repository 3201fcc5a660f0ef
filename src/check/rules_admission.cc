// K9xx: what the API server itself would say, from the validation code that Knit's uses.
#include "check/helpers.h"
#include "kube/schema/schema.h"

namespace knit::check {
namespace {

using yaml::Path;

const schema::Kind* kind_of(const Item& item) {
  return schema::Registry::get().by_api_version(item.api_version, item.kind);
}

/// "spec.ports[1].name" as a path; what does not parse ends it.
Path path_of(std::string_view field) {
  Path out;
  std::string key;
  const auto flush = [&] {
    if (!key.empty()) out = out / std::string_view(key);
    key.clear();
  };
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '.') {
      flush();
    } else if (field[i] == '[') {
      flush();
      const auto end = field.find(']', i);
      if (end == std::string_view::npos) return out;
      const std::string inside(field.substr(i + 1, end - i - 1));
      if (!inside.empty() && inside.size() < 8 &&
          inside.find_first_not_of("0123456789") == std::string::npos) {
        out = out / static_cast<std::size_t>(std::stoul(inside));
      } else {
        out = out / std::string_view(inside);
      }
      i = end;
    } else {
      key += field[i];
    }
  }
  flush();
  return out;
}

void admitted(Context& c) {
  for (const auto& item : c.objects().all()) {
    if (item->recorded || has_placeholder(item->json))
      continue;  // K413; a cluster has admitted its own
    const auto* kind = kind_of(*item);
    if (kind == nullptr || !kind->stored) continue;
    Json object = item->json;
    if (kind->namespaced)
      json::set(object, {"metadata", "namespace"}, Json(std::string_view(item->ns)));
    const auto version = item->api_version.substr(
        item->api_version.find('/') == std::string::npos ? 0 : item->api_version.find('/') + 1);
    auto decoded = schema::decode_dom(*kind, version, object, schema::FieldValidation::Warn);
    const auto say = [&](const schema::Failure& failure) {
      if (failure.causes.empty()) {
        c.report(item, {}, failure.message);
        return;
      }
      for (const auto& cause : failure.causes) {
        c.report(item, path_of(cause.field), to_string(cause));
      }
    };
    if (decoded.failure) {
      say(*decoded.failure);
      continue;
    }
    for (const auto& warning : decoded.warnings) {
      const auto open = warning.find('"');
      const auto close = warning.rfind('"');
      const auto field = open == std::string::npos || close <= open
                             ? std::string()
                             : warning.substr(open + 1, close - open - 1);
      c.report(item, path_of(field), warning).severity = Severity::Warning;
    }
    schema::Context context;
    context.internal = true;  // upstream's answers, not what Knit supports
    context.now = WallTime{c.settings().now_unix * 1'000'000'000};
    schema::apply_defaults(*kind, decoded.object, context);
    if (const auto verdict = schema::validate(*kind, decoded.object, nullptr, context);
        verdict.failure) {
      say(*verdict.failure);
    }
  }
}

/// Keys under istio.io and knative.dev that a program reads, as far as this integration goes.
constexpr std::string_view kRead[] = {"sidecar.istio.io/inject",
                                      "sidecar.istio.io/rewriteAppHTTPProbers",
                                      "sidecar.istio.io/proxyCPU",
                                      "sidecar.istio.io/proxyMemory",
                                      "sidecar.istio.io/proxyCPULimit",
                                      "sidecar.istio.io/proxyMemoryLimit",
                                      "sidecar.istio.io/status",
                                      "sidecar.istio.io/proxyImage",
                                      "sidecar.istio.io/logLevel",
                                      "sidecar.istio.io/userVolume",
                                      "sidecar.istio.io/userVolumeMount",
                                      "sidecar.istio.io/interceptionMode",
                                      "sidecar.istio.io/statsInclusionPrefixes",
                                      "sidecar.istio.io/componentLogLevel",
                                      "serving.knative.openshift.io/enablePassthrough",
                                      "serving.knative.openshift.io/disableRoute",
                                      "serving.knative.openshift.io/setRouteTimeout",
                                      "experimental.istio.io/disable-gateway-port-translation"};

/// At most two letters differ.
bool near(std::string_view a, std::string_view b) {
  if (a.size() > 100 || b.size() > 100) return false;
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t corner = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t up = row[j];
      const bool same = std::tolower(static_cast<unsigned char>(a[i - 1])) ==
                        std::tolower(static_cast<unsigned char>(b[j - 1]));
      row[j] = std::min({up + 1, row[j - 1] + 1, corner + (same ? 0U : 1U)});
      corner = up;
    }
  }
  return row[b.size()] <= 2;
}

void unread_keys(Context& c) {
  for (const auto& item : c.objects().all()) {
    const auto check = [&](const Path& path) {
      const Json* map = yaml::find(item->json, path);
      if (map == nullptr || !map->is_object()) return;
      for (const auto& member : map->get_object()) {
        const std::string_view key(member.key().data(), member.key().size());
        if (!key.starts_with("sidecar.istio.io/") &&
            !key.starts_with("serving.knative.openshift.io/") &&
            !key.starts_with("experimental.istio.io/")) {
          continue;
        }
        if (std::find(std::begin(kRead), std::end(kRead), key) != std::end(kRead)) continue;
        const auto* meant = std::find_if(std::begin(kRead), std::end(kRead),
                                         [&](std::string_view k) { return near(key, k); });
        auto& f = c.report(
            item, path / key,
            "nobody reads " + std::string(key) +
                (meant == std::end(kRead) ? "" : ": " + std::string(*meant) + " is meant"));
        if (meant == std::end(kRead)) {
          f.confidence = Confidence::Likely;
          continue;
        }
        f.fix = {Fix::Type::Patch,
                 {{Edit::Op::Remove, item, path / key, {}},
                  {Edit::Op::Set, item, path / *meant, member.value()}},
                 "correct the key"};
      }
    };
    for (const std::string_view map : {"labels", "annotations"}) {
      check(Path{"metadata"} / map);
      check(Path{"spec", "template", "metadata"} / map);
      for (const std::string_view list : {"workloads", "deployments"}) {
        for (std::size_t i = 0; i < json::array(item->json, {"spec", list}).size(); ++i) {
          check(Path{"spec", list} / i / map);
        }
      }
    }
  }
}

}  // namespace

void add_admission_rules(std::vector<Rule>& out) {
  out.push_back({"K901",
                 {},
                 {"IST0106"},
                 Severity::Error,
                 Offline::Yes,
                 "the API server admits every object",
                 "API サーバーがすべてのオブジェクトを受け付ける",
                 "apply fails, or drops a field",
                 "Types, unknown fields and values are checked by the code that Knit's API server "
                 "runs; the messages "
                 "are upstream's.",
                 "correct the field that the message names",
                 {},
                 {},
                 admitted});
  out.push_back({"K902",
                 {},
                 {"IST0108"},
                 Severity::Warning,
                 Offline::Yes,
                 "mesh labels and annotations are known keys",
                 "メッシュ関連のラベルとアノテーションのキーが正しい",
                 "the setting has no effect",
                 "A misspelt key is accepted by every API server and read by nobody.",
                 "correct the key",
                 {},
                 {},
                 unread_keys});
}

}  // namespace knit::check
