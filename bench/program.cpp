#include "program.hpp"

#include <CLI/CLI.hpp>
#include <iostream>

namespace gordian::bench {

void add_format(CLI::App& app, std::string& format) {
  app.add_option("--format", format, "table or json")->check(CLI::IsMember({"table", "json"}));
}

void add_role(CLI::App& app, std::string& role, std::string& endpoint) {
  app.add_option("--role", role)->group("");
  app.add_option("--endpoint", endpoint)->group("");
}

std::optional<int> parsed(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return std::nullopt;
}

int run_program(const char* name, int (*run)(int, char**), int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << "\n";
    return 1;
  }
}

}  // namespace gordian::bench
