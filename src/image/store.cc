#include "image/store.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <set>

#include "base/files.h"
#include "base/hash.h"
#include "image/reference.h"
#include "image/unpack.h"

namespace knit::image {

namespace {

Result<void> make_dir(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return errno_error("mkdir " + path, errno);
  }
  return {};
}

std::string hex_of(std::string_view digest) { return std::string(digest.substr(7)); }

class Sha256 {
 public:
  Sha256() : ctx_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    KNIT_CHECK(EVP_DigestInit_ex(ctx_.get(), EVP_sha256(), nullptr) == 1);
  }
  void update(std::string_view data) {
    KNIT_CHECK(EVP_DigestUpdate(ctx_.get(), data.data(), data.size()) == 1);
  }
  std::string digest() {
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    KNIT_CHECK(EVP_DigestFinal_ex(ctx_.get(), out, &size) == 1);
    return "sha256:" + hash::hex({reinterpret_cast<const char*>(out), size});
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> ctx_;
};

std::vector<std::string> strings(const Json& root, json::Path path) {
  std::vector<std::string> out;
  for (const Json& v : json::array(root, path)) {
    if (v.is_string()) out.emplace_back(v.as_string().c_str(), v.as_string().size());
  }
  return out;
}

}  // namespace

Result<void> remove_tree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return Error(Code::Unavailable, "remove " + path + ": " + error.message());
  return {};
}

Result<Config> parse_config(const Json& config) {
  if (!config.is_object()) return Error(Code::InvalidArgument, "the image config is no object");
  Config out;
  out.entrypoint = strings(config, {"config", "Entrypoint"});
  out.cmd = strings(config, {"config", "Cmd"});
  out.env = strings(config, {"config", "Env"});
  out.user = json::str(config, {"config", "User"});
  out.workdir = json::str(config, {"config", "WorkingDir"});
  out.stop_signal = json::str(config, {"config", "StopSignal"});
  for (const auto& [port, _] : json::object(config, {"config", "ExposedPorts"})) {
    out.exposed_ports.emplace_back(port);
  }
  for (auto& [key, value] : json::string_map(config, {"config", "Labels"})) {
    out.labels.emplace(std::move(key), std::move(value));
  }
  return out;
}

Result<Manifest> parse_manifest(const Json& manifest) {
  if (json::i64(manifest, {"schemaVersion"}) != 2) {
    return Error(Code::Unsupported,
                 "the image manifest has not schemaVersion 2; convert it with "
                 "`skopeo copy`");
  }
  Manifest out;
  out.config = json::str(manifest, {"config", "digest"});
  if (!valid_digest(out.config)) {
    return Error(Code::InvalidArgument, "the image manifest has no config with a sha256 digest");
  }
  const JsonArray& layers = json::array(manifest, {"layers"});
  if (layers.size() > kMaxLayers) {
    return Error(Code::Unsupported, "the image has " + std::to_string(layers.size()) +
                                        " layers; at most " + std::to_string(kMaxLayers) +
                                        " can be stacked");
  }
  for (const Json& layer : layers) {
    out.layers.emplace_back(json::str(layer, {"digest"}));
    out.media_types.emplace_back(json::str(layer, {"mediaType"}));
    out.sizes.push_back(static_cast<std::uint64_t>(json::i64(layer, {"size"})));
    if (!valid_digest(out.layers.back())) {
      return Error(Code::InvalidArgument, "a layer of the image manifest has no sha256 digest");
    }
  }
  return out;
}

Result<Store> Store::open(std::string root) {
  while (root.size() > 1 && root.back() == '/') root.pop_back();
  if (root.empty() || root.front() != '/') {
    return Error(Code::InvalidArgument,
                 "the image store needs an absolute path, not '" + root + "'");
  }
  for (const char* dir : {"", "/blobs", "/blobs/sha256", "/layers", "/tmp"}) {
    KNIT_TRY_VOID(make_dir(root + dir));
  }
  return Store(std::move(root));
}

std::string Store::blob_path(std::string_view digest) const {
  return root_ + "/blobs/sha256/" + hex_of(digest);
}
std::string Store::layer_path(std::string_view digest) const {
  return root_ + "/layers/" + hex_of(digest) + "/fs";
}
bool Store::has_blob(std::string_view digest) const {
  return ::access(blob_path(digest).c_str(), F_OK) == 0;
}
bool Store::has_layer(std::string_view digest) const {
  return ::access(layer_path(digest).c_str(), F_OK) == 0;
}

Result<Fd> Store::lock() const {
  const std::string path = root_ + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error("open " + path, errno);
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return errno_error("lock " + path, errno);
  }
  return fd;
}

