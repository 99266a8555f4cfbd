// What a coordinator keeps of a wait beside the graph: since when it stands, and what people are shown. A million may stand, so
// the texts lie in one piece of memory; waiter, blockers, groups and need are the graph's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "graph/slot_array.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::coordinator {

/// A wait as its agent reported it last.
class Standing {
 public:
  Standing() = default;
  Standing(const Wait& wait, std::uint64_t number, std::int64_t began_us);

  std::uint64_t number = 0;   ///< of the message that reported it last: its edges have stood since then at least
  std::int64_t began_us = 0;  ///< steady clock of this coordinator, from the age reported

  [[nodiscard]] std::string resource() const { return std::string(text(0)); }
  [[nodiscard]] std::string mode() const { return std::string(text(1)); }
  [[nodiscard]] std::string detail() const { return std::string(text(2)); }

 private:
  [[nodiscard]] std::string_view text(int index) const;

  std::unique_ptr<char[]> texts_;  ///< each with its length before it
};

/// By the graph's number of the wait; valid as long as that.
class StandingWaits {
 public:
  void put(graph::WaitSlot wait, Standing standing) {
    while (standing_.size() <= wait) standing_.emplace_back();
    standing_[wait] = std::move(standing);
  }
  void remove(graph::WaitSlot wait) { standing_[wait] = Standing(); }
  [[nodiscard]] const Standing& at(graph::WaitSlot wait) const { return standing_[wait]; }

 private:
  graph::Chunks<Standing> standing_;
};

}  // namespace gordian::coordinator
