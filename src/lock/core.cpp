// What a transaction holds, and the registry.
#include "lock/core.hpp"

namespace gordian::lock {

std::size_t HeldList::find(const Head* head) {
  if (!index_) {
    if (list_.size() <= short_search) {
      for (std::size_t place = list_.size(); place-- > 0;)
        if (list_[place].head == head) return place;
      return npos;
    }
    index_ = std::make_unique<std::unordered_map<const Head*, std::size_t>>();
    for (std::size_t place = 0; place < list_.size(); ++place) index_->emplace(list_[place].head, place);
  }
  const auto found = index_->find(head);
  return found == index_->end() ? npos : found->second;
}

void HeldList::remove(std::size_t place) {
  if (index_) index_->erase(list_[place].head);
  if (place + 1 != list_.size()) {
    list_[place] = list_.back();
    if (index_) (*index_)[list_[place].head] = place;
  }
  list_.pop_back();
}

void Registry::add(Core& core) {
  if (core.registered.load(std::memory_order_acquire)) return;
  const Guard guard(lock_);
  if (core.registered.load(std::memory_order_relaxed)) return;
  cores_.emplace(core.options.id, &core);
  core.registered.store(true, std::memory_order_release);
}

void Registry::remove(Core& core) {
  if (!core.registered.load(std::memory_order_acquire)) return;
  const Guard guard(lock_);
  const auto [first, last] = cores_.equal_range(core.options.id);
  for (auto at = first; at != last; ++at)
    if (at->second == &core) {
      cores_.erase(at);
      break;
    }
  core.registered.store(false, std::memory_order_release);
}

std::vector<CoreRef> Registry::find(const TxnId& txn) {
  const Guard guard(lock_);
  std::vector<CoreRef> found;
  const auto [first, last] = cores_.equal_range(txn);
  for (auto at = first; at != last; ++at) found.emplace_back(*at->second);
  return found;
}

}  // namespace gordian::lock
