// The model against what is known of it: the crossover table, exact repetition, and what each strategy may and may not do.
#include <doctest/doctest.h>

#include <cmath>

#include "experiments/model.hpp"
#include "experiments/statistics.hpp"

using namespace gordian::experiments;

namespace {

/// The crossover's cell of N = 10, shorter than a real one.
Settings cell(Strategy strategy) {
  Settings s;
  s.strategy = strategy, s.duration = 10'000;
  return s;
}

Result run(const Settings& settings, std::uint64_t seed = 1) {
  std::string key;
  REQUIRE(complaint(settings, key) == "");
  auto result = simulate(settings, seed);
  REQUIRE(result.has_value());
  return *result;
}

double mean(const Settings& settings, double (*figure)(const Result&)) {
  double sum = 0;
  constexpr int seeds = 3;
  for (int seed = 1; seed <= seeds; ++seed) sum += figure(run(settings, static_cast<std::uint64_t>(seed)));
  return sum / seeds;
}
double throughput(const Result& r) { return r.throughput(); }
double aborts(const Result& r) { return static_cast<double>(r.all_aborts()) / static_cast<double>(r.ended()); }

std::uint64_t aborts_of(const Result& r, Cause cause) { return r.aborts[static_cast<std::size_t>(cause)]; }

}  // namespace

TEST_CASE("N = 10 of the crossover table: detection and three timeouts") {
  const auto detection = cell(Strategy::detection);
  const double commits = mean(detection, throughput);
  CHECK(commits == doctest::Approx(0.986).epsilon(0.02));
  CHECK(mean(detection, aborts) == doctest::Approx(0.0027).epsilon(0.4));
  const auto relative = [&](double timeout) {
    auto s = cell(Strategy::timeout);
    s.timeout = timeout;
    return mean(s, throughput) / commits;
  };
  CHECK(relative(0.5) == doctest::Approx(0.923).epsilon(0.02));
  CHECK(relative(4) == doctest::Approx(0.971).epsilon(0.02));
  CHECK(relative(64) == doctest::Approx(0.925).epsilon(0.04));
  auto eight = cell(Strategy::timeout);
  CHECK(mean(eight, aborts) == doctest::Approx(0.032).epsilon(0.1));
}

TEST_CASE("past thrashing a timeout wins over detection") {
  auto detection = cell(Strategy::detection), timeout = cell(Strategy::timeout);
  detection.mpl = timeout.mpl = 30, timeout.timeout = 4;
  CHECK(mean(timeout, throughput) / mean(detection, throughput) == doctest::Approx(1.106).epsilon(0.04));
}

TEST_CASE("the same seed gives the same run, another one another") {
  for (const auto strategy : {Strategy::detection, Strategy::edge_chasing, Strategy::wound_wait}) {
    auto s = cell(strategy);
    s.duration = 2000;
    if (strategy == Strategy::edge_chasing) s.sites = 3, s.delay = 0.1, s.jitter = 0.1;
    const auto first = run(s), again = run(s), other = run(s, 2);
    CHECK(first.commits == again.commits);
    CHECK(first.requests == again.requests);
    CHECK(first.messages == again.messages);
    CHECK(first.response.mean() == again.response.mean());
    CHECK(first.requests != other.requests);
  }
}

TEST_CASE("each strategy aborts for its own reason, and the system goes on") {
  struct Expected {
    Strategy strategy;
    Cause cause;
  };
  for (const auto& [strategy, cause] : {Expected{Strategy::detection, Cause::deadlock},
                                        {Strategy::periodic, Cause::deadlock},
                                        {Strategy::edge_chasing, Cause::deadlock},
                                        {Strategy::timeout, Cause::timeout},
                                        {Strategy::no_wait, Cause::refused},
                                        {Strategy::wait_die, Cause::refused},
                                        {Strategy::wound_wait, Cause::wounded},
                                        {Strategy::lease, Cause::lease}}) {
    auto s = cell(strategy);
    s.mpl = 20, s.duration = 2000, s.lease = 20;
    CAPTURE(name(strategy));
    const auto result = run(s);
    CHECK(result.commits > 1000);
    CHECK(aborts_of(result, cause) > 0);
    CHECK(aborts_of(result, cause) == result.all_aborts());
    CHECK((strategy == Strategy::no_wait) == (result.waits == 0));
  }
  auto ordered = cell(Strategy::ordered);
  ordered.mpl = 30, ordered.duration = 2000;
  CHECK(run(ordered).all_aborts() == 0);
}

TEST_CASE("where steps and restarts take no time, a run ends with each strategy that is not refused") {
  Settings s;
  s.mpl = 20, s.objects = 100, s.upgrades = true, s.exclusive = 0.5;
  s.step_time = 0, s.restart_delay = 0, s.warmup = 10, s.duration = 200, s.lease = 20;
  std::string key;
  for (const auto strategy :
       {Strategy::detection, Strategy::periodic, Strategy::detection_timeout, Strategy::edge_chasing, Strategy::timeout,
        Strategy::no_wait, Strategy::wait_die, Strategy::wound_wait, Strategy::ordered, Strategy::lease}) {
    CAPTURE(name(strategy));
    s.strategy = strategy;
    for (auto* const time : {&s.cpu_time, &s.disk_time}) {
      s.cpu_time = s.disk_time = 0, *time = 1;
      if (strategy == Strategy::no_wait || strategy == Strategy::wait_die) {
        CHECK(complaint(s, key) != "");
        CHECK(key == "restart_delay");
        s.requests_travel = true, s.delay = 0.1;
        CHECK(run(s).commits > 0);
        s.requests_travel = false, s.delay = 0;
      } else {
        CHECK(run(s).commits > 0);
      }
    }
  }
}

