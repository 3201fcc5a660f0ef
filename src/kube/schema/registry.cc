#include <algorithm>
#include <charconv>
#include <deque>

#include "kube/schema/schema.h"
#include "kube/schema/tables.h"

namespace knit::schema {

std::string_view to_string(Support s) {
  switch (s) {
    case Support::Effective:
      return "effective";
    case Support::Inert:
      return "inert";
    case Support::Warn:
      return "warn";
    case Support::Refuse:
      return "refuse";
  }
  return "";
}

const Field* Message::find(std::string_view json_name) const {
  const auto it = std::lower_bound(fields.begin(), fields.end(), json_name,
                                   [](const Field& f, std::string_view n) { return f.name < n; });
  return it != fields.end() && it->name == json_name ? &*it : nullptr;
}

const Field* Message::by_number(std::uint32_t number) const {
  for (const Field& f : fields) {
    if (f.number == number && number != 0) return &f;
  }
  return nullptr;
}

bool Kind::has(std::string_view subresource) const {
  return std::find(subresources.begin(), subresources.end(), subresource) != subresources.end();
}
bool Kind::serves(std::string_view version) const {
  return std::find(versions.begin(), versions.end(), version) != versions.end();
}
std::string Kind::group_resource() const {
  return group.empty() ? std::string(plural) : std::string(plural) + "." + std::string(group);
}
std::string Kind::api_version(std::string_view version) const {
  if (version.empty()) version = storage_version;
  return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
}

/// Reads the text tables. They are part of the program: what is wrong in them aborts at start (and
/// in the tests).
class Loader {
 public:
  explicit Loader(Registry& registry) : registry_(registry) {}

  void load() {
    for (const std::string_view text : tables::all()) read(text);
    finish();
    for (const std::string_view text : tables::support()) read_support(text);
  }

 private:
  struct Draft {
    std::string_view name;
    bool open = false;
    Support unknown = Support::Effective;
    std::vector<Field> fields;
    std::vector<std::string_view> types;  // the name of each field's message
  };

  [[noreturn]] static void broken(const char* why) {
    detail::check_failed(why, __FILE__, __LINE__);
  }

  static std::string_view word(std::string_view& line) {
    const auto start = line.find_first_not_of(' ');
    if (start == std::string_view::npos) {
      line = {};
      return {};
    }
    line.remove_prefix(start);
    const auto end = std::min(line.find(' '), line.size());
    const std::string_view w = line.substr(0, end);
    line.remove_prefix(end);
    return w;
  }
  static std::string_view rest(std::string_view line) {
    const auto start = line.find_first_not_of(' ');
    return start == std::string_view::npos ? std::string_view() : line.substr(start);
  }
  static std::vector<std::string_view> split(std::string_view text, char by) {
    std::vector<std::string_view> out;
    while (!text.empty()) {
      const auto at = std::min(text.find(by), text.size());
      out.push_back(text.substr(0, at));
      text.remove_prefix(std::min(at + 1, text.size()));
    }
    return out;
  }

  template <class F>
  static void lines(std::string_view text, F f) {
    while (!text.empty()) {
      const auto end = std::min(text.find('\n'), text.size());
      const std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (!line.empty() && line[0] != '#') f(line);
    }
  }

  void read(std::string_view text) {
    lines(text, [this](std::string_view line) {
      const char tag = line[0];
      std::string_view body = line.substr(1);
      switch (tag) {
        case ' ':
          field(body);
          break;
        case 'M':
          drafts_.emplace_back();
          drafts_.back().name = word(body);
          open(word(body), drafts_.back());
          break;
        case 'K':
          kind(body);
          break;
        case 'N':
          KNIT_CHECK(!registry_.kinds_.empty());
          registry_.kinds_.back().note = rest(body);
          break;
        case 'C':
          column(rest(body));
          break;
        default:
          broken("a table line starts with M, K, N, C or a blank");
      }
    });
  }

  /// "open" or "open=refuse".
  static void open(std::string_view flag, Draft& draft) {
    if (flag.empty()) return;
    KNIT_CHECK(flag.substr(0, 4) == "open");
    draft.open = true;
    if (flag.size() > 5) draft.unknown = support(flag.substr(5));
  }

  static Type leaf(std::string_view name, bool* known) {
    static constexpr std::pair<std::string_view, Type> kLeaves[] = {
        {"string", Type::String},
        {"int32", Type::Int32},
        {"int64", Type::Int64},
        {"bool", Type::Bool},
        {"double", Type::Double},
        {"bytes", Type::Bytes},
        {"Quantity", Type::Quantity},
        {"Time", Type::Time},
        {"MicroTime", Type::MicroTime},
        {"Duration", Type::Duration},
        {"IntOrString", Type::IntOrString},
        {"Raw", Type::Raw},
        {"Any", Type::Any},
        {"FieldsV1", Type::FieldsV1},
        {"Strings", Type::Strings},
        {"StringMap", Type::StringMap},
        {"SchemaOrArray", Type::SchemaOrArray},
        {"SchemaOrBool", Type::SchemaOrBool},
        {"SchemaOrStrings", Type::SchemaOrStrings},
    };
    for (const auto& [n, t] : kLeaves) {
      if (n == name) {
        *known = true;
        return t;
      }
    }
    *known = false;
    return Type::Message;
  }

