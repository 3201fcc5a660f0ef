#include "store/snapshot.h"

#include "base/hash.h"

namespace knit::store {
namespace detail {
namespace {

constexpr char kNul = '\0';

/// fnv64a alone has weak high bits for short inputs; treap priorities need all of them.
std::uint64_t mix(std::uint64_t h) {
  h ^= h >> 30;
  h *= 0xbf58476d1ce4e5b9ULL;
  h ^= h >> 27;
  h *= 0x94d049bb133111ebULL;
  return h ^ (h >> 31);
}

std::string index_prefix(std::string_view value) {
  std::string out(value);
  out += kNul;
  return out;
}
std::string index_entry(std::string_view value, const Key& key) {
  std::string out = index_prefix(value);
  out += key.ns;
  out += kNul;
  out += key.name;
  return out;
}
std::string label_value(std::string_view key, std::string_view value) {
  std::string out(key);
  out += '=';
  out += value;
  return out;
}

std::vector<std::string> label_entries(const ObjectPtr& o) {
  std::vector<std::string> out;
  if (!o) return out;
  for (const auto& [key, value] : o->labels()) {
    out.push_back(index_entry(label_value(key, value), o->key()));
  }
  std::sort(out.begin(), out.end());
  return out;
}
std::vector<std::string> owner_entries(const ObjectPtr& o) {
  std::vector<std::string> out;
  if (!o) return out;
  for (const auto& owner : o->owners()) out.push_back(index_entry(owner.uid, o->key()));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<std::string> uid_entries(const ObjectPtr& o) {
  if (!o || o->uid().empty()) return {};
  return {index_entry(o->uid(), o->key())};
}

void reindex(IndexMap& index, const std::vector<std::string>& before,
             const std::vector<std::string>& after) {
  if (before == after) return;
  for (const auto& e : before) {
    if (!std::binary_search(after.begin(), after.end(), e)) index = index.without(e);
  }
  for (const auto& e : after) {
    if (!std::binary_search(before.begin(), before.end(), e)) index = index.with(e);
  }
}

}  // namespace

int ObjectTraits::compare(const Place& a, const Place& b) {
  const int c = a.ns.compare(b.ns);
  return c != 0 ? c : a.name.compare(b.name);
}
std::uint64_t ObjectTraits::hash(const Place& p) {
  return mix(hash::fnv64a(p.ns) * 31 + hash::fnv64a(p.name));
}
std::uint64_t StringTraits::hash(const std::string& s) { return mix(hash::fnv64a(s)); }

TablePtr replace(const TablePtr& table, const ObjectPtr& before, const ObjectPtr& after) {
  auto next = table ? std::make_shared<Table>(*table) : std::make_shared<Table>();
  if (after) {
    next->objects = next->objects.with(after);
  } else if (before) {
    next->objects = next->objects.without(ObjectTraits::key(before));
  }
  reindex(next->labels, label_entries(before), label_entries(after));
  reindex(next->owners, owner_entries(before), owner_entries(after));
  reindex(next->uids, uid_entries(before), uid_entries(after));
  return next;
}

const Table* State::find(Resource resource) const {
  for (const auto& [r, table] : tables) {
    if (r == resource) return table.get();
  }
  return nullptr;
}

void State::put(Resource resource, TablePtr table) {
  const auto it = std::lower_bound(tables.begin(), tables.end(), resource,
                                   [](const auto& t, const Resource& r) { return t.first < r; });
  if (it != tables.end() && it->first == resource) {
    it->second = std::move(table);
  } else {
    tables.insert(it, {resource, std::move(table)});
  }
}

}  // namespace detail

namespace {

std::vector<ObjectPtr> indexed(const detail::Table& table, const detail::IndexMap& index,
                               std::string_view value, std::string_view ns) {
  std::vector<ObjectPtr> out;
  std::string from(value);
  from += '\0';
  const std::size_t skip = from.size();
  const std::string prefix = from;
  from += ns;
  index.scan_from(from, [&](const std::string& entry) {
    if (entry.compare(0, skip, prefix) != 0) return false;
    const std::string_view rest = std::string_view(entry).substr(skip);
    const std::size_t nul = rest.find('\0');
    const detail::Place place{rest.substr(0, nul), rest.substr(nul + 1)};
    if (!ns.empty() && place.ns != ns) return place.ns < ns;
    if (const ObjectPtr* o = table.objects.find(place)) out.push_back(*o);
    return true;
  });
  return out;
}

}  // namespace

ObjectPtr Snapshot::get(const Key& key) const {
  const detail::Table* table = state_ ? state_->find(key.resource) : nullptr;
  if (table == nullptr) return nullptr;
  const ObjectPtr* found = table->objects.find({key.ns, key.name});
  return found == nullptr ? nullptr : *found;
}

std::vector<ObjectPtr> Snapshot::list(Resource resource, std::string_view ns) const {
  return page(resource, ns, {}, {}, 0).objects;
}

std::vector<ObjectPtr> Snapshot::labelled(Resource resource, std::string_view ns,
                                          std::string_view key, std::string_view value) const {
  const detail::Table* table = state_ ? state_->find(resource) : nullptr;
  if (table == nullptr) return {};
  return indexed(*table, table->labels, detail::label_value(key, value), ns);
}

std::vector<ObjectPtr> Snapshot::owned(Resource resource, std::string_view ns,
                                       std::string_view uid) const {
  const detail::Table* table = state_ ? state_->find(resource) : nullptr;
  if (table == nullptr) return {};
  return indexed(*table, table->owners, uid, ns);
}

ObjectPtr Snapshot::by_uid(std::string_view uid) const {
  if (!state_ || uid.empty()) return nullptr;
  for (const auto& [resource, table] : state_->tables) {
    const auto found = indexed(*table, table->uids, uid, {});
    if (!found.empty()) return found.front();
  }
  return nullptr;
}

std::vector<ObjectPtr> Snapshot::dependents(std::string_view uid) const {
  std::vector<ObjectPtr> out;
  if (!state_ || uid.empty()) return out;
  for (const auto& [resource, table] : state_->tables) {
    const auto found = indexed(*table, table->owners, uid, {});
    out.insert(out.end(), found.begin(), found.end());
  }
  return out;
}

std::vector<Resource> Snapshot::resources() const {
  std::vector<Resource> out;
  if (!state_) return out;
  for (const auto& [resource, table] : state_->tables) {
    if (!table->objects.empty()) out.push_back(resource);
  }
  return out;
}

std::size_t Snapshot::count(Resource resource, std::string_view ns) const {
  const detail::Table* table = state_ ? state_->find(resource) : nullptr;
  if (table == nullptr) return 0;
  if (ns.empty()) return table->objects.size();
  const std::string end = std::string(ns) + '\0';
  return table->objects.rank({end, {}}) - table->objects.rank({ns, {}});
}

Snapshot::Page Snapshot::page(Resource resource, std::string_view ns, std::string_view after_ns,
                              std::string_view after_name, std::size_t limit) const {
  Page out;
  const detail::Table* table = state_ ? state_->find(resource) : nullptr;
  if (table == nullptr) return out;
  const bool first = after_ns.empty() && after_name.empty();
  const std::string next_name = first ? std::string() : std::string(after_name) + '\0';
  const detail::Place from = first ? detail::Place{ns, {}} : detail::Place{after_ns, next_name};
  table->objects.scan_from(from, [&](const ObjectPtr& o) {
    if (!ns.empty() && o->key().ns != ns) return false;
    if (limit != 0 && out.objects.size() == limit) {
      out.more = true;
      return false;
    }
    out.objects.push_back(o);
    return true;
  });
  if (out.more) {
    const Key& last = out.objects.back()->key();
    const std::string end = std::string(ns) + '\0';
    const std::size_t total = ns.empty() ? table->objects.size() : table->objects.rank({end, {}});
    const std::string beyond = last.name + '\0';
    out.remaining = total - table->objects.rank({last.ns, beyond});
  }
  return out;
}

}  // namespace knit::store
