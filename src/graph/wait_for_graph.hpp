// The wait-for graph: who waits for whom, at every site, right now.
//
// Vertices are transactions and holder groups. An edge waiter → blocker or waiter → group knows the wait it comes from; an
// edge group → member says that the member blocks all who wait for the group, except itself. So a lock that passes on
// costs two edges, however many wait. A transaction may have several waits, and two transactions several parallel edges
// (from several sites). Slots are stable: a vertex or edge keeps its number while it lives; numbers of dead ones are used
// again. graph/boost_adaptor.hpp makes it a model of Boost.Graph's VertexListGraph and BidirectionalGraph, so its
// algorithms run here without a copy. It decides nothing: that is detect/.
//
// A member of a group that it waits for itself (a conversion) makes a circle of the two, which is no deadlock. Between
// different transactions nothing changes by that: a path without repetition never uses it. So whoever looks for
// cycles counts transactions, not vertices.
//
// Not thread-safe: a coordinator owns one and uses it from its reactor thread.
// Cost: adding or removing an edge O(1) amortised; removing a wait, a transaction or a group O(its edges), a site O(its waits).
// Memory: about 165 bytes for a wait with one blocker, its waiter's vertex included (ids up to 15 bytes; longer ones add
// their length); 28 to 50 for each further edge, 60 for each member of a group. What lies together is what is used together:
// a vertex is one cache line, and what a walk reads of it is sixteen bytes in a table of their own.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/hash/hash.h>
#include <absl/strings/string_view.h>

#include <cstdint>
#include <gordian/ids.hpp>
#include <gordian/wait.hpp>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "graph/fetch.hpp"
#include "graph/slot_array.hpp"
#include "graph/slot_list.hpp"

namespace gordian::graph {

/// A transaction's or group's place in the graph. Valid while the transaction has a wait, blocks one or is a member; while
/// the group stands.
using Vertex = std::uint32_t;
/// An edge's place in the graph. Valid while its wait names this blocker or group, or the group has this member.
using EdgeSlot = std::uint32_t;
/// A wait's place in the graph. Valid until the wait ends.
using WaitSlot = std::uint32_t;
/// A site's number, given by the graph's owner (dense, from 0).
using SiteSlot = std::uint32_t;

inline constexpr std::uint32_t no_slot = std::numeric_limits<std::uint32_t>::max();
/// In Links: more than one edge.
inline constexpr Vertex several = no_slot - 1;
/// Of a wait: it goes on when all of its blockers and groups have ended.
inline constexpr std::uint32_t need_all = std::numeric_limits<std::uint32_t>::max();

/// Names a wait from outside: the site's number and the agent's own count.
struct WaitRef {
  SiteSlot site;
  std::uint64_t sequence;

  friend bool operator==(const WaitRef&, const WaitRef&) = default;
  friend auto operator<=>(const WaitRef&, const WaitRef&) = default;
};

/// Names a holder group from outside, in the same way.
struct GroupRef {
  SiteSlot site;
  std::uint64_t number;

  friend bool operator==(const GroupRef&, const GroupRef&) = default;
  friend auto operator<=>(const GroupRef&, const GroupRef&) = default;
};

/// All that a walk reads of a vertex, in a table of its own: the smaller it is, the more of it lies in the cache.
struct Links {
  EdgeList in;              ///< edges, and where they come from
  Vertex target = no_slot;  ///< where the only out-edge leads; no_slot if there is none, or `several`
  Vertex source = no_slot;  ///< where the only in-edge comes from, likewise
};

/// A blocker that was looked up.
struct HeldBlocker {
  Vertex txn;
  Kind kind = Kind::hard;
};

struct Limits {
  std::size_t waits = 4'000'000;
  std::size_t edges = 16'000'000;
  std::size_t groups = 1'000'000;
};

/// A limit of `Limits` would be exceeded; the graph is unchanged.
struct LimitReached {
  const char* what;  ///< "waits", "edges" or "groups"
  std::size_t limit;
};

class WaitForGraph {
 public:
  WaitForGraph() : WaitForGraph(Limits{}) {}
  explicit WaitForGraph(Limits limits);
  /// Its indexes point into itself, and detectors borrow it: it stays where it is.
  WaitForGraph(const WaitForGraph&) = delete;
  WaitForGraph& operator=(const WaitForGraph&) = delete;

