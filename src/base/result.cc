#include "base/result.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace knit {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::InvalidArgument: return "InvalidArgument";
    case Code::NotFound: return "NotFound";
    case Code::AlreadyExists: return "AlreadyExists";
    case Code::Conflict: return "Conflict";
    case Code::PermissionDenied: return "PermissionDenied";
    case Code::Unauthenticated: return "Unauthenticated";
    case Code::ResourceExhausted: return "ResourceExhausted";
    case Code::Unavailable: return "Unavailable";
    case Code::DeadlineExceeded: return "DeadlineExceeded";
    case Code::Expired: return "Expired";
    case Code::Unsupported: return "Unsupported";
    case Code::Cancelled: return "Cancelled";
    case Code::Internal: return "Internal";
  }
  return "Unknown";
}

namespace {
Code code_of(int error_number) {
  switch (error_number) {
    case ENOENT: return Code::NotFound;
    case EEXIST: return Code::AlreadyExists;
    case EACCES:
    case EPERM: return Code::PermissionDenied;
    case EINVAL:
    case ENAMETOOLONG: return Code::InvalidArgument;
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EDQUOT: return Code::ResourceExhausted;
    case ETIMEDOUT: return Code::DeadlineExceeded;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPIPE:
    case EAGAIN: return Code::Unavailable;
    case ECANCELED: return Code::Cancelled;
    default: return Code::Internal;
  }
}
}  // namespace

Error errno_error(std::string_view what, int error_number) {
  return {code_of(error_number), std::string(what) + ": " + std::strerror(error_number)};
}

void detail::check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "KNIT_CHECK failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace knit
