#include "image/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <openssl/evp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>

#include "base/fd.h"
#include "base/hash.h"

namespace knit::image {

namespace {

using Digest = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;
using Reader = std::unique_ptr<struct archive, decltype(&archive_read_free)>;

// What the sandbox may set; the kernel's overlay wants trusted.overlay.opaque, which only root may.
constexpr const char* kOpaqueMark = "user.knit.opaque";

Error hostile(std::string message) { return Error(Code::InvalidArgument, std::move(message)); }

/// The tar inside the compressed bytes, hashed on its way.
struct Source {
  Reader raw{archive_read_new(), archive_read_free};
  EVP_MD_CTX* digest = nullptr;
  std::string buffer = std::string(1 << 16, '\0');
};

la_ssize_t read_source(struct archive*, void* user, const void** out) {
  auto* source = static_cast<Source*>(user);
  const la_ssize_t n =
      archive_read_data(source->raw.get(), source->buffer.data(), source->buffer.size());
  if (n > 0) EVP_DigestUpdate(source->digest, source->buffer.data(), static_cast<std::size_t>(n));
  *out = source->buffer.data();
  return n;
}

/// "a/./b//c" → "a/b/c". Errors: InvalidArgument for "..", too long paths and NUL.
Result<std::string> clean_path(const char* raw) {
  if (raw == nullptr) return hostile("an entry's name is not valid");
  std::string out;
  std::string_view rest = raw;
  while (!rest.empty()) {
    const auto end = rest.find('/');
    const std::string_view part = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") return hostile("entry '" + std::string(raw) + "' leaves the image by '..'");
    if (!out.empty()) out += '/';
    out += part;
  }
  if (out.size() > kMaxLayerPath) return hostile("an entry's name is too long");
  return out;
}

class Unpacker {
 public:
  explicit Unpacker(UnpackKind kind) : kind_(kind) {}

  Result<void> entry(struct archive* reader, struct archive_entry* e) {
    if (++entries_ > kMaxUnpackedEntries) {
      return Error(Code::ResourceExhausted,
                   "more than " + std::to_string(kMaxUnpackedEntries) + " entries");
    }
    KNIT_TRY(const std::string path, clean_path(archive_entry_pathname(e)));
    const auto slash = path.rfind('/');
    const std::string parent = slash == std::string::npos ? std::string() : path.substr(0, slash);
    const std::string base = slash == std::string::npos ? path : path.substr(slash + 1);
    KNIT_TRY_VOID(parents(parent));
    if (kind_ == UnpackKind::Layer && base.starts_with(".wh.")) return whiteout(parent, base);
    const auto mode = static_cast<mode_t>(archive_entry_perm(e));
    const bool link = archive_entry_hardlink(e) != nullptr;
    const auto type = archive_entry_filetype(e);
    if (link) {
      KNIT_TRY(const std::string target, clean_path(archive_entry_hardlink(e)));
      if (target == path) return {};
      KNIT_TRY_VOID(clear(path));
      if (::link(target.c_str(), path.c_str()) != 0) return failed("link", path);
      return {};
    }
    switch (type) {
      case AE_IFDIR: {
        struct stat st{};
        if (!path.empty() && (::lstat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))) {
          KNIT_TRY_VOID(clear(path));
          if (::mkdir(path.c_str(), 0700) != 0) return failed("mkdir", path);
        }
        return own(path.empty() ? "." : path, e, mode);
      }
      case AE_IFREG: {
        KNIT_TRY_VOID(clear(path));
        return file(reader, e, path, mode);
      }
      case AE_IFLNK: {
        KNIT_TRY_VOID(clear(path));
        const char* target = archive_entry_symlink(e);
        if (target == nullptr || ::symlink(target, path.c_str()) != 0) {
          return failed("symlink", path);
        }
        if (kind_ == UnpackKind::Layer &&
            ::lchown(path.c_str(), static_cast<uid_t>(archive_entry_uid(e)),
                     static_cast<gid_t>(archive_entry_gid(e))) != 0) {
          return failed("chown", path);
        }
        return {};
      }
      case AE_IFIFO:
        if (kind_ == UnpackKind::Archive) return {};
        KNIT_TRY_VOID(clear(path));
        if (::mkfifo(path.c_str(), 0600) != 0) return failed("mkfifo", path);
        return own(path, e, mode);
      default:
        // Device nodes and sockets: a container gets its devices from the node, never from an
        // image.
        return {};
    }
  }

