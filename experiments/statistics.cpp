#include "experiments/statistics.hpp"

#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>
#include <vector>

namespace gordian::experiments {

Estimate estimate(std::span<const double> values) {
  Estimate result{.count = values.size()};
  if (values.empty()) return result;
  const auto n = static_cast<double>(values.size());
  result.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  const boost::math::students_t distribution(n - 1);
  result.plus_minus = boost::math::quantile(distribution, 0.975) * std::sqrt(squares / (n - 1) / n);
  return result;
}

Estimate estimate_ratio(std::span<const double> values, std::span<const double> reference) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < values.size(); ++i) ratios.push_back(values[i] / reference[i]);
  return estimate(ratios);
}

Line fit_line(std::span<const double> x, std::span<const double> y) {
  const double mean_x = estimate(x).mean, mean_y = estimate(y).mean;
  double xx = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  const double slope = xy / xx;
  return {slope, mean_y - slope * mean_x};
}

}  // namespace gordian::experiments
