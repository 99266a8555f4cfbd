// How often transactions wait and deadlock, by their number, size and room: the straw-man analyses of Gray and others, and the
// thrashing of Tay and Thomasian.
#include <algorithm>
#include <cmath>

#include "experiments/law_runs.hpp"

namespace gordian::experiments {
namespace {

struct Place {
  std::uint64_t mpl, locks, objects;
  double transactions;  ///< millions that are looked at, for a thousand deadlocks or more
};

std::string name(const Place& p) {
  return "N " + std::to_string(p.mpl) + ", r " + std::to_string(p.locks) + ", D " + std::to_string(p.objects);
}
Cells& add(Runs& runs, const Place& place, std::size_t seeds) {
  Settings s;
  s.mpl = place.mpl, s.locks = place.locks, s.objects = place.objects;
  s.duration = place.transactions * 1e6 * static_cast<double>(s.locks + 1) / static_cast<double>(s.mpl * seeds);
  s.warmup = 200;
  return runs.add(s, seeds);
}

double predicted_waits(const Settings& s) {
  const auto n = static_cast<double>(s.mpl), r = static_cast<double>(s.locks), d = static_cast<double>(s.objects);
  return 1 - std::pow(1 - (n - 1) * r / (2 * d), r);
}
double predicted_deadlocks(const Settings& s) {
  const auto r = static_cast<double>(s.locks), d = static_cast<double>(s.objects);
  return predicted_waits(s) * (r - 1) * (r - 1) / (6 * d);
}
double measured_waits(const Cells& c) {
  return c.sum([](const Result& r) { return r.waited; }) / c.sum([](const Result& r) { return r.ended(); });
}
double deadlocks(const Cells& c) {
  return c.sum([](const Result& r) { return r.deadlocks; });
}
double measured_deadlocks(const Cells& c) {
  return deadlocks(c) / c.sum([](const Result& r) { return r.ended(); });
}

}  // namespace

Evaluate plan_conflicts(Runs& runs) {
  struct Reference {
    Place place;
    double waits, deadlocks;  ///< measured to predicted, as published
  };
  static const std::vector<Reference> references{{{10, 4, 1000, 9.6}, .994, 1.09},
                                                 {{10, 8, 2500, 2.9}, .996, 1.09},
                                                 {{20, 8, 5000, 5.3}, .995, 1.16},
                                                 {{40, 8, 10000, 9.8}, .994, 1.15},
                                                 {{20, 16, 20000, 4.6}, .999, 1.13}};
  std::vector<const Cells*> cells;
  for (const auto& reference : references) cells.push_back(&add(runs, reference.place, 4));
  return [cells](std::vector<Check>& checks) {
    double twos = 0, all = 0;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const auto& c = *cells[i];
      const auto& reference = references[i];
      const double waits = measured_waits(c), law = predicted_waits(c.settings);
      checks.push_back(within("conflicts", name(reference.place) + ": share that ever waits", waits, law, 0.03));
      checks.push_back(within("conflicts", name(reference.place) + ": …to the law, as in the reference", waits / law,
                              reference.waits, 0.01));
      const double found = measured_deadlocks(c), expected = predicted_deadlocks(c.settings);
      checks.push_back({"conflicts",
                        name(reference.place) + ": deadlocks per transaction, to the law (" +
                            show_number(deadlocks(c)) + " of them)",
                        found / expected, reference.deadlocks, 0.95, 1.30, ""});
      twos += c.sum([](const Result& r) { return r.cycles[2]; });
      all += deadlocks(c);
    }
    checks.push_back({"conflicts", "share of cycles of length 2", twos / all, 0.95, 0.93, 0.97, ""});
  };
}

Evaluate plan_exponents(Runs& runs) {
  struct Series {
    std::string what;
    double expected;
    std::vector<Place> places;
    double (*x)(const Settings&);
    double factor;
  };
  static const std::vector<Series> all{
      {"exponent of N",
       1,
       {{10, 8, 4000, 2.5}, {20, 8, 4000, 1}, {40, 8, 4000, 0.4}},
       [](const Settings& s) { return std::log(static_cast<double>(s.mpl)); },
       1},
      {"exponent of r, by (r − 1)²·r²",
       4,
       {{10, 4, 1000, 4}, {10, 6, 1000, 0.9}, {10, 8, 1000, 0.3}},
       [](const Settings& s) { return 2 * std::log(static_cast<double>(s.locks * (s.locks - 1))); },
       4},
      {"exponent of D",
       -2,
       {{10, 8, 1000, 0.3}, {10, 8, 1600, 0.6}, {10, 8, 2500, 1.2}},
       [](const Settings& s) { return std::log(static_cast<double>(s.objects)); },
       1}};
  std::vector<std::vector<const Cells*>> cells(all.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    for (const auto& place : all[i].places) cells[i].push_back(&add(runs, place, 2));
  return [cells](std::vector<Check>& checks) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      std::vector<double> x, y;
      for (const auto* c : cells[i]) {
        x.push_back(all[i].x(c->settings));
        y.push_back(std::log(measured_deadlocks(*c)));
      }
      const double slope = all[i].factor * fit_line(x, y).slope;
      checks.push_back(
          {"exponents", all[i].what, slope, all[i].expected, all[i].expected - 0.3, all[i].expected + 0.3, ""});
    }
  };
}

/// The curve is flat at its top, so the top is that of a parabola through N = 20 to 36.
Evaluate plan_thrashing(Runs& runs) {
  static constexpr double middle = 28, far_past = 50;
  std::vector<const Cells*> cells;
  for (const std::uint64_t mpl : {20, 24, 28, 32, 36, 50}) {
    Settings s;
    s.mpl = mpl, s.duration = 60'000;
    cells.push_back(&runs.add(s, 4));
  }
  return [cells](std::vector<Check>& checks) {
    std::vector<double> n, waits;
    double count = 0, y = 0, xy = 0, x2 = 0, x2y = 0, x4 = 0, best = 0;
    for (const auto* c : cells) {
      const double throughput = c->mean("throughput"), x = static_cast<double>(c->settings.mpl) - middle;
      best = std::max(best, throughput);
      if (x + middle == far_past) continue;
      n.push_back(x), waits.push_back(c->mean("waits"));
      ++count, y += throughput, xy += x * throughput;
      x2 += x * x, x2y += x * x * throughput, x4 += x * x * x * x;
    }
    const double curve = (count * x2y - x2 * y) / (count * x4 - x2 * x2);  // N lies evenly around the middle
    const double top = -xy / x2 / (2 * curve);
    const auto line = fit_line(n, waits);
    checks.push_back({"thrashing", "r 8, D 1000: N of the highest throughput", top + middle, 27.5, 25, 30, ""});
    checks.push_back({"thrashing", "r²N/D there", 64 * (top + middle) / 1000, 1.7, 1.5, 1.92, ""});
    checks.push_back(
        {"thrashing", "conflicts per transaction there", line.at_zero + line.slope * top, 0.8, 0.73, 0.86, ""});
    checks.push_back(at_most("thrashing", "throughput at N 50, to the highest: it falls",
                             cells.back()->mean("throughput") / best, 0.97));
  };
}

}  // namespace gordian::experiments