  /// Begins the wait `ref`, or replaces it if it stands already (blockers named again keep their edges). A blocker equal
  /// to the waiter is dropped (an upgrader among the holders), one named twice counts once. A wait without blockers is
  /// kept and blocks nobody's progress. If `ref` stands with another waiter, that wait ends first. Names may
  /// be those of living vertices of this graph. `groups`: numbers of groups at the same site; one that does not stand is
  /// passed over. `need`: how many of the blockers must end before the waiter goes on, from 1; need_all, and whatever is not
  /// less than their number, means all; groups and soft blockers go with need_all only. Cost: O(k log k) for k blockers and groups.
  tl::expected<WaitSlot, LimitReached> begin_wait(WaitRef ref, const TxnId& waiter, std::span<const Blocker> blockers,
                                                  std::span<const std::uint64_t> groups = {},
                                                  std::uint32_t need = need_all);
  /// The same with hard blockers, all of which are needed.
  tl::expected<WaitSlot, LimitReached> begin_wait(WaitRef ref, const TxnId& waiter, std::span<const TxnId> blockers,
                                                  std::span<const std::uint64_t> groups = {});

  /// The same between transactions that the caller holds: without a look-up by name.
  tl::expected<WaitSlot, LimitReached> begin_wait(WaitRef ref, Vertex waiter, std::span<const HeldBlocker> blockers,
                                                  std::span<const std::uint64_t> groups = {},
                                                  std::uint32_t need = need_all);

  /// Ends the wait; false if there is none.
  bool end_wait(WaitRef ref);
  void end_wait(WaitSlot w) { drop_wait(w); }

  /// Looks the transaction up, for one who will name it again: until it is let go as often as it was held, its vertex stays,
  /// with waits or without. Cost: O(1).
  [[nodiscard]] Vertex hold(const TxnId& txn);
  void let_go(Vertex txn);

  // Many at once. What one step needs lies in half a dozen places, each known from the one before, and the processor would
  // wait for every one of them; of some dozens of steps it can fetch them side by side.
  /// Appends the vertices to `held`, in the same order.
  void hold(std::span<const TxnId* const> txns, std::vector<Vertex>& held);
  /// Appends the waits to `found`, in the same order, no_slot for one that does not stand; what ending them needs is on its way.
  void find_waits(std::span<const WaitRef> refs, std::vector<WaitSlot>& found) const;
  /// What a search from the wait reads first is on its way. It need not stand any more; may be no_slot.
  void fetch_wait(WaitSlot wait) const {
    if (wait < waits_.capacity()) fetch(waits_[wait]);
  }
  /// The transaction ended everywhere: its waits vanish, it blocks nobody and is a member of nothing; a wait that needs some
  /// of several needs one less. Returns the number of waits removed.
  std::size_t remove_txn(const TxnId& txn);

  /// Begins a group without members; nothing happens if it stands already. Waits name it with edges of `kind`, hard (holders)
  /// or soft (who is queued first).
  tl::expected<Vertex, LimitReached> begin_group(GroupRef group, Kind kind = Kind::hard);
  /// The group blocks nobody any more; waits that named it stand without it. False if there is none.
  bool end_group(GroupRef group);
  /// True if it was no member before. The group must stand.
  tl::expected<bool, LimitReached> join(GroupRef group, const TxnId& txn);
  /// False if it was no member.
  bool leave(GroupRef group, const TxnId& txn);

  /// The site is gone: its waits and groups vanish. Returns the number of waits.
  std::size_t remove_site(SiteSlot site);
  void clear();

