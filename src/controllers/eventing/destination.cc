#include "controllers/eventing/destination.h"

namespace knit::eventing {
namespace {
std::string without_dots(std::string_view path) {
  std::vector<std::string_view> parts;
  bool slash_at_end = false;
  for (std::size_t at = 0; at < path.size();) {
    auto end = path.find('/', at + 1);
    if (end == std::string_view::npos) end = path.size();
    const auto part = path.substr(at, end - at);  // with its leading slash
    slash_at_end = part == "/" || part == "/." || part == "/..";
    if (part == "/..") {
      if (!parts.empty()) parts.pop_back();
    } else if (part != "/." && (part != "/" || end == path.size())) {
      if (part != "/") parts.push_back(part);
    }
    at = end;
  }
  std::string out;
  for (const auto part : parts) out += part;
  if (slash_at_end || out.empty()) out += "/";
  return out;
}
}  // namespace

std::string resolve_reference(std::string_view base, std::string_view reference) {
  if (reference.empty()) return std::string(base);
  if (reference.find("://") != std::string_view::npos) return std::string(reference);
  const auto scheme = base.find("://");
  const auto host = scheme == std::string_view::npos ? 0 : scheme + 3;
  const auto path_at = std::min(base.find_first_of("/?#", host), base.size());
  const std::string root(base.substr(0, path_at));
  std::string_view path = base.substr(path_at);
  path = path.substr(0, path.find_first_of("?#"));
  if (reference[0] == '?' || reference[0] == '#') {
    return root + std::string(path) + std::string(reference);
  }
  const auto tail_at = std::min(reference.find_first_of("?#"), reference.size());
  const auto tail = reference.substr(tail_at);
  std::string joined;
  if (reference[0] != '/') {
    const auto last = path.rfind('/');
    joined = last == std::string_view::npos ? "/" : std::string(path.substr(0, last + 1));
  }
  joined += reference.substr(0, tail_at);
  return root + without_dots(joined) + std::string(tail);
}

std::optional<Address> address_of(const Json& object) {
  const Json* address = json::find(object, {"status", "address"});
  if (address == nullptr || json::str(*address, {"url"}).empty()) {
    const auto& all = json::array(object, {"status", "addresses"});
    if (all.empty()) return std::nullopt;
    address = &all[0];
  }
  Address out{std::string(json::str(*address, {"url"})),
              std::string(json::str(*address, {"CACerts"})),
              std::string(json::str(*address, {"audience"}))};
  if (out.url.empty()) return std::nullopt;
  return out;
}

Json address_json(const Address& address) {
  Json out = JsonObject();
  json::set(out, {"name"}, Json(address.url.starts_with("https:") ? "https" : "http"));
  json::set(out, {"url"}, Json(address.url));
  if (!address.ca_certs.empty()) json::set(out, {"CACerts"}, Json(address.ca_certs));
  if (!address.audience.empty()) json::set(out, {"audience"}, Json(address.audience));
  return out;
}

Result<Address> resolve(const World& world, const Json& destination, std::string_view ns,
                        std::string_view cluster_domain) {
  const auto uri = json::str(destination, {"uri"});
  const Json* reference = json::find(destination, "ref");
  Address out;
  if (reference == nullptr || reference->is_null()) {
    if (uri.empty()) {
      return Error(Code::InvalidArgument, "destination missing Ref and URI, expected at least one");
    }
    if (uri.find("://") == std::string_view::npos) {
      return Error(Code::InvalidArgument,
                   "URI is not absolute (both scheme and host should be "
                   "non-empty): \"" +
                       std::string(uri) + "\"");
    }
    out.url = uri;
  } else {
    const auto key = key_of(*reference, ns);
    if (!key) {
      return Error(Code::NotFound, "failed to get lister for " +
                                       std::string(json::str(*reference, {"apiVersion"})) + ", " +
                                       std::string(json::str(*reference, {"kind"})) +
                                       ": no such kind");
    }
    const Json object = world.view(*key);
    if (object.is_null()) {
      return Error(Code::NotFound, "failed to get object " + key->ns + "/" + key->name + ": " +
                                       std::string(key->resource.name()) + " \"" + key->name +
                                       "\" not found");
    }
    if (key->resource == res::services()) {
      out.url = "http://" + key->name + "." + key->ns + ".svc." + std::string(cluster_domain);
    } else {
      auto found = address_of(object);
      if (!found) {
        return Error(Code::Unavailable, "address not set for " +
                                            std::string(json::str(*reference, {"kind"})) + " " +
                                            key->ns + "/" + key->name);
      }
      out = std::move(*found);
    }
    out.url = resolve_reference(out.url, uri);
  }
  if (const auto ca = json::str(destination, {"CACerts"}); !ca.empty()) out.ca_certs = ca;
  if (const auto aud = json::str(destination, {"audience"}); !aud.empty()) out.audience = aud;
  return out;
}

}  // namespace knit::eventing