  /// Whether some directory was marked.
  bool opaque() const { return opaque_; }

 private:
  static Error failed(const char* what, const std::string& path) {
    return errno_error(std::string(what) + " '" + path + "'", errno);
  }

  static Result<void> parents(const std::string& dir) {
    struct stat st{};
    if (dir.empty() || (::stat(dir.c_str(), &st) == 0 && S_ISDIR(st.st_mode))) return {};
    for (std::size_t at = 0; at != std::string::npos;) {
      at = dir.find('/', at + 1);
      const std::string part = dir.substr(0, at);
      if (::mkdir(part.c_str(), 0755) == 0 || errno == EEXIST) continue;
      return failed("mkdir", part);
    }
    if (::stat(dir.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) {
      return hostile("'" + dir + "' is used as a directory and is none");
    }
    return {};
  }

  /// Makes room for a new entry: later entries replace earlier ones.
  static Result<void> clear(const std::string& path) {
    if (path.empty()) return hostile("an entry would replace the root directory");
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) return hostile("replace '" + path + "': " + error.message());
    return {};
  }

  Result<void> whiteout(const std::string& parent, const std::string& base) {
    if (base == ".wh..wh..opq") {
      const std::string dir = parent.empty() ? "." : parent;
      if (::setxattr(dir.c_str(), kOpaqueMark, "y", 1, 0) != 0) return failed("mark opaque", dir);
      opaque_ = true;
      return {};
    }
    if (base.starts_with(".wh..wh.")) return {};  // aufs' own bookkeeping
    const std::string name = base.substr(4);
    if (name.empty() || name == "." || name == "..") return hostile("whiteout without a name");
    const std::string path = parent.empty() ? name : parent + "/" + name;
    KNIT_TRY_VOID(clear(path));
    if (::mknod(path.c_str(), S_IFCHR, ::makedev(0, 0)) != 0) return failed("whiteout", path);
    return {};
  }

  Result<void> own(const std::string& path, struct archive_entry* e, mode_t mode) const {
    if (kind_ == UnpackKind::Archive) {
      return ::chmod(path.c_str(), mode | 0700) == 0 ? Result<void>() : failed("chmod", path);
    }
    if (::lchown(path.c_str(), static_cast<uid_t>(archive_entry_uid(e)),
                 static_cast<gid_t>(archive_entry_gid(e))) != 0) {
      return failed("chown", path);
    }
    if (::chmod(path.c_str(), mode) != 0) return failed("chmod", path);
    return {};
  }

  Result<void> file(struct archive* reader, struct archive_entry* e, const std::string& path,
                    mode_t mode) {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) return failed("create", path);
    for (;;) {
      const void* data = nullptr;
      std::size_t size = 0;
      la_int64_t offset = 0;
      const int r = archive_read_data_block(reader, &data, &size, &offset);
      if (r == ARCHIVE_EOF) break;
      if (r < ARCHIVE_WARN) return hostile("'" + path + "': " + text_of(reader));
      bytes_ += size;
      if (bytes_ > kMaxUnpackedBytes) {
        return Error(Code::ResourceExhausted,
                     "more than " + std::to_string(kMaxUnpackedBytes) + " bytes when unpacked");
      }
      const char* at = static_cast<const char*>(data);
      while (size > 0) {
        const ssize_t n = ::pwrite(fd.get(), at, size, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed("write", path);
        at += n;
        offset += n;
        size -= static_cast<std::size_t>(n);
      }
    }
    if (archive_entry_size(e) > static_cast<la_int64_t>(kMaxUnpackedBytes) ||
        ::ftruncate(fd.get(), archive_entry_size(e)) != 0) {
      return failed("truncate", path);
    }
    KNIT_TRY_VOID(own(path, e, mode));
    if (archive_entry_mtime_is_set(e) != 0) {
      const struct timespec times[2] = {{0, UTIME_OMIT}, {archive_entry_mtime(e), 0}};
      ::futimens(fd.get(), times);
    }
    return {};
  }

  static std::string text_of(struct archive* a) {
    const char* text = archive_error_string(a);
    return text == nullptr ? "malformed archive" : text;
  }