  [[nodiscard]] std::optional<WaitSlot> find_wait(WaitRef ref) const;
  /// `hint`: where it was found before, perhaps: nothing is looked up if it is there still. May be no_slot.
  [[nodiscard]] std::optional<WaitSlot> find_wait(WaitRef ref, WaitSlot hint) const {
    if (hint < waits_.capacity() && waiter(hint) != no_slot && this->ref(hint) == ref) return hint;
    return find_wait(ref);
  }
  /// Of the site's waits, sorted. Cost: O(n log n).
  [[nodiscard]] std::vector<std::uint64_t> sequences(SiteSlot site) const;
  [[nodiscard]] std::optional<Vertex> find_txn(const TxnId& txn) const;
  [[nodiscard]] std::optional<Vertex> find_group(GroupRef group) const;

  // Reading. Slots passed in must be alive.
  [[nodiscard]] bool is_group(Vertex v) const { return vertices_[v].is_group != 0; }
  [[nodiscard]] GroupRef group(Vertex v) const { return groups_.at(v).ref; }
  [[nodiscard]] bool is_member(Vertex group, Vertex txn) const { return members_.contains(member_key(group, txn)); }
  /// Of a transaction.
  [[nodiscard]] const TxnId& txn(Vertex v) const { return vertices_[v].id; }
  [[nodiscard]] WaitRef ref(WaitSlot w) const { return {waits_[w].site, waits_[w].sequence}; }
  [[nodiscard]] Vertex waiter(WaitSlot w) const { return waits_[w].waiter; }
  /// When the wait was begun or last replaced, counted in this graph's own steps: a larger number is later.
  [[nodiscard]] std::uint64_t reported(WaitSlot w) const { return waits_[w].reported; }
  /// How many of its edges must still end before the waiter goes on: need_all, or so many; 0: it is satisfied.
  [[nodiscard]] std::uint32_t need(WaitSlot w) const { return waits_[w].need; }
  /// Does this wait name the transaction, or a group that has it as a member? Cost: O(the wait's edges).
  [[nodiscard]] bool waits_for(WaitSlot w, const TxnId& blocker) const;
  /// The edges of one wait, to its blockers and groups.
  [[nodiscard]] std::span<const EdgeSlot> edges(WaitSlot w) const { return waits_[w].edges; }
  /// The waits of one transaction.
  [[nodiscard]] std::span<const WaitSlot> waits(Vertex v) const { return vertices_[v].waits; }
  [[nodiscard]] Vertex source(EdgeSlot e) const { return edges_[e].source; }  ///< the waiter, or a group
  [[nodiscard]] Vertex target(EdgeSlot e) const { return edges_[e].target; }  ///< the blocker, group or member
  /// Of an edge that does not start at a group.
  [[nodiscard]] WaitSlot wait(EdgeSlot e) const { return edges_[e].wait; }
  /// An edge to a group has the group's kind; one from a group is hard.
  [[nodiscard]] Kind kind(EdgeSlot e) const { return static_cast<Kind>(edges_[e].kind); }
  [[nodiscard]] std::span<const EdgeSlot> out_edges(Vertex v) const { return vertices_[v].out; }
  [[nodiscard]] std::span<const EdgeSlot> in_edges(Vertex v) const { return links_[v].in; }
  [[nodiscard]] const Links& links(Vertex v) const { return links_[v]; }

  /// For any number below vertex_capacity() or edge_capacity().
  [[nodiscard]] bool alive(Vertex v) const {
    const auto& vertex = vertices_[v];
    return links_[v].source != no_slot || !vertex.waits.empty() || vertex.is_group != 0 || vertex.held != 0;
  }
  [[nodiscard]] bool edge_alive(EdgeSlot e) const { return edges_[e].wait != no_slot; }
  /// Transactions and groups.
  [[nodiscard]] std::size_t vertex_count() const { return vertices_.in_use(); }
  [[nodiscard]] std::size_t group_count() const { return groups_.size(); }
  /// One more than the largest vertex number ever used: the size of a table indexed by vertex.
  [[nodiscard]] std::size_t vertex_capacity() const { return vertices_.capacity(); }
  [[nodiscard]] std::size_t edge_count() const { return edges_.in_use(); }
  [[nodiscard]] std::size_t edge_capacity() const { return edges_.capacity(); }
  [[nodiscard]] std::size_t wait_count() const { return waits_.in_use(); }
  [[nodiscard]] std::size_t wait_count(SiteSlot site) const { return site < sites_.size() ? sites_[site].size() : 0; }

