#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "base/hash.h"
#include "image/import.h"
#include "image/reference.h"
#include "image/store.h"
#include "image/unpack.h"

namespace knit::image {
namespace {

namespace fs = std::filesystem;

class TempDir {
 public:
  TempDir() {
    path_ = "/tmp/knit-image-XXXXXX";
    KNIT_CHECK(::mkdtemp(path_.data()) != nullptr);
  }
  ~TempDir() { fs::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct Entry {
  std::string name;
  mode_t type = AE_IFREG;
  std::string data;  // content or link target
  bool hard = false;
};

std::string make_tar(const std::vector<Entry>& entries) {
  std::string out(4 << 20, '\0');
  std::size_t used = 0;
  struct archive* a = archive_write_new();
  archive_write_set_format_pax_restricted(a);
  archive_write_open_memory(a, out.data(), out.size(), &used);
  for (const Entry& entry : entries) {
    struct archive_entry* e = archive_entry_new();
    archive_entry_set_pathname(e, entry.name.c_str());
    archive_entry_set_filetype(e, entry.type);
    archive_entry_set_perm(e, entry.type == AE_IFDIR ? 0750 : 04755);
    archive_entry_set_uid(e, 1000);
    archive_entry_set_gid(e, 1001);
    if (entry.hard) {
      archive_entry_set_hardlink(e, entry.data.c_str());
    } else if (entry.type == AE_IFLNK) {
      archive_entry_set_symlink(e, entry.data.c_str());
    } else if (entry.type == AE_IFREG) {
      archive_entry_set_size(e, static_cast<la_int64_t>(entry.data.size()));
    } else if (entry.type == AE_IFCHR) {
      archive_entry_set_rdevmajor(e, 1);
      archive_entry_set_rdevminor(e, 1);
    }
    archive_write_header(a, e);
    if (entry.type == AE_IFREG && !entry.hard) {
      archive_write_data(a, entry.data.data(), entry.data.size());
    }
    archive_entry_free(e);
  }
  archive_write_close(a);
  archive_write_free(a);
  out.resize(used);
  return out;
}

void write_file(const std::string& path, std::string_view text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}
std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Result<std::string> unpack_bytes(const std::string& tar, const std::string& into,
                                 UnpackKind kind = UnpackKind::Layer,
                                 Sandbox sandbox = Sandbox::UserNamespace) {
  TempDir dir;
  write_file(dir.path() + "/t.tar", tar);
  const Fd fd(::open((dir.path() + "/t.tar").c_str(), O_RDONLY | O_CLOEXEC));
  return unpack_layer(fd.get(), into, kind, sandbox);
}

#define NEEDS_ROOT() \
  if (::geteuid() != 0) GTEST_SKIP() << "unpacking needs root (an identity map of all ids)"

TEST(Reference, Table) {
  const struct {
    const char* in;
    const char* want;  // nullptr: refused
  } rows[] = {
      {"hello", "docker.io/library/hello:latest"},
      {"user/app:v1", "docker.io/user/app:v1"},
      {"knit.local/hello", "knit.local/hello:latest"},
      {"localhost/x", "localhost/x:latest"},
      {"localhost:5000/a/b:t", "localhost:5000/a/b:t"},
      {"index.docker.io/library/x", "docker.io/library/x:latest"},
      {"quay.io/a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
       "quay.io/a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
      {"quay.io/a/b@sha256:12", nullptr},
      {"Upper/x", nullptr},
      {"a..b/c", nullptr},
      {"a__b/c", "docker.io/a__b/c:latest"},
      {"", nullptr},
      {"x:", nullptr},
      {"knit.local/../etc", nullptr},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.in);
    const auto got = parse_reference(row.in);
    ASSERT_EQ(got.has_value(), row.want != nullptr);
    if (got) {
      EXPECT_EQ(got->str(), row.want);
    }
  }
  EXPECT_EQ(role_of("knit.local/role/queue-proxy"), "queue-proxy");
  EXPECT_EQ(role_of("knit.local/role/istiod:latest"), "istiod");
  EXPECT_EQ(role_of("knit.local/hello"), "");
}

/// Both ways to hold the unpacker: a chroot gets no user namespace.
class Unpack : public testing::TestWithParam<Sandbox> {};
INSTANTIATE_TEST_SUITE_P(Sandboxes, Unpack,
                         testing::Values(Sandbox::UserNamespace, Sandbox::Capabilities));

TEST_P(Unpack, LayersKeepOwnersAndTurnWhiteoutsIntoOverlays) {
  NEEDS_ROOT();
  TempDir dir;
  const std::string tar = make_tar({{"etc/", AE_IFDIR, ""},
                                    {"etc/a", AE_IFREG, "A"},
                                    {"./bin/sh", AE_IFREG, "x"},
                                    {"etc/.wh.gone", AE_IFREG, ""},
                                    {"var/.wh..wh..opq", AE_IFREG, ""},
                                    {"etc/ü", AE_IFREG, "utf8"},
                                    {"same", AE_IFREG, "etc/a", true},
                                    {"dev/mem", AE_IFCHR, ""}});
  const auto got = unpack_bytes(tar, dir.path(), UnpackKind::Layer, GetParam());
  ASSERT_TRUE(got.has_value()) << got.error().message();
  EXPECT_EQ(*got, "sha256:" + hash::sha256_hex(tar));
  struct stat st{};
  ASSERT_EQ(::stat((dir.path() + "/bin/sh").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 1000U);
  EXPECT_EQ(st.st_gid, 1001U);
  EXPECT_EQ(st.st_mode & 07777U, 04755U);
  EXPECT_EQ(read_file(dir.path() + "/same"), "A");
  EXPECT_EQ(read_file(dir.path() + "/etc/ü"), "utf8");
  ASSERT_EQ(::stat((dir.path() + "/etc").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777U, 0750U);
  ASSERT_EQ(::lstat((dir.path() + "/etc/gone").c_str(), &st), 0);
  EXPECT_TRUE(S_ISCHR(st.st_mode));
  EXPECT_EQ(st.st_rdev, 0U);
  char opaque = 0;
  EXPECT_EQ(::getxattr((dir.path() + "/var").c_str(), "trusted.overlay.opaque", &opaque, 1), 1);
  EXPECT_EQ(opaque, 'y');
  EXPECT_FALSE(fs::exists(dir.path() + "/dev/mem"));  // devices never come from an image
}

TEST_P(Unpack, HostileArchivesStayInside) {
  NEEDS_ROOT();
  TempDir outside;
  write_file(outside.path() + "/secret", "secret");
  const std::string up = "../.." + outside.path();
  const struct {
    const char* name;
    std::vector<Entry> entries;
    bool refused;
  } rows[] = {
      {"dot dot", {{"../evil", AE_IFREG, "x"}}, true},
      {"dot dot inside", {{"a/../../evil", AE_IFREG, "x"}}, true},
      {"hard link out", {{"l", AE_IFREG, "../" + outside.path() + "/secret", true}}, true},
      {"hard link absolute", {{"l", AE_IFREG, outside.path() + "/secret", true}}, true},
      // A symbolic link is allowed, but followed inside the directory only.
      {"through a symlink", {{"l", AE_IFLNK, outside.path()}, {"l/evil", AE_IFREG, "x"}}, false},
      {"through a relative symlink", {{"l", AE_IFLNK, up}, {"l/evil", AE_IFREG, "x"}}, false},
      {"absolute name", {{outside.path() + "/evil", AE_IFREG, "x"}}, false},
      {"whiteout of nothing", {{"a/.wh.", AE_IFREG, ""}}, true},
      {"whiteout of the parent", {{"a/.wh...", AE_IFREG, ""}}, true},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    TempDir dir;
    const auto got = unpack_bytes(make_tar(row.entries), dir.path(), UnpackKind::Layer, GetParam());
    if (row.refused) {
      EXPECT_FALSE(got.has_value());
    }
    EXPECT_FALSE(fs::exists(outside.path() + "/evil"));
    EXPECT_EQ(read_file(outside.path() + "/secret"), "secret");
  }
}

TEST_P(Unpack, GarbageIsRefused) {
  NEEDS_ROOT();
  TempDir dir;
  const auto got =
      unpack_bytes("this is no archive at all", dir.path(), UnpackKind::Layer, GetParam());
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code(), Code::InvalidArgument);
}

TEST(Store, BuiltinImageIsFoundByTagAndDigest) {
  NEEDS_ROOT();
  TempDir dir;
  auto store = Store::open(dir.path() + "/images");
  ASSERT_TRUE(store.has_value());
  ASSERT_TRUE(ensure_builtin(*store));
  ASSERT_TRUE(ensure_builtin(*store));  // again changes nothing
  const auto image = store->find("knit.local/hello");
  ASSERT_TRUE(image.has_value()) << image.error().message();
  EXPECT_EQ(image->config.entrypoint, std::vector<std::string>{"/hello"});
  EXPECT_EQ(image->config.user, "65532:65532");
  EXPECT_EQ(read_file(store->layer_path(image->layers.at(0)) + "/hello"), hello_program());
  EXPECT_LE(hello_program().size(), std::size_t{1} << 20);
  const auto digest = resolve_digest(*store, "knit.local/hello:latest");
  ASSERT_TRUE(digest.has_value());
  const auto again = store->find(*digest);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->digest, image->digest);
  EXPECT_EQ(store->list()->size(), 1U);
}

TEST(Store, MissingImageSaysHowToImportIt) {
  TempDir dir;
  auto store = Store::open(dir.path() + "/images");
  ASSERT_TRUE(store.has_value());
  const auto got = store->find("quay.io/a/b:c");
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code(), Code::NotFound);
  EXPECT_NE(got.error().message().find("knit image import"), std::string::npos);
}

/// An OCI layout with one layer.
void write_oci(const std::string& dir, const std::string& layer, const std::string& diff_id,
               const char* annotation) {
  const auto blob = [&](const std::string& data) {
    const std::string hex = hash::sha256_hex(data);
    write_file(dir + "/blobs/sha256/" + hex, data);
    return "sha256:" + hex;
  };
  const std::string config =
      blob(R"({"os":"linux","config":{"Cmd":["/a"]},"rootfs":{"diff_ids":[")" + diff_id + "\"]}}");
  const std::string manifest =
      blob(R"({"schemaVersion":2,"config":{"digest":")" + config + R"("},"layers":[{"digest":")" +
           blob(layer) + R"(","size":1}]})");
  write_file(dir + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  write_file(dir + "/index.json", R"({"schemaVersion":2,"manifests":[{"digest":")" + manifest +
                                      R"(","annotations":{)" + annotation + "}}]}");
}

