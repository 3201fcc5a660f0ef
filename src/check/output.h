// Everything a report can be printed as. Codes and JSON are English; text follows the language.
#pragma once

#include "check/engine.h"

namespace knit::check {

enum class Format { Text, Short, Table, Json, Yaml, Sarif, Junit, Markdown };
/// "text", "short", "table", "json", "yaml", "sarif", "junit", "markdown" ("md").
Result<Format> parse_format(std::string_view name);

struct Style {
  bool colour = false;
  bool ascii = false;  // no check marks: the locale is not UTF-8
  bool japanese = false;
  bool quiet = false;  // findings and verdict only
};

std::string print(const Report& report, Format format, const Style& style);
/// The record behind json and yaml: {"apiVersion": "knit.dev/v1", "kind": "CheckReport", …}.
Json to_json(const Report& report);
/// `knit check explain CODE`.
std::string explain(const Rule& rule, const Style& style);
/// All rules, one line each.
std::string list_rules(const Style& style);
/// docs/checks.md.
std::string manual();

}  // namespace knit::check