  /// How many waits need some of several only, and how many edges are dotted: with none of either, a deadlock is a cycle.
  [[nodiscard]] std::size_t partial_wait_count() const { return partial_waits_; }
  [[nodiscard]] std::size_t dotted_edge_count() const { return dotted_edges_; }

  /// How many edges were added and removed so far: what the graph has cost.
  [[nodiscard]] std::uint64_t edge_changes() const { return edge_changes_; }

  /// Empty if all is well, else a sentence that names the first contradiction. O(everything); for tests.
  [[nodiscard]] std::string check_invariants() const;

 private:
  // All that a change of a vertex touches lies in one cache line.
  struct alignas(64) VertexData {
    VertexData(const TxnId& txn, std::uint32_t hash_of_it) : hash(hash_of_it), id(txn) {}

    SlotList waits;
    SlotList out;
    std::uint32_t hash;  ///< of a transaction's id
    std::uint32_t is_group : 1 = 0;
    std::uint32_t held : 31 = 0;  ///< how often
    TxnId id;                     ///< short ones lie here too
  };
  // An edge knows its place in each list that holds it, so that it leaves by swapping with the last one.
  struct EdgeData {
    EdgeData(Vertex from, Vertex to, WaitSlot w, Kind k)
        : source(from), target(to), wait(w), kind(static_cast<std::uint32_t>(k) & 3U) {}

    Vertex source;
    Vertex target;
    WaitSlot wait;  ///< no_slot: this slot is free
    std::uint32_t place_in_out = 0;
    std::uint32_t place_in_in = 0;
    std::uint32_t place_in_wait : 30 = 0;
    std::uint32_t kind : 2;
  };
  static constexpr WaitSlot membership = no_slot - 1;  ///< the `wait` of an edge group → member
  struct WaitData {
    WaitData(WaitRef ref, Vertex v) : sequence(ref.sequence), site(ref.site), waiter(v) {}

    std::uint64_t sequence;
    std::uint64_t reported = 0;
    SiteSlot site;
    Vertex waiter;  ///< no_slot: this slot is free
    std::uint32_t place_in_waits = 0;
    std::uint32_t need = need_all;
    SlotList edges;
  };

  // The indexes hold slots only; ids, their hashes and sequences are looked up where the slots keep them.
  struct Name {
    Name() = default;
    explicit Name(const TxnId& txn) : id(txn.view()) {
      // std::string_view may be another type to Abseil, which it hashes with std::hash, more slowly.
      const absl::string_view text(id.data(), id.size());
      hash = static_cast<std::uint32_t>(absl::Hash<absl::string_view>{}(text));
    }

