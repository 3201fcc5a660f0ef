// K3xx: the wildcard certificate of the ingress gateway, and the names it must cover.
#include "base/hash.h"
#include "check/helpers.h"
#include "pki/x509.h"

namespace knit::check {
namespace {

using yaml::Path;

/// A certificate that a Gateway server names, and the namespaces of the pods that must read it.
struct Use {
  ItemPtr gateway;
  Path path;
  std::string name;
  std::set<std::string> namespaces;
  bool serverless = false;
};

std::vector<Use> uses(const Facts& facts) {
  std::vector<Use> out;
  for (const auto& [view, item] : facts.gateways) {
    for (std::size_t i = 0; i < view.servers.size(); ++i) {
      const auto& s = view.servers[i];
      if (s.credential.empty()) continue;
      Use use{item,
              Path{"spec", "servers"} / i / "tls" / "credentialName",
              s.credential,
              {},
              view.ns == "knative-serving"};
      for (const auto* pod : facts.selected(view)) use.namespaces.insert(pod->view.ns);
      out.push_back(std::move(use));
    }
  }
  return out;
}

ItemPtr secret_of(const ObjectSet& objects, const Use& use) {
  for (const auto& ns : use.namespaces) {
    if (auto secret = objects.find("Secret", ns, use.name)) return secret;
  }
  return nullptr;
}

std::string pem_of(const Item& secret, std::string_view key) {
  if (const auto plain = json::str(secret.json, {"stringData", key}); !plain.empty()) {
    return std::string(plain);
  }
  auto bytes = hash::decode_base64(json::str(secret.json, {"data", key}));
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}
std::string chain_of(const Item& secret) {
  auto pem = pem_of(secret, "tls.crt");
  return pem.empty() ? pem_of(secret, "cert") : pem;
}
std::string key_of(const Item& secret) {
  auto pem = pem_of(secret, "tls.key");
  return pem.empty() ? pem_of(secret, "key") : pem;
}

/// The Secret, or `unknown` because it is not there to look at (K301 tells when it is missing).
ItemPtr known_secret(Context& c, const Use& use) {
  if (Context::is_placeholder(use.name)) {
    c.unknown(use.gateway, use.path, "the Secret's name is still a placeholder");
    return nullptr;
  }
  auto secret = secret_of(c.objects(), use);
  if (!secret && !c.objects().knows("Secret")) {
    c.unknown(use.gateway, use.path, "Secret " + use.name + " is not in the input");
  }
  return secret;
}

void secret_exists(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& use : uses(facts)) {
    if (Context::is_placeholder(use.name)) {
      known_secret(c, use);
      continue;
    }
    if (use.namespaces.empty()) continue;  // K203
    if (secret_of(c.objects(), use)) continue;
    const std::string ns = *use.namespaces.begin();
    for (const auto& other : c.list("Secret")) {
      if (other->name != use.name) continue;
      c.report(use.gateway, use.path,
               "Secret " + use.name + " is in " + other->ns + ", the gateway pods are in " + ns)
          .evidence.push_back({other->ref(), "is read from the pods' namespace only"});
      return;
    }
    if (!c.objects().knows("Secret")) {
      c.unknown(use.gateway, use.path, "Secret " + ns + "/" + use.name + " is not in the input");
      continue;
    }
    c.report(use.gateway, use.path, "Secret " + ns + "/" + use.name + " does not exist").fix = {
        Fix::Type::Command,
        {},
        "oc create secret tls " + use.name + " -n " + ns +
            " --cert=wildcard.crt --key=wildcard.key"};
  }
}

void certificate_good(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& use : uses(facts)) {
    const auto secret = known_secret(c, use);
    if (!secret) continue;
    const auto chain = chain_of(*secret);
    const Path crt{"data", "tls.crt"};
    if (has_placeholder(secret->json)) continue;
    const auto parsed = pki::parse_certificates(chain);
    if (!parsed) {
      c.report(secret, crt, parsed.error().message()).severity = Severity::Error;
      continue;
    }
    if (const auto pair = pki::check_key_pair(chain, key_of(*secret)); !pair) {
      c.report(secret, Path{"data", "tls.key"}, pair.error().message()).severity = Severity::Error;
    }
    const auto& leaf = parsed->front();
    for (std::size_t i = 0; i + 1 < parsed->size(); ++i) {
      if ((*parsed)[i].issuer_common_name != (*parsed)[i + 1].common_name) {
        c.report(secret, crt, "the chain is out of order at certificate " + std::to_string(i + 2));
        break;
      }
    }
    const std::int64_t now = c.settings().now_unix;
    const std::int64_t end = leaf.not_after.ns / 1'000'000'000;
    if (now > 0 && end < now) {
      c.report(secret, crt, "expired at " + rfc3339(leaf.not_after)).severity = Severity::Error;
    } else if (now > 0 && end < now + 60LL * 86400) {
      c.report(secret, crt, "expires at " + rfc3339(leaf.not_after) + ", in less than 60 days");
    }
    if (leaf.key.starts_with("RSA ") && std::atoi(leaf.key.c_str() + 4) < 2048) {
      c.report(secret, crt, leaf.key + " is shorter than 2048 bits");
    }
  }
}

