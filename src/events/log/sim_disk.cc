#include "events/log/sim_disk.h"

#include <algorithm>

namespace knit::events {
namespace {

constexpr std::size_t kSector = 512;  // what a disk writes whole

void put(std::string& file, std::uint64_t offset, std::string_view bytes) {
  if (file.size() < offset + bytes.size()) file.resize(offset + bytes.size());
  std::copy(bytes.begin(), bytes.end(), file.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace

class SimFile final : public LogFile {
 public:
  SimFile(SimDisk& disk, std::shared_ptr<SimDisk::Node> node)
      : disk_(&disk), node_(std::move(node)) {}

  Result<void> write(std::uint64_t offset, std::string_view bytes) override {
    bool cut = false;
    const bool alive = disk_->begin(cut);
    if (!alive && !cut) return disk_->dead();
    const std::uint64_t used = disk_->used();
    const std::uint64_t grown =
        std::max<std::uint64_t>(node_->now.size(), offset + bytes.size()) - node_->now.size();
    bool full = false;
    if (used + grown > disk_->capacity_) {  // a short write first, as a real disk does
      full = true;
      bytes =
          bytes.substr(0, std::min<std::uint64_t>(
                              bytes.size(), disk_->capacity_ - std::min(used, disk_->capacity_)));
    }
    if (cut) bytes = bytes.substr(0, disk_->random_->below(bytes.size() + 1));
    put(node_->now, offset, bytes);
    node_->changes.push_back({offset, std::string(bytes), false});
    if (cut) return disk_->dead();
    if (full) return Error(Code::ResourceExhausted, "write the event log: No space left on device");
    return {};
  }
  Result<std::string> read(std::uint64_t offset, std::size_t n) const override {
    if (disk_->crashed_) return disk_->dead();
    if (offset >= node_->now.size()) return std::string();
    return node_->now.substr(offset, n);
  }
  Result<std::uint64_t> size() const override {
    if (disk_->crashed_) return disk_->dead();
    return node_->now.size();
  }
  Result<void> truncate(std::uint64_t size) override {
    bool cut = false;
    if (!disk_->begin(cut)) return disk_->dead();
    node_->now.resize(size);
    node_->changes.push_back({size, {}, true});
    return {};
  }
  Result<void> sync() override {
    bool cut = false;
    if (!disk_->begin(cut)) return disk_->dead();
    ++disk_->syncs_;
    if (disk_->failing_syncs_ > 0) {
      --disk_->failing_syncs_;
      return Error(Code::Unavailable, "sync the event log: Input/output error");
    }
    node_->durable = node_->now;
    node_->changes.clear();
    return {};
  }

 private:
  SimDisk* disk_;
  std::shared_ptr<SimDisk::Node> node_;
};

bool SimDisk::begin(bool& cut) {
  if (crashed_) return false;
  ++operations_;
  if (operations_ == crash_at_) {
    crashed_ = true;
    cut = true;
    return false;
  }
  return true;
}

void SimDisk::restart() {
  crashed_ = false;
  crash_at_ = 0;
  // A name that was made or removed without a sync of its directory may be either way.
  std::map<std::string, std::shared_ptr<Node>> survived;
  std::set<std::string> all;
  for (const auto& [name, node] : names_) all.insert(name);
  for (const auto& [name, node] : durable_names_) all.insert(name);
  for (const auto& name : all) {
    const auto now = names_.find(name);
    const auto durable = durable_names_.find(name);
    const bool same =
        now != names_.end() && durable != durable_names_.end() && now->second == durable->second;
    if (same || random_->below(2) == 0) {
      if (now != names_.end()) survived[name] = now->second;
    } else if (durable != durable_names_.end()) {
      survived[name] = durable->second;
    }
  }
  for (auto& [name, node] : survived) {
    auto fresh = std::make_shared<Node>();  // files opened before the crash stay dead
    fresh->now = node->durable;
    for (const auto& change : node->changes) {
      if (change.truncate) {
        if (random_->below(2) == 0) fresh->now.resize(change.offset);
        continue;
      }
      // Each sector of an unsynced write survives or not, in any order; the size may have grown
      // over sectors that were never written.
      const auto fate = random_->below(4);
      if (fate == 0) continue;
      for (std::size_t at = 0; at < change.bytes.size();) {
        const std::size_t n =
            std::min(kSector - (change.offset + at) % kSector, change.bytes.size() - at);
        if (fate == 1 || random_->below(2) == 0) {
          put(fresh->now, change.offset + at, std::string_view(change.bytes).substr(at, n));
        }
        at += n;
      }
    }
    fresh->durable = fresh->now;
    node = fresh;
  }
  names_ = survived;
  durable_names_ = survived;
}

std::uint64_t SimDisk::used() const {
  std::uint64_t n = 0;
  for (const auto& [name, node] : names_) n += node->now.size();
  return n;
}
std::string& SimDisk::bytes_of(const std::string& path) { return names_.at(path)->now; }
std::vector<std::string> SimDisk::files() const {
  std::vector<std::string> out;
  for (const auto& [name, node] : names_) out.push_back(name);
  return out;
}

Result<std::vector<std::string>> SimDisk::list(const std::string& directory) {
  if (crashed_) return dead();
  std::vector<std::string> out;
  if (directory.empty()) {
    out.assign(directories_.begin(), directories_.end());
    return out;
  }
  if (!directories_.contains(directory)) return Error(Code::NotFound, directory + " is absent");
  for (const auto& [name, node] : names_) {
    if (name.starts_with(directory + "/")) out.push_back(name.substr(directory.size() + 1));
  }
  return out;
}
Result<void> SimDisk::make_directory(const std::string& directory) {
  bool cut = false;
  if (!begin(cut)) return dead();
  directories_.insert(directory);
  return {};
}
Result<std::shared_ptr<LogFile>> SimDisk::open(const std::string& path, Open mode) {
  if (mode == Open::Existing) {
    if (crashed_) return dead();
    const auto it = names_.find(path);
    if (it == names_.end()) return Error(Code::NotFound, path + " is absent");
    return std::shared_ptr<LogFile>(std::make_shared<SimFile>(*this, it->second));
  }
  bool cut = false;
  if (!begin(cut)) return dead();
  if (const auto it = names_.find(path); it != names_.end()) {
    it->second->now.clear();
    it->second->changes.push_back({0, {}, true});
    return std::shared_ptr<LogFile>(std::make_shared<SimFile>(*this, it->second));
  }
  names_[path] = std::make_shared<Node>();
  return std::shared_ptr<LogFile>(std::make_shared<SimFile>(*this, names_[path]));
}
Result<void> SimDisk::remove(const std::string& path) {
  bool cut = false;
  if (!begin(cut)) return dead();
  names_.erase(path);
  return {};
}
Result<void> SimDisk::remove_directory(const std::string& directory) {
  bool cut = false;
  if (!begin(cut)) return dead();
  std::erase_if(names_, [&](const auto& n) { return n.first.starts_with(directory + "/"); });
  std::erase_if(durable_names_,
                [&](const auto& n) { return n.first.starts_with(directory + "/"); });
  directories_.erase(directory);
  return {};
}
Result<void> SimDisk::sync_directory(const std::string& directory) {
  bool cut = false;
  if (!begin(cut)) return dead();
  const auto in = [&](const std::string& name) { return name.starts_with(directory + "/"); };
  std::erase_if(durable_names_, [&](const auto& n) { return in(n.first); });
  for (const auto& [name, node] : names_) {
    if (in(name)) durable_names_[name] = node;
  }
  return {};
}

}  // namespace knit::events
