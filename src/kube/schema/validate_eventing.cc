// Source: knative/eventing pkg/apis/{eventing,messaging,flows,sources,duck}/**/*_validation.go,
// knative/pkg apis/duck/v1/{destination,knative_reference}.go, tracker/interface.go
#include <algorithm>

#include "base/hash.h"
#include "base/iso_duration.h"
#include "cron/schedule.h"
#include "events/filter/cesql.h"
#include "kube/names.h"
#include "kube/schema/eventing_config.h"
#include "kube/schema/knative_errors.h"

namespace knit::schema {

namespace {
using json::array;
using json::find;
using json::str;

constexpr std::size_t kMaxFilterDepth = 16;
constexpr std::size_t kShown = 200;  // bytes of an expression in a message

bool is_set(const Json* v) { return v != nullptr && !v->is_null(); }
bool is_empty(const Json* v) {
  if (!is_set(v)) return true;
  if (const auto* o = v->if_object()) return o->empty();
  if (const auto* a = v->if_array()) return a->empty();
  if (const auto* s = v->if_string()) return s->empty();
  return false;
}

class Checker {
 public:
  Checker(const Json& object, const Context& context, KnativeErrors& errors)
      : object_(object),
        context_(context),
        errors_(errors),
        own_ns_(str(object, {"metadata", "namespace"})) {}

  /// `same_ns`: the parent's namespace is known to upstream's check, so another one is refused.
  void reference(const Json& ref, const std::string& path, bool same_ns) {
    for (const auto field : {"name", "apiVersion", "kind"}) {
      if (str(ref, {field}).empty()) errors_.missing(at(path, field));
    }
    // Feature kreference-group is not carried out (the operator refuses it).
    if (!str(ref, {"group"}).empty()) errors_.disallowed(at(path, "group"));
    const auto ns = str(ref, {"namespace"});
    if (same_ns && !ns.empty() && !own_ns_.empty() && ns != own_ns_) {
      errors_.add("mismatched namespaces", at(path, "namespace"),
                  "parent namespace: \"" + std::string(own_ns_) + "\" does not match ref: \"" +
                      std::string(ns) + "\"");
    }
  }

  void destination(const Json* d, const std::string& path, bool same_ns = false) {
    if (!is_set(d)) return;
    const Json* ref = find(*d, "ref");
    const auto uri = str(*d, {"uri"});
    const bool absolute = has_scheme(uri);
    if (!is_set(ref) && uri.empty()) {
      errors_.add("expected at least one, got none", at(path, "ref"));
      errors_.add("expected at least one, got none", at(path, "uri"));
    } else if (is_set(ref) && absolute) {
      for (const auto field : {"[apiVersion, kind, name]", "ref", "uri"}) {
        errors_.add("Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present",
                    at(path, field));
      }
    } else if (!is_set(ref) && (!absolute || host_of(uri).empty())) {
      errors_.invalid("Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent",
                      at(path, "uri"));
    } else if (is_set(ref)) {
      // Upstream does not look at a ref that has a uri beside it; then it never resolves.
      reference(*ref, at(path, "ref"), same_ns);
    }
  }
  void required_destination(const Json* d, const std::string& path) {
    const Json none = JsonObject();
    destination(is_set(d) ? d : &none, path);
  }

  void delivery(const Json* d, const std::string& path, bool same_ns = false) {
    if (!is_set(d)) return;
    destination(find(*d, "deadLetterSink"), at(path, "deadLetterSink"), same_ns);
    const auto retry = json::opt_i64(*d, {"retry"});
    if (retry && *retry < 0) errors_.invalid(std::to_string(*retry), at(path, "retry"));
    const auto duration = [&](std::string_view field, bool allowed, std::int64_t least) {
      const Json* v = find(*d, field);
      if (!is_set(v)) return;
      if (!allowed) return errors_.disallowed(at(path, field));
      const auto text = str(*d, {field});
      const auto parsed = parse_iso_duration(text);
      if (!parsed || parsed->count() < least) errors_.invalid(text, at(path, field));
    };
    duration("timeout", feature(context_, "delivery-timeout", "enabled"), 1);
    duration("backoffDelay", true, 0);
    duration("retryAfterMax", feature(context_, "delivery-retryafter"), 0);
    one_of(*d, "backoffPolicy", path, {"linear", "exponential"});
    one_of(*d, "format", path, {"json", "binary"});
  }

