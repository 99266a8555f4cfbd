// The list of laws, their runs on threads, and the two that need no model: probes on a ring, and the skew of accesses.
#include "experiments/laws.hpp"

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "experiments/law_runs.hpp"
#include "experiments/model.hpp"
#include "trace/shared_graph.hpp"

namespace gordian::experiments {
namespace {

const std::vector<Law>& all_laws() {
  static const std::vector<Law> all{
      {{"conflicts", "waits and deadlocks per transaction, in five reference cells"}, plan_conflicts},
      {{"exponents", "deadlocks grow as N¹ r⁴ D⁻²"}, plan_exponents},
      {{"thrashing", "throughput peaks where Tay and Thomasian say"}, plan_thrashing},
      {{"crossover", "timeouts against detection, past thrashing too"}, plan_crossover},
      {{"periods", "what rare detection costs"}, plan_periods},
      {{"interval", "the best frequency of detection grows with the cube root of the deadlocks (Ling, Chen, Chiang)"},
       plan_interval},
      {{"finite-resources", "Agrawal, Carey, Livny: blocking wins on finite resources, thrashes on unlimited ones"},
       plan_finite_resources},
      {{"edge-chasing", "probes on a ring where all start"}, plan_edge_chasing},
      {{"zipf", "what the hottest tenth of the objects gets"}, plan_zipf},
  };
  return all;
}

/// All runs of all laws, shared by threads, the longest first.
class Shift {
 public:
  Shift(std::vector<std::pair<std::string, Cells*>> cells, const VerifyOptions& options) : options_(options) {
    for (const auto& [law, cell] : cells) {
      cell->results.resize(cell->seeds);
      for (std::size_t i = 0; i < cell->seeds; ++i) tasks_.push_back({law, cell, i});
    }
    const auto cost = [](const Task& task) {
      const auto& s = task.cells->settings;
      return s.duration * static_cast<double>(s.mpl);
    };
    std::ranges::stable_sort(tasks_, [&](const Task& a, const Task& b) { return cost(a) > cost(b); });
  }
  std::string run() {
    {
      std::vector<std::jthread> threads;
      for (unsigned job = 0; job < std::max(1U, options_.jobs); ++job) threads.emplace_back([this] { work(); });
    }
    return failure_;
  }

 private:
  struct Task {
    std::string law;
    Cells* cells;
    std::size_t place;
  };
  void work() {
    for (auto at = next_++; at < tasks_.size(); at = next_++) {
      auto& task = tasks_[at];
      auto result = simulate(task.cells->settings, task.place + 1);
      const std::lock_guard lock(mutex_);
      if (!result) {
        failure_ = result.error();
        next_ = tasks_.size();
        return;
      }
      task.cells->results[task.place] = *std::move(result);
      ++done_;
      if (options_.progress) options_.progress(task.law, done_, tasks_.size());
    }
  }

