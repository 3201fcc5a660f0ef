// YAML as kubectl reads it (go-yaml v2's scalar rules behind sigs.k8s.io/yaml), on libyaml's events,
// with line and column of every node. Bounded: size, depth, nodes, and what aliases may expand to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace knit::yaml {

struct Mark {
  std::uint32_t line = 1, column = 1;  // from 1, as editors count; column in bytes
  std::size_t offset = 0;              // bytes from the start of the text
  bool operator==(const Mark&) const = default;
};

struct Node;
using NodePtr = std::shared_ptr<const Node>;
struct Node {
  enum class Kind { Null, Scalar, Sequence, Mapping };
  enum class Style { Plain, SingleQuoted, DoubleQuoted, Literal, Folded, Block, Flow };
  Kind kind = Kind::Null;
  Style style = Style::Plain;
  std::string text;  // scalars: after unquoting
  std::string tag;   // explicit tags only ("!!str")
  Mark start, end;   // end: just behind the last byte
  std::vector<NodePtr> items;                        // Sequence
  std::vector<std::pair<NodePtr, NodePtr>> members;  // Mapping, in order, aliases resolved
  bool aliased = false;  // came from an alias: its marks are the anchor's

  /// The value under a key, or nullptr. The last one wins, as for kubectl.
  const Node* find(std::string_view key) const;
};

struct Limits {
  std::size_t max_bytes = 64 << 20;
  std::size_t max_depth = 100;
  std::size_t max_nodes = 2'000'000;  // per document, after alias expansion
  std::size_t max_documents = 100'000;
};

struct Problem {
  Mark mark;
  std::string message;  // "did not find expected ',' or ']'"
};

struct Document {
  NodePtr root;                    // nullptr for an empty document
  Mark start;
  std::vector<Problem> duplicate_keys;  // "mapping key \"a\" already defined at line 3"
};

struct Parsed {
  std::vector<Document> documents;  // everything before the first error
  std::vector<Problem> errors;      // syntax errors: what follows `---` after one is parsed again
};

/// Never fails as a whole: a broken document is an error with its place, the others are there.
Parsed parse(std::string_view text, const Limits& limits = {});
/// The same, a document at a time: what `on_document` does not keep is gone.
std::vector<Problem> parse_each(std::string_view text, const Limits& limits,
                                const std::function<void(Document)>& on_document);

/// kubectl's JSON of a node. Errors: InvalidArgument (a mapping key that is no scalar, a number that
/// JSON cannot hold), with line and column.
Result<Json> to_json(const Node& node);

/// The JSON of a text with exactly one document. Errors: InvalidArgument with line and column.
Result<Json> parse_one(std::string_view text, const Limits& limits = {});

/// Block style, keys in the order of the value; strings quoted only where YAML needs it.
std::string print(const Json& value);

}  // namespace knit::yaml
