#include "experiments/advice.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>

#include "experiments/live.hpp"
#include "experiments/pictures.hpp"

namespace gordian::experiments {
namespace {

/// Of the share of transactions that wait: where contention takes more than one more transaction brings (Thomasian 1991,
/// Tay 1985 have the peak near it).
constexpr double blocked_at_peak = 0.3;

std::string rounded(double value, int digits = 3) {
  std::ostringstream text;
  text.precision(digits);
  text << value;
  return text.str();
}
/// Two digits that count.
std::string percent(double share) {
  const double value = 100 * share, size = std::abs(value);
  std::ostringstream text;
  text.setf(std::ios::fixed);
  text.precision(size >= 9.95 ? 0 : size >= 0.995 ? 1 : 2);
  text << value;
  return text.str() + " %";
}
std::string with_interval(const Estimate& value) {
  return rounded(value.mean) + (value.plus_minus ? " ± " + rounded(*value.plus_minus, 2) : "");
}
std::string list(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  return text;
}

bool is_timeout(Strategy strategy) { return strategy == Strategy::timeout; }
bool is_detection(Strategy strategy) {
  return strategy == Strategy::detection || strategy == Strategy::periodic || strategy == Strategy::edge_chasing ||
         strategy == Strategy::detection_timeout;
}

/// One choice in one workload.
struct Choice {
  std::string label;
  std::size_t cell;
  Estimate to_best;  ///< ratio to the best one, by seed
  bool ties = false;
};
struct Situation {
  std::string label;  ///< empty: the plan has only one
  std::vector<Choice> choices;
};

class Adviser {
 public:
  explicit Adviser(const Outcome& outcome) : outcome_(outcome), plan_(outcome.plan), chosen_(choices(outcome.plan)) {}

  std::vector<std::string> advise() {
    auto situations = find_situations();
    std::vector<std::string> text;
    if (situations.empty()) return {"No run has finished yet, so there is nothing to advise."};
    const auto idle = std::erase_if(situations, [&](const Situation& each) {
      return std::ranges::all_of(each.choices,
                                 [&](const Choice& choice) { return metric(choice.cell, "throughput").mean == 0; });
    });
    if (situations.empty()) return {"Nothing was committed in any run, so there is nothing to advise."};
    if (chosen_.empty()) return {best_load(situations)};
    for (auto& each : situations) judge(each);
    text.push_back(sum_up(situations));
    for (std::size_t i = 0; i < std::min(situations.size(), situations_max); ++i) text.push_back(tell(situations[i]));
    if (auto why = notes(situations, text); !why.empty()) text.push_back(std::move(why));
    if (situations.size() > situations_max)
      text.push_back(std::to_string(situations.size() - situations_max) + " more workloads are in the tables only.");
    if (idle > 0)
      text.push_back("In " + std::to_string(idle) + (idle == 1 ? " workload" : " workloads") +
                     " nothing was committed, whatever was chosen.");
    return text;
  }

 private:
  [[nodiscard]] Estimate metric(std::size_t cell, std::string_view name) const {
    return outcome_.cells[cell].metric(metric_index(name));
  }
  [[nodiscard]] std::string label(const Cell& cell, bool of_choice) const {
    std::string text;
    for (std::size_t a = 0; a < plan_.axes.size(); ++a) {
      if ((std::ranges::find(chosen_, a) != chosen_.end()) != of_choice) continue;
      const auto& axis = plan_.axes[a];
      const auto& point = axis.points[cell.place[a]];
      // A number, and a value of a setting, say nothing without the axis' name.
      const bool plain =
          point.settings.size() == 1 && point.settings.front().first == axis.name && axis.name != "strategy";
      const bool bare = plain || (!point.label.empty() && point.label[0] >= '0' && point.label[0] <= '9');
      const bool told = point.label.starts_with(axis.name + " ");
      text.append(text.empty() ? "" : ", ").append(bare && !told ? axis.name + " " + point.label : point.label);
    }
    return text;
  }