std::string domain_of(const Context& c) {
  if (!c.settings().apps_domain.empty()) return c.settings().apps_domain;
  if (const auto ingress = c.find("config.openshift.io/Ingress", "", "cluster")) {
    if (const auto d = json::str(ingress->json, {"spec", "domain"}); !d.empty())
      return std::string(d);
  }
  for (const auto& serving : c.list(kServingKind)) {
    for (const auto& entry : operator_config(serving->json, "domain")) {
      if (!entry.key.starts_with("_") && !Context::is_placeholder(entry.key)) return entry.key;
    }
  }
  return {};
}

void certificate_covers(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& use : uses(facts)) {
    if (!use.serverless) continue;
    const auto secret = known_secret(c, use);
    if (!secret) continue;
    const auto parsed = pki::parse_certificates(chain_of(*secret));
    if (!parsed) continue;  // K302
    const auto domain = domain_of(c);
    if (domain.empty()) {
      c.unknown(secret, Path{"data", "tls.crt"}, "the ingress domain is not in the input");
    } else if (!pki::covers_host(parsed->front(), "hello-default." + domain)) {
      std::string names;
      for (const auto& n : parsed->front().dns_names) names += (names.empty() ? "" : ", ") + n;
      c.report(
          secret, Path{"data", "tls.crt"},
          "does not cover *." + domain + ": its names are " + (names.empty() ? "none" : names));
    }
  }
}

void domain_template(Context& c) {
  for (const auto& serving : c.list(kServingKind)) {
    for (const std::string_view key : {"domain-template", "domainTemplate"}) {
      const auto entry = operator_config(serving->json, "network", key);
      if (!entry || Context::is_placeholder(entry->value)) continue;
      int depth = 0;
      bool two_labels = false;
      const auto end = entry->value.rfind("{{");  // the domain
      for (std::size_t i = 0; i + 1 < std::min(end, entry->value.size()); ++i) {
        if (entry->value[i] == '{') ++depth;
        if (entry->value[i] == '}') --depth;
        if (entry->value[i] == '.' && depth == 0) two_labels |= i + 1 < end - 0 && i + 1 != end;
      }
      if (!two_labels) continue;
      c.report(serving, entry->path, entry->value + " gives more than one label below the wildcard")
          .fix =
          set_fix(serving, entry->path, "{{.Name}}-{{.Namespace}}.{{.Domain}}", "use one label");
    }
  }
}

