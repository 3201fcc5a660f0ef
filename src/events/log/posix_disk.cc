#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "events/log/disk.h"

namespace knit::events {
namespace {

class PosixFile final : public LogFile {
 public:
  explicit PosixFile(Fd fd) : fd_(std::move(fd)) {}

  Result<void> write(std::uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0) {
        if (errno == EINTR) continue;
        return errno_error("write the event log", errno);
      }
      bytes.remove_prefix(static_cast<std::size_t>(n));
      offset += static_cast<std::uint64_t>(n);
    }
    return {};
  }
  Result<std::string> read(std::uint64_t offset, std::size_t n) const override {
    std::string out(n, '\0');
    std::size_t have = 0;
    while (have < n) {
      const ssize_t got =
          ::pread(fd_.get(), out.data() + have, n - have, static_cast<off_t>(offset + have));
      if (got < 0) {
        if (errno == EINTR) continue;
        return errno_error("read the event log", errno);
      }
      if (got == 0) break;
      have += static_cast<std::size_t>(got);
    }
    out.resize(have);
    return out;
  }
  Result<std::uint64_t> size() const override {
    struct stat st{};
    if (::fstat(fd_.get(), &st) != 0) return errno_error("stat the event log", errno);
    return static_cast<std::uint64_t>(st.st_size);
  }
  Result<void> truncate(std::uint64_t size) override {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) {
      return errno_error("truncate the event log", errno);
    }
    return {};
  }
  Result<void> sync() override {
    if (::fdatasync(fd_.get()) != 0) return errno_error("sync the event log", errno);
    return {};
  }

 private:
  Fd fd_;
};

class PosixDisk final : public LogDisk {
 public:
  explicit PosixDisk(Fd root) : root_(std::move(root)) {}

  Result<std::vector<std::string>> list(const std::string& directory) override {
    KNIT_TRY(Fd fd, directory_fd(directory));
    DIR* dir = ::fdopendir(fd.get());
    if (dir == nullptr) return errno_error("list " + directory, errno);
    fd.release();
    std::vector<std::string> out;
    while (const dirent* entry = ::readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") out.emplace_back(name);
    }
    ::closedir(dir);
    return out;
  }
  Result<void> make_directory(const std::string& directory) override {
    if (::mkdirat(root_.get(), directory.c_str(), 0700) != 0 && errno != EEXIST) {
      return errno_error("make " + directory, errno);
    }
    return sync_directory("");
  }
  Result<std::shared_ptr<LogFile>> open(const std::string& path, Open mode) override {
    const int flags =
        O_RDWR | O_CLOEXEC | O_NOFOLLOW | (mode == Open::Fresh ? O_CREAT | O_TRUNC : 0);
    Fd fd(::openat(root_.get(), path.c_str(), flags, 0600));
    if (!fd) return errno_error("open " + path, errno);
    return std::shared_ptr<LogFile>(std::make_shared<PosixFile>(std::move(fd)));
  }
  Result<void> remove(const std::string& path) override {
    if (::unlinkat(root_.get(), path.c_str(), 0) != 0 && errno != ENOENT) {
      return errno_error("remove " + path, errno);
    }
    return {};
  }
  Result<void> remove_directory(const std::string& directory) override {
    auto names = list(directory);
    if (!names) {
      if (names.error().code() == Code::NotFound) return {};
      return std::move(names).error();
    }
    for (const auto& name : *names) KNIT_TRY_VOID(remove(directory + "/" + name));
    if (::unlinkat(root_.get(), directory.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      return errno_error("remove " + directory, errno);
    }
    return sync_directory("");
  }
  Result<void> sync_directory(const std::string& directory) override {
    KNIT_TRY(const Fd fd, directory_fd(directory));
    if (::fsync(fd.get()) != 0) return errno_error("sync " + directory, errno);
    return {};
  }

 private:
  Result<Fd> directory_fd(const std::string& directory) {
    Fd fd(::openat(root_.get(), directory.empty() ? "." : directory.c_str(),
                   O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) return errno_error("open " + directory, errno);
    return fd;
  }
  Fd root_;
};

}  // namespace

Result<std::unique_ptr<LogDisk>> open_posix_disk(const std::string& root) {
  Fd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error("open " + root, errno);
  return std::unique_ptr<LogDisk>(std::make_unique<PosixDisk>(std::move(fd)));
}

}  // namespace knit::events
