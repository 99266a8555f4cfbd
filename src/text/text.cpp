#include "text/text.hpp"

#include <cmath>
#include <cstdio>
#include <ctime>

namespace gordian::text {
namespace {

/// The length of the well-formed UTF-8 character that `bytes` begins with (no surrogates, nothing overlong,
/// nothing above U+10FFFF), and its code point; length 0 if there is none.
struct Character {
  std::size_t length = 0;
  char32_t point = 0;
};
Character first_character(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.empty()) return {};
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, lead};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || bytes.size() < length) return {};
  char32_t point = lead & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return {};
    point = point << 6 | (byte(i) & 0x3fU);
  }
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < smallest[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return {};
  return {length, point};
}

bool printable(char32_t point) {
  const bool control = point < 0x20 || (point >= 0x7f && point <= 0x9f);
  const bool direction = (point >= 0x200e && point <= 0x200f) || (point >= 0x202a && point <= 0x202e) ||
                         (point >= 0x2066 && point <= 0x2069) || point == 0x061c;
  const bool line = point == 0x2028 || point == 0x2029;
  const bool non_character = (point & 0xfffe) == 0xfffe || (point >= 0xfdd0 && point <= 0xfdef);
  return !(control || direction || line || non_character);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

/// True if `text` begins with "\xNN".
bool begins_escape(std::string_view text) {
  return text.size() >= 4 && text[0] == '\\' && text[1] == 'x' && hex_digit(text[2]) >= 0 && hex_digit(text[3]) >= 0;
}

void append_escape(std::string& text, std::string_view bytes) {
  constexpr char digits[] = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
  }
}

template <class Keep>
std::string escaped(std::string_view bytes, Keep keep) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const auto [length, point] = first_character(bytes);
    const std::string_view character = bytes.substr(0, length == 0 ? 1 : length);
    if (length > 0 && keep(point) && !begins_escape(bytes)) {
      text += character;
    } else {
      append_escape(text, character);
    }
    bytes.remove_prefix(character.size());
  }
  return text;
}

bool white(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

std::string utf8(std::string_view bytes) {
  return escaped(bytes, [](char32_t) { return true; });
}

std::string visible(std::string_view bytes) { return escaped(bytes, printable); }

std::string bytes_of(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  while (!text.empty()) {
    const bool escape = begins_escape(text);
    bytes += escape ? static_cast<char>(hex_digit(text[2]) * 16 + hex_digit(text[3])) : text[0];
    text.remove_prefix(escape ? 4 : 1);
  }
  return bytes;
}

std::string shortened(std::string_view bytes, std::size_t characters_max) {
  std::string flat;
  for (const char c : bytes)
    if (!white(c)) {
      flat += c;
    } else if (!flat.empty() && flat.back() != ' ') {
      flat += ' ';
    }
  if (!flat.empty() && flat.back() == ' ') flat.pop_back();
  std::string text = visible(flat);
  std::size_t length = 0, cut = 0;
  for (std::size_t at = 0; at < text.size(); at += first_character(std::string_view(text).substr(at)).length) {
    if (length == characters_max) return text.substr(0, cut) + "…";
    if (++length == characters_max) cut = at;  // the last place is the "…"'s
  }
  return text;
}

std::size_t characters(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0U) != 0x80;
  return count;
}

std::string utc(std::int64_t unix_us) {
  constexpr std::int64_t second = 1'000'000;
  const std::int64_t us = (unix_us % second + second) % second;
  const auto seconds = static_cast<std::time_t>((unix_us - us) / second);
  std::tm parts{};
  char date[40] = "?";
  if (gmtime_r(&seconds, &parts)) std::strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%s.%03dZ", date, static_cast<int>(us / 1000));
  return text;
}

std::string span(double ms) {
  char text[64];
  const double minutes = std::floor(ms / 60'000), hours = std::floor(ms / 3'600'000);
  if (ms < 1) {
    std::snprintf(text, sizeof text, "%.0f us", ms * 1000);
  } else if (ms < 999.5) {
    std::snprintf(text, sizeof text, ms < 9.95 ? "%.1f ms" : "%.0f ms", ms);
  } else if (ms < 60'000) {
    std::snprintf(text, sizeof text, "%.1f s", std::floor(ms / 100) / 10);
  } else if (ms < 3'600'000) {
    std::snprintf(text, sizeof text, "%.0f min %.0f s", minutes, std::floor(ms / 1000) - minutes * 60);
  } else {
    std::snprintf(text, sizeof text, "%.0f h %.0f min", hours, minutes - hours * 60);
  }
  return text;
}

}  // namespace gordian::text
