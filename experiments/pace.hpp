// What a client does by the settings, in a model and live: what it asks for, how long it waits, what its end counts as, when
// it comes back.
#pragma once

#include <algorithm>
#include <cmath>
#include <gordian/lock_table.hpp>

#include "experiments/draw.hpp"
#include "experiments/result.hpp"
#include "experiments/settings.hpp"
#include "experiments/workload.hpp"

namespace gordian::experiments {

/// The next transaction's locks, in the order in which it asks for them.
inline void draw_program(const Settings& settings, const Workload& workload, Draw& random, Program& program) {
  workload.draw(random, program);
  const bool ordered = settings.strategy == Strategy::ordered;
  // Drawn in any case: a seed asks the same of each strategy.
  const bool ascending = settings.ordered_share > 0 && random.chance(settings.ordered_share);
  if (ordered || ascending) std::ranges::stable_sort(program, {}, &Ask::resource);
  for (std::size_t i = program.size(); ordered && i-- > 1;)  // it refuses raises that would have to wait
    if (program[i - 1].resource == program[i].resource && program[i].mode == modes::X) program[i - 1].mode = modes::X;
}

/// What an abort counts as.
inline Cause cause_of(LockError::Code code) {
  switch (code) {
    case LockError::Code::deadlock: return Cause::deadlock;
    case LockError::Code::timeout: return Cause::timeout;
    case LockError::Code::refused:
    case LockError::Code::out_of_order: return Cause::refused;
    case LockError::Code::wounded: return Cause::wounded;
    case LockError::Code::lease_lost: return Cause::lease;
    default: return Cause::other;
  }
}

inline constexpr double units_max = 1e6;  ///< of what grows with restarts

/// Units. `response_mean`: so far, for DelayShape::adaptive; 0: none yet.
inline double restart_delay(const Settings& settings, std::uint32_t restarts, double response_mean, Draw& random) {
  double mean = settings.restart_delay;
  if (settings.restart_shape == DelayShape::adaptive && response_mean > 0) mean = response_mean;
  mean = std::min(units_max, mean * std::pow(settings.restart_growth, restarts));
  return settings.restart_shape == DelayShape::fixed ? mean : random.exponential(mean);
}

/// Units.
inline double wait_limit(const Settings& settings, std::uint32_t restarts, Draw& random) {
  double units = std::min(units_max, settings.timeout * std::pow(settings.timeout_growth, restarts));
  if (settings.timeout_jitter > 0) units *= 1 + settings.timeout_jitter * (2 * random.uniform() - 1);
  return units;
}

}  // namespace gordian::experiments
