// What the fuzz targets share: the entry that libFuzzer (or corpus.cpp) calls, how to complain, and bytes taken as choices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace gordian::fuzz {

/// Ends the program, so that the input is kept, unless `holds`.
inline void require(bool holds, const std::string& what) {
  if (holds) return;
  (void)std::fprintf(stderr, "does not hold: %s\n", what.c_str());
  std::abort();
}

inline std::string_view text_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The input as a row of decisions; zeros when it is used up.
class Choices {
 public:
  explicit Choices(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool left() const { return !bytes_.empty(); }
  /// From 0 to `count` - 1; `count` is not more than 256.
  unsigned below(unsigned count) {
    if (bytes_.empty()) return 0;
    const unsigned byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte % count;
  }
  /// True once in `n`.
  bool once_in(unsigned n) { return below(n) == n - 1; }

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace gordian::fuzz
