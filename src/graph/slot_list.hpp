// A list of slot numbers in eight bytes. Most transactions have one wait, with one blocker, who blocks one: a single slot
// lies in the list itself, more of them in a block on the heap.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace gordian::graph {

class SlotList {
 public:
  SlotList() = default;
  SlotList(SlotList&& other) noexcept : words_{other.words_[0], other.words_[1]} { other.words_[0] = nothing; }
  SlotList& operator=(SlotList&& other) noexcept {
    std::swap(words_, other.words_);
    return *this;
  }
  SlotList(const SlotList&) = delete;
  SlotList& operator=(const SlotList&) = delete;
  ~SlotList() {
    if (on_heap()) delete[] block();
  }

  [[nodiscard]] bool empty() const { return words_[0] == nothing; }
  [[nodiscard]] bool single() const { return words_[0] == one; }
  [[nodiscard]] std::uint32_t size() const { return on_heap() ? block()[at_size] : words_[0] >> 1U; }
  [[nodiscard]] const std::uint32_t* data() const { return on_heap() ? block() + at_slots : words_ + 1; }
  [[nodiscard]] std::uint32_t operator[](std::uint32_t place) const { return data()[place]; }
  [[nodiscard]] std::uint32_t back() const { return data()[size() - 1]; }
  // NOLINTNEXTLINE(google-explicit-constructor): a list of slots is read as a span
  operator std::span<const std::uint32_t>() const { return {data(), size()}; }

  void set(std::uint32_t place, std::uint32_t slot) { (on_heap() ? block() + at_slots : words_ + 1)[place] = slot; }
  /// Returns the slot's place.
  std::uint32_t append(std::uint32_t slot) {
    if (empty()) {
      words_[0] = one;
      words_[1] = slot;
      return 0;
    }
    const auto place = size();
    if (!on_heap()) {
      move_to(new_block(capacity_min));
    } else if (place == block()[at_capacity]) {
      move_to(new_block(place * 2));
    }
    block()[at_slots + place] = slot;
    return block()[at_size]++;
  }
  void pop_back() {
    if (!on_heap()) {
      words_[0] = nothing;
      return;
    }
    auto* const old = block();
    const auto left = --old[at_size];
    if (left == 1) {
      words_[0] = one;
      words_[1] = old[at_slots];
      delete[] old;
    } else if (left < old[at_capacity] / 4 && old[at_capacity] > capacity_min) {
      move_to(new_block(old[at_capacity] / 2));
    }
  }

 private:
  // The first word tells a pointer, which is even, from what lies here: its lower half, on these machines.
  static_assert(std::endian::native == std::endian::little && sizeof(std::uint32_t*) == 8);
  static constexpr std::uint32_t nothing = 1;
  static constexpr std::uint32_t one = 3;
  // A block: its size, its capacity, its slots.
  static constexpr std::uint32_t at_size = 0;
  static constexpr std::uint32_t at_capacity = 1;
  static constexpr std::uint32_t at_slots = 2;
  static constexpr std::uint32_t capacity_min = 4;

  [[nodiscard]] bool on_heap() const { return (words_[0] & 1U) == 0; }
  [[nodiscard]] std::uint32_t* block() const {
    std::uint32_t* block = nullptr;
    std::memcpy(&block, words_, sizeof block);
    return block;
  }
  static std::uint32_t* new_block(std::uint32_t capacity) {
    auto* const block = new std::uint32_t[at_slots + capacity];
    block[at_capacity] = capacity;
    return block;
  }
  void move_to(std::uint32_t* block) {
    block[at_size] = size();
    std::copy_n(data(), size(), block + at_slots);
    if (on_heap()) delete[] this->block();
    std::memcpy(words_, &block, sizeof block);
  }

  alignas(8) std::uint32_t words_[2] = {nothing, 0};
};

}  // namespace gordian::graph
