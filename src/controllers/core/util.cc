#include "controllers/core/util.h"

#include <cmath>

#include "base/hash.h"

namespace knit::controllers::core {
namespace {
constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
}

Json controller_ref(const Json& owner) {
  JsonObject ref;
  ref["apiVersion"] = json::str(owner, {"apiVersion"});
  ref["kind"] = json::str(owner, {"kind"});
  ref["name"] = json::str(owner, {"metadata", "name"});
  ref["uid"] = json::str(owner, {"metadata", "uid"});
  ref["controller"] = true;
  ref["blockOwnerDeletion"] = true;
  return ref;
}
std::string_view controller_uid(const kube::Object& object) {
  const auto* owner = object.controller();
  return owner == nullptr ? std::string_view() : std::string_view(owner->uid);
}

void set_condition(JsonArray& conditions, const Condition& c, WallTime now) {
  JsonObject want;
  want["type"] = c.type;
  want["status"] = c.status;
  want["lastTransitionTime"] = rfc3339(now);
  if (!c.reason.empty()) want["reason"] = c.reason;
  if (!c.message.empty()) want["message"] = c.message;
  for (auto& have : conditions) {
    if (json::str(have, {"type"}) != c.type) continue;
    if (json::str(have, {"status"}) == c.status) {
      want["lastTransitionTime"] = json::str(have, {"lastTransitionTime"});
    }
    // Members that are not ours (lastProbeTime, lastHeartbeatTime) stay.
    for (const auto& kv : have.is_object() ? have.get_object() : JsonObject()) {
      if (kv.key() != "reason" && kv.key() != "message" && !want.contains(kv.key())) {
        want[kv.key()] = kv.value();
      }
    }
    have = std::move(want);
    return;
  }
  conditions.push_back(std::move(want));
}

Json condition(const Json& object, std::string_view type) {
  for (const auto& c : json::array(object, {"status", "conditions"})) {
    if (json::str(c, {"type"}) == type) return c;
  }
  return nullptr;
}
std::string_view condition_status(const Json& object, std::string_view type) {
  for (const auto& c : json::array(object, {"status", "conditions"})) {
    if (json::str(c, {"type"}) == type) return json::str(c, {"status"});
  }
  return {};
}

bool deleting(const Json& object) {
  return json::find(object, {"metadata", "deletionTimestamp"}) != nullptr;
}
bool pod_ready(const Json& pod) { return condition_status(pod, "Ready") == "True"; }
bool pod_ended(const Json& pod) {
  const auto phase = json::str(pod, {"status", "phase"});
  return phase == "Succeeded" || phase == "Failed";
}
bool pod_active(const Json& pod) { return !pod_ended(pod) && !deleting(pod); }

bool pod_available(const Json& pod, Duration min_ready, WallTime now,
                   std::optional<Duration>* wait) {
  if (!pod_ready(pod)) return false;
  if (min_ready <= Duration::zero()) return true;
  const Json ready = condition(pod, "Ready");
  const Duration left = time_at(ready, {"lastTransitionTime"}) + min_ready - now;
  if (left <= Duration::zero()) return true;
  if (wait != nullptr && (!*wait || left < **wait)) *wait = left;
  return false;
}

Result<std::int64_t> int_or_percent(const Json* value, std::int64_t total, Round round) {
  if (value == nullptr) return Error(Code::InvalidArgument, "a number or a percentage is missing");
  if (value->is_number()) return json::i64(JsonObject{{"v", *value}}, {"v"});
  const auto* s = value->if_string();
  std::string_view text = s == nullptr ? std::string_view() : std::string_view(*s);
  if (!text.ends_with('%') || text.size() < 2 || text.size() > 10) {
    return Error(Code::InvalidArgument,
                 "\"" + std::string(text) + "\" is neither a number nor a percentage");
  }
  text.remove_suffix(1);
  std::int64_t percent = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') {
      return Error(Code::InvalidArgument, "\"" + std::string(text) + "%\" is no percentage");
    }
    percent = percent * 10 + (c - '0');
  }
  const std::int64_t product = percent * total;
  return round == Round::Up ? (product + 99) / 100 : product / 100;
}

