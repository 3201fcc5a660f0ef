#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/hash.h"
#include "check/input/archive.h"
#include "check/input/files.h"
#include "check/input/kubeconfig.h"

namespace knit::check::input {
namespace {

struct Entry {
  std::string name, data;
  unsigned type = AE_IFREG;
  bool hard = false;
};
std::string tar(const std::vector<Entry>& entries, bool gzip = true) {
  std::string out(8 << 20, '\0');
  std::size_t used = 0;
  struct archive* a = archive_write_new();
  archive_write_set_format_pax_restricted(a);
  if (gzip) archive_write_add_filter_gzip(a);
  archive_write_open_memory(a, out.data(), out.size(), &used);
  for (const auto& entry : entries) {
    struct archive_entry* e = archive_entry_new();
    archive_entry_set_pathname(e, entry.name.c_str());
    archive_entry_set_filetype(e, entry.type);
    archive_entry_set_perm(e, 0644);
    if (entry.hard) {
      archive_entry_set_hardlink(e, entry.data.c_str());
    } else if (entry.type == AE_IFLNK) {
      archive_entry_set_symlink(e, entry.data.c_str());
    } else if (entry.type == AE_IFREG) {
      archive_entry_set_size(e, static_cast<la_int64_t>(entry.data.size()));
    }
    archive_write_header(a, e);
    if (entry.type == AE_IFREG && !entry.hard)
      archive_write_data(a, entry.data.data(), entry.data.size());
    archive_entry_free(e);
  }
  archive_write_close(a);
  archive_write_free(a);
  out.resize(used);
  return out;
}

constexpr const char* kNamespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";

TEST(Archive, ManifestsAreKeptAndLogsSkipped) {
  for (const bool gzip : {true, false}) {
    const auto bytes = tar({{"./mg/a.yaml", kNamespace},
                            {"mg/pods/x/current.log", std::string(100'000, 'x')},
                            {"mg/b.json", "{}"},
                            {"mg/link.log", "/etc/passwd", AE_IFLNK}},
                           gzip);
    EXPECT_TRUE(looks_like_archive(std::string_view(bytes).substr(0, 512)));
    const auto got = read_archive(bytes);
    EXPECT_EQ(got.files.size(), 2U);
    EXPECT_EQ(got.files.at("mg/a.yaml"), kNamespace);
    EXPECT_EQ(got.skipped, 2U);
    EXPECT_TRUE(got.refused.empty());
  }
}

TEST(Archive, WhatLeadsElsewhereIsRefusedByName) {
  const auto got = read_archive(tar({{"../up.yaml", "a: 1"},
                                     {"/etc/abs.yaml", "a: 1"},
                                     {"a/../../b.yaml", "a: 1"},
                                     {"soft.yaml", "/etc/passwd", AE_IFLNK},
                                     {"hard.yaml", "good.yaml", AE_IFREG, true},
                                     {"dev.yaml", "", AE_IFCHR},
                                     {"pipe.yaml", "", AE_IFIFO},
                                     {"new\nline.yaml", "a: 1"},
                                     {"good.yaml", kNamespace}}));
  EXPECT_EQ(got.files.size(), 1U);
  EXPECT_TRUE(got.files.contains("good.yaml"));
  ASSERT_EQ(got.refused.size(), 8U);
  const char* const wanted[] = {"../up.yaml",      "absolute",          "leaves the archive",
                                "a symbolic link", "a hard link",       "a device",
                                "a pipe",          "control characters"};
  for (std::size_t i = 0; i < 8; ++i)
    EXPECT_NE(got.refused[i].find(wanted[i]), std::string::npos) << got.refused[i];
}

TEST(Archive, BoundsHold) {
  ArchiveLimits limits;
  limits.file_bytes = 1000;
  auto got = read_archive(tar({{"big.yaml", std::string(2000, 'x')}, {"a.yaml", "b: 1"}}), limits);
  EXPECT_EQ(got.files.size(), 1U);
  EXPECT_NE(got.refused.at(0).find("larger than"), std::string::npos);
  limits = {};
  limits.expanded_bytes = 1 << 20;  // a bomb: 4 MiB of zeros in a few KiB
  got = read_archive(tar({{"bomb.log", std::string(4 << 20, '\0')}, {"a.yaml", "b: 1"}}), limits);
  EXPECT_TRUE(got.files.empty());
  EXPECT_NE(got.refused.at(0).find("expands to more"), std::string::npos);
  limits = {};
  limits.files = 2;
  got = read_archive(tar({{"a.yaml", ""}, {"b.yaml", ""}, {"c.yaml", ""}}), limits);
  EXPECT_EQ(got.files.size(), 2U);
  EXPECT_NE(got.refused.at(0).find("more than 2 manifests"), std::string::npos);
  limits = {};
  limits.total_bytes = 10;
  got = read_archive(tar({{"a.yaml", "12345678"}, {"b.yaml", "12345678"}}), limits);
  EXPECT_EQ(got.files.size(), 1U);
}

// Issue: truncated or garbage input of any length ends with a clear message.
TEST(Archive, CutAnywhereItSaysSo) {
  for (const bool gzip : {true, false}) {
    const auto whole = tar({{"a.yaml", kNamespace}, {"b.yaml", std::string(3000, 'x')}}, gzip);
    for (std::size_t n = 0; n < whole.size(); n += gzip ? 1 : 97) {
      const auto got = read_archive(std::string_view(whole).substr(0, n));
      // Cut inside the zeros at the end, a tar is whole.
      if (got.files.size() == 2) continue;
      EXPECT_FALSE(got.refused.empty()) << n;
    }
  }
  for (const char* garbage : {"", "x", "no archive at all", "\x1f\x8b\x08garbage"}) {
    const auto got = read_archive(garbage);
    EXPECT_TRUE(got.files.empty());
    EXPECT_FALSE(got.refused.empty()) << garbage;
  }
}

Result<Access> load(const std::string& text, const std::string& context = "",
                    std::map<std::string, std::string> files = {}) {
  files["/home/u/.kube/config"] = text;
  return load_kubeconfig({"/home/u/.kube/config"}, context,
                         [files](const std::string& path) -> Result<std::string> {
                           const auto it = files.find(path);
                           if (it == files.end())
                             return Error(Code::NotFound, path + ": no such file");
                           return it->second;
                         });
}

constexpr const char* kConfig = R"(
apiVersion: v1
kind: Config
current-context: dev
clusters:
- name: one
  cluster: {server: "https://api.example.com:6443/base/", certificate-authority-data: Y2E=}
- name: files
  cluster: {server: "https://[::1]:6443", certificate-authority: ca.crt, tls-server-name: api}
- name: proxied
  cluster: {server: "https://a", proxy-url: "http://p:3128", insecure-skip-tls-verify: true}
users:
- name: token
  user: {token: abc}
- name: files
  user: {client-certificate: c.crt, client-key: /keys/c.key, tokenFile: t}
- name: program
  user: {exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}}
- name: half
  user: {client-certificate-data: Y2E=}
- name: split
  user: {token: "a\r\nX: y"}
contexts:
- {name: dev, context: {cluster: one, user: token, namespace: shop}}
- {name: files, context: {cluster: files, user: files}}
- {name: proxied, context: {cluster: proxied, user: token}}
- {name: program, context: {cluster: one, user: program}}
- {name: half, context: {cluster: one, user: half}}
- {name: split, context: {cluster: one, user: split}}
- {name: lost, context: {cluster: none, user: token}}
)";

TEST(Kubeconfig, IsReadAsKubectlReadsIt) {
  auto got = load(kConfig);
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->host, "api.example.com");
  EXPECT_EQ(got->port, 6443);
  EXPECT_EQ(got->base_path, "/base");
  EXPECT_EQ(got->ca_pem, "ca");
  EXPECT_EQ(got->token, "abc");
  EXPECT_EQ(got->ns, "shop");
  got = load(kConfig, "files",
             {{"/home/u/.kube/ca.crt", "CA"},
              {"/home/u/.kube/c.crt", "CRT"},
              {"/keys/c.key", "KEY"},
              {"/home/u/.kube/t", "secret\n"}});
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->host, "::1");
  EXPECT_EQ(got->server_name, "api");
  EXPECT_EQ(got->ca_pem, "CA");
  EXPECT_EQ(got->certificate_pem, "CRT");
  EXPECT_EQ(got->key_pem, "KEY");
  EXPECT_EQ(got->token, "secret");
}

