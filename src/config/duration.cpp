#include "config/duration.hpp"

#include <charconv>
#include <cstdint>
#include <limits>

namespace gordian::config {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t us;
};
constexpr Unit units[] = {{"h", 3'600'000'000}, {"min", 60'000'000}, {"s", 1'000'000}, {"ms", 1000}, {"us", 1}};

std::string complaint(std::string_view text) {
  return "\"" + std::string(text) +
         "\" is not a duration; expected a whole number with a unit (us, ms, s, min, h) such as " +
         "\"100ms\" or \"2s\", or \"0\"";
}

}  // namespace

tl::expected<std::chrono::microseconds, std::string> parse_duration(std::string_view text) {
  std::int64_t count = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || count < 0) return tl::unexpected(complaint(text));
  const std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  if (unit.empty() && count == 0) return std::chrono::microseconds{0};
  for (const auto& [name, us] : units) {
    if (unit != name) continue;
    if (count > std::numeric_limits<std::int64_t>::max() / us) return tl::unexpected(complaint(text));
    return std::chrono::microseconds{count * us};
  }
  return tl::unexpected(complaint(text));
}

std::string to_text(std::chrono::microseconds duration) {
  const std::int64_t us = duration.count();
  if (us == 0) return "0";
  for (const auto& unit : units)
    if (us % unit.us == 0) return std::to_string(us / unit.us) + std::string(unit.name);
  return std::to_string(us) + "us";
}

}  // namespace gordian::config
