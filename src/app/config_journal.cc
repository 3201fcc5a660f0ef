#include "app/config_journal.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

namespace knit::app {
namespace {
constexpr std::string_view kLogModule = "config-journal";
constexpr std::size_t kMaxBytes = 1 << 30;

struct Record {
  std::vector<proxy_config::Resource> set;
  std::vector<proxy_config::Ref> removed;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(1, s.set);
    v(2, s.removed);
  }
};
}  // namespace

Result<std::vector<proxy_config::Resource>> ConfigJournal::read(int fd) {
  struct stat state{};
  if (::fstat(fd, &state) != 0) return errno_error("config journal", errno);
  if (state.st_size < 0 || static_cast<std::size_t>(state.st_size) > kMaxBytes) {
    return Error(Code::InvalidArgument, "config journal is too large");
  }
  std::string text(static_cast<std::size_t>(state.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::pread(fd, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  std::map<proxy_config::Ref, proxy_config::Resource> all;
  std::string_view rest(text.data(), done);
  while (rest.size() >= 4) {
    std::uint32_t size = 0;
    std::memcpy(&size, rest.data(), 4);
    if (size > rest.size() - 4) break;  // torn: its delta was not acknowledged either
    auto record = codec::decode<Record>(rest.substr(4, size));
    if (!record) return std::move(record).error().within("config journal");
    for (auto& r : record->set) all[{r.type, r.name}] = std::move(r);
    for (const auto& ref : record->removed) all.erase(ref);
    rest.remove_prefix(4 + size);
  }
  std::vector<proxy_config::Resource> out;
  out.reserve(all.size());
  for (auto& [ref, r] : all) out.push_back(std::move(r));
  return out;
}

bool ConfigJournal::write(const std::vector<proxy_config::Resource>& set,
                          const std::vector<proxy_config::Ref>& removed) {
  const std::string body = codec::encode(Record{set, removed});
  const auto size = static_cast<std::uint32_t>(body.size());
  std::string frame(4, '\0');
  std::memcpy(frame.data(), &size, 4);
  frame += body;
  std::size_t done = 0;
  while (done < frame.size()) {
    const ssize_t n = ::write(file_.get(), frame.data() + done, frame.size() - done);
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  bytes_ += frame.size();
  return true;
}

void ConfigJournal::append(const std::vector<proxy_config::Resource>& set,
                           const std::vector<proxy_config::Ref>& removed,
                           const std::function<std::vector<proxy_config::Resource>()>& all) {
  const bool anew = !file_ || bytes_ > 2 * base_bytes_ + (64 << 10);
  if (!anew) {
    if (write(set, removed)) return;
    KNIT_LOG(Warn, "cannot append; a new base is written");
  }
  file_ = Fd(::memfd_create("knit-proxy-config", MFD_CLOEXEC));
  bytes_ = 0;
  if (!file_ || !write(all(), {})) {
    KNIT_LOG(Error, "the last config is not kept: a restart waits for the server");
    file_.reset();
    return;
  }
  base_bytes_ = bytes_;
  keep_(Fd(::dup(file_.get())));
}

}  // namespace knit::app
