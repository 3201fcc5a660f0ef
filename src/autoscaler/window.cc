#include "autoscaler/window.h"

#include <algorithm>
#include <cmath>

namespace knit::autoscaler {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr double kWeightPrecision = 0.9999;
constexpr double kMinExponent = 0.2;

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}
std::int64_t second_of(Instant t) { return floor_div(t.ns, kSecond); }
std::size_t bucket_count(Duration length) {
  return static_cast<std::size_t>(
      std::max<std::int64_t>(1, (length.count() + kSecond - 1) / kSecond));
}
double round6(double v) { return std::round(v * 1e6) / 1e6; }

}  // namespace

Window::Window(Duration length, Aggregation aggregation)
    : length_(length), aggregation_(aggregation), buckets_(bucket_count(length)) {}

double& Window::bucket(std::int64_t second) {
  return buckets_[static_cast<std::size_t>(((second % size()) + size()) % size())];
}
double Window::bucket(std::int64_t second) const {
  return buckets_[static_cast<std::size_t>(((second % size()) + size()) % size())];
}

bool Window::empty(Instant now) const {
  return !written_ || now.ns - last_ * kSecond > length_.count();
}

void Window::record(Instant at, double value) {
  const std::int64_t second = second_of(at);
  if (!written_ || second != last_) {
    if (written_ && second * kSecond + length_.count() <= last_ * kSecond) return;  // too old
    if (empty(at)) {
      std::fill(buckets_.begin(), buckets_.end(), 0.0);
      total_ = 0;
      first_ = last_ = second;
      written_ = true;
    } else if (second > last_) {
      for (std::int64_t s = last_ + 1; s <= second; ++s) {
        total_ -= bucket(s);
        bucket(s) = 0;
      }
      last_ = second;
    } else {
      first_ = std::min(first_, second);  // late, within the window
    }
  }
  bucket(second) += value;
  total_ += value;
}

double Window::average(Instant now) const {
  if (!written_) return 0;
  return aggregation_ == Aggregation::Linear ? linear(second_of(now)) : weighted(second_of(now));
}

double Window::linear(std::int64_t second) const {
  const double written = static_cast<double>(last_ - first_ + 1);
  if (second <= last_) return round6(total_ / std::min(written, static_cast<double>(size())));
  const std::int64_t behind = second - last_;
  if (behind * kSecond >= length_.count()) return 0;
  double sum = total_;
  for (std::int64_t s = last_ + 1; s <= second; ++s) sum -= bucket(s);
  return round6(sum / std::min(written, static_cast<double>(size() - behind)));
}

double Window::weighted(std::int64_t second) const {
  const double size_d = static_cast<double>(size());
  const double smoothing = std::max(kMinExponent, 1 - std::pow(1 - kWeightPrecision, 1 / size_d));
  std::int64_t left = size();
  double weight = smoothing;
  if (second > last_) {
    const std::int64_t zeros = second - last_;
    if (zeros * kSecond > length_.count()) return 0;
    left -= zeros;
    weight *= std::pow(1 - smoothing, static_cast<double>(zeros));
  }
  double sum = 0;
  for (std::int64_t i = 0; i < left; ++i) {
    sum += bucket(last_ - i) * weight;
    weight *= 1 - smoothing;
  }
  return sum;
}

void Window::resize(Duration length) {
  if (length == length_) return;
  Window other(length, aggregation_);
  if (written_) {
    const std::int64_t keep = std::min(size(), other.size());
    const std::int64_t from = std::max(first_, last_ - keep + 1);
    for (std::int64_t s = from; s <= last_; ++s) {
      other.record(Instant{s * kSecond}, bucket(s));
    }
  }
  *this = std::move(other);
}

MaxWindow::MaxWindow(Duration length, Duration step)
    : step_ns_(std::max<std::int64_t>(1, step.count())),
      size_(std::max<std::int64_t>(1, (length.count() + step_ns_ - 1) / step_ns_)) {}

void MaxWindow::record(Instant at, int value) {
  const std::int64_t index = floor_div(at.ns, step_ns_);
  while (!entries_.empty() && entries_.front().index <= index - size_) entries_.pop_front();
  while (!entries_.empty() && entries_.back().value <= value) entries_.pop_back();
  entries_.push_back({index, value});
}

}  // namespace knit::autoscaler
