#include "sim/shrink.hpp"

#include <algorithm>

namespace gordian::sim {
namespace {

class Shrinking {
 public:
  Shrinking(const Options& options, unsigned limit) : best_{options, World(options).run(), 1}, limit_(limit) {
    best_.options.faults = best_.result.faults;
    if (best_.result.violation) best_.options.steps = best_.result.violation->step;
  }

  Shrunk run() {
    if (!best_.result.violation) return best_;
    for (bool smaller = true; smaller;) {
      smaller = false;
      for (const auto& kind : kinds_of_faults()) smaller = try_without(kind) || smaller;
      smaller = try_fewer_clients() || smaller;
    }
    return best_;
  }

 private:
  bool try_without(const std::string& kind) {
    auto options = best_.options;
    if (std::find(options.without.begin(), options.without.end(), kind) != options.without.end()) return false;
    options.without.push_back(kind);
    return take(std::move(options));
  }
  bool try_fewer_clients() {
    bool smaller = false;
    for (std::size_t clients = best_.result.clients; clients > 1 && left();) {
      auto options = best_.options;
      options.clients = --clients;
      if (!take(std::move(options))) break;
      smaller = true;
    }
    return smaller;
  }
  [[nodiscard]] bool left() const { return best_.runs < limit_; }
  /// Keeps it if it fails in the same property, no later than twice as late.
  bool take(Options options) {
    if (!left()) return false;
    ++best_.runs;
    options.steps = best_.result.violation->step * 2;
    auto result = World(options).run();
    if (!result.violation || result.violation->property != best_.result.violation->property) return false;
    options.steps = result.violation->step;
    best_.options = std::move(options);
    best_.result = std::move(result);
    return true;
  }

  Shrunk best_;
  unsigned limit_;
};

}  // namespace

Shrunk shrink(Options options, unsigned limit) { return Shrinking(options, limit).run(); }

std::string replay_command(const Options& options) {
  std::string command = "gordian sim --seed " + std::to_string(options.seed);
  if (!options.faults.empty()) command += " --faults " + options.faults;
  for (std::size_t i = 0; i < options.without.size(); ++i)
    command += (i == 0 ? " --without " : ",") + options.without[i];
  if (options.coordinators != 1) command += " --coordinators " + std::to_string(options.coordinators);
  if (options.clients != 0) command += " --clients " + std::to_string(options.clients);
  if (options.steps != 0) command += " --steps " + std::to_string(options.steps);
  return command;
}

}  // namespace gordian::sim
