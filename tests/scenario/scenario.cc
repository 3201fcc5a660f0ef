#include "scenario.h"

#include <fstream>
#include <sstream>

#include "base/time.h"
#include "base/yaml.h"
#include "program.h"
#include "world.h"

namespace knit::scenario {
namespace {
using kube::Key;
using std::chrono::milliseconds;
using std::chrono::seconds;

class Scenario {
 public:
  std::vector<std::string> run(const std::string& path);

 private:
  // One per kind of step: false when it is not as it should be, with `why_`.
  bool apply(const Json& step);
  bool patch(const Json& step);
  bool remove(const Json& step);
  bool expect(const Json& step);
  bool request(const Json& step);
  bool image(const Json& step);
  bool process(const std::string& name, bool up);
  bool carry_out(const Json& step);

  bool fail(std::string why) {
    why_ = std::move(why);
    return false;
  }
  /// The answer to the write just sent, against `refused`, `code` and `warned` of the step.
  bool answered(const Json& step, const std::string& what);
  bool holds(const Json& wanted);
  /// Steps time until `done` holds, for as long as the step says.
  template <class F>
  bool wait(const Json& step, F done);
  bool duration(const Json& value, Duration& out);
  bool key(std::string_view reference, Key& out);
  /// nullptr: not there.
  static const Json* look(const Json& object, std::string_view path);