Result<std::string> Store::scratch() const {
  std::string path = root_ + "/tmp/XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return errno_error("mkdtemp " + path, errno);
  return path;
}

Result<std::string> Store::put_blob(std::string_view content) const {
  std::string digest = "sha256:" + hash::sha256_hex(content);
  if (has_blob(digest)) return digest;
  std::string path = root_ + "/tmp/blob-XXXXXX";
  const Fd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) return errno_error("create " + path, errno);
  KNIT_TRY_VOID(write_all(fd.get(), content, path));
  if (::fsync(fd.get()) != 0 || ::rename(path.c_str(), blob_path(digest).c_str()) != 0) {
    return errno_error("store " + digest, errno);
  }
  return digest;
}

Result<std::string> Store::put_blob(int from, std::string_view digest,
                                    std::uint64_t max_bytes) const {
  std::string path = root_ + "/tmp/blob-XXXXXX";
  const Fd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) return errno_error("create " + path, errno);
  const auto fail = [&](Error e) {
    ::unlink(path.c_str());
    return e;
  };
  Sha256 sum;
  std::string buffer(1 << 16, '\0');
  for (std::uint64_t total = 0;;) {
    const ssize_t n = ::read(from, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno_error("read blob", errno));
    if (n == 0) break;
    total += static_cast<std::uint64_t>(n);
    if (total > max_bytes) {
      return fail(Error(Code::ResourceExhausted, "a blob of the image is larger than " +
                                                     std::to_string(max_bytes) + " bytes"));
    }
    const std::string_view chunk(buffer.data(), static_cast<std::size_t>(n));
    sum.update(chunk);
    if (auto r = write_all(fd.get(), chunk, path); !r) return fail(std::move(r).error());
  }
  std::string got = sum.digest();
  if (!digest.empty() && got != digest) {
    return fail(Error(Code::InvalidArgument, "the content of blob " + std::string(digest) +
                                                 " has the digest " + got +
                                                 ": the image is damaged"));
  }
  if (::fsync(fd.get()) != 0 || ::rename(path.c_str(), blob_path(got).c_str()) != 0) {
    return fail(errno_error("store " + got, errno));
  }
  return got;
}

Result<std::string> Store::read_blob(std::string_view digest, std::size_t max_bytes) const {
  const std::string path = blob_path(digest);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return errno_error("open blob " + std::string(digest), errno);
  std::string out;
  for (;;) {
    char buffer[8192];
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("read " + path, errno);
    if (n == 0) return out;
    out.append(buffer, static_cast<std::size_t>(n));
    if (out.size() > max_bytes) {
      return Error(Code::ResourceExhausted, "blob " + std::string(digest) + " is larger than " +
                                                std::to_string(max_bytes) + " bytes");
    }
  }
}

Result<void> Store::unpack(std::string_view digest, std::string_view diff_id) const {
  if (has_layer(digest)) return {};
  const std::string path = blob_path(digest);
  const Fd blob(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!blob) return errno_error("open blob " + std::string(digest), errno);
  KNIT_TRY(const std::string dir, scratch());
  const std::string fs = dir + "/fs";
  const auto fail = [&](Error e) {
    (void)remove_tree(dir);
    return std::move(e).within("unpack layer " + std::string(digest));
  };
  // 0755: the layer's root directory is the container's "/" unless the layer says otherwise.
  if (::mkdir(fs.c_str(), 0755) != 0) return fail(errno_error("mkdir " + fs, errno));
  ::chmod(fs.c_str(), 0755);
  auto got = unpack_layer(blob.get(), fs, UnpackKind::Layer);
  if (!got) return fail(std::move(got).error());
  if (!diff_id.empty() && *got != diff_id) {
    return fail(Error(Code::InvalidArgument, "its content has the digest " + *got + ", not " +
                                                 std::string(diff_id) + " as the config says"));
  }
  const std::string to = root_ + "/layers/" + hex_of(digest);
  if (::rename(dir.c_str(), to.c_str()) != 0 && !has_layer(digest)) {
    return fail(errno_error("rename to " + to, errno));
  }
  return {};
}

Result<std::map<std::string, std::string>> Store::refs() const {
  std::map<std::string, std::string> out;
  const std::string path = root_ + "/refs.json";
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno == ENOENT) return out;
  if (!fd) return errno_error("open " + path, errno);
  std::string text;
  char buffer[8192];
  ssize_t n = 0;
  while ((n = ::read(fd.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<std::size_t>(n));
  }
  auto dom = json::parse(text, {.max_bytes = 64 << 20});
  if (!dom) return std::move(dom).error().within(path);
  for (auto& [name, digest] : json::string_map(*dom, {"refs"})) {
    if (valid_digest(digest)) out.emplace(std::move(name), std::move(digest));
  }
  return out;
}

