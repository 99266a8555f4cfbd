#include "experiments/result.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace gordian::experiments {
namespace {

constexpr double ticks_per_unit = 1e6;

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }
double share(std::uint64_t part, std::uint64_t whole) {
  return share(static_cast<double>(part), static_cast<double>(whole));
}
template <Cause cause>
double aborts_per_started(const Result& r) {
  return share(r.aborts[static_cast<std::size_t>(cause)], r.ended());
}

}  // namespace

std::size_t Histogram::bucket_of(std::uint64_t ticks) {
  constexpr std::uint64_t fine = 1U << fraction_bits;
  if (ticks < fine) return ticks;
  const int doubling = static_cast<int>(std::bit_width(ticks)) - 1 - fraction_bits;
  if (doubling >= doublings) return buckets - 1;
  return (static_cast<std::size_t>(doubling) << fraction_bits) + (ticks >> doubling);
}

/// Where the bucket begins; one more than the last is where that one ends.
double Histogram::begin_of(std::size_t bucket) {
  constexpr std::size_t fine = 1U << fraction_bits;
  if (bucket < fine) return static_cast<double>(bucket);
  return std::ldexp(static_cast<double>(bucket % fine + fine), static_cast<int>(bucket >> fraction_bits) - 1);
}

void Histogram::add(std::int64_t ticks) {
  const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(ticks, 0));
  ++counts_[bucket_of(value)];
  ++count_;
  sum_ += static_cast<double>(value);
}

void Histogram::add(const Histogram& other) {
  for (std::size_t i = 0; i < buckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
}

double Histogram::percentile(double wanted) const {
  if (count_ == 0) return std::numeric_limits<double>::quiet_NaN();
  const double rank = wanted * static_cast<double>(count_);
  double below = 0;
  for (std::size_t i = 0; i < buckets; ++i) {
    const auto here = static_cast<double>(counts_[i]);
    if (here > 0 && below + here >= rank) {  // as if those in a bucket lay evenly in it
      const double inside = std::max(0.0, rank - below) / here;
      return (begin_of(i) + inside * (begin_of(i + 1) - begin_of(i))) / ticks_per_unit;
    }
    below += here;
  }
  return begin_of(buckets) / ticks_per_unit;
}

double Histogram::mean() const {
  return count_ == 0 ? std::numeric_limits<double>::quiet_NaN() : sum_ / static_cast<double>(count_) / ticks_per_unit;
}

std::string_view name(Cause cause) {
  constexpr std::array<std::string_view, causes> names{"deadlock", "timeout", "refused", "wounded", "lease", "other"};
  return names[static_cast<std::size_t>(cause)];
}

std::uint64_t Result::all_aborts() const { return std::accumulate(aborts.begin(), aborts.end(), std::uint64_t{0}); }

const std::vector<MetricInfo>& metric_infos() {
  using R = const Result&;
  static const std::vector<MetricInfo> infos{
      {"throughput", "commits per unit", [](R r) { return r.throughput(); }},
      {"response_mean", "mean response time, restarts included", [](R r) { return r.response.mean(); }},
      {"response_p50", "median response time", [](R r) { return r.response.percentile(0.5); }},
      {"response_p90", "90 % respond within", [](R r) { return r.response.percentile(0.9); }},
      {"response_p99", "99 % respond within", [](R r) { return r.response.percentile(0.99); }},
      {"aborts", "aborts per started transaction", [](R r) { return share(r.all_aborts(), r.ended()); }},
      {"aborts_deadlock", "…as victims of a deadlock", aborts_per_started<Cause::deadlock>},
      {"aborts_timeout", "…after a timeout", aborts_per_started<Cause::timeout>},
      {"aborts_refused", "…refused (no-wait, wait-die)", aborts_per_started<Cause::refused>},
      {"aborts_wounded", "…wounded (wound-wait)", aborts_per_started<Cause::wounded>},
      {"aborts_lease", "…for the lease was over", aborts_per_started<Cause::lease>},
      {"aborts_other", "…for any other reason", aborts_per_started<Cause::other>},
      {"deadlocks", "deadlocks found per started transaction", [](R r) { return share(r.deadlocks, r.ended()); }},
      {"two_cycles", "share of deadlocks with two members", [](R r) { return share(r.cycles[2], r.deadlocks); }},
      {"pw", "share of started transactions that ever waited", [](R r) { return share(r.waited, r.ended()); }},
      {"waits", "waits per started transaction", [](R r) { return share(r.waits, r.ended()); }},
      {"wasted", "share of the work that was for nothing", [](R r) { return share(r.wasted_steps, r.steps); }},
      {"messages", "messages of detection per commit", [](R r) { return share(r.messages, r.commits); }},
      {"phantoms", "suspected cycles that did not stand, per commit", [](R r) { return share(r.phantoms, r.commits); }},
      {"stuck", "mean number of transactions in or behind deadlocks (periodic detection)",
       [](R r) { return share(r.stuck_time, r.time); }},
      {"active", "mean number of running transactions", [](R r) { return share(r.active_time, r.time); }},
      {"blocked", "mean number of waiting transactions", [](R r) { return share(r.blocked_time, r.time); }},
      {"cpu_busy", "mean number of busy CPUs", [](R r) { return share(r.cpu_busy, r.time); }},
      {"disk_busy", "mean number of busy disks", [](R r) { return share(r.disk_busy, r.time); }},
      {"commits", "commits that were measured", [](R r) { return static_cast<double>(r.commits); }},
      {"turned_away", "arrivals for whom there was no room", [](R r) { return static_cast<double>(r.turned_away); }},
  };
  return infos;
}

std::size_t metric_index(std::string_view name) {
  const auto& infos = metric_infos();
  return static_cast<std::size_t>(std::ranges::find(infos, name, &MetricInfo::name) - infos.begin());
}

}  // namespace gordian::experiments
