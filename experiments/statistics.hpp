// Means with their 95 % confidence intervals, and straight lines through points.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace gordian::experiments {

struct Estimate {
  double mean = 0;
  /// Half the width of the 95 % interval by Student's t; none for fewer than two values.
  std::optional<double> plus_minus;
  std::size_t count = 0;
};
[[nodiscard]] Estimate estimate(std::span<const double> values);
/// Of values[i] / reference[i], for runs of the same seeds; both have the same length, no reference is 0.
[[nodiscard]] Estimate estimate_ratio(std::span<const double> values, std::span<const double> reference);

struct Line {
  double slope;
  double at_zero;
};
/// By least squares; at least two different x.
[[nodiscard]] Line fit_line(std::span<const double> x, std::span<const double> y);

}  // namespace gordian::experiments