void name_length(Context& c) {
  for (const auto& service : c.list(kServiceKind)) {
    if (Context::is_placeholder(service->name) || Context::is_placeholder(service->ns)) continue;
    const std::string base = service->name + "-" + service->ns;
    if (base.size() > 63) {
      c.report(service, Path{"metadata", "name"}, base + " is longer than 63 characters");
    }
    std::size_t i = 0;
    for (const auto& t : json::array(service->json, {"spec", "traffic"})) {
      const std::string tag(json::str(t, {"tag"}));
      if (!tag.empty() && base.size() <= 63 && tag.size() + 1 + base.size() > 63) {
        c.report(service, Path{"spec", "traffic"} / i / "tag",
                 tag + "-" + base + " is longer than 63 characters");
      }
      ++i;
    }
  }
}

void root_issued(Context& c) {
  const Facts& facts = c.facts();
  for (const auto& use : uses(facts)) {
    if (!use.serverless) continue;
    const auto secret = known_secret(c, use);
    if (!secret) continue;
    if (c.settings().root_ca_pem.empty()) {
      c.unknown(secret, Path{"data", "tls.crt"}, "no root certificate was given (--cacert)");
      continue;
    }
    const auto chain = chain_of(*secret);
    if (!pki::parse_certificates(chain)) continue;  // K302
    const WallTime now{c.settings().now_unix * 1'000'000'000};
    if (const auto ok = pki::check_chain(chain, c.settings().root_ca_pem, now); !ok) {
      c.report(secret, Path{"data", "tls.crt"},
               "is not issued by the given root: " + ok.error().message());
    }
  }
}

void secret_filter(Context& c) {
  const Facts& facts = c.facts();
  constexpr std::string_view kUid = "networking.internal.knative.dev/certificate-uid";
  for (const auto& serving : c.list(kServingKind)) {
    bool filtered = false;
    for (const std::string_view list : {"workloads", "deployments"}) {
      for (const auto& w : json::array(serving->json, {"spec", list})) {
        for (const auto& env : json::array(w, {"env"})) {
          for (const auto& v : json::array(env, {"envVars"})) {
            filtered |= json::str(v, {"name"}) == "ENABLE_SECRET_INFORMER_FILTERING_BY_CERT_UID" &&
                        json::str(v, {"value"}) == "true";
          }
        }
      }
    }
    if (!filtered) continue;
    for (const auto& use : uses(facts)) {
      const auto secret = secret_of(c.objects(), use);
      if (!secret || json::find(secret->json, {"metadata", "labels", kUid}) != nullptr) continue;
      c.report(secret, Path{"metadata", "labels"},
               "has no label " + std::string(kUid) + ": it is not read")
          .fix = set_fix(secret, Path{"metadata", "labels"} / kUid, secret->name, "label it");
    }
  }
}

void shared_certificate(Context& c) {
  const Facts& facts = c.facts();
  std::map<std::string, ItemPtr> first;
  for (const auto& use : uses(facts)) {
    if (Context::is_placeholder(use.name)) continue;
    for (const auto& ns : use.namespaces) {
      const auto [it, fresh] = first.emplace(ns + "/" + use.name, use.gateway);
      if (!fresh && it->second != use.gateway) {
        c.report(use.gateway, use.path,
                 "certificate " + use.name + " is also that of " + it->second->ref());
      }
    }
  }
}

}  // namespace

std::vector<WantedSecret> wanted_secrets(const ObjectSet& objects) {
  std::vector<WantedSecret> out;
  std::set<std::pair<std::string, std::string>> seen;
  const auto add = [&](const std::string& ns, const std::string& name, bool needed) {
    if (seen.emplace(ns, name).second && out.size() < 500) out.push_back({ns, name, needed});
  };
  const Facts facts = facts_of(objects);
  const auto all = uses(facts);
  for (const auto& use : all) {
    if (Context::is_placeholder(use.name) || use.name.find('/') != std::string::npos) continue;
    for (const auto& ns : use.namespaces) add(ns, use.name, true);
  }
  for (const auto& use : all) {
    if (Context::is_placeholder(use.name) || use.name.find('/') != std::string::npos) continue;
    for (const char* ns : {"istio-system", "knative-serving", "knative-serving-ingress"})
      add(ns, use.name, false);
  }
  return out;
}