  void field(std::string_view line) {
    KNIT_CHECK(!drafts_.empty());
    Draft& draft = drafts_.back();
    Field f;
    f.name = word(line);
    const std::string_view number = word(line);
    const auto [end, ec] = std::from_chars(number.data(), number.data() + number.size(), f.number);
    KNIT_CHECK(ec == std::errc() && end == number.data() + number.size());
    std::string_view type = word(line);
    KNIT_CHECK(!type.empty());
    if (type.substr(0, 2) == "[]") {
      f.shape = Shape::List;
      type.remove_prefix(2);
    } else if (type.substr(0, 2) == "{}") {
      f.shape = Shape::Map;
      type.remove_prefix(2);
    }
    bool known = false;
    f.type = leaf(type, &known);
    for (std::string_view flag = word(line); !flag.empty(); flag = word(line)) {
      const auto eq = flag.find('=');
      const std::string_view key = flag.substr(0, eq);
      const std::string_view value =
          eq == std::string_view::npos ? std::string_view() : flag.substr(eq + 1);
      if (key == "p") {
        f.pointer = true;
      } else if (key == "z") {
        f.always = true;
      } else if (key == "inline") {
        f.inlined = true;
      } else if (key == "merge") {
        f.merge = true;
        f.merge_key = value;
      } else if (key == "retain") {
        f.retain_keys = true;
      } else if (key == "replace") {
        f.replace = true;
      } else if (key == "set") {
        f.set = true;
      } else if (key == "req") {
        f.required = true;
      } else if (key == "keys") {
        f.map_keys = value;
      } else if (key == "enum") {
        f.enumeration = value;
      } else if (key == "oneof") {
        f.oneof = value;
      } else {
        broken("unknown field flag");
      }
    }
    draft.fields.push_back(f);
    draft.types.push_back(known ? std::string_view() : type);
  }

  void kind(std::string_view line) {
    Kind k;
    k.kind = word(line);
    k.plural = word(line);
    k.group = word(line);
    if (k.group == "core") k.group = {};
    k.versions = split(word(line), ',');
    kind_messages_.push_back(word(line));
    KNIT_CHECK(!k.versions.empty());
    k.storage_version = k.versions.front();
    for (std::string_view flag = word(line); !flag.empty(); flag = word(line)) {
      const auto eq = flag.find('=');
      const std::string_view key = flag.substr(0, eq);
      const std::string_view value =
          eq == std::string_view::npos ? std::string_view() : flag.substr(eq + 1);
      if (key == "ns") {
        k.namespaced = true;
      } else if (key == "custom") {
        k.custom = true;
      } else if (key == "virtual") {
        k.stored = false;
      } else if (key == "short") {
        k.short_names = split(value, ',');
      } else if (key == "cats") {
        k.categories = split(value, ',');
      } else if (key == "sub") {
        k.subresources = split(value, ',');
      } else if (key == "verbs") {
        k.verbs = split(value, ',');
      } else if (key == "storage") {
        k.storage_version = value;
      } else if (key == "support") {
        k.support = support(value);
      } else if (key == "scale") {
        const auto parts = split(value, ',');
        KNIT_CHECK(parts.size() == 3);
        k.replicas_path = parts[0];
        k.status_replicas_path = parts[1];
        k.selector_path = parts[2];
      } else {
        broken("unknown kind flag");
      }
    }
    if (k.verbs.empty() && k.stored) {
      k.verbs = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
    }
    registry_.kinds_.push_back(std::move(k));
  }

  /// Name|type|priority|jsonPath|format
  void column(std::string_view line) {
    KNIT_CHECK(!registry_.kinds_.empty());
    Column c;
    std::string_view parts[5];
    for (auto& part : parts) {
      const auto at = std::min(line.find('|'), line.size());
      part = line.substr(0, at);
      line.remove_prefix(std::min(at + 1, line.size()));
    }
    c.name = parts[0];
    c.type = parts[1].empty() ? "string" : parts[1];
    c.priority = parts[2].empty() ? 0 : parts[2][0] - '0';
    c.json_path = parts[3];
    c.format = parts[4];
    registry_.kinds_.back().columns.push_back(c);
  }

  static Support support(std::string_view text) {
    for (const Support s : {Support::Effective, Support::Inert, Support::Warn, Support::Refuse}) {
      if (to_string(s) == text) return s;
    }
    broken("support is effective, inert, warn or refuse");
  }

