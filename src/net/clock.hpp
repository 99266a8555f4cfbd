// The clocks, read in one place: steady time decides, wall-clock time is only shown. Leases count on the boot clock, which
// goes on while the machine sleeps.
#pragma once

#include <time.h>

#include <chrono>
#include <cstdint>

namespace gordian::net {

inline std::int64_t steady_now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
inline std::int64_t unix_now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}
inline std::int64_t boot_now_us() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace gordian::net