  void filters(const Json& list, const std::string& path, std::size_t depth = 0) {
    const auto* entries = list.if_array();
    for (std::size_t i = 0; entries != nullptr && i < entries->size(); ++i) {
      filter((*entries)[i], at(path, i), depth);
    }
  }
  void attribute_names(const Json* attributes, const std::string& path) {
    if (!is_set(attributes)) return;
    const auto* map = attributes->if_object();
    if (map == nullptr) return errors_.invalid(json::canonical(*attributes), path);
    for (const auto& [name, value] : *map) {
      if (!attribute_name({name.data(), name.size()})) {
        errors_.key({name.data(), name.size()}, path + "[" + std::string(name) + "]",
                    "Attribute name must start with a letter and can only contain lowercase "
                    "alphanumeric");
      }
      if (!value.is_string()) errors_.invalid(json::canonical(value), path);
    }
  }
  void channel_template(const Json* t, const std::string& path) {
    if (!is_set(t)) return errors_.missing(path);
    for (const auto field : {"kind", "apiVersion"}) {
      if (str(*t, {field}).empty()) errors_.missing(at(path, field));
    }
  }

  void broker(const Json* old);
  void trigger(const Json* old);
  void channel(const Json* old);
  void in_memory_channel(const Json* old);
  void subscription(const Json* old);
  void sequence();
  void parallel();
  void ping_source();
  void container_source();
  void sink_binding(const Json* old);
  void event_type();

