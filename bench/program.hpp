// What every benchmark's main does: options, the format of what it shows, exit codes. Figures are the program's own.
#pragma once

#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace gordian::bench {

/// `--format`: table or json.
void add_format(CLI::App& app, std::string& format);
/// `--role` and `--endpoint`, not shown: as what the program starts itself.
void add_role(CLI::App& app, std::string& role, std::string& endpoint);
/// The exit code, if the program is to end here: help was asked for (0), or the usage is wrong (2).
[[nodiscard]] std::optional<int> parsed(CLI::App& app, int argc, char** argv);

/// Calls `run`; what it throws is told, under the program's name. 1 then.
[[nodiscard]] int run_program(const char* name, int (*run)(int, char**), int argc, char** argv);

}  // namespace gordian::bench
