#include "check/input/dump.h"

#include "check/input/cluster.h"

namespace knit::check::input {
namespace {

/// What stands behind "/NAME/" in a path, or nothing.
std::string_view behind(std::string_view path, std::string_view folder) {
  const std::string middle = "/" + std::string(folder) + "/";
  if (path.starts_with(middle.substr(1))) return path.substr(folder.size() + 1);
  const auto at = path.find(middle);
  return at == std::string_view::npos ? std::string_view() : path.substr(at + middle.size());
}

bool of_dump(std::string_view path) {
  // cluster-scoped-resources/core/nodes/a.yaml
  if (!behind(path, "cluster-scoped-resources").empty()) return true;
  // namespaces/NS/NS.yaml, namespaces/NS/core/pods.yaml
  const auto rest = behind(path, "namespaces");
  return rest.find('/') != std::string_view::npos;
}

/// False for what no rule reads, by its place: dumps hold thousands of such files.
bool worth_reading(std::string_view path) {
  std::string_view rest = behind(path, "cluster-scoped-resources");
  if (rest.empty()) {
    rest = behind(path, "namespaces");
    const auto slash = rest.find('/');
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  }
  const auto slash = rest.find('/');
  if (slash == std::string_view::npos) return true;  // namespaces/NS/NS.yaml
  std::string_view group = rest.substr(0, slash);
  if (group == "pods") return true;  // namespaces/NS/pods/POD/POD.yaml
  if (group == "core") group = {};
  rest.remove_prefix(slash + 1);
  const auto next = rest.find('/');
  std::string_view plural = rest.substr(0, next == std::string_view::npos ? rest.rfind('.') : next);
  std::string_view name =
      next == std::string_view::npos ? std::string_view() : rest.substr(next + 1);
  name = name.substr(0, name.rfind('.'));
  return is_read(group, plural, name);
}

}  // namespace

bool looks_like_dump(const std::map<std::string, std::string>& files) {
  for (const auto& [name, text] : files) {
    if (of_dump(name)) return true;
  }
  return false;
}

void add_dump(const std::map<std::string, std::string>& files, ObjectSet& out) {
  out.live = true;
  out.dump = true;
  for (const auto& [name, text] : files) {
    if (worth_reading(name)) out.add_text(name, text);
  }
}

}  // namespace knit::check::input