Result<std::int64_t> quantity_milli(const Json* value) {
  if (value == nullptr || value->is_null()) return std::int64_t{0};
  std::string text;
  if (const auto* s = value->if_string()) {
    text.assign(s->data(), s->size());
  } else if (value->is_number()) {
    text = json::print(*value);
  } else {
    return Error(Code::InvalidArgument, "a quantity is a string or a number");
  }
  const auto bad = [&] { return Error(Code::InvalidArgument, "\"" + text + "\" is no quantity"); };
  std::size_t i = 0;
  bool negative = false;
  if (i < text.size() && (text[i] == '+' || text[i] == '-')) negative = text[i++] == '-';
  double number = 0;
  double place = 0;
  bool any = false;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.' && place == 0) {
      place = 0.1;
    } else if (c >= '0' && c <= '9') {
      any = true;
      if (place == 0) {
        number = number * 10 + (c - '0');
      } else {
        number += place * (c - '0');
        place /= 10;
      }
    } else {
      break;
    }
  }
  if (!any) return bad();
  const std::string_view suffix = std::string_view(text).substr(i);
  double scale = 1;
  const struct {
    std::string_view suffix;
    double scale;
  } suffixes[] = {{"", 1},
                  {"n", 1e-9},
                  {"u", 1e-6},
                  {"m", 1e-3},
                  {"k", 1e3},
                  {"M", 1e6},
                  {"G", 1e9},
                  {"T", 1e12},
                  {"P", 1e15},
                  {"E", 1e18},
                  {"Ki", 1024.0},
                  {"Mi", 1048576.0},
                  {"Gi", 1073741824.0},
                  {"Ti", 1099511627776.0},
                  {"Pi", 1125899906842624.0},
                  {"Ei", 1152921504606846976.0}};
  bool known = false;
  for (const auto& s : suffixes) {
    if (s.suffix == suffix) {
      scale = s.scale;
      known = true;
    }
  }
  if (!known && suffix.size() > 1 && (suffix[0] == 'e' || suffix[0] == 'E')) {
    int exponent = 0;
    std::size_t j = 1;
    const bool down = suffix[1] == '-';
    if (suffix[1] == '-' || suffix[1] == '+') ++j;
    if (j >= suffix.size() || suffix.size() - j > 2) return bad();
    for (; j < suffix.size(); ++j) {
      if (suffix[j] < '0' || suffix[j] > '9') return bad();
      exponent = exponent * 10 + (suffix[j] - '0');
    }
    scale = std::pow(10.0, down ? -exponent : exponent);
    known = true;
  }
  if (!known) return bad();
  const double milli = std::ceil(number * scale * 1000 - 1e-6);
  if (milli > 9e18) return INT64_MAX;
  return static_cast<std::int64_t>(negative ? -milli : milli);
}

std::string name_suffix(std::string_view seed, std::size_t n) {
  const std::string digest = hash::sha256(seed);
  std::string out;
  for (std::size_t i = 0; i < n && i < digest.size(); ++i) {
    out += kAlphabet[static_cast<unsigned char>(digest[i]) % kAlphabet.size()];
  }
  return out;
}
std::string safe_encode(std::uint32_t number) {
  std::string out;
  for (const char c : std::to_string(number)) {
    out += kAlphabet[static_cast<unsigned char>(c) % kAlphabet.size()];
  }
  return out;
}

Json literal(std::string_view text) {
  auto value = json::parse(text);
  KNIT_CHECK(value.has_value());
  return std::move(value).value();
}

WallTime time_at(const Json& object, json::Path path) {
  const auto time = parse_rfc3339(json::str(object, path));
  return time ? *time : WallTime{};
}
WallTime created_at(const Json& object) {
  return time_at(object, {"metadata", "creationTimestamp"});
}

}  // namespace knit::controllers::core