TEST(Import, OciLayout) {
  NEEDS_ROOT();
  TempDir dir;
  auto store = Store::open(dir.path() + "/images");
  const std::string layer = make_tar({{"a", AE_IFREG, "A"}});
  write_oci(dir.path() + "/oci", layer, "sha256:" + hash::sha256_hex(layer),
            R"("org.opencontainers.image.ref.name":"v1")");
  const auto unnamed = import_archive(*store, dir.path() + "/oci");
  ASSERT_FALSE(unnamed.has_value());
  EXPECT_NE(unnamed.error().message().find("--name"), std::string::npos);
  const auto named = import_archive(*store, dir.path() + "/oci", "quay.io/x/app:v1");
  ASSERT_TRUE(named.has_value()) << named.error().message();
  EXPECT_EQ(*named, std::vector<std::string>{"quay.io/x/app:v1"});
  EXPECT_EQ(store->find("quay.io/x/app:v1")->config.cmd, std::vector<std::string>{"/a"});
  ASSERT_TRUE(store->remove("quay.io/x/app:v1"));
  EXPECT_FALSE(store->find("quay.io/x/app:v1").has_value());
  EXPECT_TRUE(fs::is_empty(store->root() + "/layers"));
}

TEST(Import, WrongDigestsAreRefused) {
  NEEDS_ROOT();
  TempDir dir;
  auto store = Store::open(dir.path() + "/images");
  const std::string layer = make_tar({{"a", AE_IFREG, "A"}});
  write_oci(dir.path() + "/bad-diff", layer, "sha256:" + hash::sha256_hex("other"), "");
  const auto diff = import_archive(*store, dir.path() + "/bad-diff", "x/y");
  ASSERT_FALSE(diff.has_value());
  EXPECT_NE(diff.error().message().find("as the config says"), std::string::npos);
  write_oci(dir.path() + "/bad-blob", layer + "x", "sha256:" + hash::sha256_hex(layer), "");
  const std::string hex = hash::sha256_hex(layer + "x");
  write_file(dir.path() + "/bad-blob/blobs/sha256/" + hex, "tampered");
  const auto blob = import_archive(*store, dir.path() + "/bad-blob", "x/y");
  ASSERT_FALSE(blob.has_value());
  EXPECT_NE(blob.error().message().find("the image is damaged"), std::string::npos);
}

