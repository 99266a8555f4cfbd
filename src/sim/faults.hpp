// What goes wrong in a simulated world, and how often: one plain struct. Times are virtual microseconds, rates are parts per
// million; "every" is the mean time between two such faults anywhere in the world, 0: never.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gordian::sim {

struct Faults {
  std::string name;

  // Every message.
  std::int64_t delay_us_min = 200;
  std::int64_t delay_us_max = 2'000;
  std::uint32_t loss_ppm = 0;
  std::uint32_t duplicate_ppm = 20'000;  ///< on in every world: duplicates must change nothing
  /// Messages that may overtake those before them, and duplicates that come later; without it a link keeps the order.
  std::uint32_t reorder_ppm = 0;
  /// Lock links, too, though the lock protocol counts on a connection that keeps the order.
  bool reorder_lock_links = false;
  std::uint32_t slow_ppm = 0;  ///< heavy tail: ten times the delay, doubled as often as a coin says so

  // Links.
  std::int64_t break_every_us = 0;      ///< a connection breaks: what is on its way is lost
  std::int64_t partition_every_us = 0;  ///< some nodes are cut off from the others, in one direction or both
  std::int64_t partition_us_max = 0;

  // Processes.
  std::int64_t crash_site_every_us = 0;
  std::int64_t crash_coordinator_every_us = 0;
  std::int64_t crash_client_every_us = 0;
  std::int64_t down_us_max = 1'000'000;
  std::uint32_t state_lost_ppm = 300'000;  ///< of coordinators: the history, so that the epoch begins anew
  std::int64_t pause_every_us = 0;         ///< of any process, coordinators too
  std::int64_t pause_us_max = 0;           ///< longer than leases

  // What users do, per attempt of a transaction.
  std::uint32_t user_abort_ppm = 20'000;
  std::uint32_t lock_timeout_ppm = 20'000;  ///< its lock calls have a short time to wait

  /// How long a deadlock whose parties are reachable may stand. Initiation (publish_after), the messages of a confirmation
  /// and an order, and, where messages are lost, what it takes to notice and to ask again.
  std::int64_t miss_bound_us = 2'000'000;

  friend bool operator==(const Faults&, const Faults&) = default;
};

/// All presets, in the order in which seeds take them.
[[nodiscard]] const std::vector<Faults>& presets();
[[nodiscard]] std::optional<Faults> preset(std::string_view name);

/// Kinds of faults that a shrunk run can do without: "loss", "duplicates", …
[[nodiscard]] const std::vector<std::string>& kinds_of_faults();
/// Takes one kind out. False if there is no such kind.
bool leave_out(Faults& faults, std::string_view kind);

}  // namespace gordian::sim
