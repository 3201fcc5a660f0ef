#include "app/log_source.h"

#include <sys/stat.h>
#include <unistd.h>

namespace knit::app {
namespace {

constexpr std::size_t kChunk = 64 << 10;
constexpr std::size_t kMaxTail = 100'000;

/// Reads a CRI log file from its start; `tail` and `since` decide where the output begins.
class FileReader final : public apiserver::LogSource::Reader {
 public:
  FileReader(io::Loop& loop, Fd file, apiserver::LogSource::Request request)
      : loop_(loop), file_(std::move(file)), request_(std::move(request)) {
    if (request_.since_seconds) {
      since_ = loop_.wall_now() - std::chrono::seconds(*request_.since_seconds);
    } else if (!request_.since_time.empty()) {
      if (const auto t = parse_rfc3339(request_.since_time)) since_ = *t;
    }
  }

  io::Task<Result<std::string>> read() override {
    while (true) {
      if (limit_reached_) co_return std::string();
      std::string raw(kChunk, '\0');
      const ssize_t n = ::pread(file_.get(), raw.data(), raw.size(), offset_);
      if (n < 0) co_return errno_error("read log", errno);
      if (n > 0) {
        offset_ += n;
        raw.resize(static_cast<std::size_t>(n));
        pending_ += raw;
        std::string out = take_lines();
        if (!out.empty()) co_return out;
        continue;
      }
      if (!at_end_) {  // everything that is there has been read once: now the tail is known
        at_end_ = true;
        std::string out;
        for (auto& line : tail_) out += line;
        tail_.clear();
        out = limited(std::move(out));
        if (!out.empty()) co_return out;
        continue;
      }
      struct stat state{};
      const bool gone = ::fstat(file_.get(), &state) != 0 || state.st_nlink == 0;
      if (!request_.follow || gone) co_return std::string();
      co_await io::sleep_for(loop_, std::chrono::milliseconds(50));
    }
  }

 private:
  std::string take_lines() {
    std::string out;
    std::size_t from = 0;
    while (true) {
      const auto end = pending_.find('\n', from);
      if (end == std::string::npos) break;
      const auto line = parse_log_line(std::string_view(pending_).substr(from, end - from));
      from = end + 1;
      if (!line) continue;
      if (since_) {
        const auto t = parse_rfc3339(line->time);
        if (t && *t < *since_) continue;
      }
      std::string text;
      if (request_.timestamps && !partial_) text = std::string(line->time) + " ";
      text += line->text;
      if (!line->partial) text += '\n';
      const bool continues = partial_;
      partial_ = line->partial;
      if (request_.tail_lines && !at_end_) {
        if (continues && !tail_.empty()) {
          tail_.back() += text;
        } else {
          tail_.push_back(std::move(text));
        }
        const auto keep = std::min<std::size_t>(
            static_cast<std::size_t>(std::max<std::int64_t>(*request_.tail_lines, 0)), kMaxTail);
        while (tail_.size() > keep) tail_.pop_front();
      } else {
        out += text;
      }
    }
    pending_.erase(0, from);
    if (pending_.size() > (1 << 20)) pending_.clear();  // no CRI log: a line is at most 16 KiB
    return limited(std::move(out));
  }
  std::string limited(std::string out) {
    if (!request_.limit_bytes) return out;
    const auto left = static_cast<std::size_t>(std::max<std::int64_t>(*request_.limit_bytes, 0)) - sent_;
    if (out.size() >= left) {
      out.resize(left);
      limit_reached_ = true;
    }
    sent_ += out.size();
    return out;
  }

  io::Loop& loop_;
  Fd file_;
  apiserver::LogSource::Request request_;
  std::optional<WallTime> since_;
  off_t offset_ = 0;
  std::string pending_;
  std::deque<std::string> tail_;
  std::size_t sent_ = 0;
  bool at_end_ = false, partial_ = false, limit_reached_ = false;
};

}  // namespace

std::optional<LogLine> parse_log_line(std::string_view line) {
  const auto first = line.find(' ');
  if (first == std::string_view::npos) return std::nullopt;
  const auto second = line.find(' ', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const auto third = line.find(' ', second + 1);
  if (third == std::string_view::npos) return std::nullopt;
  const auto flag = line.substr(second + 1, third - second - 1);
  if (flag != "F" && flag != "P") return std::nullopt;
  return LogLine{line.substr(0, first), line.substr(third + 1), flag == "P"};
}

io::Task<Result<std::unique_ptr<apiserver::LogSource::Reader>>> NodeLogs::open(Request request) {
  if (channel_ == nullptr) {
    co_return Error(Code::Unavailable, "the node is not there; logs can be read once it is back");
  }
  const auto call = std::make_shared<Call>();
  const std::uint64_t id = next_call_++;
  calls_[id] = call;
  ipc::LogOpen message;
  message.call = id;
  message.uid = request.uid;
  message.container = request.container;
  message.previous = request.previous;
  channel_->send(message);
  const auto timer = loop_.after(std::chrono::seconds(5), [call] { call->done.set(); });
  co_await call->done;
  calls_.erase(id);
  if (!call->file) co_return call->file.error();
  co_return std::unique_ptr<Reader>(
      std::make_unique<FileReader>(loop_, std::move(*call->file), std::move(request)));
}

void NodeLogs::set_channel(ipc::Channel* channel) { channel_ = channel; }

void NodeLogs::on_opened(const ipc::LogOpened& message, std::vector<Fd> fds) {
  const auto it = calls_.find(message.call);
  if (it == calls_.end()) return;
  const auto call = it->second;
  if (!message.error.empty()) {
    call->file = Error(Code::InvalidArgument, message.error);
  } else if (fds.size() == 1) {
    call->file = std::move(fds[0]);
  }
  call->done.set();
}

}  // namespace knit::app
