#include "coordinator/standing.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace gordian::coordinator {
namespace {

using Length = std::uint16_t;  // messages have much shorter texts: wire::Limits::text_bytes

std::size_t length_of(std::string_view text) {
  return std::min<std::size_t>(text.size(), std::numeric_limits<Length>::max());
}

}  // namespace

Standing::Standing(const Wait& wait, std::uint64_t message_number, std::int64_t began)
    : number(message_number), began_us(began) {
  const std::array<std::string_view, 3> texts{wait.resource, wait.mode, wait.detail};
  std::size_t bytes = 0;
  for (const auto text : texts) bytes += sizeof(Length) + length_of(text);
  texts_ = std::make_unique_for_overwrite<char[]>(bytes);
  auto* at = texts_.get();
  for (const auto text : texts) {
    const auto length = static_cast<Length>(length_of(text));
    std::memcpy(at, &length, sizeof length);
    std::memcpy(at + sizeof length, text.data(), length);
    at += sizeof length + length;
  }
}

std::string_view Standing::text(int index) const {
  const auto* at = texts_.get();
  if (at == nullptr) return {};
  for (;; --index) {
    Length length = 0;
    std::memcpy(&length, at, sizeof length);
    if (index == 0) return {at + sizeof length, length};
    at += sizeof length + length;
  }
}

}  // namespace gordian::coordinator
