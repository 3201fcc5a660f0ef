// What reports and the manual print alike.
#pragma once

#include "check/rule.h"

namespace knit::check {

struct Colours {
  explicit Colours(bool on) : on_(on) {}
  std::string operator()(std::string_view code, std::string_view text) const {
    return on_ ? "\033[" + std::string(code) + "m" + std::string(text) + "\033[0m"
               : std::string(text);
  }

 private:
  bool on_;
};

/// "Gateways", "ゲートウェイ": the chapter of a code.
std::string group_title(std::string_view code, bool japanese);
std::string title_of(const Rule& rule, bool japanese);

}  // namespace knit::check