TEST(Import, DockerArchive) {
  NEEDS_ROOT();
  TempDir dir;
  auto store = Store::open(dir.path() + "/images");
  const std::string layer = make_tar({{"a", AE_IFREG, "A"}});
  const std::string config =
      R"({"os":"linux","config":{"User":"7"},"rootfs":{"diff_ids":["sha256:)" +
      hash::sha256_hex(layer) + "\"]}}";
  const std::string tar =
      make_tar({{"c.json", AE_IFREG, config},
                {"1/layer.tar", AE_IFREG, layer},
                {"2", AE_IFLNK, "1/layer.tar"},
                {"manifest.json", AE_IFREG,
                 R"([{"Config":"c.json","RepoTags":["app:1","app:2"],"Layers":["2"]}])"}});
  write_file(dir.path() + "/save.tar", tar);
  const auto names = import_archive(*store, dir.path() + "/save.tar");
  ASSERT_TRUE(names.has_value()) << names.error().message();
  EXPECT_EQ(*names,
            (std::vector<std::string>{"docker.io/library/app:1", "docker.io/library/app:2"}));
  EXPECT_EQ(store->find("app:2")->config.user, "7");
  EXPECT_TRUE(fs::is_empty(store->root() + "/tmp"));
}

}  // namespace
}  // namespace knit::image
