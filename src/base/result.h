// Errors as values: Result<T> holds a T or an Error; KNIT_TRY hands an error to the caller.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace knit {

/// What a caller may branch on. apiserver/status.cc maps each to an HTTP status and a reason.
enum class Code {
  InvalidArgument,   // the input is wrong and will stay wrong
  NotFound,
  AlreadyExists,
  Conflict,          // a precondition (resourceVersion, uid) failed
  PermissionDenied,
  Unauthenticated,
  ResourceExhausted, // a bound was reached; retry later or ask for less
  Unavailable,       // a peer cannot be reached; retry
  DeadlineExceeded,
  Expired,           // the history that was asked for is gone
  Unsupported,       // known, and refused by name
  Cancelled,
  Internal,
};

std::string_view to_string(Code code);

/// One pointer wide. The message is one sentence for people: object, field, fix.
class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message)
      : body_(std::make_unique<Body>(Body{code, std::move(message)})) {}
  Error(const Error& other) : body_(std::make_unique<Body>(*other.body_)) {}
  Error(Error&&) noexcept = default;
  Error& operator=(const Error& other) {
    if (this != &other) body_ = std::make_unique<Body>(*other.body_);
    return *this;
  }
  Error& operator=(Error&&) noexcept = default;
  ~Error() = default;

  Code code() const { return body_->code; }
  const std::string& message() const { return body_->message; }
  /// Prepends where it happened: "update route default/hello: <message>".
  Error within(std::string_view where) && {
    body_->message = std::string(where) + ": " + body_->message;
    return std::move(*this);
  }

 private:
  struct Body {
    Code code;
    std::string message;
  };
  std::unique_ptr<Body> body_;
};

/// The Error of a failed system call: "<what>: <strerror>", with a Code that fits errno.
Error errno_error(std::string_view what, int error_number);

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: converts
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: converts

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }
  template <class U>
  T value_or(U&& other) const& {
    return has_value() ? value() : static_cast<T>(std::forward<U>(other));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_(std::make_unique<Error>(std::move(error))) {}  // NOLINT: converts
  Result(const Result& o) : error_(o.error_ ? std::make_unique<Error>(*o.error_) : nullptr) {}
  Result(Result&&) noexcept = default;
  Result& operator=(Result&&) noexcept = default;
  Result& operator=(const Result& o) {
    if (this != &o) error_ = o.error_ ? std::make_unique<Error>(*o.error_) : nullptr;
    return *this;
  }
  ~Result() = default;
  bool has_value() const { return error_ == nullptr; }
  explicit operator bool() const { return has_value(); }
  Error& error() & { return *error_; }
  const Error& error() const& { return *error_; }
  Error&& error() && { return std::move(*error_); }

 private:
  std::unique_ptr<Error> error_;
};

namespace detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}  // namespace detail

#define KNIT_CONCAT_(a, b) a##b
#define KNIT_CONCAT(a, b) KNIT_CONCAT_(a, b)

/// KNIT_TRY(const Port port, parse_port(text)): declares the value or returns the error.
/// KNIT_TRY_VOID(expr) for Result<void>. KNIT_CO_TRY / KNIT_CO_TRY_VOID inside a coroutine.
#define KNIT_TRY(decl, expr) KNIT_TRY_IMPL_(decl, expr, return, KNIT_CONCAT(knit_try_, __LINE__))
#define KNIT_CO_TRY(decl, expr) \
  KNIT_TRY_IMPL_(decl, expr, co_return, KNIT_CONCAT(knit_try_, __LINE__))
#define KNIT_TRY_IMPL_(decl, expr, ret, tmp) \
  auto tmp = (expr);                         \
  if (!tmp) ret std::move(tmp).error();      \
  decl = std::move(tmp).value()
#define KNIT_TRY_VOID(expr)                                     \
  if (auto knit_r = (expr); !knit_r) return std::move(knit_r).error()
#define KNIT_CO_TRY_VOID(expr)                                  \
  if (auto knit_r = (expr); !knit_r) co_return std::move(knit_r).error()

/// A broken invariant: log and abort. Nothing a peer or a manifest does may reach it.
#define KNIT_CHECK(cond) \
  ((cond) ? static_cast<void>(0) : ::knit::detail::check_failed(#cond, __FILE__, __LINE__))

}  // namespace knit
