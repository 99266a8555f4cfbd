// The coordinator's side of the protocol: sites and their waits, candidates, confirmations, victims, incidents.
//
// Pure: messages and the time go in, messages and events come out; net/ carries them, sim/ will simulate them. What it
// knows of waits is soft state, rebuilt from the agents' snapshots. docs/architecture.md, "How a deadlock is found".
//
// Not thread-safe: one reactor thread owns it. Cost: a change O(its edges) plus the search from it.
#pragma once

#include <chrono>
#include <cstdint>
#include <gordian/ids.hpp>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "coordinator/views.hpp"
#include "detect/edge_chaser.hpp"
#include "detect/victims.hpp"
#include "wire/messages.hpp"
#include "wire/peer_messages.hpp"

namespace gordian::coordinator {

/// Names a connection; given by whoever carries the messages (a ZeroMQ routing id).
using PeerId = std::string;

/// Steady time decides, wall-clock time is only shown. Both in microseconds.
struct Time {
  std::int64_t steady_us = 0;
  std::int64_t unix_us = 0;
};

struct Limits {
  std::size_t sites = 1024;
  std::size_t waits_per_site = 200'000;
  std::size_t groups_per_site = 200'000;
  std::size_t txns = 1'000'000;  ///< described transactions, over all sites
  /// So many fit into one Confirm. Of a larger candidate one cycle is taken; if that is larger, it is reported and left alone.
  std::size_t candidate_edges = 25'000;
  std::size_t incidents_in_memory = 1'000;  ///< the newest; older ones are only in the history
  std::size_t confirms_in_flight = 10'000;  ///< further candidates wait for the next full pass
};

struct Options {
  std::string version = "0";  ///< shown in the status
  std::uint64_t epoch = 1;    ///< this coordinator's term; raised when an agent has seen a higher one
  detect::Policy policy = detect::Policy::youngest;
  detect::Weights weights;
  std::chrono::milliseconds heartbeat{500};
  std::chrono::milliseconds lease{3000};
  std::chrono::milliseconds confirm_timeout{1000};  ///< no answer: the silent agents are asked again
  unsigned confirm_attempts = 5;                    ///< then the candidate is dropped, and searched for again
  std::chrono::milliseconds abort_grace{2000};      ///< no acknowledgement: the order is given again, escalated
  unsigned abort_attempts = 3;                      ///< then another victim is chosen
  std::chrono::milliseconds full_pass_interval{1000};
  std::chrono::milliseconds takeover_wait{1100};  ///< how long a silent predecessor may take to show that it lives
  std::vector<SiteId> expected_sites;             ///< sites known from before: `missing` until they come
  wire::MemberMap map;                            ///< all coordinators that share the graph; none: this one alone
  std::string member;                             ///< this one's name in the map
  std::uint64_t instance = 1;                     ///< grows with every start
  detect::EdgeChaser::Options chasing;
  bool record = false;  ///< emit Applied events
  Limits limits;
};

struct Outgoing {
  PeerId peer;
  wire::ToAgent message;
};

/// To another member of the map; may be lost.
struct PeerOutgoing {
  std::size_t member;  ///< its place in the map
  wire::FromPeer message;
};

// --- Events: what the host may store, record or log ---

struct IncidentChanged {
  Incident incident;
};
struct SiteChanged {
  SiteId site;
  enum class What : std::uint8_t { joined, left, lost } what;  ///< `left`: said goodbye; `lost`: its lease ran out
};
/// A change as applied to the graph, for a recording. Only with Options::record.
struct Applied {
  SiteId site;
  wire::Change change;
};
struct Note {
  enum class Level : std::uint8_t { debug, info, warn, error } level;
  std::string text;
};
using Event = std::variant<IncidentChanged, SiteChanged, Applied, Note>;

class Coordinator {
 public:
  Coordinator(Options options, Time now);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  void receive(const PeerId& peer, const wire::FromAgent& message, Time now);
  /// From another member of the map.
  void receive(const PeerId& peer, const wire::FromPeer& message, Time now);
  /// Something that was refused before it became a message (malformed, too large); counted and shown.
  void refused(const PeerId& peer, const wire::Error& error, Time now);
  /// A message of take_peer_outgoing() could not be sent: counted.
  void peer_missed(std::size_t member);
  /// Another member refused a message of this one: counted and told.
  void peer_complains(std::size_t member, const std::string& text);
  /// Timers: leases, confirmations, orders, the full pass. Call at or after next_tick_us().
  void tick(Time now);
  [[nodiscard]] std::int64_t next_tick_us() const;

  [[nodiscard]] std::vector<Outgoing> take_outgoing();
  [[nodiscard]] std::vector<PeerOutgoing> take_peer_outgoing();
  [[nodiscard]] std::vector<Event> take_events();

  [[nodiscard]] StatusView status(Time now) const;
  [[nodiscard]] GraphView graph(Time now, std::size_t limit) const;
  /// Newest first. With a non-empty `id` only that one.
  [[nodiscard]] std::vector<Incident> incidents(std::size_t limit, const std::string& id = {}) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::coordinator
