// What the table keeps of one resource that is held: a lock head of one cache line with its first holder inside, and, only
// where there are more holders or waiters, a Contention beside it. Guarded by the shard's lock, all of it.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <gordian/lock_table.hpp>
#include <string_view>

namespace gordian::lock {

class Core;
struct Head;

/// A transaction's place at one resource: waiting, converting, or holding beside the first holder.
struct Request {
  enum class State : std::uint8_t {
    waiting,     ///< in the queue of its mode
    converting,  ///< holds (its hold is elsewhere), and waits for `mode`
    holding,
    converted,  ///< a conversion that was granted and that its call has not collected yet
  };
  Request* next = nullptr;
  Request* prev = nullptr;
  Head* head = nullptr;
  Core* txn = nullptr;
  Request* hold = nullptr;  ///< of a conversion: what it converts; null for the head's first holder
  std::uint64_t id = 0;     ///< the step at which it began: its WaitNumber within the shard
  std::uint64_t place = 0;  ///< in the queue: its id, until somebody is let past somebody else
  std::uint64_t fence = 0;
  std::uint64_t ticket = 0;
  Micros deadline = never;
  std::uint32_t count = 0;  ///< how often it is held
  std::uint32_t item = 0;   ///< its place in the call that made it
  Mode mode{};              ///< held, or asked for
  Mode before{};            ///< of a conversion: held before it
  State state = State::waiting;
};

/// A list of requests through `next` and `prev`, oldest first.
struct RequestList {
  Request* front = nullptr;
  Request* back = nullptr;

  [[nodiscard]] bool empty() const { return front == nullptr; }
  void push_back(Request* request) {
    request->prev = back;
    request->next = nullptr;
    (back != nullptr ? back->next : front) = request;
    back = request;
  }
  /// Where its place says.
  void insert(Request* request) {
    Request* after = front;
    while (after != nullptr && after->place < request->place) after = after->next;
    if (after == nullptr) return push_back(request);
    request->next = after;
    request->prev = after->prev;
    (after->prev != nullptr ? after->prev->next : front) = request;
    after->prev = request;
  }
  void remove(Request* request) {
    (request->prev != nullptr ? request->prev->next : front) = request->next;
    (request->next != nullptr ? request->next->prev : back) = request->prev;
    request->next = request->prev = nullptr;
  }
};

/// Counts per mode, and which of them are not zero.
struct ModeCounts {
  std::array<std::uint32_t, max_modes> count{};
  ModeSet present = 0;

  void add(Mode mode) {
    ++count[index(mode)];
    present |= bit(mode);
  }
  void remove(Mode mode) {
    if (--count[index(mode)] == 0) present = static_cast<ModeSet>(present & ~bit(mode));
  }
  /// What is left when one of `mode` is left out.
  [[nodiscard]] ModeSet without(Mode mode) const {
    return count[index(mode)] > 1 ? present : static_cast<ModeSet>(present & ~bit(mode));
  }
};

/// More holders and waiters of one resource. The queue is kept as one list per mode: whose turn it is follows from the
/// fronts alone, by comparing ids, so that passing a lock on does not walk the queue.
struct Contention {
  Contention* next_free = nullptr;
  ModeCounts held;                                ///< all holders, the first one included
  ModeCounts targets;                             ///< what conversions ask for
  RequestList holders;                            ///< those beside the first
  RequestList converting;                         ///< before all waiters
  std::array<RequestList, max_modes> waiting;     ///< by mode
  ModeSet waiting_modes = 0;                      ///< whose list is not empty
  std::uint32_t queued = 0;                       ///< waiting and converting
  std::uint32_t preventing = 0;                   ///< those of them whose strategy is wait_die or wound_wait
  std::array<std::uint64_t, max_modes> fronts{};  ///< what the observer was told last; 0 for none
};

/// A resource that is held. `holder` is null while only others hold it.
struct alignas(64) Head {
  static constexpr std::size_t inline_bytes = 24;

  Core* holder = nullptr;
  Contention* contention = nullptr;
  std::uint64_t fence = 0;  ///< of the first holder, like count and mode
  std::uint32_t count = 0;
  std::uint32_t tag = 0;  ///< the lower half of the name's hash
  std::uint16_t shard = 0;
  std::uint16_t key_size = 0;
  Mode mode{};
  union {
    char inline_key[inline_bytes];
    char* long_key;
    Head* next_free;
  };
  Head() : next_free(nullptr) {}

  [[nodiscard]] std::string_view key() const { return {key_size <= inline_bytes ? inline_key : long_key, key_size}; }
  [[nodiscard]] bool queued() const { return contention != nullptr && contention->queued != 0; }
};
static_assert(sizeof(Head) == 64);

/// A hold, wherever it is kept.
struct Hold {
  Mode& mode;
  std::uint32_t& count;
  std::uint64_t& fence;
};
inline Hold hold_of(Head& head, Request* request) {
  if (request != nullptr) return {request->mode, request->count, request->fence};
  return {head.mode, head.count, head.fence};
}

}  // namespace gordian::lock
