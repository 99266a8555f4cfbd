// The same cells on real processes: gordiand, gordian-agents and lock clients on loopback, in wall-clock time.
//
// How settings map. A unit is `unit_ms` long; steps, disk and CPU times (of unlimited servers), delays and think times are sleeps.
// detection: agents report waits at once (publish_after 0) to one gordiand. periodic: gordiand has no passes; waits are reported
// when they are period / 2 old, which is how long a deadlock stands on average until a pass finds it. detection_timeout: detection,
// and requests with a limit. edge_chasing: as many gordiands as `sites`, which share the graph. timeout: no coordinator, requests
// with a limit. no_wait, wait_die, wound_wait, ordered: the agents' own strategies, no coordinator. lease: no coordinator; the
// client counts its lease from its start and gives everything back at its end, as the lock client does before its agent does.
// What cannot be done honestly is refused: live_complaint().
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "experiments/runner.hpp"

namespace gordian::experiments {

/// Empty if every cell can be run live, else "key: sentence (cell)".
[[nodiscard]] std::string live_complaint(const Plan& plan);

/// How long all runs of the plan take, without starting and stopping the services.
[[nodiscard]] double live_seconds(const Plan& plan, std::uint64_t seeds);
/// Longer plans are refused: who wants one splits it.
inline constexpr double live_seconds_max = 12 * 3600;

/// "live (Intel…, 2 processors, unit 10 ms)": for RunOptions::how.
[[nodiscard]] std::string live_on_this_machine(const Plan& plan);

/// `programs`: the folder with gordiand and gordian-agent. When `stop` becomes true the run ends soon, with an error. One run at a
/// time; whatever it started has ended when it returns, however it ends.
[[nodiscard]] RunOne live_runs(std::string programs, const std::atomic<bool>& stop);

/// Whether an outcome is of live runs, by what it says of itself.
[[nodiscard]] bool live(const Outcome& outcome);
/// Some metrics are only known to a model: in live runs they are 0.
[[nodiscard]] bool measured_live(std::string_view metric);

}  // namespace gordian::experiments
