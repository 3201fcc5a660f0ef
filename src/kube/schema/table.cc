// metav1.Table: column definitions, and cells of custom resources by JSONPath.
#include "kube/schema/cells.h"

#include <algorithm>

namespace knit::schema {

std::string human_duration(Duration d) {
  // Source: apimachinery pkg/util/duration/duration.go HumanDuration.
  using std::to_string;
  const std::int64_t seconds = d.count() / 1'000'000'000;
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return to_string(seconds) + "s";
  const std::int64_t minutes = seconds / 60;
  const auto two = [](std::int64_t a, const char* ua, std::int64_t b, const char* ub) {
    std::string out = to_string(a) + ua;
    if (b != 0) out += to_string(b) + ub;
    return out;
  };
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return to_string(minutes) + "m";
  const std::int64_t hours = minutes / 60;
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return to_string(hours) + "h";
  if (hours < 24 * 8) return two(hours / 24, "d", hours % 24, "h");
  if (hours < 24 * 365 * 2) return to_string(hours / 24) + "d";
  if (hours < 24 * 365 * 8) return two(hours / 24 / 365, "y", hours / 24 % 365, "d");
  return to_string(hours / 24 / 365) + "y";
}

std::string age(const Json* timestamp, WallTime now) {
  const auto* s = timestamp == nullptr ? nullptr : timestamp->if_string();
  if (s == nullptr) return "<unknown>";
  const auto t = parse_rfc3339({s->data(), s->size()});
  return t ? human_duration(now - *t) : "<invalid>";
}

namespace {
/// The values at a simple path: ".a.b", "['x\.y']", "[0]", "[?(@.type=='Ready')]".
std::vector<const Json*> evaluate(const Json& root, std::string_view path) {
  std::vector<const Json*> at = {&root};
  while (!path.empty() && !at.empty()) {
    std::vector<const Json*> next;
    std::string key;
    if (path[0] == '.') {
      path.remove_prefix(1);
      const auto end = std::min(path.find_first_of(".["), path.size());
      key = path.substr(0, end);
      path.remove_prefix(end);
    } else if (path.substr(0, 2) == "['") {
      const auto end = std::min(path.find("']"), path.size() - 2);
      for (std::size_t i = 2; i < end; ++i) {
        if (path[i] == '\\' && i + 1 < end) ++i;
        key += path[i];
      }
      path.remove_prefix(end + 2);
    } else if (path.substr(0, 5) == "[?(@.") {
      const auto eq = path.find("==");
      const auto end = path.find(")]");
      if (eq == std::string_view::npos || end == std::string_view::npos || end < eq + 4) return {};
      const std::string_view name = path.substr(5, eq - 5);
      const std::string_view value = path.substr(eq + 3, end - eq - 4);
      for (const Json* v : at) {
        const auto* array = v->if_array();
        if (array == nullptr) continue;
        for (const Json& item : *array) {
          if (json::str(item, {name}) == value) next.push_back(&item);
        }
      }
      path.remove_prefix(end + 2);
      at = std::move(next);
      continue;
    } else {
      return {};
    }
    for (const Json* v : at) {
      if (const Json* child = json::find(*v, key)) next.push_back(child);
    }
    at = std::move(next);
  }
  return at;
}

Json path_cell(const Column& column, const Json& object, WallTime now) {
  const auto found = evaluate(object, column.json_path);
  if (found.empty() || found[0]->is_null()) return nullptr;
  const Json& v = *found[0];
  if (column.type == "date") return Json(age(&v, now));
  if (column.type == "integer" || column.type == "number") {
    return v.is_number() ? v : Json(nullptr);
  }
  if (column.type == "boolean") return v.is_bool() ? v : Json(nullptr);
  return v.is_string() ? v : Json(json::print(v));
}
}  // namespace

JsonArray column_definitions(const Kind& kind) {
  JsonArray out;
  const auto add = [&](std::string_view name, std::string_view type, std::string_view format,
                       int priority) {
    out.push_back(Json{{"name", name},
                       {"type", type},
                       {"format", format},
                       {"description", ""},
                       {"priority", priority}});
  };
  if (kind.columns.empty()) {
    add("Name", "string", "name", 0);
    add("Age", "date", "", 0);
    return out;
  }
  // A custom resource's columns stand behind its name.
  if (kind.columns[0].format != "name" && kind.kind != "Event") add("Name", "string", "name", 0);
  for (const Column& c : kind.columns) add(c.name, c.type, c.format, c.priority);
  return out;
}

Row table_row(const Kind& kind, const Json& object, WallTime now) {
  if (!kind.custom) return builtin_row(kind, object, now);
  Row row;
  const std::string_view name = json::str(object, {"metadata", "name"});
  row.cells.emplace_back(name);
  if (kind.columns.empty()) {
    row.cells.emplace_back(age(json::find(object, {"metadata", "creationTimestamp"}), now));
    return row;
  }
  if (kind.group == "route.openshift.io") {
    route_cells(object, row.cells);
    return row;
  }
  for (const Column& c : kind.columns) {
    if (c.format != "name") row.cells.push_back(path_cell(c, object, now));
  }
  return row;
}

}  // namespace knit::schema
