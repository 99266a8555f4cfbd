// The clocks, read in one place: steady time decides, wall-clock time is only shown.
#pragma once

#include <chrono>
#include <cstdint>

namespace gordian::net {

inline std::int64_t steady_now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
inline std::int64_t unix_now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace gordian::net
