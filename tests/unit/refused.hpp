// What a wire test asks of bytes that are no message.
#pragma once

#include <doctest/doctest.h>

#include <string_view>

#include "wire/codec.hpp"

namespace gordian::test {

/// Why these bytes are refused.
inline wire::Error error_of(std::string_view message, const wire::Limits& limits = {}) {
  const auto result = wire::decode_request(message, limits);
  REQUIRE(!result);
  return result.error();
}

}  // namespace gordian::test
