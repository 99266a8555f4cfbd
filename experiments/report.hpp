// One self-contained HTML page of what an experiment brought: in words, as charts, as tables, and how it was made.
//
// It needs nothing beside it: no script, no style sheet, no picture. Charts are chart.hpp's, words advice.hpp's.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "experiments/chart.hpp"
#include "experiments/runner.hpp"

namespace gordian::experiments {

/// Errors: of gnuplot only. Cost: one run of gnuplot for each chart.
[[nodiscard]] tl::expected<std::string, ChartError> html_report(const Outcome& outcome);

}  // namespace gordian::experiments
