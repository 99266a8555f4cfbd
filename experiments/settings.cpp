// The settings' names, how their values are read and shown, and which of them fit each other.
#include "experiments/settings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "detect/victims.hpp"

namespace gordian::experiments {
namespace {

template <class Enum>
struct Named {
  Enum value;
  std::string_view name;
};

constexpr std::array strategies{Named<Strategy>{Strategy::detection, "detection"},
                                Named<Strategy>{Strategy::periodic, "periodic"},
                                Named<Strategy>{Strategy::detection_timeout, "detection_timeout"},
                                Named<Strategy>{Strategy::edge_chasing, "edge_chasing"},
                                Named<Strategy>{Strategy::timeout, "timeout"},
                                Named<Strategy>{Strategy::no_wait, "no_wait"},
                                Named<Strategy>{Strategy::wait_die, "wait_die"},
                                Named<Strategy>{Strategy::wound_wait, "wound_wait"},
                                Named<Strategy>{Strategy::ordered, "ordered"},
                                Named<Strategy>{Strategy::lease, "lease"}};
constexpr std::array accesses{Named<Access>{Access::uniform, "uniform"}, Named<Access>{Access::zipf, "zipf"},
                              Named<Access>{Access::hot_set, "hot_set"}, Named<Access>{Access::ycsb, "ycsb"},
                              Named<Access>{Access::tpcc, "tpcc"},       Named<Access>{Access::trace, "trace"}};
constexpr std::array time_shapes{Named<TimeShape>{TimeShape::exponential, "exponential"},
                                 Named<TimeShape>{TimeShape::fixed, "fixed"}};
constexpr std::array delay_shapes{Named<DelayShape>{DelayShape::exponential, "exponential"},
                                  Named<DelayShape>{DelayShape::fixed, "fixed"},
                                  Named<DelayShape>{DelayShape::adaptive, "adaptive"}};

template <class Enum>
constexpr const auto& names_of() {
  if constexpr (std::is_same_v<Enum, Strategy>) {
    return strategies;
  } else if constexpr (std::is_same_v<Enum, Access>) {
    return accesses;
  } else if constexpr (std::is_same_v<Enum, TimeShape>) {
    return time_shapes;
  } else {
    return delay_shapes;
  }
}
template <class Enum>
std::string_view name_in(Enum value) {
  for (const auto& each : names_of<Enum>())
    if (each.value == value) return each.name;
  return "?";
}

struct Range {
  double least = 0;
  double most = 1e9;
};

using Member = std::variant<std::uint64_t Settings::*, double Settings::*, bool Settings::*, std::string Settings::*,
                            Strategy Settings::*, Access Settings::*, TimeShape Settings::*, DelayShape Settings::*>;

struct Field {
  std::string_view name;
  std::string_view meaning;
  Member member;
  Range range{};
};

constexpr double some = 1e-6;  // what must be more than nothing: a tick of the model's clock

const std::vector<Field>& fields() {
  using S = Settings;
  static const std::vector<Field> all{
      {"mpl", "transactions at a time", &S::mpl, {1, 100'000}},
      {"terminals", "who submit them; 0: as many as mpl", &S::terminals, {0, 100'000}},
      {"arrival_rate", "of an open system, per unit; 0: closed", &S::arrival_rate, {0, 1e4}},
      {"think_time", "mean, of a terminal between transactions", &S::think_time},
      {"locks", "lock steps of a transaction", &S::locks, {1, 1000}},
      {"locks_spread", "uniform in locks ± this", &S::locks_spread, {0, 999}},
      {"objects", "lockable objects", &S::objects, {1, resources_max}},
      {"exclusive", "share of the lock steps that write", &S::exclusive, {0, 1}},
      {"replacement", "an object may be drawn twice", &S::replacement},
      {"upgrades", "what is written is read first", &S::upgrades},
      {"ordered_share", "transactions that ask in ascending order", &S::ordered_share, {0, 1}},
      {"access", "which objects", &S::access},
      {"theta", "skew of zipf", &S::theta, {0, 0.999}},
      {"hot_share", "of the objects, for hot_set", &S::hot_share, {some, 1}},
      {"hot_probability", "of an access to the hot set", &S::hot_probability, {0, 1}},
      {"ycsb_mix", "a, b, c or f", &S::ycsb_mix},
      {"warehouses", "of tpcc", &S::warehouses, {1, warehouses_max}},
      {"trace", "file of a recorded trace", &S::trace},
      {"step_time", "mean, before each lock and before commit", &S::step_time},
      {"step_shape", "exponential or fixed", &S::step_shape},
      {"cpus", "0: unlimited", &S::cpus, {0, 100'000}},
      {"disks", "0: unlimited", &S::disks, {0, 100'000}},
      {"cpu_time", "after each lock", &S::cpu_time},
      {"disk_time", "after each lock, and at commit for each write", &S::disk_time},
      {"restart_delay", "mean, before a victim starts again", &S::restart_delay},
      {"restart_shape", "exponential, fixed or adaptive", &S::restart_shape},
      {"restart_growth", "the delay's factor for each restart", &S::restart_growth, {1, 10}},
      {"restart_other", "a victim asks for other objects", &S::restart_other},
      {"strategy", "what is done about deadlocks", &S::strategy},
      {"timeout", "of a wait", &S::timeout, {some, 1e6}},
      {"timeout_growth", "factor for each restart", &S::timeout_growth, {1, 10}},
      {"timeout_jitter", "uniform ± this share", &S::timeout_jitter, {0, 1}},
      {"period", "of detection", &S::period, {some, 1e6}},
      {"policy", "who is the victim", &S::policy},
      {"sites", "that objects and detection are spread over", &S::sites, {1, 64}},
      {"delay", "of a message", &S::delay, {0, 1e6}},
      {"jitter", "mean of an exponential addition to it", &S::jitter, {0, 1e6}},
      {"requests_travel", "lock requests are messages too", &S::requests_travel},
      {"probe_again", "a wait that stays is probed again after this", &S::probe_again, {some, 1e6}},
      {"probe_filter", "probes pass smaller ids only", &S::probe_filter},
      {"lease", "0: none", &S::lease, {0, 1e6}},
      {"pause_rate", "pauses of a client per unit", &S::pause_rate, {0, 1e3}},
      {"pause_length", "mean", &S::pause_length, {0, 1e6}},
      {"warmup", "units before anything is measured", &S::warmup},
      {"duration", "units that are measured", &S::duration, {some, 1e9}},
      {"commits", "end after so many; 0: after duration", &S::commits, {0, 1e12}},
      {"unit_ms", "milliseconds per unit of a live run", &S::unit_ms, {0.001, 1e6}},
  };
  return all;
}

const Field* find(std::string_view name) {
  const auto at = std::ranges::find(fields(), name, &Field::name);
  return at == fields().end() ? nullptr : &*at;
}

std::string show(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

std::string show(const SettingValue& value) {
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return std::to_string(*whole);
  if (const auto* number = std::get_if<double>(&value)) return show(*number);
  return "\"" + std::get<std::string>(value) + "\"";
}

tl::unexpected<std::string> expected(const SettingValue& value, const std::string& what) {
  return tl::unexpected(show(value) + " was given, expected " + what);
}

std::optional<double> number(const SettingValue& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return static_cast<double>(*whole);
  if (const auto* real = std::get_if<double>(&value)) return *real;
  return std::nullopt;
}

/// Assigns a checked value, by the setting's type.
struct Assign {
  Settings& settings;
  const Field& field;
  const SettingValue& value;
  using Done = tl::expected<void, std::string>;

  [[nodiscard]] std::string range() const { return show(field.range.least) + " to " + show(field.range.most); }
  [[nodiscard]] std::string whole_range() const {
    return std::to_string(std::llround(field.range.least)) + " to " + std::to_string(std::llround(field.range.most));
  }
  [[nodiscard]] bool fits(double number) const { return number >= field.range.least && number <= field.range.most; }

  Done operator()(std::uint64_t Settings::*member) const {
    const auto* whole = std::get_if<std::int64_t>(&value);
    if (whole == nullptr || !fits(static_cast<double>(*whole)))
      return expected(value, "a whole number, " + whole_range());
    settings.*member = static_cast<std::uint64_t>(*whole);
    return {};
  }
  Done operator()(double Settings::*member) const {
    const auto given = number(value);
    if (!given || !fits(*given)) return expected(value, "a number, " + range());
    settings.*member = *given;
    return {};
  }
  Done operator()(bool Settings::*member) const {
    const auto* given = std::get_if<bool>(&value);
    if (given == nullptr) return expected(value, "true or false");
    settings.*member = *given;
    return {};
  }
  Done operator()(std::string Settings::*member) const {
    const auto* given = std::get_if<std::string>(&value);
    if (given == nullptr) return expected(value, "a string");
    if (field.name == "policy" && !detect::parse_policy(*given))
      return expected(value, "one of: " + detect::policy_names());
    if (field.name == "ycsb_mix" && *given != "a" && *given != "b" && *given != "c" && *given != "f")
      return expected(value, "one of: a, b, c, f");
    settings.*member = *given;
    return {};
  }
  template <class Enum>
  Done operator()(Enum Settings::*member) const {
    const auto* given = std::get_if<std::string>(&value);
    std::string list;
    for (const auto& each : names_of<Enum>()) {
      if (given != nullptr && each.name == *given) {
        settings.*member = each.value;
        return {};
      }
      list.append(list.empty() ? "" : ", ").append(each.name);
    }
    return expected(value, "one of: " + list);
  }
};

struct Show {
  const Settings& settings;
  std::string operator()(std::uint64_t Settings::*member) const { return std::to_string(settings.*member); }
  std::string operator()(double Settings::*member) const { return show(settings.*member); }
  std::string operator()(bool Settings::*member) const { return settings.*member ? "true" : "false"; }
  std::string operator()(std::string Settings::*member) const { return settings.*member; }
  template <class Enum>
  std::string operator()(Enum Settings::*member) const {
    return std::string(name_in(settings.*member));
  }
};

}  // namespace

const std::vector<SettingInfo>& setting_infos() {
  static const auto infos = [] {
    std::vector<SettingInfo> made;
    for (const auto& field : fields()) made.push_back({field.name, field.meaning});
    return made;
  }();
  return infos;
}

tl::expected<void, std::string> set(Settings& settings, std::string_view name, const SettingValue& value) {
  const auto* field = find(name);
  if (field == nullptr) return tl::unexpected("there is no setting \"" + std::string(name) + "\"");
  return std::visit(Assign{settings, *field, value}, field->member);
}

std::string text_of(const Settings& settings, std::string_view name) {
  const auto* field = find(name);
  return field == nullptr ? std::string() : std::visit(Show{settings}, field->member);
}

/// A run in which time can stand still never ends.
static std::string complaint_about_time(const Settings& s, std::string& key) {
  for (const auto* each : {"think_time", "step_time", "cpu_time", "disk_time", "restart_delay", "lease", "pause_length",
                           "arrival_rate", "pause_rate"}) {
    const double given = s.*std::get<double Settings::*>(find(each)->member);
    if (given <= 0 || given >= some) continue;
    key = each;
    return show(given) + " is too little for the clock; expected 0, or 0.000001 and more";
  }
  if (s.step_time + s.cpu_time + s.disk_time <= 0) {
    key = "step_time";
    return "a transaction that takes no time never ends a run; expected more than 0";
  }
  const bool refuses = s.strategy == Strategy::no_wait || s.strategy == Strategy::wait_die;
  const double travel = s.requests_travel ? s.delay + s.jitter : 0;
  if (refuses && s.step_time + s.restart_delay + travel < some) {
    key = "restart_delay";
    return "with " + std::string(name(s.strategy)) +
           " and no step_time, who is refused would ask again and again at the same time; expected more than 0";
  }
  return {};
}

std::string complaint(const Settings& s, std::string& key) {
  const auto wrong = [&](std::string_view at, std::string what) {
    key = at;
    return what;
  };
  const bool drawn = s.access != Access::tpcc && s.access != Access::trace;
  if (drawn && s.locks_spread >= s.locks)
    return wrong("locks_spread", "expected less than locks, which is " + std::to_string(s.locks));
  if (drawn && !s.replacement && s.locks + s.locks_spread > s.objects)
    return wrong("locks", "a transaction takes up to " + std::to_string(s.locks + s.locks_spread) + " of " +
                              std::to_string(s.objects) + " objects; expected no more than there are");
  if ((s.access == Access::trace) != !s.trace.empty())
    return wrong("trace", s.trace.empty()
                              ? "access \"trace\" needs the file's name"
                              : "expected access = \"trace\" with it, not \"" + std::string(name(s.access)) + "\"");
  if (s.terminals > 0 && s.terminals < s.mpl)
    return wrong("terminals", "expected at least mpl, which is " + std::to_string(s.mpl));
  if (s.arrival_rate > 0 && (s.terminals > 0 || s.think_time > 0))
    return wrong("arrival_rate", "an open system has no terminals and no think_time; expected 0 for either");
  if (s.strategy == Strategy::lease && s.lease <= 0)
    return wrong("lease", "strategy \"lease\" needs its length; expected more than 0");
  if (s.strategy == Strategy::periodic && s.sites > 1)
    return wrong("sites", "periodic detection is for one site; expected 1, or strategy \"edge_chasing\"");
  if (s.pause_rate > 0 && s.pause_length <= 0)
    return wrong("pause_length", "pauses need a length; expected more than 0");
  return complaint_about_time(s, key);
}

std::string_view name(Strategy strategy) { return name_in(strategy); }
std::string_view name(Access access) { return name_in(access); }

std::string_view told_with(Strategy strategy) {
  switch (strategy) {
    case Strategy::timeout:
    case Strategy::detection_timeout: return "timeout";
    case Strategy::periodic: return "period";
    case Strategy::lease: return "lease";
    case Strategy::edge_chasing: return "sites";
    default: return {};
  }
}

std::string describe_strategy(const Settings& s) {
  const std::string text(name(s.strategy));
  const auto key = told_with(s.strategy);
  if (key == "sites") return text + ", " + text_of(s, key) + " sites";
  return key.empty() ? text : text + " " + text_of(s, key);
}

}  // namespace gordian::experiments
