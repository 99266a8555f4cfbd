// The sockets of one lock client: a DEALER for each agent. It knows bytes; what is said and meant is the host's (embed/).
//
// Guarded by the host's mutex, but for `descriptors`, which may be slept on outside of it. They tell of news once, and any
// other call takes the news away: so whoever calls anything here receives everything before giving up the mutex.
#pragma once

#include <functional>
#include <gordian/lock_client.hpp>

#include "net/sockets.hpp"
#include "wire/lock_messages.hpp"

namespace gordian::net {

class LockLink {
 public:
  /// `identity` names the client: random. The error is a sentence about an endpoint.
  static tl::expected<LockLink, std::string> connect(const std::vector<AgentAddress>& agents,
                                                     const std::string& identity);

  [[nodiscard]] bool writable(std::size_t agent) const { return sockets_[agent].writable(); }
  /// Never blocks. False: the message is lost.
  [[nodiscard]] bool send(std::size_t agent, const wire::FromLockClient& message);
  using Received = std::function<void(std::size_t agent, const wire::ToLockClient& message)>;
  using Garbled = std::function<void(std::size_t agent, const std::string& what)>;
  /// Everything that has arrived.
  void receive(const Received& received, const Garbled& garbled);

  [[nodiscard]] const std::vector<int>& descriptors() const { return descriptors_; }

 private:
  LockLink() = default;
  std::vector<DealerSocket> sockets_;
  std::vector<int> descriptors_;  // constant after connect()
};

}  // namespace gordian::net
