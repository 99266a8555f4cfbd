// The other coordinators that share the graph: who they are, whether they live, and messages to them.
//
// Messages may be lost: whoever sends one does not rely on its arrival. Decides nothing.
#pragma once

#include <optional>
#include <vector>

#include "coordinator/coordinator.hpp"
#include "coordinator/outbox.hpp"
#include "wire/peer_messages.hpp"

namespace gordian::coordinator {

/// Numbers of probes, gatherings and cases: those of a later start are larger.
[[nodiscard]] constexpr std::uint64_t first_number(std::uint64_t instance) { return instance << 20U; }

class Peers {
 public:
  Peers(const Options& options, Outbox& out, Time now);

  /// One coordinator owns everything.
  [[nodiscard]] bool alone() const { return options_.map.members.size() < 2; }
  [[nodiscard]] std::size_t self() const { return self_; }
  [[nodiscard]] std::size_t count() const { return options_.map.members.size(); }
  [[nodiscard]] std::size_t owner(const TxnId& txn) const { return wire::owner(options_.map, txn); }
  [[nodiscard]] bool owned(const TxnId& txn) const { return owner(txn) == self_; }
  [[nodiscard]] const std::string& name(std::size_t member) const { return options_.map.members[member].name; }

  void send(std::size_t member, wire::PeerMessage message);
  void send_to_others(const wire::PeerMessage& message);
  /// The sender's place in the map; none if it is not in it, goes by another map, or is an earlier start of that member.
  [[nodiscard]] std::optional<std::size_t> admit(const PeerId& peer, const wire::FromPeer& message, Time now);
  /// Heard of within the lease.
  [[nodiscard]] bool alive(std::size_t member, Time now) const;
  [[nodiscard]] std::vector<MemberView> views(Time now) const;

  /// Is it time to say hello? If so, not again until the next heartbeat.
  [[nodiscard]] bool hello_due(Time now);
  [[nodiscard]] std::int64_t next_tick_us() const {
    return alone() ? std::numeric_limits<std::int64_t>::max() : next_hello_us_;
  }

 private:
  struct Peer {
    std::uint64_t instance = 0;
    std::int64_t heard_us = 0;  ///< 0: never
  };

  const Options& options_;
  Outbox& out_;
  std::size_t self_;
  std::vector<Peer> peers_;  ///< by place in the map
  std::int64_t next_hello_us_;
};

}  // namespace gordian::coordinator