  world::World w_{1};
  std::string why_;
};

std::string text_of(const Json& value) {
  return value.is_string() ? std::string(value.get_string()) : json::print(value);
}

bool Scenario::duration(const Json& value, Duration& out) {
  const auto parsed = parse_go_duration(text_of(value));
  if (!parsed) return fail("\"" + text_of(value) + "\" is not a duration");
  out = *parsed;
  return true;
}

bool Scenario::key(std::string_view reference, Key& out) {
  std::vector<std::string> parts;
  std::stringstream in{std::string(reference)};
  for (std::string part; std::getline(in, part, '/');) parts.push_back(part);
  if (parts.size() < 2 || parts.size() > 3) {
    return fail("\"" + std::string(reference) + "\" is not [namespace/]kind/name");
  }
  const std::string& name = parts[parts.size() - 2];
  for (const auto& kind : schema::Registry::get().kinds()) {
    const bool short_name =
        std::find(kind.short_names.begin(), kind.short_names.end(), name) != kind.short_names.end();
    if (!short_name && name != kind.plural && name != kind.singular &&
        name != kind.group_resource()) {
      continue;
    }
    out = {kind.resource, kind.namespaced ? parts.size() == 3 ? parts[0] : "default" : "",
           parts.back()};
    return true;
  }
  return fail("there is no kind \"" + name + "\"");
}

bool Scenario::answered(const Json& step, const std::string& what) {
  for (int i = 0; i < 50 && w_.said.code == 0; ++i) w_.loop.advance(milliseconds(100));
  const auto& said = w_.said;
  const std::string refused(json::str(step, {"refused"}));
  if (said.code == 0) return fail(what + ": no answer");
  if (refused.empty() && said.code != 200) {
    return fail(what + ": " + std::to_string(said.code) + " " + said.message);
  }
  if (!refused.empty() && said.code == 200) return fail(what + " was accepted");
  if (said.message.find(refused) == std::string::npos) {
    return fail(what + " was refused with \"" + said.message + "\"");
  }
  const auto code = json::i64(step, {"code"});
  if (code != 0 && said.code != code) {
    return fail(what + ": code " + std::to_string(said.code) + " (" + said.message + ")");
  }
  const std::string warned(json::str(step, {"warned"}));
  const bool found = std::any_of(
      said.warnings.begin(), said.warnings.end(),
      [&](const std::string& warning) { return warning.find(warned) != std::string::npos; });
  if (!warned.empty() && !found) {
    std::string all;
    for (const auto& warning : said.warnings) all += "\n    " + warning;
    return fail(what + ": no such warning among:" + all);
  }
  return true;
}

bool Scenario::apply(const Json& step) {
  std::vector<Json> all;
  const Json& what = step.at("apply");
  const auto add = [&](const Json& one) {
    if (one.is_object()) {
      all.push_back(one);
      return;
    }
    for (auto& manifest : world::manifests(text_of(one))) all.push_back(std::move(manifest));
  };
  if (what.is_array()) {
    for (const auto& one : what.get_array()) add(one);
  } else {
    add(what);
  }
  for (const auto& manifest : all) {
    if (schema::Registry::get().by_api_version(json::str(manifest, {"apiVersion"}),
                                               json::str(manifest, {"kind"})) == nullptr) {
      return fail("unknown kind in " + json::print(manifest));
    }
    Key key = world::key_of(manifest);
    const auto* kind = schema::Registry::get().by_resource(key.resource);
    if (key.ns.empty() && kind->namespaced) key.ns = "default";
    w_.said = {};
    w_.apply(key, manifest);
    if (!answered(step, "apply " + to_string(key))) return false;
  }
  return true;
}
bool Scenario::patch(const Json& step) {
  Key at;
  if (!key(json::str(step, {"patch", "object"}), at)) return false;
  w_.said = {};
  w_.merge(at, step.at("patch").at("merge"));
  return answered(step, "patch " + to_string(at));
}
bool Scenario::remove(const Json& step) {
  Key at;
  if (!key(json::str(step, {"delete"}), at)) return false;
  w_.said = {};
  w_.remove(at);
  return answered(step, "delete " + to_string(at));
}

const Json* Scenario::look(const Json& object, std::string_view path) {
  const Json* at = &object;
  std::string part;
  const auto go = [&]() {
    if (part.empty()) return true;
    if (at->is_array()) {
      const auto n = std::strtoull(part.c_str(), nullptr, 10);
      at = n < at->get_array().size() ? &at->get_array()[n] : nullptr;
    } else {
      at = json::find(*at, std::string_view(part));
    }
    part.clear();
    return at != nullptr;
  };
  if (path.starts_with("conditions.")) {
    path.remove_prefix(11);
    const auto dot = path.find('.');
    const auto type = path.substr(0, dot);
    for (const auto& c : json::array(object, {"status", "conditions"})) {
      if (json::str(c, {"type"}) != type) continue;
      return json::find(c, dot == path.npos ? std::string_view("status") : path.substr(dot + 1));
    }
    return nullptr;
  }
  bool literal = false;
  for (const char c : path) {
    if ((c == '.' && !literal) || c == '[' || (c == ']' && literal)) {
      literal = c == '[';
      if (!go()) return nullptr;
    } else {
      part += c;
    }
  }
  return go() ? at : nullptr;
}

bool Scenario::holds(const Json& wanted) {
  for (const auto& [reference, fields] : wanted.get_object()) {
    Key at;
    if (!key(std::string_view(reference), at)) return false;
    const Json object = w_.server_up() ? w_.view(at) : Json();
    if (fields.is_string() && fields.get_string() == "absent") {
      if (!object.is_null()) return fail(to_string(at) + " is there");
      continue;
    }
    if (object.is_null()) return fail(to_string(at) + " is not there");
    if (!fields.is_object()) return fail("of " + to_string(at) + " nothing is said");
    for (const auto& [path, value] : fields.get_object()) {
      const Json* found = look(object, std::string_view(path));
      const std::string want = text_of(value);
      const std::string have = found == nullptr ? "absent" : text_of(*found);
      const bool same =
          want.starts_with('~') ? have.find(want.substr(1)) != std::string::npos : have == want;
      if (!same) {
        return fail(
            to_string(at) + " " + std::string(path) + " is " + have + "\n    of " +
            json::print(json::find(object, "status") != nullptr ? object.at("status") : object));
      }
    }
  }
  return true;
}

template <class F>
bool Scenario::wait(const Json& step, F done) {
  Duration within = seconds(60);
  if (const Json* given = json::find(step, "within"); given && !duration(*given, within)) {
    return false;
  }
  for (Duration spent{};; spent += milliseconds(100)) {
    if (done()) return true;
    if (spent >= within) return false;
    w_.loop.advance(milliseconds(100));
  }
}

bool Scenario::expect(const Json& step) {
  if (!step.at("expect").is_object()) return fail("expect: not a mapping");
  return wait(step, [&] { return holds(step.at("expect")); });
}
bool Scenario::request(const Json& step) {
  const Json& r = step.at("request");
  const auto before = w_.answers.size();
  const std::string host(json::str(r, {"host"}));
  w_.request(host, milliseconds(20));
  const bool answered = wait(r, [&] { return w_.answers.size() > before; });
  if (!answered) return fail("no answer from " + host);
  const auto& a = w_.answers.back();
  const auto status = json::i64(r, {"status"}, 200);
  if (a.status != status) {
    return fail(host + " answered " + std::to_string(a.status) + " (" + a.why + ")");
  }
  return true;
}
bool Scenario::image(const Json& step) {
  const std::string name(json::str(step, {"image", "name"}));
  const auto fate = json::str(step, {"image", "fate"});
  for (auto* set : {&w_.missing_images, &w_.crashing_images, &w_.stuck_images}) set->erase(name);
  if (fate == "missing") {
    w_.missing_images.insert(name);
  } else if (fate == "crashes") {
    w_.crashing_images.insert(name);
  } else if (fate == "silent") {
    w_.stuck_images.insert(name);
  } else if (fate != "works") {
    return fail("image: the fate is missing, crashes, silent or works");
  }
  return true;
}
bool Scenario::process(const std::string& name, bool up) {
  if (name == "server") {
    up ? w_.start_server() : w_.kill_server();
  } else if (name == "proxy") {
    up ? w_.start_proxy() : w_.kill_proxy();
  } else if (name == "node") {
    up ? w_.start_node() : w_.kill_node();
  } else {
    return fail("\"" + name + "\" is not server, proxy or node");
  }
  return true;
}

bool Scenario::carry_out(const Json& step) {
  if (!step.is_object()) return fail("a step is a mapping");
  const auto has = [&](std::string_view what) { return step.get_object().contains(what); };
  if (has("apply")) return apply(step);
  if (has("patch")) return patch(step);
  if (has("delete")) return remove(step);
  if (has("expect")) return expect(step);
  if (has("request")) return request(step);
  if (has("image")) return image(step);
  if (has("kill")) return process(text_of(step.at("kill")), false);
  if (has("start")) return process(text_of(step.at("start")), true);
  if (has("seed")) {
    w_.install_seed();
    w_.loop.advance(seconds(1));
    return true;
  }
  if (has("advance")) {
    Duration by{};
    if (!duration(step.at("advance"), by)) return false;
    w_.loop.advance(by);
    return true;
  }
  return fail("unknown step " + json::print(step));
}

std::vector<std::string> Scenario::run(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  const auto parsed = yaml::parse(text.str());
  if (!in.good() && text.str().empty()) return {"cannot be read"};
  for (const auto& error : parsed.errors) {
    return {"line " + std::to_string(error.mark.line) + ": " + error.message};
  }
  if (parsed.documents.size() != 1 || !parsed.documents[0].root) return {"not one YAML document"};
  const auto steps = yaml::to_json(*parsed.documents[0].root);
  if (!steps || !steps->is_array()) return {"not a list of steps"};

  w_.start_server();
  w_.start_node();
  w_.start_proxy();
  w_.loop.advance(seconds(1));
  std::size_t n = 0;
  for (const auto& step : steps->get_array()) {
    ++n;
    bool good = carry_out(step);
    if (good && !w_.violations.empty()) good = fail(w_.violations.front());
    if (good) continue;
    return {"step " + std::to_string(n) + " " + json::print(step) + ":\n  " + why_};
  }
  w_.heal();
  const std::string when = "after the last step";
  if (world::come_to_rest(w_, when)) world::check_rest(w_, when);
  return w_.violations;
}

}  // namespace

std::vector<std::string> run(const std::string& path) {
  auto scenario = std::make_unique<Scenario>();
  return scenario->run(path);
}

}  // namespace knit::scenario
