// A program's settings in layers: flag > environment > TOML file > default. Every setting is declared once,
// with the name `abort_grace`, and can be given as flag --abort-grace, as GORDIAN_ABORT_GRACE, or as key
// abort_grace in the file named by --config FILE (or GORDIAN_CONFIG).
//
// Every program also gets --help, --version, --check-config and --print-config. The command line `gordian`,
// which has subcommands and no file, does not use this.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gordian::config {

/// Empty if the value can be used, else what is wrong with it and what was expected.
template <class T>
using Check = std::function<std::string(const T&)>;

[[nodiscard]] Check<std::string> one_of(std::vector<std::string> names);
[[nodiscard]] Check<std::uint64_t> between(std::uint64_t least, std::uint64_t most);
/// Also accepted for options in milliseconds.
[[nodiscard]] Check<std::chrono::microseconds> between(std::chrono::microseconds least, std::chrono::microseconds most);

/// What came of the arguments. Without `exit_code` the program goes on; else it prints both texts and ends
/// with it.
struct Outcome {
  std::optional<int> exit_code;  ///< 0 after --help, --version, --print-config, --check-config; 2 after bad input
  std::string out;               ///< for stdout
  std::string err;               ///< for stderr: what is wrong, where, and what was expected
};

/// Declares the settings, then reads them. Borrows the variables: their values are the defaults when they are
/// added and the settings once parse() said "go on"; they must outlive this object. Not thread-safe.
class Options {
 public:
  Options(std::string program, std::string version, std::string description);
  ~Options();
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  /// `name` is lower case with underscores; `help` one line without a final full stop.
  void add(std::string name, std::string& value, std::string help, Check<std::string> check = {});
  /// A flag that may be repeated; in the environment separated by commas, in the file an array. `check` is for each.
  void add(std::string name, std::vector<std::string>& value, std::string help, Check<std::string> check = {});
  void add(std::string name, bool& value, std::string help);
  void add(std::string name, std::uint64_t& value, std::string help, Check<std::uint64_t> check = {});
  void add(std::string name, double& value, std::string help, Check<double> check = {});
  void add(std::string name, std::chrono::microseconds& value, std::string help,
           Check<std::chrono::microseconds> check = {});
  void add(std::string name, std::chrono::milliseconds& value, std::string help,
           Check<std::chrono::microseconds> check = {});

  /// Checked last, when every setting has its value: for settings that must fit each other.
  void check(std::function<std::string()> all_fit);

  /// `arguments` without the program's name. Reads the environment and the file; prints nothing.
  [[nodiscard]] Outcome parse(const std::vector<std::string>& arguments);

  /// parse(), with the texts printed. Returns the exit code if the program shall end now.
  [[nodiscard]] std::optional<int> parse_or_exit(int argc, const char* const* argv);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// `text` (a connection string, a URL) with the password in it replaced by "***": for logs and
/// --print-config.
[[nodiscard]] std::string without_password(std::string_view text);

}  // namespace gordian::config
