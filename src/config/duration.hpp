// Durations as people write them: "100ms", "2s", "0".
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace gordian::config {

/// A whole number with a unit (us, ms, s, min, h), or "0". The error is a sentence that says what was
/// expected.
[[nodiscard]] tl::expected<std::chrono::microseconds, std::string> parse_duration(std::string_view text);

/// The shortest text that parse_duration reads as the same duration; not negative.
[[nodiscard]] std::string to_text(std::chrono::microseconds duration);

}  // namespace gordian::config
