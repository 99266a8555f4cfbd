// The wait-for graph: who waits for whom, at every site, right now.
//
// Vertices are transactions; an edge waiter → blocker knows the wait it comes from. A transaction may have several waits,
// and two transactions several parallel edges (from several sites). Slots are stable: a vertex or edge keeps its number
// while it lives; numbers of dead ones are used again. graph/boost_adaptor.hpp makes it a model of Boost.Graph's
// VertexListGraph and BidirectionalGraph, so its algorithms run here without a copy. It decides nothing: that is detect/.
//
// Not thread-safe: a coordinator owns one and uses it from its reactor thread.
// Cost: adding or removing an edge O(1) amortised; removing a wait O(its edges), a transaction O(its edges), a site O(its waits).
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <unordered_map>
#include <vector>

namespace gordian::graph {

/// A transaction's place in the graph. Valid while the transaction has a wait or blocks one.
using Vertex = std::uint32_t;
/// An edge's place in the graph. Valid while its wait names this blocker.
using EdgeSlot = std::uint32_t;
/// A wait's place in the graph. Valid until the wait ends.
using WaitSlot = std::uint32_t;
/// A site's number, given by the graph's owner (dense, from 0).
using SiteSlot = std::uint32_t;

inline constexpr std::uint32_t no_slot = std::numeric_limits<std::uint32_t>::max();

/// Names a wait from outside: the site's number and the agent's own count.
struct WaitRef {
  SiteSlot site;
  std::uint64_t sequence;

  friend bool operator==(const WaitRef&, const WaitRef&) = default;
  friend auto operator<=>(const WaitRef&, const WaitRef&) = default;
};

struct Limits {
  std::size_t waits = 4'000'000;
  std::size_t edges = 16'000'000;
};

/// A limit of `Limits` would be exceeded; the graph is unchanged.
struct LimitReached {
  const char* what;  ///< "waits" or "edges"
  std::size_t limit;
};

class WaitForGraph {
 public:
  WaitForGraph() : WaitForGraph(Limits{}) {}
  explicit WaitForGraph(Limits limits);

  /// Begins the wait `ref`, or replaces it if it stands already (blockers named again keep their edges). A blocker equal
  /// to the waiter is dropped (an upgrader among the holders), one named twice counts once. A wait without blockers is
  /// kept and blocks nobody's progress. If `ref` stands with another waiter, that wait ends first.
  tl::expected<WaitSlot, LimitReached> begin_wait(WaitRef ref, const TxnId& waiter, std::span<const TxnId> blockers);

  /// Ends the wait; false if there is none.
  bool end_wait(WaitRef ref);
  /// The transaction ended everywhere: its waits vanish, and it blocks nobody. Returns the number of waits removed.
  std::size_t remove_txn(const TxnId& txn);
  /// The site is gone: its waits vanish. Returns their number.
  std::size_t remove_site(SiteSlot site);
  void clear();

  [[nodiscard]] std::optional<WaitSlot> find_wait(WaitRef ref) const;
  [[nodiscard]] std::optional<Vertex> find_txn(const TxnId& txn) const;

  // Reading. Slots passed in must be alive.
  [[nodiscard]] const TxnId& txn(Vertex v) const;
  [[nodiscard]] WaitRef ref(WaitSlot w) const;
  [[nodiscard]] Vertex waiter(WaitSlot w) const;
  /// When the wait was begun or last replaced, counted in this graph's own steps: a larger number is later.
  [[nodiscard]] std::uint64_t reported(WaitSlot w) const;
  /// The edges of one wait.
  [[nodiscard]] std::span<const EdgeSlot> edges(WaitSlot w) const;
  /// The waits of one transaction.
  [[nodiscard]] std::span<const WaitSlot> waits(Vertex v) const;
  [[nodiscard]] Vertex source(EdgeSlot e) const;  ///< the waiter
  [[nodiscard]] Vertex target(EdgeSlot e) const;  ///< the blocker
  [[nodiscard]] WaitSlot wait(EdgeSlot e) const;
  [[nodiscard]] std::span<const EdgeSlot> out_edges(Vertex v) const;
  [[nodiscard]] std::span<const EdgeSlot> in_edges(Vertex v) const;

  [[nodiscard]] bool alive(Vertex v) const;
  [[nodiscard]] std::size_t vertex_count() const;
  /// One more than the largest vertex number ever used: the size of a table indexed by vertex.
  [[nodiscard]] std::size_t vertex_capacity() const;
  [[nodiscard]] std::size_t edge_count() const;
  [[nodiscard]] std::size_t wait_count() const;
  [[nodiscard]] std::size_t wait_count(SiteSlot site) const;

  /// Empty if all is well, else a sentence that names the first contradiction. O(everything); for tests.
  [[nodiscard]] std::string check_invariants() const;
};

}  // namespace gordian::graph
