// What a coordinator keeps of a wait beside the graph: since when it stands, and what people are shown. A million may stand, so
// short texts lie beside the numbers, and longer ones in one piece of memory; waiter, blockers, groups and need are the graph's.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "graph/fetch.hpp"
#include "graph/slot_array.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::coordinator {

/// A wait as its agent reported it last. Nothing is allocated for texts of 26 bytes together.
class Standing {
  /// The texts, each with its length before it; or, after `elsewhere`, where they are. First: all that the end of most waits
  /// reads is the first length.
  alignas(8) std::array<char, 32> texts_{};

 public:
  Standing() = default;
  Standing(const Standing&) = delete;
  Standing& operator=(const Standing&) = delete;
  ~Standing() { forget_texts(); }
  /// In place of what was here.
  void set(const Wait& wait, std::uint64_t number, std::int64_t began_us);
  /// `number` and `began_us` may still be read, and mean nothing.
  void forget_texts() {
    if (length() == elsewhere) delete[] block(), set_length(0);
  }

  std::uint64_t number = 0;   ///< of the message that reported it last: its edges have stood since then at least
  std::int64_t began_us = 0;  ///< steady clock of this coordinator, from the age reported

  [[nodiscard]] std::string resource() const { return std::string(text(0)); }
  [[nodiscard]] std::string mode() const { return std::string(text(1)); }
  [[nodiscard]] std::string detail() const { return std::string(text(2)); }

 private:
  using Length = std::uint16_t;  // messages have much shorter texts: wire::Limits::text_bytes
  static constexpr std::size_t elsewhere = std::numeric_limits<Length>::max();
  static constexpr std::size_t length_max = elsewhere - 1;

  [[nodiscard]] std::string_view text(int index) const;
  /// Of the first text; or `elsewhere`.
  [[nodiscard]] std::size_t length() const {
    Length length = 0;
    std::memcpy(&length, texts_.data(), sizeof length);
    return length;
  }
  void set_length(std::size_t length) {
    const auto value = static_cast<Length>(length);
    std::memcpy(texts_.data(), &value, sizeof value);
  }
  [[nodiscard]] char* block() const {
    char* block = nullptr;
    std::memcpy(&block, texts_.data() + sizeof block, sizeof block);
    return block;
  }
};

/// By the graph's number of the wait; valid as long as that.
class StandingWaits {
 public:
  /// Where `wait` is kept.
  [[nodiscard]] Standing& place(graph::WaitSlot wait) {
    while (standing_.size() <= wait) standing_.emplace_back();
    return standing_[wait];
  }
  void remove(graph::WaitSlot wait) { standing_[wait].forget_texts(); }
  [[nodiscard]] const Standing& at(graph::WaitSlot wait) const { return standing_[wait]; }

  /// It will be removed soon, or is no wait: the memory is on its way.
  void fetch(graph::WaitSlot wait) const {
    if (wait < standing_.size()) graph::fetch(standing_[wait]);
  }

 private:
  graph::Chunks<Standing> standing_;
};

}  // namespace gordian::coordinator
