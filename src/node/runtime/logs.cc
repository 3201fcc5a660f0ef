#include "node/runtime/logs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace knit::node::runtime {

void LogFormatter::record(std::string& out, std::string_view text, char tag, WallTime now) const {
  out += rfc3339_fraction(now, 9);
  out += ' ';
  out += stream_;
  out += ' ';
  out += tag;
  out += ' ';
  out += text;
  out += '\n';
}

std::string LogFormatter::feed(std::string_view data, WallTime now) {
  std::string out;
  while (!data.empty()) {
    const auto end = data.find('\n');
    rest_ += data.substr(0, end);
    data = end == std::string_view::npos ? std::string_view() : data.substr(end + 1);
    while (rest_.size() > kMaxLogLine) {
      record(out, std::string_view(rest_).substr(0, kMaxLogLine), 'P', now);
      rest_.erase(0, kMaxLogLine);
    }
    if (end != std::string_view::npos) {
      record(out, rest_, 'F', now);
      rest_.clear();
    }
  }
  return out;
}

std::string LogFormatter::finish(WallTime now) {
  std::string out;
  if (!rest_.empty()) record(out, rest_, 'P', now);
  rest_.clear();
  return out;
}

Result<std::unique_ptr<LogFile>> LogFile::open(std::string path, LogSettings settings) {
  std::unique_ptr<LogFile> out(new LogFile(std::move(path), settings));
  KNIT_TRY_VOID(out->reopen());
  return out;
}

Result<void> LogFile::reopen() {
  fd_ = Fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640));
  if (!fd_) return errno_error("open " + path_, errno);
  struct stat st{};
  ::fstat(fd_.get(), &st);
  size_ = static_cast<std::uint64_t>(st.st_size);
  return {};
}

Result<void> LogFile::append(std::string_view records) {
  if (size_ > 0 && size_ + records.size() > settings_.max_bytes) {
    for (unsigned i = settings_.max_files - 1; i > 0; --i) {
      const std::string from = i == 1 ? path_ : path_ + "." + std::to_string(i - 1);
      ::rename(from.c_str(), (path_ + "." + std::to_string(i)).c_str());
    }
    KNIT_TRY_VOID(reopen());
  }
  while (!records.empty()) {
    const ssize_t n = ::write(fd_.get(), records.data(), records.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("write " + path_, errno);
    size_ += static_cast<std::uint64_t>(n);
    records.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace knit::node::runtime
