// `knit cert root | wildcard | issue`, without printing: what to print and which files to write.
#pragma once

#include <map>

#include "pki/vault.h"

namespace knit::pki {

struct CertEnvironment {
  std::string data_dir;     // DATA
  std::string apps_domain;  // of the settings
  std::string trust_domain = "cluster.local";
  WallTime now{};
};
struct CertOutput {
  std::string text;                          // for standard output
  std::map<std::string, std::string> files;  // path → PEM, to be written 0600
};

/// Arguments after `knit cert`:
///   root                                             the apps root, PEM
///   wildcard [--namespace NS] [--name NAME] [--out DIR]
///                                                    a Secret that kubectl can apply, or with
///                                                    --out wildcard.crt, wildcard.key, root.crt
///   issue --sa NS/NAME [--mesh NS] [--out DIR]       key, chain and mesh root of a workload
/// Errors: InvalidArgument with the usage of the verb.
Result<CertOutput> cert_command(const std::vector<std::string>& arguments,
                                const CertEnvironment& environment);

}  // namespace knit::pki
