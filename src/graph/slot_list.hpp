// A list of slot numbers in eight bytes. Most transactions have one wait, with one blocker, who blocks one: a single slot
// lies in the list itself, more of them in a block on the heap. With two columns, a block also has a partner of each slot.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace gordian::graph {

template <std::uint32_t columns>
class SlotColumns {
 public:
  SlotColumns() = default;
  SlotColumns(SlotColumns&& other) noexcept : words_{other.words_[0], other.words_[1]} { other.words_[0] = nothing; }
  SlotColumns& operator=(SlotColumns&& other) noexcept {
    std::swap(words_, other.words_);
    return *this;
  }
  SlotColumns(const SlotColumns&) = delete;
  SlotColumns& operator=(const SlotColumns&) = delete;
  ~SlotColumns() {
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
  /// In the order of the slots. A single slot's is not kept.
  [[nodiscard]] std::span<const std::uint32_t> partners() const requires(columns == 2) {
    return {block() + at_slots + block()[at_capacity], block()[at_size]};
  }

  /// Returns the slot's place.
  std::uint32_t append(std::uint32_t slot) requires(columns == 1) {
    if (empty()) return put_single(slot);
    const auto place = make_room();
    block()[at_slots + place] = slot;
    return place;
  }
  /// `only_partner`: of the slot that was the only one so far.
  std::uint32_t append(std::uint32_t slot, std::uint32_t partner, std::uint32_t only_partner) requires(columns == 2) {
    if (empty()) return put_single(slot);
    const bool second = single();
    const auto place = make_room();
    auto* const to = block();
    to[at_slots + place] = slot;
    to[at_slots + to[at_capacity] + place] = partner;
    if (second) to[at_slots + to[at_capacity]] = only_partner;
    return place;
  }
  /// The last one takes the place that becomes free.
  void remove(std::uint32_t place) {
    if (!on_heap()) {
      words_[0] = nothing;
      return;
    }
    auto* const old = block();
    const auto left = --old[at_size];
    for (std::uint32_t column = 0; column < columns; ++column) {
      auto* const slots = old + at_slots + column * old[at_capacity];
      slots[place] = slots[left];
    }
    if (left == 1) {
      put_single(old[at_slots]);
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
  // A block: its size, its capacity, its slots, and their partners.
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
    auto* const block = new std::uint32_t[at_slots + columns * capacity];
    block[at_capacity] = capacity;
    return block;
  }
  std::uint32_t put_single(std::uint32_t slot) {
    words_[0] = one;
    words_[1] = slot;
    return 0;
  }
  /// Returns the new place.
  std::uint32_t make_room() {
    if (!on_heap()) {
      auto* const to = new_block(capacity_min);
      to[at_size] = 2;
      to[at_slots] = words_[1];
      std::memcpy(words_, &to, sizeof to);
      return 1;
    }
    if (block()[at_size] == block()[at_capacity]) move_to(new_block(block()[at_capacity] * 2));
    return block()[at_size]++;
  }
  void move_to(std::uint32_t* to) {
    auto* const from = block();
    const auto size = to[at_size] = from[at_size];
    for (std::uint32_t column = 0; column < columns; ++column)
      std::copy_n(from + at_slots + column * from[at_capacity], size, to + at_slots + column * to[at_capacity]);
    delete[] from;
    std::memcpy(words_, &to, sizeof to);
  }

  alignas(8) std::uint32_t words_[2] = {nothing, 0};
};

using SlotList = SlotColumns<1>;
/// Of edges, with the vertex at the other end of each.
using EdgeList = SlotColumns<2>;

}  // namespace gordian::graph
