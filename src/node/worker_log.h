// One end of a container's output on its way into a log file. Shared by the worker's parts.
#pragma once

#include <memory>
#include <string>

#include "node/runtime/logs.h"
#include "node/worker.h"

namespace knit::node {

struct PodWorker::LogPump {
  LogPump(std::string stream_name, Fd fd, std::shared_ptr<runtime::LogFile> to)
      : stream(stream_name),
        formatter(std::move(stream_name)),
        read_end(std::move(fd)),
        file(std::move(to)) {}
  std::string stream, key;  // key: of the kept descriptor
  runtime::LogFormatter formatter;
  Fd read_end;
  std::shared_ptr<runtime::LogFile> file;
  io::Loop::Watch watch;  // destroyed before the descriptor
  bool done = false;
};

}  // namespace knit::node