  UnpackKind kind_;
  std::uint64_t entries_ = 0, bytes_ = 0;
  bool opaque_ = false;
};

/// Gives whether some directory is opaque.
Result<bool> unpack_here(int fd, UnpackKind kind, EVP_MD_CTX* digest) {
  Source source;
  source.digest = digest;
  struct archive* raw = source.raw.get();
  archive_read_support_filter_gzip(raw);
  archive_read_support_filter_zstd(raw);
  archive_read_support_filter_bzip2(raw);
  archive_read_support_filter_xz(raw);
  archive_read_support_format_raw(raw);
  archive_read_support_format_empty(raw);
  const auto text = [](struct archive* a) {
    const char* t = archive_error_string(a);
    return std::string(t == nullptr ? "malformed archive" : t);
  };
  struct archive_entry* e = nullptr;
  if (archive_read_open_fd(raw, fd, 1 << 16) != ARCHIVE_OK) return hostile(text(raw));
  const int first = archive_read_next_header(raw, &e);
  if (first == ARCHIVE_EOF) return false;
  if (first < ARCHIVE_WARN) return hostile(text(raw));
  const Reader tar(archive_read_new(), archive_read_free);
  archive_read_support_format_tar(tar.get());
  archive_read_support_format_empty(tar.get());
  if (archive_read_open(tar.get(), &source, nullptr, read_source, nullptr) != ARCHIVE_OK) {
    return hostile(text(tar.get()));
  }
  Unpacker unpacker(kind);
  for (;;) {
    const int r = archive_read_next_header(tar.get(), &e);
    if (r == ARCHIVE_EOF) break;
    if (r < ARCHIVE_WARN) return hostile(text(tar.get()));
    KNIT_TRY_VOID(unpacker.entry(tar.get(), e));
  }
  // The digest covers what follows the end marker too.
  const void* rest = nullptr;
  la_ssize_t n = 0;
  while ((n = read_source(nullptr, &source, &rest)) > 0) {
  }
  if (n < 0) return hostile(text(raw));
  return unpacker.opaque();
}

/// Leaves what writing a layer's owners, modes and attributes takes: no mounts, no devices, no way
/// out of the chroot, no other process.
bool keep_file_capabilities() {
  std::uint64_t keep = 0;
  for (const int cap : {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID}) {
    keep |= 1ULL << cap;
  }
  for (unsigned long cap = 0; ::prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; ++cap) {
    if ((keep >> cap & 1) == 0) ::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const auto low = static_cast<__u32>(keep), high = static_cast<__u32>(keep >> 32);
  const __user_cap_data_struct data[2] = {{low, low, 0}, {high, high, 0}};
  return ::syscall(SYS_capset, &header, data) == 0;
}

/// The child: never returns.
[[noreturn]] void child(int blob, int report, int go, const char* into, UnpackKind kind,
                        Sandbox sandbox, EVP_MD_CTX* digest) {
  const auto say = [report](const std::string& text) {
    const ssize_t ignored = ::write(report, text.data(), std::min<std::size_t>(text.size(), 4000));
    static_cast<void>(ignored);
  };
  const auto die = [&](const char* what) {
    say("U" + std::string(what) + ": " + std::strerror(errno));
    ::_exit(1);
  };
  // Inside a chroot, or with user.max_user_namespaces=0, there are no user namespaces: the child
  // then stays the host's root, with no capability but those that set owners and modes.
  const bool own_user = sandbox == Sandbox::UserNamespace && ::unshare(CLONE_NEWUSER) == 0;
  if (own_user) {
    say("M");  // the parent writes the maps
    char byte = 0;
    if (::read(go, &byte, 1) != 1) die("wait for the id maps");
  }
  if (::unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0) {
    die("make namespaces");
  }
  if (::setgid(0) != 0 || ::setuid(0) != 0) die("take the mapped identity");
  ::setlocale(LC_CTYPE, "C.UTF-8");  // names in pax headers are UTF-8
  if (::chdir(into) != 0 || ::chroot(".") != 0) die("enter the layer directory");
  const int keep_blob = ::fcntl(blob, F_DUPFD, 10);
  const int keep_report = ::fcntl(report, F_DUPFD, 10);
  if (keep_blob < 0 || keep_report < 0) die("duplicate descriptors");
  ::dup2(keep_blob, 3);
  ::dup2(keep_report, 4);
  ::close_range(5, ~0U, 0);
  const rlimit files{64, 64}, none{0, 0}, cpu{1800, 1800},
      size{kMaxUnpackedBytes, kMaxUnpackedBytes};
  ::setrlimit(RLIMIT_NOFILE, &files);
  ::setrlimit(RLIMIT_CORE, &none);
  ::setrlimit(RLIMIT_CPU, &cpu);
  ::setrlimit(RLIMIT_FSIZE, &size);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (!own_user && !keep_file_capabilities()) die("drop capabilities");
  ::umask(0);
  std::string text;
  if (auto r = unpack_here(3, kind, digest); r) {
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_DigestFinal_ex(digest, out, &n);
    text = "Ksha256:" + hash::hex({reinterpret_cast<const char*>(out), n}) + (*r ? "O" : "");
  } else {
    text = (r.error().code() == Code::ResourceExhausted ? "R" : "E") + r.error().message();
  }
  const ssize_t ignored = ::write(4, text.data(), std::min<std::size_t>(text.size(), 4000));
  static_cast<void>(ignored);
  ::_exit(0);
}

Result<void> write_file(const std::string& path, std::string_view text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return errno_error("write " + path, errno);
  }
  return {};
}

/// Turns the sandbox's marks into overlay's. The tree is at rest, and links are not followed.
Result<void> mark_opaque(const std::string& root) {
  const auto mark = [](const char* path, const struct stat*, int type, struct FTW*) {
    char value = 0;
    if (type == FTW_D && ::lgetxattr(path, kOpaqueMark, &value, 1) == 1 &&
        (::lsetxattr(path, "trusted.overlay.opaque", "y", 1, 0) != 0 ||
         ::lremovexattr(path, kOpaqueMark) != 0)) {
      return 1;
    }
    return 0;
  };
  if (::nftw(root.c_str(), mark, 32, FTW_PHYS) != 0) {
    return errno_error("mark opaque directories below " + root, errno);
  }
  return {};
}

}  // namespace