TEST(Kubeconfig, WhatIsNotSpokenIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {{"program", "exec"},
                                                       {"proxied", "proxy-url"},
                                                       {"half", "client-key"},
                                                       {"split", "line end"},
                                                       {"lost", "\"none\""},
                                                       {"nowhere", "there are: dev"},
                                                       {"files", "certificate-authority"}};
  for (const auto& [context, text] : cases) {
    const auto got = load(kConfig, context);
    ASSERT_FALSE(got) << context;
    EXPECT_NE(got.error().message().find(text), std::string::npos) << got.error().message();
  }
  for (const char* text : {"", "[", "a: b", "clusters: 5", "contexts: [{name: x}]"}) {
    EXPECT_FALSE(load(text, "x")) << text;
  }
  for (const char* url : {"", "ftp://a", "https://", "https://a:b", "https://a:99999",
                          "https://u@h", "https://[::1", "https://a/?x"}) {
    EXPECT_FALSE(parse_server(url)) << url;
  }
}

class Folder : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/knit-check-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    path = name;
  }
  void TearDown() override { std::filesystem::remove_all(path); }
  std::string write(const std::string& name, std::string_view text) {
    const auto file = std::filesystem::path(path) / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary)
        .write(text.data(), static_cast<std::streamsize>(text.size()));
    return file.string();
  }
  static std::string text_of(const std::string& file) {
    std::stringstream out;
    out << std::ifstream(file, std::ios::binary).rdbuf();
    return out.str();
  }
  std::string path;
};
using Inputs = Folder;