TEST_CASE("every deadlock has one victim, most of two") {
  auto s = cell(Strategy::detection);
  s.mpl = 20;
  const auto result = run(s);
  CHECK(result.deadlocks == aborts_of(result, Cause::deadlock));
  std::uint64_t cycles = 0;
  for (const auto count : result.cycles) cycles += count;
  CHECK(cycles == result.deadlocks);
  CHECK(result.cycles[0] + result.cycles[1] == 0);
  CHECK(result.cycles[2] * 2 > result.deadlocks);
}

TEST_CASE("shared locks: readers never wait, and queues are let past where that is enough") {
  auto readers = cell(Strategy::detection);
  readers.exclusive = 0, readers.duration = 2000;
  CHECK(run(readers).waits == 0);
  auto mixed = cell(Strategy::detection);
  mixed.exclusive = 0.3, mixed.mpl = 30, mixed.objects = 200, mixed.duration = 5000;
  const auto result = run(mixed);
  CHECK(result.reorders > 0);
  CHECK(result.deadlocks == result.reorders + aborts_of(result, Cause::deadlock));
}

TEST_CASE("edge chasing: messages cost time, and what does not stand is not aborted") {
  auto near = cell(Strategy::edge_chasing), far = near;
  near.mpl = far.mpl = 20;
  near.sites = far.sites = 4;
  far.delay = 8, far.jitter = 4;
  const auto quick = run(near), slow = run(far);
  CHECK(quick.throughput() > 1.02 * slow.throughput());
  CHECK(slow.phantoms > 0);
  CHECK(slow.deadlocks == aborts_of(slow, Cause::deadlock));
  CHECK(slow.messages > 0);
  auto alone = near;
  alone.sites = 1;
  CHECK(run(alone).messages == 0);
  auto detection = cell(Strategy::detection);
  detection.mpl = 20;
  CHECK(run(alone).throughput() == doctest::Approx(run(detection).throughput()).epsilon(0.02));
}

TEST_CASE("disks and CPUs bound the throughput") {
  Settings s;  // Agrawal, Carey, Livny: 8 reads and 2 writes, two disks, one CPU
  s.mpl = 25, s.terminals = 200, s.think_time = 1;
  s.exclusive = 0.25, s.upgrades = true;
  s.step_time = 0, s.cpus = 1, s.disks = 2, s.cpu_time = 0.015, s.disk_time = 0.035;
  s.restart_shape = DelayShape::adaptive, s.warmup = 100, s.duration = 1000;
  const auto result = run(s);
  CHECK(result.throughput() <= 5.71 * 1.01);
  CHECK(result.throughput() > 4);
  CHECK(result.disk_busy / result.time <= 2);
  CHECK(result.cpu_busy / result.time <= 1);
}

TEST_CASE("an open system commits what arrives, and thinks of nobody") {
  auto s = cell(Strategy::detection);
  s.arrival_rate = 0.5, s.mpl = 50;
  const auto result = run(s);
  CHECK(result.throughput() == doctest::Approx(0.5).epsilon(0.05));
  CHECK(result.turned_away == 0);
}

TEST_CASE("a timeout shorter than the network's jitter aborts those who wait for nobody") {
  auto s = cell(Strategy::timeout);
  s.exclusive = 0, s.requests_travel = true, s.delay = 1, s.jitter = 1, s.duration = 2000;
  s.timeout = 3;
  const auto hasty = run(s);
  CHECK(hasty.waits == 0);
  CHECK(aborts_of(hasty, Cause::timeout) > 0);
  s.timeout = 40;
  CHECK(aborts_of(run(s), Cause::timeout) == 0);
}

TEST_CASE("a lease is lost by pauses that are longer, and by no others") {
  auto s = cell(Strategy::detection);
  s.pause_rate = 0.02, s.pause_length = 5, s.lease = 1000;
  const auto patient = run(s);
  CHECK(aborts_of(patient, Cause::lease) == 0);
  s.lease = 3;
  const auto hasty = run(s);
  CHECK(hasty.paused_too_long > 0);
  CHECK(aborts_of(hasty, Cause::lease) > 0);
  CHECK(aborts_of(hasty, Cause::lease) <= hasty.paused_too_long + s.mpl);  // those of the warm-up, still to come
}

TEST_CASE("percentiles are read from a histogram of fixed size") {
  Histogram histogram;
  for (std::int64_t i = 1; i <= 100'000; ++i) histogram.add(i * 1000);  // 0.001 to 100 units
  CHECK(histogram.percentile(0.5) == doctest::Approx(50).epsilon(0.01));
  CHECK(histogram.percentile(0.99) == doctest::Approx(99).epsilon(0.01));
  CHECK(histogram.mean() == doctest::Approx(50.0005).epsilon(1e-6));
  Histogram empty;
  CHECK(std::isnan(empty.percentile(0.5)));
  CHECK(std::isnan(empty.mean()));
  empty.add(histogram);
  CHECK(empty.percentile(0.9) == histogram.percentile(0.9));
}

TEST_CASE("intervals are Student's: two values are twelve deviations wide") {
  const double values[] = {1, 3};
  const auto two = estimate(values);
  CHECK(two.mean == 2);
  CHECK(*two.plus_minus == doctest::Approx(12.7062 * std::sqrt(2.0) / std::sqrt(2.0)).epsilon(1e-4));
  CHECK(!estimate(std::span(values, 1)).plus_minus);
  const double x[] = {1, 2, 3}, y[] = {3, 5, 7};
  CHECK(fit_line(x, y).slope == doctest::Approx(2));
}
