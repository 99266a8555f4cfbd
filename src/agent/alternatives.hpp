// A call for any or some of several resources, as waits that an agent can report.
//
// The call goes on when enough of its requests are granted, and each of those waits for all who stand in its way: "k of n, each of
// which needs all". A reported wait needs k of its blockers, and a transaction with several waits needs all of them. So the
// call is told as one or several waits of its transaction, all of which must be satisfied: the conjunctive form of the above.
// Where every resource has one holder, a different one each, that is a single wait for k of n. Pure.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <gordian/ids.hpp>
#include <span>
#include <vector>

namespace gordian::agent {

/// So many of these must end.
struct Clause {
  std::uint32_t need;
  std::vector<TxnId> blockers;  ///< sorted, each named once; at least `need`

  friend bool operator==(const Clause&, const Clause&) = default;
  friend auto operator<=>(const Clause&, const Clause&) = default;
};

struct Clauses {
  std::vector<Clause> all;  ///< sorted
  bool complete = true;     ///< else there are more: those that are told say less than there is, and nothing wrong
};

/// `in_the_way`: for each request that waits, who must end before it is granted (each named once); nobody: it waits no more.
/// `spare`: so many of the requests may wait for good. At most `limit` clauses. Cost: O(256 · limit names, sorted): there is one clause
/// for each way to choose one of the holders of every resource that is shared, and many of them may be the same.
[[nodiscard]] Clauses clauses_of(std::span<const std::vector<TxnId>> in_the_way, std::size_t spare, std::size_t limit);

}  // namespace gordian::agent
