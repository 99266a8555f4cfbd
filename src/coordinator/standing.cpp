#include "coordinator/standing.hpp"

#include <algorithm>

namespace gordian::coordinator {

void Standing::set(const Wait& wait, std::uint64_t message_number, std::int64_t began) {
  forget_texts();
  number = message_number, began_us = began;
  const std::array<std::string_view, 3> texts{wait.resource, wait.mode, wait.detail};
  const auto length_of = [](std::string_view text) { return std::min(text.size(), length_max); };
  std::size_t bytes = 0;
  for (const auto text : texts) bytes += sizeof(Length) + length_of(text);
  auto* at = texts_.data();
  if (bytes > texts_.size()) {
    at = new char[bytes];
    set_length(elsewhere);
    std::memcpy(texts_.data() + sizeof at, &at, sizeof at);
  }
  for (const auto text : texts) {
    const auto length = static_cast<Length>(length_of(text));
    std::memcpy(at, &length, sizeof length);
    std::memcpy(at + sizeof length, text.data(), length);
    at += sizeof length + length;
  }
}

std::string_view Standing::text(int index) const {
  const auto* at = length() == elsewhere ? block() : texts_.data();
  for (;; --index) {
    Length length = 0;
    std::memcpy(&length, at, sizeof length);
    if (index == 0) return {at + sizeof length, length};
    at += sizeof length + length;
  }
}

}  // namespace gordian::coordinator
