#include "pki/cert_command.h"

#include "pki/secrets.h"
#include "pki/spiffe.h"

namespace knit::pki {
namespace {

constexpr const char* kUsage =
    "usage: knit cert root\n"
    "       knit cert wildcard [--namespace istio-system] [--name wildcard-certs] [--out DIR]\n"
    "       knit cert issue --sa NAMESPACE/NAME [--mesh istio-system] [--out DIR]";

using Options = std::map<std::string, std::string>;

/// "--name value" and "--name=value", only those in `allowed`.
Result<Options> parse_options(const std::vector<std::string>& arguments, const Options& defaults) {
  Options out = defaults;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    std::string value;
    const auto equals = name.find('=');
    if (equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    }
    if (!out.contains(name)) {
      return Error(Code::InvalidArgument, "unknown option \"" + name + "\"\n" + kUsage);
    }
    if (value.empty()) {
      return Error(Code::InvalidArgument, "option " + name + " needs a value\n" + kUsage);
    }
    out[name] = std::move(value);
  }
  return out;
}

/// The Secret as YAML with the PEM readable, for kubectl apply.
std::string secret_yaml(const std::string& ns, const std::string& name, const Credential& c) {
  const auto block = [](std::string_view pem) {
    std::string out;
    while (!pem.empty()) {
      const auto end = pem.find('\n');
      out += "    " + std::string(pem.substr(0, end)) + "\n";
      pem.remove_prefix(end == std::string_view::npos ? pem.size() : end + 1);
    }
    return out;
  };
  return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: " + name + "\n  namespace: " + ns +
         "\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n" + block(c.chain_pem) +
         "  tls.key: |\n" + block(c.key_pem);
}

bool plain_name(const std::string& s) {
  return !s.empty() && s.size() <= 253 &&
         s.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") == std::string::npos;
}

Result<CertOutput> wildcard(const Vault& vault, const Options& options,
                            const CertEnvironment& environment) {
  const std::string& ns = options.at("--namespace");
  const std::string& name = options.at("--name");
  if (!plain_name(ns) || !plain_name(name)) {
    return Error(Code::InvalidArgument, "--namespace and --name are lower-case DNS names");
  }
  KNIT_TRY(const auto apps, vault.apps(environment.apps_domain, environment.now));
  KNIT_TRY(const Credential credential,
           wildcard_certificate(*apps, environment.apps_domain, environment.now));
  CertOutput out;
  const std::string& directory = options.at("--out");
  if (directory.empty()) {
    out.text = secret_yaml(ns, name, credential);
    return out;
  }
  out.files = {{directory + "/wildcard.crt", credential.chain_pem},
               {directory + "/wildcard.key", credential.key_pem},
               {directory + "/root.crt", apps->root_pem()}};
  out.text = "wrote " + directory + "/wildcard.crt, wildcard.key and root.crt\n";
  return out;
}

Result<CertOutput> issue(const Vault& vault, const Options& options,
                         const CertEnvironment& environment) {
  const std::string& account = options.at("--sa");
  const auto slash = account.find('/');
  if (slash == std::string::npos) {
    return Error(Code::InvalidArgument, std::string("--sa is NAMESPACE/NAME\n") + kUsage);
  }
  const SpiffeId id{environment.trust_domain, account.substr(0, slash), account.substr(slash + 1)};
  KNIT_TRY(const auto mesh, vault.mesh(options.at("--mesh"), environment.now));
  const std::string key = new_key();
  KNIT_TRY(const std::string csr, make_csr(key));
  KNIT_TRY(const std::string chain, issue_workload(*mesh, csr, id, environment.now));
  CertOutput out;
  const std::string& directory = options.at("--out");
  if (directory.empty()) {
    out.text = chain + key;
    return out;
  }
  out.files = {{directory + "/cert-chain.pem", chain},
               {directory + "/key.pem", key},
               {directory + "/root-cert.pem", mesh->root_pem()}};
  out.text = "wrote " + directory + "/cert-chain.pem, key.pem and root-cert.pem for " +
             to_string(id) + "\n";
  return out;
}

}  // namespace

Result<CertOutput> cert_command(const std::vector<std::string>& arguments,
                                const CertEnvironment& environment) {
  const std::string verb = arguments.empty() ? "" : arguments[0];
  Options allowed;
  if (verb == "wildcard") {
    allowed = {{"--namespace", "istio-system"}, {"--name", "wildcard-certs"}, {"--out", ""}};
  } else if (verb == "issue") {
    allowed = {{"--sa", ""}, {"--mesh", "istio-system"}, {"--out", ""}};
  } else if (verb != "root") {
    return Error(Code::InvalidArgument, kUsage);
  }
  KNIT_TRY(const Options options, parse_options(arguments, allowed));
  KNIT_TRY(const Vault vault, Vault::open(environment.data_dir + "/pki"));
  if (verb == "wildcard") return wildcard(vault, options, environment);
  if (verb == "issue") return issue(vault, options, environment);
  KNIT_TRY(const auto apps, vault.apps(environment.apps_domain, environment.now));
  CertOutput out;
  out.text = apps->root_pem();
  return out;
}

}  // namespace knit::pki
