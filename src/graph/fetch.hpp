// Has the processor bring what will be read soon into its cache.
#pragma once

#include <cstddef>

namespace gordian::graph {

/// To be written; it may lie across two lines. Costs nothing that matters if it is there already.
template <class T>
void fetch(const T& what) {
  __builtin_prefetch(&what, 1);
  if constexpr (64 % sizeof(T) != 0) __builtin_prefetch(reinterpret_cast<const char*>(&what + 1) - 1, 1);
  // GCC 12 takes a function that does nothing but this for one without effect, and leaves out its calls.
  asm volatile("");
}

}  // namespace gordian::graph