TEST_F(Inputs, AFolderIsWalkedWithoutFollowingLinks) {
  write("a/b.yaml", kNamespace);
  write("a/c.txt", "no manifest");
  write("d.json", "{}");
  std::filesystem::create_symlink("/etc", path + "/out");
  std::filesystem::create_symlink("/etc/passwd", path + "/out.yaml");
  ASSERT_EQ(::mkfifo((path + "/pipe.yaml").c_str(), 0600), 0);
  Input in;
  add_path(in, path);
  EXPECT_EQ(in.files.size(), 2U);
  EXPECT_TRUE(in.unreadable.empty());
  add_path(in, path + "/pipe.yaml");  // named, it is said
  add_path(in, path + "/absent.yaml");
  ASSERT_EQ(in.unreadable.size(), 2U);
  EXPECT_NE(in.unreadable[0].find("is no regular file"), std::string::npos);
}

TEST_F(Inputs, BoundsAreSaid) {
  for (const char* name : {"a.yaml", "b.yaml", "c.yaml"}) write(name, "x: 12345678");
  Input in;
  add_path(in, path, {.files = 2});
  EXPECT_EQ(in.files.size(), 2U);
  ASSERT_FALSE(in.unreadable.empty());
  EXPECT_NE(in.unreadable[0].find("too many files"), std::string::npos);
  Input large;
  add_path(large, path, {.file_bytes = 5});
  EXPECT_TRUE(large.files.empty());
  EXPECT_NE(large.unreadable.at(0).find("larger than"), std::string::npos);
}

TEST_F(Inputs, ArchivesByContentAndDumpsByTheirLayout) {
  const auto plain = write("m.bin", tar({{"x/a.yaml", kNamespace}}));
  const auto dump = write("mg.tar", tar({{"mg/q/cluster-scoped-resources/core/nodes.yaml",
                                          "apiVersion: v1\nkind: NodeList\nitems: []\n"},
                                         {"mg/q/namespaces/a/a.yaml", kNamespace}},
                                        false));
  Input in;
  add_path(in, plain);
  add_path(in, dump);
  EXPECT_TRUE(in.unreadable.empty());
  EXPECT_EQ(in.packed.count(plain + ":x/a.yaml"), 1U);
  EXPECT_EQ(in.dump.size(), 2U);
  ObjectSet set;
  add_input(in, set);
  EXPECT_TRUE(set.dump);
  EXPECT_TRUE(set.knows("Node"));
  EXPECT_FALSE(set.knows("Pod"));
  EXPECT_EQ(set.list("Namespace").size(), 1U);
  EXPECT_EQ(set.errors().size(), 0U);  // the manifest was laid over the dump
  Input bad;
  add_path(bad, write("bad.tgz", "garbage"));
  ASSERT_EQ(bad.unreadable.size(), 1U);
  EXPECT_NE(bad.unreadable[0].find("no tar archive"), std::string::npos);
}