 private:
  static bool has_scheme(std::string_view uri) {
    const auto colon = uri.find(':');
    if (colon == std::string_view::npos || colon == 0) return false;
    return std::all_of(uri.begin(), uri.begin() + static_cast<std::ptrdiff_t>(colon), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '+' || c == '-' || c == '.';
    });
  }
  static std::string_view host_of(std::string_view uri) {
    const auto from = uri.find("://");
    if (from == std::string_view::npos) return {};
    const auto rest = uri.substr(from + 3);
    return rest.substr(0, rest.find_first_of("/?#"));
  }
  static bool attribute_name(std::string_view name) {
    return !name.empty() && name.front() >= 'a' && name.front() <= 'z' &&
           std::all_of(name.begin(), name.end(),
                       [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
  }
  void one_of(const Json& parent, std::string_view field, const std::string& path,
              std::initializer_list<std::string_view> allowed) {
    const auto value = str(parent, {field});
    if (!is_set(find(parent, field))) return;
    if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
      errors_.invalid(value, at(path, field));
    }
  }
  void filter(const Json& f, const std::string& path, std::size_t depth) {
    if (depth > kMaxFilterDepth) {
      return errors_.add(
          "filters are nested more than " + std::to_string(kMaxFilterDepth) + " deep", path);
    }
    const auto* object = f.if_object();
    if (object == nullptr) return errors_.invalid(json::canonical(f), path);
    std::size_t dialects = 0;
    for (const auto& [key, value] : *object) {
      const std::string name(key);
      const std::string here = at(path, name);
      if (name == "exact" || name == "prefix" || name == "suffix") {
        attribute_names(&value, here);
      } else if (name == "all" || name == "any") {
        filters(value, here, depth + 1);
      } else if (name == "not") {
        if (!is_empty(&value)) filter(value, here, depth + 1);
      } else if (name == "cesql") {
        expression(value, here);
      } else {
        errors_.disallowed(here);  // the nested levels have no schema of their own
        continue;
      }
      dialects += is_empty(&value) ? 0 : 1;
    }
    if (dialects > 1) {
      errors_.add("multiple dialects found, filters can have only one dialect set", path);
    }
  }
  void expression(const Json& value, const std::string& path) {
    if (!value.is_string() || value.get_string().empty()) return;
    const std::string_view text(value.get_string());
    if (const auto program = events::cesql::Program::compile(text); !program) {
      errors_.invalid(text.substr(0, kShown), path, program.error().message());
    }
  }
  /// Everything of spec but `mutable_fields` stays as it was.
  void immutable(const Json* old, std::initializer_list<std::string_view> mutable_fields,
                 std::string path = "spec") {
    if (old == nullptr || context_.internal) return;
    Json before = json::object(*old, {"spec"}), after = json::object(object_, {"spec"});
    for (const auto field : mutable_fields) {
      json::erase(before, {field});
      json::erase(after, {field});
    }
    if (before == after) return;
    errors_.add("Immutable fields changed (-old +new)", std::move(path),
                "\t-: " + json::canonical(before) + "\n\t+: " + json::canonical(after) + "\n");
  }
  void immutable_field(const Json* old, std::string_view field) {
    if (old == nullptr || context_.internal) return;
    const Json* before = find(*old, {"spec", field});
    const Json* after = find(object_, {"spec", field});
    const bool same = before == nullptr || after == nullptr ? before == after : *before == *after;
    if (same) return;
    errors_.add("Immutable fields changed (-old +new)", at("spec", field),
                "\t-: " + (before != nullptr ? json::canonical(*before) : "") +
                    "\n\t+: " + (after != nullptr ? json::canonical(*after) : "") + "\n");
  }
  const Json* spec(std::string_view field) const { return find(object_, {"spec", field}); }
  std::string_view annotation(std::string_view name) const {
    return str(object_, {"metadata", "annotations", name});
  }
  void subscribers_are_ours(const Json* old);
  void ping_data(std::string_view field, bool base64);

  const Json& object_;
  const Context& context_;
  KnativeErrors& errors_;
  std::string_view own_ns_;
};

void Checker::broker(const Json* old) {
  constexpr std::string_view kClass = "eventing.knative.dev/broker.class";
  if (annotation(kClass).empty()) errors_.missing(std::string(kClass));
  const auto document =
      context_.knative_config == nullptr
          ? std::string_view()
          : str(*context_.knative_config, {"config-br-defaults", "default-br-config"});
  const auto defaults = broker_defaults(document, own_ns_, annotation(kClass));
  const bool same_ns = defaults && defaults->same_namespace_only;
  if (const Json* config = spec("config"); is_set(config)) {
    reference(*config, "spec.config", same_ns);
  }
  delivery(spec("delivery"), "spec.delivery", same_ns);
  immutable(old, {"delivery"});
  if (old != nullptr && !context_.internal) {
    const auto before = str(*old, {"metadata", "annotations", kClass});
    if (before != annotation(kClass)) {
      errors_.add("Immutable fields changed (-old +new)", "annotations",
                  "\t-: \"" + std::string(before) + "\"\n\t+: \"" +
                      std::string(annotation(kClass)) + "\"\n");
    }
  }
}

void Checker::trigger(const Json* old) {
  const auto broker = str(object_, {"spec", "broker"});
  const Json* reference_to_broker = spec("brokerRef");
  if (broker.empty() && !is_set(reference_to_broker)) errors_.missing("spec.broker");
  if (!broker.empty() && is_set(reference_to_broker)) {
    errors_.both("spec", {"broker", "brokerRef"});
  }
  if (is_set(reference_to_broker)) {
    // Feature cross-namespace-event-links is not carried out (the operator refuses it).
    reference(*reference_to_broker, "spec.brokerRef", true);
  }
  attribute_names(find(object_, {"spec", "filter", "attributes"}), "spec.filter.attributes");
  if (const Json* list = spec("filters"); is_set(list)) filters(*list, "spec.filters");
  required_destination(spec("subscriber"), "spec.subscriber");
  delivery(spec("delivery"), "spec.delivery");
  immutable_field(old, "broker");
  immutable_field(old, "brokerRef");

  constexpr std::string_view kDependency = "knative.dev/dependency";
  constexpr std::string_view kInjection = "eventing.knative.dev/injection";
  const std::string here = "metadata.annotations[" + std::string(kDependency) + "]";
  if (find(object_, {"metadata", "annotations", kDependency}) != nullptr) {
    const auto text = annotation(kDependency);
    const auto parsed = json::parse(text);
    if (!parsed || !parsed->is_object()) {
      errors_.add(
          "The provided annotation was not a corev1.ObjectReference: " + json::print(Json(text)),
          here);
    } else {
      const auto ns = str(*parsed, {"namespace"});
      if (!ns.empty() && ns != own_ns_) {
        errors_.add("Namespace must be empty or equal to the trigger namespace \"" +
                        std::string(own_ns_) + "\"",
                    at(here, "namespace"));
      }
      for (const auto field : {"kind", "name", "apiVersion"}) {
        if (str(*parsed, {field}).empty()) errors_.missing(at(here, field));
      }
    }
  }
  if (find(object_, {"metadata", "annotations", kInjection}) != nullptr) {
    const std::string path = "metadata.annotations[" + std::string(kInjection) + "]";
    const std::string value(annotation(kInjection));
    if (value != "enabled" && value != "disabled") {
      errors_.add(
          "The provided injection annotation value can only be \"enabled\" or \"disabled\", not "
          "\"" +
              value + "\"",
          path);
    } else if (broker != "default") {
      errors_.add(
          "The provided injection annotation is only used for default broker, but non-default "
          "broker specified here: \"" +
              std::string(broker) + "\"",
          path);
    }
  }
}

void Checker::subscribers_are_ours(const Json* old) {
  if (context_.internal) return;
  const auto& after = array(object_, {"spec", "subscribers"});
  if (old == nullptr) {
    // DIFFERS: Knit makes the list from the Subscriptions; upstream keeps what was written.
    if (!after.empty()) errors_.disallowed("spec.subscribers", "make Subscriptions instead");
    return;
  }
  if (array(*old, {"spec", "subscribers"}) == after) return;
  errors_.add("Channel.Spec.Subscribers changed by user " + context_.user +
                  " which was not the system:serviceaccount:knative-eventing:eventing-controller "
                  "service account",
              "spec.subscribers");
}

void Checker::channel(const Json* old) {
  channel_template(spec("channelTemplate"), "spec.channelTemplate");
  if (!array(object_, {"spec", "subscribers"}).empty()) {
    errors_.disallowed("spec.subscribable.subscribers");
  }
  delivery(spec("delivery"), "spec.delivery", true);
  immutable(old, {"subscribers"});
}

void Checker::in_memory_channel(const Json* old) {
  constexpr std::string_view kScope = "eventing.knative.dev/scope";
  if (find(object_, {"metadata", "annotations", kScope}) != nullptr) {
    const auto scope = annotation(kScope);
    if (scope != "cluster" && scope != "namespace") {
      errors_.invalid(scope, "metadata.annotations[" + std::string(kScope) + "]",
                      "expected either 'cluster' or 'namespace'");
    }
  }
  delivery(spec("delivery"), "spec.delivery");
  subscribers_are_ours(old);
}

void Checker::subscription(const Json* old) {
  const Json* channel = spec("channel");
  if (is_empty(channel)) {
    return errors_.add("missing field(s)", "spec.channel",
                       "the Subscription must reference a channel");
  }
  reference(*channel, "spec.channel", false);
  if (!str(*channel, {"namespace"}).empty()) {
    errors_.disallowed("spec.channel.namespace",
                       "only name, apiVersion and kind are supported fields when "
                       "feature.CrossNamespaceEventLinks is disabled");
  }
  if (is_empty(spec("subscriber")) && is_empty(spec("reply"))) {
    constexpr const char* kWhy =
        "the Subscription must reference at least one of (reply or a subscriber)";
    for (const auto field : {"reply", "subscriber"}) {
      errors_.add("missing field(s)", at("spec", field), kWhy);
    }
  }
  if (!is_empty(spec("subscriber"))) destination(spec("subscriber"), "spec.subscriber");
  if (!is_empty(spec("reply"))) destination(spec("reply"), "spec.reply");
  delivery(spec("delivery"), "spec.delivery");
  immutable(old, {"subscriber", "reply", "delivery"});
}

void Checker::sequence() {
  const auto& steps = array(object_, {"spec", "steps"});
  if (steps.empty()) errors_.missing("spec.steps");
  for (std::size_t i = 0; i < steps.size(); ++i) {
    destination(&steps[i], at("spec.steps", i));
    delivery(find(steps[i], "delivery"), at(at("spec.steps", i), "delivery"));
  }
  channel_template(spec("channelTemplate"), "spec.channelTemplate");
  destination(spec("reply"), "spec.reply");
}

void Checker::parallel() {
  const auto& branches = array(object_, {"spec", "branches"});
  if (branches.empty()) errors_.missing("spec.branches");
  for (std::size_t i = 0; i < branches.size(); ++i) {
    const std::string path = at("spec.branches", i);
    destination(find(branches[i], "filter"), at(path, "filter"));
    required_destination(find(branches[i], "subscriber"), at(path, "subscriber"));
    destination(find(branches[i], "reply"), at(path, "reply"));
    delivery(find(branches[i], "delivery"), at(path, "delivery"));
  }
  channel_template(spec("channelTemplate"), "spec.channelTemplate");
  destination(spec("reply"), "spec.reply");
}

void Checker::ping_data(std::string_view field, bool base64) {
  const auto text = str(object_, {"spec", field});
  const std::string path = at("spec", field);
  std::int64_t limit = -1;
  if (context_.knative_config != nullptr) {
    const auto value = str(*context_.knative_config, {"config-ping-defaults", "data-max-size"});
    if (auto parsed = json::parse(value); parsed && parsed->is_int64()) limit = parsed->get_int64();
  }
  if (limit > -1 && static_cast<std::int64_t>(text.size()) > limit) {
    errors_.invalid("the " + std::string(field) + " length of " + std::to_string(text.size()) +
                        " bytes exceeds limit set at " + std::to_string(limit) + ".",
                    path);
  }
  std::string data(text);
  if (base64) {
    const auto decoded = hash::decode_base64(text);
    if (!decoded) return errors_.invalid("illegal base64 data", path);
    data = *decoded;
  }
  if (str(object_, {"spec", "contentType"}) != "application/json") return;
  const auto parsed = json::parse(data);
  if (!parsed) {
    errors_.invalid(parsed.error().message(), path);
  } else if (!parsed->is_object()) {
    errors_.invalid("json: cannot unmarshal into Go value of type map[string]interface {}", path);
  }
}

void Checker::ping_source() {
  const auto schedule = cron::Schedule::parse(str(object_, {"spec", "schedule"}));
  if (!schedule) errors_.invalid(schedule.error().message(), "spec.schedule");
  if (const auto zone = str(object_, {"spec", "timezone"}); !zone.empty()) {
    if (!cron::TimeZone::load(zone)) {
      errors_.invalid(
          "provided bad location " + std::string(zone) + ": unknown time zone " + std::string(zone),
          "spec.timezone");
    }
  }
  required_destination(spec("sink"), "spec.sink");
  const bool data = !is_empty(spec("data")), base64 = !is_empty(spec("dataBase64"));
  if (data && base64) return errors_.both("spec", {"data", "dataBase64"});
  if (data) ping_data("data", false);
  if (base64) ping_data("dataBase64", true);
}

void Checker::container_source() {
  required_destination(spec("sink"), "spec.sink");
  const auto& containers = array(object_, {"spec", "template", "spec", "containers"});
  if (containers.empty()) errors_.missing("spec.containers");
  for (std::size_t i = 0; i < containers.size(); ++i) {
    for (const auto field : {"name", "image"}) {
      if (str(containers[i], {field}).empty()) {
        errors_.missing(at(at("spec.containers", i), field));
      }
    }
  }
}

void Checker::sink_binding(const Json* old) {
  required_destination(spec("sink"), "spec.sink");
  const Json none = JsonObject();
  const Json* subject = is_set(spec("subject")) ? spec("subject") : &none;
  for (const auto field : {"apiVersion", "kind"}) {
    if (str(*subject, {field}).empty()) errors_.missing(at("spec.subject", field));
  }
  const auto ns = str(*subject, {"namespace"});
  if (!ns.empty() && ns != own_ns_) errors_.invalid(ns, "spec.subject.namespace");
  const auto name = str(*subject, {"name"});
  const bool selector = is_set(find(*subject, "selector"));
  if (selector && !name.empty()) {
    errors_.both("spec.subject", {"selector", "name"});
  } else if (!selector && name.empty()) {
    errors_.neither("spec.subject", {"selector", "name"});
  }
  for (const auto& [extension, value] :
       json::string_map(object_, {"spec", "ceOverrides", "extensions"})) {
    if (!attribute_name(extension)) {
      errors_.key(extension, "spec.ceOverrides.extensions",
                  "keys MUST consist of lower-case letters and digits");
    }
  }
  // DIFFERS: what an older subject or sink injected would stay behind in other workloads.
  immutable_field(old, "subject");
}

void Checker::event_type() {
  if (str(object_, {"spec", "type"}).empty()) errors_.missing("spec.type");
}

}  // namespace

std::vector<std::string> validate_eventing(const Kind& kind, const Json& object, const Json* old,
                                           const Context& context) {
  KnativeErrors errors;
  Checker check(object, context, errors);
  if (kind.kind == "Broker") check.broker(old);
  if (kind.kind == "Trigger") check.trigger(old);
  if (kind.kind == "Channel") check.channel(old);
  if (kind.kind == "InMemoryChannel") check.in_memory_channel(old);
  if (kind.kind == "Subscription") check.subscription(old);
  if (kind.kind == "Sequence") check.sequence();
  if (kind.kind == "Parallel") check.parallel();
  if (kind.kind == "PingSource") check.ping_source();
  if (kind.kind == "ContainerSource") check.container_source();
  if (kind.kind == "SinkBinding") check.sink_binding(old);
  if (kind.kind == "EventType") check.event_type();
  return errors.print();
}

}  // namespace knit::schema
