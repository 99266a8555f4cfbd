// What the laws have in common: runs that they ask for, and figures of what came of them. For this room's .cpp files.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "experiments/laws.hpp"
#include "experiments/result.hpp"
#include "experiments/settings.hpp"
#include "experiments/statistics.hpp"

namespace gordian::experiments {

/// One cell that a law looks at, and its runs: seed i + 1 is results[i].
struct Cells {
  Settings settings;
  std::size_t seeds;
  std::vector<Result> results;

  [[nodiscard]] std::vector<double> values(std::string_view metric) const;
  [[nodiscard]] double mean(std::string_view metric) const { return estimate(values(metric)).mean; }
  /// All runs as one.
  template <class Count>
  [[nodiscard]] double sum(Count count) const {
    double total = 0;
    for (const auto& result : results) total += static_cast<double>(count(result));
    return total;
  }
};

/// Collects a law's cells; addresses stay.
class Runs {
 public:
  explicit Runs(double effort) : effort_(effort) {}
  /// `duration` is made longer or shorter by the effort.
  Cells& add(Settings settings, std::size_t seeds);
  [[nodiscard]] std::deque<Cells>& all() { return cells_; }

 private:
  const double effort_;
  std::deque<Cells> cells_;
};

/// A law asks for its runs, and says what is to be done when they are there.
using Evaluate = std::function<void(std::vector<Check>& checks)>;
struct Law {
  LawInfo info;
  Evaluate (*plan)(Runs& runs);
};

// laws_of_conflict.cpp
[[nodiscard]] Evaluate plan_conflicts(Runs& runs);
[[nodiscard]] Evaluate plan_exponents(Runs& runs);
[[nodiscard]] Evaluate plan_thrashing(Runs& runs);
// laws_of_choice.cpp
[[nodiscard]] Evaluate plan_crossover(Runs& runs);
[[nodiscard]] Evaluate plan_periods(Runs& runs);
[[nodiscard]] Evaluate plan_interval(Runs& runs);
[[nodiscard]] Evaluate plan_finite_resources(Runs& runs);
// laws.cpp
[[nodiscard]] Evaluate plan_edge_chasing(Runs& runs);
[[nodiscard]] Evaluate plan_zipf(Runs& runs);

/// "measured within ± share of predicted".
[[nodiscard]] Check within(std::string law, std::string what, double measured, double predicted, double share);
[[nodiscard]] Check at_most(std::string law, std::string what, double measured, double bound);
[[nodiscard]] Check at_least(std::string law, std::string what, double measured, double bound);
[[nodiscard]] std::string show_number(double value);

}  // namespace gordian::experiments
