// What `knit check` is pointed at: files, folders, standard input, archives and support dumps, each
// read once, bounded, without following links out of a folder.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "check/fixes.h"

namespace knit::check::input {

struct FileLimits {
  std::size_t files = 100'000;
  std::size_t file_bytes = 64 << 20;
  std::size_t total_bytes = 512 << 20;
};

struct Input {
  Files files;                          // on disk, and so editable; "-" is standard input
  Files packed;                         // inside archives: "x.tar.gz:a/b.yaml"
  Files dump;                           // of a support dump, folder or archive
  std::vector<std::string> unreadable;  // "NAME: why"
  std::size_t skipped = 0;              // in archives: files that are no manifests
  std::size_t count = 0, bytes = 0;     // read so far
  bool empty() const { return files.empty() && packed.empty() && dump.empty(); }
};

/// Reads a file, a folder (*.yaml, *.yml, *.json below it), an archive or a dump. What cannot be
/// read is said in `unreadable`, the rest is there. Blocks.
void add_path(Input& in, const std::string& path, const FileLimits& limits = {});
/// Standard input: YAML, JSON, or an archive.
void add_stdin(Input& in, int fd, const FileLimits& limits = {});
/// One regular file as text. Errors: NotFound, InvalidArgument (no regular file, too large).
Result<std::string> read_text(const std::string& path, std::size_t limit = 64 << 20);
/// Writes a file that was read: beside it and renamed over it, its mode kept; links are followed.
Result<void> replace_file(const std::string& name, const std::string& text);

/// Replaces "<KEY>" and, where KEY starts with "your-", the word itself, in all files; the keys
/// that were there.
std::set<std::string> replace_placeholders(
    Files& files, const std::vector<std::pair<std::string, std::string>>& values);

/// A unified diff that `patch -p1` and `git apply` take; "" when nothing differs.
std::string unified_diff(const std::string& name, std::string_view before, std::string_view after);

/// Adds everything: a dump as what a cluster admitted, manifests over it or over what a cluster
/// already put into `out`.
void add_input(const Input& in, ObjectSet& out);

}  // namespace knit::check::input
