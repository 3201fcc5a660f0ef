// Small files, whole: read with a bound, replaced at once. Blocking; never on a loop that serves.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace knit {

/// What is left in `fd`, at most `max` bytes; what a read error cut short ends there.
std::string read_rest(int fd, std::size_t max);

/// Errors: NotFound, PermissionDenied, Unavailable (cannot
/// be read), InvalidArgument (longer than `max`).
Result<std::string> read_file(const std::string& path, std::size_t max);

/// Every byte or an error; `what` names the file in it.
Result<void> write_all(int fd, std::string_view data, const std::string& what);

struct Replace {
  mode_t mode = 0600;    // as given, whatever the umask
  bool durable = false;  // on the disk before the name changes
  std::string like;      // root only: the file belongs to whoever owns this path
};
/// The old content or the new one, never a part: written beside as PATH.new, then renamed. Errors:
/// those of the system, with the path; the old content stays.
Result<void> replace_file(const std::string& path, std::string_view text, Replace how);

/// With the directories above it. Errors: those of the system, with the path.
Result<void> make_directories(const std::string& path);

}  // namespace knit
