// What transactions ask for: drawn by the settings' access pattern, or taken from a recorded trace.
//
// Constant once made, so that runs on several threads share one.
#pragma once

#include <cstdint>
#include <gordian/lock_mode.hpp>
#include <memory>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "experiments/draw.hpp"
#include "experiments/settings.hpp"

namespace gordian::experiments {

/// One lock step.
struct Ask {
  std::uint32_t resource;
  Mode mode;
};
/// What one transaction asks for, in order.
using Program = std::vector<Ask>;

class Workload {
 public:
  virtual ~Workload() = default;
  /// Replaces `program` by another transaction's.
  virtual void draw(Draw& random, Program& program) const = 0;
  /// Resources are numbered from 0 to below this.
  [[nodiscard]] virtual std::uint64_t resources() const = 0;
};

/// Errors: the trace cannot be read; a sentence with file and line.
[[nodiscard]] tl::expected<std::shared_ptr<const Workload>, std::string> make_workload(const Settings& settings);

/// A resource's name: eight digits, so that the order of names is that of numbers.
class ResourceName {
 public:
  explicit ResourceName(std::uint32_t number) {
    for (int i = 7; i >= 0; --i, number /= 10) text_[i] = static_cast<char>('0' + number % 10);
  }
  [[nodiscard]] std::string_view view() const { return {text_, sizeof text_}; }

 private:
  char text_[8];
};

}  // namespace gordian::experiments
