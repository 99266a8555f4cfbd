// Bytes and times as people can read them: ids and labels are opaque bytes, terminals, JSON and SVG want
// clean text.
//
// Bytes that cannot be shown appear as "\xNN", and a backslash that would be read so as "\x5c": nothing is
// lost, two different ids never look the same, and bytes_of() gives the original back. Pure; any thread; cost
// O(length).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gordian::text {

/// Valid UTF-8: only bytes that are none are escaped. For JSON, which escapes control characters itself.
[[nodiscard]] std::string utf8(std::string_view bytes);

/// Safe to print, in one line: control characters, those that turn the writing direction, and non-characters
/// are escaped as well.
[[nodiscard]] std::string visible(std::string_view bytes);

/// The original of utf8() or visible().
[[nodiscard]] std::string bytes_of(std::string_view text);

/// visible(), with runs of white space made one space, cut to `characters_max` characters of which the last
/// is "…".
[[nodiscard]] std::string shortened(std::string_view bytes, std::size_t characters_max);

/// How many characters (code points) a valid UTF-8 text has.
[[nodiscard]] std::size_t characters(std::string_view text);

/// Wall-clock time as "2026-11-23 04:24:36.123Z".
[[nodiscard]] std::string utc(std::int64_t unix_us);

/// A span of time in a few characters, with its unit: "850 us", "104 ms", "3.2 s", "5 min 20 s", "3 h 5 min".
[[nodiscard]] std::string span(double ms);

}  // namespace gordian::text
