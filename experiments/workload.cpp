#include "experiments/workload.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "experiments/trace_workload.hpp"

namespace gordian::experiments {
namespace {

using modes::S;
using modes::X;

/// One object of `objects`.
class Pattern {
 public:
  virtual ~Pattern() = default;
  [[nodiscard]] virtual std::uint32_t draw(Draw& random) const = 0;
};

class Uniform : public Pattern {
 public:
  explicit Uniform(std::uint64_t objects) : objects_(objects) {}
  std::uint32_t draw(Draw& random) const override { return static_cast<std::uint32_t>(random.below(objects_)); }

 private:
  const std::uint64_t objects_;
};

/// The power law that Zipf's tends to: the hottest share x of the objects gets x^(1 − theta) of the accesses.
class PowerLaw : public Pattern {
 public:
  PowerLaw(std::uint64_t objects, double theta) : objects_(static_cast<double>(objects)), power_(1 / (1 - theta)) {}
  std::uint32_t draw(Draw& random) const override {
    return static_cast<std::uint32_t>(objects_ * std::pow(random.uniform(), power_));
  }

 private:
  const double objects_;
  const double power_;
};

/// Zipf's law itself, object i with weight i^-theta, by its table of sums.
class Zipf : public Pattern {
 public:
  Zipf(std::uint64_t objects, double theta) {
    double sum = 0;
    for (std::uint64_t i = 1; i <= objects; ++i) sums_.push_back(sum += std::pow(static_cast<double>(i), -theta));
  }
  std::uint32_t draw(Draw& random) const override {
    const auto at = std::ranges::upper_bound(sums_, random.uniform() * sums_.back());
    return static_cast<std::uint32_t>(std::min<std::ptrdiff_t>(at - sums_.begin(), std::ssize(sums_) - 1));
  }

 private:
  std::vector<double> sums_;
};

class HotSet : public Pattern {
 public:
  explicit HotSet(const Settings& s)
      : objects_(s.objects),
        hot_(std::clamp<std::uint64_t>(
            static_cast<std::uint64_t>(std::llround(s.hot_share * static_cast<double>(s.objects))), 1, s.objects)),
        probability_(hot_ == objects_ ? 1 : s.hot_probability) {}
  std::uint32_t draw(Draw& random) const override {
    if (random.chance(probability_)) return static_cast<std::uint32_t>(random.below(hot_));
    return static_cast<std::uint32_t>(hot_ + random.below(objects_ - hot_));
  }

 private:
  const std::uint64_t objects_;
  const std::uint64_t hot_;
  const double probability_;
};

std::unique_ptr<Pattern> make_pattern(const Settings& s) {
  constexpr double ycsb_theta = 0.99;
  switch (s.access) {
    case Access::zipf: return std::make_unique<PowerLaw>(s.objects, s.theta);
    case Access::hot_set: return std::make_unique<HotSet>(s);
    case Access::ycsb: return std::make_unique<Zipf>(s.objects, ycsb_theta);
    default: return std::make_unique<Uniform>(s.objects);
  }
}

/// `locks` objects of a pattern, some of them written.
class Drawn : public Workload {
 public:
  explicit Drawn(const Settings& s)
      : objects_(s.objects),
        least_(s.locks - s.locks_spread),
        most_(s.locks + s.locks_spread),
        replacement_(s.replacement),
        pattern_(make_pattern(s)) {
    exclusive_ = s.exclusive, upgrades_ = s.upgrades;
    if (s.access != Access::ycsb) return;
    exclusive_ = s.ycsb_mix == "a" || s.ycsb_mix == "f" ? 0.5 : s.ycsb_mix == "b" ? 0.05 : 0;
    upgrades_ = s.ycsb_mix == "f";  // read, modify, write
  }

  void draw(Draw& random, Program& program) const override {
    program.clear();
    const auto locks = least_ == most_ ? least_ : random.between(least_, most_);
    for (std::uint64_t i = 0; i < locks; ++i) {
      const auto resource = fresh(random, program);
      const bool write = exclusive_ >= 1 || random.chance(exclusive_);
      if (write && !upgrades_) {
        program.push_back({resource, X});
        continue;
      }
      program.push_back({resource, S});
      if (write) program.push_back({resource, X});
    }
  }
  [[nodiscard]] std::uint64_t resources() const override { return objects_; }

 private:
  [[nodiscard]] std::uint32_t fresh(Draw& random, const Program& program) const {
    constexpr int tries = 1000;  // a very hot pattern has few objects that are ever drawn
    const auto taken = [&](std::uint32_t resource) {
      return !replacement_ && std::ranges::find(program, resource, &Ask::resource) != program.end();
    };
    for (int i = 0; i < tries; ++i)
      if (const auto resource = pattern_->draw(random); !taken(resource)) return resource;
    auto resource = static_cast<std::uint32_t>(random.below(objects_));
    while (taken(resource)) resource = static_cast<std::uint32_t>((resource + 1) % objects_);
    return resource;
  }

