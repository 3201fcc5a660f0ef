// The `knit` executable.
#include <unistd.h>

#include "app/commands.h"



int main(int argc, char** argv) {
  std::map<std::string, std::string> environment;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string entry = *e;
    const auto equals = entry.find('=');
    if (equals != std::string::npos) {
      environment[entry.substr(0, equals)] = entry.substr(equals + 1);
    }
  }
  return knit::cli::run_command_line(argc, argv, environment, knit::app::all_commands());
}
