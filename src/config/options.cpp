#include "config/options.hpp"

#include <toml++/toml.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <tl/expected.hpp>

#include "config/duration.hpp"

namespace gordian::config {
namespace {

enum class Type { text, list, boolean, count, number, duration };

/// A type as it is called in --help and in messages about the file.
struct TypeNames {
  const char* in_help;
  const char* in_file;
};
constexpr TypeNames names(Type type) {
  switch (type) {
    case Type::text: return {"TEXT", "a string"};
    case Type::list: return {"TEXT (may be repeated)", "an array of strings"};
    case Type::boolean: return {"true|false", "true or false"};
    case Type::count: return {"NUMBER", "a whole number, not negative"};
    case Type::number: return {"NUMBER", "a number"};
    case Type::duration: return {"DURATION", "a duration in quotes, such as \"100ms\", \"2s\" or \"0\""};
  }
  return {"TEXT", "a string"};
}

struct Option {
  std::string name;
  std::string help;
  Type type;
  /// Reads the text into the variable; empty, or what is wrong with the text.
  std::function<std::string(const std::string&)> assign;
  /// The variable as assign() reads it.
  std::function<std::string()> show;
  std::string source = "default";
};

std::string flag_name(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

std::string environment_name(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
  return "GORDIAN_" + name;
}

template <class T>
tl::expected<T, std::string> parse_number(const std::string& text, Type type) {
  T value{};
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool fits = error == std::errc{} && rest == text.data() + text.size();
  if constexpr (std::is_floating_point_v<T>) fits = fits && std::isfinite(value);
  if (!fits) return tl::unexpected("\"" + text + "\" was given, expected " + names(type).in_file);
  return value;
}

tl::expected<bool, std::string> parse_boolean(const std::string& text) {
  if (text == "true" || text == "1" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "0" || text == "no" || text == "off") return false;
  return tl::unexpected("\"" + text + "\" was given, expected true or false");
}

/// Given as flags (joined by line ends) or as one text.
std::vector<std::string> parts_of(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < text.size();) {
    const auto begin = text.find_first_not_of(", \n", at);
    if (begin == std::string::npos) break;
    at = std::min(text.find_first_of(",\n", begin), text.size());
    parts.push_back(text.substr(begin, at - begin));
  }
  return parts;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const auto& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

/// Nothing if it is no array of strings.
std::optional<std::string> list_text(const toml::node& node) {
  const auto* array = node.as_array();
  if (array == nullptr) return std::nullopt;
  std::vector<std::string> parts;
  for (const auto& element : *array) {
    if (!element.is_string()) return std::nullopt;
    parts.push_back(element.as_string()->get());
  }
  return joined(parts);
}

std::string show_number(double value) {
  std::ostringstream text;
  text.precision(15);
  text << value;
  return text.str();
}

/// Parses, checks, and only then changes the variable.
template <class T, class Parse>
std::function<std::string(const std::string&)> assign_with(T& value, Check<T> check, Parse parse) {
  return [&value, check = std::move(check), parse](const std::string& text) -> std::string {
    tl::expected<T, std::string> parsed = parse(text);
    if (!parsed) return parsed.error();
    if (check)
      if (auto wrong = check(*parsed); !wrong.empty()) return wrong;
    value = *std::move(parsed);
    return {};
  };
}

/// A value of the file as the text that Option::assign reads; nothing if it has another type.
std::optional<std::string> text_of(const toml::node& node, Type type) {
  switch (type) {
    case Type::text:
    case Type::duration:
      if (const auto* text = node.as_string()) return text->get();
      // `publish_after = 0` needs no unit.
      if (type == Type::duration && node.is_integer() && node.as_integer()->get() == 0) return "0";
      return std::nullopt;
    case Type::list:
      if (const auto* text = node.as_string()) return text->get();
      return list_text(node);
    case Type::boolean:
      if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
      return std::nullopt;
    case Type::number:
      if (const auto* number = node.as_floating_point()) return show_number(number->get());
      [[fallthrough]];
    case Type::count:
      if (const auto* number = node.as_integer()) return std::to_string(number->get());
      return std::nullopt;
  }
  return std::nullopt;
}

std::string kind_of(const toml::node& node) {
  std::ostringstream text;
  text << node.type();
  return text.str();
}

std::string toml_text(const Option& option) {
  std::string shown = option.show();
  if (option.type != Type::text && option.type != Type::list && option.type != Type::duration) return shown;
  std::ostringstream text;
  const toml::value<std::string> value(without_password(shown));
  text << toml::toml_formatter(value, toml::format_flags::none);
  return text.str();
}

/// What is wrong, as a sentence ready to be shown.
struct ConfigError {
  std::string message;
};

}  // namespace

class Options::Impl {
 public:
  Impl(std::string program, std::string version, std::string description)
      : program_(std::move(program)), version_(std::move(version)), description_(std::move(description)) {}

