#include "image/import.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <cerrno>

#include "base/hash.h"
#include "image/reference.h"
#include "image/unpack.h"

namespace knit::image {

namespace {

constexpr std::uint64_t kMaxBlobBytes = std::uint64_t{16} << 30;
constexpr std::size_t kMaxIndexEntries = 256;

std::string architecture() {
  utsname name{};
  ::uname(&name);
  const std::string machine = name.machine;
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return machine;
}

/// Files of an unpacked archive; no path of the archive leads out of it.
class Directory {
 public:
  static Result<Directory> open(const std::string& path) {
    Fd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return errno_error("open " + path, errno);
    return Directory(std::move(fd));
  }
  Result<Fd> file(const std::string& path) const {
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    Fd fd(static_cast<int>(::syscall(SYS_openat2, fd_.get(), path.c_str(), &how, sizeof how)));
    if (!fd) return errno_error("open " + path, errno);
    struct stat st{};
    if (::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) {
      return Error(Code::InvalidArgument, path + " is no regular file");
    }
    return fd;
  }
  Result<Json> json(const std::string& path) const {
    KNIT_TRY(const Fd fd, file(path));
    std::string text;
    char buffer[8192];
    for (;;) {
      const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
      if (n < 0) return errno_error("read " + path, errno);
      if (n == 0) break;
      text.append(buffer, static_cast<std::size_t>(n));
      if (text.size() > kMaxManifestBytes) {
        return Error(Code::ResourceExhausted, path + " is too large");
      }
    }
    auto dom = json::parse(text, {.max_bytes = kMaxManifestBytes});
    if (!dom) return std::move(dom).error().within(path);
    return dom;
  }