Result<void> Store::write_refs(const std::map<std::string, std::string>& refs) const {
  JsonObject map;
  for (const auto& [name, digest] : refs) map[name] = digest;
  Json root = JsonObject{{"refs", std::move(map)}};
  const std::string path = root_ + "/refs.json";
  const std::string next = path + ".new";
  const Fd fd(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error("open " + next, errno);
  KNIT_TRY_VOID(write_all(fd.get(), json::pretty(root), next));
  if (::fsync(fd.get()) != 0 || ::rename(next.c_str(), path.c_str()) != 0) {
    return errno_error("write " + path, errno);
  }
  return {};
}

Result<void> Store::set_ref(std::string_view reference, std::string_view manifest_digest) const {
  KNIT_TRY(const Fd held, lock());
  KNIT_TRY(auto all, refs());
  all[std::string(reference)] = manifest_digest;
  return write_refs(all);
}

Result<Image> Store::load(std::string reference, std::string name, std::string_view digest) const {
  KNIT_TRY(const std::string manifest_text, read_blob(digest, kMaxManifestBytes));
  KNIT_TRY(const Json manifest_json, json::parse(manifest_text, {.max_bytes = kMaxManifestBytes}));
  KNIT_TRY(const Manifest manifest, parse_manifest(manifest_json));
  KNIT_TRY(const std::string config_text, read_blob(manifest.config, kMaxManifestBytes));
  KNIT_TRY(const Json config_json, json::parse(config_text, {.max_bytes = kMaxManifestBytes}));
  Image out;
  KNIT_TRY(out.config, parse_config(config_json));
  out.reference = std::move(reference);
  out.digest = digest;
  out.repo_digest = name + "@" + out.digest;
  out.config_digest = manifest.config;
  out.layers = manifest.layers;
  for (const auto size : manifest.sizes) out.size += size;
  for (const std::string& layer : out.layers) {
    if (!has_layer(layer)) {
      return Error(Code::NotFound, "layer " + layer + " of image " + out.reference +
                                       " is not unpacked; import the image again");
    }
  }
  return out;
}

Result<Image> Store::find(std::string_view reference) const {
  KNIT_TRY(const Reference ref, parse_reference(reference));
  KNIT_TRY(const auto all, refs());
  std::string digest = ref.digest;
  if (digest.empty()) {
    const auto it = all.find(ref.str());
    if (it != all.end()) digest = it->second;
  } else {
    // A digest is found under any tag of the same repository.
    bool known = false;
    for (const auto& [name, d] : all) {
      known = known || (d == digest &&
                        (name.starts_with(ref.name() + ":") || name.starts_with(ref.name() + "@")));
    }
    if (!known) digest.clear();
  }
  if (digest.empty()) {
    return Error(
        Code::NotFound,
        "image " + ref.str() +
            " is not in the node's store; import it from an OCI layout or a docker-archive "
            "with `knit image import FILE --name " +
            ref.str() + "`");
  }
  return load(ref.str(), ref.name(), digest);
}

Result<std::vector<Listed>> Store::list() const {
  KNIT_TRY(const auto all, refs());
  std::vector<Listed> out;
  for (const auto& [name, digest] : all) {
    auto image = load(name, name, digest);
    out.push_back({name, digest, image ? image->size : 0});
  }
  return out;
}

Result<void> Store::remove(std::string_view reference) {
  KNIT_TRY(const Reference ref, parse_reference(reference));
  KNIT_TRY(const Fd held, lock());
  KNIT_TRY(auto all, refs());
  if (all.erase(ref.str()) == 0) {
    return Error(Code::NotFound, "image " + ref.str() + " is not in the store");
  }
  KNIT_TRY_VOID(write_refs(all));
  std::set<std::string> used;
  for (const auto& [name, digest] : all) {
    used.insert(hex_of(digest));
    KNIT_TRY(const Image image, load(name, name, digest));
    used.insert(hex_of(image.config_digest));
    for (const std::string& layer : image.layers) used.insert(hex_of(layer));
  }
  std::error_code error;
  for (const char* dir : {"/blobs/sha256", "/layers"}) {
    for (const auto& entry : std::filesystem::directory_iterator(root_ + dir, error)) {
      if (!used.contains(entry.path().filename().string())) {
        KNIT_TRY_VOID(remove_tree(entry.path().string()));
      }
    }
  }
  return {};
}

}  // namespace knit::image