  const VerifyOptions& options_;
  std::vector<Task> tasks_;
  std::atomic<std::size_t> next_ = 0;
  std::mutex mutex_;
  std::size_t done_ = 0;
  std::string failure_;
};

/// A ring of `n` transactions, each owned by a coordinator of its own: what it costs if all start their probes.
struct Ring {
  std::uint64_t probes;
  std::uint64_t suspects;
};
Ring chase_ring(std::size_t n, bool filter, Draw& random) {
  trace::SharedGraph shared(n, {.filter = filter});
  wire::MemberMap map;
  for (std::size_t i = 0; i < n; ++i) map.members.push_back({"c" + std::to_string(i), {}});
  std::vector<std::optional<TxnId>> owned(n);
  for (std::size_t id = 0, found = 0; found < n; ++id) {
    const TxnId txn(std::to_string(id));
    auto& place = owned[wire::owner(map, txn)];
    if (!place) place = txn, ++found;
  }
  for (std::size_t i = n; i > 1; --i) std::swap(owned[i - 1], owned[random.below(i)]);
  for (std::size_t i = 0; i < n; ++i) {
    const std::vector<Blocker> blocker{{*owned[(i + 1) % n]}};
    (void)shared.begin_wait({0, i + 1}, *owned[i], blocker, {}, graph::need_all);
  }
  (void)shared.full_pass();
  return {shared.probes(), shared.suspects()};
}

}  // namespace

Evaluate plan_edge_chasing(Runs&) {
  return [](std::vector<Check>& checks) {
    constexpr std::size_t rings = 40;
    Draw random(1, 0);
    for (const std::size_t n : {8, 64}) {
      double plain = 0, plain_suspects = 0, filtered = 0, filtered_suspects = 0, harmonic = 0;
      for (std::size_t i = 0; i < rings; ++i) {
        const auto all = chase_ring(n, false, random), smaller = chase_ring(n, true, random);
        plain += static_cast<double>(all.probes);
        plain_suspects += static_cast<double>(all.suspects);
        filtered += static_cast<double>(smaller.probes);
        filtered_suspects += static_cast<double>(smaller.suspects);
      }
      for (auto* sum : {&plain, &plain_suspects, &filtered, &filtered_suspects}) *sum /= rings;
      for (std::size_t k = 1; k <= n; ++k) harmonic += 1 / static_cast<double>(k);
      const auto size = static_cast<double>(n);
      const std::string ring = "ring of " + std::to_string(n) + ": ";
      checks.push_back(within("edge-chasing", ring + "probes, unfiltered (n²)", plain, size * size, 0));
      checks.push_back(within("edge-chasing", ring + "declarations, unfiltered (n)", plain_suspects, size, 0));
      checks.push_back(within("edge-chasing", ring + "declarations, filtered (1)", filtered_suspects, 1, 0));
      checks.push_back(within("edge-chasing", ring + "probes, filtered", filtered, size * harmonic - (size - 1), 0.1));
      checks.back().note = "theory says n·Hₙ filtered (" + show_number(size * harmonic) + " for " + std::to_string(n) +
                           "), where a probe is sent to the larger one and dropped there; here the sender knows its "
                           "blocker's id and does "
                           "not send it, which saves n − 1";
    }
  };
}

Evaluate plan_zipf(Runs&) {
  return [](std::vector<Check>& checks) {
    constexpr int draws = 1'000'000;
    for (const double theta : {0.6, 0.8}) {
      Settings settings;
      settings.access = Access::zipf, settings.theta = theta, settings.locks = 1, settings.objects = 10'000;
      const auto workload = make_workload(settings);
      Draw random(1, 0);
      Program program;
      int hot = 0;
      for (int i = 0; i < draws; ++i) {
        (*workload)->draw(random, program);
        hot += program.front().resource < settings.objects / 10 ? 1 : 0;
      }
      const double predicted = 100 * std::pow(0.1, 1 - theta);
      checks.push_back({"zipf", "theta " + show_number(theta) + ": % of accesses to the hottest tenth",
                        100.0 * hot / draws, predicted, predicted - 1, predicted + 1, ""});
    }
  };
}

Cells& Runs::add(Settings settings, std::size_t seeds) {
  settings.duration *= effort_;
  return cells_.emplace_back(Cells{std::move(settings), seeds, {}});
}

std::vector<double> Cells::values(std::string_view metric) const {
  const auto& info = metric_infos()[metric_index(metric)];
  std::vector<double> values;
  for (const auto& result : results) values.push_back(info.of(result));
  return values;
}

Check within(std::string law, std::string what, double measured, double predicted, double share) {
  const double width = std::abs(predicted) * share;
  return {std::move(law), std::move(what), measured, predicted, predicted - width, predicted + width, ""};
}

Check at_most(std::string law, std::string what, double measured, double bound) {
  return {std::move(law), std::move(what), measured, bound, -std::numeric_limits<double>::infinity(), bound, ""};
}
Check at_least(std::string law, std::string what, double measured, double bound) {
  return {std::move(law), std::move(what), measured, bound, bound, std::numeric_limits<double>::infinity(), ""};
}

std::string show_number(double value) {
  std::ostringstream text;
  text.precision(4);
  text << value;
  return text.str();
}

const std::vector<LawInfo>& laws() {
  static const auto infos = [] {
    std::vector<LawInfo> made;
    for (const auto& law : all_laws()) made.push_back(law.info);
    return made;
  }();
  return infos;
}

tl::expected<std::vector<Check>, std::string> verify(const VerifyOptions& options) {
  std::deque<Runs> runs;
  std::vector<Evaluate> evaluations;
  std::vector<std::pair<std::string, Cells*>> cells;
  std::string known;
  for (const auto& law : all_laws()) {
    known.append(known.empty() ? "" : ", ").append(law.info.name);
    if (!options.only.empty() && options.only != law.info.name) continue;
    auto& own = runs.emplace_back(options.effort);
    evaluations.push_back(law.plan(own));
    for (auto& cell : own.all()) cells.emplace_back(law.info.name, &cell);
  }
  if (evaluations.empty())
    return tl::unexpected("--only: \"" + options.only + "\" was given, expected one of: " + known);
  if (const auto failure = Shift(std::move(cells), options).run(); !failure.empty()) return tl::unexpected(failure);
  std::vector<Check> checks;
  for (const auto& evaluate : evaluations) evaluate(checks);
  return checks;
}

}  // namespace gordian::experiments
