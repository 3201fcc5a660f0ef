// JSON: Boost.JSON as the DOM, and helpers that never throw. The only way to JSON in Knit.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knit {

using Json = boost::json::value;
using JsonObject = boost::json::object;
using JsonArray = boost::json::array;

namespace json {

struct Limits {
  std::size_t max_bytes = 3 << 20;
  std::size_t max_depth = 64;
  bool allow_duplicate_keys = true;  // last wins; `duplicate_keys()` finds them
};

/// Errors: InvalidArgument with byte offset and cause.
Result<Json> parse(std::string_view text, const Limits& limits = {});
/// Paths of keys that occur twice in one object ("spec.replicas"), in document order. For strict
/// field validation; `text` has been parsed before.
std::vector<std::string> duplicate_keys(std::string_view text);

/// Compact; object keys in insertion order.
std::string print(const Json& value);
/// Compact with object keys sorted: equal values give equal bytes. For hashes and canonical form.
std::string canonical(const Json& value);
/// Indented by 2 (kubectl, curl).
std::string pretty(const Json& value);

using Path = std::initializer_list<std::string_view>;

/// The value at `path`, or nullptr when a step is absent or not an object.
const Json* find(const Json& root, Path path);
Json* find(Json& root, Path path);
const Json* find(const Json& root, std::string_view key);
Json* find(Json& root, std::string_view key);
/// Typed look-ups; absent or of another type gives the default.
std::string_view str(const Json& root, Path path, std::string_view otherwise = {});
std::int64_t i64(const Json& root, Path path, std::int64_t otherwise = 0);
std::optional<std::int64_t> opt_i64(const Json& root, Path path);
bool boolean(const Json& root, Path path, bool otherwise = false);
std::optional<double> opt_number(const Json& root, Path path);
/// The array/object at `path`, or an empty one with static lifetime.
const JsonArray& array(const Json& root, Path path);
const JsonObject& object(const Json& root, Path path);
/// Sets a value, making objects on the way. A non-object on the way is replaced.
void set(Json& root, Path path, Json value);
/// Removes a key; absent is fine. True if something was removed.
bool erase(Json& root, Path path);
/// {"a": "b"} of strings as pairs, in order; non-strings are skipped.
std::vector<std::pair<std::string, std::string>> string_map(const Json& root, Path path);

/// RFC 7386.
void merge_patch(Json& target, const Json& patch);
/// The RFC 7386 patch that turns `from` into `to` (objects only; null values cannot be set).
Json merge_diff(const Json& from, const Json& to);

}  // namespace json
}  // namespace knit
