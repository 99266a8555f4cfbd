// Records of one type, handed out and taken back without the allocator: chunks, and a free list through the records.
//
// Not thread-safe: a shard owns one and uses it under its lock. Memory follows the peak since the pool was last empty: the
// moment the last record comes back, all chunks but one are returned.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace gordian::lock {

/// `Next` is a pointer member of T that is free for use while the record is.
template <class T, T* T::*Next, std::size_t chunk_size>
class Pool {
 public:
  /// In the state it was given back in, or value-initialised.
  T* take() {
    if (free_ == nullptr) grow();
    T* record = free_;
    free_ = record->*Next;
    record->*Next = nullptr;
    ++in_use_;
    return record;
  }
  void give(T* record) noexcept {
    record->*Next = free_;
    free_ = record;
    if (--in_use_ == 0 && chunks_.size() > 1) [[unlikely]]
      shrink();
  }
  [[nodiscard]] std::size_t in_use() const { return in_use_; }

 private:
  void grow() {
    chunks_.push_back(std::make_unique<T[]>(chunk_size));
    chain(chunks_.back().get());
  }
  void shrink() noexcept {
    chunks_.resize(1);
    free_ = nullptr;
    chain(chunks_.front().get());
  }
  void chain(T* chunk) noexcept {
    for (std::size_t i = chunk_size; i-- > 0;) {
      chunk[i].*Next = free_;
      free_ = &chunk[i];
    }
  }

  T* free_ = nullptr;
  std::size_t in_use_ = 0;
  std::vector<std::unique_ptr<T[]>> chunks_;
};

}  // namespace gordian::lock