  void finish() {
    std::sort(drafts_.begin(), drafts_.end(),
              [](const Draft& a, const Draft& b) { return a.name < b.name; });
    std::size_t total = 0;
    for (const Draft& d : drafts_) total += d.fields.size();
    auto& fields = registry_.fields_;
    auto& messages = registry_.messages_;
    fields.reserve(total);
    messages.resize(drafts_.size());
    for (std::size_t i = 0; i < drafts_.size(); ++i) {
      messages[i].name = drafts_[i].name;
      messages[i].open = drafts_[i].open;
      messages[i].unknown = drafts_[i].unknown;
      KNIT_CHECK(i == 0 || messages[i].name != messages[i - 1].name);
    }
    for (std::size_t i = 0; i < drafts_.size(); ++i) {
      Draft& d = drafts_[i];
      const std::size_t first = fields.size();
      for (std::size_t j = 0; j < d.fields.size(); ++j) {
        if (!d.types[j].empty()) {
          d.fields[j].message = registry_.message(d.types[j]);
          KNIT_CHECK(d.fields[j].message != nullptr);
        }
        fields.push_back(d.fields[j]);
      }
      std::sort(fields.begin() + static_cast<std::ptrdiff_t>(first), fields.end(),
                [](const Field& a, const Field& b) { return a.name < b.name; });
      messages[i].fields = std::span<const Field>(fields.data() + first, d.fields.size());
    }
    for (std::size_t i = 0; i < registry_.kinds_.size(); ++i) {
      Kind& k = registry_.kinds_[i];
      k.message = registry_.message(kind_messages_[i]);
      KNIT_CHECK(k.message != nullptr);
      names_.push_back(std::string(k.kind));
      for (char& c : names_.back()) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      }
      k.singular = names_.back();
      names_.push_back(std::string(k.kind) + "List");
      k.list_kind = names_.back();
      k.resource = kube::Resource::of(k.group_resource());
    }
  }

  /// "<message> <support> <field[?harmless|values]>,… [| note]": message may be "prefix.*", a field
  /// may be "*". Later lines win over earlier ones.
  void read_support(std::string_view text) {
    lines(text, [this](std::string_view line) {
      std::string_view note;
      if (const auto bar = line.find(" | "); bar != std::string_view::npos) {
        note = rest(line.substr(bar + 3));
        line = line.substr(0, bar);
      }
      const std::string_view name = word(line);
      const Support s = support(word(line));
      bool any_message = false;
      for (Message& m : registry_.messages_) {
        const bool wild =
            name.ends_with(".*") && m.name.starts_with(name.substr(0, name.size() - 1));
        if (!wild && m.name != name) continue;
        any_message = true;
        for (const std::string_view item : split(rest(line), ',')) {
          const auto q = item.find('?');
          const std::string_view field_name = item.substr(0, q);
          const std::string_view harmless =
              q == std::string_view::npos ? std::string_view() : item.substr(q + 1);
          bool any_field = wild;
          for (const Field& f : m.fields) {
            if (field_name != "*" && f.name != field_name) continue;
            any_field = true;
            // The registry is being built; its fields are only const for everybody else.
            Field& mutable_field = const_cast<Field&>(f);
            mutable_field.support = s;
            mutable_field.note = note;
            mutable_field.harmless = harmless;
          }
          KNIT_CHECK(any_field);
        }
      }
      KNIT_CHECK(any_message);
    });
  }

  Registry& registry_;
  std::vector<Draft> drafts_;
  std::vector<std::string_view> kind_messages_;
  std::deque<std::string>& names_ = registry_.names_;
};

Registry::Registry() { Loader(*this).load(); }

const Registry& Registry::get() {
  static const Registry& instance = *new Registry;
  return instance;
}

const Kind* Registry::by_plural(std::string_view group, std::string_view version,
                                std::string_view plural) const {
  for (const Kind& k : kinds_) {
    if (k.plural == plural && k.group == group && k.serves(version)) return &k;
  }
  return nullptr;
}

const Kind* Registry::by_kind(std::string_view group, std::string_view version,
                              std::string_view kind) const {
  for (const Kind& k : kinds_) {
    if (k.kind == kind && k.group == group && k.serves(version)) return &k;
  }
  return nullptr;
}

const Kind* Registry::by_api_version(std::string_view api_version, std::string_view kind) const {
  const auto slash = api_version.find('/');
  if (slash == std::string_view::npos) return by_kind({}, api_version, kind);
  return by_kind(api_version.substr(0, slash), api_version.substr(slash + 1), kind);
}

const Kind* Registry::by_resource(kube::Resource resource) const {
  for (const Kind& k : kinds_) {
    if (k.resource == resource) return &k;
  }
  return nullptr;
}

const Message* Registry::message(std::string_view name) const {
  const auto it = std::lower_bound(messages_.begin(), messages_.end(), name,
                                   [](const Message& m, std::string_view n) { return m.name < n; });
  return it != messages_.end() && it->name == name ? &*it : nullptr;
}

}  // namespace knit::schema
