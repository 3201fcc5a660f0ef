// Documents made from the tables.
#include <algorithm>
#include <map>

#include "kube/schema/schema.h"

namespace knit::schema {

namespace {
/// The messages that `m` reaches through fields with an effect, in order of discovery.
void reach(const Message& m, std::vector<const Message*>& out) {
  if (std::find(out.begin(), out.end(), &m) != out.end()) return;
  out.push_back(&m);
  for (const Field& f : m.fields) {
    const bool skipped = f.name == "metadata" || f.name == "status";
    if (f.message != nullptr && f.support == Support::Effective && !skipped) {
      reach(*f.message, out);
    }
  }
}

/// The fields of `m` as JSON has them, inlined ones too, one line per support and note.
void describe(const Message& m, std::map<std::string, std::string>& lines) {
  for (const Field& f : m.fields) {
    if (f.inlined) {
      describe(*f.message, lines);
      continue;
    }
    if (f.name == "apiVersion" || f.name == "kind" || f.name == "metadata" || f.name == "status") {
      continue;
    }
    std::string name = "`" + std::string(f.name) + "`";
    if (!f.harmless.empty()) {
      std::string values(f.harmless);
      std::replace(values.begin(), values.end(), '|', ' ');
      name += " (fine: " + values + ")";
    }
    // The number keeps effective first and refuse last.
    std::string key = std::to_string(static_cast<int>(f.support)) + "**" +
                      std::string(to_string(f.support)) + "**";
    if (!f.note.empty()) key += " (" + std::string(f.note) + ")";
    std::string& line = lines[key];
    line += (line.empty() ? "" : ", ") + name;
  }
}
}  // namespace

std::string support_markdown() {
  std::string out =
      "# What Knit does with every kind and field\n\n"
      "Made from `src/kube/schema/tables` (`knit_support_md > docs/support.md`); do not edit.\n\n"
      "- **effective**: it does what it does upstream.\n"
      "- **inert**: stored; it means nothing on one machine, and nobody is misled.\n"
      "- **warn**: stored without effect; a write that sets it is answered with a `Warning:`.\n"
      "- **refuse**: a write that sets it is refused by name.\n\n"
      "Status and metadata are not listed: they are served as upstream does. Values called fine "
      "need "
      "no warning or refusal.\n\n"
      "## Kinds\n\n| kind | version | support | note |\n|---|---|---|---|\n";
  std::vector<const Message*> messages;
  for (const Kind& k : Registry::get().kinds()) {
    if (!k.stored) continue;
    out += "| " + std::string(k.kind) + " | " + k.api_version() + " | " +
           std::string(to_string(k.support)) + " | " + std::string(k.note) + " |\n";
    if (k.support != Support::Refuse && k.kind != "CustomResourceDefinition") {
      reach(*k.message, messages);
    }
  }
  out += "\n## Fields, by the type that holds them\n";
  for (const Message* m : messages) {
    std::map<std::string, std::string> lines;
    describe(*m, lines);
    if (lines.empty()) continue;
    out += "\n### " + std::string(m->name) + "\n\n";
    for (const auto& [key, names] : lines) out += "- " + key.substr(1) + ": " + names + "\n";
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
