// One cell of an experiment: everything that is to be known to simulate it, or to run it live, but the seed.
//
// A plain struct. Times are in units; one unit is what the configuration means by it (by custom the mean time of a step,
// or a second), and `unit_ms` says how long it is on a live run. settings.cpp has the names that configurations, CSV files
// and reports use. Nothing is done here: the simulation is model.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

namespace gordian::experiments {

/// Resources' names have eight digits (workload.hpp).
inline constexpr std::uint64_t resources_max = 100'000'000;
/// Of TPC-C: so many have fewer resources than that.
inline constexpr std::uint64_t warehouses_max = 769;

/// What is done about deadlocks.
enum class Strategy : std::uint8_t {
  detection,          ///< looked for at every wait
  periodic,           ///< looked for every `period`
  detection_timeout,  ///< at every wait, and no wait is longer than `timeout`
  edge_chasing,       ///< Chandy–Misra–Haas between `sites`, messages take `delay` and `jitter`
  timeout,            ///< no wait is longer than `timeout`
  no_wait,            ///< who would wait starts again (immediate restart)
  wait_die,
  wound_wait,
  ordered,  ///< all ask in one order
  lease,    ///< locks are taken away `lease` after the start, finished or not
};

/// Which resources a transaction asks for.
enum class Access : std::uint8_t {
  uniform,
  zipf,     ///< the hottest share x of the objects gets x^(1 − theta) of the accesses
  hot_set,  ///< `hot_probability` of the accesses go to `hot_share` of the objects
  ycsb,     ///< Zipf as YCSB draws it (theta 0.99); reads and writes as the mix says
  tpcc,     ///< the five transaction types of TPC-C on `warehouses`
  trace,    ///< the transactions of a recorded trace
};

enum class TimeShape : std::uint8_t { exponential, fixed };
/// Of the delay before a restart; adaptive: exponential, its mean the mean response time so far (Agrawal, Carey, Livny).
enum class DelayShape : std::uint8_t { exponential, fixed, adaptive };

struct Settings {
  // How many.
  std::uint64_t mpl = 10;       ///< transactions at a time
  std::uint64_t terminals = 0;  ///< who submits them, one after the other; 0: as many as `mpl`
  double arrival_rate = 0;      ///< > 0: an open system, Poisson; `mpl` still limits how many run at a time
  double think_time = 0;        ///< mean, exponential; of a terminal between two transactions

  // What each does.
  std::uint64_t locks = 8;         ///< lock steps
  std::uint64_t locks_spread = 0;  ///< uniform in `locks` ± this
  std::uint64_t objects = 1000;    ///< lockable ones
  double exclusive = 1;            ///< share of the lock steps that write
  bool replacement = false;        ///< an object may be drawn twice by one transaction
  bool upgrades = false;           ///< what is written is first read with a shared lock, which is then raised
  double ordered_share = 0;        ///< this share of the transactions asks in ascending order
  Access access = Access::uniform;
  double theta = 0.8;
  double hot_share = 0.2;
  double hot_probability = 0.8;
  std::string ycsb_mix = "a";  ///< a: half writes, b: 5 %, c: none, f: read, then write half of them
  std::uint64_t warehouses = 4;
  std::string trace;  ///< file, as docs/trace-format.md says

  // How long it takes.
  double step_time = 1;  ///< before each lock, and before commit
  TimeShape step_shape = TimeShape::exponential;
  std::uint64_t cpus = 0;   ///< 0: as many as are needed
  std::uint64_t disks = 0;  ///< 0: as many as are needed
  double cpu_time = 0;      ///< after each lock
  double disk_time = 0;     ///< after each lock, before the CPU's; and at commit for each object written
  double restart_delay = 1;
  DelayShape restart_shape = DelayShape::exponential;
  double restart_growth = 1;   ///< the delay's factor for each restart of the same transaction
  bool restart_other = false;  ///< a victim asks for others than before

  // What is done about deadlocks.
  Strategy strategy = Strategy::detection;
  double timeout = 8;
  double timeout_growth = 1;  ///< factor for each restart of the same transaction
  double timeout_jitter = 0;  ///< uniform ± this share
  double period = 16;
  std::string policy = "youngest";  ///< of victims (docs/semantics.md)
  std::uint64_t sites = 1;          ///< that objects and detection are spread over
  double delay = 0;                 ///< of a message between sites
  double jitter = 0;                ///< mean of an exponential addition to it
  bool requests_travel = false;  ///< lock requests and answers are messages too, and a timeout counts from the sending
  double probe_again = 50;       ///< a wait that stays is probed again after this, then after twice that…
  bool probe_filter = false;     ///< probes pass smaller ids only
  double lease = 0;              ///< 0: no leases. Renewed all the while its client runs, but for Strategy::lease
  double pause_rate = 0;         ///< of each client: pauses (collector, swap, network) per unit
  double pause_length = 0;       ///< mean, exponential

  // How much is looked at.
  double warmup = 500;
  double duration = 20'000;   ///< of what is measured
  std::uint64_t commits = 0;  ///< > 0: it ends with so many commits, if they come before `duration`

  double unit_ms = 10;  ///< of a live run

  friend bool operator==(const Settings&, const Settings&) = default;
};

/// A setting's value as configurations give it.
using SettingValue = std::variant<bool, std::int64_t, double, std::string>;

/// One setting, for those who read, write or show them by name.
struct SettingInfo {
  std::string_view name;
  std::string_view meaning;  ///< for people
};
[[nodiscard]] const std::vector<SettingInfo>& setting_infos();
/// Errors: a sentence of what was given and what was expected; nothing is changed then.
[[nodiscard]] tl::expected<void, std::string> set(Settings& settings, std::string_view name, const SettingValue& value);
/// The value as text; empty if there is no setting of that name.
[[nodiscard]] std::string text_of(const Settings& settings, std::string_view name);
/// Empty if the settings fit each other, else a sentence; `key` is then the setting to look at.
[[nodiscard]] std::string complaint(const Settings& settings, std::string& key);

[[nodiscard]] std::string_view name(Strategy strategy);
[[nodiscard]] std::string_view name(Access access);
/// The setting that goes with a strategy, "timeout"; empty: none does.
[[nodiscard]] std::string_view told_with(Strategy strategy);
/// "timeout 8", "periodic 16": the strategy with what it is set to.
[[nodiscard]] std::string describe_strategy(const Settings& settings);

}  // namespace gordian::experiments
