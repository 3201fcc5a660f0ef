// Documents made from the tables.
#include <set>

#include "kube/schema/schema.h"

namespace knit::schema {

namespace {
void rows(const Message& m, const std::string& path, std::set<const Message*>& open,
          std::string& out) {
  if (!open.insert(&m).second) return;  // recursive types once
  for (const Field& f : m.fields) {
    if (f.inlined) {
      rows(*f.message, path, open, out);
      continue;
    }
    if (path.empty() && (f.name == "apiVersion" || f.name == "kind" || f.name == "metadata" ||
                         f.name == "status")) {
      continue;
    }
    std::string here = path.empty() ? std::string(f.name) : path + "." + std::string(f.name);
    if (f.shape == Shape::List) here += "[]";
    if (f.shape == Shape::Map) here += "{}";
    if (f.support == Support::Effective && f.type == Type::Message) {
      rows(*f.message, here, open, out);
      continue;
    }
    out += "| `" + here + "` | " + std::string(to_string(f.support)) + " | ";
    if (!f.harmless.empty())
      out += "fine: " + [&] {
        std::string values;
        for (const char c : f.harmless) values += c == '|' ? std::string(", ") : std::string(1, c);
        return values;
      }() + (f.note.empty() ? "" : "; ");
    out += std::string(f.note) + " |\n";
  }
  open.erase(&m);
}
}  // namespace

std::string support_markdown() {
  std::string out =
      "# What Knit does with every field\n\n"
      "Made from `src/kube/schema/tables` (`schema::support_markdown()`); do not edit.\n\n"
      "- **effective**: it does what it does upstream.\n"
      "- **inert**: stored; it means nothing on one machine, and nobody is misled.\n"
      "- **warn**: stored without effect; a write that sets it is answered with a `Warning:`.\n"
      "- **refuse**: a write that sets it is refused by name.\n\n"
      "Status and metadata are not listed: they are served as upstream does.\n";
  for (const Kind& k : Registry::get().kinds()) {
    if (!k.stored) continue;
    out += "\n## " + std::string(k.kind) + " (" + k.api_version() +
           "): " + std::string(to_string(k.support)) + "\n\n";
    if (!k.note.empty()) out += std::string(k.note) + ".\n";
    if (k.support == Support::Refuse || k.kind == "CustomResourceDefinition") continue;
    out += "\n| field | support | note |\n|---|---|---|\n";
    std::set<const Message*> open;
    rows(*k.message, {}, open, out);
  }
  return out;
}

Json crd_object(const Kind& kind) {
  JsonArray versions, stored, shorts, categories;
  for (const auto v : kind.versions) {
    JsonObject subresources;
    if (kind.has_status()) subresources["status"] = JsonObject();
    JsonObject version{
        {"name", v},
        {"served", true},
        {"storage", v == kind.storage_version},
        {"schema", JsonObject{{"openAPIV3Schema",
                               JsonObject{{"type", "object"},
                                          {"x-kubernetes-preserve-unknown-fields", true}}}}}};
    if (!subresources.empty()) version["subresources"] = std::move(subresources);
    JsonArray columns;
    for (const Column& c : kind.columns) {
      if (c.json_path.empty()) continue;
      JsonObject column{{"name", c.name}, {"type", c.type}, {"jsonPath", c.json_path}};
      if (c.priority != 0) column["priority"] = c.priority;
      columns.emplace_back(std::move(column));
    }
    if (!columns.empty()) version["additionalPrinterColumns"] = std::move(columns);
    versions.emplace_back(std::move(version));
  }
  stored.emplace_back(kind.storage_version);
  for (const auto s : kind.short_names) shorts.emplace_back(s);
  for (const auto c : kind.categories) categories.emplace_back(c);
  JsonObject names{{"plural", kind.plural},
                   {"singular", kind.singular},
                   {"kind", kind.kind},
                   {"listKind", kind.list_kind}};
  if (!shorts.empty()) names["shortNames"] = shorts;
  if (!categories.empty()) names["categories"] = categories;
  const auto condition = [](std::string_view type, std::string_view reason,
                            std::string_view message) {
    return Json{{"type", type}, {"status", "True"}, {"reason", reason}, {"message", message}};
  };
  return Json{
      {"apiVersion", "apiextensions.k8s.io/v1"},
      {"kind", "CustomResourceDefinition"},
      {"metadata", JsonObject{{"name", kind.group_resource()},
                              {"annotations", JsonObject{{"knit.dev/built-in", "true"}}}}},
      {"spec", JsonObject{{"group", kind.group},
                          {"names", names},
                          {"scope", kind.namespaced ? "Namespaced" : "Cluster"},
                          {"versions", std::move(versions)},
                          {"conversion", JsonObject{{"strategy", "None"}}}}},
      {"status",
       JsonObject{
           {"acceptedNames", names},
           {"conditions", JsonArray{condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                                    condition("Established", "InitialNamesAccepted",
                                              "the initial names have been accepted")}},
           {"storedVersions", std::move(stored)}}}};
}

}  // namespace knit::schema