Result<std::string> unpack_layer(int fd, const std::string& into, UnpackKind kind,
                                 Sandbox sandbox) {
  int report[2], go[2];
  if (::pipe2(report, O_CLOEXEC) != 0) return errno_error("pipe", errno);
  Fd report_read(report[0]), report_write(report[1]);
  if (::pipe2(go, O_CLOEXEC) != 0) return errno_error("pipe", errno);
  Fd go_read(go[0]), go_write(go[1]);
  // Made before the fork: the child takes no lock that another thread could hold.
  const Digest digest(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!digest || EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) != 1) {
    return Error(Code::Internal, "sha256 is not available");
  }
  const pid_t pid = ::fork();
  if (pid < 0) return errno_error("fork", errno);
  if (pid == 0) child(fd, report[1], go[0], into.c_str(), kind, sandbox, digest.get());
  report_write.reset();
  go_read.reset();
  std::string text;
  Result<void> mapped;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(report_read.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    std::string_view chunk(buffer, static_cast<std::size_t>(n));
    if (go_write && chunk.starts_with("M")) {
      chunk.remove_prefix(1);
      const std::string proc = "/proc/" + std::to_string(pid);
      mapped = write_file(proc + "/uid_map", "0 0 4294967295");
      if (mapped) mapped = write_file(proc + "/gid_map", "0 0 4294967295");
      if (mapped && ::write(go_write.get(), "g", 1) != 1) mapped = errno_error("write", errno);
      go_write.reset();
    }
    if (text.size() < 8192) text += chunk;
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!mapped) return std::move(mapped).error().within("sandbox of the unpacker");
  if (text.empty()) {
    return Error(Code::Unavailable,
                 "the unpacker ended without a result (status " + std::to_string(status) + ")");
  }
  std::string rest = text.substr(1);
  switch (text[0]) {
    case 'K':
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && rest.size() >= 71) {
        if (rest.size() > 71) KNIT_TRY_VOID(mark_opaque(into));
        return rest.substr(0, 71);
      }
      return Error(Code::Unavailable, "the unpacker failed");
    case 'R':
      return Error(Code::ResourceExhausted, std::move(rest));
    case 'E':
      return Error(Code::InvalidArgument, std::move(rest));
    default:
      return Error(Code::Unavailable, std::move(rest));
  }
}

}  // namespace knit::image