    std::string_view id;
    std::uint32_t hash = 0;
  };
  /// Equals nothing, but tells which slot it was compared with last: most likely the one that has this key, and what is
  /// there was not read.
  struct Guess {
    std::uint64_t key;  ///< a name's hash, or a sequence
    std::uint32_t* seen;
  };
  struct TxnHash {
    using is_transparent = void;
    const SlotArray<VertexData>* vertices;
    [[nodiscard]] std::size_t operator()(Vertex v) const { return spread((*vertices)[v].hash); }
    [[nodiscard]] std::size_t operator()(const Name& name) const { return spread(name.hash); }
    [[nodiscard]] std::size_t operator()(Guess c) const { return spread(static_cast<std::uint32_t>(c.key)); }
    [[nodiscard]] static std::size_t spread(std::uint32_t hash) {
      const auto product = std::uint64_t{hash} * 0x9e3779b97f4a7c15ULL;
      return product ^ product >> 32U;
    }
  };
  struct SameTxn {
    using is_transparent = void;
    const SlotArray<VertexData>* vertices;
    [[nodiscard]] bool operator()(Vertex a, Vertex b) const { return a == b; }
    [[nodiscard]] bool operator()(Vertex v, const Name& name) const { return (*vertices)[v].id.view() == name.id; }
    [[nodiscard]] bool operator()(Vertex v, Guess c) const { return *c.seen = v, false; }
  };
  struct Sequence {
    std::uint64_t value;
  };
  struct SequenceHash {
    using is_transparent = void;
    const SlotArray<WaitData>* waits;
    [[nodiscard]] std::size_t operator()(WaitSlot w) const { return (*this)(Sequence{(*waits)[w].sequence}); }
    [[nodiscard]] std::size_t operator()(Sequence s) const { return absl::Hash<std::uint64_t>{}(s.value); }
    [[nodiscard]] std::size_t operator()(Guess c) const { return (*this)(Sequence{c.key}); }
  };
  struct SameSequence {
    using is_transparent = void;
    const SlotArray<WaitData>* waits;
    [[nodiscard]] bool operator()(WaitSlot a, WaitSlot b) const { return a == b; }
    [[nodiscard]] bool operator()(WaitSlot w, Sequence s) const { return (*waits)[w].sequence == s.value; }
    [[nodiscard]] bool operator()(WaitSlot w, Guess c) const { return *c.seen = w, false; }
  };
  using SiteWaits = absl::flat_hash_set<WaitSlot, SequenceHash, SameSequence>;
  using SiteGroups = absl::flat_hash_map<std::uint64_t, Vertex>;

  [[nodiscard]] static std::uint64_t member_key(Vertex group, Vertex txn) {
    return std::uint64_t{group} << 32U | std::uint64_t{txn};
  }

  tl::expected<WaitSlot, LimitReached> begin_named(WaitRef ref, const TxnId& waiter, auto blockers,
                                                   std::span<const std::uint64_t> groups, std::uint32_t need,
                                                   auto held_of);
  [[nodiscard]] std::optional<WaitSlot> begin_simple_wait(WaitRef ref, Vertex waiter, Vertex blocker);
  [[nodiscard]] Vertex take_vertex(const TxnId& id, std::uint32_t hash);
  [[nodiscard]] Vertex vertex_for(const Name& name, const TxnId& txn);
  [[nodiscard]] SiteWaits& waits_at(SiteSlot site);
  void drop_vertex_if_unused(Vertex v);
  [[nodiscard]] std::optional<WaitSlot> add_wait(WaitRef ref, Vertex waiter);
  void drop_wait(WaitSlot w);
  EdgeSlot add_edge(Vertex from, Vertex to, WaitSlot w, Kind kind = Kind::hard);
  void set_kind(EdgeSlot e, Kind kind);
  void set_need(WaitSlot w, std::uint32_t need);
  void drop_edge(EdgeSlot e);
  void drop_group(Vertex v);
  void set_blockers(WaitSlot w, std::span<const HeldBlocker> sorted, std::span<const Vertex> sorted_groups);
  [[nodiscard]] std::string check_vertex(Vertex v) const;
  [[nodiscard]] std::string check_group(Vertex v) const;
  [[nodiscard]] std::string check_wait(WaitSlot w) const;
  [[nodiscard]] std::string check_edge(EdgeSlot e) const;

  Limits limits_;
  SlotArray<VertexData> vertices_;
  std::vector<Links> links_;  ///< by vertex; in one piece, so that a walk computes where the next one lies
  SlotArray<EdgeData> edges_;
  SlotArray<WaitData> waits_;
  absl::flat_hash_set<Vertex, TxnHash, SameTxn> txns_;
  std::vector<SiteWaits> sites_;
  struct GroupData {
    GroupRef ref;
    Kind kind;
  };
  absl::flat_hash_map<Vertex, GroupData> groups_;
  std::vector<SiteGroups> site_groups_;
  absl::flat_hash_map<std::uint64_t, EdgeSlot> members_;  ///< by member_key
  std::size_t partial_waits_ = 0;
  std::size_t dotted_edges_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t edge_changes_ = 0;
};

}  // namespace gordian::graph
