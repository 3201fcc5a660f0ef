// How objects leave the API: version, Table, metadata only, lists, watch events, Events of both
// groups. Pure; from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/status.h"
#include "http/message.h"
#include "kube/object.h"
#include "kube/selector.h"
#include "store/store.h"

namespace knit::apiserver {

enum class Form { Full, Table, Metadata, Discovery, Protobuf };
struct Accepted {
  Form form = Form::Full;
  std::string version = "v1";  // of meta.k8s.io
  bool pretty = false;
};
/// The first range of `Accept` that can be served. nullopt: 406.
std::optional<Accepted> negotiate(const http::Request& request);
Status not_acceptable();

/// How one resource is shown to one request.
struct View {
  const schema::Kind* kind = nullptr;
  std::string version;  // of the kind
  Accepted accepted;
  enum class Include { None, Metadata, Object } include = Include::Metadata;  // in Table rows
  WallTime now;
};

/// The stored object in the version and group of the view (bytes, compact).
std::string full_bytes(const View& view, const kube::Object& object);
/// The same from a DOM that is not stored (dry run).
Json full_dom(const View& view, Json object);
/// Body of an answer that shows one object, in the view's form.
std::string encode_object(const View& view, const kube::Object& object);
struct ListMeta {
  std::uint64_t version = 0;
  std::string next;  // continue token
  std::optional<std::int64_t> remaining;
};
std::string encode_list(const View& view, const std::vector<kube::ObjectPtr>& objects,
                        const ListMeta& meta);
/// One line of a watch. `columns`: a Table's definitions are given (first event only).
std::string encode_event(const View& view, std::string_view type, const kube::Object& object,
                         bool columns);
std::string encode_bookmark(const View& view, std::uint64_t version, bool initial_end);
std::string encode_error_event(const Status& status);

/// The collection that holds a kind's objects: events.k8s.io's are core's.
kube::Resource stored_resource(const schema::Kind& kind);
/// An Event of events.k8s.io/v1 as core/v1, and back.
Json event_to_core(Json event);
Json event_from_core(Json event);

/// What a list or watch selects.
struct Filter {
  std::string ns, name;  // empty: any
  kube::LabelSelector labels;
  std::vector<kube::FieldTerm> fields;  // beside metadata.name and metadata.namespace
  const schema::Kind* kind = nullptr;
  bool never = false;  // contradictory terms

  bool matches(const kube::Object& object) const;
  /// Nothing but the namespace restricts it.
  bool everything() const { return name.empty() && labels.empty() && fields.empty() && !never; }
};
/// Errors: 400 in upstream's words.
struct FilterResult {
  std::optional<Status> failure;
  Filter filter;
};
FilterResult make_filter(const schema::Kind& kind, std::string_view ns, std::string_view label,
                         std::string_view field);

}  // namespace knit::apiserver
