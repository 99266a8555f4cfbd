// What is best: timeouts or detection, how often to look for deadlocks, blocking or restarting.
#include <algorithm>
#include <array>
#include <cmath>

#include "experiments/law_runs.hpp"

namespace gordian::experiments {
namespace {

constexpr std::array timeouts{0.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 200.0};

/// One line of the crossover table.
struct Row {
  std::uint64_t mpl;
  std::array<double, timeouts.size()> relative;
  double commits;  ///< per step, with detection
  double aborts_timeout_8, aborts_detection;
  double duration;
};
constexpr std::array rows{Row{10, {.923, .950, .971, .990, .990, .973, .925, .725}, 0.986, .032, .0027, 60'000},
                          Row{20, {.905, .951, .982, .999, .976, .898, .739, .388}, 1.645, .097, .0074, 40'000},
                          Row{30, {1.009, 1.072, 1.106, 1.100, 1.019, .838, .587, .247}, 1.855, .183, .0165, 40'000}};
constexpr std::size_t seeds = 10;

Settings crossover(const Row& row, Strategy strategy) {
  Settings s;
  s.mpl = row.mpl, s.strategy = strategy, s.duration = row.duration, s.warmup = 1000;
  return s;
}

}  // namespace

Evaluate plan_crossover(Runs& runs) {
  struct Measured {
    const Cells* detection;
    std::vector<const Cells*> timeouts;
  };
  std::vector<Measured> measured;
  for (const auto& row : rows) {
    measured.push_back({&runs.add(crossover(row, Strategy::detection), seeds), {}});
    for (const double timeout : timeouts) {
      auto s = crossover(row, Strategy::timeout);
      s.timeout = timeout;
      measured.back().timeouts.push_back(&runs.add(s, seeds));
    }
  }
  return [measured](std::vector<Check>& checks) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto& row = rows[i];
      const auto& [detection, cells] = measured[i];
      const std::string n = "N " + std::to_string(row.mpl) + ", ";
      checks.push_back(
          within("crossover", n + "detection: commits per step", detection->mean("throughput"), row.commits, 0.02));
      for (std::size_t t = 0; t < timeouts.size(); ++t) {
        const double relative = cells[t]->mean("throughput") / detection->mean("throughput");
        checks.push_back(within("crossover", n + "timeout " + show_number(timeouts[t]) + ": throughput to detection's",
                                relative, row.relative[t], 0.02));
      }
      checks.push_back(within("crossover", n + "timeout 8: aborts per started transaction", cells[3]->mean("aborts"),
                              row.aborts_timeout_8, 0.05));
      checks.push_back(within("crossover", n + "detection: aborts per started transaction", detection->mean("aborts"),
                              row.aborts_detection, 0.08));
    }
  };
}

Evaluate plan_periods(Runs& runs) {
  struct Reference {
    const Row* row;
    double period;
    double lost;  ///< % of the throughput
  };
  static const std::vector<Reference> references{{rows.data(), 16, .5}, {rows.data(), 64, 3}, {rows.data(), 256, 23},
                                                 {&rows[1], 16, 4},     {&rows[1], 64, 23},   {&rows[1], 256, 68}};
  std::vector<std::pair<const Cells*, const Cells*>> cells;
  for (const auto& reference : references) {
    auto s = crossover(*reference.row, Strategy::periodic);
    s.period = reference.period;
    const auto* periodic = &runs.add(s, seeds);
    cells.emplace_back(periodic, &runs.add(crossover(*reference.row, Strategy::detection), seeds));
  }
  return [cells](std::vector<Check>& checks) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const auto& reference = references[i];
      const double lost = 100 * (1 - cells[i].first->mean("throughput") / cells[i].second->mean("throughput"));
      checks.push_back({"periods",
                        "N " + std::to_string(reference.row->mpl) + ", period " + show_number(reference.period) +
                            ": % of the throughput lost",
                        lost, reference.lost, reference.lost - 1.5, reference.lost + 1.5, ""});
    }
  };
}

/// Deadlocks are made rarer, with the same contention, by transactions that ask in one order. A pass costs as much as
/// `pass_cost` transactions for a step; a deadlock costs what it keeps from going on, which is what passes find stuck. The longer
/// it stands the more are stuck behind it: that is where the cube root comes from.
Evaluate plan_interval(Runs& runs) {
  static constexpr std::array ordered{0.0, 0.5, 0.75, 0.85};
  static constexpr std::array periods{90.0, 150.0, 240.0, 360.0};
  static constexpr double pass_cost = 250;
  std::vector<std::vector<const Cells*>> cells;
  for (const double share : ordered) {
    cells.emplace_back();
    for (const double period : periods) {
      Settings s;
      s.mpl = 40, s.objects = 6000, s.ordered_share = share;
      s.strategy = Strategy::periodic, s.period = period, s.duration = 150'000;
      cells.back().push_back(&runs.add(s, 2));
    }
  }
  return [cells](std::vector<Check>& checks) {
    std::vector<double> rates, frequencies;  // as logarithms
    std::string best;
    for (const auto& series : cells) {
      std::vector<double> x, y;
      for (const auto* c : series) {
        x.push_back(std::log(c->settings.period));
        y.push_back(std::log(c->mean("stuck")));
      }
      const auto loss = fit_line(x, y);  // a·T^p; the least of pass_cost/T + a·T^p is where its slope is 0
      const double log_period = (std::log(pass_cost) - loss.at_zero - std::log(loss.slope)) / (loss.slope + 1);
      rates.push_back(std::log(series.front()->mean("deadlocks") * series.front()->mean("throughput")));
      frequencies.push_back(-log_period);
      best.append(best.empty() ? "" : ", ")
          .append(show_number(std::exp(log_period)) + " at " + show_number(1000 * std::exp(rates.back())));
    }
    checks.push_back(
        {"interval", "exponent of the best frequency over the rate of deadlocks", fit_line(rates, frequencies).slope,
         1.0 / 3, 1.0 / 3 - 0.1, 1.0 / 3 + 0.1,
         "best periods, in steps, at so many deadlocks in a thousand steps: " + best +
             ". The cube root holds where what is stuck grows as the square of the period; a deadlock of two is "
             "stuck with nobody behind it at first, so shorter periods tend to the square root"});
  };
}

Evaluate plan_finite_resources(Runs& runs) {
  static constexpr std::array<std::uint64_t, 6> mpls{5, 10, 25, 50, 100, 200};
  const auto series = [&](Strategy strategy, bool finite) {
    std::vector<const Cells*> cells;
    for (const auto mpl : mpls) {
      Settings s;  // a unit is a second
      s.mpl = mpl, s.terminals = 200, s.think_time = 1;
      s.locks = 8, s.locks_spread = 4, s.objects = 1000, s.exclusive = 0.25, s.upgrades = true;
      s.step_time = 0, s.cpu_time = 0.015, s.disk_time = 0.035;
      s.cpus = finite ? 1 : 0, s.disks = finite ? 2 : 0;
      s.strategy = strategy;
      s.restart_shape = DelayShape::adaptive;
      s.warmup = finite ? 300 : 30, s.duration = finite ? 3000 : 150;
      cells.push_back(&runs.add(s, 3));
    }
    return cells;
  };
  const auto blocking = series(Strategy::detection, true), restart = series(Strategy::no_wait, true);
  const auto blocking_free = series(Strategy::detection, false), restart_free = series(Strategy::no_wait, false);
  return [=](std::vector<Check>& checks) {
    const auto best = [](const std::vector<const Cells*>& cells) {
      double most = 0;
      for (const auto* c : cells) most = std::max(most, c->mean("throughput"));
      return most;
    };
    const auto last = [](const std::vector<const Cells*>& cells) { return cells.back()->mean("throughput"); };
    constexpr double bound = 1 / (10 * 0.035 / 2);  // 8 reads and 2 writes, on two disks
    const std::string law = "finite-resources";
    checks.push_back(at_most(law, "best of blocking, commits a second", best(blocking), bound));
    checks.back().note = "the disks allow 1 / (10 · 35 ms / 2) = 5.71 commits a second";
    checks.push_back(at_most(law, "best of immediate restart, commits a second", best(restart), bound));
    checks.push_back(
        at_least(law, "finite: best of blocking to best of immediate restart", best(blocking) / best(restart), 1));
    checks.push_back(at_most(law, "unlimited: blocking at mpl 200 to its own peak: it thrashes",
                             last(blocking_free) / best(blocking_free), 0.9));
    checks.push_back(at_least(law, "unlimited: immediate restart at mpl 200 to its own peak: a plateau",
                              last(restart_free) / best(restart_free), 0.85));
    checks.push_back(at_least(law, "unlimited: immediate restart to blocking, both at mpl 200",
                              last(restart_free) / last(blocking_free), 1));
  };
}

}  // namespace gordian::experiments
