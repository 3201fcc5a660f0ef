// Pod logs: the node opens the file, the server reads it and prints what the request asks for.
#pragma once

#include <map>

#include "apiserver/api.h"
#include "base/fd.h"
#include "ipc/channel.h"

namespace knit::app {

class NodeLogs final : public apiserver::LogSource {
 public:
  explicit NodeLogs(io::Loop& loop) : loop_(loop) {}
  io::Task<Result<std::unique_ptr<Reader>>> open(Request request) override;

  /// The channel to the node; nullptr while there is none.
  void set_channel(ipc::Channel* channel);
  void on_opened(const ipc::LogOpened& message, std::vector<Fd> fds);

 private:
  struct Call {
    io::Event done;
    Result<Fd> file = Error(Code::Unavailable, "the node does not answer");
  };
  io::Loop& loop_;
  ipc::Channel* channel_ = nullptr;
  std::uint64_t next_call_ = 1;
  std::map<std::uint64_t, std::shared_ptr<Call>> calls_;
};

/// One line of a CRI log ("TIME stdout F text"): the text as a client sees it, or nothing when the
/// line is malformed. `partial` is true for a piece without a line end.
struct LogLine {
  std::string_view time, text;
  bool partial = false;
};
std::optional<LogLine> parse_log_line(std::string_view line);

}  // namespace knit::app
