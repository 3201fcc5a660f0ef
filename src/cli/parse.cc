// The only file that includes CLI11.
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>

#include "cli/command.h"

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#include <CLI/CLI.hpp>
#pragma clang diagnostic pop

namespace knit::cli {
namespace {

/// CLI11 writes into these; they live until the command has run.
struct Slot {
  std::map<std::string, std::vector<std::string>> values;
  std::map<std::string, bool> switches;
  std::map<std::string, std::string> settings;
};

std::string misspelt(const std::vector<std::string>& extras, const Command* c,
                     const std::vector<Command>& commands) {
  for (const std::string& e : extras) {
    std::vector<std::string> known;
    std::string word = e;
    if (c == nullptr) {
      for (const auto& k : commands) {
        if (!k.hidden) known.push_back(k.name.substr(0, k.name.find(' ')));
      }
    } else if (e.compare(0, 2, "--") == 0) {
      word = e.substr(2, e.find('=') == std::string::npos ? std::string::npos : e.find('=') - 2);
      for (const auto& f : c->flags) known.push_back(f.name);
      for (const auto& row : setting_table()) known.emplace_back(row.name);
    }
    const std::string near = nearest(word, known);
    const std::string dashes = c == nullptr ? "" : "--";
    return "unknown " + std::string(c == nullptr ? "command " : "argument ") + e +
           (near.empty() ? "" : ", did you mean " + dashes + near + "?");
  }
  return {};
}

void add_settings(CLI::App& app, const Command& c, Slot& slot) {
  if (c.settings.empty()) return;
  app.add_option("--config", slot.values["config"], "config file (key: value lines)")
      ->expected(1)
      ->allow_extra_args(false)
      ->group("Settings");
  for (const Setting& row : setting_table()) {
    const bool taken = c.settings[0] == "*" || std::find(c.settings.begin(), c.settings.end(),
                                                         row.name) != c.settings.end();
    if (!taken) continue;
    const std::string value = value_text(Settings(), row);
    app.add_option(std::string("--") + row.name, slot.settings[row.name],
                   row.help + (value.empty() ? std::string() : " [" + value + "]"))
        ->take_last()
        ->group("Settings");
  }
}

void add_options(CLI::App& app, const Command& c, Slot& slot) {
  for (const Argument& a : c.arguments) {
    auto* option = app.add_option(a.name, slot.values[a.name], a.help);
    option->required(a.required);
    if (a.many) {
      option->expected(a.required ? 1 : 0, 1 << 20);
    } else {
      option->expected(a.required ? 1 : 0, 1)->allow_extra_args(false);
    }
  }
  for (const Flag& f : c.flags) {
    if (f.kind == Flag::Kind::Switch) {
      app.add_flag("--" + f.name, slot.switches[f.name], f.help);
      continue;
    }
    if (f.kind == Flag::Kind::Optional) {
      app.add_flag("--" + f.name + "{true}", slot.values[f.name], f.help)->take_last();
      continue;
    }
    const std::string names =
        (f.letter == 0 ? std::string() : std::string("-") + f.letter + ",") + "--" + f.name;
    auto* option = app.add_option(names, slot.values[f.name], f.help);
    option->required(f.required);
    if (f.kind == Flag::Kind::Value) option->expected(1);
    if (f.kind == Flag::Kind::List) option->take_all();
    option->allow_extra_args(false);  // `--flag a b`: b is an argument
  }
}

}  // namespace

int fail(const std::string& message, int status) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return status;
}

Result<Settings> settings_of(const Invocation& in) {
  Sources from = in.sources;
  from.config_path = in.text("config");
  const auto named = from.environment.find("KNIT_CONFIG");
  bool required = !from.config_path.empty();
  if (!required && named != from.environment.end()) {
    from.config_path = named->second;
    required = true;
  }
  if (!required) from.config_path = "/etc/knit/knit.conf";
  const std::ifstream file(from.config_path);
  if (file) {
    std::ostringstream text;
    text << file.rdbuf();
    from.config = text.str();
  } else if (required) {
    return Error(Code::NotFound, "config file " + from.config_path + " cannot be read");
  }
  return resolve(from);
}

int run_command_line(int argc, const char* const* argv,
                     const std::map<std::string, std::string>& environment,
                     const std::vector<Command>& commands) {
  CLI::App app("Knit: serverless inside a strict-mTLS mesh, speaking the Kubernetes API", "knit");
  app.require_subcommand(1);
  std::map<std::string, CLI::App*> groups;
  std::map<CLI::App*, const Command*> by_app;
  std::map<const Command*, std::unique_ptr<Slot>> slots;
  for (const Command& c : commands) {
    CLI::App* parent = &app;
    std::string name = c.name;
    for (std::size_t space; (space = name.find(' ')) != std::string::npos;) {
      const std::string group = c.name.substr(0, c.name.size() - name.size() + space);
      if (groups.count(group) == 0) {
        groups[group] = parent->add_subcommand(name.substr(0, space), "");
        groups[group]->require_subcommand(1);
      }
      parent = groups[group];
      name = name.substr(space + 1);
    }
    CLI::App* sub = parent->add_subcommand(name, c.help);
    if (c.hidden) sub->group("");
    auto& slot = slots[&c] = std::make_unique<Slot>();
    add_options(*sub, c, *slot);
    add_settings(*sub, c, *slot);
    by_app[sub] = &c;
  }
  const Command* chosen = nullptr;
  const auto find_chosen = [&] {
    for (CLI::App* at = &app; at != nullptr;) {
      const auto it = by_app.find(at);
      if (it != by_app.end()) chosen = it->second;
      const auto subs = at->get_subcommands();
      at = subs.empty() ? nullptr : subs.front();
    }
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    find_chosen();
    std::vector<std::string> extras = app.remaining(true);
    if (chosen == nullptr && extras.empty()) {
      for (int i = 1; i < argc; ++i) extras.emplace_back(argv[i]);
    }
    const std::string hint = misspelt(extras, chosen, commands);
    const std::string usage =
        chosen == nullptr ? "knit --help" : "knit " + chosen->name + " --help";
    return fail((hint.empty() ? std::string(e.what()) : hint) + "\nSee `" + usage + "`.",
                chosen == nullptr ? 64 : chosen->usage_status);
  }
  find_chosen();
  if (chosen == nullptr) return fail("no command", 64);
  Slot& slot = *slots[chosen];
  Invocation in;
  in.sources.environment = environment;
  for (auto& [name, value] : slot.values) {
    if (!value.empty()) in.values[name] = value;
  }
  for (const Flag& f : chosen->flags) {
    if (!f.default_value.empty() && !in.has(f.name)) in.values[f.name] = {f.default_value};
  }
  for (const auto& [name, on] : slot.switches) {
    if (on) in.values[name] = {"true"};
  }
  for (const auto& [app_pointer, command] : by_app) {
    if (command != chosen) continue;
    for (const auto& [name, value] : slot.settings) {
      if (app_pointer->count("--" + name) > 0) in.sources.flags[name] = value;
    }
  }
  std::error_code error;
  in.executable = std::filesystem::read_symlink("/proc/self/exe", error).string();
  return chosen->run(in);
}

}  // namespace knit::cli
