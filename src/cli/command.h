// One subcommand of `knit`. Others are added in app/commands.cc; only parse.cc knows CLI11.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cli/settings.h"

namespace knit::cli {

struct Flag {
  std::string name;  // "purge" → --purge
  std::string help;
  /// Optional: `--fix`, or `--fix=patch`; without a value it is "true".
  enum class Kind { Switch, Value, List, Optional } kind = Kind::Switch;
  std::string default_value = {};
  bool required = false;
  char letter = 0;  // 'o' → -o too
};
struct Argument {
  std::string name;
  std::string help;
  bool required = true;
  bool many = false;  // takes all that remain
};

struct Invocation {
  std::map<std::string, std::vector<std::string>> values;  // flags and arguments by name
  Sources sources;                                         // flags that are settings, environment
  std::string executable;                                  // path of this `knit`

  bool has(const std::string& name) const { return values.count(name) != 0; }
  std::string text(const std::string& name) const {
    const auto it = values.find(name);
    return it == values.end() || it->second.empty() ? std::string() : it->second.front();
  }
};

struct Command {
  std::string name;  // "up", "cert root": words nest
  std::string help;
  std::vector<Argument> arguments = {};
  std::vector<Flag> flags = {};
  /// Which settings it takes as flags; {"*"}: all of them.
  std::vector<std::string> settings = {};
  bool hidden = false;
  int usage_status = 64;  // of a command line that cannot be parsed
  std::function<int(const Invocation&)> run = {};  // returns the exit status
};

/// up, down, status, version.
std::vector<Command> base_commands();

/// Parses and runs; errors go to standard error with a usage line, exit status 64.
int run_command_line(int argc, const char* const* argv,
                     const std::map<std::string, std::string>& environment,
                     const std::vector<Command>& commands);

/// Settings of an invocation: resolve() with the config file that --config or KNIT_CONFIG names
/// (else /etc/knit/knit.conf if there is one).
Result<Settings> settings_of(const Invocation& in);

/// "error: ..." on standard error; returns `status`.
int fail(const std::string& message, int status = 1);

}  // namespace knit::cli
