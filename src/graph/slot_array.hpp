// Numbered places that keep their number and their address while they are in use; numbers of freed ones are used again.
// Grows in chunks: no slack of half the memory, and no long pause for copying when a large graph grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace gordian::graph {

/// A vector that only grows, and whose elements stay where they are.
template <class T>
class Chunks {
 public:
  Chunks() = default;
  Chunks(Chunks&& other) noexcept : chunks_(std::move(other.chunks_)), size_(std::exchange(other.size_, 0)) {}
  Chunks& operator=(Chunks&& other) noexcept {
    std::swap(chunks_, other.chunks_);
    std::swap(size_, other.size_);
    return *this;
  }
  Chunks(const Chunks&) = delete;
  Chunks& operator=(const Chunks&) = delete;
  ~Chunks() {
    for (std::uint32_t place = 0; place < size_; ++place) std::destroy_at(&(*this)[place]);
  }

  template <class... Fields>
  void emplace_back(Fields&&... fields) {
    if (size_ / chunk_size == chunks_.size()) chunks_.push_back(std::make_unique_for_overwrite<Chunk>());
    std::construct_at(&(*this)[size_], std::forward<Fields>(fields)...);
    ++size_;
  }
  [[nodiscard]] T& operator[](std::uint32_t place) {
    return reinterpret_cast<T*>(chunks_[place / chunk_size]->bytes)[place % chunk_size];
  }
  [[nodiscard]] const T& operator[](std::uint32_t place) const {
    return reinterpret_cast<const T*>(chunks_[place / chunk_size]->bytes)[place % chunk_size];
  }
  [[nodiscard]] std::uint32_t size() const { return size_; }
  void clear() { *this = Chunks(); }

 private:
  static constexpr std::uint32_t chunk_size = 1024;
  struct Chunk {
    alignas(T) std::byte bytes[chunk_size * sizeof(T)];
  };
  std::vector<std::unique_ptr<Chunk>> chunks_;  ///< a pointer each: where an element lies is one look away
  std::uint32_t size_ = 0;
};

template <class T>
class SlotArray {
 public:
  /// Takes a free slot, the one freed last if there is any, and makes a T(fields...) there.
  template <class... Fields>
  std::uint32_t take(Fields&&... fields) {
    if (free_.empty()) {
      slots_.emplace_back(std::forward<Fields>(fields)...);
      return slots_.size() - 1;
    }
    const auto slot = free_.back();
    free_.pop_back();
    auto* const place = &slots_[slot];
    std::destroy_at(place);
    std::construct_at(place, std::forward<Fields>(fields)...);
    return slot;
  }

  /// The slot's number may be used again; its value stays readable until then.
  void give_back(std::uint32_t slot) { free_.push_back(slot); }

  void clear() { *this = SlotArray(); }

  [[nodiscard]] T& operator[](std::uint32_t slot) { return slots_[slot]; }
  [[nodiscard]] const T& operator[](std::uint32_t slot) const { return slots_[slot]; }

  [[nodiscard]] std::size_t in_use() const { return slots_.size() - free_.size(); }
  /// One more than the largest number ever given out.
  [[nodiscard]] std::uint32_t capacity() const { return slots_.size(); }

 private:
  Chunks<T> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace gordian::graph
