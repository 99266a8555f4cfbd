// What theory and published studies say, next to what the model measures: the reason to trust its other answers.
//
// Each law is a small experiment of its own; a check is one figure of it. Laws and references are those of the literature named
// in docs/experiments.md.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace gordian::experiments {

/// One figure, as it came out and as it should.
struct Check {
  std::string law;   ///< "crossover"
  std::string what;  ///< "N 10, timeout 8: throughput relative to detection"
  double measured = 0;
  double predicted = 0;  ///< the figure, or the bound
  double least = 0;      ///< what passes is from here…
  double most = 0;       ///< …to here; minus infinity or infinity if only the other one counts
  std::string note;      ///< where it differs for a good reason, or what is measured
  [[nodiscard]] bool passed() const { return measured >= least && measured <= most; }
};

struct LawInfo {
  std::string_view name;
  std::string_view meaning;
};
[[nodiscard]] const std::vector<LawInfo>& laws();

struct VerifyOptions {
  unsigned jobs = 1;  ///< threads
  std::string only;   ///< a law's name; empty: all
  double effort = 1;  ///< of the runs' length: less for a quick look, with wider scatter
  std::function<void(const std::string& law, std::size_t done, std::size_t total)> progress;  ///< one call at a time
};
/// Errors: there is no law of that name, or a run failed. Cost: about five minutes on two cores for all.
[[nodiscard]] tl::expected<std::vector<Check>, std::string> verify(const VerifyOptions& options);

}  // namespace gordian::experiments
