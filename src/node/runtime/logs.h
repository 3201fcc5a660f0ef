// A container's output as CRI log files: "TIMESTAMP stdout F text", rotated.
// Source: kubernetes pkg/kubelet/kuberuntime/logs, containerd pkg/cri/io/logger.go
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"

namespace knit::node::runtime {

inline constexpr std::size_t kMaxLogLine = 16384;  // longer lines are split and marked P

/// Turns a stream of bytes into CRI records.
class LogFormatter {
 public:
  explicit LogFormatter(std::string stream) : stream_(std::move(stream)) {}
  /// The records of whole lines in what was kept and `data`; the rest is kept.
  std::string feed(std::string_view data, WallTime now);
  /// What is left at the end of the stream, as a partial record.
  std::string finish(WallTime now);

 private:
  void record(std::string& out, std::string_view text, char tag, WallTime now) const;
  std::string stream_, rest_;
};

struct LogSettings {
  std::uint64_t max_bytes = 10 << 20;
  unsigned max_files = 5;  // the present one and path.1 … path.4
};

/// Appends to one file and rotates it. Writes at once: a crash loses only the chunk in hand.
class LogFile {
 public:
  static Result<std::unique_ptr<LogFile>> open(std::string path, LogSettings settings);
  Result<void> append(std::string_view records);
  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }

 private:
  LogFile(std::string path, LogSettings settings) : path_(std::move(path)), settings_(settings) {}
  Result<void> reopen();
  std::string path_;
  LogSettings settings_;
  Fd fd_;
  std::uint64_t size_ = 0;
};

}  // namespace knit::node::runtime
