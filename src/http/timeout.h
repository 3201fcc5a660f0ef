// A bound on how long a task may take.
#pragma once

#include <memory>
#include <optional>

#include "io/loop.h"

namespace knit::http {

namespace detail {
template <class T>
struct Race {
  std::optional<Result<T>> value;
  io::Event done;
};
template <class T>
io::Task<void> run_race(io::Loop* loop, io::Task<Result<T>> task, std::shared_ptr<Race<T>> race) {
  race->value.emplace(co_await task);
  // Posted: whoever waits may destroy this coroutine when it goes on.
  loop->post([race] { race->done.set(); });
}
}  // namespace detail

/// The value of `task`, or DeadlineExceeded after `limit`; then the task is cancelled.
template <class T>
io::Task<Result<T>> with_timeout(io::Loop& loop, Duration limit, io::Task<Result<T>> task) {
  auto race = std::make_shared<detail::Race<T>>();
  const auto scope = loop.spawn_scoped(detail::run_race<T>(&loop, std::move(task), race));
  const auto timer = loop.after(limit, [race] { race->done.set(); });
  co_await race->done;
  if (race->value) co_return std::move(*race->value);
  co_return Error(Code::DeadlineExceeded, "timed out after " + go_duration(limit));
}

}  // namespace knit::http
