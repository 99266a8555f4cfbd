// Runs a plan: every cell with every seed, on several threads, and what came of it in a folder.
//
// DIR/plan.toml is the configuration as it was read, DIR/version.txt by what it was run; DIR/runs.csv has a line for each
// finished run, written at once, so that a run that was stopped goes on where it was; DIR/cells.csv has the mean and the 95 %
// interval of every metric of every cell. read_outcome() gives it all back, for reports.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "experiments/plan.hpp"
#include "experiments/result.hpp"
#include "experiments/statistics.hpp"

namespace gordian::experiments {

/// One finished run.
struct Run {
  std::uint64_t seed;
  std::vector<double> metrics;  ///< by metric_infos()
};
struct CellOutcome {
  std::vector<Run> runs;  ///< by seed
  [[nodiscard]] Estimate metric(std::size_t index) const;
  /// Of the seeds that both have.
  [[nodiscard]] Estimate relative(std::size_t index, const CellOutcome& reference) const;
};
struct Outcome {
  Plan plan;
  std::string made_by;             ///< "gordian 0.1.0, simulated"
  std::vector<CellOutcome> cells;  ///< by plan.cells
};

/// Does one run; called on several threads. Errors: a sentence.
using RunOne = std::function<tl::expected<Result, std::string>(const Cell& cell, std::uint64_t seed)>;
/// As the model does it.
[[nodiscard]] RunOne simulated();

struct Progress {
  std::size_t done;  ///< runs, those of earlier times included
  std::size_t total;
  std::string running;  ///< the cell that was finished last
};
struct RunOptions {
  std::optional<std::uint64_t> seeds;             ///< in place of the plan's
  unsigned jobs = 1;                              ///< threads
  std::string folder;                             ///< made if it is not there; empty: nothing is written
  std::string how = "simulated";                  ///< or "live": what the folder says of its runs
  RunOne run_one;                                 ///< none: simulated()
  std::function<void(const Progress&)> progress;  ///< one call at a time
};

/// Seeds 1 to n of each cell; those that the folder has are not run again. Errors (a sentence): the folder cannot be written,
/// or belongs to another configuration, version or kind of run; a run failed.
[[nodiscard]] tl::expected<Outcome, std::string> run(const Plan& plan, const RunOptions& options);

/// What is in the folder, finished or not. Errors: it is none of run()'s, or cannot be read.
[[nodiscard]] tl::expected<Outcome, std::string> read_outcome(const std::string& folder);

/// cells.csv's text.
[[nodiscard]] std::string cells_csv(const Outcome& outcome);

}  // namespace gordian::experiments