  [[nodiscard]] std::vector<Situation> find_situations() const {
    std::map<std::vector<std::size_t>, std::size_t> known;
    std::vector<Situation> found;
    for (std::size_t i = 0; i < plan_.cells.size(); ++i) {
      if (outcome_.cells[i].runs.empty()) continue;
      auto where = plan_.cells[i].place;
      for (const auto axis : chosen_) where[axis] = 0;
      const auto [at, fresh] = known.emplace(std::move(where), found.size());
      if (fresh) found.push_back({label(plan_.cells[i], false), {}});
      found[at->second].choices.push_back({label(plan_.cells[i], true), i, {}});
    }
    return found;
  }

  /// Whether all work that arrives is done, whatever is chosen: then response times are what differs.
  [[nodiscard]] bool keeps_up(const Situation& situation) const {
    return std::ranges::all_of(situation.choices, [&](const Choice& choice) {
      const auto rate = plan_.cells[choice.cell].settings.arrival_rate;
      return rate > 0 && metric(choice.cell, "throughput").mean > 0.98 * rate;
    });
  }

  /// Best first, ties marked, and of those the one with the fewest aborts in front.
  void judge(Situation& situation) const {
    const bool by_response = keeps_up(situation);
    const auto by = metric_index(by_response ? "response_mean" : "throughput");
    auto& all = situation.choices;
    const auto value = [&](const Choice& choice) { return outcome_.cells[choice.cell].metric(by).mean; };
    std::ranges::stable_sort(
        all, [&](const Choice& a, const Choice& b) { return by_response ? value(a) < value(b) : value(a) > value(b); });
    const auto best = all.front().cell;
    for (auto& each : all) {
      each.to_best = outcome_.cells[each.cell].relative(by, outcome_.cells[best]);
      const double distance = std::abs(each.to_best.mean - 1);
      each.ties = each.cell == best || (each.to_best.plus_minus && distance <= *each.to_best.plus_minus);
    }
    const auto end_of_ties = std::ranges::stable_partition(all, &Choice::ties).begin();
    std::stable_sort(all.begin(), end_of_ties, [&](const Choice& a, const Choice& b) {
      return metric(a.cell, "aborts").mean < metric(b.cell, "aborts").mean;
    });
  }

  [[nodiscard]] std::string costs(std::size_t cell) const {
    const double aborts = metric(cell, "aborts").mean;
    std::string text = aborts == 0 ? "no aborts"
                                   : rounded(aborts) + " aborts per started transaction, " +
                                         percent(metric(cell, "wasted").mean) + " of the work for nothing";
    const auto slowest = metric(cell, "response_p99");
    if (slowest.count > 0) text += ", 99 % done within " + rounded(slowest.mean) + " units";
    const auto messages = metric(cell, "messages");
    if (messages.mean > 0) text += ", " + rounded(messages.mean) + " messages of detection per commit";
    return text;
  }

