// The names in a shard: open addressing with linear probing; a deletion moves later ones back, so there are no tombstones and
// memory follows what is held.
#include <cstring>

#include "lock/shard.hpp"

namespace gordian::lock {

Shard::~Shard() {
  for_each_head([](const Head& head) {
    if (head.key_size > Head::inline_bytes) delete[] head.long_key;
  });
}

void Shard::open(Rules& rules, std::uint16_t number) {
  rules_ = &rules;
  number_ = number;
  resize(first_slots);
}

Head* Shard::insert(std::uint32_t tag, std::string_view key, Core* core, Mode mode) {
  if (2 * (live_ + 1) > mask_ + 1) [[unlikely]]
    resize(2 * (mask_ + 1));
  char* long_key = key.size() > Head::inline_bytes ? new char[key.size()] : nullptr;
  Head* head = heads_.take();
  head->holder = core;
  head->fence = ++step_;
  head->count = 1;
  head->tag = tag;
  head->shard = number_;
  head->key_size = static_cast<std::uint16_t>(key.size());
  head->mode = mode;
  if (long_key != nullptr) head->long_key = long_key;
  std::memcpy(long_key != nullptr ? long_key : head->inline_key, key.data(), key.size());
  put(head);
  ++live_;
  return head;
}

void Shard::put(Head* head) {
  std::uint32_t at = head->tag & mask_;
  while (slots_[at].head != nullptr) at = (at + 1) & mask_;
  slots_[at] = {head, head->tag};
}

void Shard::erase(Head* head) noexcept {
  std::uint32_t hole = head->tag & mask_;
  while (slots_[hole].head != head) hole = (hole + 1) & mask_;
  for (std::uint32_t at = (hole + 1) & mask_; slots_[at].head != nullptr; at = (at + 1) & mask_) {
    // The hole may be filled by one whose home is not between the hole and its place.
    const std::uint32_t home = slots_[at].tag & mask_;
    if (((at - home) & mask_) >= ((at - hole) & mask_)) {
      slots_[hole] = slots_[at];
      hole = at;
    }
  }
  slots_[hole].head = nullptr;
  if (head->key_size > Head::inline_bytes) delete[] head->long_key;
  heads_.give(head);
  if (--live_ == 0 && mask_ + 1 > 16 * first_slots) [[unlikely]]
    resize(first_slots);
}

void Shard::resize(std::uint32_t slots) {
  auto old = std::exchange(slot_memory_, std::make_unique<Slot[]>(slots));
  const std::uint32_t old_slots = old ? mask_ + 1 : 0;
  slots_ = slot_memory_.get();
  mask_ = slots - 1;
  for (std::uint32_t at = 0; at < old_slots; ++at)
    if (old[at].head != nullptr) put(old[at].head);
}

}  // namespace gordian::lock
