// A coordinator's sockets towards the others that share the graph: a DEALER for each. What they have to say comes over
// this one's ROUTER; over these they only complain.
//
// Not thread-safe: one reactor thread owns it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "net/sockets.hpp"
#include "wire/ownership.hpp"
#include "wire/peer_messages.hpp"

namespace gordian::net {

class PeerSockets {
 public:
  /// To all members but `self`; `instance` is that of this start. The error is a sentence about an endpoint.
  static tl::expected<PeerSockets, std::string> connect(const wire::MemberMap& map, const std::string& self,
                                                        std::uint64_t instance, std::size_t message_bytes);

  /// `member` is a place in the map. Never blocks. False: the message is lost, for that member is away or slow.
  [[nodiscard]] bool send(std::size_t member, const wire::FromPeer& message);
  /// Takes what they complain of: (member's place, sentence).
  void receive(const std::function<void(std::size_t, const std::string&)>& complaint);
  void add_handles(std::vector<void*>& handles) const;

 private:
  std::vector<std::optional<DealerSocket>> sockets_;  ///< by place in the map; none: itself
};

}  // namespace gordian::net