  [[nodiscard]] std::string tell(const Situation& situation) const {
    const auto& all = situation.choices;
    const auto& advised = all.front();
    const bool by_response = keeps_up(situation);
    std::string text =
        (situation.label.empty() ? "Choose " : "With " + situation.label + ": choose ") + advised.label + ". ";
    const auto throughput = metric(advised.cell, "throughput");
    text += "It commits " + with_interval(throughput) + " transactions a unit (" + costs(advised.cell) + "). ";
    text += ties(situation) + rest(situation, by_response) + certainty(situation) + thrashing(situation);
    return text;
  }
  /// Who else would do, and what that would cost.
  [[nodiscard]] std::string ties(const Situation& situation) const {
    std::vector<std::string> tied;
    const Choice* costliest = nullptr;
    for (const auto& each : situation.choices) {
      if (!each.ties || &each == &situation.choices.front()) continue;
      tied.push_back(each.label);
      if (costliest == nullptr || metric(each.cell, "aborts").mean > metric(costliest->cell, "aborts").mean)
        costliest = &each;
    }
    if (tied.empty()) return {};
    constexpr std::size_t few = 6;
    const auto count = tied.size();
    if (count > few) {
      tied.resize(few);
      tied.push_back(std::to_string(count - few) + " more");
    }
    std::string text = "On " + std::string(keeps_up(situation) ? "response time" : "throughput") + " " + list(tied) +
                       (count == 1 ? " ties" : " tie") +
                       " with it within the 95 % interval; it is advised for it aborts least";
    const double least = metric(situation.choices.front().cell, "aborts").mean;
    const double most = metric(costliest->cell, "aborts").mean;
    if (least > 0 && most > 1.5 * least)
      text += ": " + costliest->label + " aborts " + rounded(most / least, 2) + " times as many and wastes " +
              percent(metric(costliest->cell, "wasted").mean) + " of the work";
    return text + ". ";
  }
  /// How far behind the others are.
  [[nodiscard]] std::string rest(const Situation& situation, bool by_response) const {
    const Choice* next = nullptr;
    const Choice* worst = nullptr;
    for (const auto& each : situation.choices) {
      if (each.ties) continue;
      if (next == nullptr) next = &each;
      worst = &each;
    }
    if (next == nullptr) return {};
    const auto distance = [&](const Choice& choice) {
      return by_response ? percent(choice.to_best.mean - 1) + " slower" : percent(1 - choice.to_best.mean) + " less";
    };
    std::string text = "Next comes " + next->label + " (" + distance(*next) + compared_aborts(*next, situation) + ")";
    if (worst != next) text += "; the last is " + worst->label + " (" + distance(*worst) + ")";
    return text + ". ";
  }
  /// Where the difference is too small to matter, what else differs.
  [[nodiscard]] std::string compared_aborts(const Choice& next, const Situation& situation) const {
    constexpr double small = 0.01, much = 1.5;
    const double advised = metric(situation.choices.front().cell, "aborts").mean;
    const double other = metric(next.cell, "aborts").mean;
    if (std::abs(next.to_best.mean - 1) > small || advised == 0 || other == 0) return {};
    if (other > much * advised)
      return ": hardly worse, but it aborts " + rounded(other / advised, 2) + " times as many";
    if (advised > much * other) return ": hardly worse, and it aborts " + percent(1 - other / advised) + " fewer";
    return ": hardly worse";
  }
  /// Of its cells, those of the one with the fewest.
  [[nodiscard]] std::size_t least_runs(const Situation& situation) const {
    auto least = std::numeric_limits<std::size_t>::max();
    for (const auto& each : situation.choices) least = std::min(least, outcome_.cells[each.cell].runs.size());
    return least;
  }
  [[nodiscard]] std::string certainty(const Situation& situation) const {
    const auto runs = least_runs(situation);
    if (runs < 2) return "This rests on one seed: there is no interval, and differences may be chance. ";
    if (runs < 5)
      return "With " + std::to_string(runs) + " seeds the intervals are wide: small differences may be missed. ";
    return {};
  }
  /// Where a timeout does better than every detection, why.
  [[nodiscard]] std::string thrashing(const Situation& situation) const {
    const Choice* timeout = nullptr;
    const Choice* detection = nullptr;
    for (const auto& each : situation.choices) {
      const auto strategy = plan_.cells[each.cell].settings.strategy;
      if (is_timeout(strategy) && better(each, timeout)) timeout = &each;
      if (is_detection(strategy) && better(each, detection)) detection = &each;
    }
    if (timeout == nullptr || detection == nullptr) return {};
    const auto ratio =
        outcome_.cells[timeout->cell].relative(metric_index("throughput"), outcome_.cells[detection->cell]);
    if (!ratio.plus_minus || ratio.mean - *ratio.plus_minus <= 1) return {};
    return "Here a timeout beats detection: " + timeout->label + " commits " + percent(ratio.mean - 1) + " more than " +
           detection->label +
           (past_thrashing(*detection) ? ", for the system is past thrashing: under detection " +
                                             percent(waiting(*detection)) + " of the transactions wait. "
                                       : std::string(". "));
  }
  [[nodiscard]] double waiting(const Choice& choice) const {
    const double active = metric(choice.cell, "active").mean, blocked = metric(choice.cell, "blocked").mean;
    return active + blocked > 0 ? blocked / (active + blocked) : 0;
  }
  [[nodiscard]] bool past_thrashing(const Choice& choice) const { return waiting(choice) > blocked_at_peak; }
  [[nodiscard]] bool better(const Choice& a, const Choice* than) const {
    return than == nullptr || metric(a.cell, "throughput").mean > metric(than->cell, "throughput").mean;
  }

