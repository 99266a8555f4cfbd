#include "coordinator/reservations.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace gordian::coordinator {

bool Reservations::reserve(Key key, std::vector<TxnId> owned, Seen seen, std::int64_t now_us, std::int64_t until_us) {
  if (const auto standing = cases_.find(key); standing != cases_.end()) {
    std::erase_if(standing->second.txns, [&](const TxnId& txn) {
      const bool given_up = std::ranges::find(owned, txn) == owned.end();
      if (given_up) reserved_.erase(txn);
      return given_up;
    });
    return true;
  }
  if (released_.contains(key)) return false;
  if (cases_.size() >= cases_max) return false;
  if (std::ranges::any_of(owned, [this](const TxnId& txn) { return contains(txn); })) return false;
  for (const auto& txn : owned) reserved_.emplace(txn, key);
  cases_.emplace(key, Case{std::move(owned), std::move(seen), now_us, until_us});
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

void Reservations::keep_only(std::size_t leader, const std::vector<std::uint64_t>& open, std::int64_t before_us) {
  std::vector<Key> over;
  for (const auto& [key, held] : cases_)
    if (key.first == leader && held.since_us < before_us && !std::ranges::binary_search(open, key.second))
      over.push_back(key);
  for (const auto& key : over) release(key);
}

void Reservations::tick(std::int64_t now_us) {
  std::vector<Key> over;
  for (const auto& [key, held] : cases_)
    if (held.until_us <= now_us) over.push_back(key);
  for (const auto& key : over) release(key);
}

const Seen* Reservations::seen(Key key) const {
  const auto it = cases_.find(key);
  return it == cases_.end() ? nullptr : &it->second.seen;
}

std::int64_t Reservations::next_tick_us() const {
  auto next = std::numeric_limits<std::int64_t>::max();
  for (const auto& [key, held] : cases_) next = std::min(next, held.until_us);
  return next;
}

}  // namespace gordian::coordinator