void add_certificate_rules(std::vector<Rule>& out) {
  out.push_back({"K301",
                 {},
                 {"IST0101", "IST0161"},
                 Severity::Error,
                 Offline::Partly,
                 "the gateway's certificate is in the namespace of the gateway pods",
                 "ゲートウェイの証明書はゲートウェイ Pod の namespace にある",
                 "connection reset; SSL_ERROR_SYSCALL",
                 "credentialName is looked up where the gateway pods run (istio-system), not where "
                 "the Gateway is.",
                 "create the TLS Secret there",
                 {"Secret"},
                 {},
                 secret_exists});
  out.push_back({"K302",
                 {"MX-02"},
                 {"IST0161"},
                 Severity::Warning,
                 Offline::Partly,
                 "the gateway's certificate is sound",
                 "ゲートウェイの証明書に問題がない",
                 "TLS failures now or later",
                 "The key must belong to the leaf, the chain be in order, the key long enough, and "
                 "the certificate "
                 "valid for 60 days more.",
                 "renew the certificate",
                 {"Secret"},
                 {},
                 certificate_good});
  out.push_back(
      {"K303",
       {},
       {},
       Severity::Error,
       Offline::Partly,
       "the gateway's certificate covers the apps domain",
       "ゲートウェイの証明書はアプリケーションドメインを含む",
       "curl (60): no alternative certificate subject name matches",
       "Clients compare subject alternative names only; a wildcard covers exactly one label.",
       "issue it for *.APPS-DOMAIN",
       {"Secret"},
       {},
       certificate_covers});
  out.push_back({"K304",
                 {"KS-04"},
                 {},
                 Severity::Error,
                 Offline::Yes,
                 "a service's host is one label below the wildcard",
                 "サービスのホスト名はワイルドカードの一つ下のラベル",
                 "curl (60) for every service",
                 "OpenShift's template is {{.Name}}-{{.Namespace}}.{{.Domain}}; upstream's has two "
                 "labels, which a "
                 "wildcard certificate does not cover.",
                 "use one label, or a certificate per namespace",
                 {},
                 {},
                 domain_template});
  out.push_back({"K305",
                 {},
                 {},
                 Severity::Warning,
                 Offline::Yes,
                 "host labels fit into 63 characters",
                 "ホスト名のラベルは 63 文字以内",
                 "the Route is invalid",
                 "Name, namespace and tag make one DNS label.",
                 "shorten the name, the namespace or the tag",
                 {},
                 {},
                 name_length});
  out.push_back({"K306",
                 {"GW-07"},
                 {},
                 Severity::Error,
                 Offline::Partly,
                 "the given root issued the gateway's certificate",
                 "指定したルート証明書がゲートウェイの証明書を発行した",
                 "curl (20) or (60)",
                 "The file given to curl --cacert must be the root of the served chain.",
                 "give curl the root that issued it, or issue the certificate anew",
                 {"Secret"},
                 {},
                 root_issued});
  out.push_back(
      {"K307",
       {},
       {},
       Severity::Error,
       Offline::Yes,
       "secret filtering sees the certificate",
       "Secret のフィルターは証明書を対象に含む",
       "the Secret is ignored",
       "With ENABLE_SECRET_INFORMER_FILTERING_BY_CERT_UID, net-istio reads labelled Secrets only.",
       "label the Secret networking.internal.knative.dev/certificate-uid",
       {"Secret"},
       {},
       secret_filter});
  out.push_back({"K308",
                 {},
                 {"IST0138"},
                 Severity::Warning,
                 Offline::Yes,
                 "no two Gateways share a certificate",
                 "二つの Gateway が同じ証明書を使用しない",
                 "404 now and then",
                 "Browsers reuse an HTTP/2 connection for every host its certificate covers, also "
                 "when another "
                 "Gateway serves it.",
                 "use one certificate per Gateway",
                 {},
                 {},
                 shared_certificate});
}

}  // namespace knit::check
