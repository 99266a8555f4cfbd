#include "sim/faults.hpp"

#include <algorithm>

namespace gordian::sim {
namespace {

constexpr std::int64_t ms = 1'000, s = 1'000'000;

std::vector<Faults> make_presets() {
  Faults calm{.name = "calm"};

  Faults lossy{.name = "lossy"};
  lossy.loss_ppm = 30'000;
  lossy.duplicate_ppm = 50'000;
  lossy.break_every_us = 2 * s;
  lossy.miss_bound_us = 8 * s;

  Faults jumbled{.name = "jumbled"};
  jumbled.delay_us_max = 20 * ms;
  jumbled.duplicate_ppm = 100'000;
  jumbled.reorder_ppm = 200'000;
  jumbled.reorder_lock_links = true;
  jumbled.slow_ppm = 50'000;
  jumbled.miss_bound_us = 6 * s;

  Faults split{.name = "split"};
  split.partition_every_us = 1'500 * ms;
  split.partition_us_max = 4 * s;
  split.break_every_us = 3 * s;
  split.miss_bound_us = 6 * s;

  Faults crashing{.name = "crashing"};
  crashing.crash_site_every_us = 2'500 * ms;
  crashing.crash_coordinator_every_us = 3 * s;
  crashing.crash_client_every_us = 1'500 * ms;
  crashing.miss_bound_us = 6 * s;

  Faults sleepy{.name = "sleepy"};
  sleepy.pause_every_us = 800 * ms;
  sleepy.pause_us_max = 4 * s;
  sleepy.slow_ppm = 10'000;
  sleepy.miss_bound_us = 6 * s;

  Faults restless{.name = "restless"};  // users who lose their patience, all the time
  restless.delay_us_max = 10 * ms;
  restless.slow_ppm = 30'000;
  restless.user_abort_ppm = 400'000;
  restless.lock_timeout_ppm = 300'000;
  restless.miss_bound_us = 6 * s;

  Faults stormy{.name = "stormy"};
  stormy.delay_us_max = 10 * ms;
  stormy.loss_ppm = 20'000;
  stormy.duplicate_ppm = 100'000;
  stormy.reorder_ppm = 50'000;
  stormy.slow_ppm = 20'000;
  stormy.break_every_us = 2 * s;
  stormy.partition_every_us = 4 * s;
  stormy.partition_us_max = 3 * s;
  stormy.crash_site_every_us = 6 * s;
  stormy.crash_coordinator_every_us = 6 * s;
  stormy.crash_client_every_us = 4 * s;
  stormy.pause_every_us = 4 * s;
  stormy.pause_us_max = 4 * s;
  stormy.user_abort_ppm = 150'000;
  stormy.lock_timeout_ppm = 150'000;
  stormy.miss_bound_us = 10 * s;

  return {calm, lossy, jumbled, split, crashing, sleepy, restless, stormy};
}

}  // namespace

const std::vector<Faults>& presets() {
  static const std::vector<Faults> all = make_presets();
  return all;
}

std::optional<Faults> preset(std::string_view name) {
  const auto it = std::find_if(presets().begin(), presets().end(), [&](const Faults& f) { return f.name == name; });
  return it == presets().end() ? std::nullopt : std::optional(*it);
}

const std::vector<std::string>& kinds_of_faults() {
  static const std::vector<std::string> kinds{"loss",           "duplicates", "reordering",   "tail",
                                              "breaks",         "partitions", "site_crashes", "coordinator_crashes",
                                              "client_crashes", "pauses",     "user_aborts",  "timeouts"};
  return kinds;
}

bool leave_out(Faults& faults, std::string_view kind) {
  if (kind == "loss")
    faults.loss_ppm = 0;
  else if (kind == "duplicates")
    faults.duplicate_ppm = 0;
  else if (kind == "reordering")
    faults.reorder_ppm = 0;
  else if (kind == "tail")
    faults.slow_ppm = 0;
  else if (kind == "breaks")
    faults.break_every_us = 0;
  else if (kind == "partitions")
    faults.partition_every_us = 0;
  else if (kind == "site_crashes")
    faults.crash_site_every_us = 0;
  else if (kind == "coordinator_crashes")
    faults.crash_coordinator_every_us = 0;
  else if (kind == "client_crashes")
    faults.crash_client_every_us = 0;
  else if (kind == "pauses")
    faults.pause_every_us = 0;
  else if (kind == "user_aborts")
    faults.user_abort_ppm = 0;
  else if (kind == "timeouts")
    faults.lock_timeout_ppm = 0;
  else
    return false;
  return true;
}

}  // namespace gordian::sim
