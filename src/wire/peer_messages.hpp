// The messages between coordinators that share the graph, as values: edge chasing, gathering, reservations. docs/protocol.md
// describes each byte by byte.
//
// Every message carries its sender's name and start, and the version of the map it goes by. None of them is needed to
// arrive: what is lost is asked again by the next probe.
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <gordian/wait.hpp>
#include <string>
#include <variant>
#include <vector>

namespace gordian::wire {

struct PeerLimits {
  std::size_t path_edges = 10'000;      ///< of a probe, and of a suspected cycle
  std::size_t gathered_edges = 25'000;  ///< in one answer
  std::size_t members = 10'000;         ///< transactions asked about at once
};

/// An edge as the waiter's owner knows it.
struct GlobalEdge {
  TxnId waiter;
  TxnId blocker;
  SiteId site;
  std::uint64_t incarnation;
  std::uint64_t sequence;  ///< with site and incarnation: the wait's id
  std::uint64_t since;     ///< number of the agent's message that reported the edge last
  Kind kind = Kind::hard;
  std::uint64_t need = 0;    ///< of the wait: 0 all of its blockers, else so many of them
  bool alone = false;        ///< it is the only edge of its waiter
  std::uint64_t age_us = 0;  ///< of the wait, when the message was made: the youngest is the request that came last

  friend bool operator==(const GlobalEdge&, const GlobalEdge&) = default;
};

/// What a site says of a transaction.
struct Described {
  TxnId txn;
  SiteId site;
  TxnInfo info;

  friend bool operator==(const Described&, const Described&) = default;
};

/// What people want to know of a wait.
struct WaitDetail {
  SiteId site;
  std::uint64_t sequence;
  std::string resource;
  std::string mode;
  std::string detail;
  std::uint64_t age_us;

  friend bool operator==(const WaitDetail&, const WaitDetail&) = default;
};

/// "I live, and these are the cases that I lead." Every heartbeat: a reservation whose Release was lost ends by it.
struct PeerHello {
  bool complete = true;             ///< false: there are more cases than fit
  std::vector<std::uint64_t> open;  ///< numbers of Reserve

  friend bool operator==(const PeerHello&, const PeerHello&) = default;
};
/// Chandy–Misra–Haas: whom does `target` wait for? The path leads from the initiator to it.
struct Probe {
  std::uint64_t round;           ///< of this initiation: a wait that stays is probed again
  bool filtered;                 ///< only past transactions of a smaller id: those of a larger one probe themselves
  TxnId target;                  ///< owned by the receiver
  std::vector<GlobalEdge> path;  ///< the first edge is the initiating wait's

  friend bool operator==(const Probe&, const Probe&) = default;
};
/// A probe came back: these edges look like a cycle. To the owner of its smallest transaction, who leads.
struct Suspect {
  std::vector<GlobalEdge> cycle;

  friend bool operator==(const Suspect&, const Suspect&) = default;
};
/// A transaction has become a blocker while others waited: probe its own waits now.
struct Poke {
  TxnId txn;

  friend bool operator==(const Poke&, const Poke&) = default;
};
/// "All edges of these, and of whom they wait for as far as you own them."
struct Gather {
  std::uint64_t gather;
  std::vector<TxnId> txns;

  friend bool operator==(const Gather&, const Gather&) = default;
};
struct Gathered {
  std::uint64_t gather;
  bool complete;  ///< false: there were more than a limit allows
  std::vector<GlobalEdge> edges;
  std::vector<Described> described;

  friend bool operator==(const Gathered&, const Gathered&) = default;
};
/// The sender leads a case about these transactions (all members of the candidate): no other may, until Release. Again, with the
/// victims only, once they are chosen: the others are free.
struct Reserve {
  std::uint64_t number;  ///< of the case, at the sender
  std::vector<TxnId> txns;

  friend bool operator==(const Reserve&, const Reserve&) = default;
};
struct Reserved {
  std::uint64_t number;
  bool granted;  ///< false: one that the receiver owns belongs to another case
  std::vector<Described> described;
  std::vector<WaitDetail> details;

  friend bool operator==(const Reserved&, const Reserved&) = default;
};
/// The victim of a reserved case was aborted: free its locks where waits that you know stand behind them.
struct FreeBranches {
  std::uint64_t number;
  TxnId victim;
  std::string incident;
  std::string reason;
  std::vector<SiteId> done;  ///< sites where that is under way

  friend bool operator==(const FreeBranches&, const FreeBranches&) = default;
};
struct BranchesFree {
  std::uint64_t number;
  TxnId victim;

  friend bool operator==(const BranchesFree&, const BranchesFree&) = default;
};
/// The case is over.
struct Release {
  std::uint64_t number;

  friend bool operator==(const Release&, const Release&) = default;
};
using PeerMessage = std::variant<PeerHello, Probe, Suspect, Poke, Gather, Gathered, Reserve, Reserved, FreeBranches,
                                 BranchesFree, Release>;

/// A message between coordinators as it travels.
struct FromPeer {
  std::string member;         ///< the sender's name in the map
  std::uint64_t instance;     ///< grows with every start of the sender
  std::uint64_t map_version;  ///< a receiver with another map passes the message over
  PeerMessage message;

  friend bool operator==(const FromPeer&, const FromPeer&) = default;
};

}  // namespace gordian::wire