  [[nodiscard]] std::string sum_up(const std::vector<Situation>& situations) const {
    if (situations.size() == 1 && situations.front().choices.size() == 1)
      return "There is only one setting here, nothing to choose from.";
    std::map<std::string, std::size_t> first, good;
    std::size_t close = 0;
    for (const auto& each : situations) {
      ++first[each.choices.front().label];
      std::size_t tied = 0;
      for (const auto& choice : each.choices)
        if (choice.ties) ++good[choice.label], ++tied;
      close += tied > 1 ? 1 : 0;
    }
    const auto most = std::ranges::max_element(first, {}, &std::pair<const std::string, std::size_t>::second);
    const auto sure = std::ranges::max_element(good, {}, &std::pair<const std::string, std::size_t>::second);
    const auto single = static_cast<std::size_t>(
        std::ranges::count_if(situations, [&](const Situation& each) { return least_runs(each) < 2; }));
    if (situations.size() == 1)
      return "Choose " + most->first +
             (single > 0  ? ". With one seed there is no interval, and differences may be chance."
              : close > 0 ? "; but it does not win alone."
                          : "; nothing else comes within the 95 % interval of it.");
    std::string text = "Over " + std::to_string(situations.size()) + " workloads: " + most->first + " is advised for " +
                       std::to_string(most->second) + " of them";
    if (single > 0)
      text += ". With one seed there is no interval, and differences may be chance" +
              (single < situations.size() ? " (" + std::to_string(single) + " of them)" : std::string());
    else if (sure->second == situations.size())
      text += "; " + sure->first + " is never significantly worse than the best";
    else
      text += "; no setting is best everywhere: " + sure->first + " is best or ties with the best in " +
              std::to_string(sure->second);
    text += ". ";
    if (close > 0)
      text +=
          "In " + std::to_string(close) + " of them the best settings cannot be told apart within the 95 % interval. ";
    return text;
  }

  /// What holds for all of them.
  [[nodiscard]] std::string notes(const std::vector<Situation>& situations,
                                  const std::vector<std::string>& told) const {
    std::string text;
    if (std::ranges::any_of(told, [](const auto& each) { return each.find("past thrashing") != std::string::npos; }))
      text +=
          "Past thrashing transactions mostly wait for others that wait. Aborts that no deadlock asked for are load "
          "control then: they "
          "free locks. Letting fewer transactions in at a time is the control without the waste; compare with the best "
          "detection "
          "at a lower load before you choose a timeout. ";
    constexpr double much = 0.05;
    if (std::ranges::any_of(situations, [&](const Situation& each) {
          const auto& settings = plan_.cells[each.choices.front().cell].settings;
          return !live(outcome_) && settings.cpus == 0 && settings.disks == 0 &&
                 metric(each.choices.front().cell, "wasted").mean > much;
        }))
      text +=
          "CPUs and disks are unlimited in this plan, so work for nothing takes nothing from anybody. On a machine "
          "that is busy it "
          "does: give the plan cpus and disks before you trust a setting that aborts much. ";
    return text;
  }

  /// Of a plan that varies only what is given.
  [[nodiscard]] std::string best_load(const std::vector<Situation>& situations) const {
    const auto at = std::ranges::max_element(
        situations, {}, [&](const Situation& each) { return metric(each.choices.front().cell, "throughput").mean; });
    const auto cell = at->choices.front().cell;
    return "Nothing is to be chosen in this plan: all its cells have the strategy \"" +
           std::string(name(plan_.cells[cell].settings.strategy)) +
           "\", and only the workload varies. Throughput is highest " +
           (at->label.empty() ? std::string() : "with " + at->label + ", ") + "at " +
           with_interval(metric(cell, "throughput")) + " commits a unit (" + costs(cell) + ").";
  }

  const Outcome& outcome_;
  const Plan& plan_;
  const std::vector<std::size_t> chosen_;
};

}  // namespace

std::vector<std::string> advice(const Outcome& outcome) { return Adviser(outcome).advise(); }

}  // namespace gordian::experiments