  void add(Option option) { options_.push_back(std::move(option)); }

  Outcome parse(const std::vector<std::string>& arguments) {
    CLI::App app(description_, program_);
    // So that CLI11 never sees a variable of ours: all layers go through Option::assign in one order.
    std::vector<std::string> flags(options_.size());
    bool check_only = false, print = false;
    std::string file;
    declare(app, flags, check_only, print, file);
    try {
      app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them backwards
    } catch (const CLI::CallForHelp&) {
      return {0, app.help(), {}};
    } catch (const CLI::CallForVersion&) {
      return {0, program_ + " " + version_ + "\n", {}};
    } catch (const CLI::ParseError& error) {
      return {2, {}, refusal(error.what()) + "Run '" + program_ + " --help' for the options.\n"};
    }
    try {
      apply_file(file);
      apply_environment();
      apply_flags(app, flags);
      for (const auto& all_fit : checks_)
        if (auto wrong = all_fit(); !wrong.empty()) throw ConfigError{wrong};
    } catch (const ConfigError& error) {
      return {2, {}, refusal(error.message)};
    }
    if (print) return {0, effective(), {}};
    if (check_only) return {0, "ok\n", {}};
    return {};
  }

  std::vector<std::function<std::string()>> checks_;

 private:
  std::string refusal(const std::string& message) const { return program_ + ": " + message + "\n"; }

  void declare(CLI::App& app, std::vector<std::string>& flags, bool& check_only, bool& print, std::string& file) const {
    app.set_help_flag("-h,--help", "print this text and exit");
    app.set_version_flag("--version", version_, "print the version and exit");
    app.add_option("--config", file, "read settings from this TOML file")->type_name("FILE")->envname("GORDIAN_CONFIG");
    app.add_flag("--check-config", check_only, "check the settings, print \"ok\" and exit");
    app.add_flag("--print-config", print, "print the settings in effect and where each came from, and exit");
    for (std::size_t i = 0; i < options_.size(); ++i) {
      const Option& option = options_[i];
      const std::string standard = option.show();
      auto* added = option.type == Type::boolean ? app.add_flag(flag_name(option.name), flags[i])
                                                 : app.add_option(flag_name(option.name), flags[i]);
      added->type_name(std::string(names(option.type).in_help));
      added->description(option.help + " (default " + (standard.empty() ? "none" : standard) + ")");
      added->multi_option_policy(option.type == Type::list ? CLI::MultiOptionPolicy::Join
                                                           : CLI::MultiOptionPolicy::TakeLast);
    }
    app.footer(
        "Each option can also be given in the environment (--log-level as GORDIAN_LOG_LEVEL) and in the "
        "file\n"
        "(log_level = \"info\"). A flag goes before the environment, that before the file, that before the "
        "default.");
  }

  Option* find(std::string_view name) {
    for (auto& option : options_)
      if (option.name == name) return &option;
    return nullptr;
  }

  /// `where` opens the message if the text cannot be used.
  static void assign(Option& option, const std::string& text, const std::string& source, const std::string& where) {
    if (auto wrong = option.assign(text); !wrong.empty()) throw ConfigError{where + ": " + wrong};
    option.source = source;
  }

