// Who must go: the victims of a candidate, chosen by policy.
//
// Pure and deterministic: the same candidate and attributes give the same victims, on every coordinator and in any order
// of input. After the victims end nothing of the candidate is on a cycle, and no victim is superfluous.
#pragma once

#include <cstdint>
#include <functional>
#include <gordian/ids.hpp>
#include <gordian/wait.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gordian::detect {

enum class Policy : std::uint8_t { youngest, oldest, fewest_locks, least_work, lowest_priority, requester, weighted };

/// The names used in options, traces and messages: "youngest", "oldest", "fewest_locks", …
[[nodiscard]] std::string_view name(Policy policy);
[[nodiscard]] std::optional<Policy> parse_policy(std::string_view name);
/// All names, separated by ", ", for messages.
[[nodiscard]] std::string policy_names();

/// The order of ids that decides ties: decimal numbers by value, before all other ids; those byte by byte. Total, so that
/// the order of input never matters.
[[nodiscard]] bool id_less(const TxnId& a, const TxnId& b);

/// The cost of `weighted`: (1 + locks·w + work·w) · (1 + restarts·w). Restarts age a transaction, so that it is spared.
struct Weights {
  double locks = 1;
  double work = 1;
  double restarts = 1;
};

/// One edge of a candidate by value: it outlives the graph's slots.
struct CandidateEdge {
  TxnId waiter;
  TxnId blocker;
  std::uint32_t site;          ///< graph::SiteSlot of the wait
  std::uint64_t sequence;      ///< the wait's sequence there
  std::uint64_t reported = 0;  ///< graph order of the wait, for `requester`
  Kind kind = Kind::hard;
  /// So many of this wait's edges in the candidate must end before the waiter goes on; need_all: all of them.
  std::uint32_t need = need_all;

  static constexpr std::uint32_t need_all = 0xffffffff;  ///< graph::need_all
  friend bool operator==(const CandidateEdge&, const CandidateEdge&) = default;
  friend auto operator<=>(const CandidateEdge&, const CandidateEdge&) = default;
};

/// What is known of a transaction; unknown ones get TxnInfo{}.
using InfoOf = std::function<TxnInfo(const TxnId&)>;

struct Victims {
  std::vector<TxnId> victims;  ///< in the order of choice
  std::vector<TxnId> spared;   ///< the other members of the cycles (those of `unresolved` included), sorted
  /// Members of cycles that consist only of transactions of class `never`, sorted: reported, nobody is aborted.
  std::vector<TxnId> unresolved;
  /// Soft edges whose waiters may jump the queue: with them gone, and the victims (often none), nothing is deadlocked. Sorted;
  /// none is superfluous.
  std::vector<CandidateEdge> reorder;
  std::string why;  ///< one sentence about the first victim, or why there is none
};

/// `edges` may contain tails; only members of cycles are ever chosen. Cost: O(V·E) in the candidate.
[[nodiscard]] Victims choose_victims(const std::vector<CandidateEdge>& edges, const InfoOf& info, Policy policy,
                                     const Weights& weights = {});

}  // namespace gordian::detect
