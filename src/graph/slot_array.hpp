// Numbered places that keep their number and their address while they are in use; numbers of freed ones are used again.
// Grows in chunks: no slack of half the memory, and no long pause for copying when a large graph grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace gordian::graph {

template <class T>
class SlotArray {
 public:
  /// Takes a free slot, the one freed last if there is any, and makes a T(fields...) there.
  template <class... Fields>
  std::uint32_t take(Fields&&... fields) {
    if (!free_.empty()) {
      const auto slot = free_.back();
      free_.pop_back();
      auto* const place = &(*this)[slot];
      std::destroy_at(place);
      std::construct_at(place, std::forward<Fields>(fields)...);
      return slot;
    }
    if (capacity_ % chunk_size == 0) {
      chunks_.emplace_back();
      chunks_.back().reserve(chunk_size);
    }
    chunks_.back().emplace_back(std::forward<Fields>(fields)...);
    return capacity_++;
  }

  /// The slot's number may be used again; its value stays readable until then.
  void give_back(std::uint32_t slot) { free_.push_back(slot); }

  void clear() { *this = SlotArray(); }

  [[nodiscard]] T& operator[](std::uint32_t slot) { return chunks_[slot / chunk_size][slot % chunk_size]; }
  [[nodiscard]] const T& operator[](std::uint32_t slot) const { return chunks_[slot / chunk_size][slot % chunk_size]; }

  [[nodiscard]] std::size_t in_use() const { return capacity_ - free_.size(); }
  /// One more than the largest number ever given out.
  [[nodiscard]] std::uint32_t capacity() const { return capacity_; }

 private:
  static constexpr std::uint32_t chunk_size = 256;
  std::vector<std::vector<T>> chunks_;
  std::vector<std::uint32_t> free_;
  std::uint32_t capacity_ = 0;
};

}  // namespace gordian::graph
