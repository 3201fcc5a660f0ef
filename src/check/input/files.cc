#include "check/input/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "check/input/archive.h"
#include "check/input/dump.h"

namespace knit::check::input {
namespace {

namespace fs = std::filesystem;

Result<std::string> read_all(int fd, std::string begun, std::size_t limit) {
  std::string out = std::move(begun);
  std::vector<char> buffer(64 << 10);
  while (true) {
    if (out.size() > limit) {
      return Error(Code::InvalidArgument, "is larger than " + std::to_string(limit >> 20) + " MiB");
    }
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("read", errno);
    if (n == 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

/// Without blocking: a pipe or device under this name must not stop the walk.
Result<Fd> open_regular(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat st{};
  if (!fd || ::fstat(fd.get(), &st) != 0) return errno_error("open", errno);
  if (!S_ISREG(st.st_mode)) return Error(Code::InvalidArgument, "is no regular file");
  return fd;
}

void take_archive(Input& in, const std::string& name, Archive archive) {
  for (const auto& why : archive.refused) in.unreadable.push_back(name + ": " + why);
  in.skipped += archive.skipped;
  const bool dump = looks_like_dump(archive.files);
  for (auto& [path, text] : archive.files) {
    in.bytes += text.size();
    ++in.count;
    (dump ? in.dump : in.packed)[name + ":" + path] = std::move(text);
  }
  if (archive.files.empty() && archive.refused.empty()) {
    in.unreadable.push_back(name + ": holds no *.yaml, *.yml or *.json file");
  }
}

ArchiveLimits archive_limits(const Input& in, const FileLimits& limits) {
  ArchiveLimits out;
  out.files = limits.files;
  out.file_bytes = limits.file_bytes;
  out.total_bytes = limits.total_bytes - std::min(in.bytes, limits.total_bytes);
  return out;
}

bool full(Input& in, const std::string& path, const FileLimits& limits) {
  if (in.count < limits.files && in.bytes < limits.total_bytes) return false;
  in.unreadable.push_back(path + ": too many files or bytes before it; it was not read");
  return true;
}

/// Into `to`: the files of a folder are judged together before they are manifests or a dump.
void add_file(Input& in, Files& to, const std::string& path, const FileLimits& limits) {
  if (full(in, path, limits)) return;
  auto fd = open_regular(path);
  if (!fd) {
    in.unreadable.push_back(path + ": " + fd.error().message());
    return;
  }
  auto text = read_all(fd->get(), {}, std::min(limits.file_bytes, limits.total_bytes - in.bytes));
  if (!text) {
    in.unreadable.push_back(path + ": " + text.error().message());
    return;
  }
  in.bytes += text->size();
  ++in.count;
  to[path] = std::move(*text);
}

void add_folder(Input& in, const std::string& path, const FileLimits& limits) {
  std::error_code error;
  std::vector<std::string> found;
  // Links are not followed: what is outside the folder stays outside.
  auto it =
      fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied, error);
  const auto end = fs::recursive_directory_iterator();
  while (!error && it != end) {
    const auto status = it->symlink_status(error);
    if (!error && fs::is_regular_file(status) && is_manifest_name(it->path().native())) {
      found.push_back(it->path().lexically_normal().string());
      if (found.size() > limits.files) break;
    }
    it.increment(error);
  }
  if (error) in.unreadable.push_back(path + ": " + error.message());
  std::sort(found.begin(), found.end());
  Files files;
  for (const auto& f : found) {
    const std::size_t before = in.unreadable.size();
    add_file(in, files, f, limits);
    if (in.unreadable.size() > before &&
        (in.count >= limits.files || in.bytes >= limits.total_bytes)) {
      break;  // said once
    }
  }
  Files inside;  // names below the folder: what lies above it is no sign of a dump
  for (const auto& [name, text] : files) inside[fs::path(name).lexically_relative(path)];
  (looks_like_dump(inside) ? in.dump : in.files).merge(files);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto size = end == std::string_view::npos ? text.size() : end + 1;
    out.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return out;
}

}  // namespace

void add_path(Input& in, const std::string& path, const FileLimits& limits) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    add_folder(in, path, limits);
    return;
  }
  if (full(in, path, limits)) return;
  auto fd = open_regular(path);
  if (!fd) {
    in.unreadable.push_back(path + ": " + fd.error().message());
    return;
  }
  std::array<char, 512> head{};
  const ssize_t n = ::pread(fd->get(), head.data(), head.size(), 0);
  if (n > 0 && looks_like_archive({head.data(), static_cast<std::size_t>(n)})) {
    take_archive(in, path, read_archive(fd->get(), archive_limits(in, limits)));
    return;
  }
  if (path.ends_with(".tar") || path.ends_with(".tgz") || path.ends_with(".tar.gz")) {
    in.unreadable.push_back(path + ": is no tar archive, or one that is damaged at its start");
    return;
  }
  add_file(in, in.files, path, limits);
}

void add_stdin(Input& in, int fd, const FileLimits& limits) {
  auto text = read_all(fd, {}, limits.file_bytes);
  if (!text) {
    in.unreadable.push_back("standard input: " + text.error().message());
    return;
  }
  if (looks_like_archive(std::string_view(*text).substr(0, 512))) {
    take_archive(in, "standard input", read_archive(*text, archive_limits(in, limits)));
    return;
  }
  in.bytes += text->size();
  in.files["-"] = std::move(*text);
}

Result<std::string> read_text(const std::string& path, std::size_t limit) {
  auto fd = open_regular(path);
  if (!fd) return Error(Code::NotFound, path + ": " + fd.error().message());
  auto text = read_all(fd->get(), {}, limit);
  if (!text) return Error(Code::InvalidArgument, path + ": " + text.error().message());
  return text;
}

Result<void> replace_file(const std::string& name, const std::string& text) {
  std::error_code unresolved;  // a link that was named keeps pointing at the file that is mended
  const std::string path = fs::canonical(name, unresolved).string();
  if (unresolved) return Error(Code::NotFound, name + ": " + unresolved.message());
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return errno_error("stat " + path, errno);
  const std::string fresh = path + ".knit-check-" + std::to_string(::getpid());
  Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                 st.st_mode & 0777));
  if (!file) return errno_error("write " + path, errno);
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t n = ::write(file.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int why = errno;
      ::unlink(fresh.c_str());
      return errno_error("write " + path, why);
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  // The owner stays too where we may give it; the mode is not widened by the umask's absence.
  (void)!::fchown(file.get(), st.st_uid, st.st_gid);
  if (::fchmod(file.get(), st.st_mode & 07777) != 0 || ::fsync(file.get()) != 0 ||
      ::rename(fresh.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(fresh.c_str());
    return errno_error("write " + path, why);
  }
  return {};
}

std::set<std::string> replace_placeholders(
    Files& files, const std::vector<std::pair<std::string, std::string>>& values) {
  const auto word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  std::set<std::string> used;
  for (auto& [name, text] : files) {
    for (const auto& [key, value] : values) {
      std::vector<std::string> forms{"<" + key + ">"};
      if (key.starts_with("your-") || key.starts_with("your_")) forms.push_back(key);
      for (const auto& wanted : forms) {
        const bool bare = wanted == key;
        std::string out;
        std::size_t from = 0;  // what follows is not copied yet
        for (std::size_t at = 0; (at = text.find(wanted, at)) != std::string::npos;) {
          const auto end = at + wanted.size();
          if (bare && ((at > 0 && word(text[at - 1])) || (end < text.size() && word(text[end])))) {
            at = end;
            continue;
          }
          out.append(text, from, at - from).append(value);
          from = at = end;
          used.insert(key);
        }
        if (from > 0) text = out.append(text, from);
      }
    }
  }
  return used;
}

std::string unified_diff(const std::string& name, std::string_view before, std::string_view after) {
  if (before == after) return {};
  const auto a = lines_of(before);
  const auto b = lines_of(after);
  // Edits are few and small: what is equal at both ends is left out, the middle is compared by the
  // longest common subsequence; a middle too large for that is replaced as a whole.
  std::size_t head = 0;
  while (head < a.size() && head < b.size() && a[head] == b[head]) ++head;
  std::size_t tail = 0;
  while (tail < a.size() - head && tail < b.size() - head &&
         a[a.size() - 1 - tail] == b[b.size() - 1 - tail]) {
    ++tail;
  }
  const std::size_t n = a.size() - head - tail;
  const std::size_t m = b.size() - head - tail;
  struct Op {
    char kind;  // ' ', '-', '+'
    std::string_view text;
  };
  std::vector<Op> ops;
  for (std::size_t i = 0; i < head; ++i) ops.push_back({' ', a[i]});
  constexpr std::size_t kMaxCells = 16 << 20;
  if (n > 0 && m > 0 && n < kMaxCells / m) {
    std::vector<std::uint32_t> common((n + 1) * (m + 1), 0);
    const auto cell = [&](std::size_t i, std::size_t j) -> std::uint32_t& {
      return common[i * (m + 1) + j];
    };
    for (std::size_t i = n; i-- > 0;) {
      for (std::size_t j = m; j-- > 0;) {
        cell(i, j) = a[head + i] == b[head + j] ? cell(i + 1, j + 1) + 1
                                                : std::max(cell(i + 1, j), cell(i, j + 1));
      }
    }
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < n || j < m) {
      if (i < n && j < m && a[head + i] == b[head + j]) {
        ops.push_back({' ', a[head + i]});
        ++i;
        ++j;
      } else if (j == m || (i < n && cell(i + 1, j) >= cell(i, j + 1))) {
        ops.push_back({'-', a[head + i++]});
      } else {
        ops.push_back({'+', b[head + j++]});
      }
    }
  } else {
    for (std::size_t i = 0; i < n; ++i) ops.push_back({'-', a[head + i]});
    for (std::size_t j = 0; j < m; ++j) ops.push_back({'+', b[head + j]});
  }
  for (std::size_t i = a.size() - tail; i < a.size(); ++i) ops.push_back({' ', a[i]});

  const std::string shown = name.starts_with("/") ? name.substr(1) : name;
  std::string out = "--- a/" + shown + "\n+++ b/" + shown + "\n";
  constexpr std::size_t kContext = 3;
  std::size_t old_line = 1;
  std::size_t new_line = 1;
  std::size_t at = 0;
  const auto skip_to = [&](std::size_t to) {
    for (; at < to; ++at) {
      if (ops[at].kind != '+') ++old_line;
      if (ops[at].kind != '-') ++new_line;
    }
  };
  while (true) {
    std::size_t change = at;
    while (change < ops.size() && ops[change].kind == ' ') ++change;
    if (change == ops.size()) return out;
    skip_to(change > at + kContext ? change - kContext : at);
    std::size_t end = change;  // behind the last change whose context meets the next one's
    for (std::size_t i = change; i < ops.size() && i <= end + 2 * kContext; ++i) {
      if (ops[i].kind != ' ') end = i + 1;
    }
    end = std::min(end + kContext, ops.size());
    std::size_t old_count = 0;
    std::size_t new_count = 0;
    std::string body;
    for (std::size_t i = at; i < end; ++i) {
      old_count += ops[i].kind != '+';
      new_count += ops[i].kind != '-';
      body += ops[i].kind;
      body += ops[i].text;
      if (!ops[i].text.ends_with('\n')) body += "\n\\ No newline at end of file\n";
    }
    out += "@@ -" + std::to_string(old_count == 0 ? old_line - 1 : old_line) + "," +
           std::to_string(old_count) + " +" +
           std::to_string(new_count == 0 ? new_line - 1 : new_line) + "," +
           std::to_string(new_count) + " @@\n" + body;
    skip_to(end);
  }
}

void add_input(const Input& in, ObjectSet& out) {
  const auto manifests = [&](ObjectSet& to) {
    for (const auto* files : {&in.packed, &in.files}) {
      for (const auto& [name, text] : *files) to.add_text(name, text);
    }
  };
  if (in.dump.empty() && !out.live) {
    manifests(out);
    return;
  }
  if (!in.dump.empty()) add_dump(in.dump, out);
  ObjectSet over;
  manifests(over);
  out.overlay(over);
}

}  // namespace knit::check::input