TEST_F(Inputs, AFolderThatIsADump) {
  write("must-gather.local.1/q/namespaces/a/core/pods.yaml",
        "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: p, namespace: a}\n");
  write("must-gather.local.1/q/namespaces/a/core/events.yaml",
        "apiVersion: v1\nkind: EventList\nitems:\n- metadata: {name: e, namespace: a}\n");
  Input in;
  add_path(in, path);
  EXPECT_EQ(in.dump.size(), 2U);
  ObjectSet set;
  add_input(in, set);
  EXPECT_EQ(set.size(), 1U);  // nobody reads events
  EXPECT_TRUE(set.live);
}

TEST_F(Inputs, AFileIsReplacedWithItsModeThroughALink) {
  const auto file = write("real/a.yaml", "old");
  ASSERT_EQ(::chmod(file.c_str(), 0640), 0);
  std::filesystem::create_symlink("real/a.yaml", path + "/link.yaml");
  ASSERT_TRUE(replace_file(path + "/link.yaml", "new"));
  EXPECT_EQ(text_of(file), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(path + "/link.yaml"));
  struct stat st{};
  ASSERT_EQ(::stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640U);
  EXPECT_FALSE(replace_file(path + "/absent", "x"));
}

TEST(Placeholders, BothFormsAndWholeWordsOnly) {
  Files files{{"a", "<your-domain> your-domain your-domains <other>"}};
  EXPECT_EQ(replace_placeholders(files, {{"your-domain", "x.test"}, {"absent", "a"}}),
            std::set<std::string>{"your-domain"});
  EXPECT_EQ(files.at("a"), "x.test x.test your-domains <other>");
}

/// Applies a unified diff, as `patch` does.
std::string patched(const std::string& before, const std::string& diff) {
  std::vector<std::string> lines;
  std::istringstream in(before);
  for (std::string l; std::getline(in, l);) lines.push_back(l + (in.eof() ? "" : "\n"));
  std::string out;
  std::size_t at = 0;
  char last = ' ';
  std::istringstream d(diff);
  std::string l;
  std::getline(d, l);
  std::getline(d, l);
  while (std::getline(d, l)) {
    if (l.starts_with("@@")) {
      const std::size_t start = std::stoul(l.substr(4));
      const bool none = l.find(",0 +") != std::string::npos;
      while (at + 1 < start + (none ? 1 : 0)) out += lines.at(at++);
      last = ' ';
    } else if (l.starts_with("\\")) {
      if (last != '-' && out.ends_with('\n')) out.pop_back();
    } else if (l[0] == '+') {
      out += l.substr(1) + "\n";
      last = '+';
    } else {
      last = l[0];
      EXPECT_TRUE(lines.at(at) == l.substr(1) + "\n" || lines.at(at) == l.substr(1)) << l;
      if (l[0] == ' ') out += l.substr(1) + "\n";
      ++at;
    }
  }
  while (at < lines.size()) out += lines[at++];
  return out;
}

TEST(Diff, AppliesToGiveTheNewText) {
  std::string many;
  for (int i = 0; i < 60; ++i) many += "line " + std::to_string(i) + "\n";
  std::string edited = many;
  edited.replace(edited.find("line 5\n"), 7, "LINE 5\nmore\n");
  edited.erase(edited.find("line 40\n"), 8);
  edited += "end";
  const std::pair<std::string, std::string> cases[] = {
      {many, edited},       {edited, many}, {"", "a\n"},
      {"a\n", ""},          {"a", "a\n"},   {"a\n", "a"},
      {"a\nb\n", "b\na\n"}, {"x", "y"},     {"a\nb\nc\n", "a\nc\n"},
  };
  for (const auto& [before, after] : cases) {
    const auto diff = unified_diff("/f", before, after);
    EXPECT_TRUE(diff.starts_with("--- a/f\n+++ b/f\n@@ -"));
    EXPECT_EQ(patched(before, diff), after) << diff;
  }
  EXPECT_EQ(unified_diff("f", "a", "a"), "");
}

}  // namespace
}  // namespace knit::check::input