 private:
  explicit Directory(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

Result<void> store_blob(const Store& store, const Directory& from, const std::string& path,
                        std::string_view digest, std::uint64_t max_bytes) {
  if (store.has_blob(digest)) return {};
  KNIT_TRY(const Fd fd, from.file(path));
  KNIT_TRY(const std::string stored, store.put_blob(fd.get(), digest, max_bytes));
  static_cast<void>(stored);
  return {};
}

std::string oci_path(std::string_view digest) {
  return "blobs/sha256/" + std::string(digest.substr(7));
}

/// Unpacks the layers of a stored manifest whose blobs are all stored.
Result<void> finish(const Store& store, const Manifest& manifest) {
  KNIT_TRY(const std::string text, store.read_blob(manifest.config, kMaxManifestBytes));
  KNIT_TRY(const Json config, json::parse(text, {.max_bytes = kMaxManifestBytes}));
  const std::string_view arch = json::str(config, {"architecture"});
  if (!arch.empty() && arch != architecture()) {
    return Error(Code::Unsupported,
                 "the image is for " + std::string(arch) + ", this machine is " + architecture());
  }
  KNIT_TRY_VOID([&]() -> Result<void> {
    KNIT_TRY(const Config parsed, parse_config(config));
    static_cast<void>(parsed);
    return {};
  }());
  const JsonArray& ids = json::array(config, {"rootfs", "diff_ids"});
  if (ids.size() != manifest.layers.size()) {
    return Error(Code::InvalidArgument, "the image has " + std::to_string(manifest.layers.size()) +
                                            " layers and " + std::to_string(ids.size()) +
                                            " diff_ids");
  }
  for (std::size_t i = 0; i < manifest.layers.size(); ++i) {
    const std::string id = ids[i].is_string() ? std::string(ids[i].as_string()) : std::string();
    if (!valid_digest(id)) return Error(Code::InvalidArgument, "a diff_id is no sha256 digest");
    KNIT_TRY_VOID(store.unpack(manifest.layers[i], id));
  }
  return {};
}

/// Gives the digest of the stored image manifest that `digest` (manifest or index) leads to.
Result<std::string> import_oci_manifest(const Store& store, const Directory& from,
                                        std::string digest, int depth = 0) {
  if (!valid_digest(digest) || depth > 3) {
    return Error(Code::InvalidArgument, "the index of the OCI layout is malformed");
  }
  KNIT_TRY_VOID(store_blob(store, from, oci_path(digest), digest, kMaxManifestBytes));
  KNIT_TRY(const std::string text, store.read_blob(digest, kMaxManifestBytes));
  KNIT_TRY(const Json dom, json::parse(text, {.max_bytes = kMaxManifestBytes}));
  if (json::find(dom, "manifests") != nullptr) {
    for (const Json& entry : json::array(dom, {"manifests"})) {
      if (json::str(entry, {"platform", "os"}, "linux") == "linux" &&
          json::str(entry, {"platform", "architecture"}, architecture()) == architecture()) {
        return import_oci_manifest(store, from, std::string(json::str(entry, {"digest"})),
                                   depth + 1);
      }
    }
    return Error(Code::Unsupported, "the image index has nothing for linux/" + architecture());
  }
  KNIT_TRY(const Manifest manifest, parse_manifest(dom));
  KNIT_TRY_VOID(
      store_blob(store, from, oci_path(manifest.config), manifest.config, kMaxManifestBytes));
  for (const std::string& layer : manifest.layers) {
    KNIT_TRY_VOID(store_blob(store, from, oci_path(layer), layer, kMaxBlobBytes));
  }
  KNIT_TRY_VOID(finish(store, manifest));
  return digest;
}

Result<std::vector<std::string>> import_oci(const Store& store, const Directory& from,
                                            std::string_view name) {
  KNIT_TRY(const Json index, from.json("index.json"));
  const JsonArray& entries = json::array(index, {"manifests"});
  if (entries.empty() || entries.size() > kMaxIndexEntries) {
    return Error(Code::InvalidArgument, "the OCI layout holds " + std::to_string(entries.size()) +
                                            " images; want 1 to " +
                                            std::to_string(kMaxIndexEntries));
  }
  if (!name.empty() && entries.size() > 1) {
    return Error(Code::InvalidArgument,
                 "the OCI layout holds several images: one --name cannot "
                 "name them all");
  }
  std::vector<std::string> names;
  for (const Json& entry : entries) {
    std::string as(name);
    for (const char* key : {"io.containerd.image.name", "org.opencontainers.image.ref.name"}) {
      if (!as.empty()) break;
      const std::string_view found = json::str(entry, {"annotations", key});
      // A bare tag is no name.
      if (found.find('/') != std::string_view::npos || found.find(':') != std::string_view::npos) {
        as = found;
      }
    }
    if (as.empty()) {
      return Error(Code::InvalidArgument,
                   "the OCI layout does not name its image; give "
                   "`--name registry/repository:tag`");
    }
    KNIT_TRY(const Reference ref, parse_reference(as));
    KNIT_TRY(const std::string digest,
             import_oci_manifest(store, from, std::string(json::str(entry, {"digest"}))));
    KNIT_TRY_VOID(store.set_ref(ref.str(), digest));
    names.push_back(ref.str());
  }
  return names;
}

Result<std::string> store_manifest(const Store& store, std::string_view config,
                                   std::size_t config_size, const std::vector<std::string>& layers,
                                   const std::vector<std::uint64_t>& sizes) {
  JsonArray list;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    list.push_back(JsonObject{{"mediaType", "application/vnd.oci.image.layer.v1.tar"},
                              {"digest", layers[i]},
                              {"size", sizes[i]}});
  }
  const Json manifest =
      JsonObject{{"schemaVersion", 2},
                 {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                 {"config", JsonObject{{"mediaType", "application/vnd.oci.image.config.v1+json"},
                                       {"digest", config},
                                       {"size", config_size}}},
                 {"layers", std::move(list)}};
  return store.put_blob(json::print(manifest));
}

Result<std::vector<std::string>> import_docker(const Store& store, const Directory& from,
                                               std::string_view name) {
  KNIT_TRY(const Json manifests, from.json("manifest.json"));
  if (!manifests.is_array() || manifests.as_array().empty() ||
      manifests.as_array().size() > kMaxIndexEntries) {
    return Error(Code::InvalidArgument, "manifest.json of the archive lists no images");
  }
  if (!name.empty() && manifests.as_array().size() > 1) {
    return Error(Code::InvalidArgument,
                 "the archive holds several images: one --name cannot name "
                 "them all");
  }
  std::vector<std::string> names;
  for (const Json& entry : manifests.as_array()) {
    KNIT_TRY(const Fd config_fd, from.file(std::string(json::str(entry, {"Config"}))));
    KNIT_TRY(const std::string config, store.put_blob(config_fd.get(), {}, kMaxManifestBytes));
    KNIT_TRY(const std::string config_text, store.read_blob(config, kMaxManifestBytes));
    const JsonArray& paths = json::array(entry, {"Layers"});
    if (paths.size() > kMaxLayers) {
      return Error(Code::Unsupported,
                   "the image has more than " + std::to_string(kMaxLayers) + " layers");
    }
    std::vector<std::string> layers;
    std::vector<std::uint64_t> sizes;
    for (const Json& path : paths) {
      if (!path.is_string()) return Error(Code::InvalidArgument, "manifest.json is malformed");
      KNIT_TRY(const Fd fd, from.file(std::string(path.as_string())));
      struct stat st{};
      ::fstat(fd.get(), &st);
      KNIT_TRY(std::string digest, store.put_blob(fd.get(), {}, kMaxBlobBytes));
      layers.push_back(std::move(digest));
      sizes.push_back(static_cast<std::uint64_t>(st.st_size));
    }
    KNIT_TRY(const std::string digest,
             store_manifest(store, config, config_text.size(), layers, sizes));
    KNIT_TRY_VOID(finish(store, {config, layers, {}, sizes}));
    std::vector<std::string> as;
    if (!name.empty()) {
      as.emplace_back(name);
    } else {
      for (const Json& tag : json::array(entry, {"RepoTags"})) {
        if (tag.is_string()) as.emplace_back(tag.as_string().c_str());
      }
    }
    if (as.empty()) {
      return Error(Code::InvalidArgument,
                   "the archive does not name its image; give `--name "
                   "registry/repository:tag`");
    }
    for (const std::string& one : as) {
      KNIT_TRY(const Reference ref, parse_reference(one));
      KNIT_TRY_VOID(store.set_ref(ref.str(), digest));
      names.push_back(ref.str());
    }
  }
  return names;
}

Result<std::vector<std::string>> import_directory(const Store& store, const std::string& path,
                                                  std::string_view name) {
  KNIT_TRY(const Directory from, Directory::open(path));
  if (from.file("index.json")) return import_oci(store, from, name);
  if (from.file("manifest.json")) return import_docker(store, from, name);
  return Error(Code::InvalidArgument,
               "this is neither an OCI layout (index.json) nor a "
               "docker-archive (manifest.json)");
}

void put_octal(std::string& header, std::size_t at, std::size_t width, std::uint64_t value) {
  for (std::size_t i = width - 1; i-- > 0; value >>= 3) {
    header[at + i] = static_cast<char>('0' + (value & 7));
  }
}

/// One ustar entry, owned by root, dated 1970.
std::string tar_entry(std::string_view name, char type, std::uint64_t mode, std::string_view data) {
  std::string header(512, '\0');
  header.replace(0, name.size(), name);
  put_octal(header, 100, 8, mode);
  put_octal(header, 108, 8, 0);
  put_octal(header, 116, 8, 0);
  put_octal(header, 124, 12, data.size());
  put_octal(header, 136, 12, 0);
  header.replace(148, 8, "        ");
  header[156] = type;
  header.replace(257, 8, std::string_view("ustar\00000", 8));
  std::uint64_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put_octal(header, 148, 7, sum);
  header[154] = '\0';
  header += data;
  header.resize((header.size() + 511) / 512 * 512, '\0');
  return header;
}

}  // namespace

Result<std::vector<std::string>> import_archive(Store& store, const std::string& path,
                                                std::string_view name) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return errno_error("import " + path, errno);
  const auto within = [&](Result<std::vector<std::string>> r) -> Result<std::vector<std::string>> {
    if (!r) return std::move(r).error().within("import " + path);
    return r;
  };
  if (S_ISDIR(st.st_mode)) return within(import_directory(store, path, name));
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_error("open " + path, errno);
  KNIT_TRY(const std::string staging, store.scratch());
  auto result = [&]() -> Result<std::vector<std::string>> {
    KNIT_TRY(const std::string digest, unpack_layer(file.get(), staging, UnpackKind::Archive));
    static_cast<void>(digest);
    return import_directory(store, staging, name);
  }();
  KNIT_TRY_VOID(remove_tree(staging));
  return within(std::move(result));
}

Result<std::vector<std::string>> import_archive(const std::string& store_root,
                                                const std::string& path, std::string_view name) {
  KNIT_TRY(Store store, Store::open(store_root));
  return import_archive(store, path, name);
}

Result<std::vector<Listed>> list(const std::string& store_root) {
  KNIT_TRY(const Store store, Store::open(store_root));
  return store.list();
}

Result<void> ensure_builtin(Store& store) {
  const std::string layer = tar_entry("hello", '0', 0755, hello_program()) +
                            tar_entry("tmp/", '5', 01777, {}) + std::string(1024, '\0');
  const std::string digest = "sha256:" + hash::sha256_hex(layer);
  const Json config =
      JsonObject{{"architecture", architecture()},
                 {"os", "linux"},
                 {"config", JsonObject{{"Entrypoint", JsonArray{"/hello"}},
                                       {"Env", JsonArray{"PATH=/"}},
                                       {"User", "65532:65532"},
                                       {"WorkingDir", "/"},
                                       {"ExposedPorts", JsonObject{{"8080/tcp", JsonObject{}}}},
                                       {"StopSignal", "SIGTERM"}}},
                 {"rootfs", JsonObject{{"type", "layers"}, {"diff_ids", JsonArray{digest}}}}};
  const std::string config_text = json::print(config);
  KNIT_TRY(const std::string config_digest, store.put_blob(config_text));
  KNIT_TRY(const std::string layer_digest, store.put_blob(layer));
  KNIT_TRY(const std::string manifest, store_manifest(store, config_digest, config_text.size(),
                                                      {layer_digest}, {layer.size()}));
  KNIT_TRY_VOID(store.unpack(layer_digest, digest));
  if (auto found = store.find(kHelloImage); found && found->digest == manifest) return {};
  return store.set_ref(kHelloImage, manifest);
}

Result<std::string> resolve_digest(const Store& store, std::string_view reference) {
  KNIT_TRY(const Image image, store.find(reference));
  return image.repo_digest;
}

}  // namespace knit::image
