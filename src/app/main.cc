// The `knit` executable.
#include <sys/stat.h>
#include <unistd.h>

#include "app/commands.h"

int main(int argc, char** argv) {
  umask(022);  // whatever root's own is: files state their modes, directories are entered by others
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
