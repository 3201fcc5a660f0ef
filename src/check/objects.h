// The set of objects that rules look at: where each came from, and what could not be read.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/yaml.h"
#include "base/yaml_edit.h"

namespace knit::check {

/// "Gateway.networking.istio.io": a kind without its version, as rules name it.
struct KindName {
  std::string group, kind;
  auto operator<=>(const KindName&) const = default;
};
/// "networking.istio.io/Gateway" or "Service" for the core group.
KindName kind_name(std::string_view group_slash_kind);
std::string to_string(const KindName& k);

struct Place {
  std::string file;  // "" for a cluster
  std::uint32_t line = 0, column = 0;
  bool operator==(const Place&) const = default;
  auto operator<=>(const Place&) const = default;
};

/// One object. Never changes once it is in a set.
struct Item {
  std::string api_version, kind, ns, name;
  KindName type;
  Json json;
  // Files only:
  std::string file;
  std::size_t document = 0;                             // number in the file, for edits
  std::size_t list_index = SIZE_MAX;                    // position in a List's items
  static constexpr std::size_t kNested = SIZE_MAX - 1;  // in a List of a List: not edited
  yaml::NodePtr node;  // of this object; null where `text` is kept instead
  std::string text;    // the document, from `first_line` on (large sets)
  std::uint32_t first_line = 1;
  bool recorded = false;  // a cluster has admitted it: read from one, or from its dump
  /// Where a value stands; the nearest parent that exists.
  Place place(const yaml::Path& path) const;
  /// metadata.creationTimestamp, or empty.
  std::string_view created() const { return json::str(json, {"metadata", "creationTimestamp"}); }
  std::string ref() const;  // "Gateway knative-serving/knative-ingress-gateway"
};
using ItemPtr = std::shared_ptr<const Item>;

struct ReadError {
  Place place;
  std::string text;  // one sentence
};

class ObjectSet {
 public:
  /// Adds every object of a YAML or JSON text: documents, Lists. Broken documents and duplicate
  /// keys become errors, the rest is kept. `default_namespace` for namespaced objects without one.
  void add_text(std::string_view file, std::string_view text);
  void add(ItemPtr item);
  /// From a cluster (List items).
  void add_live(Json object);
  /// A file object replaces a live one of the same kind, namespace and name.
  void overlay(const ObjectSet& files);

  std::vector<ItemPtr> list(std::string_view group_slash_kind, std::string_view ns = {}) const;
  ItemPtr find(std::string_view group_slash_kind, std::string_view ns, std::string_view name) const;
  const std::vector<ItemPtr>& all() const {
    seen_ |= !items_.empty();
    return items_;
  }
  const std::vector<ReadError>& errors() const { return errors_; }
  const std::map<std::string, std::size_t>& unknown_kinds() const { return unknown_kinds_; }
  std::size_t size() const { return items_.size(); }

  /// The set is everything: what is absent is missing, not unknown.
  bool complete = false;
  /// A cluster was read (with or without an overlay).
  bool live = false;
  /// What was read is a support dump: live, but knowing only the kinds that it holds.
  bool dump = false;
  /// Kinds that could not be read from the cluster ("Secret"), with the reason.
  std::map<KindName, std::string> unreadable;
  /// The unreadable kinds (of a dump: absent ones too) that list() and find() were asked for since
  /// the last call, so that a rule that needed one is known to be blind. One thread.
  std::set<KindName> take_missed() const { return std::exchange(missed_, {}); }
  /// Whether anything was found since the last call: a rule that saw nothing has checked nothing.
  bool take_seen() const { return std::exchange(seen_, false); }
  void mark_seen() const { seen_ = true; }
  void add_missed(const std::set<KindName>& kinds) const {
    missed_.insert(kinds.begin(), kinds.end());
  }
  /// Whether the absence of an object of this kind may be concluded.
  bool knows(std::string_view group_slash_kind) const;

  static constexpr std::size_t kMaxObjects = 200'000;
  /// Objects beyond this keep the text of their document instead of its tree: a tenth of the
  /// memory, read again where a finding needs a line.
  static constexpr std::size_t kMaxTrees = 2'000;

 private:
  /// Of a dump: an object or an empty list of that kind is there.
  bool held(const KindName& kind) const {
    return by_kind_.contains(kind) || listed_.contains(kind);
  }
  void note(const KindName& kind) const {
    if (unreadable.empty() && !dump) return;
    if (unreadable.contains(kind) || (dump && !held(kind))) missed_.insert(kind);
  }
  void add_document(std::string_view file, std::string_view text, std::size_t document,
                    const yaml::NodePtr& node);
  std::vector<ItemPtr> items_;
  std::map<KindName, std::vector<std::size_t>> by_kind_;
  std::map<std::string, std::size_t> by_key_;
  std::set<KindName> listed_;  // lists, even empty ones
  std::vector<ReadError> errors_;
  std::map<std::string, std::size_t> unknown_kinds_;
  mutable std::set<KindName> missed_;
  mutable bool seen_ = false;
};

}  // namespace knit::check
