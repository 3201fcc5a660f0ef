// Edits of YAML text that keep comments, order and style: only the bytes of what changes change.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"

namespace knit::yaml {

/// A place in a document: keys and indexes from the root. "spec.servers[0].port".
class Path {
 public:
  using Step = std::variant<std::string, std::size_t>;
  Path() = default;
  Path(std::initializer_list<std::string_view> keys) {
    for (const auto key : keys) steps_.emplace_back(std::string(key));
  }
  Path operator/(std::string_view key) const {
    Path p = *this;
    p.steps_.emplace_back(std::string(key));
    return p;
  }
  Path operator/(std::size_t index) const {
    Path p = *this;
    p.steps_.emplace_back(index);
    return p;
  }
  const std::vector<Step>& steps() const { return steps_; }
  bool empty() const { return steps_.empty(); }
  bool operator==(const Path&) const = default;
  auto operator<=>(const Path&) const = default;

 private:
  std::vector<Step> steps_;
};
/// JSONPath-like: keys with characters outside [A-Za-z0-9_-] are quoted: metadata.labels["a.b/c"].
std::string to_string(const Path& path);
/// RFC 6901.
std::string json_pointer(const Path& path);

/// Sets `path` in document `document` (from 0) of `text` to `value`, making mappings and, at the end
/// of a sequence, one item on the way. Errors: NotFound (no such document, an index past the end),
/// InvalidArgument (the text does not parse; a step through a scalar; an alias on the way).
Result<std::string> set(std::string_view text, std::size_t document, const Path& path,
                        const Json& value);
/// Removes the member or item at `path`; absent is NotFound.
Result<std::string> erase(std::string_view text, std::size_t document, const Path& path);

/// The same on a DOM, for verifying a fix before it is written.
Result<void> set(Json& root, const Path& path, const Json& value);
Result<void> erase(Json& root, const Path& path);
const Json* find(const Json& root, const Path& path);

}  // namespace knit::yaml