  void apply_file(const std::string& path) {
    if (path.empty()) return;
    toml::table table;
    try {
      table = toml::parse_file(path);
    } catch (const toml::parse_error& error) {
      // Line 0: the file could not be opened.
      const auto line = error.source().begin.line;
      throw ConfigError{path + (line ? ":" + std::to_string(line) : "") + ": " + std::string(error.description()) +
                        "; expected a readable TOML file"};
    }
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      const std::string place = path + ":" + std::to_string(key.source().begin.line);
      Option* option = find(name);
      if (!option) throw ConfigError{place + ": unknown key \"" + name + "\"; expected one of: " + known()};
      const auto text = text_of(node, option->type);
      if (!text)
        throw ConfigError{place + ": " + name + ": " + kind_of(node) + " was given, expected " +
                          names(option->type).in_file};
      assign(*option, *text, "file " + place, place + ": " + name);
    }
  }

  void apply_environment() {
    for (auto& option : options_) {
      const std::string name = environment_name(option.name);
      if (const char* text = std::getenv(name.c_str())) assign(option, text, "environment " + name, name);
    }
  }

  void apply_flags(const CLI::App& app, const std::vector<std::string>& flags) {
    for (std::size_t i = 0; i < options_.size(); ++i) {
      const std::string name = flag_name(options_[i].name);
      if (app.count(name) > 0) assign(options_[i], flags[i], "flag " + name, name);
    }
  }

  std::string known() const {
    std::string list;
    for (const auto& option : options_) list += (list.empty() ? "" : ", ") + option.name;
    return list;
  }

  std::string effective() const {
    std::string text = "# " + program_ + " " + version_ + ": the settings in effect\n";
    for (const auto& option : options_) text += option.name + " = " + toml_text(option) + "  # " + option.source + "\n";
    return text;
  }

