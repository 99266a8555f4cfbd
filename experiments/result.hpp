// What came of one run of one cell: counts, times and percentiles. Plain values; filled by model.cpp or by a live run.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gordian::experiments {

/// Times by size: 16 buckets for each doubling, with percentiles read between their borders. Fixed in size.
class Histogram {
 public:
  /// `ticks`: millionths of a unit.
  void add(std::int64_t ticks);
  void add(const Histogram& other);
  [[nodiscard]] std::uint64_t count() const { return count_; }
  /// In units; NaN if there is nothing. `share` from 0 to 1.
  [[nodiscard]] double percentile(double share) const;
  /// In units; NaN if there is nothing.
  [[nodiscard]] double mean() const;

 private:
  static constexpr int fraction_bits = 4, doublings = 44;
  static constexpr std::size_t buckets = (doublings + 1) << fraction_bits;
  [[nodiscard]] static std::size_t bucket_of(std::uint64_t ticks);
  [[nodiscard]] static double begin_of(std::size_t bucket);

  std::array<std::uint64_t, buckets> counts_{};
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

/// Why a transaction was aborted.
enum class Cause : std::uint8_t { deadlock, timeout, refused, wounded, lease, other };
inline constexpr std::size_t causes = 6;
[[nodiscard]] std::string_view name(Cause cause);

struct Result {
  static constexpr std::size_t cycle_lengths = 12;  ///< the last one: so many or more

  double time = 0;  ///< units that were measured
  std::uint64_t commits = 0;
  std::array<std::uint64_t, causes> aborts{};  ///< by Cause
  std::uint64_t requests = 0;                  ///< locks asked for
  std::uint64_t waits = 0;                     ///< of them, those that had to wait
  std::uint64_t waited = 0;                    ///< of all incarnations that ended: those that had to wait at least once
  std::uint64_t steps = 0;                     ///< service steps that were finished
  std::uint64_t wasted_steps = 0;              ///< of them, those of incarnations that were aborted
  std::uint64_t deadlocks = 0;                 ///< found
  std::array<std::uint64_t, cycle_lengths + 1> cycles{};  ///< deadlocks by length of the victim's shortest cycle
  std::uint64_t reorders = 0;                             ///< deadlocks broken by letting a waiter past another
  std::uint64_t phantoms = 0;         ///< suspected cycles that did not stand when they were asked about
  std::uint64_t messages = 0;         ///< reports, probes, confirmations and orders
  std::uint64_t passes = 0;           ///< of periodic detection
  double stuck_time = 0;              ///< of transactions that passes found stuck: how long they had waited, summed
  std::uint64_t paused_too_long = 0;  ///< pauses longer than the lease
  std::uint64_t turned_away = 0;      ///< arrivals for whom there was no room
  double active_time = 0;             ///< integral of the number of running transactions
  double blocked_time = 0;            ///< …of waiting ones
  double cpu_busy = 0;                ///< …of busy CPUs
  double disk_busy = 0;               ///< …of busy disks
  Histogram response;                 ///< from submission to commit, restarts included

  [[nodiscard]] std::uint64_t all_aborts() const;
  /// Incarnations that ended: commits and aborts.
  [[nodiscard]] std::uint64_t ended() const { return commits + all_aborts(); }
  [[nodiscard]] double throughput() const { return time > 0 ? static_cast<double>(commits) / time : 0; }
};

/// A figure of a run, by the name it has in CSV files and configurations. NaN: there is none, for nothing was committed.
struct MetricInfo {
  std::string_view name;
  std::string_view meaning;
  double (*of)(const Result&);
};
[[nodiscard]] const std::vector<MetricInfo>& metric_infos();
/// Its place in metric_infos(); as many as there are if there is none of that name.
[[nodiscard]] std::size_t metric_index(std::string_view name);

}  // namespace gordian::experiments