  const std::uint64_t objects_;
  const std::uint64_t least_, most_;
  const bool replacement_;
  double exclusive_;
  bool upgrades_;
  std::unique_ptr<Pattern> pattern_;
};

/// The rows that the five transactions of TPC-C lock, with its mix and its skew (clauses 2.1.6, 2.4–2.8, 5.2.3). Items are never
/// written, so they are not locked; the oldest new order of a district is one resource.
class TpcC : public Workload {
 public:
  explicit TpcC(std::uint64_t warehouses) : warehouses_(static_cast<std::uint32_t>(warehouses)) {}

  void draw(Draw& random, Program& program) const override {
    program.clear();
    const auto w = pick(random, warehouses_);
    const auto d = w * districts + pick(random, districts);
    const auto kind = random.below(100);
    if (kind < 45) return new_order(random, w, d, program);
    if (kind < 88) return payment(random, w, d, program);
    if (kind < 92) return ask(program, customer(random, d), S);
    if (kind < 96) return delivery(random, w, program);
    stock_level(random, w, d, program);
  }
  [[nodiscard]] std::uint64_t resources() const override { return warehouses_ * of_a_warehouse; }

 private:
  static constexpr std::uint32_t districts = 10, customers = 3000, items = 100'000;
  static constexpr std::uint64_t of_a_warehouse = 1 + 2 * districts + districts * customers + items;
  static_assert(warehouses_max * of_a_warehouse <= resources_max, "two resources would have the same name");

  static std::uint32_t pick(Draw& random, std::uint32_t bound) {
    return static_cast<std::uint32_t>(random.below(bound));
  }
  /// TPC-C's non-uniform numbers: 0 … y.
  static std::uint32_t nurand(Draw& random, std::uint32_t a, std::uint32_t y) {
    return (pick(random, a + 1) | pick(random, y + 1)) % (y + 1);
  }
  static void ask(Program& program, std::uint32_t resource, Mode mode) {
    if (std::ranges::find(program, resource, &Ask::resource) == program.end()) program.push_back({resource, mode});
  }
  [[nodiscard]] std::uint32_t other_than(Draw& random, std::uint32_t w, double probability) const {
    if (warehouses_ < 2 || !random.chance(probability)) return w;
    return (w + 1 + pick(random, warehouses_ - 1)) % warehouses_;
  }
  // Numbers: warehouses, districts, new-order queues, customers, stock.
  [[nodiscard]] std::uint32_t district(std::uint32_t d) const { return warehouses_ + d; }
  [[nodiscard]] std::uint32_t oldest_order(std::uint32_t d) const { return warehouses_ * (1 + districts) + d; }
  [[nodiscard]] std::uint32_t customer(Draw& random, std::uint32_t d) const {
    return warehouses_ * (1 + 2 * districts) + d * customers + nurand(random, 1023, customers - 1);
  }
  [[nodiscard]] std::uint32_t stock(std::uint32_t w, std::uint32_t item) const {
    return warehouses_ * (1 + 2 * districts + districts * customers) + w * items + item;
  }

  void new_order(Draw& random, std::uint32_t w, std::uint32_t d, Program& program) const {
    ask(program, w, S);
    ask(program, district(d), X);
    ask(program, customer(random, d), S);
    const auto lines = random.between(5, 15);
    for (std::uint64_t i = 0; i < lines; ++i)
      ask(program, stock(other_than(random, w, 0.01), nurand(random, 8191, items - 1)), X);
  }
  void payment(Draw& random, std::uint32_t w, std::uint32_t d, Program& program) const {
    ask(program, w, X);
    ask(program, district(d), X);
    const auto at = other_than(random, w, 0.15);
    ask(program, customer(random, at == w ? d : at * districts + pick(random, districts)), X);
  }
  void delivery(Draw& random, std::uint32_t w, Program& program) const {
    for (std::uint32_t d = w * districts; d < (w + 1) * districts; ++d) {
      ask(program, oldest_order(d), X);
      ask(program, customer(random, d), X);
    }
  }
  void stock_level(Draw& random, std::uint32_t w, std::uint32_t d, Program& program) const {
    ask(program, district(d), S);
    for (int i = 0; i < 20; ++i) ask(program, stock(w, nurand(random, 8191, items - 1)), S);
  }

  const std::uint32_t warehouses_;
};

}  // namespace

tl::expected<std::shared_ptr<const Workload>, std::string> make_workload(const Settings& settings) {
  if (settings.access == Access::trace) return read_trace_workload(settings.trace);
  if (settings.access == Access::tpcc) return std::make_shared<const TpcC>(settings.warehouses);
  return std::make_shared<const Drawn>(settings);
}

}  // namespace gordian::experiments