  std::string program_, version_, description_;
  std::vector<Option> options_;
};

Options::Options(std::string program, std::string version, std::string description)
    : impl_(std::make_unique<Impl>(std::move(program), std::move(version), std::move(description))) {}
Options::~Options() = default;

void Options::add(std::string name, std::string& value, std::string help, Check<std::string> check) {
  const auto parse = [](const std::string& text) { return tl::expected<std::string, std::string>(text); };
  impl_->add({std::move(name), std::move(help), Type::text, assign_with(value, std::move(check), parse),
              [&value] { return value; }});
}

void Options::add(std::string name, std::vector<std::string>& value, std::string help, Check<std::string> check) {
  const auto assign = [&value, check = std::move(check)](const std::string& text) -> std::string {
    auto parts = parts_of(text);
    for (const auto& part : parts)
      if (auto wrong = check ? check(part) : std::string(); !wrong.empty()) return wrong;
    value = std::move(parts);
    return {};
  };
  impl_->add({std::move(name), std::move(help), Type::list, assign, [&value] { return joined(value); }});
}

void Options::add(std::string name, bool& value, std::string help) {
  impl_->add({std::move(name), std::move(help), Type::boolean, assign_with(value, Check<bool>{}, parse_boolean),
              [&value] { return std::string(value ? "true" : "false"); }});
}

void Options::add(std::string name, std::uint64_t& value, std::string help, Check<std::uint64_t> check) {
  const auto parse = [](const std::string& text) { return parse_number<std::uint64_t>(text, Type::count); };
  impl_->add({std::move(name), std::move(help), Type::count, assign_with(value, std::move(check), parse),
              [&value] { return std::to_string(value); }});
}

void Options::add(std::string name, double& value, std::string help, Check<double> check) {
  const auto parse = [](const std::string& text) { return parse_number<double>(text, Type::number); };
  impl_->add({std::move(name), std::move(help), Type::number, assign_with(value, std::move(check), parse),
              [&value] { return show_number(value); }});
}

void Options::add(std::string name, std::chrono::microseconds& value, std::string help,
                  Check<std::chrono::microseconds> check) {
  impl_->add({std::move(name), std::move(help), Type::duration, assign_with(value, std::move(check), parse_duration),
              [&value] { return to_text(value); }});
}

void Options::add(std::string name, std::chrono::milliseconds& value, std::string help,
                  Check<std::chrono::microseconds> check) {
  using std::chrono::milliseconds;
  const auto assign = [&value, check = std::move(check)](const std::string& text) -> std::string {
    const auto parsed = parse_duration(text);
    if (!parsed) return parsed.error();
    if (check)
      if (auto wrong = check(*parsed); !wrong.empty()) return wrong;
    const auto whole = std::chrono::duration_cast<milliseconds>(*parsed);
    if (whole != *parsed) return "\"" + text + "\" was given, expected whole milliseconds";
    value = whole;
    return {};
  };
  impl_->add({std::move(name), std::move(help), Type::duration, assign, [&value] { return to_text(value); }});
}

void Options::check(std::function<std::string()> all_fit) { impl_->checks_.push_back(std::move(all_fit)); }

Outcome Options::parse(const std::vector<std::string>& arguments) { return impl_->parse(arguments); }

std::optional<int> Options::parse_or_exit(int argc, const char* const* argv) {
  const Outcome outcome = parse(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
  std::cout << outcome.out << std::flush;
  std::cerr << outcome.err << std::flush;
  return outcome.exit_code;
}

Check<std::string> one_of(std::vector<std::string> allowed) {
  return [allowed = std::move(allowed)](const std::string& text) -> std::string {
    if (std::find(allowed.begin(), allowed.end(), text) != allowed.end()) return {};
    std::string list;
    for (const auto& name : allowed) list += (list.empty() ? "" : ", ") + name;
    return "\"" + text + "\" was given, expected one of: " + list;
  };
}

Check<std::uint64_t> between(std::uint64_t least, std::uint64_t most) {
  return [least, most](const std::uint64_t& value) -> std::string {
    if (least <= value && value <= most) return {};
    return std::to_string(value) + " was given, expected " + std::to_string(least) + " to " + std::to_string(most);
  };
}

Check<std::chrono::microseconds> between(std::chrono::microseconds least, std::chrono::microseconds most) {
  return [least, most](const std::chrono::microseconds& value) -> std::string {
    if (least <= value && value <= most) return {};
    return "\"" + to_text(value) + "\" was given, expected " + to_text(least) + " to " + to_text(most);
  };
}

std::string without_password(std::string_view text) {
  std::string masked(text);
  // "password=secret", "password = 'se cret'" and "sslpassword=…" of libpq's keyword form and of URL
  // parameters.
  for (std::size_t at = 0; (at = masked.find("password", at)) != std::string::npos;) {
    std::size_t begin = masked.find_first_not_of(' ', at + 8);
    if (begin == std::string::npos || masked[begin] != '=') {
      at += 8;
      continue;
    }
    begin = std::min(masked.find_first_not_of(' ', begin + 1), masked.size());
    std::size_t end = begin;
    if (begin < masked.size() && masked[begin] == '\'') {
      for (++end; end < masked.size() && masked[end] != '\''; ++end)
        if (masked[end] == '\\') ++end;
      end = std::min(end + 1, masked.size());
    } else {
      end = std::min(masked.find_first_of(" &", begin), masked.size());
    }
    masked.replace(begin, end - begin, "***");
    at = begin + 3;
  }
  // "scheme://user:secret@host".
  const std::size_t scheme = masked.find("://");
  if (scheme != std::string::npos) {
    const std::size_t host_end = std::min(masked.find_first_of("/?", scheme + 3), masked.size());
    const std::size_t user_end = masked.rfind('@', host_end);
    const std::size_t colon = masked.find(':', scheme + 3);
    if (user_end != std::string::npos && user_end > scheme && colon < user_end)
      masked.replace(colon + 1, user_end - colon - 1, "***");
  }
  return masked;
}

}  // namespace gordian::config
