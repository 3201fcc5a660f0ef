#include "reconcile/event_recorder.h"

#include <algorithm>

#include "base/hash.h"

namespace knit::reconcile {

std::optional<Write> EventRecorder::record(const World& world, const EventNote& note, Instant now) {
  constexpr double kBurst = 25;
  constexpr double kSecondsPerToken = 300;
  const auto object = world.get(note.about);
  const Json view = object ? object->parse() : Json();
  const std::string uid = object ? object->uid() : std::string();
  const std::string source = note.component + '/' + kube::to_string(note.about) + '/' + uid;
  auto it = buckets_.find(source);
  if (it == buckets_.end()) {
    if (buckets_.size() >= max_series_) {
      buckets_.erase(order_.front());
      order_.pop_front();
    }
    it = buckets_.emplace(source, Bucket{kBurst, now}).first;
    order_.push_back(source);
  }
  Bucket& bucket = it->second;
  const double elapsed = std::chrono::duration<double>(now - bucket.at).count();
  bucket.tokens = std::min(kBurst, bucket.tokens + elapsed / kSecondsPerToken);
  bucket.at = now;
  if (bucket.tokens < 1) return std::nullopt;
  bucket.tokens -= 1;

  const std::string ns = note.about.ns.empty() ? "default" : note.about.ns;
  const std::string digest =
      hash::sha256_hex(source + '/' + note.type + '/' + note.reason + '/' + note.message);
  const std::string prefix = note.about.name.substr(0, 200);
  const Key key{kube::res::events(), ns, prefix + '.' + digest.substr(0, 16)};
  const std::string time = rfc3339(world.wall_now());
  if (const auto old = world.get(key)) {
    JsonObject patch;
    patch["count"] = json::i64(old->parse(), {"count"}, 1) + 1;
    patch["lastTimestamp"] = time;
    return Write{Write::Op::Merge, key, std::move(patch), {}, -1};
  }
  JsonObject involved;
  involved["kind"] = json::str(view, {"kind"});
  involved["apiVersion"] = json::str(view, {"apiVersion"});
  if (!note.about.ns.empty()) involved["namespace"] = note.about.ns;
  involved["name"] = note.about.name;
  if (!uid.empty()) involved["uid"] = uid;
  if (const auto version = json::str(view, {"metadata", "resourceVersion"}); !version.empty()) {
    involved["resourceVersion"] = version;
  }
  JsonObject event;
  event["apiVersion"] = "v1";
  event["kind"] = "Event";
  event["metadata"] = JsonObject{{"name", key.name}, {"namespace", ns}};
  event["involvedObject"] = std::move(involved);
  event["type"] = note.type;
  event["reason"] = note.reason;
  event["message"] = note.message.substr(0, 1024);
  event["source"] = JsonObject{{"component", note.component}};
  event["reportingComponent"] = note.component;
  event["reportingInstance"] = "";
  event["firstTimestamp"] = time;
  event["lastTimestamp"] = time;
  event["count"] = 1;
  return Write{Write::Op::Create, key, std::move(event), {}, -1};
}

}  // namespace knit::reconcile
