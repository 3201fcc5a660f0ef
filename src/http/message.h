// Whole HTTP messages as values, for servers and clients that are not the data plane.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace knit::http {

/// Fields in order; names compare without case.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}
  /// The first value of that name, or empty.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  std::vector<std::string_view> all(std::string_view name) const;
  void add(std::string name, std::string value) {
    fields_.emplace_back(std::move(name), std::move(value));
  }
  /// Replaces every field of that name.
  void set(std::string_view name, std::string value);
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

/// The query of a target, decoded; in order, a name may occur more than once.
class Query {
 public:
  Query() = default;
  explicit Query(std::string_view raw);
  /// The first value, or empty.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }
  void add(std::string name, std::string value) {
    fields_.emplace_back(std::move(name), std::move(value));
  }
  /// "a=1&b=2", escaped.
  std::string print() const;

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

/// Undoes %XX; with `plus`, '+' becomes a space. Malformed escapes stay as they are.
std::string url_decode(std::string_view text, bool plus);
std::string url_encode(std::string_view text);
/// The same, keeping '/'.
std::string url_encode_path(std::string_view text);

struct Request {
  std::string method = "GET";
  std::string path = "/";  // decoded, without the query
  Query query;
  Headers headers;
  std::string body;
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

}  // namespace knit::http
