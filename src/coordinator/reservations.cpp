#include "coordinator/reservations.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace gordian::coordinator {

bool Reservations::reserve(Key key, std::vector<TxnId> owned, SeenSequences seen, std::int64_t until_us) {
  if (cases_.contains(key)) return true;
  if (released_.contains(key)) return false;
  if (cases_.size() >= cases_max) return false;
  if (std::ranges::any_of(owned, [this](const TxnId& txn) { return contains(txn); })) return false;
  for (const auto& txn : owned) reserved_.emplace(txn, key);
  cases_.emplace(key, Case{std::move(owned), std::move(seen), until_us});
  return true;
}

void Reservations::release(Key key) {
  if (released_.insert(key).second) released_in_order_.push_back(key);
  if (released_in_order_.size() > released_max) {
    released_.erase(released_in_order_.front());
    released_in_order_.pop_front();
  }
  const auto it = cases_.find(key);
  if (it == cases_.end()) return;
  for (const auto& txn : it->second.txns) reserved_.erase(txn);
  cases_.erase(it);
}

void Reservations::tick(std::int64_t now_us) {
  std::vector<Key> over;
  for (const auto& [key, held] : cases_)
    if (held.until_us <= now_us) over.push_back(key);
  for (const auto& key : over) release(key);
}

const SeenSequences* Reservations::seen(Key key) const {
  const auto it = cases_.find(key);
  return it == cases_.end() ? nullptr : &it->second.seen;
}

std::int64_t Reservations::next_tick_us() const {
  auto next = std::numeric_limits<std::int64_t>::max();
  for (const auto& [key, held] : cases_) next = std::min(next, held.until_us);
  return next;
}

}  // namespace gordian::coordinator
