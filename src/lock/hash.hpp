// The hash of a resource's name: 64 bits by multiply-and-fold, after wyhash (Wang Yi, public domain). The upper bits choose
// the shard, the lower ones the slot. With a secret seed strangers can't choose names that collide on purpose.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace gordian::lock {

namespace hashing {
inline std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}
inline std::uint64_t read8(const char* at) {
  std::uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
inline std::uint64_t read4(const char* at) {
  std::uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
inline std::uint64_t byte(char c) { return static_cast<unsigned char>(c); }
inline constexpr std::uint64_t k0 = 0xa0761d6478bd642fULL, k1 = 0xe7037ed1a0b428dbULL, k2 = 0x8ebc6af09c88c6e3ULL;
}  // namespace hashing

inline std::uint64_t hash_key(std::string_view key, std::uint64_t seed) {
  using namespace hashing;
  const char* at = key.data();
  std::size_t left = key.size();
  std::uint64_t state = seed ^ k0;
  for (; left > 16; left -= 16, at += 16) state = fold(read8(at) ^ k1, read8(at + 8) ^ state);
  std::uint64_t a = 0, b = 0;
  if (left >= 8) {
    a = read8(at);
    b = read8(at + left - 8);
  } else if (left >= 4) {
    a = read4(at);
    b = read4(at + left - 4);
  } else if (left > 0) {
    a = byte(at[0]) << 16 | byte(at[left / 2]) << 8 | byte(at[left - 1]);
  }
  return fold(k2 ^ key.size(), fold(a ^ k1, b ^ state));
}

}  // namespace gordian::lock
