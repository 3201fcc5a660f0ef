#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/fd.h"

namespace knit {

namespace {

/// Appends until the end or until `max` is exceeded by a byte. Errors: errno.
int append(int fd, std::size_t max, std::string* out) {
  char chunk[8192];
  while (out->size() <= max) {
    const ssize_t n = ::read(fd, chunk, std::min(sizeof chunk, max + 1 - out->size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    out->append(chunk, static_cast<std::size_t>(n));
  }
  return 0;
}

Result<void> fill(const Fd& fd, std::string_view text, const Replace& how,
                  const std::string& path) {
  struct stat like{};
  if (!how.like.empty() && ::geteuid() == 0 &&
      (::stat(how.like.c_str(), &like) != 0 || ::fchown(fd.get(), like.st_uid, like.st_gid) != 0)) {
    return errno_error("give " + path + " to the owner of " + how.like, errno);
  }
  KNIT_TRY_VOID(write_all(fd.get(), text, path));
  if (::fchmod(fd.get(), how.mode) != 0 || (how.durable && ::fsync(fd.get()) != 0)) {
    return errno_error("write " + path, errno);
  }
  return {};
}

}  // namespace

std::string read_rest(int fd, std::size_t max) {
  std::string out;
  static_cast<void>(append(fd, max, &out));
  if (out.size() > max) out.resize(max);
  return out;
}

Result<std::string> read_file(const std::string& path, std::size_t max) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error("read " + path, errno);
  std::string out;
  if (const int error = append(fd.get(), max, &out); error != 0) {
    return errno_error("read " + path, error);
  }
  if (out.size() > max) {
    return Error(Code::InvalidArgument, path + " is larger than " + std::to_string(max) + " bytes");
  }
  return out;
}

Result<void> write_all(int fd, std::string_view data, const std::string& what) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("write " + what, errno);
    data.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> replace_file(const std::string& path, std::string_view text, Replace how) {
  const std::string fresh = path + ".new";
  ::unlink(fresh.c_str());
  const Fd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error("write " + fresh, errno);
  auto done = fill(fd, text, how, path);
  if (done && ::rename(fresh.c_str(), path.c_str()) != 0)
    done = errno_error("write " + path, errno);
  if (!done) ::unlink(fresh.c_str());
  return done;
}

Result<void> make_directories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return errno_error("make " + path, error.value());
  return {};
}

}  // namespace knit
